package api

import (
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"bakeoff/billing/internal/billing"
	"bakeoff/billing/internal/postgres"
)

const (
	subscriptionsList = "subscriptions"
	subscriptionsPath = "/v1/subscriptions/"
)

// createSubscription makes an active subscription.
func (a *API) createSubscription(w http.ResponseWriter, r *http.Request) error {
	if err := takeNoQuery(r); err != nil {
		return err
	}
	fields, err := readForm(w, r)
	if err != nil {
		return err
	}
	plan := fields.text("plan", required, plans, planDemand)
	price := fields.cents("price_cents", required, 0)
	currency := fields.currency(required)
	if err := fields.finish(); err != nil {
		return err
	}
	ctx := r.Context()
	subscription := billing.Subscription{ID: uuid.New(), Plan: *plan, PriceCents: *price, Currency: *currency}
	err = a.database.WithConnection(ctx, func(connection *pgxpool.Conn) (err error) {
		subscription, err = postgres.SubscriptionCreate(ctx, connection, exchangeOf(ctx).account, subscription)
		return err
	})
	if err != nil {
		return err
	}
	w.Header().Set("Location", subscriptionsPath+subscription.ID.String())
	a.writeVersion(w, r, http.StatusCreated, subscription.Version, newSubscriptionBody(subscription))
	return nil
}

// listSubscriptions answers with a page of the caller's subscriptions.
func (a *API) listSubscriptions(w http.ResponseWriter, r *http.Request) error {
	page, err := a.page(r, subscriptionsList)
	if err != nil {
		return err
	}
	ctx := r.Context()
	var subscriptions []billing.Subscription
	err = a.database.WithConnection(ctx, func(connection *pgxpool.Conn) (err error) {
		subscriptions, err = postgres.SubscriptionList(ctx, connection, exchangeOf(ctx).account, page)
		return err
	})
	if err != nil {
		return err
	}
	subscriptions, next := cut(a, r, subscriptionsList, page.Limit, subscriptions, func(s billing.Subscription) billing.Position {
		return billing.Position{CreatedAt: s.CreatedAt, ID: s.ID}
	})
	a.writeJSON(w, r, http.StatusOK, jsonType, newPageBody(subscriptions, newSubscriptionBody, next))
	return nil
}

// getSubscription answers with a subscription of the caller.
func (a *API) getSubscription(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	var subscription billing.Subscription
	err = a.database.WithConnection(ctx, func(connection *pgxpool.Conn) (err error) {
		subscription, err = postgres.SubscriptionGet(ctx, connection, id, exchangeOf(ctx).account)
		return err
	})
	if err != nil {
		return err
	}
	a.writeIfChanged(w, r, subscription.Version, newSubscriptionBody(subscription))
	return nil
}

// patchSubscription changes the fields that the body names.
func (a *API) patchSubscription(w http.ResponseWriter, r *http.Request) error {
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
	patch := billing.SubscriptionPatch{
		Plan:       fields.text("plan", optional, plans, planDemand),
		Status:     fields.text("status", optional, states, statesDemand),
		PriceCents: fields.cents("price_cents", optional, 0),
	}
	if err := fields.finishPatch(); err != nil {
		return err
	}
	ctx := r.Context()
	account := exchangeOf(ctx).account
	var subscription billing.Subscription
	err = a.database.WithTransaction(ctx, func(connection *pgxpool.Conn) (err error) {
		if subscription, err = postgres.SubscriptionLock(ctx, connection, id, account); err != nil {
			return err
		}
		if err := checkIfMatch(r.Header, subscription.Version); err != nil {
			return err
		}
		if err := subscription.Apply(patch); err != nil {
			return err
		}
		subscription, err = postgres.SubscriptionUpdate(ctx, connection, account, subscription)
		return err
	})
	if err != nil {
		return err
	}
	a.writeVersion(w, r, http.StatusOK, subscription.Version, newSubscriptionBody(subscription))
	return nil
}

// deleteSubscription removes a subscription that has no invoices.
func (a *API) deleteSubscription(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	account := exchangeOf(ctx).account
	err = a.database.WithTransaction(ctx, func(connection *pgxpool.Conn) error {
		subscription, err := postgres.SubscriptionLock(ctx, connection, id, account)
		if err != nil {
			return err
		}
		if err := checkIfMatch(r.Header, subscription.Version); err != nil {
			return err
		}
		return postgres.SubscriptionDelete(ctx, connection, id, account)
	})
	if err != nil {
		return err
	}
	a.writeStatus(w, http.StatusNoContent)
	return nil
}

type subscriptionBody struct {
	ID         uuid.UUID `json:"id"`
	Plan       string    `json:"plan"`
	Status     string    `json:"status"`
	PriceCents int64     `json:"price_cents"`
	Currency   string    `json:"currency"`
	CreatedAt  string    `json:"created_at"`
}

func newSubscriptionBody(s billing.Subscription) subscriptionBody {
	return subscriptionBody{
		ID:         s.ID,
		Plan:       s.Plan,
		Status:     s.Status,
		PriceCents: s.PriceCents,
		Currency:   s.Currency,
		CreatedAt:  s.CreatedAt.UTC().Format(microseconds),
	}
}

type pageBody[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next"`
}

func newPageBody[T, B any](items []T, body func(T) B, next *string) pageBody[B] {
	page := pageBody[B]{Items: make([]B, 0, len(items)), Next: next}
	for _, item := range items {
		page.Items = append(page.Items, body(item))
	}
	return page
}
