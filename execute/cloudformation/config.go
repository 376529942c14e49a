package cloudformation

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// Config is what this executor may do, and in which account.
type Config struct {
	awsx.Config `yaml:",inline"`

	Stacks           []string      `yaml:"stacks"`            // the stacks it may touch, by name, * for any part of one; required
	Capabilities     []string      `yaml:"capabilities"`      // such as CAPABILITY_NAMED_IAM; default: none
	Replacement      string        `yaml:"replacement"`       // never, conditional or allowed; default never
	NotificationARNs []string      `yaml:"notification_arns"` // SNS topics for stack events; default: those of the stack
	ServiceRole      string        `yaml:"service_role"`      // the role CloudFormation works with; default: that of the stack
	RollbackAlarms   []string      `yaml:"rollback_alarms"`   // ARNs of up to 5 alarms that undo an update; default: those of the stack
	Monitoring       time.Duration `yaml:"monitoring"`        // how long the alarms are watched after an update, up to 3h; default: that of the stack
	DriftCheck       *bool         `yaml:"drift_check"`       // look for drift before executing, and refuse; default true
	Estimate         time.Duration `yaml:"estimate"`          // of an update, without monitoring; default 10m
	Timeout          time.Duration `yaml:"timeout"`           // after it an update is cancelled; default 1h
	Grace            time.Duration `yaml:"grace"`             // how long a cancelled update may take to roll back; default 30m
	Poll             time.Duration `yaml:"poll"`              // default 3s
	Preview          string        `yaml:"preview"`           // where keys of previews live for the length of a plan; default /fettle/preview
}

// The values of Replacement.
const (
	never       = "never"
	conditional = "conditional" // what may be replaced or not, as the instance type of an instance
	allowed     = "allowed"
)

// Validate fills in the defaults and returns every fault.
func (c *Config) Validate() error {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Estimate, 10*time.Minute)
	def(&c.Timeout, time.Hour)
	def(&c.Grace, 30*time.Minute)
	def(&c.Poll, 3*time.Second)
	if c.Replacement == "" {
		c.Replacement = never
	}
	if c.Preview == "" {
		c.Preview = "/fettle/preview"
	}
	if c.DriftCheck == nil {
		yes := true
		c.DriftCheck = &yes
	}
	faults := []error{c.Config.Validate(), parameter.CheckKey(c.Preview + "/change")}
	if len(c.Stacks) == 0 {
		faults = append(faults, errors.New("stacks is empty; list the stacks this executor may touch"))
	}
	for i, s := range c.Stacks {
		if _, err := path.Match(s, ""); err != nil || s == "" {
			faults = append(faults, fmt.Errorf("stacks[%d] %q: write a name such as web or web-*", i, s))
		}
	}
	if !slices.Contains([]string{never, conditional, allowed}, c.Replacement) {
		faults = append(faults, fmt.Errorf("replacement %q is none of never, conditional, allowed", c.Replacement))
	}
	if len(c.RollbackAlarms) > 5 {
		faults = append(faults, fmt.Errorf("rollback_alarms has %d alarms; CloudFormation watches at most 5", len(c.RollbackAlarms)))
	}
	for _, list := range []struct {
		name string
		arns []string
	}{{"rollback_alarms", c.RollbackAlarms}, {"notification_arns", c.NotificationARNs}} {
		for i, a := range list.arns {
			if !awsx.IsARN(a) {
				faults = append(faults, fmt.Errorf("%s[%d] %q is no ARN", list.name, i, a))
			}
		}
	}
	if c.ServiceRole != "" && !awsx.IsARN(c.ServiceRole) {
		faults = append(faults, fmt.Errorf("service_role %q: write the ARN of a role", c.ServiceRole))
	}
	if c.Monitoring < 0 || c.Monitoring > 3*time.Hour || c.Monitoring%time.Minute != 0 {
		faults = append(faults, fmt.Errorf("monitoring %s: write whole minutes up to 3h", c.Monitoring))
	}
	if c.Monitoring > 0 && len(c.RollbackAlarms) == 0 {
		faults = append(faults, errors.New("monitoring needs rollback_alarms: without an alarm there is nothing to watch"))
	}
	if c.Estimate < 0 || c.Timeout < 0 || c.Grace < 0 || c.Poll < 0 {
		faults = append(faults, errors.New("estimate, timeout, grace and poll must not be negative"))
	}
	return errors.Join(faults...)
}

// mayTouch refuses stacks that are not on the list.
func (x *Executor) mayTouch(stack string) error {
	for _, s := range x.cfg.Stacks {
		if ok, err := path.Match(s, stack); ok && err == nil {
			return nil
		}
	}
	return fmt.Errorf("cloudformation: stack %q is not allowed; allowed are %s: %w", x.env.Redact(stack), strings.Join(x.cfg.Stacks, ", "), ops.ErrDenied)
}

// digest is the part of the configuration that decides what a plan does.
func (c *Config) digest() string {
	b, err := json.Marshal([]any{
		c.Region, c.Role, c.Capabilities, c.Replacement, c.NotificationARNs, c.ServiceRole, c.RollbackAlarms,
		c.Monitoring.String(), *c.DriftCheck, c.Timeout.String(),
	})
	if err != nil {
		panic("cloudformation: a list of strings always marshals: " + err.Error())
	}
	return hash(string(b))
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
