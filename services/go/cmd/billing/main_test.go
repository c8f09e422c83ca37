package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"bakeoff/billing/internal/config"
	"bakeoff/billing/internal/testkit"
)

const deadline = 60 * time.Second

// process is run in this process.
type process struct {
	url      string
	provider *testkit.Provider
	lookup   config.Lookup
	signals  chan os.Signal
	ended    chan error
	logs     *testkit.Logs
}

func start(t *testing.T, environment map[string]string) *process {
	t.Helper()
	provider := testkit.StartProvider(t)
	p := &process{
		provider: provider,
		lookup:   testkit.Environment(testkit.Database(t), provider, environment),
		signals:  make(chan os.Signal, 2),
		ended:    make(chan error, 1),
		logs:     &testkit.Logs{},
	}
	go func() { p.ended <- run(t.Context(), p.signals, p.lookup, p.logs) }()
	p.url = "http://" + p.line(t, "listening")["address"].(string)
	return p
}

// line waits for the line with a message.
func (p *process) line(t *testing.T, message string) map[string]any {
	t.Helper()
	var lines []map[string]any
	testkit.Eventually(t, message, func() bool {
		lines = p.logs.Lines(t, message)
		return len(lines) > 0
	})
	return lines[0]
}

func (p *process) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-p.ended:
		return err
	case <-time.After(deadline):
		t.Fatal("it does not end")
		return nil
	}
}

// outcome is the status of an answer, 0 where there is none, and whether the
// answer closes the connection.
type outcome struct {
	status int
	close  bool
}

// ask sends the measured request and delivers what becomes of it.
func (p *process) ask(t *testing.T) <-chan outcome {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", p.url+testkit.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+testkit.Token(t, nil))
	answered := make(chan outcome, 1)
	go func() {
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			answered <- outcome{}
			return
		}
		defer answer.Body.Close()
		answered <- outcome{answer.StatusCode, answer.Close}
	}()
	return answered
}

func TestListeningLineHasTheSchema(t *testing.T) {
	p := start(t, map[string]string{"WORKER_THREADS": "2", "SHUTDOWN_DRAIN_SECONDS": "0"})
	line := p.line(t, "listening")
	for key, want := range map[string]any{
		"level":                    "INFO",
		"worker_threads":           2.0,
		"database_max_connections": 2.0,
		"payment_channels":         1.0,
		"version":                  version,
	} {
		if line[key] != want {
			t.Errorf("%s is %v", key, line[key])
		}
	}
	p.signals <- syscall.SIGINT
	if err := p.wait(t); err != nil {
		t.Error(err)
	}
}

func TestGracefulStopFinishesRequestsInFlight(t *testing.T) {
	p := start(t, map[string]string{"SHUTDOWN_DRAIN_SECONDS": "1", "SHUTDOWN_GRACE_SECONDS": "60"})
	held, release := p.provider.Hold()
	defer release()
	first := p.ask(t)
	<-held
	p.signals <- syscall.SIGTERM
	p.line(t, "draining")
	// It serves on while it drains.
	if answer := testkit.Send(t, "GET", p.url+"/readyz", nil); answer.Status != http.StatusServiceUnavailable || !answer.Close {
		t.Errorf("%d close %v", answer.Status, answer.Close)
	}
	second := p.ask(t)
	<-held
	testkit.Eventually(t, "no more connections", func() bool {
		_, err := http.Get(p.url + "/livez")
		return err != nil
	})
	release()
	if got := <-first; got != (outcome{http.StatusOK, true}) {
		t.Errorf("the request from before the signal: %v", got)
	}
	if got := <-second; got != (outcome{http.StatusOK, true}) {
		t.Errorf("the request from after the signal: %v", got)
	}
	if err := p.wait(t); err != nil {
		t.Error(err)
	}
	p.line(t, "stopped")
}

func TestStopWaitsForAPaymentWithoutItsClient(t *testing.T) {
	p := start(t, map[string]string{"SHUTDOWN_DRAIN_SECONDS": "0", "SHUTDOWN_GRACE_SECONDS": "60"})
	held, release := p.provider.Hold()
	defer release()
	address, _ := p.lookup("DATABASE_URL")
	database, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	observer := testkit.Connect(t, database)
	if _, err := observer.Exec(t.Context(), "UPDATE invoices SET status = 'open' WHERE id = $1", testkit.Invoice); err != nil {
		t.Fatal(err)
	}
	ctx, hangUp := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, "POST", p.url+"/v1/invoices/"+testkit.Invoice+"/pay", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = testkit.With(t, "Idempotency-Key", "k", "Content-Type", "application/json")
	go http.DefaultClient.Do(request)
	<-held
	hangUp()
	p.line(t, "request")
	p.signals <- syscall.SIGTERM
	p.line(t, "draining")
	testkit.Eventually(t, "no more connections", func() bool {
		_, err := http.Get(p.url + "/livez")
		return err != nil
	})
	release()
	if err := p.wait(t); err != nil {
		t.Error(err)
	}
	var status string
	if err := observer.QueryRow(t.Context(), "SELECT status FROM invoices WHERE id = $1", testkit.Invoice).Scan(&status); err != nil || status != "paid" {
		t.Errorf("it is %s: %v", status, err)
	}
}

func TestStopDoesNotWaitForAConnectionWithoutARequest(t *testing.T) {
	p := start(t, map[string]string{"SHUTDOWN_DRAIN_SECONDS": "0", "SHUTDOWN_GRACE_SECONDS": "3"})
	connection, err := net.Dial("tcp", p.url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	// Accepted, since one that came later is answered.
	if answer := testkit.Send(t, "GET", p.url+"/livez", nil); answer.Status != http.StatusOK {
		t.Fatal(answer.Status)
	}
	p.signals <- syscall.SIGTERM
	if err := p.wait(t); err != nil {
		t.Error(err)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	p := start(t, map[string]string{"SHUTDOWN_DRAIN_SECONDS": "300"})
	p.signals <- syscall.SIGTERM
	p.line(t, "draining")
	p.signals <- syscall.SIGTERM
	if err := p.wait(t); !errors.Is(err, errSecondSignal) {
		t.Errorf("ended with %v", err)
	}
}

func TestEndOfGraceIsAnError(t *testing.T) {
	p := start(t, map[string]string{"SHUTDOWN_DRAIN_SECONDS": "0", "SHUTDOWN_GRACE_SECONDS": "1"})
	held, release := p.provider.Hold()
	defer release()
	answered := p.ask(t)
	<-held
	p.signals <- syscall.SIGTERM
	if err := p.wait(t); !errors.Is(err, errGraceOver) {
		t.Errorf("ended with %v", err)
	}
	if got := <-answered; got.status != 0 {
		t.Errorf("the request in flight was answered: %v", got)
	}
}

func TestStartRefusesBadSettings(t *testing.T) {
	err := run(t.Context(), nil, func(string) (string, bool) { return "", false }, &testkit.Logs{})
	if _, bad := errors.AsType[*config.Error](err); !bad {
		t.Errorf("ended with %v", err)
	}
}

func TestHealthcheckAsksTheService(t *testing.T) {
	p := start(t, map[string]string{"SHUTDOWN_DRAIN_SECONDS": "0"})
	at := func(name string) (string, bool) {
		if name == "LISTEN_ADDR" {
			return p.url[len("http://"):], true
		}
		return p.lookup(name)
	}
	if err := healthcheck(at); err != nil {
		t.Error(err)
	}
	p.signals <- syscall.SIGTERM
	if err := p.wait(t); err != nil {
		t.Error(err)
	}
	if err := healthcheck(at); err == nil {
		t.Error("nobody is there, and it lives")
	}
}
