package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"bakeoff/billing/internal/billing"
)

const (
	attemptLive    = `SELECT id, amount_cents, currency, tries, state = 'pending' AS pending, lease_until > now() AS leased FROM payment_attempts WHERE invoice_id = $1 AND state IN ('pending', 'succeeded')`
	attemptCreate  = `INSERT INTO payment_attempts (id, invoice_id, account_id, amount_cents, currency, state, lease_until) VALUES ($1, $2, $3, $4, $5, 'pending', now() + $6::bigint * interval '1 millisecond')`
	attemptTake    = `UPDATE payment_attempts SET lease_until = now() + $2::bigint * interval '1 millisecond', tries = tries + 1 WHERE id = $1 AND state = 'pending'`
	attemptFinish  = `UPDATE payment_attempts SET state = $2, payment_id = $3 WHERE id = $1 AND state = 'pending'`
	attemptUnknown = `UPDATE payment_attempts SET lease_until = now(), next_try_at = now() + $2::bigint * interval '1 millisecond' WHERE id = $1 AND state = 'pending'`
	attemptSweep   = `UPDATE payment_attempts SET lease_until = now() + $1::bigint * interval '1 millisecond', tries = tries + 1 WHERE id = ANY (ARRAY(SELECT id FROM payment_attempts WHERE state = 'pending' AND lease_until < now() AND next_try_at <= now() ORDER BY next_try_at LIMIT 10 FOR UPDATE SKIP LOCKED)) RETURNING id, invoice_id, account_id, amount_cents, currency, tries`
)

// LiveAttempt is the attempt of an invoice that is pending or has succeeded.
type LiveAttempt struct {
	ID          uuid.UUID
	AmountCents int64
	Currency    string
	Tries       int32
	Pending     bool
	// Leased: somebody is at it right now.
	Leased bool
}

// AttemptLive reads the live attempt of an invoice, nil where there is none. The
// invoice has to be locked by a statement before: one statement for both would
// see the attempts of before the wait for the lock.
func AttemptLive(ctx context.Context, connection *pgxpool.Conn, invoice uuid.UUID) (*LiveAttempt, error) {
	var live LiveAttempt
	row := connection.QueryRow(ctx, attemptLive, [16]byte(invoice))
	err := row.Scan((*[16]byte)(&live.ID), &live.AmountCents, &live.Currency, &live.Tries, &live.Pending, &live.Leased)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, failure("attempt_live", err, billing.Internal)
	}
	return &live, nil
}

// AttemptCreate stores a new attempt that is leased.
func AttemptCreate(ctx context.Context, connection *pgxpool.Conn, a billing.Attempt, lease time.Duration) error {
	_, err := connection.Exec(ctx, attemptCreate,
		[16]byte(a.ID), [16]byte(a.InvoiceID), [16]byte(a.AccountID), a.AmountCents, a.Currency, lease.Milliseconds())
	if violates(err, uniqueViolation, "one_live") {
		return &billing.Error{Kind: billing.PaymentInProgress, Cause: err}
	}
	if err != nil {
		return failure("attempt_create", err, billing.Internal)
	}
	return nil
}

// AttemptTake leases a pending attempt for one more try.
func AttemptTake(ctx context.Context, connection *pgxpool.Conn, id uuid.UUID, lease time.Duration) error {
	tag, err := connection.Exec(ctx, attemptTake, [16]byte(id), lease.Milliseconds())
	if err != nil {
		return failure("attempt_take", err, billing.Internal)
	}
	if tag.RowsAffected() != 1 {
		return &billing.Error{Kind: billing.Internal, Cause: errors.New("attempt_take: it is not pending")}
	}
	return nil
}

// AttemptFinish ends an attempt, and says whether it was still pending.
func AttemptFinish(ctx context.Context, connection *pgxpool.Conn, id uuid.UUID, state string, paymentID *string) (bool, error) {
	tag, err := connection.Exec(ctx, attemptFinish, [16]byte(id), state, paymentID)
	if err != nil {
		return false, failure("attempt_finish", err, billing.Internal)
	}
	return tag.RowsAffected() == 1, nil
}

// AttemptUnknown gives an attempt back, to be tried again after the wait.
func AttemptUnknown(ctx context.Context, connection *pgxpool.Conn, id uuid.UUID, wait time.Duration) error {
	if _, err := connection.Exec(ctx, attemptUnknown, [16]byte(id), wait.Milliseconds()); err != nil {
		return failure("attempt_unknown", err, billing.Internal)
	}
	return nil
}

// AttemptSweep leases pending attempts whose time has come, SweepBatch at most.
func AttemptSweep(ctx context.Context, connection *pgxpool.Conn, lease time.Duration) ([]billing.Attempt, error) {
	rows, _ := connection.Query(ctx, attemptSweep, lease.Milliseconds()) // CollectRows returns the error
	attempts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a billing.Attempt, err error) {
		err = row.Scan((*[16]byte)(&a.ID), (*[16]byte)(&a.InvoiceID), (*[16]byte)(&a.AccountID), &a.AmountCents, &a.Currency, &a.Tries)
		return a, err
	})
	if err != nil {
		return nil, failure("attempt_sweep", err, billing.Internal)
	}
	return attempts, nil
}

// SweepBatch is how many attempts AttemptSweep takes.
const SweepBatch = 10
