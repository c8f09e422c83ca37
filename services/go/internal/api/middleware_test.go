package api_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bakeoff/billing/internal/testkit"
)

// with is a good request's headers and one more, with these values.
func with(t *testing.T, name string, values ...string) http.Header {
	t.Helper()
	return http.Header{"Authorization": {"Bearer " + testkit.Token(t, nil)}, name: values}
}

// sentOn is the metadata of the last call of the provider.
func sentOn(t *testing.T, service *testkit.Service, name string) []string {
	t.Helper()
	received := service.Provider.Received()
	if len(received) == 0 {
		t.Fatal("the provider was not asked")
	}
	return received[len(received)-1].Get(name)
}

func TestRequestIDIsEchoedAndSentOn(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	for _, id := range []string{"!", strings.Repeat("~", 64), `${jndi:"\}`} {
		answer := service.Send(t, "GET", testkit.Path, with(t, "X-Request-Id", id))
		if answer.Status != http.StatusOK || answer.Header.Get("X-Request-Id") != id {
			t.Errorf("%d %v", answer.Status, answer.Header)
		}
		if got := sentOn(t, service, "x-request-id"); !slices.Equal(got, []string{id}) {
			t.Errorf("sent on is %q, not %q", got, id)
		}
		answer = service.Send(t, "GET", "/nowhere", with(t, "X-Request-Id", id))
		if answer.Header.Get("X-Request-Id") != id {
			t.Errorf("%d %v", answer.Status, answer.Header)
		}
		answer = service.Send(t, "GET", "/livez", with(t, "X-Request-Id", id))
		if answer.Header.Get("X-Request-Id") != id {
			t.Errorf("%d %v", answer.Status, answer.Header)
		}
	}
}

func TestBadRequestIDIsReplaced(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	made := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for name, values := range map[string][]string{
		"none":        nil,
		"empty":       {""},
		"65 bytes":    {strings.Repeat("a", 65)},
		"space":       {"a b"},
		"not ASCII":   {"é"},
		"tab":         {"a\tb"},
		"two headers": {"a", "b"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := service.Send(t, "GET", testkit.Path, with(t, "X-Request-Id", values...))
			id := answer.Header.Get("X-Request-Id")
			if answer.Status != http.StatusOK || !made.MatchString(id) || len(answer.Header["X-Request-Id"]) != 1 {
				t.Errorf("%d %v", answer.Status, answer.Header)
			}
			if got := sentOn(t, service, "x-request-id"); !slices.Equal(got, []string{id}) {
				t.Errorf("sent on is %q, not %q", got, id)
			}
		})
	}
}

const goodTraceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestTraceparentIsPassedOn(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	service.Send(t, "GET", testkit.Path, with(t, "Traceparent", goodTraceparent))
	if got := sentOn(t, service, "traceparent"); !slices.Equal(got, []string{goodTraceparent}) {
		t.Errorf("sent on is %q", got)
	}
}

func TestInvalidTraceparentIsDropped(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	for name, values := range map[string][]string{
		"none":           nil,
		"empty":          {""},
		"bad version":    {"ff" + goodTraceparent[2:]},
		"later version":  {"01" + goodTraceparent[2:]},
		"upper case":     {strings.ToUpper(goodTraceparent)},
		"zero trace id":  {"00-00000000000000000000000000000000-00f067aa0ba902b7-01"},
		"zero parent id": {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"},
		"too short":      {goodTraceparent[:54]},
		"too long":       {goodTraceparent + "-00"},
		"no hex":         {strings.Replace(goodTraceparent, "b", "g", 1)},
		"two headers":    {goodTraceparent, goodTraceparent},
	} {
		t.Run(name, func(t *testing.T) {
			answer := service.Send(t, "GET", testkit.Path, with(t, "Traceparent", values...))
			if answer.Status != http.StatusOK {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
			if got := sentOn(t, service, "traceparent"); len(got) != 0 {
				t.Errorf("sent on is %q", got)
			}
		})
	}
}

func TestAccessLogLineHasTheSchema(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	service.Get(t, "/livez")
	service.Get(t, "/readyz")
	answer := service.Send(t, "GET", testkit.Path, with(t, "X-Request-Id", "good"))
	service.Send(t, "GET", testkit.Path+"?a=b", http.Header{"X-Request-Id": {`a"b`}})
	service.Get(t, "/nowhere")
	lines := func() []map[string]any { return service.Logs.Lines(t, "request") }
	// A line is written after its answer.
	testkit.Eventually(t, "three lines", func() bool { return len(lines()) >= 3 })

	got := lines()
	if len(got) != 3 {
		t.Fatalf("lines are %v", got)
	}
	keys := []string{"timestamp", "level", "message", "request_id", "method", "route", "status", "latency_us", "bytes"}
	for i, test := range []struct {
		id, route string
		status    float64
		failed    bool
	}{
		{"good", "/v1/invoices/{id}/payment", 200, false},
		{`a"b`, "/v1/invoices/{id}/payment", 401, true},
		{"", "", 404, false},
	} {
		line := got[i]
		for _, key := range keys {
			if _, found := line[key]; !found {
				t.Errorf("%s is missing in %v", key, line)
			}
		}
		if test.id != "" && line["request_id"] != test.id {
			t.Errorf("request_id is %v", line["request_id"])
		}
		if line["level"] != "INFO" || line["method"] != "GET" || line["route"] != test.route || line["status"] != test.status {
			t.Errorf("line is %v", line)
		}
		if _, failed := line["error"]; failed != test.failed {
			t.Errorf("line is %v", line)
		}
		if latency, ok := line["latency_us"].(float64); !ok || latency <= 0 {
			t.Errorf("latency_us is %v", line["latency_us"])
		}
	}
	if got[0]["bytes"] != float64(len(answer.Body)) {
		t.Errorf("bytes is %v, the body has %d", got[0]["bytes"], len(answer.Body))
	}
}
