// Package recommend places recommendations: it decides which of them becomes a
// change, by which rule of the configuration, and what a later recommendation
// about the same value does to an earlier one.
//
// Rules and Decide are pure. Desk follows the signal log with a cursor of its
// own and commits what they decide together with the cursor, so that every
// recommendation counts exactly once and none is lost.
package recommend

import (
	"errors"
	"fmt"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

// Rule says which recommendations become changes, and what those do.
type Rule struct {
	Name string
	// Match is CEL over recommendation and resource.
	Match    string
	Executor string
	Action   string
	// Args and Parameter are templates; see Words.
	Args []string
	// Parameter is the key of the parameter that carries the value; empty: none.
	Parameter string
	// Type is normal or standard. Default: normal.
	Type ops.ChangeType
	// VerifyWithin is how long verification may take. Default: 10 minutes.
	VerifyWithin time.Duration
	Team         string
	// Risk of its changes, 0 to 1. Nil means unknown, which counts as 1.
	Risk *float64
}

// Config says how recommendations are placed.
type Config struct {
	// Rules are tried in order; the first that matches places.
	Rules []Rule
	// Threshold is how long before its window a change is not given up any more
	// for a later recommendation. Default: 5 minutes.
	Threshold time.Duration
	// Rest is how long after the end of its change the same recommendation is
	// taken for old news, and how long one whose change expired waits before it is
	// asked for again. Default: 7 days.
	Rest time.Duration
	// Prices are what resources cost an hour, for the realised saving.
	Prices []Price
}

// Price is what one hour of a type costs.
type Price struct {
	Service  string // ec2, rds, asg
	Type     string
	Region   string // empty: everywhere
	PerHour  float64
	Currency string
}

// Defaults of a configuration.
const (
	DefaultThreshold    = 5 * time.Minute
	DefaultRest         = 7 * 24 * time.Hour
	DefaultVerifyWithin = 10 * time.Minute
)

// Rules are a compiled configuration. They are immutable.
type Rules struct {
	Config
	match  []*policy.Program
	args   [][]template
	keys   []template
	prices map[priced]Price
}

type priced struct{ service, kind, region string }

// Compile checks and compiles a configuration. The error wraps ops.ErrInvalid,
// names each rule and holds every fault.
func Compile(c Config) (*Rules, error) {
	if c.Threshold == 0 {
		c.Threshold = DefaultThreshold
	}
	if c.Rest == 0 {
		c.Rest = DefaultRest
	}
	c.Rules = append([]Rule(nil), c.Rules...)
	r := &Rules{Config: c, match: make([]*policy.Program, len(c.Rules)), args: make([][]template, len(c.Rules)), keys: make([]template, len(c.Rules)), prices: map[priced]Price{}}
	var faults []error
	seen := map[string]bool{}
	for i := range c.Rules {
		x := &r.Rules[i]
		fault := func(format string, args ...any) {
			faults = append(faults, fmt.Errorf("recommendations rule %q: %w: %w", x.Name, fmt.Errorf(format, args...), ops.ErrInvalid))
		}
		switch {
		case x.Name == "":
			fault("name is empty; give it one")
		case seen[x.Name]:
			fault("another rule has the same name")
		}
		seen[x.Name] = true
		var err error
		if r.match[i], err = policy.Compile(policy.Recommendation, x.Match); err != nil {
			fault("match: %w", err)
		}
		if x.Executor == "" || x.Action == "" {
			fault("needs an executor and an action")
		}
		for n, a := range x.Args {
			t, err := parse(a)
			if err != nil {
				fault("argument %d: %w", n+1, err)
			}
			r.args[i] = append(r.args[i], t)
		}
		if r.keys[i], err = parse(x.Parameter); err != nil {
			fault("parameter: %w", err)
		}
		switch x.Type {
		case "":
			x.Type = ops.ChangeNormal
		case ops.ChangeNormal, ops.ChangeStandard:
		default:
			fault("type %q is neither normal nor standard", x.Type)
		}
		if x.Risk != nil && !(*x.Risk >= 0 && *x.Risk <= 1) {
			fault("risk %v is not within 0 and 1", *x.Risk)
		}
		if x.VerifyWithin < 0 {
			fault("verify_within must not be negative")
		}
		if x.VerifyWithin == 0 {
			x.VerifyWithin = DefaultVerifyWithin
		}
	}
	if c.Threshold < 0 || c.Rest < 0 {
		faults = append(faults, fmt.Errorf("recommendations: cancellation_threshold and rest must not be negative: %w", ops.ErrInvalid))
	}
	for i, p := range c.Prices {
		key := priced{p.Service, p.Type, p.Region}
		_, twice := r.prices[key]
		switch {
		case p.Type == "" || p.Currency == "" || !(p.PerHour >= 0) || p.PerHour > 1e6:
			faults = append(faults, fmt.Errorf("prices[%d]: needs a type, a currency and a price an hour from 0 to 1000000: %w", i, ops.ErrInvalid))
		case twice:
			faults = append(faults, fmt.Errorf("prices[%d]: there is a price of %s %s in region %q already: %w", i, p.Service, p.Type, p.Region, ops.ErrInvalid))
		}
		r.prices[key] = p
	}
	return r, errors.Join(faults...)
}

// Principal returns the service that requests the changes of a rule. It can
// never approve one.
func (x Rule) Principal() ops.Principal {
	return ops.Principal{ID: "recommendation/" + x.Name, Name: "recommendation rule " + x.Name, Kind: ops.Service}
}

// Place makes the change a recommendation asks for. Without one, why says what
// is missing, for people.
func (r *Rules) Place(x ops.Recommendation, res ops.Resource) (rule Rule, change ops.Change, why string, ok bool) {
	if x.Fault != "" {
		return Rule{}, ops.Change{}, "it cannot be read: " + x.Fault, false
	}
	if len(r.Rules) == 0 {
		return Rule{}, ops.Change{}, "there are no rules under recommendations", false
	}
	broken := ""
	for i, rule := range r.Rules {
		holds, err := r.match[i].Match(policy.Vars{Recommendation: &x, Resource: &res})
		if err != nil {
			broken = fmt.Sprintf("; rule %s cannot be evaluated: %v", rule.Name, err)
			continue
		}
		if !holds {
			continue
		}
		c, err := r.make(i, x, res)
		if err != nil {
			return rule, ops.Change{}, fmt.Sprintf("rule %s matches, but %v", rule.Name, err), false
		}
		return rule, c, fmt.Sprintf("rule %s places %s of %s", rule.Name, x.Key(), x.Producer), true
	}
	why = fmt.Sprintf("none of %d rules matches", len(r.Rules))
	if len(r.Rules) == 1 {
		why = "the only rule does not match"
	}
	return Rule{}, ops.Change{}, why + broken, false
}

func (r *Rules) make(i int, x ops.Recommendation, res ops.Resource) (ops.Change, error) {
	rule := r.Rules[i]
	args := make([]string, len(r.args[i]))
	for n, t := range r.args[i] {
		var err error
		if args[n], err = t.render(x); err != nil {
			return ops.Change{}, fmt.Errorf("argument %d %w", n+1, err)
		}
	}
	key, err := r.keys[i].render(x)
	if err != nil {
		return ops.Change{}, fmt.Errorf("its parameter %w", err)
	}
	risk := 1.0
	if rule.Risk != nil {
		risk = *rule.Risk
	}
	what := "becomes " + x.Recommended.String()
	if x.Recommended == (ops.Values{}) {
		what = x.Kind
	}
	reason := fmt.Sprintf("%s says %s: %s now, %s recommended", x.Producer, x.Kind, dash(x.Current.String()), dash(x.Recommended.String()))
	if x.Saving != nil {
		reason += fmt.Sprintf("; saves %.2f", x.Saving.Amount)
		if x.Saving.Currency != "" {
			reason += " " + x.Saving.Currency
		}
		if x.Saving.Per != "" {
			reason += " per " + x.Saving.Per
		}
	}
	return ops.Change{
		Type: rule.Type, Title: fmt.Sprintf("%s %s", x.Name, what), Reason: reason, Team: rule.Team,
		ResourceID: res.ID, Resource: res.Name, Executor: rule.Executor, Action: rule.Action, Args: args,
		Risk: risk, VerifyWithin: rule.VerifyWithin, RecommendationID: x.ID,
		Analysis: &ops.Analysis{
			Recommendation: x.Key(), Producer: x.Producer, Account: x.Account, Region: x.Region, Service: x.Service, ResourceKey: x.ResourceKey,
			Stack: x.Stack, LogicalID: x.LogicalID, Current: x.Current, Recommended: x.Recommended, Kind: x.Kind, Saving: x.Saving,
			Effort: x.Effort, PredictedUptime: x.PredictedUptime, Parameter: key, Report: x.Report,
		},
	}, nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
