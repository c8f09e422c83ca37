package testkit

import (
	"context"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"bakeoff/billing/internal/payments/paymentv1"
)

// Provider is a payment provider in this process.
type Provider struct {
	paymentv1.UnimplementedPaymentsServer
	Target string

	mu       sync.Mutex
	received []metadata.MD
	fail     error
	hold     chan struct{}
	holding  chan struct{}
}

// StartProvider serves until the test ends.
func StartProvider(t *testing.T) *Provider {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal("listen for the provider:", err)
	}
	provider := &Provider{Target: listener.Addr().String(), holding: make(chan struct{}, 16)}
	server := grpc.NewServer()
	paymentv1.RegisterPaymentsServer(server, provider)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return provider
}

// FailWith makes each call fail; nil ends that.
func (p *Provider) FailWith(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = err
}

// Hold keeps calls, 16 at most, unanswered until release is called. A value
// comes out of held for each.
func (p *Provider) Hold() (held <-chan struct{}, release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	hold := make(chan struct{})
	p.hold = hold
	return p.holding, sync.OnceFunc(func() { close(hold) })
}

// Received is the metadata of each call so far.
func (p *Provider) Received() []metadata.MD {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.received
}

// GetPayment answers the same for the same invoice.
func (p *Provider) GetPayment(ctx context.Context, request *paymentv1.GetPaymentRequest) (*paymentv1.Payment, error) {
	meta, _ := metadata.FromIncomingContext(ctx)
	p.mu.Lock()
	p.received = append(p.received, meta)
	fail, hold := p.fail, p.hold
	p.mu.Unlock()
	if hold != nil {
		p.holding <- struct{}{}
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		return nil, fail
	}
	return &paymentv1.Payment{
		PaymentId:       "pay_" + request.GetInvoiceId()[:8],
		InvoiceId:       request.GetInvoiceId(),
		Status:          paymentv1.PaymentStatus_PAYMENT_STATUS_SUCCEEDED,
		AmountCents:     4916,
		Currency:        "USD",
		UpdatedAtUnixMs: 1767323045678,
	}, nil
}

// ClosedPort is an address where nobody listens.
func ClosedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// HangingUpPort is an address where each connection is closed at once.
func HangingUpPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			connection.Close()
		}
	}()
	return listener.Addr().String()
}
