package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"bakeoff/billing/internal/billing"
)

const (
	invoiceForAccount = `SELECT id, subscription_id, status, amount_cents, currency, created_at FROM invoices WHERE id = $1 AND account_id = $2`
	invoiceGet        = `SELECT id, subscription_id, status, amount_cents, currency, payment_id, created_at, version FROM invoices WHERE id = $1 AND account_id = $2`
	invoiceList       = `SELECT id, subscription_id, status, amount_cents, currency, payment_id, created_at, version FROM invoices WHERE account_id = $1 AND (created_at, id) > ($2, $3) ORDER BY created_at, id LIMIT $4`
	invoiceCreate     = `INSERT INTO invoices (id, subscription_id, account_id, status, amount_cents, currency) SELECT $1::uuid, id, account_id, $4::text, $5::bigint, $6::text FROM subscriptions WHERE id = $2 AND account_id = $3 RETURNING id, subscription_id, status, amount_cents, currency, payment_id, created_at, version`
	invoiceLock       = `SELECT id, subscription_id, status, amount_cents, currency, payment_id, created_at, version FROM invoices WHERE id = $1 AND account_id = $2 FOR UPDATE`
	invoiceUpdate     = `UPDATE invoices SET status = $3, amount_cents = $4, currency = $5, version = version + 1 WHERE id = $1 AND account_id = $2 RETURNING id, subscription_id, status, amount_cents, currency, payment_id, created_at, version`
	invoiceDelete     = `DELETE FROM invoices WHERE id = $1 AND account_id = $2`
	invoicePaid       = `UPDATE invoices SET status = 'paid', payment_id = $3, version = version + 1 WHERE id = $1 AND account_id = $2`
)

// InvoiceForAccount reads an invoice of the account. Somebody else's is not found.
// Ids cross as 16 bytes; as uuid.UUID, which has a Scan method, pgx would make
// them text and parse that.
func InvoiceForAccount(ctx context.Context, connection *pgxpool.Conn, id, account uuid.UUID) (billing.Invoice, error) {
	var invoice billing.Invoice
	row := connection.QueryRow(ctx, invoiceForAccount, [16]byte(id), [16]byte(account))
	err := row.Scan(
		(*[16]byte)(&invoice.ID),
		(*[16]byte)(&invoice.SubscriptionID),
		&invoice.Status,
		&invoice.AmountCents,
		&invoice.Currency,
		&invoice.CreatedAt,
	)
	if err != nil {
		return billing.Invoice{}, failure("invoice_for_account", err, billing.InvoiceNotFound)
	}
	return invoice, nil
}

// InvoiceGet reads all of an invoice of the account.
func InvoiceGet(ctx context.Context, connection *pgxpool.Conn, id, account uuid.UUID) (billing.Invoice, error) {
	return theInvoice("invoice_get", connection.QueryRow(ctx, invoiceGet, [16]byte(id), [16]byte(account)))
}

// InvoiceList reads one more than the page has, which says whether there is a next one.
func InvoiceList(ctx context.Context, connection *pgxpool.Conn, account uuid.UUID, page billing.Page) ([]billing.Invoice, error) {
	rows, _ := connection.Query(ctx, invoiceList, // CollectRows returns the error
		[16]byte(account), page.After.CreatedAt, [16]byte(page.After.ID), int64(page.Limit)+1)
	invoices, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (billing.Invoice, error) {
		return scanInvoice(row)
	})
	if err != nil {
		return nil, failure("invoice_list", err, billing.Internal)
	}
	return invoices, nil
}

// InvoiceCreate makes an invoice of a subscription of the account;
// SubscriptionNotFound where there is no such one.
func InvoiceCreate(ctx context.Context, connection *pgxpool.Conn, account uuid.UUID, i billing.Invoice) (billing.Invoice, error) {
	created, err := scanInvoice(connection.QueryRow(ctx, invoiceCreate,
		[16]byte(i.ID), [16]byte(i.SubscriptionID), [16]byte(account), i.Status, i.AmountCents, i.Currency))
	if violates(err, foreignKeyViolation, "invoices_subscription_id_fkey") {
		// It was deleted meanwhile.
		return billing.Invoice{}, &billing.Error{Kind: billing.SubscriptionNotFound}
	}
	if err != nil {
		return billing.Invoice{}, failure("invoice_create", err, billing.SubscriptionNotFound)
	}
	return created, nil
}

// InvoiceLock reads an invoice of the account and keeps it for the transaction.
func InvoiceLock(ctx context.Context, connection *pgxpool.Conn, id, account uuid.UUID) (billing.Invoice, error) {
	return theInvoice("invoice_lock", connection.QueryRow(ctx, invoiceLock, [16]byte(id), [16]byte(account)))
}

// InvoiceUpdate writes what can change of an invoice that is locked.
func InvoiceUpdate(ctx context.Context, connection *pgxpool.Conn, account uuid.UUID, i billing.Invoice) (billing.Invoice, error) {
	return theInvoice("invoice_update",
		connection.QueryRow(ctx, invoiceUpdate, [16]byte(i.ID), [16]byte(account), i.Status, i.AmountCents, i.Currency))
}

// InvoiceDelete removes an invoice that is locked.
func InvoiceDelete(ctx context.Context, connection *pgxpool.Conn, id, account uuid.UUID) error {
	if _, err := connection.Exec(ctx, invoiceDelete, [16]byte(id), [16]byte(account)); err != nil {
		return failure("invoice_delete", err, billing.Internal)
	}
	return nil
}

// InvoicePaid makes an invoice that is locked a paid one.
func InvoicePaid(ctx context.Context, connection *pgxpool.Conn, id, account uuid.UUID, paymentID string) error {
	if _, err := connection.Exec(ctx, invoicePaid, [16]byte(id), [16]byte(account), paymentID); err != nil {
		return failure("invoice_paid", err, billing.Internal)
	}
	return nil
}

func theInvoice(operation string, row pgx.Row) (billing.Invoice, error) {
	invoice, err := scanInvoice(row)
	if err != nil {
		return billing.Invoice{}, failure(operation, err, billing.InvoiceNotFound)
	}
	return invoice, nil
}

func scanInvoice(row pgx.Row) (i billing.Invoice, err error) {
	err = row.Scan((*[16]byte)(&i.ID), (*[16]byte)(&i.SubscriptionID), &i.Status, &i.AmountCents, &i.Currency,
		&i.PaymentID, &i.CreatedAt, &i.Version)
	return i, err
}
