package threshold

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestWindowIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 20).Draw(t, "size")
		xs := rapid.SliceOfN(rapid.Float64Range(-3, 3), 1, 100).Draw(t, "xs")
		if rapid.Bool().Draw(t, "ties") {
			for i := range xs {
				xs[i] = math.Round(xs[i])
			}
		}
		w := newWindow(size)
		for i, x := range xs {
			w.push(x)
			last := slices.Clone(xs[max(0, i+1-size) : i+1])
			slices.Sort(last)
			if !slices.Equal(w.sorted, last) {
				t.Fatalf("after %v the window holds %v, want %v", xs[:i+1], w.sorted, last)
			}
		}
		x := rapid.Float64Range(-3, 3).Draw(t, "x")
		if rapid.Bool().Draw(t, "known") {
			x = w.sorted[0]
		}
		atLeast, above := 0, 0
		for _, v := range w.sorted {
			if v >= x {
				atLeast++
			}
			if v > x {
				above++
			}
		}
		if w.atLeast(x) != atLeast || w.above(x) != above {
			t.Fatalf("of %v %d are at least %v and %d above it, want %d and %d", w.sorted, w.atLeast(x), x, w.above(x), atLeast, above)
		}
	})
}

func TestWindowQuantile(t *testing.T) {
	f := func(xs []float64, p, want float64) {
		t.Helper()
		w := newWindow(10)
		for _, x := range xs {
			w.push(x)
		}
		if got := w.quantile(p); !near(got, want, 1e-12) && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("quantile %v of %v = %v, want %v", p, xs, got, want)
		}
	}
	f(nil, 0.5, math.NaN())
	f([]float64{3}, 0.95, 3)
	f([]float64{4, 1, 3, 2}, 0.5, 2.5)
	f([]float64{4, 1, 3, 2}, 0, 1)
	f([]float64{4, 1, 3, 2}, 1, 4)
	f([]float64{0, 10}, 0.95, 9.5)
}

func TestPercentileWaitsForTwentyValues(t *testing.T) {
	p := must(NewPercentile(PercentileSettings{}))
	for i := range 19 {
		if p.Update(1e9*float64(i), false) {
			t.Fatalf("alarm at value %d", i)
		}
	}
	if !math.IsInf(p.Threshold(), 1) {
		t.Errorf("threshold %v of 19 values, want +Inf", p.Threshold())
	}
	p.Learn(0)
	if math.IsInf(p.Threshold(), 1) {
		t.Error("no threshold of 20 values")
	}
}

// TestPercentileAlarmsOnNoise holds the documentation to its word: 72 a day.
func TestPercentileAlarmsOnNoise(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	p := must(NewPercentile(PercentileSettings{}))
	const days, minutes = 30, 1440
	alarms := 0
	for range minutes {
		p.Learn(rng.NormFloat64())
	}
	for range days * minutes {
		alarms += int(truth(p.Update(rng.NormFloat64(), false)))
	}
	if perDay := float64(alarms) / days; math.Abs(perDay-72) > 4 { // 2160 ± 45 in all
		t.Errorf("%v alarms a day, want 72", perDay)
	}
}

func TestPercentileRefusesSettings(t *testing.T) {
	f := func(s PercentileSettings, ok bool) {
		t.Helper()
		if _, err := NewPercentile(s); (err == nil) != ok {
			t.Errorf("NewPercentile(%+v): error %v", s, err)
		}
	}
	f(PercentileSettings{}, true)
	f(PercentileSettings{Window: 43_200}, true)
	f(PercentileSettings{Level: 0.999, Window: 500}, false) // too few values for the level
	f(PercentileSettings{Level: 95}, false)
}
