package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"bakeoff/billing/internal/testkit"
)

func TestUnknownRouteIs404Problem(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	for _, path := range []string{"/", "/v1", "/v1/", "//v1", "/v1/invoices/", "/v1/invoice", testkit.Path + "/", "/livez/", "/%3Cb%3E&", "/v1%2finvoices", "/v1/invoices//payment"} {
		for _, method := range []string{"GET", "POST", "OPTIONS", "get"} {
			t.Run(method+" "+path, func(t *testing.T) {
				answer := service.Send(t, method, path+"?query", http.Header{"X-Request-Id": {"id-1"}})
				want := `{"type":"https://bakeoff.invalid/problems/not_found","title":"Not found","status":404,` +
					`"detail":"There is no such resource.","instance":"` + path + `","request_id":"id-1"}`
				if answer.Status != http.StatusNotFound || answer.Body != want {
					t.Errorf("%d\ngot  %s\nwant %s", answer.Status, answer.Body, want)
				}
			})
		}
	}
}

// allowed is Allow by path.
var allowed = map[string]string{
	"/v1/subscriptions":             "GET,HEAD,POST,OPTIONS",
	"/v1/invoices":                  "GET,HEAD,POST,OPTIONS",
	"/v1/subscriptions/0":           "GET,HEAD,PATCH,DELETE,OPTIONS",
	"/v1/invoices/0":                "GET,HEAD,PATCH,DELETE,OPTIONS",
	"/v1/subscriptions/0/statement": "GET,HEAD,OPTIONS",
	"/v1/invoices/0/payment":        "GET,HEAD,OPTIONS",
	"/v1/invoices/0/pay":            "POST,OPTIONS",
	"/livez":                        "GET,HEAD,OPTIONS",
	"/readyz":                       "GET,HEAD,OPTIONS",
}

func TestWrongMethodIs405WithAllow(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	for path, allow := range allowed {
		for _, method := range []string{"GET", "POST", "PATCH", "PUT", "DELETE", "TRACE", "get", "INVENTED"} {
			if slices.Contains(strings.Split(allow, ","), method) {
				continue
			}
			t.Run(method+" "+path, func(t *testing.T) {
				answer := service.Send(t, method, path, nil)
				if answer.Status != http.StatusMethodNotAllowed || answer.Problem(t) != "method_not_allowed" {
					t.Errorf("%d %s", answer.Status, answer.Body)
				}
				if got := answer.Header.Get("Allow"); got != allow {
					t.Errorf("Allow is %q", got)
				}
			})
		}
	}
}

func TestOptionsSaysWhatIsAllowed(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	for path, allow := range allowed {
		answer := service.Send(t, "OPTIONS", path+"?query", nil)
		if answer.Status != http.StatusNoContent || answer.Body != "" || answer.Header.Get("Allow") != allow {
			t.Errorf("%s: %d %v", path, answer.Status, answer.Header)
		}
		if answer.Header.Get("Content-Type") != "" || answer.Header.Get("Content-Length") != "" {
			t.Errorf("%s: %v", path, answer.Header)
		}
	}
}
