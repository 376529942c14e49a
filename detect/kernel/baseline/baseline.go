// Package baseline holds the detectors that stand beside the random cut forest:
// an exponentially weighted z-score, a robust z-score, a seasonal quantile, an
// online sub-PCA on shingles, a two-sided CUSUM, and the crude ones that a good
// detector must beat. They are cheap, they explain themselves (an expected
// value and a blame per feature), and the choice among them is measured:
// Champion back-tests them on the series' own past, and a Rule joins those that
// are worth joining.
//
// All of them read points in order, take a bounded time per point and allocate
// nothing for it, and say the same of the same points in every process and over
// a save and load. What a point scores never depends on later points.
//
// Values beyond 1e150 in size are read as 1e150, so that their squares stay
// finite. A scale is never taken smaller than a millionth of the level it
// belongs to: below that, differences are rounding.
package baseline

import (
	"fmt"
	"math"
)

// Processor scores the points of one model in order. It is the part of a Scorer
// that Champion needs, so that any detector can be a candidate.
type Processor interface {
	// Process returns the raw score of the values x at a time in Unix
	// milliseconds, given all learned so far, and then learns the point unless
	// hold is set. The score is finite, at least 0 and greater for what is
	// stranger; it is comparable within one model, and 0 while too little is
	// known. A NaN is a missing value and is skipped. The wrong number of
	// values, an infinite value and a time that does not increase are errors,
	// which leave the model as it was.
	//
	// A held point leaves nothing behind but its time and, in detectors that
	// look at more than one point at once, its place in the view; statistics
	// learn nothing from a view with a held point in it.
	Process(at int64, x []float64, hold bool) (score float64, err error)
}

// Scorer is one model of this package. It is not safe for concurrent use.
type Scorer interface {
	Processor
	// Expected appends, for each feature, the value that was expected for the
	// point last scored, in the feature's own unit; NaN where nothing is known.
	Expected(dst []float64) []float64
	// Blame appends each feature's share in the last score. The shares sum to
	// 1, or are all zero where the score is.
	Blame(dst []float64) []float64
	// Learned counts the points that were learned, and Needed says how many it
	// takes until points are scored.
	Learned() int
	Needed() int
	// AppendState appends the model to dst: versioned, with its settings and a
	// checksum, little endian.
	AppendState(dst []byte) []byte
	// LoadState replaces the model by a saved one. It is an error, which leaves
	// the model as it was, when src is damaged, of another kind or version, or
	// saved under other settings.
	LoadState(src []byte) error
}

const (
	maxFeatures = 64
	// warm is how many values a statistic needs before a deviation from it
	// means anything.
	warm = 8
	// largest is the size above which values are cut off.
	largest = 1e150
	// grain is the smallest scale relative to the level.
	grain = 1e-6
)

// frame is what the scorers share: the order of points, and the deviation and
// expectation of each feature at the last of them.
type frame struct {
	features int
	last     int64
	begun    bool
	learned  uint64
	needed   int

	deviation []float64
	expected  []float64
}

func newFrame(kind string, features, needed int) (frame, error) {
	if features < 1 || features > maxFeatures {
		return frame{}, fmt.Errorf("%s: %d features: give 1 to %d", kind, features, maxFeatures)
	}
	f := frame{features: features, needed: needed, deviation: make([]float64, features), expected: make([]float64, features)}
	for i := range f.expected {
		f.expected[i] = math.NaN()
	}
	return f, nil
}

// admit checks the point and, when it is fit, makes it the last one.
func (f *frame) admit(kind string, at int64, x []float64) error {
	if len(x) != f.features {
		return fmt.Errorf("%s: point of %d values: the model has %d features", kind, len(x), f.features)
	}
	for i, v := range x {
		if math.IsInf(v, 0) {
			return fmt.Errorf("%s: value %d is %v: give a finite value, or NaN where it is missing", kind, i, v)
		}
	}
	if f.begun && at <= f.last {
		return fmt.Errorf("%s: point at %d ms does not follow the one at %d ms: give points in order", kind, at, f.last)
	}
	f.last, f.begun = at, true
	return nil
}

// learn counts a point that was learned; one without any value taught nothing.
func (f *frame) learn(x []float64) {
	for _, v := range x {
		if !math.IsNaN(v) {
			f.learned++
			return
		}
	}
}

// score is the 4-norm of the features' deviations. It lies between the largest
// deviation, which would not tell two strange features from one, and the
// Euclidean norm, in which the noise of many features drowns the one that
// fails. A single feature scores its own deviation.
func (f *frame) score() float64 {
	if f.features == 1 {
		return f.deviation[0]
	}
	top := 0.0
	for _, d := range f.deviation {
		top = max(top, d)
	}
	if top == 0 {
		return 0
	}
	sum := 0.0
	for _, d := range f.deviation {
		r := d / top
		sum += r * r * r * r
	}
	return top * math.Sqrt(math.Sqrt(sum))
}

// Expected appends, for each feature, the value that was expected for the
// point last scored, NaN where nothing is known.
func (f *frame) Expected(dst []float64) []float64 { return append(dst, f.expected...) }

// Blame appends each feature's share in the last score: its part of the sum of
// fourth powers.
func (f *frame) Blame(dst []float64) []float64 {
	top := 0.0
	for _, d := range f.deviation {
		top = max(top, d)
	}
	start := len(dst)
	sum := 0.0
	for _, d := range f.deviation {
		r := 0.0
		if top > 0 {
			r = d / top
		}
		r *= r
		r *= r
		sum += r
		dst = append(dst, r)
	}
	if sum > 0 {
		for i := start; i < len(dst); i++ {
			dst[i] /= sum
		}
	}
	return dst
}

// Learned counts the points that were learned.
func (f *frame) Learned() int { return int(min(f.learned, math.MaxInt)) }

// Needed says how many points are learned before points are scored.
func (f *frame) Needed() int { return f.needed }

// bounded cuts a value to what can be squared and makes a negative zero zero,
// so that a saved and a live order of equal values cannot differ.
func bounded(v float64) float64 { return min(max(v, -largest), largest) + 0 }

// deviations returns how many scales v lies from the centre, with no scale
// smaller than grain of the level, linear up to 10 and then growing with the
// logarithm: what is a thousand scales away is stranger than what is a hundred
// away, and yet no single score drowns a threshold that is fitted to scores.
func deviations(v, centre, scale, level float64) float64 {
	d := math.Abs(v - centre)
	if d == 0 {
		return 0
	}
	return tempered(d / max(scale, grain*math.Abs(level)))
}

// tempered is the identity up to 10 and 10(1+ln(z/10)) above, at most 126.
func tempered(z float64) float64 {
	if z <= 10 {
		return z
	}
	return 10 * (1 + math.Log(min(z, 1e6)/10))
}

// moments are an exponentially weighted mean and variance (West, Updating mean
// and variance estimates, CACM 1979; Finch, Incremental calculation of weighted
// mean and variance, 2009). The first points weigh equally, so that the start
// is not remembered longer than the rest.
type moments struct {
	n              uint32
	mean, variance float64
}

// add learns v with a weight of 1/window, or 1/n while n is less.
func (m *moments) add(v float64, window int) {
	if int(m.n) < window {
		m.n++
	}
	g := 1 / float64(m.n)
	d := v - m.mean
	m.mean += g * d
	m.variance = (1 - g) * (m.variance + g*d*d)
}

func (m *moments) deviation() float64 { return math.Sqrt(m.variance) }

// choose returns v, or the default when v is zero, or an error when it is out
// of bounds.
func choose(kind, name string, v, def, low, high int) (int, error) {
	if v == 0 {
		v = def
	}
	if v < low || v > high {
		return 0, fmt.Errorf("%s: %s %d: give %d to %d", kind, name, v, low, high)
	}
	return v, nil
}
