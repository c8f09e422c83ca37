// Package api answers HTTP requests.
package api

import (
	"net/http"
	"sync/atomic"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"bakeoff/billing/internal/config"
	"bakeoff/billing/internal/payments"
	"bakeoff/billing/internal/postgres"
)

// API holds what the handlers need.
type API struct {
	database *postgres.Database
	payments *payments.Client
	tokens   authenticator
	logger   *zap.Logger
	draining atomic.Bool
}

// New makes the API; it owns neither database nor payments.
func New(settings config.Config, database *postgres.Database, payments *payments.Client, logger *zap.Logger) *API {
	return &API{database: database, payments: payments, tokens: newAuthenticator(settings), logger: logger}
}

// Drain makes readiness fail and asks clients to close their connections.
func (a *API) Drain() { a.draining.Store(true) }

// Router is the whole surface of the service.
func (a *API) Router() http.Handler {
	router := chi.NewRouter()
	router.Use(a.requestID, a.accessLog, a.recover, a.timeout)
	router.NotFound(a.handle(unknownRoute))
	router.MethodNotAllowed(a.handle(methodNotAllowed(router)))

	get(router, "/livez", a.handle(a.livez))
	get(router, "/readyz", a.handle(a.readyz))
	router.Group(func(router chi.Router) {
		router.Use(a.requireParameters, a.authenticate)
		get(router, "/v1/invoices/{id}/payment", a.handle(a.invoicePayment))
	})
	return router
}

// get routes GET, and HEAD to the same handler.
func get(router chi.Router, pattern string, handler http.HandlerFunc) {
	router.Get(pattern, handler)
	router.Head(pattern, handler)
}
