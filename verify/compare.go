package verify

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/detect/kernel/shift"
	"github.com/fettleops/fettle/ops"
)

// Limits of a comparison of metrics.
const (
	alpha       = 0.05 // share of changes without effect that may be called worse
	minEffect   = 0.25 // robust standard deviations
	minObserved = 8    // points after
	maxJudged   = 16   // series of one resource
)

// Measured is a series of the changed resource.
type Measured struct {
	ops.Series
	Worse Direction
	// Known says that the direction is, from a rule or by the metric's name. Of
	// a metric whose direction is not known any move counts, unless it never
	// moved before: then it is a setting, such as the size of a memory, and is
	// not judged.
	Known bool
}

// Compared is what a comparison is made of.
type Compared struct {
	StartedAt, AppliedAt, Now time.Time
	Series                    []Measured
	// Siblings are the series of each untouched sibling.
	Siblings [][]ops.Series
}

// Comparison says whether metrics moved. Its Word is inconclusive where there
// is too little data. The numbers are those of the metric that decided.
type Comparison struct {
	Word      ops.VerdictWord
	Why       string
	Series    ops.SeriesID
	Metric    string
	Statistic string
	Effect    float64
	Low, High float64
	P         float64
	Points    int
	Judged    int
}

// judged is one metric with what became of it.
type judged struct {
	Measured
	r    shift.Result
	step time.Duration
	p    float64 // of the hypothesis at hand
}

// Compare compares the observation with the days before and with the
// siblings: worse when a metric moved the wrong way, better when one moved the
// right way and none the wrong way. Several metrics are judged together by
// Holm's correction (Holm 1979, Scandinavian Journal of Statistics 6(2)), once
// for the wrong way and once for the right way.
func Compare(in Compared) Comparison {
	var all []judged
	short, left := 0, 0
	for _, s := range order(in.Series) {
		if len(all)+short >= maxJudged {
			left++
			continue
		}
		j, err := in.judge(s)
		switch {
		case errors.Is(err, errSetting):
		case err != nil:
			short++
		default:
			all = append(all, j)
		}
	}
	if len(all) == 0 {
		return Comparison{Word: ops.Inconclusive, Why: fmt.Sprintf("%s measured often enough before and after to be compared", count(short, "no metric", "none of 1 metric is", "none of %d metrics is"))}
	}
	c := Comparison{Judged: len(all)}
	word, moved := ops.Worse, holm(all, wrong)
	if len(moved) == 0 {
		word, moved = ops.Better, holm(all, right)
	}
	c.Word = word
	shown := judged{}
	switch {
	case len(moved) > 0:
		shown = moved[0]
		var said []string
		for _, j := range moved[:min(3, len(moved))] {
			said = append(said, j.text())
		}
		if n := len(moved) - len(said); n > 0 {
			said = append(said, fmt.Sprintf("%d more moved likewise", n))
		}
		c.Why = strings.Join(said, "; ")
	default:
		c.Word = ops.Unchanged
		least := slices.MinFunc(all, func(a, b judged) int { return cmp.Compare(wrong(a), wrong(b)) })
		shown, shown.p = least, wrong(least)
		c.Why = fmt.Sprintf("nothing moved: of %s the farthest is %s", count(len(all), "", "1 metric", "%d metrics"), shown.text())
	}
	if short+left > 0 {
		c.Why += fmt.Sprintf(" (%d more could not be judged)", short+left)
	}
	c.Series, c.Metric, c.P = shown.SeriesID, name(shown.SeriesID), shown.p
	c.Effect, c.Low, c.High, c.Points = shown.r.Effect, shown.r.Low, shown.r.High, shown.r.Points
	c.Statistic = fmt.Sprintf("placebo test with %d placebos, %s, steps of %s", shown.r.Placebos, shown.r.View, shown.step)
	if len(all) > 1 {
		c.Statistic += fmt.Sprintf(", Holm's correction over %d metrics", len(all))
	}
	return c
}

func count(n int, none, one, many string) string {
	switch n {
	case 0:
		return none + " is"
	case 1:
		return one
	}
	return fmt.Sprintf(many, n)
}

// order puts the metrics whose direction is known first, and leaves out those
// not to be judged.
func order(in []Measured) []Measured {
	out := slices.DeleteFunc(slices.Clone(in), func(m Measured) bool {
		return m.Worse == WorseNone || strings.HasSuffix(m.Metric, "_bucket")
	})
	slices.SortStableFunc(out, func(a, b Measured) int {
		if a.Known != b.Known {
			if a.Known {
				return -1
			}
			return 1
		}
		return strings.Compare(name(a.SeriesID), name(b.SeriesID))
	})
	return out
}

var errSetting = errors.New("it never moved before")

// judge compares one metric at the first step that gives enough points.
func (in Compared) judge(m Measured) (judged, error) {
	err := fmt.Errorf("%s: %w", m.Metric, shift.ErrShort)
	if len(m.Points) == 0 {
		return judged{}, err
	}
	for _, step := range stepsFor(in.Now.Sub(in.AppliedAt), gap(m.Points)) {
		oldest := m.Points[0].At
		if first := in.AppliedAt.Add(-past); oldest.Before(first) {
			oldest = first
		}
		g := newGrid(in.StartedAt, in.AppliedAt, in.Now, oldest, step)
		whole := g.fold(m.Series)
		from := g.before - dense(whole[:g.before])
		before, after := whole[from:g.before], whole[g.before:]
		if !m.Known && constant(before) {
			return judged{}, errSetting
		}
		o := shift.Options{Alpha: alpha, Effect: minEffect, Least: minObserved, Day: int(24 * time.Hour / step)}
		for _, sibling := range in.Siblings {
			if s, ok := same(sibling, m.SeriesID); ok {
				o.Siblings = append(o.Siblings, g.fold(s)[from:])
			}
		}
		var r shift.Result
		if r, err = shift.Compare(before, after, o); err == nil {
			return judged{Measured: m, r: r, step: step}, nil
		}
	}
	return judged{}, err
}

// same returns a sibling's series of the same metric: the one with the same
// labels, else its only one.
func same(series []ops.Series, id ops.SeriesID) (ops.Series, bool) {
	var only ops.Series
	n := 0
	for _, s := range series {
		if s.Metric != id.Metric {
			continue
		}
		if labels(s.Labels) == labels(id.Labels) {
			return s, true
		}
		only = s
		n++
	}
	return only, n == 1
}

func constant(points []float64) bool {
	first := math.NaN()
	for _, v := range points {
		switch {
		case math.IsNaN(v):
		case math.IsNaN(first):
			first = v
		case v != first: //nolint:floatcompare // a setting is the same number each time
			return false
		}
	}
	return true
}

// wrong is the p-value of a move the wrong way.
func wrong(j judged) float64 {
	switch j.Worse {
	case WorseUp:
		return j.r.Up
	case WorseDown:
		return j.r.Down
	default:
		return min(1, 2*j.r.Up, 2*j.r.Down)
	}
}

// right is the p-value of a move the right way; a metric of no direction has none.
func right(j judged) float64 {
	switch j.Worse {
	case WorseUp:
		return j.r.Down
	case WorseDown:
		return j.r.Up
	default:
		return 1
	}
}

// holm returns the metrics that moved by the p-value, the least first.
func holm(all []judged, p func(judged) float64) []judged {
	sorted := slices.Clone(all)
	for i := range sorted {
		sorted[i].p = p(sorted[i])
	}
	slices.SortStableFunc(sorted, func(a, b judged) int { return cmp.Compare(a.p, b.p) })
	var out []judged
	for i, j := range sorted {
		if j.p > alpha/float64(len(sorted)-i) {
			break
		}
		if math.Abs(j.r.Effect) >= minEffect {
			out = append(out, j)
		}
	}
	return out
}

func (j judged) text() string {
	way := "rose"
	if j.r.Effect < 0 {
		way = "fell"
	}
	return fmt.Sprintf("%s %s from %s to %s, by %s robust standard deviations (90 %% interval %s to %s, p %s, %d points)", name(j.SeriesID), way,
		number(j.r.Expected), number(j.r.Actual), decimal(math.Abs(j.r.Effect)), decimal(j.r.Low), decimal(j.r.High), number(j.p), j.r.Points)
}

func decimal(v float64) string {
	if math.Abs(v) >= 1e6 {
		return number(v)
	}
	return fmt.Sprintf("%.2f", v)
}
