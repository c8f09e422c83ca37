package api_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"testing"

	"bakeoff/billing/internal/testkit"
)

const subscriptionPath = "/v1/subscriptions/" + testkit.Subscription

// expect fails the test unless the answer has the status and, where it is a
// problem, the name.
func expect(t *testing.T, answer testkit.Answer, status int, problem string) {
	t.Helper()
	if answer.Status != status {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	if problem != "" && answer.Problem(t) != problem {
		t.Errorf("problem is %s", answer.Body)
	}
}

func TestSubscriptionIsCreatedReadChangedAndDeleted(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	created := service.Write(t, "POST", "/v1/subscriptions", `{"plan":"team","price_cents":4900,"currency":"EUR"}`)
	expect(t, created, 201, "")
	path := created.Header.Get("Location")
	want := regexp.MustCompile(`^\{"id":"` + path[len("/v1/subscriptions/"):] + `","plan":"team","status":"active","price_cents":4900,` +
		`"currency":"EUR","created_at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"\}$`)
	if !want.MatchString(created.Body) || created.Header.Get("Etag") != `"v1"` {
		t.Errorf("%v %s", created.Header, created.Body)
	}
	if read := service.Get(t, path); read.Status != 200 || read.Body != created.Body || read.Header.Get("Etag") != `"v1"` {
		t.Errorf("%d %s", read.Status, read.Body)
	}
	changed := service.Write(t, "PATCH", path, `{"status":"canceled"}`, "If-Match", `"v1"`)
	if changed.Status != 200 || changed.Header.Get("Etag") != `"v2"` {
		t.Errorf("%d %s", changed.Status, changed.Body)
	}
	expect(t, service.Write(t, "PATCH", path, `{"status":"active"}`, "If-Match", "*"), 409, "transition_not_allowed")
	expect(t, service.Send(t, "DELETE", path, testkit.With(t, "If-Match", `"v1"`)), 412, "precondition_failed")
	deleted := service.Send(t, "DELETE", path, testkit.With(t))
	if deleted.Status != 204 || deleted.Body != "" {
		t.Errorf("%d %s", deleted.Status, deleted.Body)
	}
	expect(t, service.Get(t, path), 404, "not_found")
	expect(t, service.Send(t, "DELETE", subscriptionPath, testkit.With(t)), 409, "has_invoices")
}

func TestSubscriptionOfNoAccountIs403(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	nobody := map[string]any{"sub": testkit.UnknownInvoice}
	expect(t, service.WriteAs(t, nobody, "POST", "/v1/subscriptions", `{"plan":"team","price_cents":0,"currency":"EUR"}`), 403, "forbidden")
}

// execute runs statements in the service's database.
func execute(t *testing.T, service *testkit.Service, statements string) {
	t.Helper()
	if _, err := testkit.Connect(t, service.Database).PgConn().Exec(t.Context(), statements).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

func TestVersionsAreHeeded(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	expect(t, service.Write(t, "PATCH", subscriptionPath, `{"plan":"team"}`), 428, "precondition_required")
	for _, stale := range []string{"", `"v2"`, `W/"v1"`, "v1", `"v1";`} {
		expect(t, service.Write(t, "PATCH", subscriptionPath, `{"plan":"team"}`, "If-Match", stale), 412, "precondition_failed")
	}
	answer := service.Write(t, "PATCH", subscriptionPath, `{"plan":"team"}`, "If-Match", `"v7"`, "If-Match", "\"v8\",\t\"v1\"")
	if answer.Status != 200 || answer.Header.Get("Etag") != `"v2"` {
		t.Errorf("%d %v %s", answer.Status, answer.Header, answer.Body)
	}
	for _, known := range []string{"*", `"v2"`, `W/"v2"`, `"v1", "v2"`} {
		answer := service.Send(t, "GET", subscriptionPath, testkit.With(t, "If-None-Match", known))
		if answer.Status != 304 || answer.Body != "" || answer.Header.Get("Etag") != `"v2"` || answer.Header.Get("Content-Type") != "" {
			t.Errorf("%s: %d %v %s", known, answer.Status, answer.Header, answer.Body)
		}
	}
	for _, other := range []string{"", `"v1"`, "v2"} {
		expect(t, service.Send(t, "GET", subscriptionPath, testkit.With(t, "If-None-Match", other)), 200, "")
	}
}

func TestPagesWalkTheWholeList(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	// Ties of created_at too.
	execute(t, service, `INSERT INTO invoices (id, subscription_id, account_id, status, amount_cents, currency, created_at)
		SELECT gen_random_uuid(), 'b0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'draft', n, 'USD',
		'2026-03-01'::timestamptz + (n / 4) * interval '1 second' FROM generate_series(1, 24) n`)
	var ids []string
	var cursor string
	for next := "?limit=7"; next != ""; {
		answer := service.Get(t, "/v1/invoices"+next)
		expect(t, answer, 200, "")
		var page struct {
			Items []struct{ ID string }
			Next  *string
		}
		if err := json.Unmarshal([]byte(answer.Body), &page); err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			ids = append(ids, item.ID)
		}
		next = ""
		if page.Next != nil {
			cursor = *page.Next
			next = "?after=" + cursor + "&limit=7"
		}
	}
	distinct := slices.Compact(slices.Sorted(slices.Values(ids)))
	if len(ids) != 25 || len(distinct) != 25 || ids[0] != testkit.Invoice {
		t.Errorf("%d ids, %d distinct", len(ids), len(distinct))
	}
	changed := cursor[:43] + "A"
	if changed == cursor {
		changed = cursor[:43] + "B"
	}
	for _, bad := range []string{"after=" + changed, "after=" + cursor[:43], "after=", "after=" + cursor + "=", "limit=0", "limit=101",
		"limit=-1", "limit=01", "limit=abc", "limit=1&limit=2", "limit=%31", "&", "limit=1&", "x=1", "limit"} {
		expect(t, service.Get(t, "/v1/invoices?"+bad), 400, "malformed")
	}
	expect(t, service.Get(t, "/v1/subscriptions?after="+cursor), 400, "malformed")
	expect(t, service.Get(t, "/v1/invoices?"), 200, "")
	if answer := service.Send(t, "GET", "/v1/invoices?after="+cursor, http.Header{"Authorization": {
		"Bearer " + testkit.Token(t, map[string]any{"sub": testkit.OtherAccount})}}); answer.Status != 400 {
		t.Errorf("another account's cursor: %d", answer.Status)
	}
}

func TestStatementIsExact(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	execute(t, service, `
		INSERT INTO subscriptions (id, account_id, plan, status, price_cents, currency) VALUES
			('b0000000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000001', 'team', 'active', 4900, 'USD');
		INSERT INTO invoices (id, subscription_id, account_id, status, amount_cents, currency, created_at) VALUES
			(gen_random_uuid(), 'b0000000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000001', 'open', 9000, 'USD', '2026-01-31T23:59:59Z'),
			(gen_random_uuid(), 'b0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'draft', 1, 'USD', '2026-01-31Z'),
			(gen_random_uuid(), 'b0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'open', 1, 'EUR', '2026-01-31Z'),
			(gen_random_uuid(), 'b0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'open', 100, 'USD', '2026-03-01Z')`)
	want := `{"subscription_id":"` + testkit.Subscription + `","currency":"USD","months":[` +
		`{"month":"2026-01","invoices":1,"billed_cents":4916,"paid_cents":4916,"balance_cents":0,"rank":2,"account_invoices":2,"account_billed_cents":13916},` +
		`{"month":"2026-03","invoices":1,"billed_cents":100,"paid_cents":0,"balance_cents":100,"rank":1,"account_invoices":1,"account_billed_cents":100}]}`
	if answer := service.Get(t, subscriptionPath+"/statement"); answer.Status != 200 || answer.Body != want {
		t.Errorf("%d\ngot  %s\nwant %s", answer.Status, answer.Body, want)
	}
	expect(t, service.Get(t, "/v1/subscriptions/"+testkit.UnknownInvoice+"/statement"), 404, "not_found")
}
