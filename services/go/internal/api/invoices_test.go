package api_test

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
	answer := service.Send(t, "GET", path+"?a=1", http.Header{
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

func TestProviderGoneIs503(t *testing.T) {
	t.Parallel()
	nobody := testkit.ClosedPort(t)
	service := testkit.Start(t, map[string]string{"PAYMENT_TARGETS": nobody})
	answer := service.Get(t, testkit.Path)
	if answer.Status != http.StatusServiceUnavailable || answer.Problem(t) != "payment_unavailable" {
		t.Errorf("%d %s", answer.Status, answer.Body)
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
	if _, err := observer.Exec(t.Context(), "CREATE EXTENSION pg_stat_statements"); err != nil {
		t.Skip("pg_stat_statements cannot be had:", err)
	}
	const seen = `SELECT query, calls FROM pg_stat_statements
		WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query !~ 'pg_stat_statements|INSERT'`
	counts := func() map[string]int64 {
		rows, err := observer.Query(t.Context(), seen)
		if err != nil {
			t.Skip("pg_stat_statements is not loaded:", err)
		}
		defer rows.Close()
		counts := map[string]int64{}
		for rows.Next() {
			var query string
			var calls int64
			if err := rows.Scan(&query, &calls); err != nil {
				t.Fatal(err)
			}
			counts[query] = calls
		}
		if err := rows.Err(); err != nil {
			t.Skip("pg_stat_statements is not loaded:", err)
		}
		return counts
	}
	for range requests {
		if answer := service.Get(t, testkit.Path); answer.Status != http.StatusOK {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
	}
	got := counts()
	want := []string{
		"SELECT id, subscription_id, status, amount_cents, currency, created_at FROM invoices WHERE id = $1 AND account_id = $2",
		"SELECT id, plan, status FROM subscriptions WHERE id = $1 AND account_id = $2",
	}
	for _, query := range want {
		if got[query] != requests {
			t.Errorf("%d calls of %s", got[query], query)
		}
	}
	if len(got) != len(want) {
		t.Errorf("statements are %v", got)
	}
}
