//go:build !amd64 && !arm64

package vector

const wideName = "go"

func wide() bool { return false }

func excess8(s Set, p, box *float32, dims int) (excess, span float32) {
	return portableExcess(s, p, box, dims)
}
func l18(s Set, a, b *float32, dims int) float32 { return portableL1(s, a, b, dims) }
func union8(s Set, box, lower, upper *float32, dims int) bool {
	return portableUnion(s, box, lower, upper, dims)
}

func blend8(s Set, high, low, p, box *float32, dims int, scale, keep float32) {
	portableBlend(s, high, low, p, box, dims, scale, keep)
}
