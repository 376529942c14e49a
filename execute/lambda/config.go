package lambda

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/awsx"
)

// Config is what this executor may invoke, and in which account.
type Config struct {
	awsx.Config `yaml:",inline"`

	Invokes []Rule        `yaml:"invokes"` // the only invocations there are; required
	Timeout time.Duration `yaml:"timeout"` // of rules that name none; default 15m, the longest a function may run
	Grace   time.Duration `yaml:"grace"`   // how long a function that is to be stopped, and cannot be, is waited for; default 2m
	Poll    time.Duration `yaml:"poll"`    // between two looks of verify; default 5s
}

// Rule allows one function with its payload. What it does is decided here and
// not by the change, which only names the rule and fills in the fields.
type Rule struct {
	Name      string            `yaml:"name"`      // what a change calls it; required
	Function  string            `yaml:"function"`  // name or ARN, without a qualifier; required
	Qualifier string            `yaml:"qualifier"` // version or alias, which plans pin to a version; default: the unpublished code, which plans pin by its hash
	Payload   map[string]any    `yaml:"payload"`   // shown in plans, so no secrets; default: {}
	Fields    map[string]string `yaml:"fields"`    // fields of the payload that a change must give, each with the pattern its whole value matches; default: none
	Event     bool              `yaml:"event"`     // invoke asynchronously: what becomes of it is known by verify alone; default false
	Token     string            `yaml:"token"`     // where the function finds the token by which it does its work once, payload.NAME or context.NAME; default: none, and it is invoked at most once
	Verify    string            `yaml:"verify"`    // the rule of a function that changes nothing and answers {"ok": true} where the work is done; default: none
	Rollback  string            `yaml:"rollback"`  // the rule that undoes it, with the same fields; default: it cannot be undone
	Timeout   time.Duration     `yaml:"timeout"`   // for the function and verify together; default: the executor's
	Estimate  time.Duration     `yaml:"estimate"`  // default: timeout
}

// What the service takes as a payload, in bytes; the limits are documented as
// 6 MB and 1 MB.
const (
	mostSync  = 6_000_000
	mostEvent = 1_000_000
)

// tokenRoom is what is kept free for a token that is put into the payload.
const tokenRoom = 1000

var (
	functionPattern = regexp.MustCompile(`^(arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:function:)?[a-zA-Z0-9_-]{1,64}$`)
	placePattern    = regexp.MustCompile(`^(payload|context)\.([A-Za-z_][A-Za-z0-9_-]{0,63})$`)
)

// Validate fills in the defaults and returns every fault.
func (c *Config) Validate() error {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Timeout, 15*time.Minute)
	def(&c.Grace, 2*time.Minute)
	def(&c.Poll, 5*time.Second)
	faults := []error{c.Config.Validate()}
	if len(c.Invokes) == 0 {
		faults = append(faults, errors.New("invokes is empty; list what this executor may invoke"))
	}
	if c.Timeout < 0 || c.Grace < 0 || c.Poll < 0 {
		faults = append(faults, errors.New("timeout, grace and poll must not be negative"))
	}
	for i := range c.Invokes {
		r := &c.Invokes[i]
		def(&r.Timeout, c.Timeout)
		def(&r.Estimate, r.Timeout)
	}
	for i := range c.Invokes {
		if err := c.fault(i); err != nil {
			faults = append(faults, fmt.Errorf("invokes[%d]: %w", i, err))
		}
	}
	return errors.Join(faults...)
}

func (c *Config) fault(i int) error {
	r := c.Invokes[i]
	for name, pattern := range r.Fields {
		if _, err := regexp.Compile(pattern); err != nil || name == "" || pattern == "" {
			return fmt.Errorf("fields: %q with the pattern %q: write a name and a regular expression such as i-[0-9a-f]+", name, pattern)
		}
		if _, twice := r.Payload[name]; twice {
			return fmt.Errorf("fields: %q stands in the payload too; write it once", name)
		}
	}
	place := placePattern.FindStringSubmatch(r.Token)
	body, err := json.Marshal(r.Payload)
	most := mostSync
	if r.Event {
		most = mostEvent
	}
	switch {
	case r.Name == "" || r.Function == "":
		return errors.New("name and function are required")
	case slices.ContainsFunc(c.Invokes[:i], func(o Rule) bool { return o.Name == r.Name }):
		return fmt.Errorf("name %q is used twice; give each rule a name of its own", r.Name)
	case !functionPattern.MatchString(r.Function):
		return fmt.Errorf("function %q: write a name or an ARN, and version or alias in qualifier", r.Function)
	case err != nil:
		return fmt.Errorf("payload: it is no JSON: %w", err)
	case len(body) > most-tokenRoom:
		return fmt.Errorf("payload: it has %d bytes, and the service takes %d", len(body), most-tokenRoom)
	case r.Token != "" && place == nil:
		return fmt.Errorf("token %q: write payload.NAME or context.NAME", r.Token)
	case r.Event && place != nil && place[1] == "context":
		return fmt.Errorf("token %q: an asynchronous invocation has no context; write payload.NAME", r.Token)
	case r.Timeout < 0 || r.Estimate < 0:
		return errors.New("timeout and estimate must not be negative")
	}
	if place != nil && place[1] == "payload" {
		_, inPayload := r.Payload[place[2]]
		if _, inFields := r.Fields[place[2]]; inPayload || inFields {
			return fmt.Errorf("token %q: the payload has that field already", r.Token)
		}
	}
	for _, o := range []struct{ what, name string }{{"rollback", r.Rollback}, {"verify", r.Verify}} {
		other, ok := c.rule(o.name)
		switch {
		case o.name == "":
		case !ok:
			return fmt.Errorf("%s %q is the name of no rule", o.what, o.name)
		case o.what == "verify" && (other.Event || other.Token != "" || other.Verify != ""):
			return fmt.Errorf("verify %q: that rule must answer, and take neither token nor verify of its own", o.name)
		case !slices.Equal(slices.Sorted(maps.Keys(other.Fields)), slices.Sorted(maps.Keys(r.Fields))):
			return fmt.Errorf("%s %q: that rule has other fields than this one", o.what, o.name)
		}
	}
	return nil
}

func (c *Config) rule(name string) (Rule, bool) {
	i := slices.IndexFunc(c.Invokes, func(r Rule) bool { return r.Name == name })
	if i < 0 || name == "" {
		return Rule{}, false
	}
	return c.Invokes[i], true
}

func (c *Config) names() string {
	var out []string
	for _, r := range c.Invokes {
		out = append(out, r.Name)
	}
	return strings.Join(out, ", ")
}

// digest is the part of the configuration that decides what a plan does.
func (c *Config) digest(r Rule) string {
	back, _ := c.rule(r.Rollback)
	check, _ := c.rule(r.Verify)
	recheck, _ := c.rule(back.Verify)
	b, err := json.Marshal([]any{c.Region, c.Role, r, back, check, recheck})
	if err != nil {
		panic("lambda: rules of a valid configuration always marshal: " + err.Error())
	}
	return hash(string(b))
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
