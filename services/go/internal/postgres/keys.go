package postgres

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"bakeoff/billing/internal/billing"
)

const (
	keyGet    = `SELECT fingerprint, attempt_id, status, body FROM idempotency_keys WHERE account_id = $1 AND key = $2`
	keyCreate = `INSERT INTO idempotency_keys (account_id, key, fingerprint, invoice_id, attempt_id) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
	keyFinish = `UPDATE idempotency_keys SET status = $2, body = $3 WHERE attempt_id = $1 AND status IS NULL`
	keyExpire = `DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(SELECT ctid FROM idempotency_keys WHERE status IS NOT NULL AND created_at < now() - interval '24 hours' ORDER BY created_at LIMIT 1000 FOR UPDATE SKIP LOCKED))`
)

// Key is a client's idempotency key. Status and Body, the answer to repeat, are
// there once the attempt has ended.
type Key struct {
	Fingerprint []byte
	AttemptID   uuid.UUID
	Status      *int32
	Body        []byte
}

// KeyGet reads a key of the account, nil where there is none.
func KeyGet(ctx context.Context, connection *pgxpool.Conn, account uuid.UUID, name string) (*Key, error) {
	var key Key
	row := connection.QueryRow(ctx, keyGet, [16]byte(account), name)
	err := row.Scan(&key.Fingerprint, (*[16]byte)(&key.AttemptID), &key.Status, &key.Body)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, failure("key_get", err, billing.Internal)
	}
	return &key, nil
}

// KeyCreate stores a key, and says whether there was none of this name.
func KeyCreate(ctx context.Context, connection *pgxpool.Conn, account uuid.UUID, name string, fingerprint []byte, invoice, attempt uuid.UUID) (bool, error) {
	tag, err := connection.Exec(ctx, keyCreate, [16]byte(account), name, fingerprint, [16]byte(invoice), [16]byte(attempt))
	if err != nil {
		return false, failure("key_create", err, billing.Internal)
	}
	return tag.RowsAffected() == 1, nil
}

// KeyFinish stores the answer with all keys that wait for the attempt.
func KeyFinish(ctx context.Context, connection *pgxpool.Conn, attempt uuid.UUID, status int, body []byte) error {
	if _, err := connection.Exec(ctx, keyFinish, [16]byte(attempt), int32(status), body); err != nil {
		return failure("key_finish", err, billing.Internal)
	}
	return nil
}

// KeyExpire deletes answered keys that are a day old, ExpireBatch at most, and
// says how many it deleted.
func KeyExpire(ctx context.Context, connection *pgxpool.Conn) (int64, error) {
	tag, err := connection.Exec(ctx, keyExpire)
	if err != nil {
		return 0, failure("key_expire", err, billing.Internal)
	}
	return tag.RowsAffected(), nil
}

// ExpireBatch is how many keys KeyExpire deletes.
const ExpireBatch = 1000
