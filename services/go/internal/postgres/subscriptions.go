package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"bakeoff/billing/internal/billing"
)

const (
	subscriptionForAccount = `SELECT id, plan, status FROM subscriptions WHERE id = $1 AND account_id = $2`
	subscriptionGet        = `SELECT id, plan, status, price_cents, currency, created_at, version FROM subscriptions WHERE id = $1 AND account_id = $2`
	subscriptionList       = `SELECT id, plan, status, price_cents, currency, created_at, version FROM subscriptions WHERE account_id = $1 AND (created_at, id) > ($2, $3) ORDER BY created_at, id LIMIT $4`
	subscriptionCreate     = `INSERT INTO subscriptions (id, account_id, plan, status, price_cents, currency) VALUES ($1, $2, $3, 'active', $4, $5) RETURNING id, plan, status, price_cents, currency, created_at, version`
	subscriptionLock       = `SELECT id, plan, status, price_cents, currency, created_at, version FROM subscriptions WHERE id = $1 AND account_id = $2 FOR UPDATE`
	subscriptionUpdate     = `UPDATE subscriptions SET plan = $3, status = $4, price_cents = $5, version = version + 1 WHERE id = $1 AND account_id = $2 RETURNING id, plan, status, price_cents, currency, created_at, version`
	subscriptionDelete     = `DELETE FROM subscriptions WHERE id = $1 AND account_id = $2`
	subscriptionStatement  = `WITH billed AS (SELECT subscription_id, date_trunc('month', created_at AT TIME ZONE 'UTC') AS month, count(*) AS invoices, sum(amount_cents) AS billed, coalesce(sum(amount_cents) FILTER (WHERE status = 'paid'), 0) AS paid FROM invoices WHERE account_id = $1 AND currency = $3 AND status IN ('open', 'paid') GROUP BY 1, 2), ranked AS (SELECT subscription_id, month, invoices, billed, paid, sum(billed - paid) OVER (PARTITION BY subscription_id ORDER BY month) AS balance, rank() OVER (PARTITION BY month ORDER BY billed DESC) AS rank, sum(invoices) OVER (PARTITION BY month) AS account_invoices, sum(billed) OVER (PARTITION BY month) AS account_billed FROM billed) SELECT to_char(month, 'YYYY-MM'), invoices, billed::bigint, paid::bigint, balance::bigint, rank, account_invoices::bigint, account_billed::bigint FROM ranked WHERE subscription_id = $2 ORDER BY month`
)

// SubscriptionForAccount reads a subscription of the account.
func SubscriptionForAccount(ctx context.Context, connection *pgxpool.Conn, id, account uuid.UUID) (billing.Subscription, error) {
	var subscription billing.Subscription
	row := connection.QueryRow(ctx, subscriptionForAccount, [16]byte(id), [16]byte(account))
	err := row.Scan((*[16]byte)(&subscription.ID), &subscription.Plan, &subscription.Status)
	if err != nil {
		return billing.Subscription{}, failure("subscription_for_account", err, billing.InvoiceNotFound)
	}
	return subscription, nil
}

// SubscriptionGet reads all of a subscription of the account.
func SubscriptionGet(ctx context.Context, connection *pgxpool.Conn, id, account uuid.UUID) (billing.Subscription, error) {
	return theSubscription("subscription_get", connection.QueryRow(ctx, subscriptionGet, [16]byte(id), [16]byte(account)))
}

// SubscriptionList reads one more than the page has, which says whether there is a next one.
func SubscriptionList(ctx context.Context, connection *pgxpool.Conn, account uuid.UUID, page billing.Page) ([]billing.Subscription, error) {
	rows, _ := connection.Query(ctx, subscriptionList, // CollectRows returns the error
		[16]byte(account), page.After.CreatedAt, [16]byte(page.After.ID), int64(page.Limit)+1)
	subscriptions, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (billing.Subscription, error) {
		return scanSubscription(row)
	})
	if err != nil {
		return nil, failure("subscription_list", err, billing.Internal)
	}
	return subscriptions, nil
}

// SubscriptionCreate makes an active subscription of the account, if that exists.
func SubscriptionCreate(ctx context.Context, connection *pgxpool.Conn, account uuid.UUID, s billing.Subscription) (billing.Subscription, error) {
	created, err := theSubscription("subscription_create",
		connection.QueryRow(ctx, subscriptionCreate, [16]byte(s.ID), [16]byte(account), s.Plan, s.PriceCents, s.Currency))
	if violates(err, foreignKeyViolation, "subscriptions_account_id_fkey") {
		return created, &billing.Error{Kind: billing.UnknownAccount, Cause: err}
	}
	return created, err
}

// SubscriptionLock reads a subscription of the account and keeps it for the transaction.
func SubscriptionLock(ctx context.Context, connection *pgxpool.Conn, id, account uuid.UUID) (billing.Subscription, error) {
	return theSubscription("subscription_lock", connection.QueryRow(ctx, subscriptionLock, [16]byte(id), [16]byte(account)))
}

// SubscriptionUpdate writes what can change of a subscription that is locked.
func SubscriptionUpdate(ctx context.Context, connection *pgxpool.Conn, account uuid.UUID, s billing.Subscription) (billing.Subscription, error) {
	return theSubscription("subscription_update",
		connection.QueryRow(ctx, subscriptionUpdate, [16]byte(s.ID), [16]byte(account), s.Plan, s.Status, s.PriceCents))
}

// SubscriptionDelete removes a subscription that is locked and has no invoices.
func SubscriptionDelete(ctx context.Context, connection *pgxpool.Conn, id, account uuid.UUID) error {
	_, err := connection.Exec(ctx, subscriptionDelete, [16]byte(id), [16]byte(account))
	if violates(err, foreignKeyViolation, "invoices_subscription_id_fkey") {
		return &billing.Error{Kind: billing.HasInvoices}
	}
	if err != nil {
		return failure("subscription_delete", err, billing.Internal)
	}
	return nil
}

// SubscriptionStatement reads the months of a subscription of the account, in its currency.
func SubscriptionStatement(ctx context.Context, connection *pgxpool.Conn, account uuid.UUID, s billing.Subscription) ([]billing.Month, error) {
	rows, _ := connection.Query(ctx, subscriptionStatement, [16]byte(account), [16]byte(s.ID), s.Currency)
	months, err := pgx.CollectRows(rows, pgx.RowToStructByPos[billing.Month])
	if err != nil {
		return nil, failure("subscription_statement", err, billing.Internal)
	}
	return months, nil
}

func theSubscription(operation string, row pgx.Row) (billing.Subscription, error) {
	subscription, err := scanSubscription(row)
	if err != nil {
		return billing.Subscription{}, failure(operation, err, billing.SubscriptionNotFound)
	}
	return subscription, nil
}

func scanSubscription(row pgx.Row) (s billing.Subscription, err error) {
	err = row.Scan((*[16]byte)(&s.ID), &s.Plan, &s.Status, &s.PriceCents, &s.Currency, &s.CreatedAt, &s.Version)
	return s, err
}
