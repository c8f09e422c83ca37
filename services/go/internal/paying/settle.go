package paying

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"bakeoff/billing/internal/billing"
	"bakeoff/billing/internal/payments"
	"bakeoff/billing/internal/postgres"
)

// settle sends a leased attempt and stores how it ended (steps 7 to 9). Without
// a key, as in a sweep, nobody waits for the answer.
func (p *Payer) settle(ctx context.Context, attempt billing.Attempt, key string, meta payments.CallMeta) (Answer, error) {
	payment, err := p.payments.CreatePayment(ctx, attempt, meta)
	if err == nil && !attempt.IsEndedBy(payment) {
		err = errors.New("create_payment: the answer is not the end of this attempt")
	}
	if err != nil {
		return Answer{}, p.unknown(ctx, attempt, meta, err)
	}
	answer, err := p.finish(ctx, attempt, payment, key, meta)
	if err != nil {
		return Answer{}, p.unknown(ctx, attempt, meta, err)
	}
	return answer, nil
}

var (
	// errEnded ends a transaction that comes too late.
	errEnded = errors.New("somebody else has ended the attempt")
	// errUnanswered: the attempt has ended, and the key has no answer.
	errUnanswered = errors.New("the attempt has ended, and its key has no answer")
)

// finish is the second transaction (step 8).
func (p *Payer) finish(ctx context.Context, attempt billing.Attempt, payment billing.Payment, key string, meta payments.CallMeta) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, transactionTimeout)
	defer cancel()
	var answer Answer
	err := p.database.WithConnection(ctx, func(connection *pgxpool.Conn) error {
		err := postgres.InTransaction(ctx, connection, func() (err error) {
			answer, err = p.store(ctx, connection, attempt, payment, meta)
			return err
		})
		if !errors.Is(err, errEnded) || key == "" {
			return err
		}
		answer, err = answerOf(ctx, connection, attempt, key)
		return err
	})
	if errors.Is(err, errEnded) {
		return Answer{}, nil
	}
	return answer, err
}

// store ends the attempt and gives its answer to all keys that wait for it. The
// invoice is locked first, as in the first transaction.
func (p *Payer) store(ctx context.Context, connection *pgxpool.Conn, attempt billing.Attempt, payment billing.Payment, meta payments.CallMeta) (Answer, error) {
	if _, err := postgres.InvoiceLock(ctx, connection, attempt.InvoiceID, attempt.AccountID); err != nil {
		return Answer{}, err
	}
	var paymentID *string
	if payment.Status == "succeeded" {
		paymentID = &payment.ID
	}
	pending, err := postgres.AttemptFinish(ctx, connection, attempt.ID, payment.Status, paymentID)
	if err != nil {
		return Answer{}, err
	}
	if !pending {
		return Answer{}, errEnded
	}
	if paymentID != nil {
		if err := postgres.InvoicePaid(ctx, connection, attempt.InvoiceID, attempt.AccountID, *paymentID); err != nil {
			return Answer{}, err
		}
	}
	status, body := p.render(attempt.InvoiceID, payment, meta.RequestID)
	return Answer{Status: status, Body: body}, postgres.KeyFinish(ctx, connection, attempt.ID, status, body)
}

// answerOf replays the answer of whoever has ended the attempt.
func answerOf(ctx context.Context, connection *pgxpool.Conn, attempt billing.Attempt, key string) (Answer, error) {
	stored, err := postgres.KeyGet(ctx, connection, attempt.AccountID, key)
	if err != nil {
		return Answer{}, err
	}
	if stored == nil || stored.Status == nil {
		return Answer{}, errUnanswered
	}
	return Answer{Status: int(*stored.Status), Body: stored.Body, Replayed: true}, nil
}

// unknown gives an attempt back whose end nobody knows: it may have been charged,
// so it is sent again, and never taken for failed. If this fails the lease runs out.
func (p *Payer) unknown(ctx context.Context, attempt billing.Attempt, meta payments.CallMeta, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, transactionTimeout)
	defer cancel()
	err := p.database.WithConnection(ctx, func(connection *pgxpool.Conn) error {
		return postgres.AttemptUnknown(ctx, connection, attempt.ID, attempt.Backoff())
	})
	if err != nil {
		cause = errors.Join(cause, err)
	}
	fields := []zap.Field{
		zap.String("request_id", meta.RequestID),
		zap.String("attempt_id", attempt.ID.String()),
		zap.Int32("tries", attempt.Tries),
		zap.String("error", cause.Error()),
	}
	level := zap.WarnLevel
	if attempt.NeedsReview() {
		level = zap.ErrorLevel
		fields = append(fields, zap.Bool("needs_review", true))
	}
	p.logger.Log(level, "payment outcome unknown", fields...)
	kind := billing.OutcomeUnknown
	if failure, ok := errors.AsType[*billing.Error](cause); ok && failure.Kind == billing.PaymentTimeout {
		kind = billing.OutcomeTimeout
	}
	return &billing.Error{Kind: kind, Cause: cause}
}
