//go:build !amd64

package vector

import "unsafe"

func descend8(s Set, w *Way, from, to int) { portableDescend(s, w, from, to) }

func meet8(s Set, w *Way, n int) int { return portableMeet(s, w, n) }

func scout8(Set, *Way, int, int) {}

func gather8(s Set, w *Way, tree int) { portableGather(s, w, tree) }

func rise8(s Set, w *Way, tree int, score float64) (top int, total float64) {
	return portableRise(s, w, tree, score)
}

func climb8(s Set, w *Way, n int) { portableClimb(s, w, n) }

func hull8(s Set, w *Way, box *float32, ids *uint32, n int) bool {
	return portableHull(s, w, box, ids, n)
}

func around8(s Set, box, lower, upper, otherLower, otherUpper *float32, dims int) bool {
	return portableAround(s, box, lower, upper, otherLower, otherUpper, dims)
}

func near8(unsafe.Pointer, int) {}
