package threshold

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func near(got, want, tolerance float64) bool {
	return math.Abs(got-want) <= tolerance*math.Max(1, math.Abs(want))
}

func TestDeviationIsTheWeightedMeanAndDeviation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		discount := rapid.SampledFrom([]float64{0, 0.001, 0.1, 0.5}).Draw(t, "discount")
		xs := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), 1, 200).Draw(t, "xs")
		d := NewDeviation(discount)
		for _, x := range xs {
			d.Learn(x)
		}
		var weight, mean, squares float64
		for i, x := range xs {
			w := math.Pow(1-discount, float64(len(xs)-1-i))
			weight += w
			mean += w * x
		}
		mean /= weight
		for i, x := range xs {
			squares += math.Pow(1-discount, float64(len(xs)-1-i)) * (x - mean) * (x - mean)
		}
		if sd := math.Sqrt(squares / weight); !near(d.Mean(), mean, 1e-6) || !near(d.SD(), sd, 1e-6) || !near(d.Weight(), weight, 1e-9) {
			t.Fatalf("mean %v sd %v weight %v, want %v %v %v", d.Mean(), d.SD(), d.Weight(), mean, sd, weight)
		}
	})
}

func TestDeviationKeepsItsDigits(t *testing.T) {
	d := NewDeviation(0.01)
	for i := range 10_000 {
		d.Learn(1e12 + float64(i%2)) // sums of squares would leave nothing of the 0.5
	}
	if !near(d.SD(), 0.5, 1e-3) {
		t.Errorf("standard deviation %v, want 0.5", d.SD())
	}
}

func TestNormalizerDoesNotCareForTheUnit(t *testing.T) {
	f := func(unit, offset float64) []float64 {
		n := must(NewNormalizer(NormalizerSettings{}))
		var zs []float64
		for _, x := range stream(1, 600) {
			zs = append(zs, n.Update(x*unit+offset*unit, false))
		}
		return zs
	}
	want := f(1, 0)
	for _, unit := range []float64{1.0 / (1 << 30), 1 << 40} { // powers of two: no rounding
		for i, z := range f(unit, 0) {
			if math.Float64bits(z) != math.Float64bits(want[i]) {
				t.Fatalf("in the unit %v point %d reads %v, want %v", unit, i, z, want[i])
			}
		}
	}
	// A high level takes little of a small deviation: 1e-6 of the level.
	for i, z := range f(1, 1000) {
		if i > 100 && !math.IsNaN(z) && math.Abs(z-want[i]) > 0.05*math.Abs(want[i])+0.01 {
			t.Fatalf("a thousand higher point %d reads %v, want about %v", i, z, want[i])
		}
	}
}

func TestNormalizer(t *testing.T) {
	n := must(NewNormalizer(NormalizerSettings{}))
	f := func(x, want, tolerance float64) {
		t.Helper()
		if got := n.Read(x); !near(got, want, tolerance) {
			t.Errorf("Read(%v) = %v, want %v", x, got, want)
		}
	}
	f(5, 0, 0) // nothing is known
	for range 100 {
		n.Learn(0)
	}
	f(0, 0, 0)
	f(1e-12, 100, 0) // nothing but zeros ever: anything else is off the chart
	f(-1e-12, -100, 0)
	for i := range 20_000 {
		n.Learn(float64(i%2)*0.02 + 0.01) // an error rate: 1% and 3%
	}
	f(0.02, 0, 1e-2)
	f(0.05, 3, 0.05) // AWS's +1.0 would read 0.03
	if x := n.Restore(n.Read(0.037)); !near(x, 0.037, 1e-12) {
		t.Errorf("Restore(Read(0.037)) = %v", x)
	}
	if z := n.Read(math.Inf(1)); !math.IsNaN(z) {
		t.Errorf("Read(+Inf) = %v, want NaN", z)
	}
}
