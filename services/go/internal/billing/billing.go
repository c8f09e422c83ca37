// Package billing is the domain: what an invoice is and what can go wrong,
// without HTTP, SQL or gRPC.
package billing

import "github.com/google/uuid"

// ParseID reads an id in the one spelling that the API takes: a lower-case UUID
// with hyphens.
func ParseID(text string) (id uuid.UUID, ok bool) {
	id, err := uuid.Parse(text)
	return id, err == nil && id.String() == text
}
