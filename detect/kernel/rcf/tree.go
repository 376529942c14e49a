package rcf

import "math"

// A tree is an array of slots of 8 bytes. Slot 0 is the root; the children of
// a node are the two slots of a pair, so one index names both, and the way down
// is: slot = 2*pair + (point[dim] > cut). The pair of a node also names its
// box, so that a node may move to another slot without its box.
//
// The high half of a slot is the cut of a node, as float32 bits, or the point
// of a leaf; the low half is packed as the layout says: dimension, pair (0 in
// a leaf) and mass, counted from 2 in a node and from 1 in a leaf.

func (l *layout) pairOf(slot uint64) uint32 { return uint32(slot) >> l.dimBits & l.pairMask }

func (l *layout) massOf(slot uint64) int {
	mass := int(uint32(slot)>>l.massShift) + 1
	if l.pairOf(slot) != 0 {
		mass++
	}
	return mass
}

func (l *layout) node(cut float32, dim int, pair uint32, mass int) uint64 {
	return uint64(math.Float32bits(cut))<<32 | uint64(uint32(mass-2)<<l.massShift|pair<<l.dimBits|uint32(dim))
}

func leaf(id uint32) uint64 { return uint64(id) << 32 }

// descend follows the cuts from the root to the leaf for p and notes the slots
// on the way, the leaf's included. It returns the depth of the leaf.
func (l *layout) descend(slots []uint64, p []float32, path []uint32) int {
	at, depth := uint32(0), 0
	for {
		path[depth] = at
		slot := slots[at]
		pair := l.pairOf(slot)
		if pair == 0 {
			return depth
		}
		at = 2 * pair
		if p[uint32(slot)&l.dimMask] > math.Float32frombits(uint32(slot>>32)) {
			at++
		}
		depth++
	}
}

func (f *Forest) slotsOf(t int) []uint64 {
	from := t * f.slots
	return f.arena[from : from+f.slots : from+f.slots]
}

func (f *Forest) box(t int, pair uint32) []float32 {
	from := (t*(f.opts.Samples+1) + int(pair)) * 2 * f.pad
	return f.boxes[from : from+2*f.pad : from+2*f.pad]
}

// clear makes every pair of a tree free.
func (f *Forest) clear(t int) {
	slots := f.slotsOf(t)
	for pair := 1; pair <= f.opts.Samples; pair++ {
		slots[2*pair] = uint64(pair + 1)
	}
	f.trees[t].free = 1
}

// plant makes the first point of a tree its root.
func (f *Forest) plant(t int, id uint32) {
	f.slotsOf(t)[0] = leaf(id)
	f.points.holds.add(id, 1)
}

// insert adds the point that pass p went down the tree with. Where it is cut
// off from what is there is drawn as if from the top: at each level outside of
// whose box the point is, with the chance excess/(span+excess). This gives the
// distribution of a tree built anew (Guha et al., theorem on insertion). It
// returns the id under which the tree holds the point: an older one if that is
// equal.
func (f *Forest) insert(t int, p *Pass, id uint32) uint32 {
	slots, tr, l := f.slotsOf(t), &f.trees[t], &f.layout
	if p.equal {
		for _, at := range p.path[:p.depth+1] {
			slots[at] += 1 << l.massShift
		}
		return uint32(slots[p.path[p.depth]] >> 32)
	}
	level := p.top
	for level < p.depth && tr.uniform() >= p.cutOff[level] {
		level++
	}
	at := p.path[level]
	old := slots[at]
	pair := tr.free
	tr.free = uint32(slots[2*pair])
	box := f.box(t, pair)
	if level == p.depth {
		copy(box, p.near)
		copy(box[f.pad:], p.near)
	} else {
		copy(box, f.box(t, l.pairOf(old)))
	}
	dim, cut, right := f.draw(tr, p.point, box)
	f.kernels.Grow(box, p.point)
	slots[2*pair+right], slots[2*pair+1-right] = leaf(id), old
	slots[at] = l.node(cut, dim, pair, l.massOf(old)+1)
	for i, at := range p.path[:level] {
		slots[at] += 1 << l.massShift
		if i >= p.top {
			f.kernels.Grow(f.box(t, l.pairOf(slots[at])), p.point)
		}
	}
	f.points.holds.add(id, 1)
	return id
}

// draw draws a cut between p and box, uniformly over the gaps between them,
// and says on which side p is: 0 left, where values are at most the cut, or 1.
func (f *Forest) draw(tr *tree, p, box []float32) (dim int, cut float32, right uint32) {
	lower, upper := box[:f.pad], box[f.pad:]
	sum := 0.0
	for i, x := range p[:f.dims] {
		sum += math.Max(float64(lower[i])-float64(x), 0) + math.Max(float64(x)-float64(upper[i]), 0)
	}
	r := tr.uniform() * sum
	for i, x := range p[:f.dims] {
		gap := math.Max(float64(lower[i])-float64(x), float64(x)-float64(upper[i]))
		if gap <= 0 {
			continue
		}
		dim = i
		if r < gap {
			break
		}
		r -= gap
	}
	// Rounding may have used up every gap; then the last one is cut at its end.
	from, to := p[dim], lower[dim]
	if p[dim] > upper[dim] {
		from, to, right = upper[dim], p[dim], 1
	}
	cut = float32(float64(from) + math.Min(r, float64(to)-float64(from)))
	if cut >= to {
		cut = math.Nextafter32(to, from)
	}
	return dim, cut, right
}

// evict takes one copy of a point out of a tree. Path is scratch.
func (f *Forest) evict(t int, id uint32, p *Pass) {
	slots, tr, l := f.slotsOf(t), &f.trees[t], &f.layout
	path := p.path
	depth := l.descend(slots, f.points.at(id), path)
	at := path[depth]
	if slots[at]>>l.massShift&uint64(^uint32(0)>>l.massShift) != 0 {
		for _, at := range path[:depth+1] {
			slots[at] -= 1 << l.massShift
		}
		return
	}
	up := path[depth-1]
	slots[up] = slots[at^1]
	slots[at&^1] = uint64(tr.free)
	tr.free = at / 2
	for _, at := range path[:depth-1] {
		slots[at] -= 1 << l.massShift
	}
	// Boxes shrink upwards until one keeps its size.
	box := p.box
	for i := depth - 2; i >= 0; i-- {
		pair := l.pairOf(slots[path[i]])
		f.union(t, slots, pair, box, p)
		was := f.box(t, pair)
		if !shrinks(was, box) {
			break
		}
		copy(was, box)
	}
	f.points.drop(id)
}

// union makes box the one around the two children of a pair.
func (f *Forest) union(t int, slots []uint64, pair uint32, box []float32, p *Pass) {
	left, right := slots[2*pair], slots[2*pair+1]
	if next := f.pairOf(left); next != 0 {
		copy(box, f.box(t, next))
	} else {
		point := f.pointAt(uint32(left>>32), p.other)
		copy(box, point)
		copy(box[f.pad:], point)
	}
	if next := f.pairOf(right); next != 0 {
		f.kernels.Union(box, f.box(t, next))
	} else {
		f.kernels.Grow(box, f.pointAt(uint32(right>>32), p.other))
	}
}

// pointAt returns a point padded to whole vectors, in scratch if need be.
func (f *Forest) pointAt(id uint32, scratch []float32) []float32 {
	point := f.points.at(id)
	if f.pad == f.dims {
		return point
	}
	copy(scratch, point)
	return scratch
}

// shrinks reports whether box is not was.
func shrinks(was, box []float32) bool {
	for i, x := range was {
		if box[i] != x {
			return true
		}
	}
	return false
}

// rename gives a point another id in every tree that holds it.
func (f *Forest) rename(from, to uint32, p *Pass) {
	point := f.points.at(from)
	held := f.points.holds.get(from)
	f.points.holds.add(from, -held)
	f.points.holds.add(to, held)
	for t := 0; held > 0; t++ {
		if f.trees[t].size == 0 {
			continue
		}
		slots := f.slotsOf(t)
		at := p.path[f.descend(slots, point, p.path)]
		if uint32(slots[at]>>32) != from {
			continue
		}
		held--
		slots[at] = uint64(to)<<32 | slots[at]&math.MaxUint32
		for i := t * f.opts.Samples; i < t*f.opts.Samples+int(f.trees[t].size); i++ {
			if f.refs.get(i) == from {
				f.refs.set(i, to)
			}
		}
	}
}
