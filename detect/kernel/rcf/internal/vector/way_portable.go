//nolint:unused // the assembly jumps to these kernels when the set is the portable one
package vector

import "unsafe"

func add[T any](p *T, n int) *T {
	var x T
	return (*T)(unsafe.Add(unsafe.Pointer(p), n*int(unsafe.Sizeof(x))))
}

func portableDescend(_ Set, w *Way, n int) {
	path := w.Paths
	for level := int32(0); n > 0; level++ {
		next := add(path, w.Trees)
		left := 0
		for i := range n {
			t := *add(w.Going, i)
			slot := *add(w.Arena, int(*add(path, int(t))))
			low := uint32(slot)
			pair := low >> (w.DimBits & 31) & w.PairMask
			at := t*uint32(w.Slots) + 2*pair
			if cut := uint32(slot >> 32); *add(w.Point, int(low&w.DimMask)) > *(*float32)(unsafe.Pointer(&cut)) {
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

func portableClimb(s Set, w *Way, tree int, score float64) (int, float64) {
	level := int(*add(w.Depths, tree))
	for ; level > 0; level-- {
		box := add(w.Boxes, int(*add(w.Paths, level*w.Trees+tree)/2)*2*w.Dims)
		excess, span := excess8(s, w.Point, box, w.Dims)
		if excess == 0 {
			break
		}
		whole := float64(excess) + float64(span)
		chance := float64(excess) / whole
		*add(w.Chance, level-1), *add(w.Whole, level-1) = chance, whole
		// The conversion keeps the compiler from fusing, which would round once.
		score += float64(chance * (*add(w.Worth, level-1) - score))
	}
	return level, score
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
