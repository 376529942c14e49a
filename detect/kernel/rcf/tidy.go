package rcf

import "slices"

// Pairs come and go in any place, so that in time each step down a tree touches
// another line of the cache and, worse, its box another page of memory.
// Numbering the pairs anew, parents next to children, changes nothing else.

// tidyEvery is after how many times Samples points a tree is tidied again. A
// point replaces one in ten samples of a tree by default: about a fifth of the
// pairs are out of place on average.
const tidyEvery = 4

// tidyOne tidies a tree if it is the turn of one.
func (f *Forest) tidyOne(p *Pass) {
	round := uint64(tidyEvery * f.opts.Samples)
	trees := uint64(len(f.trees))
	// Turns are spread evenly over the round; it may have more trees than points.
	from, to := f.learned%round*trees, (f.learned%round+1)*trees
	for t := (from + round - 1) / round; t*round < to; t++ {
		f.tidy(int(t), p)
	}
}

// tidy numbers the pairs of a tree in the order of their use.
func (f *Forest) tidy(t int, p *Pass) {
	base := uint32(t * f.slots)
	slots := f.arena[base : base+uint32(f.slots)]
	p.order = append(p.order[:0], 0)
	heavy := 0
	if f.trees[t].size > 0 {
		p.order = f.placeUnder(p.order, slots[:1], slots, true)
		heavy = len(p.order) - 1
		p.order = f.placeUnder(p.order, slots[:1], slots, false)
		if f.few > 0 {
			for _, pair := range p.order[1 : 1+heavy] {
				p.order = f.placeUnder(p.order, slots[2*pair:2*pair+2], slots, false)
			}
		}
	}
	used := len(p.order)
	// What pair is called from now on; free pairs take the numbers behind.
	n := f.opts.Samples + 1
	p.names = slices.Grow(p.names[:0], n)[:n]
	clear(p.names)
	for name, pair := range p.order {
		p.names[pair] = uint32(name)
	}
	for pair := 1; pair < n; pair++ {
		if p.names[pair] == 0 {
			p.names[pair] = uint32(len(p.order))
			p.order = append(p.order, uint32(pair))
		}
	}
	for at := range slots {
		if pair := f.pairOf(slots[at]); (at == 0 || at > 1 && int(p.names[at/2]) < used) && pair != 0 {
			slots[at] = slots[at]&^(uint64(f.pairMask)<<f.dimBits) | uint64(p.names[pair])<<f.dimBits
		}
	}
	b := &f.boxes
	// Move along the cycles of the permutation.
	for start := range p.order {
		if int(p.order[start]) == start {
			continue
		}
		first, second, last := slots[2*start], slots[2*start+1], base/2+uint32(start)
		name := b.name(last)
		if b.names == nil {
			copy(p.box, b.at(last))
		}
		to := start
		for {
			from := int(p.order[to])
			p.order[to] = uint32(to)
			if from == start {
				slots[2*to], slots[2*to+1] = first, second
				if b.names == nil {
					copy(b.at(base/2+uint32(to)), p.box)
				} else {
					b.rename(base/2+uint32(to), name)
				}
				break
			}
			slots[2*to], slots[2*to+1] = slots[2*from], slots[2*from+1]
			if b.names == nil {
				copy(b.at(base/2+uint32(to)), b.at(base/2+uint32(from)))
			} else {
				b.rename(base/2+uint32(to), b.name(base/2+uint32(from)))
			}
			to = from
		}
	}
	for pair := used; pair < n; pair++ {
		slots[2*pair] = uint64(pair + 1)
	}
	f.trees[t].free = uint32(used)
	if b.names != nil {
		f.tidyBoxes(base, heavy, p)
	}
}

// placeUnder appends the pairs of the nodes with boxes, or of those without, in
// some slots and all of their kind under them.
func (f *Forest) placeUnder(order []uint32, some, slots []uint64, heavy bool) []uint32 {
	for _, slot := range some {
		if pair := f.pairOf(slot); pair != 0 && f.light(slot) != heavy {
			order = f.place(order, slots, pair, heavy)
		}
	}
	return order
}

// place appends a pair, its children and then all that is under them: two
// levels of a tree fit into a line of the cache, a small subtree into a page.
func (f *Forest) place(order []uint32, slots []uint64, pair uint32, heavy bool) []uint32 {
	order = append(order, pair)
	from := len(order)
	for _, slot := range slots[2*pair : 2*pair+2] {
		if child := f.pairOf(slot); child != 0 && f.light(slot) != heavy {
			order = append(order, child)
		}
	}
	for _, child := range order[from:] {
		order = f.placeUnder(order, slots[2*child:2*child+2], slots, heavy)
	}
	return order
}

// tidyBoxes puts the boxes of a tree, which belong to its first pairs, into the
// order of these, in the places that they have.
func (f *Forest) tidyBoxes(base uint32, heavy int, p *Pass) {
	b, first := &f.boxes, base/2+1
	places := p.names[:0]
	p.moving = p.moving[:0]
	for pair := first; pair < first+uint32(heavy); pair++ {
		places = append(places, b.name(pair))
		p.moving = append(p.moving, b.at(pair)...)
	}
	slices.Sort(places)
	for i, place := range places {
		b.rename(first+uint32(i), place)
		copy(b.at(first+uint32(i)), p.moving[i*b.size:])
	}
}
