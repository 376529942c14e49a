package rcf

import (
	"unsafe"

	"github.com/fettleops/fettle/detect/kernel/rcf/internal/vector"
)

// seeOff finds the trees that may take in the point being learned, the points
// that leave full ones for it and the ways to these, before anything else is
// done: in a forest that is not in the cache, the memory for that arrives while
// the point is scored.
func (f *Forest) seeOff(p *Pass) {
	p.takers, p.left = p.takers[:0], 0
	p.exitPoints = p.exitPoints[:0]
	n := 0
	for t := range f.trees {
		tr := &f.trees[t]
		if int(tr.size) < f.opts.Samples {
			p.takers = append(p.takers, int32(t))
			continue
		}
		if tr.next != f.learned {
			continue
		}
		p.takers = append(p.takers, int32(t))
		p.exitPaths[n], p.exitStarts[n] = uint32(t*f.slots), uint32(len(p.exitPoints))
		from, to := t*f.opts.Samples, (t+1)*f.opts.Samples
		p.exitPoints = append(p.exitPoints, f.points.at(f.refs.get(from))...)
		vector.Near(f.weights[from:to])
		vector.Near(f.refs.low[from:to])
		n++
	}
	if n == 0 {
		return
	}
	whole := (n + 7) &^ 7
	for i := n; i < whole; i++ {
		p.exitPaths[i], p.exitStarts[i] = p.exitPaths[0], 0
	}
	p.exits.Point = unsafe.SliceData(p.exitPoints)
	f.kernels.Descend(&p.exits, 0, whole)
	for i := range n {
		depth, base := int(p.exitDepths[i]), p.exitPaths[i]
		for level := depth; level > max(depth-4, 1); level-- {
			if !f.light(f.arena[p.exitPaths[(level-2)*p.trees+i]]) {
				vector.Near(f.box(p.exitPaths[(level-1)*p.trees+i]))
			}
			f.nearBounds(base, p.exitPaths[level*p.trees+i]^1)
		}
	}
}

// leave puts the way to the next point that leaves into p.path, now that
// another was put into its tree, and returns its length.
func (f *Forest) leave(p *Pass) (depth int) {
	i, path := p.left, p.path
	p.left++
	depth = int(p.exitDepths[i])
	added := 0
	for level := range depth + 1 {
		path[level+added] = p.exitPaths[level*p.trees+i]
		if level == p.cutLevel && path[level] == p.at(level) {
			// The new node stands in a slot of the way and has pushed the rest down.
			added = 1
			path[level+1] = p.moved
		}
	}
	return depth + added
}
