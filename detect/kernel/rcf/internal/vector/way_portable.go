//nolint:unused // the assembly jumps to these kernels when the set is the portable one
package vector

import (
	"slices"
	"unsafe"
)

func add[T any](p *T, n int) *T {
	var x T
	return (*T)(unsafe.Add(unsafe.Pointer(p), n*int(unsafe.Sizeof(x))))
}

func portableDescend(_ Set, w *Way, from, to int) {
	n := to - from
	for i := range n {
		*add(w.Going, i) = uint32(from + i)
	}
	path := w.Paths
	for level := int32(0); n > 0; level++ {
		next := add(path, w.Trees)
		left := 0
		for i := range n {
			t := *add(w.Going, i)
			slot := *add(w.Arena, int(*add(path, int(t))))
			low := uint32(slot)
			pair := low >> (w.DimBits & 31) & w.PairMask
			at := *add(w.Paths, int(t)) + 2*pair
			point := int(low & w.DimMask)
			if w.Starts != nil {
				point += int(*add(w.Starts, int(t)))
			}
			if cut := uint32(slot >> 32); *add(w.Point, point) > *(*float32)(unsafe.Pointer(&cut)) {
				at++
			}
			*add(next, int(t)) = at
			*add(w.Depths, int(t)) = level
			*add(w.Going, left) = t
			if pair != 0 {
				left++
			}
		}
		n, path = left, next
	}
}

func portableMeet(_ Set, w *Way, n int) int {
	left := 0
	for i := range n {
		t := int(*add(w.Going, i))
		depth := *add(w.Depths, t)
		near := w.row(*add(w.Arena, int(*add(w.Paths, int(depth)*w.Trees+t))) >> 32)
		*add(w.Scores, t) = *add(w.Worth, int(depth))
		if equal(w.Point, near, w.Dims) {
			depth = -1
		}
		*add(w.Tops, t) = depth
		if depth > 0 {
			*add(w.Going, left) = uint32(t)
			left++
		}
	}
	return left
}

// last marks the last row of a node in a list.
const last = 1 << 31

func portableGather(_ Set, w *Way, tree int) {
	list := add(w.Lists, tree*w.List)
	level := int(*add(w.Depths, tree))
	base := uint32(tree * w.Slots)
	n, nodes := 1, uint32(0)
	for ; level > 0; level-- {
		up := *add(w.Arena, int(*add(w.Paths, (level-1)*w.Trees+tree)))
		if uint32(up)>>(w.MassShift&31) >= w.Few {
			break
		}
		*w.Waiting = *add(w.Paths, level*w.Trees+tree) ^ 1
		for left := 1; left > 0; {
			left--
			slot := *add(w.Arena, int(*add(w.Waiting, left)))
			pair := uint32(slot) >> (w.DimBits & 31) & w.PairMask
			if pair == 0 {
				*add(list, n) = uint32(slot >> 32)
				n++
				continue
			}
			*add(w.Waiting, left), *add(w.Waiting, left+1) = base+2*pair, base+2*pair+1
			left += 2
		}
		*add(list, n-1) |= last
		nodes++
	}
	*list = nodes
}

func portableRise(s Set, w *Way, tree int, score float64) (int, float64) {
	level := int(*add(w.Depths, tree))
	list := add(w.Lists, tree*w.List)
	next, box := 1, w.Light
	near := unsafe.Slice(w.row(*add(w.Arena, int(*add(w.Paths, level*w.Trees+tree)))>>32), w.Dims)
	copy(unsafe.Slice(box, w.Dims), near)
	copy(unsafe.Slice(add(box, w.Dims), w.Dims), near)
	for light := *list; light > 0; light-- {
		for more := true; more; next++ {
			id := *add(list, next)
			row := w.row(uint64(id &^ last))
			union8(s, box, row, row, w.Dims)
			more = id&last == 0
		}
		outside := false
		if score, outside = w.weigh(s, box, level, tree, score); !outside {
			break
		}
		level--
	}
	return level, score
}

func portableClimb(s Set, w *Way, n int) {
	for i := range n {
		t := int(*add(w.Going, i))
		level, score := int(*add(w.Tops, t)), *add(w.Scores, t)
		for ; level > 0; level-- {
			pair := int(*add(w.Paths, level*w.Trees+t) / 2)
			name := pair
			if w.Names != nil {
				name = int(*add(w.Names, pair<<w.Wide))
			}
			if w.Wide > 0 {
				name |= int(*add(w.Names, pair<<w.Wide+1)) << 16
			}
			outside := false
			if score, outside = w.weigh(s, add(w.Boxes, name*2*w.Dims), level, t, score); !outside {
				break
			}
		}
		*add(w.Tops, t), *add(w.Scores, t) = int32(level), score
	}
}

// weigh takes a score past the box above a level of a tree and reports whether
// the point is outside that box.
func (w *Way) weigh(s Set, box *float32, level, tree int, score float64) (float64, bool) {
	excess, span := excess8(s, w.Point, box, w.Dims)
	if excess == 0 {
		return score, false
	}
	*add(w.Gaps, level*w.Trees+tree) = [2]float32{excess, span}
	whole := float64(excess) + float64(span)
	if whole > w.Most {
		w.Most = whole
	}
	chance := float64(excess) / whole
	// The conversion keeps the compiler from fusing, which would round once.
	return score + float64(chance*(*add(w.Worth, level-1)-score)), true
}

// row returns the row of a point, padded to Dims.
func (w *Way) row(id uint64) *float32 {
	row := add(w.Rows, int(id)*w.Width)
	if *add(w.Mask, w.Dims-1) != 0 {
		return row
	}
	for i := 0; *add(w.Mask, i) != 0; i++ {
		*add(w.Padded, i) = *add(row, i)
	}
	return w.Padded
}

func portableHull(s Set, w *Way, box *float32, ids *uint32, n int) bool {
	old := unsafe.Slice(w.Old, 2*w.Dims)
	now := unsafe.Slice(box, 2*w.Dims)
	copy(old, now)
	first := unsafe.Slice(w.row(uint64(*ids)), w.Dims)
	copy(now, first)
	copy(now[w.Dims:], first)
	for i := 1; i < n; i++ {
		point := w.row(uint64(*add(ids, i)))
		union8(s, box, point, point, w.Dims)
	}
	return !slices.Equal(old, now)
}

func portableAround(_ Set, box, lower, upper, otherLower, otherUpper *float32, dims int) bool {
	top := behind(box, dims)
	var changed uint32
	for at := 0; at < dims; at += 8 {
		lo, otherLo, loBits, otherLoBits := eightAt(lower, at), eightAt(otherLower, at), bitsAt(lower, at), bitsAt(otherLower, at)
		hi, otherHi, hiBits, otherHiBits := eightAt(upper, at), eightAt(otherUpper, at), bitsAt(upper, at), bitsAt(otherUpper, at)
		boxLo, boxHi := bitsAt(box, at), bitsAt(top, at)
		for i := range lo {
			l := loBits[i] ^ (loBits[i]^otherLoBits[i])&less(otherLo[i], lo[i])
			h := hiBits[i] ^ (hiBits[i]^otherHiBits[i])&less(hi[i], otherHi[i])
			changed |= (boxLo[i] ^ l) | (boxHi[i] ^ h)
			boxLo[i], boxHi[i] = l, h
		}
	}
	return changed != 0
}
