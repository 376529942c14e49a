package rds

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

	Databases    []string      `yaml:"databases"`     // those it may touch: identifiers, * for any part of one, or tag:name=value; required
	Actions      []string      `yaml:"actions"`       // of resize, modify, stop, start and reboot; default: all five
	Classes      []string      `yaml:"classes"`       // it may give, such as db.m7g.*; default: any
	MaxStorage   int           `yaml:"max_storage"`   // GiB it may grow storage to; default: no limit but the service's
	ApplyPending bool          `yaml:"apply_pending"` // modify databases with other pending changes too, which are then applied with ours; default false
	StackMembers bool          `yaml:"stack_members"` // touch databases a CloudFormation stack has made, which then drift; default false
	ClassCheck   *bool         `yaml:"class_check"`   // ask whether a class can be ordered for the engine; default true
	Estimate     time.Duration `yaml:"estimate"`      // of one change; default 20m
	Timeout      time.Duration `yaml:"timeout"`       // after it a change has failed, once it has settled; default 1h
	Grace        time.Duration `yaml:"grace"`         // how long what cannot be called off may still take; default 30m
	Settle       time.Duration `yaml:"settle"`        // how long the service may take to show what it was told; default 2m
	Poll         time.Duration `yaml:"poll"`          // default 10s
}

const tagPrefix = "tag:"

var actions = []string{Resize, Modify, Stop, Start, Reboot}

// Validate fills in the defaults and returns every fault.
func (c *Config) Validate() error {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Estimate, 20*time.Minute)
	def(&c.Timeout, time.Hour)
	def(&c.Grace, 30*time.Minute)
	def(&c.Settle, 2*time.Minute)
	def(&c.Poll, 10*time.Second)
	if len(c.Actions) == 0 {
		c.Actions = slices.Clone(actions)
	}
	if len(c.Classes) == 0 {
		c.Classes = []string{"*"}
	}
	if c.ClassCheck == nil {
		yes := true
		c.ClassCheck = &yes
	}
	faults := []error{c.Config.Validate()}
	if len(c.Databases) == 0 {
		faults = append(faults, errors.New("databases is empty; list the databases this executor may touch"))
	}
	for i, p := range c.Databases {
		if tag, ok := strings.CutPrefix(p, tagPrefix); ok {
			name, value, _ := strings.Cut(tag, "=")
			if _, err := path.Match(value, ""); err != nil || name == "" || value == "" {
				faults = append(faults, fmt.Errorf("databases[%d] %q: write tag:name=value, * for any part of the value", i, p))
			}
		} else if _, err := path.Match(p, ""); err != nil || p == "" || strings.Contains(p, "=") {
			faults = append(faults, fmt.Errorf("databases[%d] %q: write an identifier such as shop or shop-*, or tag:name=value", i, p))
		}
	}
	for i, a := range c.Actions {
		if !slices.Contains(actions, a) {
			faults = append(faults, fmt.Errorf("actions[%d] %q is none of %s", i, a, strings.Join(actions, ", ")))
		}
	}
	for i, p := range c.Classes {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			faults = append(faults, fmt.Errorf("classes[%d] %q: write a class such as db.m7g.large or db.m7g.*", i, p))
		}
	}
	if c.MaxStorage < 0 {
		faults = append(faults, fmt.Errorf("max_storage %d: write GiB", c.MaxStorage))
	}
	if c.Estimate < 0 || c.Timeout < 0 || c.Grace < 0 || c.Settle < 0 || c.Poll < 0 {
		faults = append(faults, errors.New("estimate, timeout, grace, settle and poll must not be negative"))
	}
	return errors.Join(faults...)
}

// mayTouch refuses databases that are not on the list.
func (c *Config) mayTouch(d database) error {
	for _, p := range c.Databases {
		have, there := d.ID, true
		if tag, ok := strings.CutPrefix(p, tagPrefix); ok {
			var name string
			name, p, _ = strings.Cut(tag, "=")
			have, there = d.Tags[name]
		}
		if ok, err := path.Match(p, have); ok && there && err == nil {
			return nil
		}
	}
	return fmt.Errorf("rds: database %s is not allowed; allowed are %s: %w", d.ID, strings.Join(c.Databases, ", "), ops.ErrDenied)
}

func (c *Config) mayGive(class string) error {
	for _, p := range c.Classes {
		if ok, err := path.Match(p, class); ok && err == nil {
			return nil
		}
	}
	return fmt.Errorf("rds: class %q is not allowed; allowed are %s: %w", class, strings.Join(c.Classes, ", "), ops.ErrDenied)
}

// digest is the part of the configuration that decides what a plan does.
func (c *Config) digest() string {
	b, err := json.Marshal([]any{c.Region, c.Role, c.Timeout.String()})
	if err != nil {
		panic("rds: a list of strings always marshals: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }
