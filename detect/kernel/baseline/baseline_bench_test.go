package baseline

import (
	"fmt"
	"testing"
)

// A point of a warm model, scored and learned; B of state is what a save takes.
func BenchmarkProcess(b *testing.B) {
	for _, features := range []int{1, 4} {
		for _, c := range []struct {
			name   string
			newFor func() (Scorer, error)
		}{
			{"z-score", func() (Scorer, error) { return NewZScore(ZScoreSettings{Features: features}) }},
			{"differences", func() (Scorer, error) { return NewDifferences(features) }},
			{"mad", func() (Scorer, error) { return NewMAD(MADSettings{Features: features}) }},
			{"seasonal", func() (Scorer, error) { return NewSeasonal(SeasonalSettings{Features: features}) }},
			{"sub-pca/shingle=8", func() (Scorer, error) { return NewSubPCA(SubPCASettings{Features: features}) }},
			{"sub-pca/shingle=64", func() (Scorer, error) { return NewSubPCA(SubPCASettings{Features: features, Shingle: 64}) }},
			{"cusum", func() (Scorer, error) { return NewCUSUM(CUSUMSettings{Features: features}) }},
			{"random", func() (Scorer, error) { return NewRandom(features, 1) }},
			{"null", func() (Scorer, error) { return NewNull(features) }},
		} {
			b.Run(fmt.Sprintf("%s/features=%d", c.name, features), func(b *testing.B) {
				s, err := c.newFor()
				if err != nil {
					b.Fatal(err)
				}
				g := new(splitmix)
				points := make([][]float64, 4096)
				for i := range points {
					points[i] = wave(g, i, features)
				}
				at := int64(0)
				next := func() {
					if _, err := s.Process(at*minute, points[at%int64(len(points))], false); err != nil {
						b.Fatal(err)
					}
					at++
				}
				for range 4096 {
					next()
				}
				b.ReportAllocs()
				b.SetBytes(int64(8 * features))
				for b.Loop() {
					next()
				}
				b.ReportMetric(float64(len(s.AppendState(nil))), "state_B")
			})
		}
	}
}

func BenchmarkJoin(b *testing.B) {
	scores, weights := []float64{0.1, 0.9, 0.3, 0.2, 0}, []float64{1, 2, 3, 1, 1}
	for _, r := range []Rule{Mean, Power, Max, NoisyOr} {
		b.Run(string(r), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Join(scores, weights); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One choice among seven scorers on 4096 points.
func BenchmarkChampion(b *testing.B) {
	past := series(4096, func(g *splitmix, _ int) float64 { return g.normal() })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Champion(past, candidates(), Trials{}); err != nil {
			b.Fatal(err)
		}
	}
}
