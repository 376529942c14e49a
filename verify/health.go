package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
	"github.com/fettleops/fettle/verify/check"
)

// HealthRule is a health check with what it is for.
type HealthRule struct {
	// Name is unique.
	Name string
	// Match is a program of policy.Change. Nil: every change. A condition that
	// cannot be evaluated counts as true: a check too many is the safe side.
	Match *policy.Program
	// Times is how many times in a row it must fail; default 3.
	Times int
	// SilenceFails makes no answer count as a failure.
	SilenceFails bool
	Check        check.Check
}

// Health is how a check of a run stands.
type Health struct {
	ops.HealthLook
	Times int // failures in a row that make the verdict worse
}

// failed reports whether it failed often enough.
func (h Health) failed() bool { return h.Failures >= h.Times }

// checks returns the rules that are for a change.
func (r *Room) checks(ch ops.Change, res ops.Resource) []HealthRule {
	return slices.DeleteFunc(slices.Clone(r.Checks), func(rule HealthRule) bool {
		if rule.Match == nil {
			return false
		}
		ok, err := rule.Match.Match(policy.Vars{Change: &ch, Resource: &res})
		return err == nil && !ok
	})
}

// health returns how the checks of a run stand; with look they are asked once
// more first, all at once.
func (r *Room) health(ctx context.Context, rules []HealthRule, ch ops.Change, v ops.Verification, look bool) ([]Health, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	kept, err := r.Journal.HealthLooks(ctx, v.RunID)
	if err != nil {
		return nil, fmt.Errorf("verify: health of %s: %w", ch.Key(), err)
	}
	out := make([]Health, len(rules))
	var asked sync.WaitGroup
	for i, rule := range rules {
		out[i] = Health{Times: max(1, rule.Times), HealthLook: ops.HealthLook{RunID: v.RunID, Check: rule.Name, Health: string(check.Unknown), Text: "not asked yet"}}
		if at := slices.IndexFunc(kept, func(k ops.HealthLook) bool { return k.Check == rule.Name }); at >= 0 {
			out[i].HealthLook = kept[at]
		}
		if !look {
			continue
		}
		asked.Go(func() {
			now := r.Clock().UTC()
			seen, text := rule.Check.Look(ctx, check.Subject{Change: ch, Since: v.AppliedAt, Now: now})
			h := &out[i].HealthLook
			h.Health, h.Text, h.At = string(seen), text, now
			switch {
			case seen == check.Passing:
				h.Failures = 0
			case seen == check.Failing || rule.SilenceFails:
				h.Failures++
			}
		})
	}
	asked.Wait()
	if !look || ctx.Err() != nil {
		return out, ctx.Err()
	}
	return out, r.DB.Write(ctx, func(tx db.Tx) error {
		for _, h := range out {
			if err := r.Journal.NoteHealth(ctx, tx, h.HealthLook); err != nil {
				return err
			}
		}
		return nil
	})
}

// Weigh makes the verdict of what the cause said, what the health checks say
// and what the comparison of metrics found, in this order: a check that failed
// often enough is worse at once; a metric that moved the wrong way is worse
// whatever the cause said; the cause decides where there is one. Where there is
// none, metrics and checks do.
//
// A check that fails and has not failed often enough keeps the verdict open.
// One that did not answer does so until the deadline, and makes a good verdict
// inconclusive then.
func Weigh(o Observation, d Decision, c Comparison, health []Health) Decision {
	if bad := first(health, Health.failed); bad != nil {
		return Decision{Word: ops.Worse, Why: fmt.Sprintf("health check %s failed %d times in a row: %s", bad.Check, bad.Failures, bad.Text)}
	}
	if d.Word == "" || d.Word == ops.Worse {
		return d
	}
	if c.Word == ops.Worse {
		return Decision{Word: ops.Worse, Why: c.Why + "; " + d.Why}
	}
	if bad := first(health, func(h Health) bool { return h.Failures > 0 }); bad != nil {
		return Decision{Wait: o.Hold/4 + shortest, Why: fmt.Sprintf("health check %s failed %d of %d times in a row", bad.Check, bad.Failures, bad.Times)}
	}
	d = o.withMetrics(d, c, len(health))
	silent := first(health, func(h Health) bool { return h.Health != string(check.Passing) })
	if silent == nil || d.Word == ops.Inconclusive || d.Word == ops.Unchanged && !o.Nothing {
		return d
	}
	if o.Now.Before(o.Until) {
		return Decision{Wait: o.Until.Sub(o.Now), Why: "health check " + silent.Check + " has not answered"}
	}
	return Decision{Word: ops.Inconclusive, Why: fmt.Sprintf("health check %s has not answered: %s; else %s: %s", silent.Check, silent.Text, d.Word, d.Why)}
}

func first(health []Health, is func(Health) bool) *Health {
	if i := slices.IndexFunc(health, is); i >= 0 {
		return &health[i]
	}
	return nil
}

// withMetrics lets metrics decide where the cause does not.
func (o Observation) withMetrics(d Decision, c Comparison, checks int) Decision {
	sentences := []string{d.Why}
	if c.Why != "" {
		sentences = []string{c.Why, d.Why}
	}
	switch {
	case o.Nothing && (c.Word == ops.Better || c.Word == ops.Unchanged):
		d.Word = c.Word
	case o.Nothing && checks > 0:
		d.Word = ops.Unchanged
		sentences = append([]string{fmt.Sprintf("health checks pass: %d", checks)}, sentences...)
	case d.Word == ops.Inconclusive && c.Word == ops.Better && c.Series.Metric == o.Metric:
		d.Word = ops.Better
	}
	d.Why = strings.Join(sentences, "; ")
	return d
}
