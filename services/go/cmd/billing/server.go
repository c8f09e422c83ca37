package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"

	"bakeoff/billing/internal/config"
)

// readHeaderTimeout is the only timeout of a connection: an idle one stays open.
const readHeaderTimeout = 30 * time.Second

var (
	errSecondSignal = errors.New("stopped by a second signal")
	errGraceOver    = errors.New("requests were still in flight at the end of the grace period")
)

// server is an http.Server that serves already.
type server struct {
	http    *http.Server
	address string
	failed  chan error
}

// listen binds the address and serves. net/http sets TCP_NODELAY itself.
func listen(address netip.AddrPort, handler http.Handler, logger *zap.Logger) (*server, error) {
	listener, err := net.Listen("tcp", address.String())
	if err != nil {
		return nil, err
	}
	complaints, err := zap.NewStdLogAt(logger, zap.WarnLevel)
	if err != nil {
		return nil, err
	}
	// Parity: HTTP/1.1 only.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	s := &server{
		http: &http.Server{
			Handler:           handler,
			Protocols:         &protocols,
			ReadHeaderTimeout: readHeaderTimeout,
			ErrorLog:          complaints,
			// OPTIONS * goes to the router as any other request does.
			DisableGeneralOptionsHandler: true,
		},
		address: listener.Addr().String(),
		failed:  make(chan error, 1),
	}
	go func() { s.failed <- s.http.Serve(listener) }()
	return s, nil
}

// stop serves on for the drain time, calls quiesce, accepts nothing more, waits
// for the requests in flight and calls release. A second signal cuts all of it short,
// the end of the grace period all but the first.
func (s *server) stop(ctx context.Context, signals <-chan os.Signal, settings config.Config, quiesce, release func()) error {
	forced, force := context.WithCancelCause(ctx)
	defer force(nil)
	go func() {
		select {
		case <-signals:
			force(errSecondSignal)
		case <-forced.Done():
		}
	}()
	select {
	case <-time.After(settings.ShutdownDrain):
	case <-forced.Done():
	}
	quiesce()
	grace, cancel := context.WithTimeoutCause(forced, settings.ShutdownGrace, errGraceOver)
	defer cancel()
	if err := s.http.Shutdown(grace); err != nil {
		return errors.Join(context.Cause(grace), s.http.Close())
	}
	released := make(chan struct{})
	go func() {
		release()
		close(released)
	}()
	select {
	case <-released:
		return nil
	case <-grace.Done():
		return context.Cause(grace)
	}
}
