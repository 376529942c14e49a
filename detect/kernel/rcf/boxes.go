package rcf

import (
	"math"

	"github.com/fettleops/fettle/detect/kernel/rcf/internal/vector"
)

// Half of the nodes of a tree have two or three points under them. Their boxes
// would take most of the memory and save little: on the way up, the box of a
// light node is made of the points under it, of which there are few. So only
// heavy nodes, which are the top of a tree, have one.

// boxes are the boxes of the heavy nodes of all trees, in an array with a list
// of the places that are free. Their number follows the shapes of the trees,
// so it is nearly constant once the samples are full.
type boxes struct {
	data []float32
	size int // of a box in data
	// Each tree has the same number of places of its own, next to each other, and
	// takes others, behind those of all trees, only when they are used up. The
	// heads of the lists of free places are -1 when empty.
	home int
	own  []int32
	free int32

	// The number of the box of each pair of all trees; of a pair that has none
	// it means nothing. A number takes 1<<wide values, the low one first, and
	// behind the last is one value more, as kernels always read two. Where every
	// node has a box there are no names: the pair's number is that of its box.
	names []uint16
	wide  uint
	awake bool
}

// wideFrom is the number of boxes whose numbers do not fit into 16 bits.
const wideFrom = 1 << 16

// newBoxes makes room for the boxes of trees that have home each and more in
// all beyond that, and never more than most; or, if home is 0, of all pairs.
func newBoxes(trees, pairs, pad, home, more, most int, spare *boxes) boxes {
	b := boxes{size: 2 * pad, home: home, free: -1, awake: true}
	if home == 0 {
		b.data = room(&spare.data, pairs*b.size)
		return b
	}
	if most >= wideFrom {
		b.wide = 1
	}
	n := trees*home + more
	b.data = room(&spare.data, n*b.size)
	b.names = room(&spare.names, pairs<<b.wide+1)
	b.own = room(&spare.own, trees)
	for t := range b.own {
		b.own[t] = -1
		b.release(t*home, (t+1)*home)
	}
	b.release(trees*home, n)
	return b
}

// room returns spare, and takes it away, if it has enough room for n.
func room[T any](spare *[]T, n int) []T {
	if cap(*spare) < n {
		return make([]T, n)
	}
	s := (*spare)[:n]
	*spare = nil
	return s
}

// list returns the head of the list that a place is on when it is free.
func (b *boxes) list(place int) *int32 {
	if place < len(b.own)*b.home {
		return &b.own[place/b.home]
	}
	return &b.free
}

// release puts the places from one to another, all of one list, on that list.
func (b *boxes) release(from, to int) {
	if from == to {
		return
	}
	head := b.list(from)
	for i := to - 1; i >= from; i-- {
		b.data[i*b.size] = math.Float32frombits(uint32(*head))
		*head = int32(i)
	}
}

// take gives a pair of a tree a box, whatever is in it.
func (b *boxes) take(t int, pair uint32) {
	if b.names == nil {
		return
	}
	head := &b.own[t]
	if *head < 0 {
		head = &b.free
	}
	if *head < 0 {
		n := len(b.data) / b.size
		data := make([]float32, (n+max(16, n/32))*b.size)
		copy(data, b.data)
		b.data = data
		b.release(n, len(data)/b.size)
	}
	i := *head
	*head = int32(math.Float32bits(b.data[int(i)*b.size]))
	b.rename(pair, uint32(i))
}

// nearFree asks for the memory of the box that take would give to a pair of a
// tree.
func (b *boxes) nearFree(t int) {
	if b.names == nil || b.own[t] < 0 {
		return
	}
	from := int(b.own[t]) * b.size
	vector.Near(b.data[from : from+b.size])
}

// drop takes the box of a pair away.
func (b *boxes) drop(pair uint32) {
	if b.names == nil {
		return
	}
	i := int(b.name(pair))
	b.release(i, i+1)
}

func (b *boxes) name(pair uint32) uint32 {
	if b.names == nil {
		return pair
	}
	i := pair << b.wide
	name := uint32(b.names[i])
	if b.wide > 0 {
		name |= uint32(b.names[i+1]) << 16
	}
	return name
}

func (b *boxes) rename(pair, name uint32) {
	i := pair << b.wide
	b.names[i] = uint16(name)
	if b.wide > 0 {
		b.names[i+1] = uint16(name >> 16)
	}
}

// at returns the box of a pair.
func (b *boxes) at(pair uint32) []float32 {
	from := int(b.name(pair)) * b.size
	return b.data[from : from+b.size : from+b.size]
}

// light reports whether the node in a slot has too few points for a box.
func (l *layout) light(slot uint64) bool { return uint32(slot)>>l.massShift < l.few }

// crossed reports whether the node in a slot has just enough points for a box.
func (l *layout) crossed(slot uint64) bool { return uint32(slot)>>l.massShift == l.few }

// box returns the box of the pair that slot at is in, which must have one.
func (f *Forest) box(at uint32) []float32 { return f.boxes.at(at / 2) }

// takeBox gives the pair that slot at is in a box.
func (f *Forest) takeBox(at uint32, p *Pass) {
	f.boxes.take(p.tree, at/2)
	p.way.Boxes = &f.boxes.data[0]
}

// appendUnder appends the points under a slot.
func (f *Forest) appendUnder(ids []uint32, base, at uint32) []uint32 {
	for {
		slot := f.arena[at]
		pair := f.pairOf(slot)
		if pair == 0 {
			return append(ids, uint32(slot>>32))
		}
		ids = f.appendUnder(ids, base, base+2*pair)
		at = base + 2*pair + 1
	}
}

// own reports whether what is in a slot is a node with a box.
func (f *Forest) own(slot uint64) bool { return f.pairOf(slot) != 0 && !f.light(slot) }

// bounds returns the box around what is under slot at, in scratch if it has
// none of its own.
func (f *Forest) bounds(base, at uint32, scratch []float32, p *Pass) []float32 {
	slot := f.arena[at]
	if f.own(slot) {
		return f.box(base + 2*f.pairOf(slot))
	}
	p.under = f.appendUnder(p.under[:0], base, at)
	f.kernels.Hull(&p.way, scratch, p.under)
	return scratch
}

// around makes the box of the pair that slot at is in from what is in the pair,
// and reports whether that changed it.
func (f *Forest) around(at uint32, p *Pass) bool {
	base := at / uint32(f.slots) * uint32(f.slots)
	left, right := f.arena[at&^1], f.arena[at|1]
	if f.few > 0 && !f.own(left) && !f.own(right) {
		p.under = f.appendUnder(p.under[:0], base, at&^1)
		p.under = f.appendUnder(p.under, base, at|1)
		return f.kernels.Hull(&p.way, f.box(at), p.under)
	}
	lower, upper := f.span(base, at&^1, p.nearby, p)
	otherLower, otherUpper := f.span(base, at|1, p.beside, p)
	return f.kernels.Around(f.box(at), lower, upper, otherLower, otherUpper)
}

// span is bounds in two halves, which for a leaf are its point.
func (f *Forest) span(base, at uint32, scratch []float32, p *Pass) (lower, upper []float32) {
	slot := f.arena[at]
	pair := f.pairOf(slot)
	if pair == 0 {
		point := f.pointAt(uint32(slot>>32), scratch[:f.pad])
		return point, point
	}
	box := scratch
	if f.light(slot) {
		f.bounds(base, at, scratch, p)
	} else {
		box = f.box(base + 2*pair)
	}
	return box[:f.pad], box[f.pad:]
}

// met returns the box around the node at a level of the way through a tree; that
// of a light one is in p.nearby.
func (f *Forest) met(p *Pass, level int) []float32 {
	return f.bounds(uint32(p.tree*f.slots), p.at(level), p.nearby, p)
}

// nearBounds asks for the memory that bounds will read first.
func (f *Forest) nearBounds(base, at uint32) {
	slot := f.arena[at]
	switch pair := f.pairOf(slot); {
	case pair == 0:
		vector.Near(f.points.at(uint32(slot >> 32)))
	case f.light(slot):
		vector.Near(f.arena[base+2*pair : base+2*pair+2])
	default:
		vector.Near(f.box(base + 2*pair))
	}
}
