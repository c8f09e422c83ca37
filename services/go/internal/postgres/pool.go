// Package postgres reads the store.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"bakeoff/billing/internal/billing"
)

const (
	// acquireTimeout is how long a request waits for a connection.
	acquireTimeout = 2 * time.Second
	connectTimeout = 5 * time.Second
	// The pool never renews a connection during a run.
	connectionLifetime = 24 * time.Hour
	// refillPeriod is how soon the pool is full again after the database was away.
	refillPeriod = 5 * time.Second
	// readyTimeout is how long a readiness check waits.
	readyTimeout           = time.Second
	statementCacheCapacity = 128
)

// Database is a pool of connections.
type Database struct{ pool *pgxpool.Pool }

// Open makes the pool and starts to fill it; the database need not be there yet.
func Open(ctx context.Context, url string, maxConnections int) (*Database, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse DATABASE_URL: %w", err)
	}
	// Parity: min = max, so that no connection is made during a measurement.
	config.MaxConns = int32(maxConnections)
	config.MinConns = int32(maxConnections)
	config.MaxConnLifetime = connectionLifetime
	config.MaxConnIdleTime = connectionLifetime
	config.HealthCheckPeriod = refillPeriod
	// Parity: pgx's own default, written down; a busy connection is never pinged.
	config.ShouldPing = func(_ context.Context, params pgxpool.ShouldPingParams) bool {
		return params.IdleDuration > time.Second
	}
	config.AfterConnect = prepareStatements
	config.ConnConfig.ConnectTimeout = connectTimeout
	config.ConnConfig.StatementCacheCapacity = statementCacheCapacity
	// Parity: whatever the server's defaults are. A commit that was acknowledged
	// and then forgotten would be a second charge.
	config.ConnConfig.RuntimeParams["lock_timeout"] = "2s"
	config.ConnConfig.RuntimeParams["statement_timeout"] = "5s"
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("make the pool: %w", err)
	}
	return &Database{pool: pool}, nil
}

// statements are all that the service runs, but for begin, commit and rollback.
var statements = []string{
	invoiceForAccount, subscriptionForAccount,
	subscriptionGet, subscriptionList, subscriptionCreate, subscriptionLock, subscriptionUpdate, subscriptionDelete,
	subscriptionStatement,
	invoiceGet, invoiceList, invoiceCreate, invoiceLock, invoiceUpdate, invoiceDelete, invoicePaid,
	attemptLive, attemptCreate, attemptTake, attemptFinish, attemptUnknown, attemptSweep,
	keyGet, keyCreate, keyFinish, keyExpire,
}

// prepareStatements prepares all statements on a new connection, so that no
// request pays for it.
func prepareStatements(ctx context.Context, connection *pgx.Conn) error {
	for _, statement := range statements {
		if _, err := connection.Prepare(ctx, statement, statement); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	return nil
}

// WithConnection checks out one connection for the length of use.
func (d *Database) WithConnection(ctx context.Context, use func(*pgxpool.Conn) error) error {
	connection, err := d.acquire(ctx)
	if err != nil {
		return &billing.Error{Kind: billing.DatabaseUnavailable, Cause: fmt.Errorf("acquire: %w", err)}
	}
	defer connection.Release()
	return use(connection)
}

// WithTransaction checks out one connection for a transaction of use.
func (d *Database) WithTransaction(ctx context.Context, use func(*pgxpool.Conn) error) error {
	return d.WithConnection(ctx, func(connection *pgxpool.Conn) error {
		return InTransaction(ctx, connection, func() error { return use(connection) })
	})
}

// ErrCommit is in the error of a COMMIT: nobody knows what became of it.
var ErrCommit = errors.New("commit")

// InTransaction commits what use does, or rolls it back before it returns use's failure.
func InTransaction(ctx context.Context, connection *pgxpool.Conn, use func() error) error {
	transaction, err := connection.Begin(ctx)
	if err != nil {
		return failure("begin", err, billing.Internal)
	}
	if err := use(); err != nil {
		// Where it fails, pgx closes the connection, which rolls back too.
		_ = transaction.Rollback(ctx)
		return err
	}
	if err := transaction.Commit(ctx); err != nil {
		return failure("transaction", fmt.Errorf("%w: %w", ErrCommit, err), billing.Internal)
	}
	return nil
}

func (d *Database) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	return d.pool.Acquire(ctx)
}

// IsReady says whether the database answers within a second.
func (d *Database) IsReady(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return d.pool.Ping(ctx) == nil
}

// Close waits for connections in use and closes all.
func (d *Database) Close() { d.pool.Close() }

// failure gives the error of a query its kind: nothing found, the database out
// or silent, or our fault.
func failure(operation string, err error, missing billing.Kind) error {
	kind := billing.DatabaseUnavailable
	answer, answered := errors.AsType[*pgconn.PgError](err)
	_, misread := errors.AsType[pgx.ScanArgError](err)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		kind = missing
	case misread, answered && !isOutage(answer.Code):
		kind = billing.Internal
	}
	return &billing.Error{Kind: kind, Cause: fmt.Errorf("%s: %w", operation, err)}
}

// isOutage says whether an SQLSTATE is about the server and not about the
// statement: a bad or refused connection, a transaction that has to give way, a
// lack of resources, a lock or statement timeout, a shutdown, a missing role or
// database.
func isOutage(sqlState string) bool {
	return slices.Contains([]string{"08", "28", "3D", "40", "53", "55", "57", "58"}, sqlState[:2])
}

const (
	foreignKeyViolation = "23503"
	uniqueViolation     = "23505"
)

// violates says whether the error is the violation of a constraint.
func violates(err error, sqlState, constraint string) bool {
	answer, answered := errors.AsType[*pgconn.PgError](err)
	return answered && answer.Code == sqlState && answer.ConstraintName == constraint
}
