package threshold

import (
	"errors"
	"math"
)

// PercentileSettings say how a Percentile alarms.
type PercentileSettings struct {
	// Level is the share of values that are not to alarm. Defaults to 0.95.
	Level float64
	// Window is the number of latest values that count, 1<<17 at most.
	// Defaults to 1440, a day of minutes; 30 days of minutes are 43200. Each
	// takes 16 bytes, and a value moves half of them by one place: 43200 are
	// 690 KB and several microseconds per value.
	Window int
}

// Percentile is the plain rule: what lies above the 95th percentile of the last
// values alarms. The percentile is exact, not an estimate. The rule is here for
// those who ask for it: by its own definition it alarms on one value in twenty
// whatever happens, 72 times a day and series on pure noise at one point per
// minute. SPOT and Grader do not. A value that is not finite does not alarm.
type Percentile struct {
	level float64
	last  window
}

// NewPercentile returns a Percentile that has seen nothing.
func NewPercentile(s PercentileSettings) (*Percentile, error) {
	s.Level = orDefault(s.Level, 0.95)
	if s.Window == 0 {
		s.Window = 1440
	}
	if err := errors.Join(
		within("percentile", "Level", s.Level, 0.5, 0.9999),
		within("percentile", "Window", float64(s.Window), 1/(1-s.Level), 1<<17),
	); err != nil {
		return nil, err
	}
	return &Percentile{level: s.Level, last: newWindow(s.Window)}, nil
}

// Threshold returns the percentile, +Inf until there are 1/(1-Level) values,
// 20 for the 95th.
func (p *Percentile) Threshold() float64 {
	// The product is compared a little low: 20*(1-0.95) is just above 1 or
	// just below by rounding.
	if float64(len(p.last.ring))*(1-p.level) < 1-1e-9 {
		return math.Inf(1)
	}
	return p.last.quantile(p.level)
}

// Alarm reports whether the value lies above the percentile of those before.
func (p *Percentile) Alarm(x float64) bool { return finite(x) && x > p.Threshold() }

// Learn takes in a value.
func (p *Percentile) Learn(x float64) {
	if finite(x) {
		p.last.push(x)
	}
}

// Update reports whether the value alarms and learns it unless it is held.
func (p *Percentile) Update(x float64, hold bool) (alarm bool) {
	alarm = p.Alarm(x)
	if !hold {
		p.Learn(x)
	}
	return alarm
}

func (p *Percentile) code(c *coder) {
	c.setting("Level", p.level)
	p.last.code(c)
}

// AppendState appends the state to dst.
func (p *Percentile) AppendState(dst []byte) []byte {
	c := save(dst, 'P')
	p.code(&c)
	return c.buf
}

// LoadState reads what AppendState wrote and returns the bytes after it.
func (p *Percentile) LoadState(src []byte) ([]byte, error) {
	c, next := load(src, 'P'), *p
	next.code(&c)
	if c.err == nil {
		*p = next
	}
	return c.done("percentile")
}
