package api_test

import (
	"net/http"
	"testing"

	"bakeoff/billing/internal/testkit"
)

func TestReadyFollowsTheDatabase(t *testing.T) {
	t.Parallel()
	address := testkit.UnmadeDatabase(t)
	service := testkit.StartWith(t, address, nil)
	ask := func(want string, status int) {
		t.Helper()
		var answer testkit.Answer
		testkit.Eventually(t, want, func() bool {
			answer = service.Send(t, "GET", "/readyz", nil)
			return answer.Body == want
		})
		if answer.Status != status || answer.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%d %v", answer.Status, answer.Header)
		}
		if live := service.Send(t, "GET", "/livez", nil); live.Status != http.StatusOK || live.Body != `{"status":"ok"}` {
			t.Errorf("%d %s", live.Status, live.Body)
		}
	}
	ask(`{"status":"not_ready","database":"unavailable","payments":"ok"}`, 503)
	testkit.CreateDatabase(t, address)
	ask(`{"status":"ready","database":"ok","payments":"ok"}`, 200)
	testkit.DropDatabase(t, address)
	ask(`{"status":"not_ready","database":"unavailable","payments":"ok"}`, 503)
}

func TestDrainingIsNotReady(t *testing.T) {
	t.Parallel()
	service := testkit.Start(t, nil)
	if answer := service.Get(t, testkit.Path); answer.Status != http.StatusOK || answer.Close {
		t.Errorf("%d close %v", answer.Status, answer.Close)
	}
	service.API.Drain()
	answer := service.Send(t, "GET", "/readyz", nil)
	if answer.Status != http.StatusServiceUnavailable || answer.Body != `{"status":"draining","database":"ok","payments":"ok"}` {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
	if answer := service.Send(t, "GET", "/livez", nil); answer.Status != http.StatusOK {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
	if answer := service.Get(t, testkit.Path); answer.Status != http.StatusOK || !answer.Close {
		t.Errorf("%d close %v", answer.Status, answer.Close)
	}
}
