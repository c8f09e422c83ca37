package billing

import (
	"time"

	"github.com/google/uuid"
)

// Subscription is what an account has subscribed to.
type Subscription struct {
	ID uuid.UUID
	// Plan is starter, team or business.
	Plan string
	// Status is active, past_due or canceled.
	Status     string
	PriceCents int64
	Currency   string
	CreatedAt  time.Time
	// Version counts the changes, from 1.
	Version int32
}

// SubscriptionPatch names what to change; nil stays as it is.
type SubscriptionPatch struct {
	Plan       *string
	Status     *string
	PriceCents *int64
}

// Apply changes the subscription; a canceled one stays canceled.
func (s *Subscription) Apply(patch SubscriptionPatch) error {
	if patch.Status != nil && s.Status == "canceled" && *patch.Status != "canceled" {
		return &Error{Kind: TransitionNotAllowed}
	}
	replace(&s.Plan, patch.Plan)
	replace(&s.Status, patch.Status)
	replace(&s.PriceCents, patch.PriceCents)
	return nil
}

// Month is a month of a subscription's statement.
type Month struct {
	// Month is such as 2025-07.
	Month              string
	Invoices           int64
	BilledCents        int64
	PaidCents          int64
	BalanceCents       int64
	Rank               int64
	AccountInvoices    int64
	AccountBilledCents int64
}
