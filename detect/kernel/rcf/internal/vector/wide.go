//go:build amd64 || arm64

package vector

// The kernels take the set as an argument and jump to the one in plain Go when
// it is not wide: a choice in Go would make the callers too large to inline,
// and one through a function value would cost a second call each time.

//go:noescape
func excess8(s Set, p, box *float32, dims int) (excess, span float32)

//go:noescape
func l18(s Set, a, b *float32, dims int) float32

//go:noescape
func union8(s Set, box, lower, upper *float32, dims int) bool

//go:noescape
func blend8(s Set, high, low, p, box *float32, dims int, scale, keep float32)
