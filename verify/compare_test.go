package verify_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/verify"
)

// noise is a day and more of one point a minute around a level, up to an hour
// after t0; from t0 on it is moved. What the estate does together is in it.
func noise(seed uint64, metric string, level, moved, together float64) verify.Measured {
	r := rand.New(rand.NewPCG(seed, 9))
	common := rand.New(rand.NewPCG(1, 1))
	m := verify.Measured{Worse: verify.WorseUp, Known: true}
	m.Metric = metric
	drift := 0.0
	for i := -2 * 24 * 60; i < 60; i++ {
		drift = 0.98*drift + together*common.NormFloat64()
		v := level + r.NormFloat64() + drift
		if i >= 0 {
			v += moved
		}
		m.Points = append(m.Points, ops.Point{At: t0.Add(time.Duration(i)*time.Minute + 7*time.Second), Value: v})
	}
	return m
}

func compared(series ...verify.Measured) verify.Compared {
	return verify.Compared{StartedAt: t0.Add(-time.Minute), AppliedAt: t0, Now: t0.Add(time.Hour), Series: series}
}

func TestCompare(t *testing.T) {
	f := func(name string, in verify.Compared, want ops.VerdictWord, why string) {
		t.Helper()
		c := verify.Compare(in)
		if c.Word != want || !strings.Contains(c.Why, why) {
			t.Errorf("%s: %s because %q, want %s because %q", name, c.Word, c.Why, want, why)
		}
		if (c.Word == ops.Inconclusive) != (c.Statistic == "") || c.Low > c.Effect || c.Effect > c.High {
			t.Errorf("%s: %+v", name, c)
		}
	}
	way := func(m verify.Measured, d verify.Direction) verify.Measured { m.Worse = d; return m }
	f("nothing moved", compared(noise(1, "cpu", 50, 0, 0)), ops.Unchanged, "nothing moved: of 1 metric")
	f("up is worse", compared(noise(1, "cpu", 50, 3, 0)), ops.Worse, "cpu rose from 5")
	f("down is better", compared(noise(1, "cpu", 50, -3, 0)), ops.Better, "cpu fell from")
	f("down is worse where down is", compared(way(noise(1, "free", 50, -3, 0), verify.WorseDown)), ops.Worse, "free fell")
	f("up is better where down is worse", compared(way(noise(1, "free", 50, 3, 0), verify.WorseDown)), ops.Better, "free rose")
	f("both ways are worse", compared(way(noise(1, "x", 50, -3, 0), verify.WorseBoth)), ops.Worse, "x fell")
	f("none is not judged", compared(way(noise(1, "x", 50, 9, 0), verify.WorseNone)), ops.Inconclusive, "no metric")
	f("one worse, one better", compared(noise(1, "cpu", 50, 30, 0), noise(2, "wait", 50, -30, 0)), ops.Worse, "cpu rose")
	f("no series", compared(), ops.Inconclusive, "no metric is measured often enough")

	quiet := noise(3, "memory", 0, 0, 0)
	quiet.Known, quiet.Worse = false, verify.WorseBoth
	for i := range quiet.Points {
		quiet.Points[i].Value = 16
		if quiet.Points[i].At.After(t0) {
			quiet.Points[i].Value = 8
		}
	}
	f("a setting that nobody asked about", compared(quiet), ops.Inconclusive, "no metric")
	quiet.Known = true
	f("a setting that a rule asks about", compared(quiet), ops.Worse, "memory fell from 16 to 8")

	young := noise(4, "cpu", 50, 3, 0)
	young.Points = young.Points[len(young.Points)-200:]
	f("too short a past", compared(young), ops.Inconclusive, "none of 1 metric")
	early := compared(noise(4, "cpu", 50, 3, 0))
	early.Now = t0.Add(5 * time.Minute)
	f("too few points after", early, ops.Inconclusive, "often enough")
	silent := noise(4, "cpu", 50, 3, 0)
	silent.Points = silent.Points[:len(silent.Points)-40]
	f("silent for most of the time after", compared(silent), ops.Inconclusive, "often enough")

	total := noise(5, "jobs_errors_total", 5, 3, 0)
	sum := 0.0
	for i := range total.Points {
		sum += math.Max(0, total.Points[i].Value) * 60
		total.Points[i].Value = sum
	}
	f("a counter is judged by its increase", compared(total), ops.Worse, "jobs_errors_total rose from")
}

// TestSiblingsTakeOffWhatAllDo plants a move that the drift of the whole estate
// hides, and shows it against the siblings.
func TestSiblingsTakeOffWhatAllDo(t *testing.T) {
	in := compared(noise(1, "cpu", 50, 3, 1))
	alone := verify.Compare(in)
	for seed := range uint64(6) {
		in.Siblings = append(in.Siblings, []ops.Series{noise(seed+20, "cpu", 40, 0, 1).Series, noise(seed+40, "other", 0, 0, 0).Series})
	}
	c := verify.Compare(in)
	if alone.Word == ops.Worse || c.Word != ops.Worse || !strings.Contains(c.Statistic, "siblings") {
		t.Errorf("alone %s (%s), with siblings %s (%s, %s)", alone.Word, alone.Why, c.Word, c.Why, c.Statistic)
	}
}

// TestSeveralMetricsAreJudgedTogether: what is a move for one metric alone may
// be chance among many.
func TestSeveralMetricsAreJudgedTogether(t *testing.T) {
	one := noise(7, "cpu", 50, 0.55, 0)
	alone := verify.Compare(compared(one))
	many := []verify.Measured{one}
	for i := range uint64(12) {
		many = append(many, noise(100+i, "error"+string(rune('a'+i)), 50, 0, 0))
	}
	c := verify.Compare(compared(many...))
	if alone.Word != ops.Worse || c.Word != ops.Unchanged || c.Judged != 13 || !strings.Contains(c.Statistic, "over 13 metrics") {
		t.Errorf("alone %s (%s), among 13 %s (%s; %s)", alone.Word, alone.Why, c.Word, c.Why, c.Statistic)
	}
	many[0] = noise(7, "cpu", 50, 40, 0)
	if c = verify.Compare(compared(many...)); c.Word != ops.Worse || c.Metric != "cpu" {
		t.Errorf("a great move among 13: %s, %s", c.Word, c.Why)
	}
}

func TestDenseSeriesAreCutIntoSteps(t *testing.T) {
	// Ten seconds apart for the last two hours, a mean a minute before: what the
	// history keeps.
	m := noise(1, "cpu", 50, 0, 0)
	var points []ops.Point
	for _, p := range m.Points {
		if p.At.Before(t0.Add(-2 * time.Hour)) {
			points = append(points, p)
			continue
		}
		for s := range 6 {
			if at := p.At.Add(time.Duration(s) * 10 * time.Second); at.Before(t0.Add(10 * time.Minute)) {
				v := p.Value
				if !at.Before(t0) {
					v += 4
				}
				points = append(points, ops.Point{At: at, Value: v})
			}
		}
	}
	m.Points = points
	in := compared(m)
	in.Now = t0.Add(10 * time.Minute)
	c := verify.Compare(in)
	if c.Word != ops.Worse || c.Points != 60 || !strings.Contains(c.Statistic, "steps of 10s") {
		t.Errorf("%s, %s (%s)", c.Word, c.Why, c.Statistic)
	}
	// Twenty minutes ask for more of a past than two hours: the means are compared.
	m = noise(1, "cpu", 50, 4, 0)
	in = compared(m)
	in.Now = t0.Add(20 * time.Minute)
	if c = verify.Compare(in); c.Word != ops.Worse || c.Points < 19 || !strings.Contains(c.Statistic, "steps of 1m0s") {
		t.Errorf("%s, %s (%s)", c.Word, c.Why, c.Statistic)
	}
}
