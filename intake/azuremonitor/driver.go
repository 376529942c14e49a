// Package azuremonitor takes the alerts of Azure Monitor in the common alert
// schema, from plain and from secure webhooks of action groups.
//
// Azure gives an alert that fires again a new alertId and says nothing when a
// severity changes, so an alert's identity here is made of rule, target and
// dimensions; the alertId is kept as its external id for writing back.
package azuremonitor

import (
	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// Driver is the source `azuremonitor`.
var Driver = intake.Define("azuremonitor", Open)

// Open makes the source of one integration.
func Open(options intake.Decoder, _ intake.Env) (intake.Source, error) {
	var c Config
	if err := options.Decode(&c); err != nil {
		return nil, err
	}
	c.Defaults()
	fallback, err := c.severity()
	if err != nil {
		return nil, err
	}
	return &source{config: c, fallback: fallback}, nil
}

type source struct {
	config   Config
	fallback ops.Severity
}

// Diagnose implements intake.Diagnoser. A plain webhook carries credentials in
// its URL only, which arrive as basic authentication.
func (s *source) Diagnose(auth intake.AuthConfig) []intake.Finding {
	return intake.Unsendable("an Azure action group", auth, "basic", "entra")
}
