package threshold

import "math"

// Near says how close to the expected value a value must be to be ignored
// whatever its score: AWS's ignoreNearExpected. The zero value ignores only what
// is exactly as expected. Absolute distances have the unit of the value, ratios
// are shares of the expected value; the larger of the two counts.
type Near struct {
	Above, Below           float64
	AboveRatio, BelowRatio float64
}

// Ignore reports whether the value is near enough. Nothing is near NaN.
func (n Near) Ignore(actual, expected float64) bool {
	off := actual - expected
	if off >= 0 {
		return off <= math.Max(n.Above, n.AboveRatio*math.Abs(expected))
	}
	return -off <= math.Max(n.Below, n.BelowRatio*math.Abs(expected))
}

// Effect measures how far a value is off relative to the expected one, for a
// minimum effect size: |actual-expected| over |expected|, but over no less than
// Floor times the usual size of the values of the stream. So an expected 0 is no
// trap: 3 errors where none were expected are little in a stream that runs at
// 1,000 and much in one that never had any. The usual size is the root mean
// square with the given memory.
type Effect struct {
	floor float64
	size  Deviation
}

// mostEffect stands for infinitely much, in a number that JSON can carry.
const mostEffect = 1e9

// NewEffect returns an Effect that has seen nothing. Discount in [0,1) is the
// share of weight that a value loses with each later one; floor in [0,1] is the
// share of the usual size under which no expected value counts, 0.1 if unsure.
func NewEffect(discount, floor float64) Effect {
	return Effect{floor: floor, size: NewDeviation(discount)}
}

// Read returns the effect: 0 for a value as expected, 1 for one that is off by
// all that was expected, at most 1e9; 0 when a value is not finite.
func (e *Effect) Read(actual, expected float64) float64 {
	off := math.Abs(actual - expected)
	if !finite(off) || off == 0 {
		return 0
	}
	usual := math.Hypot(e.size.Mean(), e.size.SD())
	return math.Min(off/math.Max(math.Abs(expected), e.floor*usual), mostEffect)
}

// Learn takes in an actual value.
func (e *Effect) Learn(actual float64) { e.size.Learn(actual) }

// Update reads the effect and learns the value unless it is held.
func (e *Effect) Update(actual, expected float64, hold bool) float64 {
	effect := e.Read(actual, expected)
	if !hold {
		e.Learn(actual)
	}
	return effect
}

// AppendState appends the state to dst.
func (e *Effect) AppendState(dst []byte) []byte {
	c := save(dst, 'F')
	e.code(&c)
	return c.buf
}

func (e *Effect) code(c *coder) {
	c.setting("Floor", e.floor)
	e.size.code(c)
}

// LoadState reads what AppendState wrote and returns the bytes after it.
func (e *Effect) LoadState(src []byte) ([]byte, error) {
	c, next := load(src, 'F'), *e
	next.code(&c)
	if c.err == nil {
		*e = next
	}
	return c.done("effect")
}
