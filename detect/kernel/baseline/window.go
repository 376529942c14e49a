package baseline

import (
	"errors"
	"math"
	"slices"
)

// window keeps the last values in the order they came and in order of size, so
// that every quantile is exact. A value costs two binary searches and a move
// of at most 8 bytes times its size; 512 values are one page.
type window struct {
	ring   []float64 // all of them, oldest at head once it is full
	sorted []float64
	head   int
}

func newWindow(size int) window {
	return window{ring: make([]float64, 0, size), sorted: make([]float64, 0, size)}
}

func (w *window) len() int { return len(w.sorted) }

func (w *window) push(v float64) {
	if len(w.ring) < cap(w.ring) {
		w.ring = append(w.ring, v)
		i, _ := slices.BinarySearch(w.sorted, v)
		w.sorted = w.sorted[:len(w.sorted)+1]
		copy(w.sorted[i+1:], w.sorted[i:])
		w.sorted[i] = v
		return
	}
	old := w.ring[w.head]
	w.ring[w.head] = v
	if w.head++; w.head == len(w.ring) {
		w.head = 0
	}
	i, _ := slices.BinarySearch(w.sorted, old)
	j, _ := slices.BinarySearch(w.sorted, v)
	if j > i {
		copy(w.sorted[i:], w.sorted[i+1:j])
		w.sorted[j-1] = v
		return
	}
	copy(w.sorted[j+1:], w.sorted[j:i])
	w.sorted[j] = v
}

// keep forgets all but the last n values.
func (w *window) keep(n int) {
	size := len(w.ring)
	if n >= size {
		return
	}
	slices.Reverse(w.ring[:w.head])
	slices.Reverse(w.ring[w.head:])
	slices.Reverse(w.ring)
	copy(w.ring, w.ring[size-n:])
	w.ring, w.head = w.ring[:n], 0
	w.sorted = append(w.sorted[:0], w.ring...)
	slices.Sort(w.sorted)
}

func (w *window) median() float64 { return middle(w.sorted) }

// spread is a robust standard deviation around the median: 1.4826 times the
// median absolute deviation, or, where more than half of the values are equal,
// 1.2533 times the mean absolute deviation (Iglewicz and Hoaglin, How to Detect
// and Handle Outliers, 1993). Both equal the standard deviation of a normal
// distribution.
func (w *window) spread(median float64) float64 {
	n := len(w.sorted)
	if n == 0 {
		return 0
	}
	if mad := (w.nearest((n-1)/2, median) + w.nearest(n/2, median)) / 2; mad > 0 {
		return 1.4826 * mad
	}
	sum := 0.0
	for _, v := range w.sorted {
		sum += math.Abs(v - median)
	}
	return 1.2533 * sum / float64(n)
}

// nearest returns the distance of the k-th nearest value to the centre, from 0.
// Distances fall to the centre on its left and rise on its right, so that this
// is a selection from two sorted lists.
func (w *window) nearest(k int, centre float64) float64 {
	p, _ := slices.BinarySearch(w.sorted, centre)
	left, right := w.sorted[:p], w.sorted[p:]
	low, high := max(0, k+1-len(right)), min(k+1, len(left))
	for low < high {
		a := (low + high) / 2
		if centre-left[p-1-a] < right[k-a]-centre {
			low = a + 1
		} else {
			high = a
		}
	}
	d := 0.0
	if low > 0 {
		d = centre - left[p-low]
	}
	if b := k + 1 - low; b > 0 {
		d = max(d, right[b-1]-centre)
	}
	return d
}

// middle is the median of values in order of size.
func middle(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// quantile interpolates between the two nearest of the values in order of size
// (Hyndman and Fan, Sample Quantiles, 1996, type 7).
func quantile(sorted []float64, q float64) float64 {
	h := q * float64(len(sorted)-1)
	i := int(h)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (h-float64(i))*(sorted[i+1]-sorted[i])
}

func (w *writer) window(v *window) {
	w.u32(uint32(len(v.ring)))
	w.u32(uint32(v.head))
	for _, x := range v.ring {
		w.f64(x)
	}
}

func (r *reader) window(v *window) {
	n := r.count(cap(v.ring))
	v.head = r.count(n)
	if v.head > 0 && (v.head >= n || n < cap(v.ring)) {
		r.fail(errors.New("state holds a window that is not in order"))
		return
	}
	for range n {
		v.ring = append(v.ring, r.f64())
		if r.err != nil {
			return
		}
	}
	v.sorted = append(v.sorted[:0], v.ring...)
	slices.Sort(v.sorted)
}
