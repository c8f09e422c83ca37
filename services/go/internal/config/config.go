// Package config reads the service's settings from the environment.
package config

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap/zapcore"
)

// Config is every setting of the service. Printing it shows no secret.
type Config struct {
	DatabaseURL            Secret
	PaymentTargets         []string
	AuthJWTSecret          Secret
	AuthJWTIssuer          string
	AuthJWTAudience        string
	ListenAddr             netip.AddrPort
	DatabaseMaxConnections int
	PaymentTimeout         time.Duration
	LogLevel               zapcore.Level
	WorkerThreads          int
	SweepInterval          time.Duration
	ShutdownDrain          time.Duration
	ShutdownGrace          time.Duration
}

// Secret is a text that prints as asterisks.
type Secret string

// String hides the secret from %v, %s and %q.
func (Secret) String() string { return "***" }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return "***" }

// Error names every setting that is missing or bad, without its value.
type Error struct{ Problems []string }

// Error lists the problems on one line.
func (e *Error) Error() string { return "bad settings: " + strings.Join(e.Problems, "; ") }

// Lookup finds a variable of the environment, as os.LookupEnv does.
type Lookup func(name string) (value string, found bool)

// Load reads the settings. An *Error names all that are wrong at once.
func Load(lookup Lookup) (Config, error) {
	r := reader{lookup: lookup}
	settings := Config{
		DatabaseURL:            Secret(r.text("DATABASE_URL", "must be a postgres:// URL", isDatabaseURL)),
		PaymentTargets:         r.targets("PAYMENT_TARGETS"),
		AuthJWTSecret:          Secret(r.text("AUTH_JWT_SECRET", "must have 32 bytes at least", isLongSecret)),
		AuthJWTIssuer:          r.text("AUTH_JWT_ISSUER", "must not be empty", isNotEmpty),
		AuthJWTAudience:        r.text("AUTH_JWT_AUDIENCE", "must not be empty", isNotEmpty),
		ListenAddr:             r.address("LISTEN_ADDR", "127.0.0.1:8080"),
		DatabaseMaxConnections: r.number("DATABASE_MAX_CONNECTIONS", 16, 1, 1000),
		PaymentTimeout:         time.Duration(r.number("PAYMENT_TIMEOUT_MS", 1000, 1, 60_000)) * time.Millisecond,
		LogLevel:               r.level("LOG_LEVEL", zapcore.InfoLevel),
		// What the runtime found in affinity mask and quota.
		WorkerThreads: r.number("WORKER_THREADS", runtime.GOMAXPROCS(0), 1, 1024),
		SweepInterval: time.Duration(r.number("SWEEP_INTERVAL_MS", 1000, 100, 3_600_000)) * time.Millisecond,
		ShutdownDrain: time.Duration(r.number("SHUTDOWN_DRAIN_SECONDS", 5, 0, 300)) * time.Second,
		ShutdownGrace: time.Duration(r.number("SHUTDOWN_GRACE_SECONDS", 20, 1, 300)) * time.Second,
	}
	if len(r.problems) > 0 {
		return Config{}, &Error{Problems: r.problems}
	}
	return settings, nil
}

// reader looks variables up and gathers what is wrong with them.
type reader struct {
	lookup   Lookup
	problems []string
}

func (r *reader) reject(name, demand string) {
	r.problems = append(r.problems, name+" "+demand)
}

func (r *reader) text(name, demand string, valid func(string) bool) string {
	value, found := r.lookup(name)
	switch {
	case !found:
		r.reject(name, "is missing")
	case !valid(value):
		r.reject(name, demand)
	}
	return value
}

func (r *reader) targets(name string) []string {
	return strings.Split(r.text(name, "must be 1 to 64 host:port, comma-separated", areTargets), ",")
}

func (r *reader) address(name, otherwise string) netip.AddrPort {
	value, found := r.lookup(name)
	if !found {
		value = otherwise
	}
	address, err := netip.ParseAddrPort(value)
	if err != nil {
		r.reject(name, "must be ip:port")
	}
	return address
}

func (r *reader) number(name string, otherwise, low, high int) int {
	value, found := r.lookup(name)
	if !found {
		return otherwise
	}
	// Digits alone: no sign.
	number, err := strconv.ParseUint(value, 10, 32)
	if err != nil || int(number) < low || int(number) > high {
		r.reject(name, fmt.Sprintf("must be a whole number from %d to %d", low, high))
	}
	return int(number)
}

func (r *reader) level(name string, otherwise zapcore.Level) zapcore.Level {
	value, found := r.lookup(name)
	if !found {
		return otherwise
	}
	switch value {
	case "debug":
		return zapcore.DebugLevel
	case "info":
		return zapcore.InfoLevel
	case "warn":
		return zapcore.WarnLevel
	case "error":
		return zapcore.ErrorLevel
	}
	r.reject(name, "must be debug, info, warn or error")
	return otherwise
}

func isNotEmpty(value string) bool { return value != "" }

func isLongSecret(value string) bool { return len(value) >= 32 }

func isDatabaseURL(value string) bool {
	_, err := pgxpool.ParseConfig(value)
	return err == nil && (strings.HasPrefix(value, "postgres://") || strings.HasPrefix(value, "postgresql://"))
}

func areTargets(value string) bool {
	targets := strings.Split(value, ",")
	return len(targets) <= 64 && !slices.ContainsFunc(targets, isNoTarget)
}

func isNoTarget(value string) bool {
	host, port, err := net.SplitHostPort(value)
	number, notNumber := strconv.ParseUint(port, 10, 16)
	return err != nil || host == "" || strings.ContainsFunc(host, isNoneOfAHost) || notNumber != nil || number == 0
}

func isNoneOfAHost(c rune) bool {
	return c <= ' ' || c > '~' || strings.ContainsRune("/?#@%\"<>\\^`{|}", c)
}
