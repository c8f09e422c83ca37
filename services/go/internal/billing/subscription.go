package billing

import "github.com/google/uuid"

// Subscription is what an account has subscribed to.
type Subscription struct {
	ID uuid.UUID
	// Plan is starter, team or business.
	Plan string
	// Status is active, past_due or canceled.
	Status string
}
