package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap/zapcore"

	"bakeoff/billing/internal/logging"
)

func TestAPanicIs500Problem(t *testing.T) {
	var logs strings.Builder
	a := &API{logger: logging.New(&logs, zapcore.InfoLevel)}
	router := chi.NewRouter()
	router.Use(a.requestID, a.accessLog, a.recover)
	router.Get("/panic", func(http.ResponseWriter, *http.Request) { panic("boom") })
	request := httptest.NewRequest("GET", "/panic?query", nil)
	request.Header.Set("X-Request-Id", "r-1")
	answer := httptest.NewRecorder()
	router.ServeHTTP(answer, request)
	want := `{"type":"https://bakeoff.invalid/problems/internal","title":"Internal error","status":500,` +
		`"detail":"The service failed.","instance":"/panic","request_id":"r-1"}`
	if answer.Code != 500 || answer.Body.String() != want {
		t.Errorf("%d\ngot  %s\nwant %s", answer.Code, answer.Body, want)
	}
	if !strings.Contains(logs.String(), `"error":"panic: boom"`) || !strings.Contains(logs.String(), "TestAPanicIs500Problem") {
		t.Errorf("logs are %s", logs.String())
	}
}
