// Command stub is a payment provider that answers at once: what a Go server
// costs a call, for `make bench`.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"

	"bakeoff/billing/internal/payments/paymentv1"
)

// The milliseconds since 1970 of the year that updates fall into, and its length.
const (
	firstUpdateUnixMs = 1_735_689_600_000
	updatesSpanMs     = 365 * 24 * 3600 * 1000
)

type provider struct {
	paymentv1.UnimplementedPaymentsServer
}

// GetPayment answers from the invoice's id alone, with as much work as the
// Python stub has.
func (provider) GetPayment(_ context.Context, request *paymentv1.GetPaymentRequest) (*paymentv1.Payment, error) {
	digest := sha256.Sum256([]byte(request.InvoiceId))
	number := binary.BigEndian.Uint64(digest[:])
	return &paymentv1.Payment{
		PaymentId:       "pay_" + hex.EncodeToString(digest[:16]),
		InvoiceId:       request.InvoiceId,
		Status:          paymentv1.PaymentStatus_PAYMENT_STATUS_SUCCEEDED,
		AmountCents:     int64(100 + number%100_000),
		Currency:        "EUR",
		UpdatedAtUnixMs: int64(firstUpdateUnixMs + number%updatesSpanMs),
	}, nil
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatalf("listen: %v", err)
	}
	fmt.Printf("{\"ports\": [%d]}\n", listener.Addr().(*net.TCPAddr).Port)
	server := grpc.NewServer()
	paymentv1.RegisterPaymentsServer(server, provider{})
	log.Fatal(server.Serve(listener))
}
