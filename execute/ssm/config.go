package ssm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/awsx"
)

// Config is what this executor may do, and in which account.
type Config struct {
	awsx.Config `yaml:",inline"`

	Parameters []string      `yaml:"parameters"` // keys that may be put, a final /* for all below; default: none
	Runs       []Rule        `yaml:"runs"`       // the only commands and automations there are; default: none
	Timeout    time.Duration `yaml:"timeout"`    // of rules that name none; default 1h
	Grace      time.Duration `yaml:"grace"`      // how long something that was cancelled may take to end; default 2m
	Poll       time.Duration `yaml:"poll"`       // default 3s
}

// Rule allows one document with its parameters. What it does is decided here
// and not by the change, which only names the rule and the instances.
type Rule struct {
	Name        string              `yaml:"name"`        // what a change calls it; required
	Document    string              `yaml:"document"`    // of type Command or Automation; required
	Version     string              `yaml:"version"`     // of the document; default: its default version, which plans pin
	Parameters  map[string][]string `yaml:"parameters"`  // shown in plans, so no secrets; default: none
	Targets     []string            `yaml:"targets"`     // of a command, such as tag:role=web; default: the instances the change names
	MaxTargets  int                 `yaml:"max_targets"` // more instances are refused, at most 50; default 50
	Concurrency string              `yaml:"concurrency"` // instances at once, a number or 10%; default 1
	Errors      string              `yaml:"errors"`      // failed instances at which no further one begins, a number or 10%; default 0
	Alarm       string              `yaml:"alarm"`       // name of the CloudWatch alarm that stops it; default: none
	Timeout     time.Duration       `yaml:"timeout"`     // it is cancelled then; default: the executor's
	Delivery    time.Duration       `yaml:"delivery"`    // how long an instance may take to begin, at least 30s; default 10m
	Estimate    time.Duration       `yaml:"estimate"`    // default: timeout
	Rollback    string              `yaml:"rollback"`    // the rule that undoes it on the same instances; default: it cannot be undone
}

// maxInstances is what SendCommand takes as a list of ids.
const maxInstances = 50

var (
	countPattern  = regexp.MustCompile(`^([1-9][0-9]{0,6}|[1-9][0-9]?%|100%)$`)
	errorsPattern = regexp.MustCompile(`^(0|[1-9][0-9]{0,6}|[0-9]%|[1-9][0-9]%|100%)$`)
)

// Validate fills in the defaults and returns every fault.
func (c *Config) Validate() error {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Timeout, time.Hour)
	def(&c.Grace, 2*time.Minute)
	def(&c.Poll, 3*time.Second)
	faults := []error{c.Config.Validate()}
	if len(c.Parameters)+len(c.Runs) == 0 {
		faults = append(faults, errors.New("parameters and runs are empty; list what this executor may do"))
	}
	if c.Timeout < 0 || c.Grace < 0 || c.Poll < 0 {
		faults = append(faults, errors.New("timeout, grace and poll must not be negative"))
	}
	for i, p := range c.Parameters {
		if !strings.HasPrefix(p, "/") || strings.Contains(strings.TrimSuffix(p, "/*"), "*") {
			faults = append(faults, fmt.Errorf("parameters[%d] %q: write a key such as /app/size, or /app/* for all below", i, p))
		}
	}
	for i := range c.Runs {
		r := &c.Runs[i]
		def(&r.Timeout, c.Timeout)
		def(&r.Delivery, 10*time.Minute)
		def(&r.Estimate, r.Timeout)
		if r.MaxTargets == 0 {
			r.MaxTargets = maxInstances
		}
		if r.Concurrency == "" {
			r.Concurrency = "1"
		}
		if r.Errors == "" {
			r.Errors = "0"
		}
		if err := c.fault(i); err != nil {
			faults = append(faults, fmt.Errorf("runs[%d]: %w", i, err))
		}
	}
	return errors.Join(faults...)
}

func (c *Config) fault(i int) error {
	r := c.Runs[i]
	switch {
	case r.Name == "" || r.Document == "":
		return errors.New("name and document are required")
	case slices.ContainsFunc(c.Runs[:i], func(o Rule) bool { return o.Name == r.Name }):
		return fmt.Errorf("name %q is used twice; give each rule a name of its own", r.Name)
	case r.MaxTargets < 1 || r.MaxTargets > maxInstances:
		return fmt.Errorf("max_targets %d is not within 1 and %d", r.MaxTargets, maxInstances)
	case !countPattern.MatchString(r.Concurrency):
		return fmt.Errorf("concurrency %q: write a number or a percentage such as 10%%", r.Concurrency)
	case !errorsPattern.MatchString(r.Errors):
		return fmt.Errorf("errors %q: write a number or a percentage such as 10%%", r.Errors)
	case r.Timeout < 0 || r.Estimate < 0 || r.Delivery < 30*time.Second || r.Delivery > 30*24*time.Hour:
		return errors.New("timeout and estimate must not be negative, and delivery is 30s to 30d")
	case r.Rollback != "" && !slices.ContainsFunc(c.Runs, func(o Rule) bool { return o.Name == r.Rollback }):
		return fmt.Errorf("rollback %q is the name of no rule", r.Rollback)
	}
	for _, t := range r.Targets {
		if k, v, ok := strings.Cut(t, "="); !ok || k == "" || v == "" {
			return fmt.Errorf("target %q: write tag:name=value", t)
		}
	}
	return nil
}

func (c *Config) rule(name string) (Rule, bool) {
	i := slices.IndexFunc(c.Runs, func(r Rule) bool { return r.Name == name })
	if i < 0 {
		return Rule{}, false
	}
	return c.Runs[i], true
}

func (c *Config) names() string {
	var out []string
	for _, r := range c.Runs {
		out = append(out, r.Name)
	}
	return strings.Join(out, ", ")
}

// mayPut reports whether a key is on the list.
func (c *Config) mayPut(key string) bool {
	return slices.ContainsFunc(c.Parameters, func(p string) bool {
		below, all := strings.CutSuffix(p, "*")
		return p == key || all && strings.HasPrefix(key, below)
	})
}

// digest is the part of the configuration that decides what a plan does.
func (c *Config) digest(r Rule) string {
	back, _ := c.rule(r.Rollback)
	b, err := json.Marshal([]any{c.Region, c.Role, r, back})
	if err != nil {
		panic("ssm: rules of texts always marshal: " + err.Error())
	}
	return hash(string(b))
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
