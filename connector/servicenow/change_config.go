package servicenow

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Changes says how change requests are written at the instance.
type Changes struct {
	// StandardTemplate is the sys_id of the template that standard changes are
	// opened from. Default: none; standard changes are then refused.
	StandardTemplate string `yaml:"standard_template"`
	// PlanField shows people which plan they approve, in a line that Fettle
	// reads back. Default: justification.
	PlanField string `yaml:"plan_field"`
	// DigestField takes the digest of that plan as well, for reports and rules
	// of the instance. Default: none.
	DigestField string `yaml:"digest_field"`
	// RevisionField takes its revision. Default: none.
	RevisionField string `yaml:"revision_field"`
	// Risks maps very_high, high, moderate and low to the instance's values of
	// risk, which differ. Default: 1, 2, 3, 4.
	Risks map[string]string `yaml:"risks"`
	// CloseCodes maps successful, successful_with_issues and unsuccessful to the
	// instance's close codes. Default: successful, successful_issues, unsuccessful.
	CloseCodes map[string]string `yaml:"close_codes"`
	// Fields are written to every new change request, by their names at the
	// instance. Default: none.
	Fields map[string]string `yaml:"fields"`
	// Settle is how long a create of a change request or a task whose answer was
	// lost may still be under way at the instance: this API gives out its own
	// keys. Default: 1m.
	Settle time.Duration `yaml:"settle"`
	// Tasks says how the tasks of change requests are written. Default: see Tasks.
	Tasks Tasks `yaml:"tasks"`
}

func (c *Changes) settle() time.Duration { return cmp.Or(c.Settle, time.Minute) }

func (c *Changes) planField() string {
	if c.PlanField == "" {
		return "justification"
	}
	return c.PlanField
}

func (c *Changes) risks() map[ops.RiskWord]string {
	out := map[ops.RiskWord]string{ops.RiskVeryHigh: "1", ops.RiskHigh: "2", ops.RiskModerate: "3", ops.RiskLow: "4"}
	for word, code := range c.Risks {
		out[ops.RiskWord(word)] = code
	}
	return out
}

func (c *Changes) closeCodes() map[ops.Outcome]string {
	out := map[ops.Outcome]string{ops.Successful: "successful", ops.SuccessfulWithIssues: "successful_issues", ops.Unsuccessful: "unsuccessful"}
	for outcome, code := range c.CloseCodes {
		out[ops.Outcome(outcome)] = code
	}
	return out
}

func (c *Changes) validate() []error {
	var errs []error
	fault := func(path, format string, args ...any) {
		errs = append(errs, invalid("changes."+path, format, args...))
	}
	if c.StandardTemplate != "" && !idPattern.MatchString(c.StandardTemplate) {
		fault("standard_template", "%.40q is no sys_id of 32 letters and digits", c.StandardTemplate)
	}
	for _, f := range []struct{ key, name string }{{"plan_field", c.PlanField}, {"digest_field", c.DigestField}, {"revision_field", c.RevisionField}} {
		if f.name != "" && (!namePattern.MatchString(f.name) || f.name != "justification" && slices.Contains(changeFields, f.name)) {
			fault(f.key, "%.80q cannot hold it; name a text field of your own, such as u_plan", f.name)
		}
	}
	if c.Settle < 0 {
		fault("settle", "%s; write a duration above zero, such as 1m", c.Settle)
	}
	back := map[string]ops.RiskWord{}
	risks := c.risks()
	for _, word := range slices.Sorted(maps.Keys(c.Risks)) {
		if !slices.Contains(ops.RiskWords, ops.RiskWord(word)) || c.Risks[word] == "" {
			fault("risks", "%q: %q; map each of %v to a value of risk", word, c.Risks[word], ops.RiskWords)
		}
	}
	for _, word := range ops.RiskWords {
		if other, taken := back[risks[word]]; taken {
			fault("risks", "%s and %s are both %q, which could not be read back", other, word, risks[word])
		}
		back[risks[word]] = word
	}
	for _, outcome := range slices.Sorted(maps.Keys(c.CloseCodes)) {
		if !slices.Contains([]ops.Outcome{ops.Successful, ops.SuccessfulWithIssues, ops.Unsuccessful}, ops.Outcome(outcome)) || c.CloseCodes[outcome] == "" {
			fault("close_codes", "%q: %q; map successful, successful_with_issues and unsuccessful to close codes of the instance", outcome, c.CloseCodes[outcome])
		}
	}
	c.Tasks.validate(fault)
	for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
		if !namePattern.MatchString(name) || slices.Contains(changeFields, name) {
			fault("fields", "%.80s: is no field name, or is written by Fettle itself", name)
		}
	}
	return errs
}
