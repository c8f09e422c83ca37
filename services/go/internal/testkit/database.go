// Package testkit sets the stage for tests: a database of their own, a payment
// provider in this process, tokens, and the service itself.
package testkit

import (
	"context"
	"errors"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const deadline = 60 * time.Second

// Rows that every test database has: an invoice of each of two accounts.
const (
	Account        = "a0000000-0000-4000-8000-000000000001"
	Subscription   = "b0000000-0000-4000-8000-000000000001"
	Invoice        = "c0000000-0000-4000-8000-000000000001"
	OtherAccount   = "a0000000-0000-4000-8000-000000000002"
	OtherInvoice   = "c0000000-0000-4000-8000-000000000002"
	UnknownInvoice = "c0000000-0000-4000-8000-000000000003"
)

const rows = `
INSERT INTO accounts (id, number, name) VALUES
    ('a0000000-0000-4000-8000-000000000001', 900001, 'One'),
    ('a0000000-0000-4000-8000-000000000002', 900002, 'Other');
INSERT INTO subscriptions (id, account_id, plan, status, price_cents, currency) VALUES
    ('b0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'team', 'active', 4900, 'USD'),
    ('b0000000-0000-4000-8000-000000000002', 'a0000000-0000-4000-8000-000000000002', 'starter', 'active', 900, 'EUR');
INSERT INTO invoices (id, subscription_id, account_id, status, amount_cents, currency, created_at) VALUES
    ('c0000000-0000-4000-8000-000000000001', 'b0000000-0000-4000-8000-000000000001',
     'a0000000-0000-4000-8000-000000000001', 'paid', 4916, 'USD', '2026-01-02T03:04:05.000006Z'),
    ('c0000000-0000-4000-8000-000000000002', 'b0000000-0000-4000-8000-000000000002',
     'a0000000-0000-4000-8000-000000000002', 'open', 900, 'EUR', '2026-01-02T03:04:05Z');
`

// Database makes a database from the one that DATABASE_URL names, adds the rows
// above, and drops it when the test ends.
func Database(t *testing.T) *url.URL {
	t.Helper()
	address := UnmadeDatabase(t)
	CreateDatabase(t, address)
	return address
}

// UnmadeDatabase is the address of a database that does not exist, and is
// dropped when the test ends if it does by then.
func UnmadeDatabase(t *testing.T) *url.URL {
	t.Helper()
	address := template(t)
	address.Path = "/billing_test_" + uuid.NewString()
	t.Cleanup(func() { DropDatabase(t, address) })
	return address
}

// CreateDatabase makes the database that address names.
func CreateDatabase(t *testing.T, address *url.URL) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	statement := "CREATE DATABASE " + name(address) + " TEMPLATE " + name(template(t))
	for {
		err := execute(ctx, maintenance(address), statement)
		if err == nil {
			break
		}
		// Somebody looks at the template, such as another test.
		if busy, ok := errors.AsType[*pgconn.PgError](err); !ok || busy.Code != "55006" {
			t.Fatal("create the test database:", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := execute(ctx, address, rows); err != nil {
		t.Fatal("insert the test rows:", err)
	}
}

// DropDatabase ends all connections to a database and removes it.
func DropDatabase(t *testing.T, address *url.URL) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := execute(ctx, maintenance(address), "DROP DATABASE IF EXISTS "+name(address)+" WITH (FORCE)"); err != nil {
		t.Error("drop the test database:", err)
	}
}

// Connect opens a connection that is closed when the test ends.
func Connect(t *testing.T, address *url.URL) *pgx.Conn {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), address.String())
	if err != nil {
		t.Fatal("connect to the test database:", err)
	}
	t.Cleanup(func() { connection.Close(context.Background()) })
	return connection
}

func template(t *testing.T) *url.URL {
	t.Helper()
	address, err := url.Parse(os.Getenv("DATABASE_URL"))
	if err != nil || address.Path == "" {
		t.Fatal("set DATABASE_URL to a migrated database that the tests may copy")
	}
	return address
}

func maintenance(address *url.URL) *url.URL {
	other := *address
	other.Path = "/postgres"
	return &other
}

func name(address *url.URL) string {
	return pgx.Identifier{address.Path[1:]}.Sanitize()
}

func execute(ctx context.Context, address *url.URL, statements string) error {
	connection, err := pgx.Connect(ctx, address.String())
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	_, err = connection.PgConn().Exec(ctx, statements).ReadAll()
	return err
}
