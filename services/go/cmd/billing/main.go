// Command billing serves the billing API.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"go.uber.org/zap"

	"bakeoff/billing/internal/api"
	"bakeoff/billing/internal/config"
	"bakeoff/billing/internal/logging"
	"bakeoff/billing/internal/paying"
	"bakeoff/billing/internal/payments"
	"bakeoff/billing/internal/postgres"
)

const version = "0.1.0"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "healthcheck" {
		exit(healthcheck(os.LookupEnv))
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	exit(run(context.Background(), signals, os.LookupEnv, os.Stdout))
}

// exit ends the process: 0 without an error, 2 for bad settings, else 1.
func exit(err error) {
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, "billing:", err)
	if _, bad := errors.AsType[*config.Error](err); bad {
		os.Exit(2)
	}
	os.Exit(1)
}

// run serves until the first signal and stops in order; a second signal, or the
// end of the grace period, is an error.
func run(ctx context.Context, signals <-chan os.Signal, lookup config.Lookup, stdout io.Writer) error {
	settings, err := config.Load(lookup)
	if err != nil {
		return err
	}
	logger := logging.New(stdout, settings.LogLevel)
	runtime.GOMAXPROCS(settings.WorkerThreads)
	database, err := postgres.Open(ctx, string(settings.DatabaseURL), settings.DatabaseMaxConnections)
	if err != nil {
		return err
	}
	provider, err := payments.Open(settings.PaymentTargets, settings.PaymentTimeout)
	if err != nil {
		return err
	}
	payer := paying.New(settings, database, provider, api.RenderPayment, logger)
	service := api.New(settings, database, provider, payer, logger)
	server, err := listen(settings.ListenAddr, service.Router(), logger)
	if err != nil {
		return err
	}
	stopSweeping := payer.Sweep()
	logger.Info("listening",
		zap.String("address", server.address),
		zap.Int("worker_threads", settings.WorkerThreads),
		zap.Int("database_max_connections", settings.DatabaseMaxConnections),
		zap.Int("payment_channels", len(settings.PaymentTargets)),
		zap.String("version", version),
	)
	select {
	case err := <-server.failed:
		return err
	case <-signals:
	}
	logger.Info("draining")
	service.Drain()
	err = server.stop(ctx, signals, settings, stopSweeping, func() {
		payer.Wait()
		provider.Close()
		database.Close()
	})
	logger.Info("stopped")
	return err
}
