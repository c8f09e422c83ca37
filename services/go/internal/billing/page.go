package billing

import (
	"time"

	"github.com/google/uuid"
)

// Position is a place in a list that is ordered by time and id.
type Position struct {
	CreatedAt time.Time
	ID        uuid.UUID
}

// Page asks for the items of a list after a position.
type Page struct {
	After Position
	Limit int
}
