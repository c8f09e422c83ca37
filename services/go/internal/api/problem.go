package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"bakeoff/billing/internal/billing"
)

const (
	problemBase = "https://bakeoff.invalid/problems/"
	problemType = "application/problem+json"
	jsonType    = "application/json"
)

type problem struct {
	status              int
	name, title, detail string
}

// problems is the contract's table. Nothing else is ever said to a client.
var problems = map[billing.Kind]problem{
	billing.MalformedID:          {400, "malformed", "Malformed request", "The id in the path is not a lower-case UUID."},
	billing.MalformedQuery:       {400, "malformed", "Malformed request", "The query is not one that this operation takes."},
	billing.MalformedKey:         {400, "malformed", "Malformed request", "The Idempotency-Key header is missing, repeated or not 1 to 255 visible ASCII characters."},
	billing.UnreadableBody:       {400, "malformed", "Malformed request", "The body could not be read."},
	billing.MalformedBody:        {400, "malformed", "Malformed request", "The body is not a flat JSON object with distinct names."},
	billing.WrongFields:          {400, "malformed", "Malformed request", "The body has fields that are wrong."},
	billing.Unauthenticated:      {401, "unauthenticated", "Unauthenticated", "A valid bearer token is required."},
	billing.PaymentDeclined:      {402, "payment_declined", "Payment declined", "The payment provider declined the payment."},
	billing.UnknownAccount:       {403, "forbidden", "Forbidden", "The token's account does not exist."},
	billing.SubscriptionNotFound: {404, "not_found", "Not found", "There is no such subscription."},
	billing.InvoiceNotFound:      {404, "not_found", "Not found", "There is no such invoice."},
	billing.UnknownRoute:         {404, "not_found", "Not found", "There is no such resource."},
	billing.MethodNotAllowed:     {405, "method_not_allowed", "Method not allowed", "The resource does not support this method."},
	billing.BodyTimeout:          {408, "body_timeout", "Body too slow", "The body did not arrive in time."},
	billing.AlreadyPaid:          {409, "already_paid", "Already paid", "The invoice is paid."},
	billing.HasInvoices:          {409, "has_invoices", "Has invoices", "The subscription has invoices."},
	billing.NotDraft:             {409, "not_draft", "Not a draft", "The invoice is not a draft."},
	billing.NotPayable:           {409, "not_payable", "Not payable", "Only an open invoice can be paid."},
	billing.PaymentInProgress:    {409, "payment_in_progress", "Payment in progress", "A payment of the invoice is in progress."},
	billing.TransitionNotAllowed: {409, "transition_not_allowed", "Transition not allowed", "The status cannot change to this one."},
	billing.PreconditionFailed:   {412, "precondition_failed", "Precondition failed", "The resource has another version."},
	billing.BodyTooLarge:         {413, "body_too_large", "Body too large", "The body is over 1 MiB."},
	billing.UnsupportedMediaType: {415, "unsupported_media_type", "Unsupported media type", "The body has to be application/json in UTF-8, without an encoding."},
	billing.KeyReused:            {422, "idempotency_key_reused", "Idempotency key reused", "The key was used for another request."},
	billing.InvalidFields:        {422, "invalid", "Invalid fields", "The body has values that are not allowed."},
	billing.PreconditionRequired: {428, "precondition_required", "Precondition required", "The request needs an If-Match header."},
	billing.Internal:             {500, "internal", "Internal error", "The service failed."},
	billing.PaymentFailed:        {502, "payment_failed", "Payment provider failed", "The payment provider answered with an error."},
	billing.DatabaseUnavailable:  {503, "database_unavailable", "Database unavailable", "The database did not answer in time."},
	billing.OutcomeUnknown:       {503, "payment_outcome_unknown", "Payment outcome unknown", "The payment may have been made; send the same key again."},
	billing.PaymentUnavailable:   {503, "payment_unavailable", "Payment provider unavailable", "The payment provider could not be reached."},
	billing.OutcomeTimeout:       {504, "payment_outcome_unknown", "Payment outcome unknown", "The payment may have been made; send the same key again."},
	billing.Timeout:              {504, "timeout", "Timed out", "The request took too long."},
	billing.PaymentTimeout:       {504, "payment_timeout", "Payment provider timed out", "The payment provider did not answer in time."},
}

// problemBody is an RFC 9457 problem. Its members and their order are the contract's.
type problemBody struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	Instance  string       `json:"instance"`
	RequestID string       `json:"request_id"`
	Errors    []fieldError `json:"errors,omitempty"`
}

// alreadyPaidBody has one member more, which is null where the payment is not ours.
type alreadyPaidBody struct {
	problemBody
	PaymentID *string `json:"payment_id"`
}

type fieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

func newProblemBody(kind billing.Kind, instance, requestID string) problemBody {
	problem := problems[kind]
	return problemBody{
		Type:      problemBase + problem.name,
		Title:     problem.title,
		Status:    problem.status,
		Detail:    problem.detail,
		Instance:  instance,
		RequestID: requestID,
	}
}

// writeProblem answers a failure, and keeps its cause for the access log.
func (a *API) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	failure, known := errors.AsType[*billing.Error](err)
	if !known {
		failure = &billing.Error{Kind: billing.Internal, Cause: err}
	}
	current := exchangeOf(r.Context())
	current.cause = failure.Cause
	setProblemHeaders(w.Header(), failure.Kind)
	body := newProblemBody(failure.Kind, pathAsSent(r), current.meta.RequestID)
	for _, wrong := range failure.Fields {
		body.Errors = append(body.Errors, fieldError(wrong))
	}
	var document any = body
	if failure.Kind == billing.AlreadyPaid {
		document = alreadyPaidBody{body, failure.PaymentID}
	}
	a.writeJSON(w, r, body.Status, problemType, document)
}

func setProblemHeaders(header http.Header, kind billing.Kind) {
	switch problems[kind].status {
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", "Bearer")
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		header.Set("Connection", "close")
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		header.Set("Retry-After", "1")
	}
	if kind == billing.PaymentInProgress {
		header.Set("Retry-After", "1")
	}
}

func pathAsSent(r *http.Request) string {
	if !strings.HasPrefix(r.RequestURI, "/") {
		return r.URL.EscapedPath()
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return path
}

// writeJSON answers with one compact document.
func (a *API) writeJSON(w http.ResponseWriter, r *http.Request, status int, contentType string, document any) {
	a.writeBody(w, r, status, contentType, encode(document))
}

// encode makes a compact document. With an Encoder, since Marshal writes < > & as
// escapes, and the other service does not.
func encode(document any) []byte {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		panic(err) // no document of ours can fail
	}
	body.Truncate(body.Len() - 1) // the encoder's newline
	return body.Bytes()
}

// writeBody answers with a body and its length.
func (a *API) writeBody(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	a.writeStatus(w, status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // it fails if the client is gone: nobody to tell
	}
}

// writeStatus answers with the headers so far.
func (a *API) writeStatus(w http.ResponseWriter, status int) {
	if a.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(status)
}

// unknownRoute answers a path that is none of ours.
func unknownRoute(http.ResponseWriter, *http.Request) error {
	return &billing.Error{Kind: billing.UnknownRoute}
}

// methodNotAllowed answers a method that the resource lacks. chi keeps what it
// allows to itself, and takes a method that it does not know for this on any path.
func methodNotAllowed(routes chi.Routes) handlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		var allowed []string
		for _, method := range methods {
			match := chi.NewRouteContext()
			if routes.Match(match, method, r.URL.EscapedPath()) && !hasEmptyParameter(match) {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) == 0 {
			return unknownRoute(w, r)
		}
		w.Header().Set("Allow", strings.Join(allowed, ","))
		return &billing.Error{Kind: billing.MethodNotAllowed}
	}
}
