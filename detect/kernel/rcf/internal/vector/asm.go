//go:build amd64 || arm64

package vector

import "unsafe"

const wideName = "go"

func wide() bool { return false }

func excess8(_ Set, p, box *float32, dims int) (excess, span float32) {
	return portableExcess(p, box, dims)
}
func l18(_ Set, a, b *float32, dims int) float32 { return portableL1(a, b, dims) }
func equal8(_ Set, a, b *float32, dims int) bool { return portableEqual(a, b, dims) }
func union8(_ Set, box, lower, upper *float32, dims int) bool {
	return portableUnion(box, lower, upper, dims)
}

func blend8(_ Set, high, low, p, box *float32, dims int, scale, keep float32) {
	portableBlend(high, low, p, box, dims, scale, keep)
}

// Prefetch asks the processor to bring the cache line at p near; it does
// nothing.
func Prefetch(unsafe.Pointer) {}
