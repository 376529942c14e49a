// Package alertmanager takes the webhook notifications of Prometheus'
// Alertmanager, payload version 4.
//
// Alertmanager numbers nothing and repeats what it sent whenever its
// repeat_interval has passed, so a repeat is stored again and is for
// correlation to recognise: the same fingerprint with the same start and state
// says nothing new. An alert that fires again has a new start.
package alertmanager

import (
	"strings"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// Driver is the source `alertmanager`.
var Driver = intake.Define("alertmanager", Open)

// Open makes the source of one integration.
func Open(options intake.Decoder, env intake.Env) (intake.Source, error) {
	var c Config
	if err := options.Decode(&c); err != nil {
		return nil, err
	}
	c.Defaults()
	table, err := c.table()
	if err != nil {
		return nil, err
	}
	fallback, err := ops.ParseSeverity(c.DefaultSeverity)
	if err != nil {
		return nil, &intake.Fault{Field: "default_severity", Value: c.DefaultSeverity, Fix: "write critical, high, medium, low or info"}
	}
	return &source{config: c, table: table, fallback: fallback, prefix: env.Integration + ":"}, nil
}

type source struct {
	config   Config
	table    map[string]ops.Severity
	fallback ops.Severity
	prefix   string // keeps equal fingerprints of two Alertmanagers apart
}

func (s *source) severity(labels map[string]string) ops.Severity {
	v, ok := labels[s.config.SeverityLabel]
	if !ok {
		return s.fallback
	}
	if sev, ok := s.table[v]; ok {
		return sev
	}
	if sev, ok := s.table[strings.ToLower(strings.TrimSpace(v))]; ok {
		return sev
	}
	return s.fallback
}

// Diagnose implements intake.Diagnoser.
func (s *source) Diagnose(auth intake.AuthConfig) []intake.Finding {
	return intake.Unsendable("Alertmanager", auth, "bearer", "basic", "header")
}
