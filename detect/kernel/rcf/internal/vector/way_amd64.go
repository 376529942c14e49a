package vector

//go:noescape
func descend8(s Set, w *Way, n int)

//go:noescape
func climb8(s Set, w *Way, tree int, score float64) (top int, total float64)

//go:noescape
func ahead8(s Set, w *Way, tree int)
