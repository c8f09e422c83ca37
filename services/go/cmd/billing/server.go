package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"bakeoff/billing/internal/config"
)

// readHeaderTimeout is the only timeout of a connection: an idle one stays open.
const readHeaderTimeout = 30 * time.Second

// silentGrace is what a connection without a request gets when the service stops.
const silentGrace = 500 * time.Millisecond

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
	silent := &silentConnections{connections: map[net.Conn]struct{}{}}
	s := &server{
		http: &http.Server{
			Handler:           handler,
			Protocols:         &protocols,
			ReadHeaderTimeout: readHeaderTimeout,
			ErrorLog:          complaints,
			ConnState:         silent.note,
			// OPTIONS * goes to the router as any other request does.
			DisableGeneralOptionsHandler: true,
		},
		address: listener.Addr().String(),
		failed:  make(chan error, 1),
	}
	s.http.RegisterOnShutdown(silent.close)
	go func() { s.failed <- s.http.Serve(listener) }()
	return s, nil
}

// silentConnections are those that have sent no request yet. Shutdown would wait
// for them till they are five seconds old, and the grace period may be shorter.
type silentConnections struct {
	mutex       sync.Mutex
	connections map[net.Conn]struct{}
}

// note is the server's hook.
func (s *silentConnections) note(connection net.Conn, state http.ConnState) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if state == http.StateNew {
		s.connections[connection] = struct{}{}
	} else {
		delete(s.connections, connection)
	}
}

// close closes them, once those have been heard whose request is on its way.
func (s *silentConnections) close() {
	time.Sleep(silentGrace)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for connection := range s.connections {
		_ = connection.Close() // its reader ends, and the server with it
	}
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
