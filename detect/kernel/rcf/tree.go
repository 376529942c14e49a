package rcf

import "math"

// A tree is an array of slots of 8 bytes. Slot 0 is the root; the children of
// a node are the two slots of a pair, so one index names both, and the way down
// is: slot = 2*pair + (point[dim] > cut). A box belongs to the pair of its
// node, so that a node may move to another slot without its box.
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

// descend follows the cuts from the root of a tree to the leaf for p and notes
// the slots on the way, the leaf's included. It returns the depth of the leaf.
func (f *Forest) descend(t int, p []float32, path []uint32) int {
	arena, base := f.arena, uint32(t*f.slots)
	at, depth := base, 0
	for {
		path[depth] = at
		slot := arena[at]
		pair := f.pairOf(slot)
		if pair == 0 {
			return depth
		}
		var right uint32 // not a branch: it would be guessed wrong half the time
		if p[uint32(slot)&f.dimMask] > math.Float32frombits(uint32(slot>>32)) {
			right = 1
		}
		at = base + 2*pair + right
		depth++
	}
}

// descendAll goes down every tree of a range.
func (f *Forest) descendAll(p *Pass, from, to int) {
	f.kernels.Descend(&p.way, from&^7, (to+7)&^7)
}

func (f *Forest) slotsOf(t int) []uint64 {
	from := t * f.slots
	return f.arena[from : from+f.slots : from+f.slots]
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
	tr, one := &f.trees[t], uint64(1)<<f.massShift
	p.cutLevel = -1
	if p.equal {
		for level := range p.depth {
			f.arena[p.at(level)] += one
			if f.few > 0 && f.crossed(f.arena[p.at(level)]) {
				f.gain(p, level)
			}
		}
		f.arena[p.at(p.depth)] += one
		return uint32(f.arena[p.at(p.depth)] >> 32)
	}
	level := p.top
	for level < p.depth && tr.uniform() >= p.cutOff[level] {
		level++
	}
	at := p.at(level)
	old := f.arena[at]
	base := uint32(t * f.slots)
	pair := tr.free
	tr.free = uint32(f.arena[base+2*pair])
	lower, upper := p.near, p.near
	var excess float64
	if level < p.depth {
		box := f.met(p, level)
		lower, upper = box[:f.pad], box[f.pad:]
		excess = p.cutOff[level] * p.whole[level]
	} else {
		excess = float64(f.kernels.L1(p.point, p.near))
	}
	dim, cut, right := draw(tr.uniform(), excess, p.point, lower, upper)
	node := f.node(cut, dim, pair, f.massOf(old)+1)
	if !f.light(node) {
		f.takeBox(base+2*pair, p)
		f.kernels.Around(f.box(base+2*pair), lower, upper, p.point, p.point)
	}
	f.arena[base+2*pair+right], f.arena[base+2*pair+1-right] = leaf(id), old
	p.cutLevel, p.moved = level, base+2*pair+1-right
	f.arena[at] = node
	for above := range level {
		at := p.at(above)
		slot := f.arena[at] + one
		f.arena[at] = slot
		if f.few > 0 && f.crossed(slot) {
			f.gain(p, above)
		} else if above >= p.top && !f.light(slot) {
			f.kernels.Grow(f.box(p.at(above+1)), p.point)
		}
	}
	f.points.holds.add(id, 1)
	return id
}

// gain gives the node at a level of the way its box. What is under it must be
// as it will be.
func (f *Forest) gain(p *Pass, level int) {
	f.takeBox(p.at(level+1), p)
	f.around(p.at(level+1), p)
}

// lose counts one point less under the nodes of a way and takes the box away of
// the one that has become light.
func (f *Forest) lose(path []uint32, nodes int) {
	for level := range nodes {
		was := f.arena[path[level]]
		f.arena[path[level]] = was - 1<<f.massShift
		if f.few > 0 && f.crossed(was) {
			f.boxes.drop(path[level+1] / 2)
		}
	}
}

// draw makes of u in [0,1) a cut between p and a box, uniform over the gaps
// between them, which sum to excess, and says on which side p is: 0 left, where
// values are at most the cut, or 1.
func draw(u, excess float64, p, lower, upper []float32) (dim int, cut float32, right uint32) {
	if excess > math.MaxFloat32 {
		excess = 0
		for i, x := range p {
			below, above := gaps(x, lower[i], upper[i])
			excess += below + above
		}
	}
	r := u * excess
	lower, upper = lower[:len(p)], upper[:len(p)]
	for i, x := range p {
		gap := max(float64(lower[i])-float64(x), float64(x)-float64(upper[i]))
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

// gaps is how far x is below lower and above upper.
func gaps(x, lower, upper float32) (below, above float64) {
	if x < lower {
		return float64(lower) - float64(x), 0
	}
	if x > upper {
		return 0, float64(x) - float64(upper)
	}
	return 0, 0
}

// evict takes one copy of a point out of a tree. The way to it is known.
func (f *Forest) evict(t int, id uint32, path []uint32, depth int, p *Pass) {
	at := path[depth]
	if uint32(f.arena[at])>>f.massShift != 0 {
		f.lose(path, depth)
		f.arena[at] -= 1 << f.massShift
		return
	}
	tr, up := &f.trees[t], path[depth-1]
	if !f.light(f.arena[up]) {
		f.boxes.drop(at / 2)
	}
	f.arena[up] = f.arena[at^1]
	f.arena[at&^1] = uint64(tr.free)
	tr.free = at/2 - uint32(t*f.slots/2)
	f.lose(path, depth-1)
	// Boxes shrink upwards until one keeps its size.
	for level := depth - 2; level >= 0 && (f.light(f.arena[path[level]]) || f.around(path[level+1], p)); level-- {
	}
	f.points.drop(id)
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

// rename gives a point another id in every tree that holds it.
func (f *Forest) rename(from, to uint32, p *Pass) {
	held := f.points.holds.get(from)
	f.points.holds.add(from, -held)
	f.points.holds.add(to, held)
	copy(p.other, f.points.at(from))
	p.way.Point = &p.other[0]
	f.descendAll(p, 0, len(f.trees))
	p.way.Point = &p.point[0]
	for t := 0; held > 0; t++ {
		if f.trees[t].size == 0 {
			continue
		}
		p.tree = t
		at := p.at(int(p.depths[t]))
		if uint32(f.arena[at]>>32) != from {
			continue
		}
		held--
		f.arena[at] = uint64(to)<<32 | f.arena[at]&math.MaxUint32
		for i := t * f.opts.Samples; i < t*f.opts.Samples+int(f.trees[t].size); i++ {
			if f.refs.get(i) == from {
				f.refs.set(i, to)
			}
		}
	}
}
