package api_test

import (
	"net/http"
	"testing"

	"bakeoff/billing/internal/testkit"
)

func TestUnknownRouteIs404Problem(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	for _, path := range []string{"/", "/v1", "/v1/", "//v1", "/v1/invoices", testkit.Path + "/", "/livez/", "/%3Cb%3E&", "/v1%2finvoices", "/v1/invoices//payment"} {
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

func TestWrongMethodIs405WithAllow(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	for _, path := range []string{testkit.Path, "/v1/invoices/0/payment", "/livez", "/readyz"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "INVENTED"} {
			t.Run(method+" "+path, func(t *testing.T) {
				answer := service.Send(t, method, path, nil)
				if answer.Status != http.StatusMethodNotAllowed || answer.Problem(t) != "method_not_allowed" {
					t.Errorf("%d %s", answer.Status, answer.Body)
				}
				if got := answer.Header.Get("Allow"); got != "GET,HEAD" {
					t.Errorf("Allow is %q", got)
				}
			})
		}
	}
}
