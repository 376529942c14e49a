package rcf

import (
	"math"

	"github.com/fettleops/fettle/detect/kernel/rcf/internal/vector"
)

// leaving is a point that is going to leave a full tree, and the way to it.
type leaving struct {
	tree  int
	id    uint32
	depth int
	path  []uint32
}

// seeOff finds the points that leave for the one being learned and the ways to
// them, before anything else is done: in a forest that is not in the cache, the
// memory for that arrives while the point is scored.
func (f *Forest) seeOff(p *Pass) {
	p.leaving, p.left = p.leaving[:0], 0
	for t := range f.trees {
		if tr := &f.trees[t]; tr.next == f.learned && int(tr.size) == f.opts.Samples {
			n := len(p.leaving)
			if n == cap(p.leaving) {
				p.leaving = append(p.leaving, leaving{})
			}
			p.leaving = p.leaving[:n+1]
			l := &p.leaving[n]
			l.tree, l.id = t, f.refs.get(t*f.opts.Samples)
			if l.path = l.path[:cap(l.path)]; len(l.path) < f.opts.Samples+2 {
				l.path = make([]uint32, f.opts.Samples+2)
			}
			l.path[0] = uint32(t * f.slots)
			from, to := t*f.opts.Samples, (t+1)*f.opts.Samples
			vector.Near(f.weights[from:to])
			vector.Near(f.refs.low[from:to])
			vector.Near(f.points.at(l.id))
		}
	}
	for level, going := 0, len(p.leaving) > 0; going; level++ {
		going = false
		for i := range p.leaving {
			if l := &p.leaving[i]; l.depth < 0 || level == 0 {
				l.depth = -1
				if f.step1(l, level) {
					l.depth = level
				} else {
					going = true
				}
			}
		}
	}
	for i := range p.leaving {
		l := &p.leaving[i]
		for level := l.depth; level > max(l.depth-4, 1); level-- {
			if !f.light(f.arena[l.path[level-2]]) {
				vector.Near(f.box(l.path[level-1]))
			}
			f.nearBounds(uint32(l.tree*f.slots), l.path[level]^1)
		}
	}
}

// step1 goes one level down and reports whether it was at the leaf.
func (f *Forest) step1(l *leaving, level int) bool {
	slot := f.arena[l.path[level]]
	pair := f.pairOf(slot)
	if pair == 0 {
		return true
	}
	var right uint32 // not a branch: it would be guessed wrong half the time
	if f.points.data[int(l.id)*f.points.width+int(uint32(slot)&f.dimMask)] > math.Float32frombits(uint32(slot>>32)) {
		right = 1
	}
	next := uint32(l.tree*f.slots) + 2*pair + right
	l.path[level+1] = next
	vector.Near(f.arena[next : next+1])
	return false
}

// leave returns the way to the point that leaves a tree, now that another was
// put in.
func (p *Pass) leave(t int) *leaving {
	for p.leaving[p.left].tree != t {
		p.left++
	}
	l := &p.leaving[p.left]
	if level := p.cutLevel; level >= 0 && level <= l.depth && l.path[level] == p.at(level) {
		// The new node stands in a slot of the way and has pushed the rest down.
		copy(l.path[level+2:l.depth+2], l.path[level+1:l.depth+1])
		l.path[level+1] = p.moved
		l.depth++
	}
	return l
}
