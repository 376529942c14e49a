package rcf

import (
	"math"
	"unsafe"
)

// Rest gives up the memory that can be made again: the boxes, most of a
// forest. The next use makes them again, which takes about as long as 50
// points. It is for a forest that waits much longer than that for its next
// point and has many of its kind beside it. A pass that is given keeps the
// memory for the next forest to wake with it, so that many in turn need it once.
func (f *Forest) Rest(p *Pass) {
	if p != nil && cap(f.boxes) > cap(p.spare) {
		p.spare = f.boxes
	}
	f.boxes = nil
}

// wake makes the boxes of a forest at rest.
func (f *Forest) wake(p *Pass) {
	if f.boxes != nil {
		return
	}
	if n := len(f.trees) * f.slots * f.pad; cap(p.spare) >= n {
		f.boxes, p.spare = p.spare[:n], nil
	} else {
		f.boxes = make([]float32, n)
	}
	scratch := make([]float32, 2*f.pad)
	for t := range f.trees {
		if f.trees[t].size > 0 {
			f.rebox(uint32(t*f.slots), uint32(t*f.slots), scratch)
		}
	}
}

// rebox makes the boxes under slot at and reports whether every cut lies
// between the boxes that it separates.
func (f *Forest) rebox(base, at uint32, scratch []float32) bool {
	slot := f.arena[at]
	pair := f.pairOf(slot)
	if pair == 0 {
		return true
	}
	sound := f.rebox(base, base+2*pair, scratch) && f.rebox(base, base+2*pair+1, scratch)
	dim, cut := uint32(slot)&f.dimMask, math.Float32frombits(uint32(slot>>32))
	f.around(base+2*pair, scratch[:f.pad], scratch[f.pad:])
	for side := range uint32(2) {
		from, to := float32(0), float32(0)
		child := f.arena[base+2*pair+side]
		if next := f.pairOf(child); next != 0 {
			box := f.box(base + 2*next)
			from, to = box[dim], box[f.pad+int(dim)]
		} else {
			from = f.points.at(uint32(child >> 32))[dim]
			to = from
		}
		if side == 0 && to > cut || side == 1 && from <= cut {
			return false
		}
	}
	return sound
}

// rebuild makes the masses and boxes of a tree from the masses of its leaves,
// left to right.
func (f *Forest) rebuild(t int, masses []int) (sound bool) {
	base := uint32(t * f.slots)
	f.remass(base, base, &masses)
	return f.rebox(base, base, make([]float32, 2*f.pad))
}

func (f *Forest) remass(base, at uint32, masses *[]int) int {
	slot := f.arena[at]
	pair := f.pairOf(slot)
	if pair == 0 {
		mass := (*masses)[0]
		*masses = (*masses)[1:]
		f.arena[at] |= uint64(uint32(mass-1) << f.massShift)
		return mass
	}
	mass := f.remass(base, base+2*pair, masses) + f.remass(base, base+2*pair+1, masses)
	f.arena[at] = f.node(math.Float32frombits(uint32(slot>>32)), int(uint32(slot)&f.dimMask), pair, mass)
	return mass
}

// Bytes returns the memory that the forest takes as it is, in bytes: with its
// boxes, or at rest without.
func (f *Forest) Bytes() int {
	w := &f.points
	return int(unsafe.Sizeof(*f)) + int(unsafe.Sizeof(tree{}))*len(f.trees) + 8*len(f.arena) + 4*(len(f.boxes)+len(f.weights)+len(w.data)) +
		2*(len(f.refs.low)+len(f.refs.high)) + len(w.holds.low) + len(w.holds.high)
}
