package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"bakeoff/billing/internal/billing"
)

const invoiceForAccount = `SELECT id, subscription_id, status, amount_cents, currency, created_at FROM invoices WHERE id = $1 AND account_id = $2`

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
		return billing.Invoice{}, failure("invoice_for_account", err)
	}
	return invoice, nil
}
