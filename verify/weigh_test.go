package verify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
	"github.com/fettleops/fettle/verify"
	"github.com/fettleops/fettle/verify/check"
)

func TestWeigh(t *testing.T) {
	cause := verify.Observation{AppliedAt: t0, Until: t0.Add(time.Hour), Now: t0.Add(time.Hour), Hold: time.Minute, Metric: "cpu"}
	none := cause
	none.Nothing = true
	early := cause
	early.Now = t0.Add(time.Minute)
	said := func(w ops.VerdictWord) verify.Decision {
		return verify.Decision{Word: w, Why: "the cause says " + string(w)}
	}
	open := verify.Decision{Wait: time.Minute}
	found := func(w ops.VerdictWord, metric string) verify.Comparison {
		return verify.Comparison{Word: w, Why: metric + " says " + string(w), Series: ops.SeriesID{Metric: metric}}
	}
	is := func(h check.Health, failures int) []verify.Health {
		return []verify.Health{{Times: 3, HealthLook: ops.HealthLook{Check: "shop", Health: string(h), Failures: failures, Text: "it is " + string(h)}}}
	}
	nothing := verify.Comparison{}
	f := func(name string, o verify.Observation, d verify.Decision, c verify.Comparison, h []verify.Health, want ops.VerdictWord, why string) {
		t.Helper()
		got := verify.Weigh(o, d, c, h)
		if got.Word != want || !strings.Contains(got.Why, why) || (got.Word == "") != (got.Wait > 0) {
			t.Errorf("%s: %q because %q, wait %s; want %q because %q", name, got.Word, got.Why, got.Wait, want, why)
		}
	}
	f("the cause alone", cause, said(ops.Better), nothing, nil, ops.Better, "the cause says better")
	f("the cause went, and a metric is clearly worse", cause, said(ops.Better), found(ops.Worse, "wait"), nil, ops.Worse, "wait says worse; the cause says better")
	f("the cause stays, whatever got better", cause, said(ops.Unchanged), found(ops.Better, "wait"), nil, ops.Unchanged, "wait says better; the cause says unchanged")
	f("the cause went and nothing moved", cause, said(ops.Better), found(ops.Unchanged, "wait"), nil, ops.Better, "")
	f("nobody knows, and a metric is worse", cause, said(ops.Inconclusive), found(ops.Worse, "wait"), nil, ops.Worse, "")
	f("nobody knows, and another metric is better", cause, said(ops.Inconclusive), found(ops.Better, "wait"), nil, ops.Inconclusive, "wait says better")
	f("nobody knows, and the cause's metric is better", cause, said(ops.Inconclusive), found(ops.Better, "cpu"), nil, ops.Better, "")
	f("nobody knows, and nothing moved", cause, said(ops.Inconclusive), found(ops.Unchanged, "cpu"), nil, ops.Inconclusive, "")
	f("not yet", early, open, nothing, is(check.Passing, 0), "", "")

	f("no cause, nothing moved: no harm", none, said(ops.Inconclusive), found(ops.Unchanged, "cpu"), nil, ops.Unchanged, "cpu says unchanged")
	f("no cause, better", none, said(ops.Inconclusive), found(ops.Better, "cpu"), nil, ops.Better, "")
	f("no cause, worse", none, said(ops.Inconclusive), found(ops.Worse, "cpu"), nil, ops.Worse, "")
	f("no cause, too little data", none, said(ops.Inconclusive), found(ops.Inconclusive, "cpu"), nil, ops.Inconclusive, "")
	f("no cause, too little data, checks pass", none, said(ops.Inconclusive), found(ops.Inconclusive, "cpu"), is(check.Passing, 0), ops.Unchanged, "health checks pass")

	f("a check failed often enough", early, open, nothing, is(check.Failing, 3), ops.Worse, "health check shop failed 3 times in a row: it is failing")
	f("silence that counts failed often enough", early, open, nothing, is(check.Unknown, 3), ops.Worse, "shop failed 3 times")
	f("a check that fails keeps the verdict open", cause, said(ops.Better), nothing, is(check.Failing, 2), "", "2 of 3")
	f("even what it failed before silence", cause, said(ops.Better), nothing, is(check.Unknown, 1), "", "1 of 3")
	f("no answer, time left", early, said(ops.Better), nothing, is(check.Unknown, 0), "", "has not answered")
	f("no answer at the deadline", cause, said(ops.Better), nothing, is(check.Unknown, 0), ops.Inconclusive, "health check shop has not answered: it is unknown; else better")
	f("no answer, no cause", none, said(ops.Inconclusive), found(ops.Unchanged, "cpu"), is(check.Unknown, 0), ops.Inconclusive, "has not answered")
	f("no answer does not save what did not help", cause, said(ops.Unchanged), nothing, is(check.Unknown, 0), ops.Unchanged, "")
	f("no answer does not hide worse", cause, said(ops.Better), found(ops.Worse, "cpu"), is(check.Unknown, 0), ops.Worse, "")
}

// optimisation makes the scene's change one without a cause, observed for an hour.
func optimisation(s *scene, moved float64) {
	s.change.Trigger, s.change.IncidentID, s.change.VerifyWithin = nil, "", time.Hour
	s.series = nil
	shifted := func(id string, seed uint64, moved float64) ops.Series {
		m := noise(seed, "latency", 50, moved, 1).Series
		m.Resource = id
		for i := range m.Points {
			m.Points[i].At = m.Points[i].At.Add(s.start.Sub(t0))
		}
		return m
	}
	s.series = []ops.Series{shifted("r1", 1, moved)}
	s.others = map[string][]ops.Series{}
	for i, id := range []string{"r2", "r3", "r4", "r5", "r6"} {
		s.others[id] = []ops.Series{shifted(id, uint64(20+i), 0)}
	}
}

func TestAPlantedShiftIsFoundThroughTheRoom(t *testing.T) {
	f := func(moved float64, want ops.VerdictWord) {
		t.Helper()
		v := one(t, play(t, func(s *scene) { optimisation(s, moved) }))
		if v.Word != want || v.Waited < time.Hour || v.Metric != "latency" || v.Points < 59 || v.Judged != 1 || v.Low > v.Effect || v.Effect > v.High || !strings.Contains(v.Statistic, "siblings") {
			t.Errorf("moved by %v: %+v; want %s", moved, v, want)
		}
	}
	f(0, ops.Unchanged)
	f(3, ops.Worse)
	f(-3, ops.Better)
}

func TestTheCauseWentAndAMetricIsWorse(t *testing.T) {
	v := one(t, play(t, func(s *scene) {
		trigger := s.change.Trigger
		optimisation(s, 6)
		s.change.Trigger, s.goneAt = trigger, s.start.Add(30*time.Minute)
	}))
	if v.Word != ops.Worse || v.Waited > 32*time.Minute || !strings.Contains(v.Why, "latency rose") || !strings.Contains(v.Why, "gone since") {
		t.Errorf("verdict %+v; want worse at once", v)
	}
}

func TestHealthChecks(t *testing.T) {
	applies, err := policy.Compile(policy.Change, `resource.labels.env == "prod"`)
	if err != nil {
		t.Fatal(err)
	}
	other, err := policy.Compile(policy.Change, `resource.labels.env == "test"`)
	if err != nil {
		t.Fatal(err)
	}
	always := func(h check.Health) answers { return func(time.Duration) check.Health { return h } }
	f := func(name string, rule verify.HealthRule, want ops.VerdictWord, from, to time.Duration, why string) {
		t.Helper()
		rule.Name = "shop"
		v := one(t, play(t, func(s *scene) {
			s.change.Trigger, s.change.IncidentID = nil, ""
			s.checks = []verify.HealthRule{rule}
		}))
		if v.Word != want || v.Waited < from || v.Waited > to || !strings.Contains(v.Why, why) {
			t.Errorf("%s: %s after %s because %q; want %s", name, v.Word, v.Waited, v.Why, want)
		}
	}
	end := 10 * time.Minute
	f("passes to the end", verify.HealthRule{Match: applies, Check: always(check.Passing)}, ops.Unchanged, end, end+time.Minute, "health checks pass: 1")
	f("fails three times", verify.HealthRule{Check: always(check.Failing)}, ops.Worse, 20*time.Second, time.Minute, "failed 3 times in a row: it is failing")
	f("fails late", verify.HealthRule{Times: 2, Check: answers(func(since time.Duration) check.Health {
		if since > 5*time.Minute {
			return check.Failing
		}
		return check.Passing
	})}, ops.Worse, 5*time.Minute, 6*time.Minute, "failed 2 times")
	n := 0
	f("fails now and then", verify.HealthRule{Check: answers(func(time.Duration) check.Health {
		if n++; n%3 > 0 {
			return check.Failing
		}
		return check.Passing
	})}, ops.Unchanged, end, end+2*time.Minute, "pass")
	f("does not answer", verify.HealthRule{Check: always(check.Unknown)}, ops.Inconclusive, end, end+time.Minute, "has not answered")
	f("does not answer, which fails", verify.HealthRule{SilenceFails: true, Check: always(check.Unknown)}, ops.Worse, 20*time.Second, time.Minute, "failed 3 times")
	f("is for something else", verify.HealthRule{Match: other, Check: always(check.Failing)}, ops.Inconclusive, 0, time.Minute, "names no alert")
}
