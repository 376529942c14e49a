package detector

import (
	"math"

	"github.com/fettleops/fettle/detect/kernel/rcf"
)

// scratch is memory for one point, that holds nothing between points.
type scratch struct {
	pass       rcf.Pass
	row        []float64 // the point as forests see it
	values     []float64 // the point's, within ±widest
	filled     []float64 // these with missing values filled in
	deviations []float64
	blame      []float64 // of one member
}

// borrow returns the reading's memory, for points of dims values.
func (r *Reading) borrow(dims int) *scratch {
	if r.scratch == nil {
		r.scratch = &scratch{}
	}
	s := r.scratch
	s.row, s.filled, s.deviations = zeroed(s.row, dims), zeroed(s.filled, dims), zeroed(s.deviations, dims)
	s.values, s.blame = zeroed(s.values, dims), zeroed(s.blame, dims)
	return s
}

func unknown(s []float64, n int) []float64 {
	if cap(s) < n {
		s = make([]float64, n)
	}
	s = s[:n]
	for i := range s {
		s[i] = math.NaN()
	}
	return s
}

func zeroed(s []float64, n int) []float64 {
	if cap(s) < n {
		return make([]float64, n)
	}
	s = s[:n]
	clear(s)
	return s
}
