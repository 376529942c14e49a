package baseline

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestJoin(t *testing.T) {
	nan := math.NaN()
	f := func(r Rule, scores, weights []float64, want float64) {
		t.Helper()
		got, err := r.Join(scores, weights)
		if err != nil || math.Abs(got-want) > 1e-12 {
			t.Errorf("%s of %v by %v = %v, %v, want %v", r, scores, weights, got, err, want)
		}
	}
	even := []float64{1, 1, 1}
	f(Mean, []float64{1, 0, 0.5}, even, 0.5)
	f(Mean, []float64{1, 0, 0.5}, []float64{2, 1, 1}, 0.625)
	f(Max, []float64{0.9, 0, 0.5}, even, 0.9)
	f(Max, []float64{0.9, 0, 0.5}, []float64{1, 1, 2}, 0.5)
	f(NoisyOr, []float64{0.5, 0, 0.5}, even, 0.75)
	f(NoisyOr, []float64{0.5, 0, 0.5}, []float64{1, 1, 2}, 1-0.75*0.5)
	f(Power, []float64{1, 0, 0}, even, math.Cbrt(1./3))
	f(Power, []float64{1, 1, 0}, even, math.Cbrt(2./3))
	f(Power, []float64{0.5, 0.5, 0.5}, even, 0.5)
	for _, r := range []Rule{Mean, Max, NoisyOr, Power} {
		f(r, nil, nil, 0)
		f(r, []float64{0, 0}, []float64{1, 3}, 0)
		f(r, []float64{1, 1}, []float64{1, 1}, 1)
		f(r, []float64{0.7}, []float64{5}, 0.7)
		f(r, []float64{0.7, 1}, []float64{5, 0}, 0.7)   // no weight, no say
		f(r, []float64{0.7, nan}, []float64{1, 9}, 0.7) // no opinion, no say
		f(r, []float64{nan}, []float64{1}, 0)
		f(r, []float64{0.7}, []float64{0}, 0)
		f(r, []float64{0.7, 0.7}, []float64{1e308, 1e308}, map[Rule]float64{NoisyOr: 0.91}[r]+map[bool]float64{true: 0.7}[r != NoisyOr])
	}
}

func TestJoinRefuses(t *testing.T) {
	f := func(r Rule, scores, weights []float64, want string) {
		t.Helper()
		if _, err := r.Join(scores, weights); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s of %v by %v: %v, want %q", r, scores, weights, err, want)
		}
	}
	f(Mean, []float64{1}, nil, "1 scores and 0 weights")
	f(Mean, []float64{1.5}, []float64{1}, "score 0 is 1.5")
	f(Mean, []float64{0, -1}, []float64{1, 1}, "score 1 is -1")
	f(Mean, []float64{0}, []float64{-1}, "weight 0 is -1")
	f(Mean, []float64{0}, []float64{math.NaN()}, "weight 0 is NaN")
	f(Mean, []float64{0}, []float64{math.Inf(1)}, "weight 0 is +Inf")
	f("median", []float64{0}, []float64{1}, `unknown rule "median"`)
}

// No rule leaves [0,1] or falls when a score rises, and they are in the order
// that their comments give.
func TestJoinIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "n")
		scores := rapid.SliceOfN(rapid.Float64Range(0, 1), n, n).Draw(t, "scores")
		weights := rapid.SliceOfN(rapid.Float64Range(0, 10), n, n).Draw(t, "weights")
		i := rapid.IntRange(0, n-1).Draw(t, "i")
		before := map[Rule]float64{}
		for _, r := range []Rule{Mean, Max, NoisyOr, Power} {
			s, err := r.Join(scores, weights)
			if err != nil || s < 0 || s > 1 {
				t.Fatalf("%s: %v, %v", r, s, err)
			}
			before[r] = s
		}
		const eps = 1e-9
		if before[Mean] > before[Power]+eps || before[Max] > before[NoisyOr]+eps {
			t.Fatalf("not in order: %v", before)
		}
		scores[i] = rapid.Float64Range(scores[i], 1).Draw(t, "more")
		for r, b := range before {
			if s, err := r.Join(scores, weights); err != nil || s < b-eps {
				t.Fatalf("%s fell from %v to %v, %v", r, b, s, err)
			}
		}
	})
}

func TestJoinAllocatesNothing(t *testing.T) {
	scores, weights := []float64{0.1, 0.9, 0.3}, []float64{1, 2, 3}
	for _, r := range []Rule{Mean, Max, NoisyOr, Power} {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := r.Join(scores, weights); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", r, n)
		}
	}
}
