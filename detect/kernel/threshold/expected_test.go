package threshold

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestExpectedCovers measures what the bands promise, on errors of many shapes,
// one of which changes its scale halfway.
func TestExpectedCovers(t *testing.T) {
	errors := map[string]func(rng *rand.Rand, i int) float64{
		"normal":      func(rng *rand.Rand, _ int) float64 { return rng.NormFloat64() },
		"biased":      func(rng *rand.Rand, _ int) float64 { return 5 + rng.NormFloat64() },
		"skewed":      func(rng *rand.Rand, _ int) float64 { return rng.ExpFloat64() * 1e6 },
		"heavy":       func(rng *rand.Rand, _ int) float64 { return math.Pow(1-rng.Float64(), -0.5) },
		"wider later": func(rng *rand.Rand, i int) float64 { return rng.NormFloat64() * float64(1+i/10_000*9) },
	}
	for name, next := range errors {
		for _, coverage := range []float64{0.8, 0.9, 0.98} {
			rng := rand.New(rand.NewPCG(1, 2))
			e := must(NewExpected(ExpectedSettings{Coverage: coverage}))
			var below, above, n float64
			for i := range 20_000 {
				forecast := 100 * math.Sin(float64(i)/50)
				actual := forecast + next(rng, i)
				got := e.Update(0, forecast, actual, false)
				if !(got.Low <= got.Expected && got.Expected <= got.High) {
					t.Fatalf("%s: %+v is out of order", name, got)
				}
				if i > 500 {
					n++
					below += truth(actual < got.Low)
					above += truth(actual > got.High)
				}
			}
			beyond := (1 - coverage) / 2
			// A one-sided tail, like that of the exponential, cannot lie below.
			if math.Abs(above/n-beyond) > 0.2*beyond+0.002 || below/n > beyond*1.2+0.002 {
				t.Errorf("%s, coverage %v: %.4f lie below and %.4f above, want %.4f", name, coverage, below/n, above/n, beyond)
			}
		}
	}
}

func TestExpectedTakesOffTheBias(t *testing.T) {
	e := must(NewExpected(ExpectedSettings{Features: 2}))
	rng := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		e.Learn(1, 10, 13+0.5*rng.NormFloat64())
	}
	if got := e.Read(1, 20); !near(got.Expected, 23, 0.01) || got.High-got.Low < 1 || got.High-got.Low > 2.5 {
		t.Errorf("%+v, want about 23 ± 0.8", got)
	}
	if !near(e.Deviation(1), 0.5, 0.1) {
		t.Errorf("deviation %v, want 0.5", e.Deviation(1))
	}
	if got := e.Read(0, 20); got != (Interval{20, 20, 20}) {
		t.Errorf("a feature without errors reads %+v", got)
	}
	if got := e.Read(1, math.NaN()); !math.IsNaN(got.Expected) || !math.IsNaN(got.Low) || !math.IsNaN(got.High) {
		t.Errorf("no forecast reads %+v, want NaN", got)
	}
}

func TestExpectedRefusesSettings(t *testing.T) {
	f := func(s ExpectedSettings, ok bool) {
		t.Helper()
		if _, err := NewExpected(s); (err == nil) != ok {
			t.Errorf("NewExpected(%+v): error %v", s, err)
		}
	}
	f(ExpectedSettings{}, true)
	f(ExpectedSettings{Features: 65}, false)
	f(ExpectedSettings{Coverage: 1}, false)
}
