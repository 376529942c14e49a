package verify

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// past is how far back a comparison looks at most, and maxPast how many steps.
const (
	past    = 7 * 24 * time.Hour
	maxPast = 20_160
	// wanted is how many points the observation is cut into where the series is
	// dense enough.
	wanted = 60
	// summary is the step of what is kept of a series for days.
	summary = time.Minute
)

// steps are the steps a series may be resampled to. A day is a whole number of
// each.
var steps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 3 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute, 30 * time.Minute, time.Hour,
}

// stepsFor returns the steps to try for a series with points a native gap
// apart: the one that cuts the observation into the wanted number of points,
// then that of the summaries, of which there are days.
func stepsFor(observed, native time.Duration) []time.Duration {
	var out []time.Duration
	for _, s := range slices.Backward(steps) {
		if s >= native && s <= observed/wanted {
			out = append(out, s)
			break
		}
	}
	if len(out) == 0 {
		for _, s := range steps {
			if s >= native {
				out = append(out, s)
				break
			}
		}
	}
	if len(out) > 0 && out[0] < summary {
		out = append(out, summary)
	}
	return out
}

// gap returns the usual distance of the newest points, rounded down to a
// second; zero when there are fewer than two.
func gap(points []ops.Point) time.Duration {
	points = points[max(0, len(points)-200):]
	if len(points) < 2 {
		return 0
	}
	gaps := make([]time.Duration, len(points)-1)
	for i := range gaps {
		gaps[i] = points[i+1].At.Sub(points[i].At)
	}
	slices.Sort(gaps)
	return max(gaps[len(gaps)/2].Truncate(time.Second), time.Second)
}

// grid is the equal steps of a comparison. The first step after begins when
// the change had been applied; while it ran nothing counts.
type grid struct {
	started, applied time.Time
	step             time.Duration
	before, after    int
}

func newGrid(started, applied, now time.Time, oldest time.Time, step time.Duration) grid {
	return grid{
		started: started, applied: applied, step: step,
		before: min(maxPast, max(0, int(applied.Sub(oldest)/step))), after: int(now.Sub(applied) / step),
	}
}

// fold returns the mean of the points of each step, NaN where there is none.
// Of a counter it is the increase per second from step to step, NaN where it
// began anew.
func (g grid) fold(s ops.Series) []float64 {
	start := g.applied.Add(-time.Duration(g.before) * g.step)
	sums, counts := make([]float64, g.before+g.after), make([]int, g.before+g.after)
	for _, p := range s.Points {
		if p.At.Before(start) || math.IsNaN(p.Value) || math.IsInf(p.Value, 0) || !p.At.Before(g.started) && p.At.Before(g.applied) {
			continue
		}
		if i := int(p.At.Sub(start) / g.step); i < len(sums) {
			sums[i] += p.Value
			counts[i]++
		}
	}
	for i, n := range counts {
		if n == 0 {
			sums[i] = math.NaN()
			continue
		}
		sums[i] /= float64(n)
	}
	if !counter(s.Metric) {
		return sums
	}
	for i := len(sums) - 1; i > 0; i-- {
		if sums[i] = (sums[i] - sums[i-1]) / g.step.Seconds(); sums[i] < 0 {
			sums[i] = math.NaN()
		}
	}
	if len(sums) > 0 {
		sums[0] = math.NaN()
	}
	return sums
}

// counter reports whether a metric only ever grows, by its name, as for the
// detectors.
func counter(metric string) bool {
	return strings.HasSuffix(metric, "_total") || strings.HasSuffix(metric, "_count") || strings.HasSuffix(metric, "_sum")
}

// dense returns how much of the past, counted back from its end, is there: the
// longest stretch of which two thirds are.
func dense(before []float64) int {
	n, there := 0, 0
	for i := len(before) - 1; i >= 0; i-- {
		if !math.IsNaN(before[i]) {
			there++
		}
		if length := len(before) - i; 3*there >= 2*length {
			n = length
		}
	}
	return n
}
