package rcf

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Estimate is what a forest makes of values that it was not given. The slices
// are used again by the next call, so that it allocates nothing.
type Estimate struct {
	// Value is the median of what the trees say, for each value asked for; Low
	// and High are their 10th and 90th percentiles.
	Value, Low, High []float64

	guesses []guess
	sorted  []float32
	missing []bool
	point   []float32 // with what is missing filled in from the last leaf
	query   []float32
	filled  uint32 // that leaf's point plus 1
}

// guess is what one tree says: the point whose values it would fill in and how
// far that is from what is known.
type guess struct {
	id       uint32
	distance float32
}

// Impute estimates the values of the next row that are NaN; e gets the whole
// row, where what was given has its own value as band. The forest stays as it
// was. While the forest is not ready the estimates are NaN.
//
// Each tree is followed down both ways at a cut in a missing value; the leaf
// that, filled in, makes the least strange point is its guess. The trees whose
// guess is closest in what is known, a third of them, are summarised.
func (f *Forest) Impute(row []float64, e *Estimate, p *Pass) error {
	if err := f.checkPartial(row); err != nil {
		return err
	}
	e.Value, e.Low, e.High = e.Value[:0], e.Low[:0], e.High[:0]
	p.fit(f)
	f.shingle(row, p)
	e.fit(f, p)
	from := f.dims - len(row)
	for i, x := range row {
		e.missing[from+i] = math.IsNaN(x)
	}
	f.impute(e, p, from)
	return nil
}

func (f *Forest) checkPartial(row []float64) error {
	if len(row) != f.points.width {
		return fmt.Errorf("%w: it has %d values: must have %d", ErrRow, len(row), f.points.width)
	}
	for i, x := range row {
		if math.Abs(x) > math.MaxFloat32 {
			return fmt.Errorf("%w: value %d is %v: must be a number within float32, or NaN for a missing one", ErrRow, i, x)
		}
	}
	return nil
}

// Forecast estimates the next horizon rows, one behind the other in e, each
// from the estimates before it. The shingle must be longer than a row and kept
// by the forest. The forest stays as it was. While it is not ready the
// estimates are NaN.
func (f *Forest) Forecast(horizon int, e *Estimate, p *Pass) error {
	width := f.points.width
	if f.points.span < 2 {
		return fmt.Errorf("rcf: no forecast from points of one row: a forest forecasts with a Shingle of 2 or more and not External")
	}
	if horizon < 1 {
		return fmt.Errorf("rcf: the horizon is %d: must be 1 or more", horizon)
	}
	e.Value, e.Low, e.High = e.Value[:0], e.Low[:0], e.High[:0]
	p.fit(f)
	f.shingle(nil, p)
	e.fit(f, p)
	from := f.dims - width
	for i := range width {
		e.missing[from+i] = true
	}
	for range horizon {
		f.impute(e, p, from)
		for i, x := range e.Value[len(e.Value)-width:] {
			e.query[from+i] = float32(x)
		}
		copy(e.query, e.query[width:f.dims])
	}
	return nil
}

func (e *Estimate) fit(f *Forest, p *Pass) {
	if len(e.point) != f.pad {
		e.point, e.query, e.missing = make([]float32, f.pad), make([]float32, f.pad), make([]bool, f.pad)
	}
	copy(e.query, p.point)
	clear(e.missing)
	e.filled = 0
}

// impute appends estimates of the dimensions of the query from the given one on.
func (f *Forest) impute(e *Estimate, p *Pass, from int) {
	ready := f.Ready()
	e.guesses = e.guesses[:0]
	if ready && slices.Contains(e.missing, true) {
		clear(e.point[f.dims:])
		for t := range f.trees {
			if f.trees[t].size > 0 {
				copy(e.point, e.query)
				e.filled = 0
				g, _, _ := f.guess(e, p, uint32(t*f.slots), uint32(t*f.slots), 0)
				e.guesses = append(e.guesses, g)
			}
		}
		slices.SortFunc(e.guesses, func(a, b guess) int {
			return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.id, b.id))
		})
		limit := e.guesses[len(e.guesses)/3].distance
		n := len(e.guesses)
		for n > 0 && e.guesses[n-1].distance > limit {
			n--
		}
		e.guesses = e.guesses[:n]
	}
	for d := from; d < f.dims; d++ {
		switch {
		case !e.missing[d]:
			x := float64(e.query[d])
			e.Value, e.Low, e.High = append(e.Value, x), append(e.Low, x), append(e.High, x)
		case !ready:
			e.Value, e.Low, e.High = append(e.Value, math.NaN()), append(e.Low, math.NaN()), append(e.High, math.NaN())
		default:
			e.sorted = e.sorted[:0]
			for _, g := range e.guesses {
				e.sorted = append(e.sorted, f.points.at(g.id)[d])
			}
			slices.Sort(e.sorted)
			at := func(q float64) float64 { return float64(e.sorted[int(q*float64(len(e.sorted)-1)+0.5)]) }
			e.Value, e.Low, e.High = append(e.Value, at(0.5)), append(e.Low, at(0.1)), append(e.High, at(0.9))
		}
	}
}

// guess finds the least strange way to fill in the query under slot at, its
// rank (lower is less strange), and whether the boxes above contain it.
func (f *Forest) guess(e *Estimate, p *Pass, base, at uint32, depth int) (g guess, rank float64, inside bool) {
	slot := f.arena[at]
	pair := f.pairOf(slot)
	if pair == 0 {
		g = guess{id: uint32(slot >> 32)}
		for d, x := range f.points.at(g.id) {
			if !e.missing[d] {
				g.distance += float32(math.Abs(float64(x) - float64(e.query[d])))
			}
		}
		if g.distance > 0 {
			return g, 1 / float64(depth+1), false
		}
		// The filled point is the leaf's, so every box above contains it.
		if depth == 0 {
			return g, 0, true
		}
		return g, 1 / (float64(depth) + math.Log2(1+float64(f.massOf(slot)))), true
	}
	left, right := base+2*pair, base+2*pair+1
	if dim := uint32(slot) & f.dimMask; e.missing[dim] {
		g, rank, inside = f.guess(e, p, base, left, depth+1)
		if other, otherRank, otherInside := f.guess(e, p, base, right, depth+1); otherRank < rank {
			g, rank, inside = other, otherRank, otherInside
		}
	} else if e.query[dim] > math.Float32frombits(uint32(slot>>32)) {
		g, rank, inside = f.guess(e, p, base, right, depth+1)
	} else {
		g, rank, inside = f.guess(e, p, base, left, depth+1)
	}
	if inside {
		return g, rank, true
	}
	if e.filled != g.id+1 {
		for d, x := range f.points.at(g.id) {
			if e.missing[d] {
				e.point[d] = x
			}
		}
		e.filled = g.id + 1
	}
	chance, _ := f.chance(e.point, f.bounds(base, at, p.nearby, p))
	rank += chance * (1/float64(depth+1) - rank)
	return g, rank, chance == 0
}
