package alertmanager

import (
	"fmt"
	"strings"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// Config are the options of an integration with Alertmanager.
type Config struct {
	// SeverityLabel is the label that says how bad an alert is. Default: severity.
	SeverityLabel string `yaml:"severity_label"`
	// Severities maps further values of that label, in lower case, to critical,
	// high, medium, low or info. Default: the usual words, see the README.
	Severities map[string]string `yaml:"severities"`
	// DefaultSeverity is for alerts without the label or with an unknown value.
	// Default: medium.
	DefaultSeverity string `yaml:"default_severity"`
	// ResourceLabels are the labels that name the thing an alert is about, the
	// first one present wins. Default: instance, host, hostname, nodename, node,
	// pod, service, job.
	ResourceLabels []string `yaml:"resource_labels"`
}

// Defaults sets what was not written.
func (c *Config) Defaults() {
	if c.SeverityLabel == "" {
		c.SeverityLabel = "severity"
	}
	if c.DefaultSeverity == "" {
		c.DefaultSeverity = string(ops.Medium)
	}
	if len(c.ResourceLabels) == 0 {
		c.ResourceLabels = []string{"instance", "host", "hostname", "nodename", "node", "pod", "service", "job"}
	}
}

// words are the values of the severity label people use.
var words = map[string]ops.Severity{
	"critical": ops.Critical, "crit": ops.Critical, "emergency": ops.Critical, "fatal": ops.Critical, "page": ops.Critical, "disaster": ops.Critical,
	"high": ops.High, "error": ops.High, "major": ops.High,
	"medium": ops.Medium, "warning": ops.Medium, "warn": ops.Medium, "moderate": ops.Medium,
	"low": ops.Low, "minor": ops.Low, "notice": ops.Low,
	"info": ops.Info, "information": ops.Info, "informational": ops.Info, "none": ops.Info, "debug": ops.Info,
}

// table returns the severities of all known words.
func (c *Config) table() (map[string]ops.Severity, error) {
	out := make(map[string]ops.Severity, len(words)+len(c.Severities))
	for k, v := range words {
		out[k] = v
	}
	for k, v := range c.Severities {
		s, err := ops.ParseSeverity(v)
		if err != nil {
			return nil, &intake.Fault{Field: fmt.Sprintf("severities.%s", k), Value: v, Fix: "write critical, high, medium, low or info"}
		}
		out[strings.ToLower(k)] = s
	}
	return out, nil
}
