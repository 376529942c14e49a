package rcf

import (
	"cmp"
	"math"
	"slices"
)

// Neighbor is a point that some tree found closest to another.
type Neighbor struct {
	// Point is the neighbor, the oldest row first.
	Point []float64
	// Distance is the sum of the absolute differences of its values.
	Distance float64
	// Trees is how many trees found it.
	Trees int
}

// AppendNeighbors appends the points that the trees would put the next row
// beside, the nearest first and each once, at most limit of them. The forest
// stays as it was.
func (f *Forest) AppendNeighbors(dst []Neighbor, row []float64, limit int, p *Pass) ([]Neighbor, error) {
	if err := f.check(row); err != nil {
		return dst, err
	}
	p.fit(f)
	f.shingle(row, p)
	if !f.Ready() {
		return dst, nil
	}
	f.descendAll(p, 0, len(f.trees))
	var found []uint32
	for t := range f.trees {
		if p.tree = t; f.trees[t].size > 0 {
			found = append(found, uint32(f.arena[p.at(int(p.depths[t]))]>>32))
		}
	}
	slices.Sort(found)
	from := len(dst)
	for i, id := range found {
		if i > 0 && found[i-1] == id {
			dst[len(dst)-1].Trees++
			continue
		}
		n := Neighbor{Trees: 1}
		for d, x := range f.points.at(id) {
			n.Point = append(n.Point, float64(x))
			n.Distance += math.Abs(float64(x) - float64(p.point[d]))
		}
		dst = append(dst, n)
	}
	slices.SortStableFunc(dst[from:], func(a, b Neighbor) int {
		return cmp.Or(cmp.Compare(a.Distance, b.Distance), slices.Compare(a.Point, b.Point))
	})
	// Trees may hold the same point under several ids.
	out := dst[:from]
	for _, n := range dst[from:] {
		if last := len(out) - 1; last >= from && slices.Equal(out[last].Point, n.Point) {
			out[last].Trees += n.Trees
			continue
		}
		out = append(out, n)
	}
	return out[:min(len(out), from+max(limit, 0))], nil
}

// Density is what the trees say of how many points are how near.
type Density struct {
	// Value estimates the number of sampled points in a unit of space around the
	// point, relative to a sample of one.
	Value float64
	// MassHigh, MassLow, DistanceHigh and DistanceLow are, for each dimension,
	// the probability that the point is cut off above or below what the trees
	// hold, and that probability times the distance to it.
	MassHigh, MassLow, DistanceHigh, DistanceLow []float64
	// Measure is the mass that the point is cut off from.
	Measure float64
}

// densityFloor bounds the density where points coincide (AWS's default).
const densityFloor = 0.001

// Density interpolates the density of the sample at the next row (the simple
// interpolation of AWS's libraries). The forest stays as it was.
func (f *Forest) Density(row []float64, d *Density, p *Pass) error {
	if err := f.check(row); err != nil {
		return err
	}
	p.fit(f)
	f.shingle(row, p)
	for _, v := range []*[]float64{&d.MassHigh, &d.MassLow, &d.DistanceHigh, &d.DistanceLow} {
		*v = append((*v)[:0], make([]float64, f.dims)...)
	}
	d.Value, d.Measure = 0, 0
	if !f.Ready() {
		return nil
	}
	f.descendAll(p, 0, len(f.trees))
	trees := 0
	for t := range f.trees {
		if f.trees[t].size > 0 {
			f.walk(t, p)
			f.density(p, d)
			trees++
		}
	}
	n := float64(trees)
	sum := 0.0
	for i := range f.dims {
		d.MassHigh[i] /= n
		d.MassLow[i] /= n
		d.DistanceHigh[i] /= n
		d.DistanceLow[i] /= n
		if mass := d.MassHigh[i] + d.MassLow[i]; mass > 0 {
			distance := (d.DistanceHigh[i] + d.DistanceLow[i]) / mass
			sum += math.Pow(distance, float64(f.dims)) * mass
		}
	}
	d.Measure /= n
	if share := d.Measure / float64(f.opts.Samples); share > 0 {
		d.Value = share / (densityFloor*share + sum)
	}
	return nil
}

// density adds what the tree that p has walked says, the levels from the top.
func (f *Forest) density(p *Pass, d *Density) {
	keep := 1.0
	add := func(box []float32, chance, whole, mass float64) {
		d.Measure += keep * chance * mass
		for i, x := range p.point[:f.dims] {
			lower, upper := box[i], box[f.pad+i]
			below, above := gaps(x, lower, upper)
			side := float64(upper) - float64(lower)
			if above > 0 {
				d.MassHigh[i] += keep * above / whole
				d.DistanceHigh[i] += keep * above / whole * (above + side)
			} else if below > 0 {
				d.MassLow[i] += keep * below / whole
				d.DistanceLow[i] += keep * below / whole * (below + side)
			}
		}
		keep *= 1 - chance
	}
	end := float64(f.massOf(f.arena[p.at(p.depth)]))
	if p.equal {
		// As in blame, levels have the boxes of the siblings; top-down order needs
		// all of them first.
		f.densityEqual(p, d, end)
		return
	}
	for level := p.top; level < p.depth; level++ {
		add(f.met(p, level), p.cutOff[level], p.whole[level], float64(f.massOf(f.arena[p.at(level)]))+1)
	}
	copy(p.nearby, p.near)
	copy(p.nearby[f.pad:], p.near)
	_, whole := f.chance(p.point, p.nearby)
	add(p.nearby, 1, whole, end+1)
}

// densityEqual is density for a point that the tree holds: what is known is
// that of its mass, and of the distance to what is beside it.
func (f *Forest) densityEqual(p *Pass, d *Density, end float64) {
	// From the leaf up; a level keeps what 1-chance leaves of those below.
	saved := end + 1
	measure := saved
	mass := make([]float64, 4*f.dims)
	for i := range f.dims {
		mass[i], mass[f.dims+i] = 0.5/float64(f.dims), 0.5/float64(f.dims)
	}
	for level := p.depth - 1; level >= 0; level-- {
		f.siblings(p, level)
		chance, whole := f.chance(p.point, p.nearby)
		if chance == 0 {
			break
		}
		measure = chance*(float64(f.massOf(f.arena[p.at(level)]))+saved) + (1-chance)*measure
		for i := range mass {
			mass[i] *= 1 - chance
		}
		for i, x := range p.point[:f.dims] {
			lower, upper := p.nearby[i], p.nearby[f.pad+i]
			below, above := gaps(x, lower, upper)
			side := float64(upper) - float64(lower)
			if above > 0 {
				mass[i] += above / whole
				mass[2*f.dims+i] += above / whole * (above + side)
			} else if below > 0 {
				mass[f.dims+i] += below / whole
				mass[3*f.dims+i] += below / whole * (below + side)
			}
		}
	}
	d.Measure += measure
	for i := range f.dims {
		d.MassHigh[i] += mass[i]
		d.MassLow[i] += mass[f.dims+i]
		d.DistanceHigh[i] += mass[2*f.dims+i]
		d.DistanceLow[i] += mass[3*f.dims+i]
	}
}

// siblings adds to p.nearby the box of what is beside the way at a level,
// going up from the leaf; the first call starts it.
func (f *Forest) siblings(p *Pass, level int) {
	base, beside := uint32(p.tree*f.slots), p.at(level+1)^1
	if level == p.depth-1 {
		copy(p.nearby, f.bounds(base, beside, p.nearby, p))
		return
	}
	f.kernels.Union(p.nearby, f.bounds(base, beside, p.beside, p))
}
