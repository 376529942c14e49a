package rcf

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
	"testing"
)

// check proves every invariant of a forest that its arenas can show.
func check(t testing.TB, f *Forest) {
	t.Helper()
	checkBoxes(t, f)
	holds := map[uint32]int{}
	for i := range f.trees {
		tr := &f.trees[i]
		if int(tr.size) > f.opts.Samples {
			t.Fatalf("tree %d holds %d samples of %d", i, tr.size, f.opts.Samples)
		}
		masses := map[uint32]int{}
		used := map[uint32]bool{}
		if tr.size > 0 {
			mass, _ := checkNode(t, f, i, 0, masses, used)
			if mass != int(tr.size) {
				t.Fatalf("tree %d: root mass %d, sample %d", i, mass, tr.size)
			}
		}
		for id := range masses {
			holds[id]++
		}
		free := 0
		slots := f.slotsOf(i)
		for pair := tr.free; int(pair) <= f.opts.Samples; pair = uint32(slots[2*pair]) {
			if pair == 0 || used[pair] {
				t.Fatalf("tree %d: pair %d is free and in use", i, pair)
			}
			used[pair] = true
			free++
		}
		if len(used) != f.opts.Samples {
			t.Fatalf("tree %d: %d pairs used and free, want %d", i, len(used), f.opts.Samples)
		}
		heap := f.weights[i*f.opts.Samples : i*f.opts.Samples+int(tr.size)]
		for at := range heap {
			if at > 0 && heap[(at-1)/2] < heap[at] {
				t.Fatalf("tree %d: heap broken at %d", i, at)
			}
			masses[f.refs.get(i*f.opts.Samples+at)]--
		}
		for id, n := range masses {
			if n != 0 {
				t.Fatalf("tree %d: point %d has %d copies more in the tree than in the sample", i, id, n)
			}
		}
		if int(tr.size) == f.opts.Samples && tr.next <= f.learned {
			t.Fatalf("tree %d: next accepted is %d, learned %d", i, tr.next, f.learned)
		}
	}
	w := &f.points
	free := map[uint32]bool{}
	for at := w.free; at >= 0; at = int32(math.Float32bits(w.data[int(at)*w.width])) {
		if int(at) < w.ring+w.span-1 || free[uint32(at)] {
			t.Fatalf("place %d is free in the ring or twice", at)
		}
		free[uint32(at)] = true
	}
	for id := range uint32(w.total) {
		if w.holds.get(id) != holds[id] {
			t.Fatalf("point %d is held by %d trees, counted %d", id, holds[id], w.holds.get(id))
		}
		if free[id] && holds[id] > 0 {
			t.Fatalf("point %d is held and free", id)
		}
	}
	for id := w.ring + w.span - 1; id < w.total; id += w.span {
		if !free[uint32(id)] && holds[uint32(id)] == 0 {
			t.Fatalf("place %d is lost", id)
		}
	}
}

// checkBoxes proves that each heavy node of a forest that is awake has a box of
// its own and that all others are free.
func checkBoxes(t testing.TB, f *Forest) {
	t.Helper()
	b := &f.boxes
	if !b.awake {
		if b.data != nil {
			t.Fatal("a forest at rest has boxes")
		}
		return
	}
	if b.names == nil {
		if f.opts.BoxMass > 2 || len(b.data) != len(f.arena)/2*b.size {
			t.Fatalf("%d boxes without names, %d pairs", len(b.data)/b.size, len(f.arena)/2)
		}
		return
	}
	total := len(b.data) / b.size
	used := make([]bool, total)
	use := func(name int, what string) {
		t.Helper()
		if name >= total || used[name] {
			t.Fatalf("%s is number %d of %d, or it is in use twice", what, name, total)
		}
		used[name] = true
	}
	for list, head := range append(slices.Clone(b.own), b.free) {
		for at := head; at >= 0; at = int32(math.Float32bits(b.data[int(at)*b.size])) {
			use(int(at), "a free box")
			if own := min(int(at)/max(b.home, 1), len(b.own)); own != list && int(at) < b.home*len(b.own) {
				t.Fatalf("free box %d is on the list of tree %d", at, list)
			}
		}
	}
	for i := range f.trees {
		var visit func(at uint32)
		visit = func(at uint32) {
			slot := f.slotsOf(i)[at]
			pair := f.pairOf(slot)
			if pair == 0 || f.massOf(slot) < f.opts.BoxMass {
				return
			}
			name := int(b.name(uint32(i*f.slots/2) + pair))
			use(name, "the box of a node")
			if name < b.home*len(b.own) && name/b.home != i {
				t.Fatalf("tree %d has a box of tree %d", i, name/b.home)
			}
			visit(2 * pair)
			visit(2*pair + 1)
		}
		if f.trees[i].size > 0 {
			visit(0)
		}
	}
	for name, in := range used {
		if !in {
			t.Fatalf("box %d of %d is lost", name, total)
		}
	}
}

func checkNode(t testing.TB, f *Forest, i int, at uint32, masses map[uint32]int, used map[uint32]bool) (int, []float32) {
	t.Helper()
	slot := f.slotsOf(i)[at]
	pair := f.pairOf(slot)
	if pair == 0 {
		id := uint32(slot >> 32)
		if masses[id] != 0 {
			t.Fatalf("tree %d holds point %d in two leaves", i, id)
		}
		masses[id] = f.massOf(slot)
		point := f.points.at(id)
		box := make([]float32, 2*f.pad)
		copy(box, point)
		copy(box[f.pad:], point)
		return f.massOf(slot), box
	}
	if used[pair] {
		t.Fatalf("tree %d: pair %d has two parents", i, pair)
	}
	used[pair] = true
	left, a := checkNode(t, f, i, 2*pair, masses, used)
	right, b := checkNode(t, f, i, 2*pair+1, masses, used)
	if left+right != f.massOf(slot) {
		t.Fatalf("tree %d: node of mass %d has children of %d and %d", i, f.massOf(slot), left, right)
	}
	dim, cut := uint32(slot)&f.dimMask, math.Float32frombits(uint32(slot>>32))
	if !(a[f.pad+int(dim)] <= cut && cut < b[dim]) {
		t.Fatalf("tree %d: cut %v of dimension %d is not between %v and %v", i, cut, dim, a[f.pad+int(dim)], b[dim])
	}
	for d := range f.pad {
		a[d], a[f.pad+d] = min(a[d], b[d]), max(a[f.pad+d], b[f.pad+d])
	}
	if f.massOf(slot) < f.opts.BoxMass || !f.boxes.awake {
		return f.massOf(slot), a
	}
	for d, x := range f.box(uint32(i*f.slots) + 2*pair) {
		if x != a[d] {
			t.Fatalf("tree %d: box of pair %d is %v at %d, want %v", i, pair, x, d, a[d])
		}
	}
	return f.massOf(slot), a
}

// seal makes the checksum of a saved forest good.
func seal(data []byte) {
	end := len(data) - 4
	binary.LittleEndian.PutUint32(data[end:], crc32.Checksum(data[:end], castagnoli))
}
