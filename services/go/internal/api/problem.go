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

const problemBase = "https://bakeoff.invalid/problems/"

type problem struct {
	status              int
	name, title, detail string
}

// problems is the contract's table. Nothing else is ever said to a client.
var problems = map[billing.Kind]problem{
	billing.MalformedID:         {400, "malformed", "Malformed request", "The id in the path is not a lower-case UUID."},
	billing.Unauthenticated:     {401, "unauthenticated", "Unauthenticated", "A valid bearer token is required."},
	billing.InvoiceNotFound:     {404, "not_found", "Not found", "There is no such invoice."},
	billing.UnknownRoute:        {404, "not_found", "Not found", "There is no such resource."},
	billing.MethodNotAllowed:    {405, "method_not_allowed", "Method not allowed", "The resource does not support this method."},
	billing.Internal:            {500, "internal", "Internal error", "The service failed."},
	billing.PaymentFailed:       {502, "payment_failed", "Payment provider failed", "The payment provider answered with an error."},
	billing.DatabaseUnavailable: {503, "database_unavailable", "Database unavailable", "The database did not answer in time."},
	billing.PaymentUnavailable:  {503, "payment_unavailable", "Payment provider unavailable", "The payment provider could not be reached."},
	billing.Timeout:             {504, "timeout", "Timed out", "The request took too long."},
	billing.PaymentTimeout:      {504, "payment_timeout", "Payment provider timed out", "The payment provider did not answer in time."},
}

// problemBody is an RFC 9457 problem.
type problemBody struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Instance  string `json:"instance"`
	RequestID string `json:"request_id"`
}

// writeProblem answers a failure, and keeps its cause for the access log.
func (a *API) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	failure, known := errors.AsType[*billing.Error](err)
	if !known {
		failure = &billing.Error{Kind: billing.Internal, Cause: err}
	}
	current := exchangeOf(r.Context())
	current.cause = failure.Cause
	problem := problems[failure.Kind]
	switch problem.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		w.Header().Set("Retry-After", "1")
	}
	body := problemBody{
		Type:      problemBase + problem.name,
		Title:     problem.title,
		Status:    problem.status,
		Detail:    problem.detail,
		Instance:  pathAsSent(r),
		RequestID: current.meta.RequestID,
	}
	a.writeJSON(w, r, problem.status, "application/problem+json", body)
}

func pathAsSent(r *http.Request) string {
	if !strings.HasPrefix(r.RequestURI, "/") {
		return r.URL.EscapedPath()
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return path
}

// writeJSON answers with one compact document and its length. An Encoder, since
// Marshal writes < > & as escapes, and the other service does not.
func (a *API) writeJSON(w http.ResponseWriter, r *http.Request, status int, contentType string, document any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		panic(err) // no document of ours can fail
	}
	body.Truncate(body.Len() - 1) // the encoder's newline
	if a.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.Bytes()) // it fails if the client is gone: nobody to tell
	}
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
		for _, method := range []string{"GET", "HEAD", "POST", "PATCH", "DELETE"} {
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
