// Package vector is the arithmetic of the random cut forest on float32
// vectors: how far a point is outside a box, and boxes that grow. There is one
// set of kernels for the vector unit of the processor (AVX2 on amd64, NEON on
// arm64) and one in plain Go, which is always built. Both give the same bits
// for the same input, so a forest needs not know which it runs on.
//
// # Contract
//
// A vector has dims float32, a multiple of 8 and at least 8; what a point does
// not use is 0 in the point and in the box. A box is 2*dims float32, first
// every lower bound, then every upper bound, and lower <= upper. Alignment does
// not matter. Nothing may be NaN. Lengths are not checked: a caller that breaks
// the contract reads and writes memory that is not its own.
//
// # Same bits
//
// Denormal numbers are kept, and multiplications are never fused with
// additions. A sum over a vector adds up its blocks of 8 in order, lane by lane,
// then lane i+4 onto lane i, lane i+2 onto i and lane 1 onto 0. A sum that
// exceeds float32 is +Inf. The difference of two equal infinities counts as no distance in
// [Set.Excess] and [Set.Blend], and makes a range and an L1 distance NaN, whose
// bits alone may differ between machines.
package vector

import "unsafe"

// Set is a set of kernels. The zero value is the one in plain Go.
type Set struct{ wide bool }

// Portable returns the kernels in plain Go, for tests and measurements beside
// [Best].
func Portable() Set { return Set{} }

// Best returns the fastest kernels that this processor can run. On amd64
// GODEBUG=cpu.avx2=off in the environment makes that the ones in plain Go.
func Best() Set { return Set{wide: wide()} }

// String names the instructions that the set is made of: avx2, neon or go.
func (s Set) String() string {
	if s.wide {
		return wideName
	}
	return "go"
}

// Excess returns how far p is outside box, summed over the dimensions, and the
// sum of the sides of box. The excess is 0 exactly when box contains p.
func (s Set) Excess(p, box []float32) (excess, span float32) {
	return excess8(s, unsafe.SliceData(p), unsafe.SliceData(box), len(p))
}

// L1 returns the sum of the absolute differences of a and b, 0 exactly when
// they are equal.
func (s Set) L1(a, b []float32) float32 {
	return l18(s, unsafe.SliceData(a), unsafe.SliceData(b), len(a))
}

// Grow makes box the smallest box that contains box and p, and reports whether
// that changed it. A bound is replaced only by a smaller or larger number, so a
// bound of 0 stays what it is when p has -0 there.
func (s Set) Grow(box, p []float32) bool {
	at := unsafe.SliceData(p)
	return union8(s, unsafe.SliceData(box), at, at, len(p))
}

// Union makes box the smallest box that contains box and other, and reports
// whether that changed it; it treats zeros as [Set.Grow] does.
func (s Set) Union(box, other []float32) bool {
	dims := len(other) / 2
	return union8(s, unsafe.SliceData(box), unsafe.SliceData(other), unsafe.SliceData(other[dims:]), dims)
}

// Blend takes the attribution of a score one level up the tree: every
// dimension becomes keep times what it was plus scale times the distance of p
// beyond the upper bound of box (in high) or below the lower one (in low).
func (s Set) Blend(high, low, p, box []float32, scale, keep float32) {
	blend8(s, unsafe.SliceData(high), unsafe.SliceData(low), unsafe.SliceData(p), unsafe.SliceData(box), len(p), scale, keep)
}
