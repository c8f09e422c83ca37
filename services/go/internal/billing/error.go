package billing

// Kind is what can go wrong. The table in internal/api/problem.go gives each
// one its answer.
type Kind string

// The kinds of failure.
const (
	MalformedID         Kind = "malformed id"
	Unauthenticated     Kind = "unauthenticated"
	InvoiceNotFound     Kind = "no such invoice"
	UnknownRoute        Kind = "unknown route"
	MethodNotAllowed    Kind = "method not allowed"
	Internal            Kind = "internal"
	DatabaseUnavailable Kind = "database"
	PaymentUnavailable  Kind = "payment provider unavailable"
	PaymentTimeout      Kind = "payment provider timed out"
	PaymentFailed       Kind = "payment provider failed"
	Timeout             Kind = "timeout"
)

// Error is a failed request. The kind decides the answer; the cause, where
// there is one, is logged and never leaves in an answer.
type Error struct {
	Kind  Kind
	Cause error
}

// Error says the kind and the cause.
func (e *Error) Error() string {
	if e.Cause == nil {
		return string(e.Kind)
	}
	return string(e.Kind) + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }
