package threshold

import "math"

// Deviation is the mean and the standard deviation of a stream in which a value
// loses the share Discount of its weight with each later one, so that about the
// last 1/Discount values count; with Discount 0 all count alike. It is the
// Deviation of AWS's ThresholdedRandomCutForest, kept as a mean and a sum of
// squares about it (West 1979) because sums of squares of values such as
// 1e9±1 lose every digit that matters. Its zero value is ready and forgets
// nothing. Units are those of the values.
type Deviation struct {
	discount, weight, mean, squares float64
}

// NewDeviation returns an empty Deviation; discount is in [0,1).
func NewDeviation(discount float64) Deviation { return Deviation{discount: discount} }

// Learn takes in a value. It ignores one that is not finite.
func (d *Deviation) Learn(x float64) {
	if !finite(x) {
		return
	}
	keep := 1 - d.discount
	weight := d.weight*keep + 1
	step := x - d.mean
	mean := d.mean + step/weight
	squares := d.squares*keep + step*(x-mean)
	if !finite(mean) || !finite(squares) {
		return // beyond what float64 can hold: 1e200 squared
	}
	d.weight, d.mean, d.squares = weight, mean, squares
}

// Mean returns the mean, 0 before the first value.
func (d *Deviation) Mean() float64 { return d.mean }

// Update returns the mean before the value and learns it unless it is held.
func (d *Deviation) Update(x float64, hold bool) (mean float64) {
	mean = d.mean
	if !hold {
		d.Learn(x)
	}
	return mean
}

// SD returns the population standard deviation, 0 before the second value.
func (d *Deviation) SD() float64 {
	if d.weight == 0 {
		return 0
	}
	return math.Sqrt(math.Max(0, d.squares/d.weight))
}

// Weight returns the sum of the weights: the number of values while few, then
// near 1/Discount.
func (d *Deviation) Weight() float64 { return d.weight }

func (d *Deviation) code(c *coder) {
	c.setting("Discount", d.discount)
	c.float(&d.weight)
	c.float(&d.mean)
	c.float(&d.squares)
}

// AppendState appends the state to dst.
func (d *Deviation) AppendState(dst []byte) []byte {
	c := save(dst, 'V')
	d.code(&c)
	return c.buf
}

// LoadState reads what AppendState wrote and returns the bytes after it.
func (d *Deviation) LoadState(src []byte) ([]byte, error) {
	c, next := load(src, 'V'), *d
	next.code(&c)
	if c.err == nil {
		*d = next
	}
	return c.done("deviation")
}
