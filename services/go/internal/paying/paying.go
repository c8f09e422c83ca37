// Package paying charges an invoice once, whatever is repeated, lost or killed.
// Its steps are those of the contract, services/contract/README.md.
package paying

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"bakeoff/billing/internal/billing"
	"bakeoff/billing/internal/config"
	"bakeoff/billing/internal/payments"
	"bakeoff/billing/internal/postgres"
)

const (
	// answerMargin is how long over the call's limit a request waits for its answer.
	answerMargin = 3 * time.Second
	// leaseMargin is how long over two calls' limits an attempt is left alone.
	leaseMargin = 5 * time.Second
	// transactionTimeout keeps detached work from waiting for ever for a database
	// that is silent; the server's own limits are below it.
	transactionTimeout = 10 * time.Second
)

// Render writes the answer that ends an attempt.
type Render func(invoice uuid.UUID, payment billing.Payment, requestID string) (status int, body []byte)

// Payer pays invoices, each detached from the request that asks for it.
type Payer struct {
	database *postgres.Database
	payments *payments.Client
	render   Render
	logger   *zap.Logger
	timeout  time.Duration
	interval time.Duration
	work     sync.WaitGroup
}

// New makes a payer; it owns neither database nor payments.
func New(settings config.Config, database *postgres.Database, payments *payments.Client, render Render, logger *zap.Logger) *Payer {
	return &Payer{
		database: database,
		payments: payments,
		render:   render,
		logger:   logger,
		timeout:  settings.PaymentTimeout,
		interval: settings.SweepInterval,
	}
}

// Request is a client's wish to pay an invoice.
type Request struct {
	Account     uuid.UUID
	Invoice     uuid.UUID
	Key         string
	Fingerprint []byte
	Meta        payments.CallMeta
}

// Answer is what the client gets: of this request, or of one before.
type Answer struct {
	Status   int
	Body     []byte
	Replayed bool
}

type outcome struct {
	answer Answer
	err    error
}

// Pay starts to pay and waits for the answer. The work goes on if the caller
// hangs up or the time is over.
func (p *Payer) Pay(ctx context.Context, request Request) (Answer, error) {
	ended := make(chan outcome, 1)
	p.work.Go(func() {
		ended <- p.recovered(func() (Answer, error) { return p.pay(context.WithoutCancel(ctx), request) })
	})
	select {
	case got := <-ended:
		return got.answer, got.err
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	case <-time.After(p.timeout + answerMargin):
		return Answer{}, &billing.Error{Kind: billing.OutcomeTimeout, Cause: errors.New("it goes on without the request")}
	}
}

// Wait waits for all work that goes on.
func (p *Payer) Wait() { p.work.Wait() }

// recovered makes a panic a failure: it would end the process, since nobody else
// is there to recover from it.
func (p *Payer) recovered(work func() (Answer, error)) (got outcome) {
	defer func() {
		if cause := recover(); cause != nil {
			p.logger.Error("panic", zap.Stack("stack"))
			got.err = &billing.Error{Kind: billing.Internal, Cause: fmt.Errorf("panic: %v", cause)}
		}
	}()
	got.answer, got.err = work()
	return got
}

func (p *Payer) pay(ctx context.Context, request Request) (Answer, error) {
	attempt, replay, err := p.begin(ctx, request)
	if err != nil {
		return Answer{}, err
	}
	if replay != nil {
		return *replay, nil
	}
	return p.settle(ctx, attempt, request.Key, request.Meta)
}

// begin stores the attempt to try, leased, with the client's key (steps 1 to 6);
// or it finds the answer that the key has already.
func (p *Payer) begin(ctx context.Context, request Request) (attempt billing.Attempt, replay *Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, transactionTimeout)
	defer cancel()
	err = p.database.WithConnection(ctx, func(connection *pgxpool.Conn) error {
		stored, err := postgres.KeyGet(ctx, connection, request.Account, request.Key)
		if err != nil {
			return err
		}
		if stored != nil {
			if replay, err = replayOf(stored, request.Fingerprint); err != nil || replay != nil {
				return err
			}
		}
		return postgres.InTransaction(ctx, connection, func() error {
			attempt, replay, err = p.claim(ctx, connection, request)
			if replay != nil {
				return errReplay
			}
			return err
		})
	})
	if errors.Is(err, errReplay) {
		return billing.Attempt{}, replay, nil
	}
	if errors.Is(err, postgres.ErrCommit) {
		err = &billing.Error{Kind: billing.OutcomeUnknown, Cause: err}
	}
	return attempt, replay, err
}

// errReplay ends a transaction that has nothing to store.
var errReplay = errors.New("the key has its answer")

// claim is the inside of the first transaction (steps 2 to 5).
func (p *Payer) claim(ctx context.Context, connection *pgxpool.Conn, request Request) (billing.Attempt, *Answer, error) {
	var none billing.Attempt
	invoice, err := postgres.InvoiceLock(ctx, connection, request.Invoice, request.Account)
	if err != nil {
		return none, nil, err
	}
	live, err := postgres.AttemptLive(ctx, connection, invoice.ID)
	if err != nil {
		return none, nil, err
	}
	attempt := attemptFor(invoice, live, request.Account)
	created, err := postgres.KeyCreate(ctx, connection, request.Account, request.Key, request.Fingerprint, invoice.ID, attempt.ID)
	if err != nil {
		return none, nil, err
	}
	if created {
		err = mayBePaid(invoice)
	} else {
		var replay *Answer
		replay, err = p.resume(ctx, connection, request, live)
		if replay != nil {
			return none, replay, nil
		}
	}
	if err != nil {
		return none, nil, err
	}
	switch {
	case live == nil:
		err = postgres.AttemptCreate(ctx, connection, attempt, p.lease())
	case live.Leased:
		err = &billing.Error{Kind: billing.PaymentInProgress}
	default:
		err = postgres.AttemptTake(ctx, connection, attempt.ID, p.lease())
	}
	return attempt, nil, err
}

// attemptFor is the live attempt, once more, or a new one.
func attemptFor(invoice billing.Invoice, live *postgres.LiveAttempt, account uuid.UUID) billing.Attempt {
	attempt := billing.Attempt{InvoiceID: invoice.ID, AccountID: account}
	if live == nil {
		attempt.ID, attempt.Tries = uuid.Must(uuid.NewV7()), 1
		attempt.AmountCents, attempt.Currency = invoice.AmountCents, invoice.Currency
	} else {
		attempt.ID, attempt.Tries = live.ID, live.Tries+1
		attempt.AmountCents, attempt.Currency = live.AmountCents, live.Currency
	}
	return attempt
}

// resume looks at a key that was there before: it has its answer, or it has to
// belong to the live attempt.
func (p *Payer) resume(ctx context.Context, connection *pgxpool.Conn, request Request, live *postgres.LiveAttempt) (*Answer, error) {
	stored, err := postgres.KeyGet(ctx, connection, request.Account, request.Key)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, &billing.Error{Kind: billing.Internal, Cause: errors.New("the key was there and is not")}
	}
	if replay, err := replayOf(stored, request.Fingerprint); err != nil || replay != nil {
		return replay, err
	}
	if live == nil || !live.Pending || live.ID != stored.AttemptID {
		return nil, &billing.Error{Kind: billing.Internal, Cause: errors.New("the attempt of an open key is not the live one")}
	}
	return nil, nil
}

// replayOf is the stored answer of a key, nil while it has none.
func replayOf(stored *postgres.Key, fingerprint []byte) (*Answer, error) {
	if !bytes.Equal(stored.Fingerprint, fingerprint) {
		return nil, &billing.Error{Kind: billing.KeyReused}
	}
	if stored.Status == nil {
		return nil, nil
	}
	return &Answer{Status: int(*stored.Status), Body: stored.Body, Replayed: true}, nil
}

func mayBePaid(invoice billing.Invoice) error {
	switch invoice.Status {
	case "open":
		return nil
	case "paid":
		return &billing.Error{Kind: billing.AlreadyPaid, PaymentID: invoice.PaymentID}
	default:
		return &billing.Error{Kind: billing.NotPayable}
	}
}

func (p *Payer) lease() time.Duration { return 2*p.timeout + leaseMargin }
