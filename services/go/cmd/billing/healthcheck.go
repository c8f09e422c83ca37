package main

import (
	"bakeoff/billing/internal/api"
	"bakeoff/billing/internal/config"
)

// healthcheck asks the service with the same settings whether it lives.
func healthcheck(lookup config.Lookup) error {
	settings, err := config.Load(lookup)
	if err != nil {
		return err
	}
	return api.Probe(settings.ListenAddr)
}
