package config_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"bakeoff/billing/internal/config"
)

const (
	password = "canary-password"
	secret   = "canary-secret-of-32-bytes-or-more"
)

func good() map[string]string {
	return map[string]string{
		"DATABASE_URL":      "postgres://billing:" + password + "@127.0.0.1:5432/billing?sslmode=disable",
		"PAYMENT_TARGETS":   "127.0.0.1:50051,127.0.0.1:50051",
		"AUTH_JWT_SECRET":   secret,
		"AUTH_JWT_ISSUER":   "issuer",
		"AUTH_JWT_AUDIENCE": "audience",
	}
}

func load(values map[string]string) (config.Config, error) {
	return config.Load(func(name string) (string, bool) {
		value, found := values[name]
		return value, found
	})
}

func TestSettingsHaveDefaults(t *testing.T) {
	values := good()
	values["WORKER_THREADS"] = "3"
	settings, err := load(values)
	if err != nil {
		t.Fatal(err)
	}
	want := settings
	want.DatabaseMaxConnections = 16
	want.PaymentTimeout = time.Second
	want.LogLevel = zapcore.InfoLevel
	want.WorkerThreads = 3
	want.SweepInterval = time.Second
	want.ShutdownDrain = 5 * time.Second
	want.ShutdownGrace = 20 * time.Second
	if fmt.Sprintf("%+v", settings) != fmt.Sprintf("%+v", want) {
		t.Errorf("got %+v, want %+v", settings, want)
	}
	if settings.ListenAddr.String() != "127.0.0.1:8080" || len(settings.PaymentTargets) != 2 {
		t.Errorf("got %+v", settings)
	}
}

func TestSettingsProblemsAreNamedTogether(t *testing.T) {
	_, err := load(nil)
	want := "bad settings: DATABASE_URL is missing; PAYMENT_TARGETS is missing; AUTH_JWT_SECRET is missing; " +
		"AUTH_JWT_ISSUER is missing; AUTH_JWT_AUDIENCE is missing"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}

	_, err = load(map[string]string{
		"DATABASE_URL":             "mysql://root:" + password + "@127.0.0.1/billing",
		"PAYMENT_TARGETS":          "nowhere",
		"AUTH_JWT_SECRET":          "canary-short",
		"AUTH_JWT_ISSUER":          "",
		"AUTH_JWT_AUDIENCE":        "",
		"LISTEN_ADDR":              "localhost:http",
		"DATABASE_MAX_CONNECTIONS": "0",
		"PAYMENT_TIMEOUT_MS":       "60001",
		"LOG_LEVEL":                "INFO",
		"WORKER_THREADS":           "two",
		"SWEEP_INTERVAL_MS":        "99",
		"SHUTDOWN_DRAIN_SECONDS":   "-1",
		"SHUTDOWN_GRACE_SECONDS":   "99999999999999999999",
	})
	want = "bad settings: DATABASE_URL must be a postgres:// URL; " +
		"PAYMENT_TARGETS must be 1 to 64 host:port, comma-separated; " +
		"AUTH_JWT_SECRET must have 32 bytes at least; " +
		"AUTH_JWT_ISSUER must not be empty; " +
		"AUTH_JWT_AUDIENCE must not be empty; " +
		"LISTEN_ADDR must be ip:port; " +
		"DATABASE_MAX_CONNECTIONS must be a whole number from 1 to 1000; " +
		"PAYMENT_TIMEOUT_MS must be a whole number from 1 to 60000; " +
		"LOG_LEVEL must be debug, info, warn or error; " +
		"WORKER_THREADS must be a whole number from 1 to 1024; " +
		"SWEEP_INTERVAL_MS must be a whole number from 100 to 3600000; " +
		"SHUTDOWN_DRAIN_SECONDS must be a whole number from 0 to 300; " +
		"SHUTDOWN_GRACE_SECONDS must be a whole number from 1 to 300"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if problems, ok := errors.AsType[*config.Error](err); !ok || len(problems.Problems) != 13 {
		t.Errorf("%T names not all", err)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for name, values := range map[string][]string{
		"DATABASE_URL":             {"", "billing", "postgres://127.0.0.1:port/billing", "http://127.0.0.1/"},
		"PAYMENT_TARGETS":          {"", ",", "host", "host:", ":1", "host:0", "host:65536", "host:1,", "a@b:1", "host/a:1", "ho%zzst:1", "ho st:1", "host\u00e4:1", strings.Repeat("host:1,", 64) + "host:1"},
		"AUTH_JWT_SECRET":          {"", strings.Repeat("s", 31)},
		"AUTH_JWT_ISSUER":          {""},
		"AUTH_JWT_AUDIENCE":        {""},
		"LISTEN_ADDR":              {"", "8080", "127.0.0.1", "localhost:8080", "127.0.0.1:65536"},
		"DATABASE_MAX_CONNECTIONS": {"", "0", "1001", "1.0", "1e2", "0x10", "+1", "-0"},
		"PAYMENT_TIMEOUT_MS":       {"", "0", "60001"},
		"LOG_LEVEL":                {"", "trace", "Info"},
		"WORKER_THREADS":           {"", "0", "1025"},
		"SWEEP_INTERVAL_MS":        {"", "99", "3600001"},
		"SHUTDOWN_DRAIN_SECONDS":   {"", "-1", "301"},
		"SHUTDOWN_GRACE_SECONDS":   {"", "0", "301"},
	} {
		for _, value := range values {
			changed := good()
			changed[name] = value
			_, err := load(changed)
			if problems, ok := errors.AsType[*config.Error](err); !ok || len(problems.Problems) != 1 || !strings.HasPrefix(problems.Problems[0], name+" ") {
				t.Errorf("%s=%q: %v", name, value, err)
			}
		}
	}
}

func TestSettingsSecretsAreMasked(t *testing.T) {
	settings, err := load(good())
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		printed := fmt.Sprintf(verb, settings)
		if strings.Contains(printed, "canary") || !strings.Contains(printed, "***") {
			t.Errorf("%s prints %s", verb, printed)
		}
	}

	bad := good()
	bad["DATABASE_URL"] += ":canary"
	bad["PAYMENT_TARGETS"] = "canary"
	bad["AUTH_JWT_SECRET"] = "canary"
	if _, err := load(bad); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("the message is %v", err)
	}
}
