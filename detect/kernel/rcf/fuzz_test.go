package rcf

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

// FuzzForest feeds whatever bytes say: rows repeated, near each other and as far
// apart as float32 goes.
func FuzzForest(f *testing.F) {
	f.Add(uint8(0), uint8(3), []byte("a random cut forest"))
	f.Add(uint8(2), uint8(1), bytes.Repeat([]byte{0, 1, 2, 250, 251, 252, 253, 254, 255}, 40))
	f.Add(uint8(1), uint8(8), bytes.Repeat([]byte{7}, 300))
	f.Fuzz(func(t *testing.T, dims, shingle uint8, data []byte) {
		o := Options{
			Dims: 1 + int(dims%5), Shingle: 1 + int(shingle%10), Trees: 3, Samples: 2 + int(dims/5), TimeDecay: 0.02,
			OutputAfter: 1, InitialAccept: 0.5, Scoring: Scoring(shingle / 10 % 3), BoxMass: 2 + int(shingle/30),
		}
		fast := newForest(t, o)
		o.Scalar, o.BoxMass = true, 2
		slow := newForest(t, o)
		p, q := &Pass{Attribute: true}, &Pass{Attribute: true}
		extremes := []float64{
			math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32,
			0, math.Copysign(0, -1), 1e38, 1e-38,
		}
		row := make([]float64, o.Dims)
		for i := 0; i+o.Dims <= len(data); i += o.Dims {
			for d := range row {
				row[d] = float64(data[i+d])
				if at := int(data[i+d]) - 248; at >= 0 {
					row[d] = extremes[at]
				}
			}
			process(t, fast, p, [][]float64{row})
			process(t, slow, q, [][]float64{row})
			sum := 0.0
			for d := range p.High {
				sum += p.High[d] + p.Low[d]
			}
			if !(p.Score >= 0 && p.Score < math.Inf(1)) || p.Score > 0 && !(math.Abs(sum/p.Score-1) < 1e-6) {
				t.Fatalf("row %v scores %v, its parts %v", row, p.Score, sum)
			}
			if p.Score != q.Score {
				t.Fatalf("row %v scores %v with vectors and %v without", row, p.Score, q.Score)
			}
		}
		check(t, fast)
		check(t, slow)
		loaded, err := Load(o, save(t, fast))
		if err != nil {
			t.Fatal(err)
		}
		check(t, loaded)
		loaded.Rest(p)
		process(t, loaded, p, [][]float64{row})
		check(t, loaded)
	})
}

// FuzzLoad takes a saved forest with bytes changed and the checksum made good.
func FuzzLoad(f *testing.F) {
	o := Options{Dims: 2, Shingle: 2, Trees: 3, Samples: 8, TimeDecay: 0.1}
	forest := newForest(f, o)
	process(f, forest, &Pass{}, o.rows(1, 100))
	f.Add(save(f, forest)[:20], uint16(3), uint8(1))
	f.Add([]byte{}, uint16(200), uint8(255))
	data := save(f, forest)
	f.Fuzz(func(t *testing.T, insert []byte, at uint16, mask uint8) {
		data := bytes.Clone(data)
		i := 5 + int(at)%(len(data)-9)
		data[i] ^= mask
		data = slices.Concat(data[:i], insert, data[i:])
		seal(data)
		loaded, err := Load(o, data)
		if err != nil {
			return
		}
		check(t, loaded)
		process(t, loaded, &Pass{}, o.rows(2, 50))
		check(t, loaded)
	})
}
