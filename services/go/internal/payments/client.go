// Package payments calls the payment provider.
package payments

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"bakeoff/billing/internal/billing"
	"bakeoff/billing/internal/payments/paymentv1"
)

// maxReconnectDelay keeps a provider that is back from staying unavailable for
// long; grpc-go's default is two minutes.
const maxReconnectDelay = time.Second

// The years 1 to 9999: what an answer can say of a time, in milliseconds.
const (
	earliestUnixMs = -62_135_596_800_000
	latestUnixMs   = 253_402_300_799_999
)

// Client calls the provider over a fixed list of channels in turn.
type Client struct {
	channels []*grpc.ClientConn
	stubs    []paymentv1.PaymentsClient
	next     atomic.Uint64
	timeout  time.Duration
}

// CallMeta is what a call carries on from the request that it serves; an empty
// Traceparent is left out.
type CallMeta struct {
	RequestID   string
	Traceparent string
}

// Open makes one channel a target and starts to connect each; the provider need
// not be there yet. A call takes the timeout at most.
func Open(targets []string, timeout time.Duration) (*Client, error) {
	client := &Client{timeout: timeout}
	for _, target := range targets {
		channel, err := grpc.NewClient("dns:///"+target, dialOptions()...)
		if err != nil {
			return nil, fmt.Errorf("make a payment channel: %w", err)
		}
		// Parity: opened at the start, not by the first request.
		channel.Connect()
		client.channels = append(client.channels, channel)
		client.stubs = append(client.stubs, paymentv1.NewPaymentsClient(channel))
	}
	return client, nil
}

func dialOptions() []grpc.DialOption {
	reconnect := backoff.DefaultConfig
	reconnect.BaseDelay = maxReconnectDelay / 10
	reconnect.MaxDelay = maxReconnectDelay
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: maxReconnectDelay}),
		// Parity: a channel without calls stays open.
		grpc.WithIdleTimeout(0),
		// Parity: no retries but gRPC's transparent ones, nothing from DNS or the environment.
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
	}
}

// GetPayment asks for the payment of an invoice, once.
func (c *Client) GetPayment(ctx context.Context, invoiceID uuid.UUID, meta CallMeta) (billing.Payment, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	stub := c.stubs[c.next.Add(1)%uint64(len(c.stubs))]
	answer, err := stub.GetPayment(outgoing(ctx, meta), &paymentv1.GetPaymentRequest{InvoiceId: invoiceID.String()})
	if err != nil {
		return billing.Payment{}, failure("get_payment", err)
	}
	if answer.GetInvoiceId() != invoiceID.String() {
		return billing.Payment{}, unusable("get_payment: the answer is for another invoice")
	}
	return payment("get_payment", answer)
}

// CreatePayment charges an attempt, once. The provider's promise: a key that it
// has seen with the same fields gets the first answer again.
func (c *Client) CreatePayment(ctx context.Context, attempt billing.Attempt, meta CallMeta) (billing.Payment, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	stub := c.stubs[c.next.Add(1)%uint64(len(c.stubs))]
	answer, err := stub.CreatePayment(outgoing(ctx, meta), &paymentv1.CreatePaymentRequest{
		IdempotencyKey: attempt.Key(),
		InvoiceId:      attempt.InvoiceID.String(),
		AmountCents:    attempt.AmountCents,
		Currency:       attempt.Currency,
	})
	if err != nil {
		return billing.Payment{}, failure("create_payment", err)
	}
	return payment("create_payment", answer)
}

func payment(operation string, answer *paymentv1.Payment) (billing.Payment, error) {
	if at := answer.GetUpdatedAtUnixMs(); at < earliestUnixMs || at > latestUnixMs {
		return billing.Payment{}, unusable(operation + ": updated_at_unix_ms is out of range")
	}
	return billing.Payment{
		ID:             answer.GetPaymentId(),
		InvoiceID:      answer.GetInvoiceId(),
		Status:         statusName(answer.GetStatus()),
		AmountCents:    answer.GetAmountCents(),
		Currency:       answer.GetCurrency(),
		UpdatedAt:      time.UnixMilli(answer.GetUpdatedAtUnixMs()),
		IdempotencyKey: answer.GetIdempotencyKey(),
	}, nil
}

// unusable is the error of an answer that cannot be one.
func unusable(cause string) error {
	return &billing.Error{Kind: billing.PaymentFailed, Cause: errors.New(cause)}
}

// State says how the channels are, without a call: ok, unavailable or unknown.
func (c *Client) State() string {
	state := "ok"
	for _, channel := range c.channels {
		switch channel.GetState() {
		case connectivity.Ready:
		case connectivity.TransientFailure, connectivity.Shutdown:
			return "unavailable"
		default:
			state = "unknown"
		}
	}
	return state
}

// Close ends all channels. It only fails for one that is closed already.
func (c *Client) Close() {
	for _, channel := range c.channels {
		_ = channel.Close()
	}
}

func outgoing(ctx context.Context, meta CallMeta) context.Context {
	if meta.Traceparent == "" {
		return metadata.AppendToOutgoingContext(ctx, "x-request-id", meta.RequestID)
	}
	return metadata.AppendToOutgoingContext(ctx, "x-request-id", meta.RequestID, "traceparent", meta.Traceparent)
}

func statusName(value paymentv1.PaymentStatus) string {
	switch value {
	case paymentv1.PaymentStatus_PAYMENT_STATUS_PENDING:
		return "pending"
	case paymentv1.PaymentStatus_PAYMENT_STATUS_SUCCEEDED:
		return "succeeded"
	case paymentv1.PaymentStatus_PAYMENT_STATUS_DECLINED:
		return "declined"
	}
	return "unspecified"
}

// failure gives the error of a call its kind.
func failure(operation string, err error) error {
	kind := billing.PaymentFailed
	switch status.Code(err) {
	case codes.Unavailable:
		kind = billing.PaymentUnavailable
	case codes.DeadlineExceeded:
		kind = billing.PaymentTimeout
	}
	return &billing.Error{Kind: kind, Cause: fmt.Errorf("%s: %w", operation, err)}
}
