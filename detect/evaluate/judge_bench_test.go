package evaluate_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/fettleops/fettle/detect/evaluate"
)

// BenchmarkMeasure takes all measures of one seed on a set of the size of the
// whole NAB: 58 series, 365,400 rows, 116 windows, 7 categories.
func BenchmarkMeasure(b *testing.B) {
	set := &evaluate.Set{}
	for _, p := range []float64{0.11, 0.22, 0.05} {
		set.Profiles = append(set.Profiles, evaluate.Profile{Name: "standard", TP: 1, FN: 1, FP: p})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var scores [][]float64
	for i := range 58 {
		s := evaluate.Series{Name: fmt.Sprintf("c%d/%d.csv", i%7, i), Category: fmt.Sprintf("c%d", i%7), Labels: make([]bool, 6300)}
		s.Windows = []evaluate.Window{{First: 2000, Last: 2314}, {First: 5000, Last: 5314}}
		for _, w := range s.Windows {
			for row := w.First; row <= w.Last; row++ {
				s.Labels[row] = true
			}
		}
		row := make([]float64, len(s.Labels))
		for k := range row {
			s.At, s.Values = append(s.At, int64(k)*300_000), append(s.Values, rng.NormFloat64())
			row[k] = rng.Float64()
		}
		set.Series, scores = append(set.Series, s), append(scores, row)
	}
	for _, vus := range []bool{false, true} {
		b.Run(fmt.Sprintf("vus=%v", vus), func(b *testing.B) {
			judge := evaluate.NewJudge(set, 1, vus)
			b.ReportAllocs()
			for b.Loop() {
				judge.Measure(scores)
			}
		})
	}
}
