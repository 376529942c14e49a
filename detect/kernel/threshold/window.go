package threshold

import (
	"math"
	"slices"
)

// window holds the latest values twice: in the order of arrival and sorted, so
// that any quantile and any rank is exact. A value costs two binary searches
// and one move within the sorted slice, half its length on average: some 100 ns
// at 1,024 values.
type window struct {
	ring   []float64
	sorted []float64
	next   int
}

func newWindow(size int) window {
	return window{ring: make([]float64, 0, size), sorted: make([]float64, 0, size)}
}

// push takes in a finite value and forgets the oldest when full.
func (w *window) push(x float64) {
	x += 0 // -0 becomes 0, so that equal values have equal bits
	if len(w.ring) < cap(w.ring) {
		w.ring = append(w.ring, x)
		at := w.below(x)
		w.sorted = slices.Insert(w.sorted, at, x)
		return
	}
	old := w.ring[w.next]
	w.ring[w.next] = x
	if w.next++; w.next == len(w.ring) {
		w.next = 0
	}
	from := w.below(old)
	to := w.below(x)
	if to > from {
		to-- // the place once the old value is gone
		copy(w.sorted[from:to], w.sorted[from+1:to+1])
	} else {
		copy(w.sorted[to+1:from+1], w.sorted[to:from])
	}
	w.sorted[to] = x
}

// atLeast counts the values that are x or more.
func (w *window) atLeast(x float64) int {
	return len(w.sorted) - w.below(x)
}

// below counts the values that are less than x. There is no NaN here, which
// saves slices.BinarySearch's tests for it.
func (w *window) below(x float64) int {
	s, from, n := w.sorted, 0, len(w.sorted)
	for n > 0 {
		half := n / 2
		if s[from+half] < x {
			from += half + 1
			n -= half + 1
		} else {
			n = half
		}
	}
	return from
}

// above counts the values that are more than x.
func (w *window) above(x float64) int { return w.atLeast(math.Nextafter(x, math.Inf(1))) }

// quantile interpolates linearly between the values about the share p (type 7
// of Hyndman and Fan 1996); NaN when there is no value.
func (w *window) quantile(p float64) float64 {
	n := len(w.sorted)
	if n == 0 {
		return math.NaN()
	}
	at := p * float64(n-1)
	i := int(at)
	if i >= n-1 {
		return w.sorted[n-1]
	}
	low, high := w.sorted[i], w.sorted[i+1]
	share := at - float64(i)
	return low*(1-share) + high*share
}

func (w *window) code(c *coder) {
	size, n := cap(w.ring), len(w.ring)
	c.setting("Window", float64(size))
	c.int(&n, size)
	c.int(&w.next, size-1)
	if c.load {
		if c.err != nil {
			return
		}
		w.ring = make([]float64, n, size)
	}
	c.floats(w.ring)
	if c.load {
		w.sorted = append(make([]float64, 0, size), w.ring...)
		slices.Sort(w.sorted)
	}
}
