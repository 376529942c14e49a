package vector

import (
	"math"
	"unsafe"
)

// The compiler has no conditional move for floats but one for integers, so a
// choice between two floats is written as one between their bits.

// above returns x when it is positive and else 0, also for -0 and NaN.
func above(x float32) float32 {
	var bits uint32
	if x > 0 {
		bits = math.Float32bits(x)
	}
	return math.Float32frombits(bits)
}

// sum is the running sum of a vector in the order that the package promises.
type sum [8]float32

func (s *sum) total() float32 {
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

func magnitude(x float32) float32 {
	return math.Float32frombits(math.Float32bits(x) &^ (1 << 31))
}

func portableExcess(_ Set, p, box *float32, dims int) (excess, span float32) {
	point, lower, upper := unsafe.Slice(p, dims), unsafe.Slice(box, dims), unsafe.Slice(behind(box, dims), dims)
	var e, r [2]sum
	for at := 0; at < dims; at += 8 {
		x, lo, hi := (*sum)(point[at:]), (*sum)(lower[at:]), (*sum)(upper[at:])
		es, rs := &e[at>>3&1], &r[at>>3&1]
		for i := range x {
			es[i] += above(lo[i]-x[i]) + above(x[i]-hi[i])
			rs[i] += hi[i] - lo[i]
		}
	}
	for i := range e[0] {
		e[0][i] += e[1][i]
		r[0][i] += r[1][i]
	}
	return e[0].total(), r[0].total()
}

func portableL1(_ Set, a, b *float32, dims int) float32 {
	x, y := unsafe.Slice(a, dims), unsafe.Slice(b, dims)
	var s [2]sum
	for at := 0; at < dims; at += 8 {
		xs, ys, to := (*sum)(x[at:]), (*sum)(y[at:]), &s[at>>3&1]
		for i := range xs {
			to[i] += magnitude(xs[i] - ys[i])
		}
	}
	for i := range s[0] {
		s[0][i] += s[1][i]
	}
	return s[0].total()
}

func portableEqual(_ Set, a, b *float32, dims int) bool {
	x, y := unsafe.Slice(a, dims), unsafe.Slice(b, dims)
	for i := range x {
		if x[i] != y[i] {
			return false
		}
	}
	return true
}

func portableUnion(_ Set, box, lower, upper *float32, dims int) bool {
	lo, hi := unsafe.Slice(box, dims), unsafe.Slice(behind(box, dims), dims)
	olo, ohi := unsafe.Slice(lower, dims), unsafe.Slice(upper, dims)
	var changed uint32
	for i := range lo {
		was, bits := math.Float32bits(lo[i]), math.Float32bits(lo[i])
		if olo[i] < lo[i] {
			bits = math.Float32bits(olo[i])
		}
		lo[i] = math.Float32frombits(bits)
		changed |= was ^ bits
		was, bits = math.Float32bits(hi[i]), math.Float32bits(hi[i])
		if ohi[i] > hi[i] {
			bits = math.Float32bits(ohi[i])
		}
		hi[i] = math.Float32frombits(bits)
		changed |= was ^ bits
	}
	return changed != 0
}

func portableBlend(_ Set, high, low, p, box *float32, dims int, scale, keep float32) {
	up, down, point := unsafe.Slice(high, dims), unsafe.Slice(low, dims), unsafe.Slice(p, dims)
	lower, upper := unsafe.Slice(box, dims), unsafe.Slice(behind(box, dims), dims)
	for i, x := range point {
		// The conversions keep the compiler from fusing, which would round once.
		up[i] = float32(keep*up[i]) + float32(scale*above(x-upper[i]))
		down[i] = float32(keep*down[i]) + float32(scale*above(lower[i]-x))
	}
}
