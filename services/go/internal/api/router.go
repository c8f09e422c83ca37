// Package api answers HTTP requests.
package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"bakeoff/billing/internal/config"
	"bakeoff/billing/internal/paying"
	"bakeoff/billing/internal/payments"
	"bakeoff/billing/internal/postgres"
)

// API holds what the handlers need.
type API struct {
	database *postgres.Database
	payments *payments.Client
	payer    *paying.Payer
	tokens   authenticator
	cursors  cursors
	logger   *zap.Logger
	draining atomic.Bool
}

// New makes the API; it owns neither database nor payments nor payer.
func New(settings config.Config, database *postgres.Database, payments *payments.Client, payer *paying.Payer, logger *zap.Logger) *API {
	return &API{
		database: database,
		payments: payments,
		payer:    payer,
		tokens:   newAuthenticator(settings),
		cursors:  cursors{secret: []byte(settings.AuthJWTSecret)},
		logger:   logger,
	}
}

// Drain makes readiness fail and asks clients to close their connections.
func (a *API) Drain() { a.draining.Store(true) }

// methods are all that a resource may allow, in the order of Allow.
var methods = []string{"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"}

// Router is the whole surface of the service.
func (a *API) Router() http.Handler {
	router := chi.NewRouter()
	router.Use(a.requestID, a.accessLog, a.recover)
	router.NotFound(a.handle(unknownRoute))
	router.MethodNotAllowed(a.handle(methodNotAllowed(router)))

	public := router.With(a.timeout)
	a.resource(public, public, "/livez", operations{"GET": a.livez})
	a.resource(public, public, "/readyz", operations{"GET": a.readyz})

	public = router.With(a.requireParameters, a.timeout)
	private := public.With(a.authenticate)
	a.resource(public, private, "/v1/subscriptions", operations{"GET": a.listSubscriptions, "POST": a.createSubscription})
	a.resource(public, private, "/v1/subscriptions/{id}", operations{
		"GET": a.getSubscription, "PATCH": a.patchSubscription, "DELETE": a.deleteSubscription})
	a.resource(public, private, "/v1/subscriptions/{id}/statement", operations{"GET": a.statement})
	a.resource(public, private, "/v1/invoices", operations{"GET": a.listInvoices, "POST": a.createInvoice})
	a.resource(public, private, "/v1/invoices/{id}", operations{
		"GET": a.getInvoice, "PATCH": a.patchInvoice, "DELETE": a.deleteInvoice})
	a.resource(public, private, "/v1/invoices/{id}/payment", operations{"GET": a.invoicePayment})
	// Paying has a limit of its own.
	untimed := router.With(a.requireParameters, a.authenticate)
	a.resource(public, untimed, "/v1/invoices/{id}/pay", operations{"POST": a.pay})
	return router
}

type operations map[string]handlerFunc

// resource routes the operations of a path, HEAD as GET, and OPTIONS for everybody.
func (a *API) resource(public, router chi.Router, pattern string, operations operations) {
	if handler, found := operations["GET"]; found {
		operations["HEAD"] = handler
	}
	for method, handler := range operations {
		router.Method(method, pattern, a.handle(handler))
	}
	operations["OPTIONS"] = nil
	allowed := slices.SortedFunc(maps.Keys(operations), func(x, y string) int {
		return slices.Index(methods, x) - slices.Index(methods, y)
	})
	public.Options(pattern, a.options(strings.Join(allowed, ",")))
}

// options answers what a path allows.
func (a *API) options(allow string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allow)
		a.writeStatus(w, http.StatusNoContent)
	}
}
