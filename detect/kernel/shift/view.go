package shift

import (
	"math"
	"slices"
)

// view is the whole series, before and after, less something that explains it.
type view struct {
	name   string
	points []float64
	from   int     // points before it have no value
	offset float64 // what was taken off at the points judged, for people
	zero   bool    // its expected level may be zero, without a span
}

// spans are how much of the recent past makes the level: half of what is
// judged, as much, three times as much, and nothing where zero is expected.
func (v view) spans(m int) []int {
	out := []int{max(1, m/2), m, 3 * m}
	if v.zero {
		out = append(out, 0)
	}
	return out
}

// views returns the series as it is, less its time of day, and less its
// siblings. n is where the points judged begin.
func views(whole []float64, n int, o Options, w *work) []view {
	out := []view{{name: "as it is", points: whole}}
	if v, ok := seasonal(whole, n, o.Day); ok {
		out = append(out, v)
	}
	if v, ok := controlled(whole, n, o, w); ok {
		out = append(out, v)
		if s, ok := seasonal(v.points, n, o.Day); ok {
			s.name, s.offset = "against siblings and the same time of earlier days", s.offset+v.offset
			out = append(out, s)
		}
	}
	return out
}

// seasonal takes off the median of the same time of day of earlier days. It
// needs two days, and a span judged of at most one: a later point would else
// explain itself.
func seasonal(whole []float64, n, day int) (view, bool) {
	if day <= 0 || n < 2*day || len(whole)-n > day {
		return view{}, false
	}
	out := make([]float64, len(whole))
	past := make([]float64, 0, maxDays)
	expected := make([]float64, 0, len(whole)-n)
	for i := range whole {
		past = past[:0]
		for k := i - day; k >= 0 && len(past) < maxDays; k -= day {
			if there(whole[k]) {
				past = append(past, whole[k])
			}
		}
		if len(past) == 0 {
			out[i] = math.NaN()
			continue
		}
		slices.Sort(past)
		e := median(past)
		out[i] = whole[i] - e
		if i >= n {
			expected = append(expected, e)
		}
	}
	return view{name: "against the same time of earlier days", points: out, from: day, offset: mid(expected), zero: true}, true
}

// controlled takes off what the siblings did together: the median over them of
// their distance from their own middle before, in their own scale.
func controlled(whole []float64, n int, o Options, w *work) (view, bool) {
	scale := w.scale(whole[:n])
	type control struct {
		points     []float64
		mid, scale float64
	}
	var controls []control
	for _, s := range o.Siblings[:min(len(o.Siblings), maxSiblings)] {
		if c := w.scale(s[:n]); c > 0 && 2*present(s[n:]) >= len(s)-n {
			controls = append(controls, control{s, mid(s[:n]), c})
		}
	}
	if len(controls) == 0 || scale == 0 {
		return view{}, false
	}
	out := make([]float64, len(whole))
	now := make([]float64, 0, len(controls))
	taken := make([]float64, 0, len(whole)-n)
	for i := range whole {
		now = now[:0]
		for _, c := range controls {
			if v := c.points[i]; there(v) {
				now = append(now, (v-c.mid)/c.scale)
			}
		}
		if len(now) == 0 {
			out[i] = math.NaN()
			continue
		}
		slices.Sort(now)
		common := scale * median(now)
		out[i] = whole[i] - common
		if i >= n {
			taken = append(taken, common)
		}
	}
	return view{name: "against its siblings", points: out, offset: mid(taken)}, true
}

// mid is the median of the points that are there, zero when none is.
func mid(points []float64) float64 {
	s := sorted(points)
	if len(s) == 0 {
		return 0
	}
	return median(s)
}

// sorted returns the points that are there, from the least on.
func sorted(points []float64) []float64 {
	s := make([]float64, 0, len(points))
	for _, v := range points {
		if there(v) {
			s = append(s, v)
		}
	}
	slices.Sort(s)
	return s
}
