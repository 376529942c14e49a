package ec2

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

	Instances     []string      `yaml:"instances"`             // those it may touch: ids, * for any part of one, or tag:name=value; required
	Actions       []string      `yaml:"actions"`               // of stop, start and resize; default: all three
	Types         []string      `yaml:"types"`                 // it may give, such as m7i.*; default: any
	StoreLoss     bool          `yaml:"lose_instance_store"`   // stop instances whose type has instance-store volumes, which loses what is on them; default false
	AddressChange bool          `yaml:"change_public_address"` // stop instances with a public address that is no Elastic IP; default false
	StackMembers  bool          `yaml:"stack_members"`         // touch instances a CloudFormation stack has made, which then drift; default false
	NVMe          bool          `yaml:"nvme_drivers"`          // the images bring NVMe drivers: resize to a type whose volumes are NVMe from one whose are not; default false
	StatusChecks  *bool         `yaml:"status_checks"`         // a started instance must pass its status checks; default true
	Boot          time.Duration `yaml:"boot"`                  // how long they may take; default 10m
	Estimate      time.Duration `yaml:"estimate"`              // of one change; default 10m
	Timeout       time.Duration `yaml:"timeout"`               // after it everything is put back; default 30m
	Grace         time.Duration `yaml:"grace"`                 // how long putting back may take; default 20m
	Settle        time.Duration `yaml:"settle"`                // how long the service may take to show what it was told; default 1m
	Poll          time.Duration `yaml:"poll"`                  // default 5s
}

const tagPrefix = "tag:"

// Validate fills in the defaults and returns every fault.
func (c *Config) Validate() error {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Boot, 10*time.Minute)
	def(&c.Estimate, 10*time.Minute)
	def(&c.Timeout, 30*time.Minute)
	def(&c.Grace, 20*time.Minute)
	def(&c.Settle, time.Minute)
	def(&c.Poll, 5*time.Second)
	if len(c.Actions) == 0 {
		c.Actions = []string{Stop, Start, Resize}
	}
	if len(c.Types) == 0 {
		c.Types = []string{"*"}
	}
	if c.StatusChecks == nil {
		yes := true
		c.StatusChecks = &yes
	}
	faults := []error{c.Config.Validate()}
	if len(c.Instances) == 0 {
		faults = append(faults, errors.New("instances is empty; list the instances this executor may touch"))
	}
	for i, p := range c.Instances {
		if tag, ok := strings.CutPrefix(p, tagPrefix); ok {
			name, value, _ := strings.Cut(tag, "=")
			if _, err := path.Match(value, ""); err != nil || name == "" || value == "" {
				faults = append(faults, fmt.Errorf("instances[%d] %q: write tag:name=value, * for any part of the value", i, p))
			}
		} else if _, err := path.Match(p, ""); err != nil || p == "" || strings.Contains(p, "=") {
			faults = append(faults, fmt.Errorf("instances[%d] %q: write an id such as i-0123456789abcdef0 or i-*, or tag:name=value", i, p))
		}
	}
	for i, a := range c.Actions {
		if !slices.Contains([]string{Stop, Start, Resize}, a) {
			faults = append(faults, fmt.Errorf("actions[%d] %q is none of %s, %s, %s", i, a, Stop, Start, Resize))
		}
	}
	for i, p := range c.Types {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			faults = append(faults, fmt.Errorf("types[%d] %q: write an instance type such as m7i.large or m7i.*", i, p))
		}
	}
	for _, d := range []time.Duration{c.Boot, c.Estimate, c.Timeout, c.Grace, c.Settle, c.Poll} {
		if d < 0 {
			faults = append(faults, errors.New("boot, estimate, timeout, grace, settle and poll must not be negative"))
			break
		}
	}
	return errors.Join(faults...)
}

// mayTouch refuses instances that are not on the list.
func (c *Config) mayTouch(i instance) error {
	for _, p := range c.Instances {
		have, there := i.ID, true
		if tag, ok := strings.CutPrefix(p, tagPrefix); ok {
			var name string
			name, p, _ = strings.Cut(tag, "=")
			have, there = i.Tags[name]
		}
		if ok, err := path.Match(p, have); ok && there && err == nil {
			return nil
		}
	}
	return fmt.Errorf("ec2: instance %s is not allowed; allowed are %s: %w", i.ID, strings.Join(c.Instances, ", "), ops.ErrDenied)
}

func (c *Config) mayGive(kind string) error {
	for _, p := range c.Types {
		if ok, err := path.Match(p, kind); ok && err == nil {
			return nil
		}
	}
	return fmt.Errorf("ec2: type %q is not allowed; allowed are %s: %w", kind, strings.Join(c.Types, ", "), ops.ErrDenied)
}

// digest is the part of the configuration that decides what a plan does.
func (c *Config) digest() string {
	b, err := json.Marshal([]any{c.Region, c.Role, *c.StatusChecks, c.Boot.String(), c.Timeout.String()})
	if err != nil {
		panic("ec2: a list of strings always marshals: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }
