package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"bakeoff/billing/internal/billing"
	"bakeoff/billing/internal/payments"
)

// requestTimeout bounds a whole request.
const requestTimeout = 5 * time.Second

const maxRequestIDLength = 64

// statusHungUp is logged for a client that is gone before its answer.
const statusHungUp = 499

// exchange is what the layers know of one request and its answer.
type exchange struct {
	meta    payments.CallMeta
	account uuid.UUID
	cause   error
	// unread: the body could not be read. Then net/http takes the client for gone,
	// and it need not be.
	unread bool
}

type exchangeKey struct{}

// exchangeOf returns what the outermost layer, requestID, made.
func exchangeOf(ctx context.Context) *exchange {
	return ctx.Value(exchangeKey{}).(*exchange)
}

// requestID takes or makes the request id, echoes it, and keeps what goes on to
// the provider.
func (a *API) requestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		current := &exchange{meta: payments.CallMeta{
			RequestID:   givenRequestID(r.Header),
			Traceparent: traceparent(r.Header),
		}}
		if current.meta.RequestID == "" {
			current.meta.RequestID = uuid.NewString()
		}
		w.Header().Set("X-Request-Id", current.meta.RequestID)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, current)))
	})
}

// accessLog logs one line a request; health checks at debug level.
func (a *API) accessLog(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		if r.ContentLength != 0 {
			limitBody(w, start)
		}
		answer := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(answer, r)

		current := exchangeOf(r.Context())
		route := chi.RouteContext(r.Context()).RoutePattern()
		status, bytes := answer.Status(), answer.BytesWritten()
		if r.Context().Err() != nil && !current.unread {
			status, bytes, current.cause = statusHungUp, 0, nil
		}
		fields := []zap.Field{
			zap.String("request_id", current.meta.RequestID),
			zap.String("method", r.Method),
			zap.String("route", route),
			zap.Int("status", status),
			zap.Int64("latency_us", time.Since(start).Microseconds()),
			zap.Int("bytes", bytes),
		}
		if current.cause != nil {
			fields = append(fields, zap.String("error", current.cause.Error()))
		}
		a.logger.Log(accessLevel(route), "request", fields...)
	})
}

func accessLevel(route string) zapcore.Level {
	if route == "/livez" || route == "/readyz" {
		return zapcore.DebugLevel
	}
	return zapcore.InfoLevel
}

// recover turns a panic into a problem.
func (a *API) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if cause := recover(); cause != nil {
				a.logger.Error("panic", zap.String("request_id", exchangeOf(r.Context()).meta.RequestID), zap.Stack("stack"))
				a.writeProblem(w, r, &billing.Error{Kind: billing.Internal, Cause: fmt.Errorf("panic: %v", cause)})
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// timeout limits the time that a request takes, by its context: see handle.
func (a *API) timeout(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// requireParameters makes a path with an empty parameter an unknown one, which
// chi would route.
func (a *API) requireParameters(next http.Handler) http.Handler {
	return a.handle(func(w http.ResponseWriter, r *http.Request) error {
		if route := chi.RouteContext(r.Context()); hasEmptyParameter(route) {
			route.RoutePatterns = nil // what the access log says
			return unknownRoute(w, r)
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

func hasEmptyParameter(route *chi.Context) bool {
	return slices.Contains(route.URLParams.Values, "")
}

// handlerFunc is a handler that leaves the answer to a failure to handle.
type handlerFunc func(w http.ResponseWriter, r *http.Request) error

// handle answers the failure of a handler.
func (a *API) handle(handler handlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := handler(w, r)
		if err != nil && isOver(r.Context()) {
			err = &billing.Error{Kind: billing.Timeout, Cause: err}
		}
		if err != nil {
			a.writeProblem(w, r, err)
		}
	}
}

// isOver says whether a context's time is. On a busy machine its timer is late,
// and the provider, who knows the deadline too, may be the first to say so.
func isOver(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return limited && !time.Now().Before(deadline)
}

// givenRequestID is the caller's, where it is good, or empty.
func givenRequestID(header http.Header) string {
	values := header.Values("X-Request-Id")
	if len(values) == 1 && isVisible(values[0], maxRequestIDLength) {
		return values[0]
	}
	return ""
}

// isVisible says whether value is 1 to longest bytes of visible ASCII.
func isVisible(value string, longest int) bool {
	for _, c := range []byte(value) {
		if c < 0x21 || c > 0x7E {
			return false
		}
	}
	return len(value) >= 1 && len(value) <= longest
}

// traceparent is the caller's, where it is valid, or empty.
func traceparent(header http.Header) string {
	values := header.Values("Traceparent")
	if len(values) == 1 && isTraceparent(values[0]) {
		return values[0]
	}
	return ""
}

// isTraceparent knows version 00 of W3C Trace Context.
func isTraceparent(value string) bool {
	parts := strings.Split(value, "-")
	return len(parts) == 4 && parts[0] == "00" &&
		isHex(parts[1], 32) && strings.Trim(parts[1], "0") != "" &&
		isHex(parts[2], 16) && strings.Trim(parts[2], "0") != "" &&
		isHex(parts[3], 2)
}

func isHex(text string, length int) bool {
	return len(text) == length && strings.Trim(text, "0123456789abcdef") == ""
}
