//nolint:unused // the assembly jumps to these kernels when the set is the portable one
package vector

import (
	"math"
	"runtime"
	"unsafe"
)

// The compiler makes a branch of a choice between floats, and which way it goes
// is as random as the data. So floats are chosen by masks over their bits.

// above returns x when it is positive and else 0, also for -0 and NaN.
func above(x float32) float32 {
	bits := math.Float32bits(x)
	bits &= bits>>31 - 1
	// The NaN of a difference has its sign set on x86 only.
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "386" {
		bits &= uint32(int32(bits-(0x7F800000+1)) >> 31)
	}
	return math.Float32frombits(bits)
}

// beyond returns how far x is outside [lo,hi]. One side at most is not 0, so
// the bits of both together are those of the sum.
func beyond(lo, x, hi float32) float32 {
	return math.Float32frombits(math.Float32bits(above(lo-x)) | math.Float32bits(above(x-hi)))
}

// less returns all ones when x < y and else 0; of two equal infinities it may
// return either.
func less(x, y float32) uint32 {
	bits := int32(math.Float32bits(y - x))
	// Positive, which -0 and its negative, both the least number, are not.
	return uint32((-bits &^ bits) >> 31)
}

func distance(x, y float32) float32 {
	return math.Float32frombits(math.Float32bits(x-y) &^ (1 << 31))
}

type (
	four  = [4]float32
	eight = [8]float32
)

// behind returns the address of the element n places behind p. It is not past
// the end of the vector that p is in, as a box has two halves.
func behind(p *float32, n int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), n*4))
}

// fourAt, eightAt and bitsAt save the check of bounds, as the vector unit does.
func fourAt(p *float32, at int) *four   { return (*four)(unsafe.Pointer(behind(p, at))) }
func eightAt(p *float32, at int) *eight { return (*eight)(unsafe.Pointer(behind(p, at))) }

func bitsAt(p *float32, at int) *[8]uint32 {
	return (*[8]uint32)(unsafe.Pointer(behind(p, at)))
}

func portableExcess(_ Set, p, box *float32, dims int) (excess, span float32) {
	e0, e1, e2, e3, r0, r1, r2, r3 := excess4(p, box, dims, 0)
	e4, e5, e6, e7, r4, r5, r6, r7 := excess4(p, box, dims, 4)
	return ((e0 + e4) + (e2 + e6)) + ((e1 + e5) + (e3 + e7)), ((r0 + r4) + (r2 + r6)) + ((r1 + r5) + (r3 + r7))
}

// excess4 sums 4 of the 8 lanes, as many as there are registers for.
func excess4(p, box *float32, dims, at int) (e0, e1, e2, e3, r0, r1, r2, r3 float32) {
	upper := behind(box, dims)
	for ; at < dims; at += 8 {
		x, lo, hi := fourAt(p, at), fourAt(box, at), fourAt(upper, at)
		e0 += beyond(lo[0], x[0], hi[0])
		e1 += beyond(lo[1], x[1], hi[1])
		e2 += beyond(lo[2], x[2], hi[2])
		e3 += beyond(lo[3], x[3], hi[3])
		r0 += hi[0] - lo[0]
		r1 += hi[1] - lo[1]
		r2 += hi[2] - lo[2]
		r3 += hi[3] - lo[3]
	}
	return e0, e1, e2, e3, r0, r1, r2, r3
}

func portableL1(_ Set, a, b *float32, dims int) float32 {
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	for at := 0; at < dims; at += 8 {
		x, y := eightAt(a, at), eightAt(b, at)
		s0 += distance(x[0], y[0])
		s1 += distance(x[1], y[1])
		s2 += distance(x[2], y[2])
		s3 += distance(x[3], y[3])
		s4 += distance(x[4], y[4])
		s5 += distance(x[5], y[5])
		s6 += distance(x[6], y[6])
		s7 += distance(x[7], y[7])
	}
	return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))
}

// Vectors that differ do so early, so this one leaves at the first difference.
func equal(a, b *float32, dims int) bool {
	x, y := unsafe.Slice(a, dims), unsafe.Slice(b, dims)
	for i := range x {
		if x[i] != y[i] {
			return false
		}
	}
	return true
}

func portableUnion(_ Set, box, lower, upper *float32, dims int) bool {
	top := behind(box, dims)
	var changed uint32
	for at := 0; at < dims; at += 8 {
		lo, otherLo, loBits, otherLoBits := eightAt(box, at), eightAt(lower, at), bitsAt(box, at), bitsAt(lower, at)
		hi, otherHi, hiBits, otherHiBits := eightAt(top, at), eightAt(upper, at), bitsAt(top, at), bitsAt(upper, at)
		for i := range lo {
			l := (loBits[i] ^ otherLoBits[i]) & less(otherLo[i], lo[i])
			h := (hiBits[i] ^ otherHiBits[i]) & less(hi[i], otherHi[i])
			loBits[i] ^= l
			hiBits[i] ^= h
			changed |= l | h
		}
	}
	return changed != 0
}

func portableBlend(_ Set, high, low, p, box *float32, dims int, scale, keep float32) {
	top := behind(box, dims)
	for at := 0; at < dims; at += 8 {
		up, down, x, lo, hi := eightAt(high, at), eightAt(low, at), eightAt(p, at), eightAt(box, at), eightAt(top, at)
		for i := range x {
			// The conversions keep the compiler from fusing, which would round once.
			up[i] = float32(keep*up[i]) + float32(scale*above(x[i]-hi[i]))
			down[i] = float32(keep*down[i]) + float32(scale*above(lo[i]-x[i]))
		}
	}
}
