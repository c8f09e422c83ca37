package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"bakeoff/billing/internal/billing"
)

const subscriptionForAccount = `SELECT id, plan, status FROM subscriptions WHERE id = $1 AND account_id = $2`

// SubscriptionForAccount reads a subscription of the account.
func SubscriptionForAccount(ctx context.Context, connection *pgxpool.Conn, id, account uuid.UUID) (billing.Subscription, error) {
	var subscription billing.Subscription
	row := connection.QueryRow(ctx, subscriptionForAccount, [16]byte(id), [16]byte(account))
	err := row.Scan((*[16]byte)(&subscription.ID), &subscription.Plan, &subscription.Status)
	if err != nil {
		return billing.Subscription{}, failure("subscription_for_account", err)
	}
	return subscription, nil
}
