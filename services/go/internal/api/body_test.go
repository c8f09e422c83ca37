package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"bakeoff/billing/internal/testkit"
)

func TestMalformedBodiesAre400(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	for _, body := range []string{"", "null", "[]", `"x"`, "1", "{", "{}{}", "{} x", "{,}", `{"plan":"team",}`, `{plan:1}`, "\ufeff{}",
		`{"plan":"team","plan":"team"}`, `{"plan":"team","pl\u0061n":"team"}`, `{"plan":[]}`, `{"plan":{}}`, `{"plan":NaN}`, `{"a":01}`,
		"{\"plan\":\"\xff\"}", `{"plan":"\ud800"}`, `{"plan":"\udc00\ud800"}`, `{"plan":"\ud800\u0041"}`, `{"plan":"\u0000"}`, `{"\u0000":1}`,
		"{\"plan\":\"\x00\"}", strings.Repeat(`{"a":`, 20000), strings.Repeat("[", 20000)} {
		answer := service.Write(t, "POST", "/v1/subscriptions", body)
		if answer.Status != 400 || !strings.Contains(answer.Body, "flat JSON object") {
			t.Errorf("%.40q: %d %s", body, answer.Status, answer.Body)
		}
	}
}

func TestWrongFieldsAreNamedInOrder(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	for _, test := range []struct {
		path, body string
		status     int
		errors     string
	}{
		{"/v1/subscriptions", `{}`, 400, `[{"field":"plan","detail":"is required"},{"field":"price_cents","detail":"is required"},{"field":"currency","detail":"is required"}]`},
		{"/v1/subscriptions", `{"plan":null,"price_cents":1.0,"currency":7,"Plan":1}`, 400, `[{"field":"plan","detail":"has to be a string"},{"field":"price_cents","detail":"has to be an integer"},{"field":"currency","detail":"has to be a string"},{"field":"","detail":"has a field that this operation does not take"}]`},
		{"/v1/subscriptions", `{"plan":"\ud83d\ude00\\u0000","price_cents":1000000000001,"currency":"usd"}`, 422, `[{"field":"plan","detail":"has to be starter, team or business"},{"field":"price_cents","detail":"has to be from 0 to 1000000000000"},{"field":"currency","detail":"is not a known currency"}]`},
		{"/v1/invoices", `{"subscription_id":"X","status":"paid","amount_cents":0,"currency":"EUR"}`, 400, `[{"field":"subscription_id","detail":"has to be a lower-case UUID"}]`},
		{"/v1/invoices", `{"subscription_id":"` + testkit.Subscription + `","status":"paid","amount_cents":0,"currency":"EUR"}`, 422, `[{"field":"status","detail":"has to be draft or open"},{"field":"amount_cents","detail":"has to be from 1 to 1000000000000"}]`},
		{"/v1/invoices", `{"subscription_id":"` + testkit.UnknownInvoice + `","amount_cents":1,"currency":"EUR"}`, 422, `[{"field":"subscription_id","detail":"is none of your subscriptions"}]`},
		{"/v1/invoices", `{"subscription_id":"b0000000-0000-4000-8000-000000000002","amount_cents":1,"currency":"EUR"}`, 422, `[{"field":"subscription_id","detail":"is none of your subscriptions"}]`},
	} {
		answer := service.Write(t, "POST", test.path, test.body)
		if answer.Status != test.status || !strings.Contains(answer.Body, `"errors":`+test.errors+`}`) {
			t.Errorf("%s: %d %s", test.body, answer.Status, answer.Body)
		}
	}
	for _, number := range []string{"-0", "1e3", "1.5", "9223372036854775808", "true", `"1"`, "null"} {
		answer := service.Write(t, "PATCH", subscriptionPath, `{"price_cents":`+number+`}`, "If-Match", "*")
		if answer.Status != 400 || !strings.Contains(answer.Body, `[{"field":"price_cents","detail":"has to be an integer"}]`) {
			t.Errorf("%s: %d %s", number, answer.Status, answer.Body)
		}
	}
	answer := service.Write(t, "PATCH", subscriptionPath, `{ }`, "If-Match", "*")
	if answer.Status != 400 || !strings.Contains(answer.Body, `[{"field":"","detail":"has to name at least one field"}]`) {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
}

func TestOnlyJSONInUTF8IsTaken(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	send := func(pairs ...string) testkit.Answer {
		return service.Send(t, "POST", "/v1/subscriptions", testkit.With(t, pairs...))
	}
	for _, good := range []string{"application/json", "Application/JSON", "application/json ; charset=UTF-8", `application/json;charset="utf-8"`} {
		expect(t, send("Content-Type", good), 400, "malformed") // no body
	}
	for _, bad := range []string{"", "text/plain", "application/json; charset=utf-16", "application/json; a=b", "application/jsonx"} {
		expect(t, send("Content-Type", bad), 415, "unsupported_media_type")
	}
	expect(t, send(), 415, "unsupported_media_type")
	expect(t, send("Content-Type", "application/json", "Content-Type", "application/json"), 415, "unsupported_media_type")
	expect(t, send("Content-Type", "application/json", "Content-Encoding", "gzip"), 415, "unsupported_media_type")
	expect(t, send("Content-Type", "application/json", "Content-Encoding", "identity"), 400, "malformed")
}

func TestBodiesOverTheLimitAre413(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	const limit = 1 << 20
	expect(t, service.Write(t, "POST", "/v1/subscriptions", "{}"+strings.Repeat(" ", limit-2)), 400, "malformed")
	answer := service.Write(t, "POST", "/v1/subscriptions", "{}"+strings.Repeat(" ", limit-1))
	expect(t, answer, 413, "body_too_large")
	if !answer.Close {
		t.Error("the connection stays open")
	}
	// Of a length that is not told, and of one that never comes.
	head := "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
	expect(t, raw(t, service, head+fmt.Sprintf("%x\r\n", limit+1)+strings.Repeat(" ", limit+1)), 413, "body_too_large")
	expect(t, raw(t, service, fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", limit+1)), 413, "body_too_large")
}

func TestSlowAndBrokenBodiesAreRefused(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	answer := raw(t, service, "Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
	expect(t, answer, 408, "body_timeout")
	if !answer.Close {
		t.Error("the connection stays open")
	}
	answer = raw(t, service, "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
	expect(t, answer, 400, "malformed")
	testkit.Eventually(t, "both are logged", func() bool {
		lines := service.Logs.Lines(t, "request")
		return len(lines) == 2 && lines[0]["status"] == 408.0 && lines[1]["status"] == 400.0
	})
}

// raw sends the head of a POST, from the second header on, and what comes after it.
func raw(t *testing.T, service *testkit.Service, rest string) testkit.Answer {
	t.Helper()
	address, err := url.Parse(service.URL)
	if err != nil {
		t.Fatal(err)
	}
	connection, err := net.Dial("tcp", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	go io.WriteString(connection, "POST /v1/subscriptions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+testkit.Token(t, nil)+"\r\n"+rest)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return testkit.Answer{Status: response.StatusCode, Header: response.Header, Body: string(body), Close: response.Close}
}
