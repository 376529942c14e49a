package vector

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func benchmark(b *testing.B, bytesPerDim int64, f func(s Set, in *input)) {
	for _, s := range []Set{Best(), Portable()} {
		for _, dims := range []int{8, 16, 32} {
			b.Run(fmt.Sprintf("set=%v/dims=%d", s, dims), func(b *testing.B) {
				random := rand.New(rand.NewPCG(7, 8))
				in := &input{scale: 0.25, keep: 0.5}
				for _, v := range []*[]float32{&in.p, &in.q, &in.high, &in.low, &in.box, &in.other} {
					*v = make([]float32, 2*dims)
					for i := range *v {
						(*v)[i] = random.Float32()
					}
				}
				in.p, in.q, in.high, in.low = in.p[:dims], in.q[:dims], in.high[:dims], in.low[:dims]
				for i := range dims {
					in.box[i], in.box[dims+i] = in.box[i]/2, 0.5+in.box[dims+i]/2
					in.other[i], in.other[dims+i] = in.other[i]/2, 0.5+in.other[dims+i]/2
				}
				b.SetBytes(bytesPerDim * int64(dims))
				for b.Loop() {
					f(s, in)
				}
			})
		}
	}
}

func BenchmarkExcess(b *testing.B) {
	benchmark(b, 12, func(s Set, in *input) { s.Excess(in.p, in.box) })
}

func BenchmarkL1(b *testing.B) {
	benchmark(b, 8, func(s Set, in *input) { s.L1(in.p, in.q) })
}

func BenchmarkGrow(b *testing.B) {
	benchmark(b, 20, func(s Set, in *input) { s.Grow(in.box, in.p) })
}

func BenchmarkUnion(b *testing.B) {
	benchmark(b, 24, func(s Set, in *input) { s.Union(in.box, in.other) })
}

func BenchmarkBlend(b *testing.B) {
	benchmark(b, 28, func(s Set, in *input) { s.Blend(in.high, in.low, in.p, in.box, in.scale, in.keep) })
}
