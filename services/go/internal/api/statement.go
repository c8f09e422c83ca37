package api

import (
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"bakeoff/billing/internal/billing"
	"bakeoff/billing/internal/postgres"
)

// statement answers with what a subscription was billed by month, and where it
// stands among all subscriptions of the account.
func (a *API) statement(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	account := exchangeOf(ctx).account
	var subscription billing.Subscription
	var months []billing.Month
	err = a.database.WithConnection(ctx, func(connection *pgxpool.Conn) (err error) {
		if subscription, err = postgres.SubscriptionGet(ctx, connection, id, account); err != nil {
			return err
		}
		months, err = postgres.SubscriptionStatement(ctx, connection, account, subscription)
		return err
	})
	if err != nil {
		return err
	}
	body := statementBody{SubscriptionID: id, Currency: subscription.Currency, Months: make([]monthBody, 0, len(months))}
	for _, month := range months {
		body.Months = append(body.Months, monthBody(month))
	}
	a.writeJSON(w, r, http.StatusOK, jsonType, body)
	return nil
}

type statementBody struct {
	SubscriptionID uuid.UUID   `json:"subscription_id"`
	Currency       string      `json:"currency"`
	Months         []monthBody `json:"months"`
}

type monthBody struct {
	Month              string `json:"month"`
	Invoices           int64  `json:"invoices"`
	BilledCents        int64  `json:"billed_cents"`
	PaidCents          int64  `json:"paid_cents"`
	BalanceCents       int64  `json:"balance_cents"`
	Rank               int64  `json:"rank"`
	AccountInvoices    int64  `json:"account_invoices"`
	AccountBilledCents int64  `json:"account_billed_cents"`
}
