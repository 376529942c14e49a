package threshold

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestRankRisesWithTheScore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tail := RankTail(rapid.IntRange(0, 2).Draw(t, "tail"))
		r := must(NewRank(RankSettings{Window: 64, Warm: 16, Tail: tail}))
		xs := rapid.SliceOfN(rapid.Float64Range(-2, 8), 16, 300).Draw(t, "scores")
		if rapid.Bool().Draw(t, "ties") {
			for i := range xs {
				xs[i] = math.Round(xs[i])
			}
		}
		for _, x := range xs {
			r.Learn(x)
		}
		probes := append(rapid.SliceOfN(rapid.Float64Range(-10, 1e4), 2, 50).Draw(t, "probes"), xs...)
		for _, x := range xs {
			probes = append(probes, math.Nextafter(x, -100), math.Nextafter(x, 100))
		}
		slices.Sort(probes)
		last := 0.0
		for _, x := range probes {
			rank := r.Read(x)
			if rank < last-1e-13 || rank < 0 || rank > 1 || math.IsNaN(rank) {
				t.Fatalf("score %v ranks %v, a smaller one %v", x, rank, last)
			}
			last = rank
		}
	})
}

// TestRankIsComparable: one threshold over all streams alarms about as often in
// each of them, whatever their unit and distribution.
func TestRankIsComparable(t *testing.T) {
	const n, zeros = 20_000, 2.5
	for _, tail := range []RankTail{ParetoTail, ExponentialTail, EmpiricalTail} {
		for i, d := range noise {
			unit := []float64{1e-6, 1e6}[i%2]
			rng := rand.New(rand.NewPCG(1, 1))
			r := must(NewRank(RankSettings{Tail: tail}))
			above := 0
			for i := range n {
				rank := r.Update(unit*d.quantile(1-rng.Float64()), false)
				if i > 2048 && rank > zeros/(zeros+3) {
					above++
				}
			}
			// 57 are due after the first window. An exponential is wrong by design for other tails.
			want, low, high := (n-2048)*math.Pow(10, -zeros), 0.5, 2.0
			if tail == ExponentialTail && d.name != "exponential" {
				low, high = 0, 5
			}
			if tail == ParetoTail && (d.name == "wall" || d.name == "bounded") {
				low = 0 // its shape is held to 0 and more
			}
			if share := float64(above) / want; share < low || share > high {
				t.Errorf("%v, %s in units of %v: %d above %v zeros, want about %.0f", tail, d.name, unit, above, zeros, want)
			}
		}
	}
}

func TestRankOrdersRecords(t *testing.T) {
	f := func(tail RankTail, apart bool) {
		t.Helper()
		r := must(NewRank(RankSettings{Tail: tail}))
		rng := rand.New(rand.NewPCG(2, 1))
		for range 3000 {
			r.Learn(1 + 0.1*rng.NormFloat64())
		}
		if a, b := r.Read(3), r.Read(5); (b > a) != apart || a < 0.5 || b > 1 {
			t.Errorf("%v: records of 3 and 5 rank %v and %v", tail, a, b)
		}
	}
	f(ParetoTail, true)
	f(ExponentialTail, true)
	f(EmpiricalTail, false)
}

func TestRankZeros(t *testing.T) {
	r := must(NewRank(RankSettings{Tail: EmpiricalTail, Window: 999}))
	f := func(score, want float64) {
		t.Helper()
		if got := r.Zeros(score); !near(got, want, 1e-9) {
			t.Errorf("Zeros(%v) = %v, want %v", score, got, want)
		}
	}
	f(1e9, 0) // not warm
	for i := range 999 {
		r.Learn(float64(i))
	}
	f(-1, 0)
	f(0, 0)
	f(900, 1) // 99 of 999 and itself
	f(990, 2)
	f(1e9, 3)
	f(math.NaN(), 0)
	if got := r.Read(1e9); got != 0.5 {
		t.Errorf("three zeros rank %v, want 0.5", got)
	}
}

func TestRankOfAStreamThatStandsStill(t *testing.T) {
	f := func(level, score, least, most float64) {
		t.Helper()
		r := must(NewRank(RankSettings{}))
		for range 1000 {
			r.Learn(level)
		}
		if got := r.Read(score); got < least || got > most {
			t.Errorf("%v in a stream of %v ranks %v, want %v to %v", score, level, got, least, most)
		}
	}
	f(1, 1, 0, 0)
	f(1, 1+1e-9, 0.4, 0.55) // the thousandth, no more
	f(1, 2, 0.95, 1)
	f(0, 0, 0, 0)
	f(0, 1, 0.95, 1)
}

func TestRankRefusesSettings(t *testing.T) {
	f := func(s RankSettings, ok bool) {
		t.Helper()
		if _, err := NewRank(s); (err == nil) != ok {
			t.Errorf("NewRank(%+v): error %v", s, err)
		}
	}
	f(RankSettings{}, true)
	f(RankSettings{Window: 100, Warm: 101}, false)
	f(RankSettings{Tail: 3}, false)
	f(RankSettings{Half: math.NaN()}, false)
}
