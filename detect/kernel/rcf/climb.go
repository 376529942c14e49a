package rcf

import "math"

// at returns the slot at a level on the way through the tree that p is at.
func (p *Pass) at(level int) uint32 { return p.paths[level*p.trees+p.tree] }

// walk goes up from the leaf for the point, as far as boxes do not contain it,
// on the way that descendAll has found. It returns the tree's score.
func (f *Forest) walk(t int, p *Pass) float64 {
	f.climbAll(p, t, t+1)
	f.recall(t, p)
	return f.scoreOf(t, p)
}

// climbAll goes up the trees of a range that have a point, on the ways that
// descendAll has found.
func (f *Forest) climbAll(p *Pass, from, to int) {
	p.way.Most = 0
	n := 0
	for t := from; t < to; t++ {
		if f.trees[t].size == 0 {
			continue
		}
		p.going[n] = uint32(t)
		if n++; f.opts.Scoring != InverseDepth {
			f.value(t, p)
			f.climb(p, 1)
			n = 0
		}
	}
	if n > 0 {
		f.climb(p, n)
	}
	if p.way.Most <= math.MaxFloat32 {
		return
	}
	for t := from; t < to; t++ {
		if f.trees[t].size > 0 {
			f.recall(t, p)
			if p.wide {
				p.scores[t] = f.wideClimb(p)
			}
		}
	}
}

// climb goes up the first n trees of p.going.
func (f *Forest) climb(p *Pass, n int) {
	if f.few == 0 {
		n = f.kernels.Meet(&p.way, n)
	} else {
		n = f.rise(p, p.going[:n])
	}
	f.kernels.Climb(&p.way, n)
}

// aheadBytes is how much memory of points may be on its way from far, less than
// the nearest cache takes.
const aheadBytes = 2048

// rise goes up past the light nodes of some trees, puts those that go on to
// the front and returns their number. The memory of a tree is asked for some
// trees before it is used.
func (f *Forest) rise(p *Pass, going []uint32) int {
	ahead := max(8, aheadBytes/(4*f.pad))
	for _, t := range going[:min(ahead, len(going))] {
		f.kernels.Gather(&p.way, int(t))
	}
	n := 0
	for from := 0; from < len(going); from += ahead {
		p.way.Going = &going[from]
		some := going[from:min(from+ahead, len(going))]
		next := going[from+len(some) : min(from+2*ahead, len(going))]
		some = some[:f.kernels.Meet(&p.way, len(some))]
		for i, t := range some {
			if i < len(next) {
				f.kernels.Gather(&p.way, int(next[i]))
			}
			depth := int(p.tops[t])
			top, s := f.kernels.Rise(&p.way, int(t), p.scores[t])
			p.tops[t], p.scores[t] = int32(top), s
			going[n] = t
			if top > 0 && depth-top == int(p.lists[int(t)*p.way.List]) {
				n++
			}
		}
		for _, t := range next[min(len(some), len(next)):] {
			f.kernels.Gather(&p.way, int(t))
		}
	}
	p.way.Going = &p.going[0]
	return n
}

// scoreOf returns the score of a tree that climbAll has gone up.
func (f *Forest) scoreOf(t int, p *Pass) float64 {
	size := int(f.trees[t].size)
	if f.opts.Scoring != InverseDepth {
		p.norm = 1
	} else if p.size != size {
		p.size, p.norm = size, math.Log2(1+float64(size))
	}
	if p.tops[t] < 0 {
		p.tree, p.depth = t, int(p.depths[t])
		return f.seen(p, size, f.massOf(f.arena[p.at(p.depth)])) * p.norm
	}
	return p.scores[t] * p.norm
}

// recall makes what climbAll has found in a tree that of p.
func (f *Forest) recall(t int, p *Pass) {
	p.tree, p.depth, p.top, p.wide = t, int(p.depths[t]), int(p.tops[t]), false
	p.near = f.pointAt(uint32(f.arena[p.at(p.depth)]>>32), p.other)
	if f.opts.Scoring != InverseDepth {
		f.value(t, p)
	}
	if p.equal = p.top < 0; p.equal {
		p.top = p.depth
		return
	}
	for level := p.top; level < p.depth; level++ {
		gaps := p.gaps[(level+1)*p.trees+t]
		excess := float64(gaps[0])
		p.whole[level] = excess + float64(gaps[1])
		p.cutOff[level] = excess / p.whole[level]
	}
	if p.wide = p.top < p.depth && p.whole[p.top] > math.MaxFloat32; p.wide {
		f.wideClimb(p)
	}
}

// wideClimb goes up where sums exceed float32.
func (f *Forest) wideClimb(p *Pass) float64 {
	s := p.worth[p.depth]
	p.top = p.depth
	for level := p.depth - 1; level >= 0; level-- {
		chance, whole := f.chance(p.point, f.met(p, level))
		if chance == 0 {
			break
		}
		p.cutOff[level], p.whole[level], p.top = chance, whole, level
		s += float64(chance * (p.worth[level] - s))
	}
	return s
}

// chance is the probability that a random cut of the box around p and box
// separates p, and the sum of the sides of that box. The chance is 0 exactly
// when box contains p.
func (f *Forest) chance(p, box []float32) (chance, whole float64) {
	excess, span := f.kernels.Excess(p, box)
	if excess == 0 {
		return 0, 0
	}
	whole = float64(excess) + float64(span)
	if whole > math.MaxFloat32 {
		return wideChance(p, box)
	}
	return float64(excess) / whole, whole
}

// wideChance is chance where sums exceed float32.
func wideChance(p, box []float32) (chance, whole float64) {
	excess := 0.0
	lower, upper := box[:len(p)], box[len(p):]
	for i, x := range p {
		below, above := gaps(x, lower[i], upper[i])
		excess += below + above
		whole += float64(upper[i]) - float64(lower[i])
	}
	whole += excess
	return excess / whole, whole
}

// value fills in what it is worth to be cut off at each level of the way,
// where that depends on masses.
func (f *Forest) value(t int, p *Pass) {
	p.tree, p.depth = t, int(p.depths[t])
	if f.opts.Scoring == Displacement {
		size := f.trees[t].size
		for level := range p.depth + 1 {
			p.worth[level] = float64(f.massOf(f.arena[p.at(level)])) / float64(size)
		}
		return
	}
	// Had p been inserted at a level, its sibling would be all that is there, and
	// every ancestor would weigh one more.
	most := 0.0
	for level := range p.depth + 1 {
		here := f.massOf(f.arena[p.at(level)])
		if level > 0 {
			beside := f.massOf(f.arena[p.at(level)^1])
			most = math.Max(most, float64(beside)/float64(here+1))
		}
		p.worth[level] = math.Max(most, float64(here))
	}
}

// seen is what it is worth to meet a leaf that equals the point.
func (f *Forest) seen(p *Pass, size, mass int) float64 {
	damp := 1 - float64(mass)/float64(2*size)
	switch f.opts.Scoring {
	case Displacement:
		return damp / float64(1+mass) / float64(size)
	case CoDisplacement:
		most := 0.0
		for level := 1; level <= p.depth; level++ {
			here, beside := f.massOf(f.arena[p.at(level)]), f.massOf(f.arena[p.at(level)^1])
			most = math.Max(most, float64(beside)/float64(here+1))
		}
		return most
	default:
		return damp / (float64(p.depth) + math.Log2(1+float64(mass)))
	}
}
