package vector

import "unsafe"

// Climb is [Set.Excess] over and over: boxes holds boxes one behind the other,
// path names them, at every stride'th element going backwards from the one
// given, each as twice the number of its box, plus 0 or 1. It stops behind
// levels boxes or at the first that contains p, and returns the number of those
// before it; out gets the excess and the span of each and must have room for
// one pair more.
func (s Set) Climb(p, boxes []float32, path *uint32, stride, levels int, out [][2]float32) int {
	return climb8(s, unsafe.SliceData(p), unsafe.SliceData(boxes), path, stride, len(p), levels, unsafe.SliceData(out))
}

func portableClimb(s Set, p, boxes *float32, path *uint32, stride, dims, levels int, out *[2]float32) int {
	for level := range levels {
		excess, span := excess8(s, p, behind(boxes, int(*path/2)*2*dims), dims)
		*out = [2]float32{excess, span}
		if excess == 0 {
			return level
		}
		if level == levels-1 {
			break
		}
		path = (*uint32)(unsafe.Add(unsafe.Pointer(path), -4*stride))
		out = (*[2]float32)(unsafe.Add(unsafe.Pointer(out), 8))
	}
	return levels
}
