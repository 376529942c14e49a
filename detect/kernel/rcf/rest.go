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
	if p != nil && cap(f.boxes.data) > cap(p.spare.data) {
		p.spare = f.boxes
	}
	f.boxes = boxes{}
}

// wake makes the boxes of a forest at rest, or of one that was just loaded.
func (f *Forest) wake(p *Pass) {
	if f.boxes.awake {
		return
	}
	// Evenly cut trees have twice Samples by BoxMass heavy nodes; others have more.
	home, more := max(1, 2*f.opts.Samples/f.opts.BoxMass), 0
	if f.few == 0 {
		home = 0
	}
	for t := range f.trees {
		if home > 0 && f.trees[t].size > 0 {
			more += max(0, f.heavy(uint32(t*f.slots), uint32(t*f.slots))-home)
		}
	}
	f.boxes = newBoxes(len(f.trees), len(f.arena)/2, f.pad, home, more+more/8, len(f.trees)*2*f.opts.Samples, &p.spare)
	for t := range f.trees {
		if f.trees[t].size > 0 {
			f.rebox(uint32(t*f.slots), uint32(t*f.slots), p)
		}
	}
}

// heavy counts the heavy nodes under a slot.
func (f *Forest) heavy(base, at uint32) int {
	slot := f.arena[at]
	pair := f.pairOf(slot)
	if pair == 0 || f.light(slot) {
		return 0
	}
	return 1 + f.heavy(base, base+2*pair) + f.heavy(base, base+2*pair+1)
}

// rebox makes the boxes under slot at.
func (f *Forest) rebox(base, at uint32, p *Pass) {
	slot := f.arena[at]
	pair := f.pairOf(slot)
	if pair == 0 || f.light(slot) {
		return
	}
	f.rebox(base, base+2*pair, p)
	f.rebox(base, base+2*pair+1, p)
	f.boxes.take(int(base)/f.slots, base/2+pair)
	f.around(base+2*pair, p)
}

// sound reports whether every cut under slot at lies between what it separates.
func (f *Forest) sound(base, at uint32, p *Pass) bool {
	slot := f.arena[at]
	pair := f.pairOf(slot)
	if pair == 0 {
		return true
	}
	dim, cut := int(uint32(slot)&f.dimMask), math.Float32frombits(uint32(slot>>32))
	return f.bounds(base, base+2*pair, p.nearby, p)[f.pad+dim] <= cut && cut < f.bounds(base, base+2*pair+1, p.nearby, p)[dim] &&
		f.sound(base, base+2*pair, p) && f.sound(base, base+2*pair+1, p)
}

// remass makes the masses under slot at from those of its leaves, left to right.
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
	return int(unsafe.Sizeof(*f)) + int(unsafe.Sizeof(tree{}))*len(f.trees) + 8*len(f.arena) + 4*(len(f.boxes.data)+len(f.weights)+len(w.data)) +
		4*len(f.boxes.own) + 2*(len(f.boxes.names)+len(f.refs.low)+len(f.refs.high)) + len(w.holds.low) + len(w.holds.high)
}
