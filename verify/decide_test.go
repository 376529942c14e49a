package verify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/verify"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// at returns points of these values, a minute apart, from minute on.
func at(minute int, values ...float64) []ops.Point {
	var out []ops.Point
	for i, v := range values {
		out = append(out, ops.Point{At: t0.Add(time.Duration(minute+i) * time.Minute), Value: v})
	}
	return out
}

func TestDecide(t *testing.T) {
	// The run was applied at t0 and its cause has ten minutes to go away.
	f := func(name string, minutes float64, edit func(o *verify.Observation), want ops.VerdictWord, why string) {
		t.Helper()
		o := verify.Observation{
			StartedAt: t0.Add(-time.Minute), AppliedAt: t0, Until: t0.Add(10 * time.Minute),
			Now: t0.Add(time.Duration(minutes * float64(time.Minute))), Hold: time.Minute, Sight: verify.Firing,
			Metric: "cpu", Operator: ">", Threshold: 80, Limited: true, Was: ops.High, Is: ops.High,
		}
		edit(&o)
		d := verify.Decide(o)
		if d.Word != want || !strings.Contains(d.Why, why) {
			t.Errorf("%s: got %q because %q, want %q because %q", name, d.Word, d.Why, want, why)
		}
		if (d.Word == "") != (d.Wait > 0) {
			t.Errorf("%s: verdict %q with a wait of %s", name, d.Word, d.Wait)
		}
	}
	gone := func(minutes float64) func(*verify.Observation) {
		return func(o *verify.Observation) {
			o.Sight, o.Since = verify.Gone, t0.Add(time.Duration(minutes*float64(time.Minute)))
		}
	}
	none := func(*verify.Observation) {}

	f("fires, time left", 3, none, "", "")
	f("gone, not for long", 3, gone(2.5), "", "")
	f("gone and stayed gone", 3.5, gone(2.5), ops.Better, "gone since 2026-11-21T12:02:30Z")
	f("gone at the last moment keeps its hold", 10, gone(9.5), "", "")
	f("gone at the last moment, held", 10.5, gone(9.5), ops.Better, "gone since")
	f("gone before the run began", 1, gone(-5), ops.Better, "may not be its doing")
	f("gone before the run, but the hold counts from the run", 0.5, gone(-5), "", "")
	f("gone, since when is unknown", 1, func(o *verify.Observation) { o.Sight = verify.Gone }, ops.Better, "gone since")

	f("still fires at the deadline", 10, none, ops.Unchanged, "still fires 10m0s after")
	f("the severity rose", 10, func(o *verify.Observation) { o.Is = ops.Critical }, ops.Worse, "from high to critical")
	f("the severity rose, time left", 5, func(o *verify.Observation) { o.Is = ops.Critical }, "", "")
	f("the severity fell", 10, func(o *verify.Observation) { o.Is = ops.Low }, ops.Unchanged, "")
	f("no incident", 10, func(o *verify.Observation) { o.Is, o.Was = "", "" }, ops.Unchanged, "")
	f("the mean moved away", 10, func(o *verify.Observation) {
		o.Before, o.After = at(-4, 84, 86, 85), at(1, 95, 96, 97)
	}, ops.Worse, "from 85 to 96")
	f("the mean moved within its spread", 10, func(o *verify.Observation) {
		o.Before, o.After = at(-4, 82, 95, 84), at(1, 95, 96, 97)
	}, ops.Unchanged, "")
	f("below is worse where below breaks it", 10, func(o *verify.Observation) {
		o.Operator, o.Threshold = "<", 20
		o.Before, o.After = at(-4, 15, 16, 15), at(1, 3, 2, 3)
	}, ops.Worse, "moved from")
	f("two points say nothing", 10, func(o *verify.Observation) {
		o.Before, o.After = at(-4, 84, 86, 85), at(1, 99, 99)
	}, ops.Unchanged, "")
	f("measured before, silent since", 10, func(o *verify.Observation) {
		o.Before = at(-4, 84, 86, 85)
	}, ops.Inconclusive, "has not been measured since")

	blind := func(edit func(o *verify.Observation)) func(*verify.Observation) {
		return func(o *verify.Observation) { o.Sight = verify.Blind; edit(o) }
	}
	f("nothing known, time left", 5, blind(none), "", "")
	f("nothing known at all is never unchanged", 10, blind(none), ops.Inconclusive, "nothing tells")
	f("only the metric, and it came down", 10, blind(func(o *verify.Observation) {
		o.Before, o.After = at(-4, 95, 96, 95), at(1, 95, 60, 50, 51)
	}), ops.Better, "right side")
	f("only the metric, and it stays", 10, blind(func(o *verify.Observation) {
		o.Before, o.After = at(-4, 95, 96, 95), at(1, 95, 96, 95)
	}), ops.Unchanged, "still breaks > 80")
	f("only the metric, and it is worse", 10, blind(func(o *verify.Observation) {
		o.Before, o.After = at(-4, 85, 86, 85), at(1, 99, 99, 99)
	}), ops.Worse, "moved from")
	f("only a metric without a threshold", 10, blind(func(o *verify.Observation) {
		o.Limited, o.After = false, at(1, 95, 96, 95)
	}), ops.Inconclusive, "nothing tells")
	f("nothing that could go away", 0, func(o *verify.Observation) { o.Nothing = true }, ops.Inconclusive, "nothing that could go away")
}

func TestLimit(t *testing.T) {
	f := func(operator, threshold string, want bool) {
		t.Helper()
		if _, _, ok := verify.Limit(ops.AlertContext{Operator: operator, Threshold: threshold}); ok != want {
			t.Errorf("Limit(%q, %q) = %v, want %v", operator, threshold, ok, want)
		}
	}
	f(">", "80", true)
	f("<=", " 0.5 ", true)
	f("GreaterThanThreshold", "80", false) // a sender's own word
	f("==", "80", false)
	f(">", "80%", false)
	f(">", "NaN", false)
}
