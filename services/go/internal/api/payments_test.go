package api_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"bakeoff/billing/internal/testkit"
)

func TestPayAnswersAndReplays(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	invoice := service.Create(t, "open")
	first := service.Pay(t, invoice, "k")
	asked := service.Provider.Asked()
	if len(asked) != 1 || !strings.HasPrefix(asked[0].GetIdempotencyKey(), "att-") || asked[0].GetInvoiceId() != invoice {
		t.Fatalf("asked %v", asked)
	}
	want := `{"invoice_id":"` + invoice + `","status":"paid","payment":{"id":"pay_` + asked[0].GetIdempotencyKey() +
		`","status":"succeeded","amount_cents":4916,"currency":"EUR","updated_at":"2026-01-02T03:04:05.678Z"}}`
	if first.Status != 200 || first.Body != want || first.Header.Get("Idempotency-Replayed") != "" {
		t.Errorf("%d %v\ngot  %s\nwant %s", first.Status, first.Header, first.Body, want)
	}
	again := service.Pay(t, invoice, "k")
	if again.Status != 200 || again.Body != want || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %v %s", again.Status, again.Header, again.Body)
	}
	other := service.Pay(t, invoice, "another")
	expect(t, other, 409, "already_paid")
	if !strings.HasSuffix(other.Body, `,"payment_id":"pay_`+asked[0].GetIdempotencyKey()+`"}`) {
		t.Errorf("%s", other.Body)
	}
	expect(t, service.Write(t, "POST", "/v1/invoices/"+invoice+"/pay", "{ }", "Idempotency-Key", "k"), 422, "idempotency_key_reused")
	if again := service.Pay(t, testkit.Invoice, "seeded"); !strings.HasSuffix(again.Body, `"payment_id":null}`) {
		t.Errorf("%d %s", again.Status, again.Body)
	}
	if read := service.Get(t, "/v1/invoices/"+invoice); read.Header.Get("Etag") != `"v2"` || !strings.Contains(read.Body, `"payment_id":"pay_att-`) {
		t.Errorf("%v %s", read.Header, read.Body)
	}
}

func TestBadKeysAre400(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	path := "/v1/invoices/" + testkit.Invoice + "/pay"
	for _, pairs := range [][]string{{}, {"Idempotency-Key", ""}, {"Idempotency-Key", strings.Repeat("k", 256)}, {"Idempotency-Key", "a b"},
		{"Idempotency-Key", "é"}, {"Idempotency-Key", "a", "Idempotency-Key", "a"}} {
		expect(t, service.Write(t, "POST", path, "{}", pairs...), 400, "malformed")
	}
	expect(t, service.Write(t, "POST", path, "{}", "Idempotency-Key", strings.Repeat("k", 255)), 409, "already_paid")
	expect(t, service.Write(t, "POST", path, `{"a":1}`, "Idempotency-Key", "k"), 400, "malformed")
	expect(t, service.Pay(t, service.Create(t, "draft"), "k"), 409, "not_payable")
	expect(t, service.Pay(t, testkit.OtherInvoice, "k"), 404, "not_found")
}

func TestDeclinedPaymentIsKept(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	service.Provider.Decline()
	invoice := service.Create(t, "open")
	first := service.Pay(t, invoice, "k")
	expect(t, first, 402, "payment_declined")
	again := service.Pay(t, invoice, "k")
	if again.Status != 402 || again.Body != first.Body || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %s", again.Status, again.Body)
	}
	expect(t, service.Pay(t, invoice, "new"), 402, "payment_declined")
	asked := service.Provider.Asked()
	if len(asked) != 2 || asked[0].GetIdempotencyKey() == asked[1].GetIdempotencyKey() {
		t.Errorf("asked %v", asked)
	}
}

func TestUnknownOutcomeIsSentAgainWithTheSameKey(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*testkit.Provider, bool){
		"unavailable": func(p *testkit.Provider, on bool) { fail(p, on, codes.Unavailable) },
		"refused":     func(p *testkit.Provider, on bool) { fail(p, on, codes.InvalidArgument) },
		"wrong amount": func(p *testkit.Provider, on bool) {
			p.Overcharge(map[bool]int64{true: 1}[on])
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := testkit.Start(t, nil)
			invoice := service.Create(t, "open")
			spoil(service.Provider, true)
			first := service.Pay(t, invoice, "k")
			expect(t, first, 503, "payment_outcome_unknown")
			if first.Header.Get("Retry-After") != "1" || len(service.Logs.Lines(t, "payment outcome unknown")) != 1 {
				t.Errorf("%v", first.Header)
			}
			expect(t, service.Write(t, "PATCH", "/v1/invoices/"+invoice, `{"status":"void"}`, "If-Match", "*"), 409, "payment_in_progress")
			spoil(service.Provider, false)
			expect(t, service.Pay(t, invoice, "k"), 200, "")
			asked := service.Provider.Asked()
			if len(asked) != 2 || asked[0].GetIdempotencyKey() != asked[1].GetIdempotencyKey() {
				t.Errorf("asked %v", asked)
			}
		})
	}
}

func fail(p *testkit.Provider, on bool, code codes.Code) {
	p.FailWith(nil)
	if on {
		p.FailWith(status.Error(code, "canary"))
	}
}

func TestSlowChargeIs504(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, map[string]string{"PAYMENT_TIMEOUT_MS": "100"})
	invoice := service.Create(t, "open")
	_, release := service.Provider.Hold()
	defer release()
	expect(t, service.Pay(t, invoice, "k"), 504, "payment_outcome_unknown")
}

func TestOnlyOneOfManyPays(t *testing.T) {
	t.Parallel()
	const callers = 8
	service := testkit.Start(t, nil)
	invoice := service.Create(t, "open")
	held, release := service.Provider.Hold()
	defer release()
	answers := make(chan testkit.Answer, callers)
	var calls sync.WaitGroup
	for i := range callers {
		calls.Go(func() { answers <- service.Pay(t, invoice, string(rune('a'+i/2))) })
	}
	<-held
	for range callers - 1 {
		answer := <-answers
		expect(t, answer, 409, "payment_in_progress")
		if answer.Header.Get("Retry-After") != "1" {
			t.Errorf("%v", answer.Header)
		}
	}
	release()
	expect(t, <-answers, 200, "")
	calls.Wait()
	if asked := service.Provider.Asked(); len(asked) != 1 {
		t.Errorf("asked %v", asked)
	}
}

func TestPaymentGoesOnWithoutItsClient(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	invoice := service.Create(t, "open")
	held, release := service.Provider.Hold()
	ctx, hangUp := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, "POST", service.URL+"/v1/invoices/"+invoice+"/pay", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = testkit.With(t, "Idempotency-Key", "k", "Content-Type", "application/json")
	ended := make(chan error, 1)
	go func() {
		_, err := http.DefaultClient.Do(request)
		ended <- err
	}()
	<-held
	hangUp()
	if err := <-ended; err == nil {
		t.Error("it was answered")
	}
	testkit.Eventually(t, "a line with 499", func() bool {
		lines := service.Logs.Lines(t, "request")
		last := lines[len(lines)-1]
		_, failed := last["error"]
		return last["status"] == 499.0 && last["bytes"] == 0.0 && !failed
	})
	release()
	service.Wait()
	if answer := service.Pay(t, invoice, "k"); answer.Status != 200 || answer.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
}

func TestSweeperSendsAgainAndExpiresKeys(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, map[string]string{"SWEEP_INTERVAL_MS": "100"})
	invoice := service.Create(t, "open")
	fail(service.Provider, true, codes.Unavailable)
	expect(t, service.Pay(t, invoice, "k"), 503, "payment_outcome_unknown")
	old := service.Create(t, "open")
	fail(service.Provider, false, codes.OK)
	expect(t, service.Pay(t, old, "old"), 200, "")
	execute(t, service, `
		UPDATE payment_attempts SET next_try_at = now();
		UPDATE idempotency_keys SET created_at = now() - interval '25 hours'`)
	service.Sweep(t)
	testkit.Eventually(t, "paid by the sweeper", func() bool {
		return strings.Contains(service.Get(t, "/v1/invoices/"+invoice).Body, `"status":"paid"`)
	})
	answer := service.Pay(t, invoice, "k")
	if answer.Status != 200 || answer.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
	asked := service.Provider.Asked()
	if len(asked) != 3 || asked[0].GetIdempotencyKey() != asked[2].GetIdempotencyKey() {
		t.Errorf("asked %v", asked)
	}
	testkit.Eventually(t, "the key is gone", func() bool {
		return service.Pay(t, old, "old").Status == http.StatusConflict
	})
	if lines := service.Logs.Lines(t, "sweep"); len(lines) != 1 || lines[0]["attempts"] != 1.0 {
		t.Errorf("lines are %v", lines)
	}
}

func TestPayRunsJustItsStatements(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	observer := testkit.Connect(t, service.Database)
	if !isLoaded(t, observer, "pg_stat_statements") {
		t.Skip("the server does not load pg_stat_statements")
	}
	invoice := service.Create(t, "open")
	before := total(statements(t, observer))
	expect(t, service.Pay(t, invoice, "k"), 200, "")
	if got := total(statements(t, observer)) - before; got != 13 {
		t.Errorf("a first success took %d statements: %v", got, statements(t, observer))
	}
	expect(t, service.Pay(t, invoice, "k"), 200, "")
	if got := total(statements(t, observer)) - before; got != 14 {
		t.Errorf("a replay took %d statements", got-13)
	}
}

func total(calls map[string]int64) (sum int64) {
	for _, count := range calls {
		sum += count
	}
	return sum
}
