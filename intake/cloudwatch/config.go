package cloudwatch

import (
	"fmt"
	"path"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// Config are the options of an integration with CloudWatch.
type Config struct {
	// RawDelivery takes alarms that SNS sends without its envelope. They carry
	// no signature, so another method of authentication must stand. Default: false.
	RawDelivery bool `yaml:"raw_delivery"`
	// InsufficientData says what an alarm without data means: ignore (the alarm
	// stays what it was), firing or resolved. Default: ignore.
	InsufficientData string `yaml:"insufficient_data" enum:"ignore,firing,resolved"`
	// DefaultSeverity is for alarms no other rule names; alarms have no severity
	// of their own. Default: medium.
	DefaultSeverity string `yaml:"default_severity"`
	// Severities name alarms by a pattern with * and ?; the first that fits wins,
	// before a word severity=high in the alarm's description. Default: none.
	Severities []Severity `yaml:"severities"`
	// Contributor lists the fields of an alarm in which the one series of a
	// multi-series alarm may stand, as text or as an object with id and
	// attributes. Default: alarmContributor, AlarmContributor, AlarmContributorId.
	Contributor []string `yaml:"contributor"`
}

// Severity gives the alarms that fit a pattern a severity.
type Severity struct {
	Alarm    string `yaml:"alarm"`
	Severity string `yaml:"severity"`
}

// Defaults sets what was not written.
func (c *Config) Defaults() {
	if c.InsufficientData == "" {
		c.InsufficientData = "ignore"
	}
	if c.DefaultSeverity == "" {
		c.DefaultSeverity = string(ops.Medium)
	}
	if len(c.Contributor) == 0 {
		c.Contributor = []string{"alarmContributor", "AlarmContributor", "AlarmContributorId"}
	}
}

// check returns the fault of the first option that is wrong.
func (c *Config) check() error {
	severity := func(field, v string) error {
		if _, err := ops.ParseSeverity(v); err != nil {
			return &intake.Fault{Field: field, Value: v, Fix: "write critical, high, medium, low or info"}
		}
		return nil
	}
	if err := severity("default_severity", c.DefaultSeverity); err != nil {
		return err
	}
	for i, s := range c.Severities {
		if _, err := path.Match(s.Alarm, ""); err != nil || s.Alarm == "" {
			return &intake.Fault{Field: fmt.Sprintf("severities[%d].alarm", i), Value: s.Alarm, Fix: "write a pattern such as prod-*"}
		}
		if err := severity(fmt.Sprintf("severities[%d].severity", i), s.Severity); err != nil {
			return err
		}
	}
	switch c.InsufficientData {
	case "ignore", "firing", "resolved":
		return nil
	}
	return &intake.Fault{Field: "insufficient_data", Value: c.InsufficientData, Fix: "write ignore, firing or resolved"}
}
