package evaluate

import (
	"cmp"
	"math"
	"slices"
)

// Ranking orders the rows of a set by one detector's scores, so that every
// measure can try thresholds without sorting again. It is immutable and safe
// for concurrent use.
type Ranking struct {
	set     *Set
	offsets []int     // first row of each series among all rows, and their number
	scores  []float64 // by row
	order   []int32   // rows, the highest score first
}

// Rank takes the scores of each series, in the set's order and of its length.
// A score that is NaN is below every threshold. It panics when a length is
// wrong.
func Rank(set *Set, scores [][]float64) *Ranking {
	r := &Ranking{set: set, offsets: []int{0}, scores: make([]float64, 0, set.Rows())}
	for i := range set.Series {
		if s := &set.Series[i]; len(scores[i]) != len(s.Values) {
			panic("evaluate: " + s.Name + " needs one score a row")
		}
		r.scores = append(r.scores, scores[i]...)
		r.offsets = append(r.offsets, len(r.scores))
	}
	type scored struct {
		score float64
		row   int32
	}
	sorted := make([]scored, 0, len(r.scores)) // beside each other, which halves the time of the sort
	for i, s := range r.scores {
		if !math.IsNaN(s) {
			sorted = append(sorted, scored{s, int32(i)})
		}
	}
	slices.SortFunc(sorted, func(a, b scored) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return cmp.Compare(a.row, b.row)
	})
	r.order = make([]int32, len(sorted))
	for i, s := range sorted {
		r.order[i] = s.row
	}
	return r
}

// bySeries splits the order: the rows of each series that lie behind its
// skipped part, counted within the series, the highest score first.
func (r *Ranking) bySeries() [][]int32 {
	series := make([]int32, len(r.scores))
	out := make([][]int32, len(r.set.Series))
	for i := range out {
		rows := series[r.offsets[i]:r.offsets[i+1]]
		for k := range rows {
			rows[k] = int32(i)
		}
		out[i] = make([]int32, 0, len(rows))
	}
	for _, row := range r.order {
		i := series[row]
		if local := int(row) - r.offsets[i]; local >= Skipped(r.offsets[i+1]-r.offsets[i]) {
			out[i] = append(out[i], int32(local))
		}
	}
	return out
}

// of is the scores of one series.
func (r *Ranking) of(series int) []float64 {
	return r.scores[r.offsets[series]:r.offsets[series+1]]
}
