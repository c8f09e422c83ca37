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
	// PaymentID is the provider's id of the payment that made the invoice paid.
	PaymentID *string
	CreatedAt time.Time
	// Version counts the changes, from 1.
	Version int32
}

// InvoicePatch names what to change; nil stays as it is.
type InvoicePatch struct {
	Status      *string
	AmountCents *int64
	Currency    *string
}

// Apply changes the invoice, or says why its state does not allow that.
func (i *Invoice) Apply(patch InvoicePatch) error {
	if i.Status != "draft" && (patch.AmountCents != nil || patch.Currency != nil) {
		return &Error{Kind: NotDraft}
	}
	if patch.Status != nil && !canBecome(i.Status, *patch.Status) {
		return &Error{Kind: TransitionNotAllowed}
	}
	replace(&i.Status, patch.Status)
	replace(&i.AmountCents, patch.AmountCents)
	replace(&i.Currency, patch.Currency)
	return nil
}

// canBecome knows the life of an invoice; paid comes by a payment alone.
func canBecome(from, to string) bool {
	switch from {
	case "draft":
		return to == "draft" || to == "open" || to == "void"
	case "open":
		return to == "open" || to == "void"
	default:
		return to == from
	}
}

func replace[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}
