// Package runbook decides whether an alert asks for a remediation, and which.
//
// A runbook executes nothing: it names the standard change that is raised.
// Its steps are tried in order against the value measured when the plan is
// made, and the first whose condition holds is taken.
package runbook

import (
	"errors"
	"fmt"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

// Config is a runbook as it is configured.
type Config struct {
	Name string
	// Trigger is CEL over alert and incident.
	Trigger string
	Steps   []Step
	// Cooldown is how long after a change of this runbook ended, on the same
	// resource, the next may be raised. Default: 15 minutes.
	Cooldown time.Duration
	// Risk of its changes, 0 to 1. Nil means unknown, which counts as 1.
	Risk *float64
	// Window names the only window its changes may run in. Default: any that applies.
	Window string
	// VerifyWithin is how long the cause may take to go away. Default: 10 minutes.
	VerifyWithin time.Duration
}

// Step is one remediation.
type Step struct {
	// When is CEL over value and alert. Empty holds always. A step
	// with a condition is never taken while the value is unknown.
	When     string
	Executor string
	Action   string
	Args     []string
}

// Defaults of a runbook.
const (
	DefaultCooldown     = 15 * time.Minute
	DefaultVerifyWithin = 10 * time.Minute
)

// Runbook is a compiled runbook. It is immutable.
type Runbook struct {
	Config
	trigger *policy.Program
	when    []*policy.Program
}

// Compile checks and compiles a runbook. The error wraps ops.ErrInvalid, names
// the runbook and holds every fault.
func Compile(c Config) (*Runbook, error) {
	r := &Runbook{Config: c, when: make([]*policy.Program, len(c.Steps))}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("runbook %q: %w: %w", c.Name, fmt.Errorf(format, args...), ops.ErrInvalid))
	}
	if c.Name == "" {
		fault("name is empty; give it one")
	}
	var err error
	if r.trigger, err = policy.Compile(policy.Alert, c.Trigger); err != nil {
		fault("trigger: %w", err)
	}
	if len(c.Steps) == 0 {
		fault("has no steps; name an executor and an action")
	}
	for i, s := range c.Steps {
		if s.Executor == "" || s.Action == "" {
			fault("step %d needs an executor and an action", i+1)
		}
		if s.When == "" {
			continue
		}
		if r.when[i], err = policy.Compile(policy.Step, s.When); err != nil {
			fault("step %d: when: %w", i+1, err)
		}
	}
	if c.Risk != nil && !(*c.Risk >= 0 && *c.Risk <= 1) {
		fault("risk %v is not within 0 and 1", *c.Risk)
	}
	if c.Cooldown < 0 || c.VerifyWithin < 0 {
		fault("cooldown and verify must not be negative")
	}
	if r.Cooldown == 0 {
		r.Cooldown = DefaultCooldown
	}
	if r.VerifyWithin == 0 {
		r.VerifyWithin = DefaultVerifyWithin
	}
	return r, errors.Join(faults...)
}

// Principal returns the service that requests the runbook's changes. It can
// never approve one.
func (r *Runbook) Principal() ops.Principal {
	return ops.Principal{ID: "runbook/" + r.Name, Name: "runbook " + r.Name, Kind: ops.Service}
}

// RiskOrUnknown returns the configured risk, 1 when it is unknown.
func (r *Runbook) RiskOrUnknown() float64 {
	if r.Risk == nil {
		return 1
	}
	return *r.Risk
}

// Triggered reports whether the alert asks for this runbook: it fires, is no
// test, its incident is not muted, and the trigger holds.
func (r *Runbook) Triggered(a ops.Alert, i ops.Incident) (bool, error) {
	if a.Test || a.State != ops.Firing || i.Muted != "" {
		return false, nil
	}
	return r.trigger.Match(policy.Vars{Alert: &a, Incident: &i})
}

// Choose returns the first step whose condition holds for the measured value
// (nil when nothing could be measured), and a sentence that says why.
func (r *Runbook) Choose(a ops.Alert, value *float64) (s Step, why string, ok bool, err error) {
	for n, s := range r.Steps {
		if r.when[n] == nil {
			return s, fmt.Sprintf("step %d of runbook %s", n+1, r.Name), true, nil
		}
		if value == nil {
			continue
		}
		holds, err := r.when[n].Match(policy.Vars{Alert: &a, Value: *value})
		if err != nil {
			return Step{}, "", false, fmt.Errorf("runbook %q step %d: %w", r.Name, n+1, err)
		}
		if holds {
			return s, fmt.Sprintf("step %d of runbook %s: %s holds with value %.4g", n+1, r.Name, s.When, *value), true, nil
		}
	}
	if value == nil {
		return Step{}, fmt.Sprintf("no step of runbook %s applies while the value is unknown", r.Name), false, nil
	}
	return Step{}, fmt.Sprintf("no step of runbook %s applies to value %.4g", r.Name, *value), false, nil
}
