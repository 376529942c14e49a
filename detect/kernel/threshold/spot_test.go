package threshold

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRiskOf(t *testing.T) {
	f := func(alarms float64, step time.Duration, want float64) {
		t.Helper()
		if got := RiskOf(alarms, step); !near(got, want, 1e-15) {
			t.Errorf("RiskOf(%v, %v) = %v, want %v", alarms, step, got, want)
		}
	}
	f(1, time.Minute, 1.0/10080)
	f(7, time.Hour, 1.0/24)
	f(0, time.Minute, 0)
}

// noise are distributions with their quantile functions, so that the alarm rate
// is known and the threshold can be compared with the true one.
var noise = []struct {
	name     string
	quantile func(p float64) float64 // of the upper tail: P(X > quantile(p)) = p
}{
	{"exponential", func(p float64) float64 { return -math.Log(p) }},
	{"normal", func(p float64) float64 { return math.Sqrt2 * math.Erfinv(1-2*p) }},
	{"bounded", func(p float64) float64 { return 1 - math.Cbrt(p) }},
	{"wall", func(p float64) float64 { return 1 - p }},
	{"pareto 3", func(p float64) float64 { return math.Pow(p, -1.0/3) }},
	{"lognormal", func(p float64) float64 { return math.Exp(math.Sqrt2 * math.Erfinv(1-2*p)) }},
}

func TestFitParetoFindsTheParameters(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	excesses := make([]float64, 4000)
	for _, shape := range []float64{-0.4, -0.1, 0, 0.1, 0.3, 0.7} {
		for _, scale := range []float64{1e-6, 1, 1e9} {
			want := Pareto{Shape: shape, Scale: scale}
			for i := range excesses {
				excesses[i] = want.Quantile(1 - rng.Float64())
			}
			// The standard error of the shape is (1+shape)/sqrt(4000), at most 0.027.
			got := FitPareto(excesses)
			if math.Abs(got.Shape-shape) > 0.1 || math.Abs(got.Scale/scale-1) > 0.15 {
				t.Errorf("fit %v of a sample of %v", got, want)
			}
		}
	}
}

// TestFitParetoIsTheMostLikely compares the fit with all of a fine grid.
func TestFitParetoIsTheMostLikely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		xs := rapid.SliceOfN(rapid.Float64Range(1e-3, 1e3), 8, 64).Draw(t, "excesses")
		got := FitPareto(xs)
		if !finite(got.Shape) || !(got.Scale > 0) {
			t.Fatalf("fit %v", got)
		}
		likely := meanLikelihood(xs, got)
		var mean float64
		for _, x := range xs {
			mean += x / float64(len(xs))
		}
		if l := meanLikelihood(xs, Pareto{Scale: mean}); l > likely+1e-12 {
			t.Fatalf("fit %v has likelihood %v, the exponential of the mean %v", got, likely, l)
		}
	})
	rng := rand.New(rand.NewPCG(3, 4))
	xs := make([]float64, 100)
	for round := range 50 {
		from := Pareto{Shape: rng.Float64() - 0.3, Scale: 1}
		for i := range xs {
			xs[i] = from.Quantile(1 - rng.Float64())
		}
		likely := meanLikelihood(xs, FitPareto(xs))
		for shape := -0.45; shape < 0.95; shape += 0.02 {
			for scale := 0.5; scale < 2; scale *= 1.02 {
				if l := meanLikelihood(xs, Pareto{shape, scale}); l > likely+1e-6 {
					t.Fatalf("round %d: fit %v has likelihood %v, (%v, %v) has %v", round, FitPareto(xs), likely, shape, scale, l)
				}
			}
		}
	}
}

func TestFitParetoFallsBack(t *testing.T) {
	f := func(excesses []float64, want Pareto) {
		t.Helper()
		if got := FitPareto(excesses); got != want {
			t.Errorf("FitPareto(%v) = %v, want %v", excesses, got, want)
		}
	}
	f(nil, Pareto{})
	f([]float64{2, 4}, Pareto{Scale: 3})
	f([]float64{2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, Pareto{Scale: 2})
}

func TestParetoQuantileInvertsSurvival(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Pareto{rapid.Float64Range(-0.5, 1).Draw(t, "shape"), rapid.Float64Range(1e-3, 1e3).Draw(t, "scale")}
		probability := rapid.Float64Range(1e-9, 1).Draw(t, "probability")
		if got := math.Exp(p.LogSurvival(p.Quantile(probability))); math.Abs(got/probability-1) > 1e-5 {
			t.Fatalf("%v: survival of the quantile %v is %v", p, probability, got)
		}
	})
	if l := (Pareto{-0.5, 1}).LogSurvival(2); !math.IsInf(l, -1) {
		t.Errorf("log survival at the end of a bounded distribution: %v, want -Inf", l)
	}
}

// TestSPOTKeepsItsRisk counts alarms on noise. Two seeds of 40,000 points at a
// risk of 1/400 expect 200 alarms; the threshold itself is uncertain, so the
// bounds are half and twice. Wrong formulas (a level for a risk, a sign of the
// shape, the exponential for heavy tails) miss them by factors. A tail that ends at
// a wall has no regular fit: there alarms may only be too few.
func TestSPOTKeepsItsRisk(t *testing.T) {
	const seeds, points, risk = 2, 40_000, 1.0 / 400
	type alarmer interface {
		Alarm(x float64) bool
		Learn(x float64)
		Update(x float64, hold bool) bool
	}
	for _, d := range noise {
		for _, how := range []string{"spot, update", "spot, learn", "dspot, update"} {
			alarms := 0
			for seed := range uint64(seeds) {
				rng := rand.New(rand.NewPCG(seed, 5))
				settings := SPOTSettings{Risk: risk}
				var s alarmer = must(NewSPOT(settings))
				if how == "dspot, update" {
					s = must(NewDSPOT(DSPOTSettings{SPOTSettings: settings}))
				}
				for i := range points + 1128 {
					x := d.quantile(1 - rng.Float64())
					var alarm bool
					if how == "spot, learn" {
						alarm = s.Alarm(x)
						s.Learn(x)
					} else {
						if how == "dspot, update" {
							x += float64(i) * 1e-4 // 4 units of drift
						}
						alarm = s.Update(x, false)
					}
					if alarm {
						alarms++
					}
				}
			}
			want := seeds * points * risk
			t.Logf("%-12s %-13s %d alarms of %v", d.name, how, alarms, want)
			if few := float64(alarms) < want/2 && d.name != "wall"; few || float64(alarms) > want*2 {
				t.Errorf("%s noise, %s: %d alarms, want about %v", d.name, how, alarms, want)
			}
		}
	}
}

// TestSPOTCountsEventsOfOverlappingScores: the largest of eight successive values
// is high for eight points on end, as a shingled score is. In clusters of eight
// it is the event that keeps the risk.
func TestSPOTCountsEventsOfOverlappingScores(t *testing.T) {
	const points, risk, overlap = 100_000, 1.0 / 1000, 8
	s := must(NewSPOT(SPOTSettings{Risk: risk, Cluster: overlap, Level: 0.95}))
	rng := rand.New(rand.NewPCG(12, 13))
	last := newWindow(overlap)
	events, quiet := 0, overlap
	for range points {
		last.push(rng.ExpFloat64())
		quiet++
		if s.Update(last.quantile(1), false) {
			events += int(truth(quiet > overlap))
			quiet = 0
		}
	}
	if want := points * risk; float64(events) < 0.6*want || float64(events) > 1.6*want {
		t.Errorf("%d events, want about %v", events, want)
	}
}

// TestSPOTTakesAnEventForOne: an anomaly while calibrating is high in as many
// scores as the shingle has rows.
func TestSPOTTakesAnEventForOne(t *testing.T) {
	f := func(cluster int) float64 {
		s := must(NewSPOT(SPOTSettings{Risk: 1e-3, Cluster: cluster}))
		rng := rand.New(rand.NewPCG(14, 15))
		for i := range 1000 {
			x := 1 + 0.1*rng.NormFloat64()
			if i >= 500 && i < 508 {
				x = 5 + 0.1*rng.NormFloat64()
			}
			s.Learn(x)
		}
		return s.Threshold()
	}
	if one, eight := f(8), f(1); one > 5 || eight < 2*one {
		t.Errorf("threshold %v with the event counted once, %v with its eight points; want less than its height, and more than twice as much", one, eight)
	}
}

func TestSPOTFindsTheTrueQuantile(t *testing.T) {
	const risk = 1e-4
	for _, d := range noise {
		rng := rand.New(rand.NewPCG(6, 7))
		s := must(NewSPOT(SPOTSettings{Risk: risk, Peaks: 1000}))
		for range 50_000 {
			s.Learn(d.quantile(1 - rng.Float64()))
		}
		// In terms of probability: between a third and three times the risk.
		if low, high := d.quantile(3*risk), d.quantile(risk/3); s.Threshold() < low || s.Threshold() > high && d.name != "wall" {
			t.Errorf("%s: threshold %v, want %v within %v and %v", d.name, s.Threshold(), d.quantile(risk), low, high)
		}
	}
}

// An event before there is any peak leaves a tail to be learned from what
// follows it.
func TestSPOTLearnsAfterAnEventWithoutPeaks(t *testing.T) {
	s := must(NewSPOT(SPOTSettings{Risk: 1e-3, Calibrate: 100, Cluster: 4}))
	for range 100 {
		s.Update(1, false)
	}
	for i := range 3 {
		if !s.Update(9, false) {
			t.Errorf("point %d of the event does not alarm", i)
		}
	}
	state := s.AppendState(nil)
	again := must(NewSPOT(SPOTSettings{Risk: 1e-3, Calibrate: 100, Cluster: 4}))
	if _, err := again.LoadState(state); err != nil {
		t.Errorf("a state between event and peak does not load: %v", err)
	}
	if s.Update(1.1, false) {
		t.Error("a point just above the level alarms")
	}
	if _, tail := s.Tail(); tail.Scale <= 0 {
		t.Errorf("tail %v after the first peak", tail)
	}
}

func TestSPOTIsNeverDeafOnceCalibrated(t *testing.T) {
	s := must(NewSPOT(SPOTSettings{Risk: 1e-3, Calibrate: 100}))
	for i := range 100 {
		if s.Ready() || s.Update(float64(i%2)*1e9, false) {
			t.Fatalf("alarm or readiness at calibration point %d", i)
		}
	}
	if !s.Ready() {
		t.Fatal("not ready after the calibration")
	}
	// All points above the level are equal to it: there is no tail to fit.
	if got := s.Threshold(); got != 1.5e9 {
		t.Errorf("threshold %v without peaks, want the level and half of it", got)
	}
	before := s.Threshold()
	for i := range 3 {
		s.Update(1e9+float64(i+1), false)
		if got := s.Threshold(); got <= 1e9 || got >= before {
			t.Errorf("threshold %v with %d peaks close to the level, want it above the level and below %v", got, i+1, before)
		}
	}
	for i := range 50 {
		s.Update(1e9+float64(i+1), false)
	}
	if level, tail := s.Tail(); level != 1e9 || tail.Scale <= 0 || math.IsInf(s.Threshold(), 1) {
		t.Errorf("level %v, tail %v, threshold %v after 50 peaks", level, tail, s.Threshold())
	}
}

// TestDSPOTFollowsDriftAndCatchesJumps: on a tide, ten steps over the local
// level are a jump for DSPOT, and nothing for SPOT as long as the tide is low.
func TestDSPOTFollowsDriftAndCatchesJumps(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	d := must(NewDSPOT(DSPOTSettings{SPOTSettings: SPOTSettings{Risk: 1e-4}, Depth: 64}))
	plain := must(NewSPOT(SPOTSettings{Risk: 1e-4, Calibrate: 8000}))
	alarms, jumps, caught, missed := 0, 0, 0, 0
	for i := range 40_000 {
		tide := -50 * math.Cos(float64(i)*2*math.Pi/8000)
		x := tide + rng.NormFloat64()
		if jump := i > 10_000 && i%8000 == 0; jump {
			jumps++
			caught += int(truth(d.Update(x+10, false)))
			missed += int(truth(!plain.Update(x+10, false)))
			continue
		}
		alarms += int(truth(d.Update(x, false)))
		plain.Update(x, false)
	}
	if caught != jumps || missed != jumps || alarms > 20 {
		t.Errorf("of %d jumps DSPOT catches %d and SPOT misses %d; %d other alarms, want all, all and about 4", jumps, caught, missed, alarms)
	}
}

// TestSPOTIsNotMovedByAnomalies: however high they are and however long they
// last.
func TestSPOTIsNotMovedByAnomalies(t *testing.T) {
	calm := must(NewSPOT(SPOTSettings{Risk: 1e-3}))
	struck := must(NewSPOT(SPOTSettings{Risk: 1e-3}))
	rng := rand.New(rand.NewPCG(10, 11))
	for i := range 30_000 {
		x := rng.NormFloat64()
		calm.Update(x, false)
		if i > 2000 && i%1500 < 100 {
			if !struck.Update(1e6+x, false) {
				t.Fatalf("no alarm at %d with threshold %v", i, struck.Threshold())
			}
			continue
		}
		struck.Update(x, false)
	}
	if a, b := calm.Threshold(), struck.Threshold(); b > a*1.25 || b < a*0.8 {
		t.Errorf("threshold %v after anomalies, %v without", b, a)
	}
}

func TestSPOTRefusesSettings(t *testing.T) {
	f := func(s SPOTSettings, ok bool) {
		t.Helper()
		if _, err := NewSPOT(s); (err == nil) != ok {
			t.Errorf("NewSPOT(%+v): error %v", s, err)
		}
	}
	f(SPOTSettings{Risk: 1e-3}, true)
	f(SPOTSettings{}, false)
	f(SPOTSettings{Risk: 0.05}, false) // more than the level leaves above it
	f(SPOTSettings{Risk: 0.05, Level: 0.9}, true)
	f(SPOTSettings{Risk: math.NaN()}, false)
	f(SPOTSettings{Risk: 1e-3, Calibrate: 5}, false)
	f(SPOTSettings{Risk: 1e-3, Cluster: -1}, false)
	if _, err := NewDSPOT(DSPOTSettings{SPOTSettings: SPOTSettings{Risk: 1e-3}, Depth: -1}); err == nil {
		t.Error("NewDSPOT takes a depth of -1")
	}
}

func BenchmarkFitPareto(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	excesses := make([]float64, 256)
	for i := range excesses {
		excesses[i] = rng.ExpFloat64()
	}
	b.ReportAllocs()
	b.SetBytes(8 * 256)
	var p Pareto
	for b.Loop() {
		p = FitPareto(excesses)
	}
	if !(p.Scale > 0) {
		b.Fatal(p)
	}
}
