package billing

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
)

// Payment is the payment of an invoice, as its provider knows it.
type Payment struct {
	ID        string
	InvoiceID string
	// Status is pending, succeeded, declined or unspecified.
	Status      string
	AmountCents int64
	Currency    string
	UpdatedAt   time.Time
	// IdempotencyKey is the key of the charge; empty where it was only looked up.
	IdempotencyKey string
}

// Attempt is one charge to try till the provider says how it ended. Invoice,
// amount and currency are frozen, so that each try asks for the same.
type Attempt struct {
	ID          uuid.UUID
	InvoiceID   uuid.UUID
	AccountID   uuid.UUID
	AmountCents int64
	Currency    string
	// Tries counts the sends, this one included.
	Tries int32
}

// reviewTries is after how many tries somebody should look at an attempt.
const reviewTries = 12

// Key is the provider's idempotency key: of the attempt, never the client's.
func (a *Attempt) Key() string { return "att-" + a.ID.String() }

// IsEndedBy says whether the payment is the end of this attempt, and of no other.
func (a *Attempt) IsEndedBy(payment Payment) bool {
	return payment.IdempotencyKey == a.Key() &&
		payment.InvoiceID == a.InvoiceID.String() &&
		payment.AmountCents == a.AmountCents &&
		payment.Currency == a.Currency &&
		(payment.Status == "declined" || payment.Status == "succeeded" && payment.ID != "")
}

// NeedsReview says whether it was tried in vain too often.
func (a *Attempt) NeedsReview() bool { return a.Tries > reviewTries }

// Backoff is how long to wait before the next try: a second, doubled with each
// try up to five minutes, give or take a fifth.
func (a *Attempt) Backoff() time.Duration {
	wait := min(300_000, 1000*math.Pow(2, float64(a.Tries-1)))
	return time.Duration(wait*(0.8+0.4*rand.Float64())) * time.Millisecond
}
