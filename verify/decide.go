package verify

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Sight says what is known about a change's cause.
type Sight string

// What can be known about a cause. Blind is not Gone.
const (
	Firing Sight = "firing"
	Gone   Sight = "gone"
	Blind  Sight = "blind" // nothing tells whether it still fires
)

// Observation is everything a verdict is made of.
type Observation struct {
	StartedAt time.Time // when the run began
	AppliedAt time.Time // when the tool had done its work
	Until     time.Time // a cause that still fires then did not go away
	Now       time.Time
	Hold      time.Duration // how long the cause must stay gone

	Nothing bool // the change names no cause that could go away
	Watched bool // metrics or health checks may tell, too
	Sight   Sight
	Since   time.Time // since when it has been firing or gone; zero when unknown
	Note    string    // where the sight comes from, for people

	Was, Is ops.Severity // of the incident when the run was applied and now; empty when unknown

	Metric    string
	Unit      string
	Operator  string
	Threshold float64
	Limited   bool        // Threshold and Operator are known
	Before    []ops.Point // of the metric before the run began
	After     []ops.Point // since the tool had done its work
}

// Decision is a verdict, or how long to wait for one.
type Decision struct {
	Word ops.VerdictWord // empty: not yet
	Why  string
	Wait time.Duration // until the next look is worth while; only without a Word
}

// minPoints is the least number of points on each side from which a mean is
// compared. Fewer say nothing.
const minPoints = 3

// Decide gives the verdict as soon as it can be known.
//
// The cause gone, and gone for Hold: better. Still firing at Until: unchanged,
// or worse when the incident's severity rose or the metric's mean moved away
// from the threshold by more than its whole spread before. A cause that went
// at the last moment may finish its Hold after Until. Nothing to see: the
// metric alone decides where it can, and otherwise the verdict is
// inconclusive, never unchanged.
func Decide(o Observation) Decision {
	over := !o.Now.Before(o.Until)
	switch {
	case o.Nothing && o.Watched && !over:
		return Decision{Wait: o.Until.Sub(o.Now)}
	case o.Nothing:
		return Decision{Word: ops.Inconclusive, Why: "the change names no alert and no incident, so there is nothing that could go away"}
	case o.Sight == Gone:
		since := o.AppliedAt
		if o.Since.After(since) {
			since = o.Since
		}
		if held := o.Now.Sub(since); held < o.Hold {
			return Decision{Wait: o.Hold - held}
		}
		why := fmt.Sprintf("the cause has been gone since %s", since.UTC().Format(time.RFC3339))
		if !o.Since.IsZero() && o.Since.Before(o.StartedAt) {
			why = fmt.Sprintf("the cause has been gone since %s, which is before the run began, so this may not be its doing", o.Since.UTC().Format(time.RFC3339))
		}
		return Decision{Word: ops.Better, Why: join(why, o.Note)}
	case !over:
		return Decision{Wait: o.Until.Sub(o.Now)}
	case o.Sight == Firing:
		return o.stillFiring()
	}
	return o.blind()
}

// stillFiring decides at the deadline.
func (o Observation) stillFiring() Decision {
	if o.Is != "" && o.Was != "" && o.Is.Worse(o.Was) {
		return Decision{Word: ops.Worse, Why: join(fmt.Sprintf("the cause still fires and the incident went from %s to %s", o.Was, o.Is), o.Note)}
	}
	if why := o.movedAway(); why != "" {
		return Decision{Word: ops.Worse, Why: join("the cause still fires and "+why, o.Note)}
	}
	if len(o.Before) > 0 && len(o.After) == 0 {
		return Decision{Word: ops.Inconclusive, Why: join(fmt.Sprintf("the alert has not resolved, but %s has not been measured since the run", o.Metric), o.Note)}
	}
	return Decision{Word: ops.Unchanged, Why: join(fmt.Sprintf("the cause still fires %s after the run", short(o.Now.Sub(o.AppliedAt))), o.Note)}
}

// blind decides at the deadline from the metric alone.
func (o Observation) blind() Decision {
	if why := o.movedAway(); why != "" {
		return Decision{Word: ops.Worse, Why: join(why, o.Note)}
	}
	if o.Limited && len(o.After) >= minPoints {
		held, last := true, o.After[len(o.After)-1].At
		for _, p := range o.After {
			if last.Sub(p.At) <= o.Hold && o.breaks(p.Value) {
				held = false
			}
		}
		if held {
			return Decision{Word: ops.Better, Why: join(fmt.Sprintf("%s has stayed on the right side of %s", o.Metric, number(o.Threshold)), o.Note)}
		}
		return Decision{Word: ops.Unchanged, Why: join(fmt.Sprintf("%s still breaks %s %s", o.Metric, o.Operator, number(o.Threshold)), o.Note)}
	}
	return Decision{Word: ops.Inconclusive, Why: join("nothing tells whether the cause has gone away", o.Note)}
}

// breaks reports whether v breaks the threshold.
func (o Observation) breaks(v float64) bool {
	switch o.Operator {
	case ">":
		return v > o.Threshold
	case ">=":
		return v >= o.Threshold
	case "<":
		return v < o.Threshold
	case "<=":
		return v <= o.Threshold
	}
	return false
}

// movedAway says how the mean moved further over the threshold by more than
// the whole spread it had before; empty when it did not or cannot be said.
func (o Observation) movedAway() string {
	low, before, high, n := stats(o.Before)
	_, after, _, m := stats(o.After)
	if !o.Limited || n < minPoints || m < minPoints || !o.breaks(after) {
		return ""
	}
	away := after - before
	if strings.HasPrefix(o.Operator, "<") {
		away = -away
	}
	if spread := high - low; away > spread && away > 0 {
		return fmt.Sprintf("the mean of %s moved from %s to %s, away from %s by more than its spread of %s before", o.Metric, number(before), number(after), number(o.Threshold), number(spread))
	}
	return ""
}

func stats(points []ops.Point) (low, mean, high float64, n int) {
	return ops.Series{Points: points}.Stats()
}

// Limit reads an alert's threshold; ok is false where it is not a comparison
// with a number.
func Limit(c ops.AlertContext) (operator string, threshold float64, ok bool) {
	v, err := strconv.ParseFloat(strings.TrimSpace(c.Threshold), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return "", 0, false
	}
	switch c.Operator {
	case ">", ">=", "<", "<=":
		return c.Operator, v, true
	}
	return "", 0, false
}

func join(why, note string) string {
	if note == "" {
		return why
	}
	return why + " (" + note + ")"
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

func short(d time.Duration) string { return d.Round(time.Second).String() }
