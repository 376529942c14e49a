package autoscaling

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

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// Config is what this executor may do, and in which account.
type Config struct {
	awsx.Config `yaml:",inline"`

	Groups          []string      `yaml:"groups"`           // the groups it may touch, by name, * for any part of one; required
	StackOwned      bool          `yaml:"stack_owned"`      // touch groups that belong to a CloudFormation stack too, which drifts by that; default false
	MinHealthy      *int32        `yaml:"min_healthy"`      // percent of the group that stays in service while instances are replaced, 0 to 100; default 90
	MaxHealthy      *int32        `yaml:"max_healthy"`      // percent up to which the group may grow for that, 100 to 200; default: the group's own
	Warmup          time.Duration `yaml:"warmup"`           // of a new instance before it counts; default: the group's own
	Bake            time.Duration `yaml:"bake"`             // how long the replaced group is watched before it counts as done, up to 48h; default 0
	Checkpoints     []int32       `yaml:"checkpoints"`      // percentages at which replacing pauses, the last one 100; default: none
	CheckpointDelay time.Duration `yaml:"checkpoint_delay"` // how long it pauses, up to 48h; default 10m
	Alarms          []string      `yaml:"alarms"`           // names of up to 10 CloudWatch alarms that fail a replacement; default: none
	AutoRollback    *bool         `yaml:"auto_rollback"`    // AWS undoes a replacement that fails; default true
	Protected       string        `yaml:"protected"`        // instances protected from scale in: refuse, leave or replace; default refuse
	Standby         string        `yaml:"standby"`          // instances in standby: refuse, leave or replace; default refuse
	Estimate        time.Duration `yaml:"estimate"`         // of replacing the instances of a group, with pauses and bake; default 30m
	Timeout         time.Duration `yaml:"timeout"`          // after it a replacement is cancelled; default 2h
	Grace           time.Duration `yaml:"grace"`            // how long something that was cancelled may take to end; default 20m
	Poll            time.Duration `yaml:"poll"`             // default 10s
}

// What is done with instances that a refresh would wait an hour for.
const (
	refuse  = "refuse"
	leave   = "leave"
	replace = "replace"
)

// longest is the most that the service takes as bake time and pause.
const longest = 48 * time.Hour

// Validate fills in the defaults and returns every fault.
func (c *Config) Validate() error {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Estimate, 30*time.Minute)
	def(&c.Timeout, 2*time.Hour)
	def(&c.Grace, 20*time.Minute)
	def(&c.Poll, 10*time.Second)
	if len(c.Checkpoints) > 0 {
		def(&c.CheckpointDelay, 10*time.Minute)
	}
	if c.MinHealthy == nil {
		ninety := int32(90)
		c.MinHealthy = &ninety
	}
	if c.AutoRollback == nil {
		yes := true
		c.AutoRollback = &yes
	}
	faults := []error{c.Config.Validate()}
	for _, s := range []struct {
		name  string
		value *string
	}{{"protected", &c.Protected}, {"standby", &c.Standby}} {
		if *s.value == "" {
			*s.value = refuse
		}
		if !slices.Contains([]string{refuse, leave, replace}, *s.value) {
			faults = append(faults, fmt.Errorf("%s %q is none of %s, %s, %s", s.name, *s.value, refuse, leave, replace))
		}
	}
	if len(c.Groups) == 0 {
		faults = append(faults, errors.New("groups is empty; list the groups this executor may touch"))
	}
	for i, s := range c.Groups {
		if _, err := path.Match(s, ""); err != nil || s == "" {
			faults = append(faults, fmt.Errorf("groups[%d] %q: write a name such as web or web-*", i, s))
		}
	}
	if *c.MinHealthy < 0 || *c.MinHealthy > 100 {
		faults = append(faults, fmt.Errorf("min_healthy %d is not within 0 and 100", *c.MinHealthy))
	}
	if c.MaxHealthy != nil && (*c.MaxHealthy < 100 || *c.MaxHealthy > 200 || *c.MaxHealthy-*c.MinHealthy > 100) {
		faults = append(faults, fmt.Errorf("max_healthy %d is not within 100 and 200, or more than 100 above min_healthy", *c.MaxHealthy))
	}
	for i, p := range c.Checkpoints {
		if p < 1 || p > 100 || i > 0 && p <= c.Checkpoints[i-1] || i == len(c.Checkpoints)-1 && p != 100 {
			faults = append(faults, fmt.Errorf("checkpoints[%d] %d: write rising percentages of which the last is 100, or not all instances are replaced", i, p))
		}
	}
	if c.CheckpointDelay > 0 && len(c.Checkpoints) == 0 {
		faults = append(faults, errors.New("checkpoint_delay needs checkpoints: without one there is no pause"))
	}
	if len(c.Alarms) > 10 || slices.Contains(c.Alarms, "") {
		faults = append(faults, fmt.Errorf("alarms: write at most 10 names, not %d", len(c.Alarms)))
	}
	if c.Estimate < 0 || c.Timeout < 0 || c.Grace < 0 || c.Poll < 0 || c.Warmup < 0 || c.Bake < 0 || c.CheckpointDelay < 0 {
		faults = append(faults, errors.New("estimate, timeout, grace, poll, warmup, bake and checkpoint_delay must not be negative"))
	}
	if c.Bake > longest || c.CheckpointDelay > longest {
		faults = append(faults, fmt.Errorf("bake and checkpoint_delay are at most %s", longest))
	}
	return errors.Join(faults...)
}

// mayTouch refuses groups that are not on the list.
func (x *Executor) mayTouch(group string) error {
	for _, s := range x.cfg.Groups {
		if ok, err := path.Match(s, group); ok && err == nil {
			return nil
		}
	}
	return fmt.Errorf("autoscaling: group %q is not allowed; allowed are %s: %w", x.env.Redact(group), strings.Join(x.cfg.Groups, ", "), ops.ErrDenied)
}

// digest is the part of the configuration that decides what a plan does.
func (c *Config) digest() string {
	most := int32(0)
	if c.MaxHealthy != nil {
		most = *c.MaxHealthy
	}
	b, err := json.Marshal([]any{
		c.Region, c.Role, c.StackOwned, *c.MinHealthy, most, c.Warmup.String(), c.Bake.String(), c.Checkpoints, c.CheckpointDelay.String(),
		c.Alarms, *c.AutoRollback, c.Protected, c.Standby, c.Timeout.String(),
	})
	if err != nil {
		panic("autoscaling: a list of texts and numbers always marshals: " + err.Error())
	}
	return hash(string(b))
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
