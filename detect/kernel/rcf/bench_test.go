package rcf

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// stream is a made-up metric per dimension: a daily and a weekly wave, noise,
// and now and then a spike.
func stream(seed uint64, rows, dims int) [][]float64 {
	rng := rand.New(rand.NewPCG(seed, 1))
	all := make([]float64, rows*dims)
	out := make([][]float64, rows)
	for i := range out {
		row := all[i*dims : (i+1)*dims]
		for d := range row {
			at := float64(i) + float64(d)*37
			row[d] = 50 + 20*math.Sin(at*2*math.Pi/288) + 5*math.Sin(at*2*math.Pi/2016) + 3*rng.NormFloat64()
			if rng.IntN(500) == 0 {
				row[d] += 40
			}
		}
		out[i] = row
	}
	return out
}

// BenchmarkScoreUpdate is one row scored and learned: 50 trees of 256 samples,
// points of 8 rows of 1 or 4 values. Lean forests keep the boxes of nodes of 10
// points or more only; so do the thousand, in turn.
func BenchmarkScoreUpdate(b *testing.B) {
	one := func(scalar bool, models, mass int) {
		prefix := ""
		if mass > 0 && models == 1 {
			prefix = "lean/"
		}
		if scalar {
			prefix = "scalar/"
		}
		if models > 1 {
			prefix = fmt.Sprintf("models=%d/", models)
		}
		for _, dims := range []int{8, 32} {
			b.Run(fmt.Sprintf("%sdims=%d", prefix, dims), func(b *testing.B) {
				benchmarkScoreUpdate(b, Options{Dims: dims / 8, Shingle: 8, Scalar: scalar, BoxMass: mass}, models)
			})
		}
	}
	one(false, 1, 0)
	one(true, 1, 0)
	one(false, 1, 10)
	one(false, 1000, 10)
}

func benchmarkScoreUpdate(b *testing.B, o Options, models int) {
	const warm = 25000
	rows := stream(17, 2*warm, o.Dims)
	first := warmForest(b, o, rows[:warm])
	forests := []*Forest{first}
	for len(forests) < models {
		forests = append(forests, first.clone())
	}
	var p Pass
	if err := first.Score(rows[0], &p); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i, sum := warm*len(forests), 0.0
	begin, from := int64(0), i
	for b.Loop() {
		if i == from {
			begin = cpuNanos()
		}
		if err := forests[i%len(forests)].Process(rows[i/len(forests)%len(rows)], &p); err != nil {
			b.Fatal(err)
		}
		sum += p.Score
		i++
	}
	b.ReportMetric(float64(cpuNanos()-begin)/float64(i-from), "cpu-ns/op")
	b.ReportMetric(float64(first.Bytes()), "live-B")
	first.Rest(nil)
	b.ReportMetric(float64(first.Bytes()), "resting-B")
	if !(sum > 0) {
		b.Fatal("no point scored")
	}
}

// BenchmarkAttribution is BenchmarkScoreUpdate with the attribution.
func BenchmarkAttribution(b *testing.B) {
	for _, dims := range []int{8, 32} {
		b.Run(fmt.Sprintf("dims=%d", dims), func(b *testing.B) {
			rows := stream(17, 25000, dims/8)
			f, p := warmForest(b, Options{Dims: dims / 8, Shingle: 8}, rows), &Pass{Attribute: true}
			if err := f.Process(rows[0], p); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 1; b.Loop(); i++ {
				if err := f.Process(rows[i%len(rows)], p); err != nil || p.Score == 0 {
					b.Fatal(p.Score, err)
				}
			}
		})
	}
}

// BenchmarkWake is a row for a forest at rest: its boxes are made again.
func BenchmarkWake(b *testing.B) {
	for _, dims := range []int{8, 32} {
		b.Run(fmt.Sprintf("dims=%d", dims), func(b *testing.B) {
			rows := stream(17, 10000, dims/8)
			f, p := warmForest(b, Options{Dims: dims / 8, Shingle: 8}, rows), &Pass{}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				f.Rest(p)
				if err := f.Process(rows[i%len(rows)], p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSave is a snapshot of a forest, and BenchmarkLoad its way back.
func BenchmarkSave(b *testing.B) {
	f := warmForest(b, Options{Dims: 1, Shingle: 8}, stream(17, 10000, 1))
	var data []byte
	b.ReportAllocs()
	for b.Loop() {
		data, _ = f.AppendBinary(data[:0])
	}
	b.SetBytes(int64(len(data)))
}

func BenchmarkLoad(b *testing.B) {
	f := warmForest(b, Options{Dims: 1, Shingle: 8}, stream(17, 10000, 1))
	data, _ := f.AppendBinary(nil)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(f.Options(), data); err != nil {
			b.Fatal(err)
		}
	}
}

func warmForest(b *testing.B, o Options, rows [][]float64) *Forest {
	f, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	var p Pass
	for _, row := range rows {
		if err := f.Process(row, &p); err != nil {
			b.Fatal(err)
		}
	}
	return f
}

func (f *Forest) clone() *Forest {
	c := *f
	c.trees = append([]tree(nil), f.trees...)
	c.arena = append([]uint64(nil), f.arena...)
	c.boxes.data = append([]float32(nil), f.boxes.data...)
	c.boxes.own = append([]int32(nil), f.boxes.own...)
	c.boxes.names = append([]uint16(nil), f.boxes.names...)
	c.weights = append([]float32(nil), f.weights...)
	c.refs.low = append([]uint16(nil), f.refs.low...)
	c.refs.high = append([]uint16(nil), f.refs.high...)
	c.points.data = append([]float32(nil), f.points.data...)
	c.points.holds.low = append([]uint8(nil), f.points.holds.low...)
	c.points.holds.high = append([]uint8(nil), f.points.holds.high...)
	return &c
}
