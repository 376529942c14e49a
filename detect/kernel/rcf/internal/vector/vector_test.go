package vector

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// kernels are the results of every kernel on one input, as bits.
type kernels struct {
	Excess, Span, L1 uint32
	Grown, Union     []uint32
	Grew, United     bool
	High, Low        []uint32
}

// input is a point, another one, two boxes and two attributions of dims.
type input struct {
	p, q, high, low []float32
	box, other      []float32
	scale, keep     float32
}

// run calls every kernel of s on copies of in that begin shift elements into
// an array which is NaN all around: a kernel that reads or writes beside its
// vectors is found out.
func run(tb rapid.TB, s Set, in input, shift int) kernels {
	tb.Helper()
	var guarded [][]float32
	place := func(v []float32) []float32 {
		all := make([]float32, shift+len(v)+16)
		for i := range all {
			all[i] = float32(math.NaN())
		}
		copy(all[shift:], v)
		guarded = append(guarded, all[:shift], all[shift+len(v):])
		return all[shift : shift+len(v) : shift+len(v)]
	}
	p, q, box, other := place(in.p), place(in.q), place(in.box), place(in.other)
	var k kernels
	excess, span := s.Excess(p, box)
	k.Excess, k.Span, k.L1 = bits(excess), bits(span), bits(s.L1(p, q))
	grown, united := place(in.box), place(in.box)
	k.Grew, k.United = s.Grow(grown, p), s.Union(united, other)
	k.Grown, k.Union = bitsOf(grown), bitsOf(united)
	high, low := place(in.high), place(in.low)
	s.Blend(high, low, p, box, in.scale, in.keep)
	k.High, k.Low = bitsOf(high), bitsOf(low)
	for _, v := range guarded {
		for i, x := range v {
			if x == x {
				tb.Fatalf("%v wrote %v beside a vector, at %d of %d", s, x, i, len(v))
			}
		}
	}
	for i, v := range [][]float32{p, q, box, other} {
		if want := [][]float32{in.p, in.q, in.box, in.other}[i]; !slices.Equal(bitsOf(v), bitsOf(want)) {
			tb.Fatalf("%v changed input %d", s, i)
		}
	}
	return k
}

// bits returns those of x; all NaN are one, as the package promises no more.
func bits(x float32) uint32 {
	if x != x {
		x = float32(math.NaN())
	}
	return math.Float32bits(x)
}

func bitsOf(v []float32) []uint32 {
	out := make([]uint32, len(v))
	for i, x := range v {
		out[i] = bits(x)
	}
	return out
}

// spec is what the package promises, word by word.
func spec(in input) kernels {
	dims := len(in.p)
	lo, hi := in.box[:dims], in.box[dims:]
	beyond := func(x float32) float32 {
		if x > 0 {
			return x
		}
		return 0
	}
	sum := func(term func(i int) float32) float32 {
		var lanes [8]float32
		for i := range dims {
			lanes[i%8] += term(i)
		}
		for _, step := range []int{4, 2, 1} {
			for i := range step {
				lanes[i] += lanes[i+step]
			}
		}
		return lanes[0]
	}
	union := func(lower, upper []float32) ([]uint32, bool) {
		out, changed := slices.Clone(in.box), false
		for i := range dims {
			if lower[i] < out[i] {
				out[i], changed = lower[i], true
			}
			if upper[i] > out[dims+i] {
				out[dims+i], changed = upper[i], true
			}
		}
		return bitsOf(out), changed
	}
	k := kernels{
		Excess: bits(sum(func(i int) float32 { return beyond(lo[i]-in.p[i]) + beyond(in.p[i]-hi[i]) })),
		Span:   bits(sum(func(i int) float32 { return hi[i] - lo[i] })),
		L1:     bits(sum(func(i int) float32 { return float32(math.Abs(float64(in.p[i] - in.q[i]))) })),
	}
	k.Grown, k.Grew = union(in.p, in.p)
	k.Union, k.United = union(in.other[:dims], in.other[dims:])
	for i := range dims {
		kept, scaled := in.keep*in.high[i], in.scale*beyond(in.p[i]-hi[i])
		k.High = append(k.High, bits(float32(kept)+float32(scaled)))
		kept, scaled = in.keep*in.low[i], in.scale*beyond(lo[i]-in.p[i])
		k.Low = append(k.Low, bits(float32(kept)+float32(scaled)))
	}
	return k
}

// extremes are the numbers at which an order, a sign or a rounding could differ.
var extremes = []float32{
	0, float32(math.Copysign(0, -1)), 1, -1, 1 + 1.0/(1<<23),
	math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 3 * math.SmallestNonzeroFloat32,
	0x1p-126, -0x1p-126, 0x1p-126 - 0x1p-149,
	math.MaxFloat32, -math.MaxFloat32, math.MaxFloat32 / 2, 1 << 24, 1<<24 + 2,
	float32(math.Inf(1)), float32(math.Inf(-1)),
}

// number makes a number of 4 random bytes: an extreme one, a small whole one
// (so that numbers are often equal), one of common size, or any at all.
func number(random uint32) float32 {
	switch kind, rest := random&3, random>>2; kind {
	case 0:
		return extremes[rest%uint32(len(extremes))]
	case 1:
		return float32(int(rest%5) - 2)
	case 2:
		return float32(int32(random)) / (1 << 20)
	}
	if x := math.Float32frombits(random); x == x {
		return x
	}
	return 0
}

// inputOf makes an input of dims from random numbers.
func inputOf(dims int, next func() uint32) input {
	vector := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = number(next())
		}
		return v
	}
	box := func() []float32 {
		b := vector(2 * dims)
		for i := range dims {
			if b[i] > b[dims+i] {
				b[i], b[dims+i] = b[dims+i], b[i]
			}
		}
		return b
	}
	in := input{
		p: vector(dims), q: vector(dims), high: vector(dims), low: vector(dims),
		box: box(), other: box(), scale: number(next()), keep: number(next()),
	}
	// Most pairs of leaves differ early and most points are in the box near the
	// root, so some inputs have to agree in all places but a few.
	switch next() % 4 {
	case 0:
		copy(in.q, in.p)
		in.q[int(next()%uint32(dims))] = number(next())
	case 1:
		copy(in.p, in.box[:dims])
		copy(in.other, in.box)
		in.p[int(next()%uint32(dims))] = number(next())
		at := int(next() % uint32(dims))
		in.other[at] = min(in.other[at], number(next()))
	}
	return in
}

// same fails unless every kernel of both sets gives, on in, the bits that the
// package promises.
func same(tb rapid.TB, in input, shift int) {
	tb.Helper()
	want := spec(in)
	for _, s := range []Set{Portable(), Best()} {
		if got := run(tb, s, in, shift); !reflect.DeepEqual(got, want) {
			tb.Errorf("%v, dims %d, shift %d: %s", s, len(in.p), shift, differences(got, want))
		}
	}
}

// differences names what is not as wanted, of vectors the first number only.
func differences(got, want kernels) string {
	var out []string
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		name, x, y := g.Type().Field(i).Name, g.Field(i), w.Field(i)
		if x.Kind() == reflect.Slice {
			for j := range x.Len() {
				if a, b := x.Index(j).Uint(), y.Index(j).Uint(); a != b {
					out = append(out, fmt.Sprintf("%s[%d] is %08x, want %08x", name, j, a, b))
					break
				}
			}
		} else if !x.Equal(y) {
			out = append(out, fmt.Sprintf("%s is %v, want %v", name, x, y))
		}
	}
	return strings.Join(out, "; ")
}

// lengths are all dims from 8 to 256.
func lengths(f func(dims int)) {
	for dims := 8; dims <= 256; dims += 8 {
		f(dims)
	}
}

func TestEveryLengthGivesTheSameBits(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	lengths(func(dims int) {
		for range 8 {
			same(t, inputOf(dims, random.Uint32), 0)
		}
	})
}

func TestEveryAlignmentGivesTheSameBits(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for shift := range 16 {
		for _, dims := range []int{8, 16, 24, 32, 40} {
			same(t, inputOf(dims, random.Uint32), shift)
		}
	}
}

// Every pair of extremes meets in every kernel, as point and bound.
func TestExtremesGiveTheSameBits(t *testing.T) {
	for i, x := range extremes {
		for j, y := range extremes {
			at := 0
			in := inputOf(16, func() uint32 { at++; return uint32(i*31+j+at) << 2 })
			for k := range in.p {
				in.p[k], in.q[k] = x, y
				in.box[k], in.box[16+k] = min(y, x), y
				if y < x {
					in.box[k] = y
				}
				in.other[k], in.other[16+k] = min(x, y), max(x, y)
				in.high[k], in.low[k] = y, x
			}
			same(t, in, 1)
			in.scale, in.keep = x, y
			same(t, in, 1)
		}
	}
}

func TestAnyInputGivesTheSameBits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dims := 8 * rapid.IntRange(1, 32).Draw(t, "blocks")
		random := rapid.Uint32()
		in := inputOf(dims, func() uint32 { return random.Draw(t, "random") })
		same(t, in, rapid.IntRange(0, 15).Draw(t, "shift"))
	})
}

func FuzzSameBits(f *testing.F) {
	f.Add([]byte("\x00"))
	f.Add([]byte("\x01\x00\x00\x00\x80\x00\x00\x80\x3f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		dims, shift := 8*(1+int(data[0]&31)), int(data[0]>>5)
		data = data[1:]
		at := uint32(0)
		// After the last byte the numbers go on without end, so that every
		// text is an input.
		next := func() uint32 {
			at++
			if len(data) < 4 {
				return at * 0x9E3779B9
			}
			x := binary.LittleEndian.Uint32(data)
			data = data[4:]
			return x
		}
		same(t, inputOf(dims, next), shift)
	})
}

func TestMeanings(t *testing.T) {
	p, box := make([]float32, 8), make([]float32, 16)
	for i := range 8 {
		box[i], box[8+i] = -1, 1
	}
	for _, s := range []Set{Portable(), Best()} {
		f := func(x, y, excess, l1 float32) {
			t.Helper()
			p[0], p[5] = x, y
			if e, span := s.Excess(p, box); e != excess || span != 16 {
				t.Errorf("%v: excess of %v is %v of %v, want %v of 16", s, p, e, span, excess)
			}
			if d := s.L1(p, make([]float32, 8)); d != l1 {
				t.Errorf("%v: distance of %v from 0 is %v, want %v", s, p, d, l1)
			}
			grown := slices.Clone(box)
			if grew := s.Grow(grown, p); grew != (excess > 0) {
				t.Errorf("%v: %v grew the box: %v", s, p, grew)
			}
			if e, span := s.Excess(p, grown); e != 0 || span != 16+excess {
				t.Errorf("%v: excess of %v of its own box is %v of %v", s, p, e, span)
			}
		}
		f(0, 0, 0, 0)
		f(1, -1, 0, 2)
		f(3, 0.5, 2, 3.5)
		f(-2, 4, 4, 6)
	}
}

func TestSets(t *testing.T) {
	if got := Portable().String(); got != "go" {
		t.Errorf("the portable set is called %q", got)
	}
	if (Set{}) != Portable() {
		t.Error("the zero set is not the portable one")
	}
	if Best() == Portable() {
		t.Skip("this processor has no set of its own: the tests compared the one in Go with itself")
	}
	if got := Best().String(); got != wideName {
		t.Errorf("the best set is called %q, want %q", got, wideName)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	in := inputOf(32, rand.New(rand.NewPCG(5, 6)).Uint32)
	for _, s := range []Set{Portable(), Best()} {
		if n := testing.AllocsPerRun(100, func() { once(s, in) }); n != 0 {
			t.Errorf("%v: %v allocations for one call of each kernel", s, n)
		}
	}
}

// once calls each kernel once.
func once(s Set, in input) {
	s.Excess(in.p, in.box)
	s.L1(in.p, in.q)
	s.Grow(in.box, in.p)
	s.Union(in.box, in.other)
	s.Blend(in.high, in.low, in.p, in.box, in.scale, in.keep)
}
