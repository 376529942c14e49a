package threshold

import (
	"errors"
	"math"
)

// NormalizerSettings say how a Normalizer scales.
type NormalizerSettings struct {
	// Discount is the share of weight that a value loses with each later one.
	// Defaults to 1/256.
	Discount float64
	// Epsilon is what is added to the standard deviation, as a share of the
	// stream's own scale. Defaults to 0.01.
	Epsilon float64
	// Clip is the largest result either way. Defaults to 100.
	Clip float64
}

// Normalizer maps a value to how many standard deviations it lies from the
// mean: (x-mean)/(sd + Epsilon*scale), within ±Clip. AWS adds 1.0 instead,
// which leaves a ratio that lives in [0,1] nearly unscaled and bytes scaled
// freely; here the result does not depend on the unit. The scale is the
// standard deviation over ten times the memory plus 1e-4 of the root mean
// square, so that a stream that has been still for a while is not divided by
// nothing, and rounding in a constant stream is no event. A value that is not
// finite reads as NaN.
type Normalizer struct {
	settings NormalizerSettings
	near     Deviation
	far      Deviation
}

// NewNormalizer returns an empty Normalizer.
func NewNormalizer(s NormalizerSettings) (*Normalizer, error) {
	s.Discount = orDefault(s.Discount, 1.0/256)
	s.Epsilon = orDefault(s.Epsilon, 0.01)
	s.Clip = orDefault(s.Clip, 100)
	if err := errors.Join(
		within("normalizer", "Discount", s.Discount, 0, 0.5),
		within("normalizer", "Epsilon", s.Epsilon, 0, 10),
		within("normalizer", "Clip", s.Clip, 1e-3, 1e9),
	); err != nil {
		return nil, err
	}
	return &Normalizer{settings: s, near: NewDeviation(s.Discount), far: NewDeviation(s.Discount / 10)}, nil
}

// width is what a result of 1 means in the stream's unit.
func (n *Normalizer) width() float64 {
	scale := n.far.SD() + 1e-4*math.Hypot(n.far.Mean(), n.far.SD())
	return n.near.SD() + n.settings.Epsilon*scale
}

// Read returns the scaled value. Before anything is learned it is 0; in a
// stream of zeros everything else is ±Clip.
func (n *Normalizer) Read(x float64) float64 {
	if !finite(x) {
		return math.NaN()
	}
	off := x - n.near.Mean()
	if n.near.Weight() == 0 || off == 0 {
		return 0
	}
	return clamp(off/n.width(), -n.settings.Clip, n.settings.Clip)
}

// Restore is the inverse of Read for results within ±Clip: the value that now
// reads as z.
func (n *Normalizer) Restore(z float64) float64 { return n.near.Mean() + z*n.width() }

// Learn takes in a value.
func (n *Normalizer) Learn(x float64) {
	n.near.Learn(x)
	n.far.Learn(x)
}

// Update reads the value and learns it unless it is held.
func (n *Normalizer) Update(x float64, hold bool) float64 {
	z := n.Read(x)
	if !hold {
		n.Learn(x)
	}
	return z
}

func (n *Normalizer) code(c *coder) {
	c.setting("Epsilon", n.settings.Epsilon)
	c.setting("Clip", n.settings.Clip)
	n.near.code(c)
	n.far.code(c)
}

// AppendState appends the state to dst.
func (n *Normalizer) AppendState(dst []byte) []byte {
	c := save(dst, 'N')
	n.code(&c)
	return c.buf
}

// LoadState reads what AppendState wrote and returns the bytes after it.
func (n *Normalizer) LoadState(src []byte) ([]byte, error) {
	c, next := load(src, 'N'), *n
	next.code(&c)
	if c.err == nil {
		*n = next
	}
	return c.done("normalizer")
}
