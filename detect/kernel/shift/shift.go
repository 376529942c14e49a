// Package shift says whether a series moved when something was done to it.
//
// It compares the points observed afterwards with what the series' own past
// leads to expect, and judges the difference by a placebo test: the same
// comparison is made at many times of the past at which nothing was done. The
// share of placebos that moved as far gives the p-value (beyond them all, their
// tail does), and their quantiles give the interval of the effect. Nothing is assumed about the shape of the noise
// or how long it remembers; a series that wanders by itself makes its own
// placebos wide. (Abadie, Diamond, Hainmueller 2010, JASA 105(490), placebo
// tests; Chernozhukov, Wüthrich, Zhu 2021, JASA 116(536), exact conformal
// inference for counterfactuals.)
//
// What is compared is chosen per series: one of several views of it (as it is;
// less the median of the same time of day of earlier days; less its untouched
// siblings), of several spans of its recent past, and of several quantiles. A
// move of the whole series moves them all alike, so the one whose placebos are
// narrowest sees it best. The choice looks at placebos only, never at the
// points judged.
//
// On 2,000 changes without effect in recorded series of servers and services,
// 60 points observed after each, 4.5 % were called a move up and as many one
// down; moved by one robust standard deviation, 85 % were called a move up
// (TestCalibration with FETTLE_PROVE=1).
package shift

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Options bound a comparison. The zero value is usable.
type Options struct {
	// Alpha is the share of changes without effect that may be called worse, and
	// as many better: the interval holds with 1-2*Alpha. Default: 0.05.
	Alpha float64
	// Day is how many points a day has; zero: unknown, no time of day is used.
	Day int
	// Siblings are series of the same length as before and after together, at
	// the same times, of things like this one that were not touched. At most 16
	// are used.
	Siblings [][]float64
	// Least is how few points after suffice. Default: 12.
	Least int
	// Effect is the least effect, in robust standard deviations, that is called
	// a move. Default: 0.25.
	Effect float64
}

// Limits of a comparison.
const (
	// minApart is how many placebos that do not overlap the past must hold:
	// among fewer, 5 % is less than one.
	minApart    = 19
	maxPlacebos = 160
	// choice is what choosing costs: the narrowest of many placebo distributions
	// looks narrower than it is. Measured (TestCalibration): without it 7 % of
	// the changes without effect were called worse at an Alpha of 5 %.
	choice      = 0.5
	maxSiblings = 16
	// minTail is the thinnest a tail is thought to be: recorded series hold events
	// of their own, more often than the tail of their moves says. Measured
	// (TestCalibration): with 0.1, 3.3 % of the changes without effect had a
	// p-value of at most 0.005 one way or the other; with 0.5, 2.3 %; with 1,
	// 1.2 %, where 1 % is wanted.
	minTail = 1.0
	maxDays = 7 // earlier days that make the expectation of a time of day
)

// ErrShort is the error of a past or an observation with too few points.
var ErrShort = errors.New("too few points")

// Result is the outcome. Effects are in units of Scale.
type Result struct {
	Expected float64 // what the past led to expect, in the series' unit
	Actual   float64 // what was observed: Expected plus the move
	Scale    float64 // the series' robust standard deviation before, 1.4826 MAD
	Effect   float64 // of the move, in robust standard deviations
	Low      float64 // interval of Effect at 1-2*Alpha
	High     float64
	Up, Down float64 // p-values of a move up and of one down: the least Alpha that calls it
	Placebos int
	Points   int // observed after
	Move     Move
	View     string // what was compared, for people
}

// Move says which way a series went.
type Move string

// The moves. None means that what was seen happens by itself.
const (
	Up   Move = "up"
	Down Move = "down"
	None Move = "none"
)

// Compare judges the points after against those before. Both are at equal
// steps, the first of after one step behind the last of before; NaN and
// infinities are missing points. The error is ErrShort, or names the sibling of another length.
func Compare(before, after []float64, o Options) (Result, error) {
	if o.Alpha <= 0 {
		o.Alpha = 0.05
	}
	if o.Least <= 0 {
		o.Least = 12
	}
	if o.Effect <= 0 {
		o.Effect = 0.25
	}
	m, n := len(after), len(before)
	points := present(after)
	if points < o.Least || 2*points < m {
		return Result{}, fmt.Errorf("%d of %d points after are there, at least %d and half are needed: %w", points, m, max(o.Least, (m+1)/2), ErrShort)
	}
	whole := append(slices.Clone(before), after...)
	for i, s := range o.Siblings {
		if len(s) != len(whole) {
			return Result{}, fmt.Errorf("sibling %d has %d points, before and after have %d", i, len(s), len(whole))
		}
	}
	var w work
	scale := w.scale(before)
	var best judged
	for _, v := range views(whole, n, o, &w) {
		w.order.of(v.points)
		for _, span := range v.spans(m) {
			for q, j := range w.judge(v, n, m, span, o.Alpha) {
				if j.placebos >= minApart && (best.placebos == 0 || j.width < best.width) {
					j.view = v.name + ", " + quantiles[q].name
					best = j
				}
			}
		}
	}
	if best.placebos == 0 {
		return Result{}, fmt.Errorf("%d points before give too few placebos for %d points after: %w", present(before), m, ErrShort)
	}
	if scale == 0 { // constant but for moments: any lasting move counts
		scale = math.Max(best.width, math.Abs(best.level)*1e-6+math.SmallestNonzeroFloat32)
	}
	r := Result{
		Move: None, Expected: best.level, Actual: best.level + best.move, Scale: scale,
		Effect: best.move / scale, Low: (best.move - best.high) / scale, High: (best.move - best.low) / scale,
		Up: best.up, Down: best.down, Placebos: best.placebos, Points: points, View: best.view,
	}
	switch {
	case r.Low > 0 && r.Effect >= o.Effect:
		r.Move = Up
	case r.High < 0 && r.Effect <= -o.Effect:
		r.Move = Down
	}
	return r, nil
}

// quantiles are the statistics a span is reduced to.
var quantiles = [...]struct {
	name string
	of   func(sorted []float64) float64
}{
	{"lower tenth", func(s []float64) float64 { return s[len(s)/10] }},
	{"median", median},
	{"upper tenth", func(s []float64) float64 { return s[len(s)-1-len(s)/10] }},
	{"midmean", func(s []float64) float64 {
		mid := s[len(s)/4 : len(s)-len(s)/4]
		sum := 0.0
		for _, v := range mid {
			sum += v
		}
		return sum / float64(len(mid))
	}},
}

func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// judged is one comparison with its placebos.
type judged struct {
	level, move float64 // expected level and move from it
	low, high   float64 // quantiles of the placebos' moves
	width       float64
	up, down    float64
	placebos    int
	view        string
}

// work holds the buffers of a comparison.
type work struct {
	order        order // of the view that is judged
	window, span []float64
	mirror       []float64
	placebos     [len(quantiles)][]float64
}

// judge compares the m points from n on, of one view, with the span before
// them, by every quantile, and does the same at every placebo.
func (w *work) judge(v view, n, m, span int, alpha float64) [len(quantiles)]judged {
	var out [len(quantiles)]judged
	if n < v.from+span+minApart*m {
		return out
	}
	level, move, ok := w.move(v, n, m, span)
	if !ok {
		return out
	}
	for q := range w.placebos {
		w.placebos[q] = w.placebos[q][:0]
	}
	stride := max(1, m/4, (n-v.from-span)/maxPlacebos)
	for at := n - m; at >= v.from+span; at -= stride {
		if _, placebo, ok := w.move(v, at, m, span); ok {
			for q, d := range placebo {
				w.placebos[q] = append(w.placebos[q], d)
			}
		}
	}
	for q, p := range w.placebos {
		if len(p) == 0 {
			continue
		}
		slices.Sort(p)
		k := int(alpha * choice * float64(len(p)))
		j := judged{level: level[q], move: move[q], low: p[k], high: p[len(p)-1-k], placebos: len(p)}
		j.width = j.high - j.low
		at, _ := slices.BinarySearch(p, j.move)
		j.up = chance(p, len(p)-at, j.move, n)
		above, _ := slices.BinarySearch(p, math.Nextafter(j.move, math.Inf(1)))
		w.mirror = w.mirror[:0]
		for _, d := range slices.Backward(p) {
			w.mirror = append(w.mirror, -d)
		}
		j.down = chance(w.mirror, above, -j.move, n)
		out[q] = j
	}
	return out
}

// chance is the p-value of a move that as far were reached by beyond of the
// sorted placebos. It is the least Alpha at which the interval excludes zero,
// so the cost of choosing is in it.
//
// Placebos alone give nothing below one in their number, which is too coarse
// where several series are judged together. A move beyond them all is judged by
// the Pareto tail through the farthest of them (Hill 1975, Annals of
// Statistics 3(5)); where these never moved, by the n points of the past.
func chance(placebos []float64, beyond int, move float64, n int) float64 {
	count := len(placebos)
	if beyond > 0 {
		return min(1, float64(beyond)/(choice*float64(count)))
	}
	k := max(5, count/8)
	if k >= count {
		return min(1, 1/(choice*float64(count)))
	}
	mid, far := median(placebos), placebos[count-1-k]
	if far <= mid {
		return min(1, 1/(choice*float64(max(count, n))))
	}
	index := 0.0
	for _, d := range placebos[count-k:] {
		index += math.Log((d-mid)/(far-mid)) / float64(k)
	}
	tail := float64(k) / float64(count) * math.Pow((move-mid)/(far-mid), -1/max(index, minTail))
	return min(1, min(tail, 1/float64(count))/choice)
}

// move returns, by quantile, the level before at and how far the m points from
// at on are from it.
func (w *work) move(v view, at, m, span int) (level, move [len(quantiles)]float64, ok bool) {
	window := w.order.stretch(at, at+m, w.window)
	if window == nil {
		return level, move, false
	}
	w.window = window
	before := w.span
	if span > 0 {
		if before = w.order.stretch(at-span, at, w.span); before == nil {
			return level, move, false
		}
		w.span = before
	}
	for q := range quantiles {
		if span > 0 {
			level[q] = quantiles[q].of(before)
		}
		move[q] = quantiles[q].of(window) - level[q]
		level[q] += v.offset
	}
	return level, move, true
}

// scale is the robust standard deviation of the points that are there, zero
// when fewer than half are.
func (w *work) scale(points []float64) float64 {
	s := sorted(points)
	if 2*len(s) < len(points) || len(s) == 0 {
		return 0
	}
	mid := median(s)
	for i, v := range s {
		s[i] = math.Abs(v - mid)
	}
	slices.Sort(s)
	return 1.4826 * median(s)
}

// there reports whether a point has a value that can be compared.
func there(v float64) bool { return !math.IsNaN(v) && math.Abs(v) <= math.MaxFloat64/4 }

func present(points []float64) int {
	n := 0
	for _, v := range points {
		if there(v) {
			n++
		}
	}
	return n
}
