package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"time"
)

const probeTimeout = 2 * time.Second

type livezBody struct {
	Status string `json:"status"`
}

// livez says that the process serves; it asks nobody.
func (a *API) livez(w http.ResponseWriter, r *http.Request) error {
	a.writeJSON(w, r, http.StatusOK, jsonType, livezBody{Status: "ok"})
	return nil
}

type readyzBody struct {
	Status   string `json:"status"`
	Database string `json:"database"`
	Payments string `json:"payments"`
}

// readyz says whether the service wants requests. The state of the payment
// channels is named and decides nothing.
func (a *API) readyz(w http.ResponseWriter, r *http.Request) error {
	body := readyzBody{Status: "ready", Database: "ok", Payments: a.payments.State()}
	status := http.StatusOK
	if !a.database.IsReady(r.Context()) {
		body.Status, body.Database = "not_ready", "unavailable"
		status = http.StatusServiceUnavailable
	}
	if a.draining.Load() {
		body.Status = "draining"
		status = http.StatusServiceUnavailable
	}
	a.writeJSON(w, r, status, jsonType, body)
	return nil
}

// Probe asks the service at address for /livez: the healthcheck command, for
// images without a shell.
func Probe(address netip.AddrPort) error {
	// A transport of its own asks no proxy, whatever the environment says.
	client := http.Client{Timeout: probeTimeout, Transport: &http.Transport{}}
	answer, err := client.Get("http://" + address.String() + "/livez")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("/livez answered %d", answer.StatusCode)
	}
	return nil
}
