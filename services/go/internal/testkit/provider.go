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
	asked    []*paymentv1.CreatePaymentRequest
	status   paymentv1.PaymentStatus
	excess   int64
	alter    func(*paymentv1.Payment)
}

// StartProvider serves until the test ends.
func StartProvider(t *testing.T) *Provider {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal("listen for the provider:", err)
	}
	provider := &Provider{Target: listener.Addr().String(), holding: make(chan struct{}, 16),
		status: paymentv1.PaymentStatus_PAYMENT_STATUS_SUCCEEDED}
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

// Decline makes each charge declined.
func (p *Provider) Decline() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = paymentv1.PaymentStatus_PAYMENT_STATUS_DECLINED
}

// Overcharge makes the amount of each answered charge wrong by excess.
func (p *Provider) Overcharge(excess int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.excess = excess
}

// Alter changes each payment that is looked up.
func (p *Provider) Alter(change func(*paymentv1.Payment)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alter = change
}

// Asked is each charge that was asked for so far.
func (p *Provider) Asked() []*paymentv1.CreatePaymentRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
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
	if err := p.receive(ctx); err != nil {
		return nil, err
	}
	answer := &paymentv1.Payment{
		PaymentId:       "pay_" + request.GetInvoiceId()[:8],
		InvoiceId:       request.GetInvoiceId(),
		Status:          paymentv1.PaymentStatus_PAYMENT_STATUS_SUCCEEDED,
		AmountCents:     4916,
		Currency:        "USD",
		UpdatedAtUnixMs: 1767323045678,
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alter != nil {
		p.alter(answer)
	}
	return answer, nil
}

// CreatePayment answers the same for the same key.
func (p *Provider) CreatePayment(ctx context.Context, request *paymentv1.CreatePaymentRequest) (*paymentv1.Payment, error) {
	p.mu.Lock()
	p.asked = append(p.asked, request)
	p.mu.Unlock()
	if err := p.receive(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return &paymentv1.Payment{
		PaymentId:       "pay_" + request.GetIdempotencyKey(),
		InvoiceId:       request.GetInvoiceId(),
		Status:          p.status,
		AmountCents:     request.GetAmountCents() + p.excess,
		Currency:        request.GetCurrency(),
		UpdatedAtUnixMs: 1767323045678,
		IdempotencyKey:  request.GetIdempotencyKey(),
	}, nil
}

// receive is what comes before any answer.
func (p *Provider) receive(ctx context.Context) error {
	meta, _ := metadata.FromIncomingContext(ctx)
	p.mu.Lock()
	p.received = append(p.received, meta)
	fail, hold := p.fail, p.hold
	p.mu.Unlock()
	if hold != nil {
		p.holding <- struct{}{}
		<-hold // past the caller's deadline too, which is the caller's to notice
	}
	return fail
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
