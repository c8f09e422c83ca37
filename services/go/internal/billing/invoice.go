package billing

import (
	"time"

	"github.com/google/uuid"
)

// Invoice is what a subscription owes for a period. Money is integer minor
// units and an ISO 4217 code.
type Invoice struct {
	ID             uuid.UUID
	SubscriptionID uuid.UUID
	// Status is draft, open, paid or void.
	Status      string
	AmountCents int64
	Currency    string
	CreatedAt   time.Time
}

// Payment is the payment of an invoice, as its provider knows it.
type Payment struct {
	ID string
	// Status is pending, succeeded, declined or unspecified.
	Status      string
	AmountCents int64
	Currency    string
	UpdatedAt   time.Time
}
