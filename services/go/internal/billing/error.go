package billing

// Kind is what can go wrong. The table in internal/api/problem.go gives each
// one its answer.
type Kind string

// The kinds of failure.
const (
	MalformedID          Kind = "malformed id"
	MalformedQuery       Kind = "malformed query"
	MalformedKey         Kind = "malformed idempotency key"
	UnreadableBody       Kind = "unreadable body"
	MalformedBody        Kind = "malformed body"
	WrongFields          Kind = "wrong fields"
	Unauthenticated      Kind = "unauthenticated"
	PaymentDeclined      Kind = "payment declined"
	UnknownAccount       Kind = "no such account"
	SubscriptionNotFound Kind = "no such subscription"
	InvoiceNotFound      Kind = "no such invoice"
	UnknownRoute         Kind = "unknown route"
	MethodNotAllowed     Kind = "method not allowed"
	BodyTimeout          Kind = "body timed out"
	AlreadyPaid          Kind = "already paid"
	HasInvoices          Kind = "has invoices"
	NotDraft             Kind = "not a draft"
	NotPayable           Kind = "not payable"
	PaymentInProgress    Kind = "payment in progress"
	TransitionNotAllowed Kind = "transition not allowed"
	PreconditionFailed   Kind = "precondition failed"
	BodyTooLarge         Kind = "body too large"
	UnsupportedMediaType Kind = "unsupported media type"
	KeyReused            Kind = "idempotency key reused"
	InvalidFields        Kind = "invalid fields"
	PreconditionRequired Kind = "precondition required"
	Internal             Kind = "internal"
	DatabaseUnavailable  Kind = "database"
	OutcomeUnknown       Kind = "payment outcome unknown"
	OutcomeTimeout       Kind = "payment outcome unknown in time"
	PaymentUnavailable   Kind = "payment provider unavailable"
	PaymentTimeout       Kind = "payment provider timed out"
	PaymentFailed        Kind = "payment provider failed"
	Timeout              Kind = "timeout"
)

// Error is a failed request. The kind decides the answer; the cause, where
// there is one, is logged and never leaves in an answer.
type Error struct {
	Kind  Kind
	Cause error
	// Fields are what is wrong with a body: of WrongFields and InvalidFields.
	Fields []FieldError
	// PaymentID is the payment of an invoice that is AlreadyPaid, where it has one.
	PaymentID *string
}

// FieldError is what is wrong with a field of a body. An empty field means the
// body as a whole.
type FieldError struct{ Field, Detail string }

// Error says the kind and the cause.
func (e *Error) Error() string {
	if e.Cause == nil {
		return string(e.Kind)
	}
	return string(e.Kind) + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }
