package rcf

import (
	"unsafe"

	"github.com/fettleops/fettle/detect/kernel/rcf/internal/vector"
)

// choose finds the trees that may take in the point being learned and the
// points that leave full ones for it, before anything else is done: in a forest
// that is not in the cache, the memory of both arrives while the point goes down
// the trees.
func (f *Forest) choose(p *Pass) {
	p.takers, p.exiting, p.left = p.takers[:0], p.exiting[:0], 0
	for t := range f.trees {
		tr := &f.trees[t]
		full := int(tr.size) == f.opts.Samples
		if full && tr.next != f.learned {
			continue
		}
		p.takers = append(p.takers, int32(t))
		if full {
			p.exiting = append(p.exiting, int32(t))
			from, to := t*f.opts.Samples, (t+1)*f.opts.Samples
			vector.Near(f.refs.low[from:to])
			vector.Near(f.weights[from:to])
		}
	}
	for _, t := range p.exiting {
		vector.Near(f.points.at(f.refs.get(int(t) * f.opts.Samples)))
	}
}

// seeOff finds the ways to the points that leave, so that the memory for them
// and for the point that comes arrives while that is scored.
func (f *Forest) seeOff(p *Pass) {
	if len(p.exiting) == 0 {
		return
	}
	p.exitPoints = p.exitPoints[:0]
	for i, t := range p.exiting {
		id := f.refs.get(int(t) * f.opts.Samples)
		p.exitPaths[i], p.exitStarts[i] = uint32(int(t)*f.slots), uint32(len(p.exitPoints))
		p.exitPoints = append(p.exitPoints, f.points.at(id)...)
		vector.Near(f.points.holds.low[id : id+1])
		free := int(t)*f.slots + 2*int(f.trees[t].free)
		vector.Near(f.arena[free : free+2])
		f.boxes.nearFree(int(t))
	}
	n := len(p.exiting)
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
