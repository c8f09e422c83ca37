package api

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"bakeoff/billing/internal/billing"
	"bakeoff/billing/internal/postgres"
)

// invoicePayment answers with an invoice of the caller, its subscription and
// its payment. The connection is back in the pool before the provider is asked.
func (a *API) invoicePayment(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	current := exchangeOf(ctx)
	id, ok := billing.ParseID(chi.URLParam(r, "id"))
	if !ok {
		return &billing.Error{Kind: billing.MalformedID}
	}

	var invoice billing.Invoice
	var subscription billing.Subscription
	err := a.database.WithConnection(ctx, func(connection *pgxpool.Conn) (err error) {
		invoice, err = postgres.InvoiceForAccount(ctx, connection, id, current.account)
		if err != nil {
			return err
		}
		subscription, err = postgres.SubscriptionForAccount(ctx, connection, invoice.SubscriptionID, current.account)
		return err
	})
	if err != nil {
		return err
	}

	payment, err := a.payments.GetPayment(ctx, invoice.ID, current.meta)
	if err != nil {
		return err
	}

	a.writeJSON(w, r, http.StatusOK, "application/json", newInvoicePaymentBody(invoice, subscription, payment))
	return nil
}

type invoicePaymentBody struct {
	InvoiceID    uuid.UUID        `json:"invoice_id"`
	Status       string           `json:"status"`
	AmountCents  int64            `json:"amount_cents"`
	Currency     string           `json:"currency"`
	CreatedAt    string           `json:"created_at"`
	Subscription subscriptionBody `json:"subscription"`
	Payment      paymentBody      `json:"payment"`
}

type subscriptionBody struct {
	ID     uuid.UUID `json:"id"`
	Plan   string    `json:"plan"`
	Status string    `json:"status"`
}

type paymentBody struct {
	ID          string `json:"id"`
	Status      string `json:"status"`
	AmountCents int64  `json:"amount_cents"`
	Currency    string `json:"currency"`
	UpdatedAt   string `json:"updated_at"`
}

func newInvoicePaymentBody(invoice billing.Invoice, subscription billing.Subscription, payment billing.Payment) invoicePaymentBody {
	return invoicePaymentBody{
		InvoiceID:   invoice.ID,
		Status:      invoice.Status,
		AmountCents: invoice.AmountCents,
		Currency:    invoice.Currency,
		CreatedAt:   invoice.CreatedAt.UTC().Format("2006-01-02T15:04:05.000000Z"),
		Subscription: subscriptionBody{
			ID:     subscription.ID,
			Plan:   subscription.Plan,
			Status: subscription.Status,
		},
		Payment: paymentBody{
			ID:          payment.ID,
			Status:      payment.Status,
			AmountCents: payment.AmountCents,
			Currency:    payment.Currency,
			UpdatedAt:   payment.UpdatedAt.UTC().Format("2006-01-02T15:04:05.000Z"),
		},
	}
}
