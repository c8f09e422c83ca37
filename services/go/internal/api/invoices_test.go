package api_test

import (
	"maps"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"bakeoff/billing/internal/payments/paymentv1"
	"bakeoff/billing/internal/testkit"
)

func TestPaymentOfOwnInvoice(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	answer := service.Get(t, testkit.Path)
	if answer.Status != http.StatusOK {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	if got := answer.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type is %q", got)
	}
	if calls := len(service.Provider.Received()); calls != 1 {
		t.Errorf("%d calls of the provider", calls)
	}
}

func TestPaymentBodyIsExact(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	want := `{"invoice_id":"c0000000-0000-4000-8000-000000000001","status":"paid","amount_cents":4916,"currency":"USD",` +
		`"created_at":"2026-01-02T03:04:05.000006Z",` +
		`"subscription":{"id":"b0000000-0000-4000-8000-000000000001","plan":"team","status":"active"},` +
		`"payment":{"id":"pay_c0000000","status":"succeeded","amount_cents":4916,"currency":"USD","updated_at":"2026-01-02T03:04:05.678Z"}}`
	answer := service.Get(t, testkit.Path)
	if answer.Body != want {
		t.Errorf("got  %s\nwant %s", answer.Body, want)
	}
	for name := range answer.Header {
		switch name {
		case "Content-Type", "Content-Length", "Date", "X-Request-Id":
		default:
			t.Errorf("header %s: %q", name, answer.Header[name])
		}
	}
	if len(answer.Header) != 4 {
		t.Errorf("headers are %v", answer.Header)
	}

	head := service.Send(t, "HEAD", testkit.Path, http.Header{"Authorization": {"Bearer " + testkit.Token(t, nil)}})
	if head.Status != http.StatusOK || head.Body != "" || head.Header.Get("Content-Length") != answer.Header.Get("Content-Length") {
		t.Errorf("HEAD: %d %q %v", head.Status, head.Body, head.Header)
	}
}

func TestPaymentOfUnknownInvoiceIs404(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	path := "/v1/invoices/" + testkit.UnknownInvoice + "/payment"
	answer := service.Send(t, "GET", path, http.Header{
		"Authorization": {"Bearer " + testkit.Token(t, nil)},
		"X-Request-Id":  {"id-1"},
	})
	want := `{"type":"https://bakeoff.invalid/problems/not_found","title":"Not found","status":404,` +
		`"detail":"There is no such invoice.","instance":"` + path + `","request_id":"id-1"}`
	if answer.Status != http.StatusNotFound || answer.Body != want {
		t.Errorf("%d\ngot  %s\nwant %s", answer.Status, answer.Body, want)
	}
	if len(service.Provider.Received()) != 0 {
		t.Error("the provider was asked")
	}
}

func TestPaymentOfOtherAccountsInvoiceIs404(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	answer := service.Get(t, "/v1/invoices/"+testkit.OtherInvoice+"/payment")
	if answer.Status != http.StatusNotFound || answer.Problem(t) != "not_found" {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
	if len(service.Provider.Received()) != 0 {
		t.Error("the provider was asked")
	}
}

func TestBadIDsAre400(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	for name, id := range map[string]string{
		"zero":       "0",
		"upper case": strings.ToUpper(testkit.Invoice),
		"braces":     "%7B" + testkit.Invoice + "%7D",
		"urn":        "urn:uuid:" + testkit.Invoice,
		"no hyphens": strings.ReplaceAll(testkit.Invoice, "-", ""),
		"too short":  testkit.Invoice[:35],
		"too long":   testkit.Invoice + "0",
		"escaped":    "%63" + testkit.Invoice[1:],
		"space":      testkit.Invoice + "%20",
		"NUL":        testkit.Invoice + "%00",
		"no UTF-8":   "%ff",
		"SQL":        "1%20OR%201=1",
	} {
		t.Run(name, func(t *testing.T) {
			answer := service.Get(t, "/v1/invoices/"+id+"/payment")
			if answer.Status != http.StatusBadRequest || answer.Problem(t) != "malformed" {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
			if !strings.Contains(answer.Body, `"instance":"/v1/invoices/`+id+`/payment"`) {
				t.Errorf("not the path as it was sent: %s", answer.Body)
			}
		})
	}
}

func TestProviderErrorsAreMapped(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	for _, test := range []struct {
		code    codes.Code
		status  int
		problem string
	}{
		{codes.Unavailable, 503, "payment_unavailable"},
		{codes.DeadlineExceeded, 504, "payment_timeout"},
		{codes.Internal, 502, "payment_failed"},
		{codes.NotFound, 502, "payment_failed"},
	} {
		t.Run(test.code.String(), func(t *testing.T) {
			service.Provider.FailWith(status.Error(test.code, "canary"))
			answer := service.Get(t, testkit.Path)
			if answer.Status != test.status || answer.Problem(t) != test.problem {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
			if strings.Contains(answer.Body, "canary") {
				t.Errorf("the provider's words are in the answer: %s", answer.Body)
			}
			if retry := answer.Header.Get("Retry-After"); (retry == "1") != (test.status >= 503) {
				t.Errorf("Retry-After is %q", retry)
			}
		})
	}
}

func TestUnusableAnswersOfTheProviderAre502(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	for name, change := range map[string]func(*paymentv1.Payment){
		"another invoice":       func(p *paymentv1.Payment) { p.InvoiceId = testkit.OtherInvoice },
		"no invoice":            func(p *paymentv1.Payment) { p.InvoiceId = "" },
		"the year 10000":        func(p *paymentv1.Payment) { p.UpdatedAtUnixMs = 253_402_300_800_000 },
		"the year 0":            func(p *paymentv1.Payment) { p.UpdatedAtUnixMs = -62_135_596_800_001 },
		"a time beyond numbers": func(p *paymentv1.Payment) { p.UpdatedAtUnixMs = math.MaxInt64 },
	} {
		t.Run(name, func(t *testing.T) {
			service.Provider.Alter(change)
			answer := service.Get(t, testkit.Path)
			if answer.Status != 502 || answer.Problem(t) != "payment_failed" {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
		})
	}
	service.Provider.Alter(func(p *paymentv1.Payment) { p.UpdatedAtUnixMs = 253_402_300_799_999 })
	if answer := service.Get(t, testkit.Path); !strings.Contains(answer.Body, `"9999-12-31T23:59:59.999Z"`) {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
}

func TestUnreachableProviderIs503(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]string{
		"nobody listens": testkit.ClosedPort(t),
		"it hangs up":    testkit.HangingUpPort(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := testkit.Start(t, map[string]string{"PAYMENT_TARGETS": target})
			answer := service.Get(t, testkit.Path)
			if answer.Status != http.StatusServiceUnavailable || answer.Problem(t) != "payment_unavailable" {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
			testkit.Eventually(t, "payments unavailable", func() bool {
				answer := service.Send(t, "GET", "/readyz", nil)
				return answer.Status == http.StatusOK && answer.Body == `{"status":"ready","database":"ok","payments":"unavailable"}`
			})
		})
	}
}

func TestSlowProviderIs504(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, timeoutMS, problem string }{
		{"over its own limit", "100", "payment_timeout"},
		{"over the limit of the request", "60000", "timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			service := testkit.Start(t, map[string]string{"PAYMENT_TIMEOUT_MS": test.timeoutMS})
			_, release := service.Provider.Hold()
			defer release()
			answer := service.Get(t, testkit.Path)
			if answer.Status != http.StatusGatewayTimeout || answer.Problem(t) != test.problem {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
			if answer.Header.Get("Retry-After") != "1" {
				t.Errorf("headers are %v", answer.Header)
			}
		})
	}
}

func TestDatabaseGoneIs503(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	if answer := service.Get(t, testkit.Path); answer.Status != http.StatusOK {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	testkit.DropDatabase(t, service.Database)
	// More often than there are connections, so that new ones are asked for too.
	for range 4 {
		answer := service.Get(t, testkit.Path)
		if answer.Status != http.StatusServiceUnavailable || answer.Problem(t) != "database_unavailable" {
			t.Errorf("%d %s", answer.Status, answer.Body)
		}
		if answer.Header.Get("Retry-After") != "1" {
			t.Errorf("headers are %v", answer.Header)
		}
	}
}

func TestStatementsAreExactlyTwo(t *testing.T) {
	t.Parallel()
	const requests = 20
	service := testkit.Start(t, nil)
	observer := testkit.Connect(t, service.Database)
	if !isLoaded(t, observer, "pg_stat_statements") {
		t.Skip("the server does not load pg_stat_statements")
	}
	for range requests {
		if answer := service.Get(t, testkit.Path); answer.Status != http.StatusOK {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
	}
	got := statements(t, observer)
	want := map[string]int64{
		"SELECT id, subscription_id, status, amount_cents, currency, created_at FROM invoices WHERE id = $1 AND account_id = $2": requests,
		"SELECT id, plan, status FROM subscriptions WHERE id = $1 AND account_id = $2":                                           requests,
	}
	if !maps.Equal(got, want) {
		t.Errorf("statements are %v", got)
	}
}

func isLoaded(t *testing.T, observer *pgx.Conn, library string) bool {
	t.Helper()
	const query = "SELECT $1 = ANY (string_to_array(replace(current_setting('shared_preload_libraries'), ' ', ''), ','))"
	var loaded bool
	if err := observer.QueryRow(t.Context(), query, library).Scan(&loaded); err != nil {
		t.Fatal(err)
	}
	return loaded
}

// statements is how often each one has run in the test's database, but for the
// test's own.
func statements(t *testing.T, observer *pgx.Conn) map[string]int64 {
	t.Helper()
	if _, err := observer.Exec(t.Context(), "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"); err != nil {
		t.Fatal(err)
	}
	const query = `SELECT query, calls FROM pg_stat_statements
		WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND query !~ 'pg_stat_statements|string_to_array|\n'`
	rows, err := observer.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]int64{}
	var statement string
	var count int64
	_, err = pgx.ForEachRow(rows, []any{&statement, &count}, func() error {
		calls[statement] = count
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

func TestInvoiceLivesByItsTransitions(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	patch := func(id, body string) testkit.Answer {
		return service.Write(t, "PATCH", "/v1/invoices/"+id, body, "If-Match", "*")
	}
	draft := service.Create(t, "draft")
	expect(t, patch(draft, `{"amount_cents":1,"currency":"JPY"}`), 200, "")
	changed := patch(draft, `{"status":"open","amount_cents":2}`)
	if changed.Status != 200 || changed.Header.Get("Etag") != `"v3"` || !strings.Contains(changed.Body, `"open","amount_cents":2,"currency":"JPY","payment_id":null`) {
		t.Errorf("%d %s", changed.Status, changed.Body)
	}
	expect(t, patch(draft, `{"amount_cents":2}`), 409, "not_draft")
	expect(t, patch(draft, `{"status":"draft"}`), 409, "transition_not_allowed")
	expect(t, service.Send(t, "DELETE", "/v1/invoices/"+draft, testkit.With(t)), 409, "not_draft")
	expect(t, patch(draft, `{"status":"void"}`), 200, "")
	expect(t, patch(draft, `{"status":"open"}`), 409, "transition_not_allowed")
	expect(t, patch(draft, `{"status":"void"}`), 200, "")
	expect(t, patch(testkit.Invoice, `{"status":"void"}`), 409, "transition_not_allowed")
	expect(t, patch(testkit.OtherInvoice, `{"status":"void"}`), 404, "not_found")
	other := service.Create(t, "draft")
	expect(t, service.Send(t, "DELETE", "/v1/invoices/"+other, testkit.With(t, "If-Match", `"v1"`)), 204, "")
	expect(t, service.Get(t, "/v1/invoices/"+other), 404, "not_found")
}
