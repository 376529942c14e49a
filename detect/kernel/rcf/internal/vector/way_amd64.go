package vector

import "unsafe"

//go:noescape
func descend8(s Set, w *Way, from, to int)

//go:noescape
func meet8(s Set, w *Way, n int) int

//go:noescape
func scout8(s Set, w *Way, from, to int)

//go:noescape
func gather8(s Set, w *Way, tree int)

//go:noescape
func rise8(s Set, w *Way, tree int, score float64) (top int, total float64)

//go:noescape
func climb8(s Set, w *Way, n int)

//go:noescape
func hull8(s Set, w *Way, box *float32, ids *uint32, n int) bool

//go:noescape
func around8(s Set, box, lower, upper, otherLower, otherUpper *float32, dims int) bool

//go:noescape
func near8(p unsafe.Pointer, bytes int)
