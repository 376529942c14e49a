package threshold

import (
	"errors"
	"math"
)

// ExpectedSettings say how an Expected makes its bands.
type ExpectedSettings struct {
	// Features is the number of values of a point. Defaults to 1.
	Features int
	// Coverage is the share of values that are to lie within their band.
	// Defaults to 0.9.
	Coverage float64
	// Discount is the share of weight that an error loses with each later one.
	// Defaults to 1/512.
	Discount float64
}

// Interval is the expected value of a feature and its band, in the feature's
// unit.
type Interval struct {
	Expected, Low, High float64
}

// Expected turns forecasts into expected values with a band that holds what it
// promises, from the errors of past forecasts: the expected value is the
// forecast plus the mean error, and the band reaches some deviations of the
// errors below the mean down and of those above it up, after the calibration of
// AWS's RCFCaster (mean error ± 1.3 one-sided deviations, widened when coverage
// is poor). In place of its widening rule, the number of deviations on each side
// follows adaptive conformal inference (Gibbs and Candès 2021): a value outside
// widens that side, one inside narrows it a little, so that in the long run
// (1-Coverage)/2 of the values lie beyond each side, whatever their
// distribution. Each feature is on its own.
type Expected struct {
	settings ExpectedSettings
	features []band
}

// band is the state of one feature.
type band struct {
	mean     Deviation // of the errors
	above    Deviation // of their squares, where above the mean
	below    Deviation
	up, down float64 // half widths in one-sided deviations
}

const (
	conformalStep = 0.05 // of the logarithm of the width, per value
	leastWidth    = 0.05
	mostWidth     = 50.0
)

// NewExpected returns an Expected that has seen nothing.
func NewExpected(s ExpectedSettings) (*Expected, error) {
	if s.Features == 0 {
		s.Features = 1
	}
	s.Coverage = orDefault(s.Coverage, 0.9)
	s.Discount = orDefault(s.Discount, 1.0/512)
	if err := errors.Join(
		within("expected", "Features", float64(s.Features), 1, 64),
		within("expected", "Coverage", s.Coverage, 0.5, 0.999),
		within("expected", "Discount", s.Discount, 0, 0.5),
	); err != nil {
		return nil, err
	}
	e := &Expected{settings: s, features: make([]band, s.Features)}
	normal := math.Sqrt2 * math.Erfinv(s.Coverage)
	for i := range e.features {
		e.features[i] = band{
			mean: NewDeviation(s.Discount), above: NewDeviation(s.Discount), below: NewDeviation(s.Discount),
			up: normal, down: normal,
		}
	}
	return e, nil
}

// Read returns the interval of a feature for its forecast. The band has no
// width before two errors are known; a forecast that is not finite reads as NaN
// throughout.
func (e *Expected) Read(feature int, forecast float64) Interval {
	if !finite(forecast) {
		return Interval{math.NaN(), math.NaN(), math.NaN()}
	}
	b := &e.features[feature]
	center := forecast + b.mean.Mean()
	return Interval{
		Expected: center,
		Low:      center - b.down*math.Sqrt(b.below.Mean()),
		High:     center + b.up*math.Sqrt(b.above.Mean()),
	}
}

// Deviation returns the standard deviation of the errors of a feature, in its
// unit.
func (e *Expected) Deviation(feature int) float64 { return e.features[feature].mean.SD() }

// Learn takes in what came of a forecast. It ignores a pair that is not finite.
func (e *Expected) Learn(feature int, forecast, actual float64) {
	off := actual - forecast
	if !finite(off) {
		return
	}
	b := &e.features[feature]
	if b.mean.Weight() >= 2 {
		was := e.Read(feature, forecast)
		beyond := (1 - e.settings.Coverage) / 2
		b.up = widen(b.up, actual > was.High, beyond)
		b.down = widen(b.down, actual < was.Low, beyond)
	}
	b.mean.Learn(off)
	side := off - b.mean.Mean()
	if side >= 0 {
		b.above.Learn(side * side)
	}
	if side <= 0 {
		b.below.Learn(side * side)
	}
}

func widen(width float64, outside bool, beyond float64) float64 {
	step := -conformalStep * beyond
	if outside {
		step += conformalStep
	}
	return clamp(width*math.Exp(step), leastWidth, mostWidth)
}

// Update reads the interval and learns the pair unless the point is held.
func (e *Expected) Update(feature int, forecast, actual float64, hold bool) Interval {
	i := e.Read(feature, forecast)
	if !hold {
		e.Learn(feature, forecast, actual)
	}
	return i
}

func (e *Expected) code(c *coder) {
	c.setting("Features", float64(e.settings.Features))
	c.setting("Coverage", e.settings.Coverage)
	for i := range e.features {
		b := &e.features[i]
		b.mean.code(c)
		b.above.code(c)
		b.below.code(c)
		c.float(&b.up)
		c.float(&b.down)
	}
}

// AppendState appends the state to dst.
func (e *Expected) AppendState(dst []byte) []byte {
	c := save(dst, 'E')
	e.code(&c)
	return c.buf
}

// LoadState reads what AppendState wrote and returns the bytes after it.
func (e *Expected) LoadState(src []byte) ([]byte, error) {
	c, next := load(src, 'E'), *e
	next.features = append([]band(nil), e.features...)
	next.code(&c)
	if c.err == nil {
		*e = next
	}
	return c.done("expected")
}
