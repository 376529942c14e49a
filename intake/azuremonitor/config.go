package azuremonitor

import (
	"strings"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// Config are the options of an integration with Azure Monitor.
type Config struct {
	// DefaultSeverity is for alerts without a severity, such as budgets.
	// Default: medium.
	DefaultSeverity string `yaml:"default_severity"`
	// ResolvedWords are the states, stages and health words that end an alert
	// whose monitorCondition stays Fired for ever: service and resource health.
	// Case does not matter. Default: Resolved, Complete, Completed, Canceled, Available.
	ResolvedWords []string `yaml:"resolved_words"`
}

// Defaults sets what was not written.
func (c *Config) Defaults() {
	if c.DefaultSeverity == "" {
		c.DefaultSeverity = string(ops.Medium)
	}
	if len(c.ResolvedWords) == 0 {
		c.ResolvedWords = []string{"Resolved", "Complete", "Completed", "Canceled", "Available"}
	}
}

func (c *Config) resolves(word string) bool {
	for _, w := range c.ResolvedWords {
		if word != "" && strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

func (c *Config) severity() (ops.Severity, error) {
	s, err := ops.ParseSeverity(c.DefaultSeverity)
	if err != nil {
		return "", &intake.Fault{Field: "default_severity", Value: c.DefaultSeverity, Fix: "write critical, high, medium, low or info"}
	}
	return s, nil
}
