package testkit

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"bakeoff/billing/internal/api"
	"bakeoff/billing/internal/config"
	"bakeoff/billing/internal/logging"
	"bakeoff/billing/internal/paying"
	"bakeoff/billing/internal/payments"
	"bakeoff/billing/internal/postgres"
)

// Path is the measured request.
const Path = "/v1/invoices/" + Invoice + "/payment"

// Service is the API on a port of this machine.
type Service struct {
	API      *api.API
	URL      string
	Database *url.URL
	Provider *Provider
	Logs     *Logs
	payer    *paying.Payer
}

// Start serves the API from a database of its own until the test ends.
// Environment changes settings.
func Start(t *testing.T, environment map[string]string) *Service {
	t.Helper()
	return StartWith(t, Database(t), environment)
}

// StartWith is Start with a given database.
func StartWith(t *testing.T, address *url.URL, environment map[string]string) *Service {
	t.Helper()
	provider := StartProvider(t)
	settings, err := config.Load(Environment(address, provider, environment))
	if err != nil {
		t.Fatal(err)
	}
	database, err := postgres.Open(t.Context(), string(settings.DatabaseURL), settings.DatabaseMaxConnections)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	client, err := payments.Open(settings.PaymentTargets, settings.PaymentTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	logs := &Logs{}
	logger := logging.New(logs, settings.LogLevel)
	payer := paying.New(settings, database, client, api.RenderPayment, logger)
	t.Cleanup(payer.Wait)
	service := api.New(settings, database, client, payer, logger)
	server := httptest.NewServer(service.Router())
	t.Cleanup(server.Close)
	return &Service{API: service, URL: server.URL, Database: address, Provider: provider, Logs: logs, payer: payer}
}

// Environment is a complete set of settings, for tests of Load and of main too.
func Environment(address *url.URL, provider *Provider, changes map[string]string) config.Lookup {
	values := map[string]string{
		"DATABASE_URL":             address.String(),
		"PAYMENT_TARGETS":          provider.Target,
		"AUTH_JWT_SECRET":          Secret,
		"AUTH_JWT_ISSUER":          Issuer,
		"AUTH_JWT_AUDIENCE":        Audience,
		"LISTEN_ADDR":              "127.0.0.1:0",
		"DATABASE_MAX_CONNECTIONS": "2",
		// Nothing in a test depends on how fast this machine is.
		"PAYMENT_TIMEOUT_MS": "30000",
	}
	return func(name string) (string, bool) {
		if value, found := changes[name]; found {
			return value, true
		}
		value, found := values[name]
		return value, found
	}
}

// Answer is a response that has been read.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	Close  bool
}

// Problem is the last part of the type of the problem in the body.
func (a Answer) Problem(t *testing.T) string {
	t.Helper()
	if a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("content type is %q", a.Header.Get("Content-Type"))
	}
	var body struct {
		Type   string `json:"type"`
		Status int    `json:"status"`
	}
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
		t.Fatalf("body %q: %v", a.Body, err)
	}
	if body.Status != a.Status {
		t.Errorf("body says %d, status is %d", body.Status, a.Status)
	}
	return strings.TrimPrefix(body.Type, "https://bakeoff.invalid/problems/")
}

// Get asks with a good token.
func (s *Service) Get(t *testing.T, path string) Answer {
	t.Helper()
	return s.Send(t, "GET", path, http.Header{"Authorization": {"Bearer " + Token(t, nil)}})
}

// With is a good request's headers, and more in pairs of name and value.
func With(t *testing.T, pairs ...string) http.Header {
	t.Helper()
	header := http.Header{"Authorization": {"Bearer " + Token(t, nil)}}
	for i := 0; i < len(pairs); i += 2 {
		header.Add(pairs[i], pairs[i+1])
	}
	return header
}

// Write sends a JSON body with a good token, and more headers in pairs.
func (s *Service) Write(t *testing.T, method, path, body string, pairs ...string) Answer {
	t.Helper()
	return send(t, method, s.URL+path, With(t, append(pairs, "Content-Type", "application/json")...), strings.NewReader(body))
}

// WriteAs sends a JSON body with a token whose claims have changes.
func (s *Service) WriteAs(t *testing.T, claims map[string]any, method, path, body string) Answer {
	t.Helper()
	header := http.Header{"Authorization": {"Bearer " + Token(t, claims)}, "Content-Type": {"application/json"}}
	return send(t, method, s.URL+path, header, strings.NewReader(body))
}

// Pay pays an invoice of Account with a key.
func (s *Service) Pay(t *testing.T, invoice, key string) Answer {
	t.Helper()
	return s.Write(t, "POST", "/v1/invoices/"+invoice+"/pay", "{}", "Idempotency-Key", key)
}

// Create makes an invoice of Account, and returns its id.
func (s *Service) Create(t *testing.T, status string) string {
	t.Helper()
	answer := s.Write(t, "POST", "/v1/invoices",
		`{"subscription_id":"`+Subscription+`","amount_cents":4916,"currency":"EUR","status":"`+status+`"}`)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(answer.Body), &made); err != nil || answer.Status != http.StatusCreated {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	return made.ID
}

// Sweep starts the sweeper till the test ends.
func (s *Service) Sweep(t *testing.T) { t.Cleanup(s.payer.Sweep()) }

// Wait waits for payments that go on without their request.
func (s *Service) Wait() { s.payer.Wait() }

// Send asks with just these headers.
func (s *Service) Send(t *testing.T, method, path string, header http.Header) Answer {
	t.Helper()
	return Send(t, method, s.URL+path, header)
}

// Send asks any address.
func Send(t *testing.T, method, address string, header http.Header) Answer {
	t.Helper()
	return send(t, method, address, header, nil)
}

func send(t *testing.T, method, address string, header http.Header, content io.Reader) Answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, content)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	client := http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: false}, Timeout: deadline}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{Status: response.StatusCode, Header: response.Header, Body: string(body), Close: response.Close}
}

// Eventually asks again and again until it holds, or fails at the deadline.
func Eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never happened:", what)
		}
	}
}

// Logs is an output that can be read while it is written.
type Logs struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

// Write appends.
func (l *Logs) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(line)
}

// Lines returns the lines whose message is given, so far.
func (l *Logs) Lines(t *testing.T, message string) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []map[string]any
	for text := range strings.Lines(l.buffer.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("log line %q: %v", text, err)
		}
		if line["message"] == message {
			lines = append(lines, line)
		}
	}
	return lines
}
