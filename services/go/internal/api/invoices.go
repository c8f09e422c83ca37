package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"bakeoff/billing/internal/billing"
	"bakeoff/billing/internal/postgres"
)

const (
	invoicesList = "invoices"
	invoicesPath = "/v1/invoices/"
	microseconds = "2006-01-02T15:04:05.000000Z"
	milliseconds = "2006-01-02T15:04:05.000Z"
)

// createInvoice makes an invoice of a subscription of the caller.
func (a *API) createInvoice(w http.ResponseWriter, r *http.Request) error {
	if err := takeNoQuery(r); err != nil {
		return err
	}
	fields, err := readForm(w, r)
	if err != nil {
		return err
	}
	subscriptionID := fields.id("subscription_id")
	status := fields.text("status", optional, []string{"draft", "open"}, "has to be draft or open")
	amount := fields.cents("amount_cents", required, 1)
	currency := fields.currency(required)
	if err := fields.finish(); err != nil {
		return err
	}
	invoice := billing.Invoice{
		ID: uuid.New(), SubscriptionID: subscriptionID, Status: "draft", AmountCents: *amount, Currency: *currency}
	if status != nil {
		invoice.Status = *status
	}
	ctx := r.Context()
	err = a.database.WithConnection(ctx, func(connection *pgxpool.Conn) (err error) {
		invoice, err = postgres.InvoiceCreate(ctx, connection, exchangeOf(ctx).account, invoice)
		return err
	})
	if failure, ok := errors.AsType[*billing.Error](err); ok && failure.Kind == billing.SubscriptionNotFound {
		return &billing.Error{Kind: billing.InvalidFields,
			Fields: []billing.FieldError{{Field: "subscription_id", Detail: "is none of your subscriptions"}}}
	}
	if err != nil {
		return err
	}
	w.Header().Set("Location", invoicesPath+invoice.ID.String())
	a.writeVersion(w, r, http.StatusCreated, invoice.Version, newInvoiceBody(invoice))
	return nil
}

// listInvoices answers with a page of the caller's invoices.
func (a *API) listInvoices(w http.ResponseWriter, r *http.Request) error {
	page, err := a.page(r, invoicesList)
	if err != nil {
		return err
	}
	ctx := r.Context()
	var invoices []billing.Invoice
	err = a.database.WithConnection(ctx, func(connection *pgxpool.Conn) (err error) {
		invoices, err = postgres.InvoiceList(ctx, connection, exchangeOf(ctx).account, page)
		return err
	})
	if err != nil {
		return err
	}
	invoices, next := cut(a, r, invoicesList, page.Limit, invoices, func(i billing.Invoice) billing.Position {
		return billing.Position{CreatedAt: i.CreatedAt, ID: i.ID}
	})
	a.writeJSON(w, r, http.StatusOK, jsonType, newPageBody(invoices, newInvoiceBody, next))
	return nil
}

// getInvoice answers with an invoice of the caller.
func (a *API) getInvoice(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	var invoice billing.Invoice
	err = a.database.WithConnection(ctx, func(connection *pgxpool.Conn) (err error) {
		invoice, err = postgres.InvoiceGet(ctx, connection, id, exchangeOf(ctx).account)
		return err
	})
	if err != nil {
		return err
	}
	a.writeIfChanged(w, r, invoice.Version, newInvoiceBody(invoice))
	return nil
}

// patchInvoice changes the fields that the body names.
func (a *API) patchInvoice(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	if err := requireIfMatch(r.Header); err != nil {
		return err
	}
	fields, err := readForm(w, r)
	if err != nil {
		return err
	}
	patch := billing.InvoicePatch{
		Status:      fields.text("status", optional, []string{"draft", "open", "void"}, "has to be draft, open or void"),
		AmountCents: fields.cents("amount_cents", optional, 1),
		Currency:    fields.currency(optional),
	}
	if err := fields.finishPatch(); err != nil {
		return err
	}
	ctx := r.Context()
	account := exchangeOf(ctx).account
	var invoice billing.Invoice
	err = a.database.WithTransaction(ctx, func(connection *pgxpool.Conn) (err error) {
		if invoice, err = postgres.InvoiceLock(ctx, connection, id, account); err != nil {
			return err
		}
		if err := checkIfMatch(r.Header, invoice.Version); err != nil {
			return err
		}
		if err := checkNotBeingPaid(ctx, connection, invoice); err != nil {
			return err
		}
		if err := invoice.Apply(patch); err != nil {
			return err
		}
		invoice, err = postgres.InvoiceUpdate(ctx, connection, account, invoice)
		return err
	})
	if err != nil {
		return err
	}
	a.writeVersion(w, r, http.StatusOK, invoice.Version, newInvoiceBody(invoice))
	return nil
}

// checkNotBeingPaid refuses to change an invoice whose payment may be on its way.
// Only an open one can have such.
func checkNotBeingPaid(ctx context.Context, connection *pgxpool.Conn, invoice billing.Invoice) error {
	if invoice.Status != "open" {
		return nil
	}
	live, err := postgres.AttemptLive(ctx, connection, invoice.ID)
	if err != nil {
		return err
	}
	if live != nil && live.Pending {
		return &billing.Error{Kind: billing.PaymentInProgress}
	}
	return nil
}

// deleteInvoice removes a draft.
func (a *API) deleteInvoice(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	account := exchangeOf(ctx).account
	err = a.database.WithTransaction(ctx, func(connection *pgxpool.Conn) error {
		invoice, err := postgres.InvoiceLock(ctx, connection, id, account)
		if err != nil {
			return err
		}
		if err := checkIfMatch(r.Header, invoice.Version); err != nil {
			return err
		}
		if invoice.Status != "draft" {
			return &billing.Error{Kind: billing.NotDraft}
		}
		return postgres.InvoiceDelete(ctx, connection, id, account)
	})
	if err != nil {
		return err
	}
	a.writeStatus(w, http.StatusNoContent)
	return nil
}

// invoicePayment answers with an invoice of the caller, its subscription and
// its payment. The connection is back in the pool before the provider is asked.
func (a *API) invoicePayment(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	current := exchangeOf(ctx)
	id, err := pathID(r)
	if err != nil {
		return err
	}

	var invoice billing.Invoice
	var subscription billing.Subscription
	err = a.database.WithConnection(ctx, func(connection *pgxpool.Conn) (err error) {
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

	a.writeJSON(w, r, http.StatusOK, jsonType, newInvoicePaymentBody(invoice, subscription, payment))
	return nil
}

type invoiceBody struct {
	ID             uuid.UUID `json:"id"`
	SubscriptionID uuid.UUID `json:"subscription_id"`
	Status         string    `json:"status"`
	AmountCents    int64     `json:"amount_cents"`
	Currency       string    `json:"currency"`
	PaymentID      *string   `json:"payment_id"`
	CreatedAt      string    `json:"created_at"`
}

func newInvoiceBody(i billing.Invoice) invoiceBody {
	return invoiceBody{
		ID:             i.ID,
		SubscriptionID: i.SubscriptionID,
		Status:         i.Status,
		AmountCents:    i.AmountCents,
		Currency:       i.Currency,
		PaymentID:      i.PaymentID,
		CreatedAt:      i.CreatedAt.UTC().Format(microseconds),
	}
}

type invoicePaymentBody struct {
	InvoiceID    uuid.UUID            `json:"invoice_id"`
	Status       string               `json:"status"`
	AmountCents  int64                `json:"amount_cents"`
	Currency     string               `json:"currency"`
	CreatedAt    string               `json:"created_at"`
	Subscription paidSubscriptionBody `json:"subscription"`
	Payment      paymentBody          `json:"payment"`
}

type paidSubscriptionBody struct {
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
		CreatedAt:   invoice.CreatedAt.UTC().Format(microseconds),
		Subscription: paidSubscriptionBody{
			ID:     subscription.ID,
			Plan:   subscription.Plan,
			Status: subscription.Status,
		},
		Payment: newPaymentBody(payment),
	}
}

func newPaymentBody(payment billing.Payment) paymentBody {
	return paymentBody{
		ID:          payment.ID,
		Status:      payment.Status,
		AmountCents: payment.AmountCents,
		Currency:    payment.Currency,
		UpdatedAt:   payment.UpdatedAt.UTC().Format(milliseconds),
	}
}
