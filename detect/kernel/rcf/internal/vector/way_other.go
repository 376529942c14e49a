//go:build !amd64

package vector

func descend8(s Set, w *Way, n int) { portableDescend(s, w, n) }

func climb8(s Set, w *Way, tree int, score float64) (top int, total float64) {
	return portableClimb(s, w, tree, score)
}

func ahead8(Set, *Way, int) {}
