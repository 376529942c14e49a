package baseline

import (
	"math"
	"testing"
)

// A batch mean and deviation of the same values give the same score.
func TestZScoreIsTheBatchZScoreUntilTheWindowIsFull(t *testing.T) {
	z, err := NewZScore(ZScoreSettings{Features: 1, Window: 1000, Clip: math.Inf(1)})
	if err != nil {
		t.Fatal(err)
	}
	g := new(splitmix)
	var values []float64
	for i := range 500 {
		x := 40 + 2*g.normal()
		got := process(t, z, int64(i), []float64{x}, false)
		if i >= warm {
			mean, variance := 0.0, 0.0
			for _, v := range values {
				mean += v / float64(i)
			}
			for _, v := range values {
				variance += (v - mean) * (v - mean) / float64(i)
			}
			if want := math.Abs(x-mean) / math.Sqrt(variance); math.Abs(got-want) > 1e-9 && want < 10 {
				t.Fatalf("point %d scores %v, want %v", i, got, want)
			}
			if e := z.Expected(nil)[0]; math.Abs(e-mean) > 1e-9 {
				t.Fatalf("point %d was expected at %v, want %v", i, e, mean)
			}
		}
		values = append(values, x)
	}
}

func TestZScoreForgets(t *testing.T) {
	z, err := NewZScore(ZScoreSettings{Features: 1, Window: 50, Clip: math.Inf(1)})
	if err != nil {
		t.Fatal(err)
	}
	g := new(splitmix)
	last := 0.0
	for i := range 1000 {
		level := 10.0
		if i >= 500 {
			level = 20
		}
		last = process(t, z, int64(i), []float64{level + g.normal()}, false)
		if i == 500 && last < 5 {
			t.Errorf("a step of 10 deviations scores %v", last)
		}
	}
	if e := z.Expected(nil)[0]; math.Abs(e-20) > 1 || last > 4 {
		t.Errorf("500 points at 20 later: expected %v, score %v", e, last)
	}
}

func TestZScoreClipKeepsOutliersOutOfTheScale(t *testing.T) {
	f := func(clip float64) float64 {
		z, err := NewZScore(ZScoreSettings{Features: 1, Window: 200, Clip: clip})
		if err != nil {
			t.Fatal(err)
		}
		g := new(splitmix)
		for i := range 400 {
			x := 10 + g.normal()
			if i > 100 && i%40 == 0 {
				x += 100
			}
			process(t, z, int64(i), []float64{x}, false)
		}
		return process(t, z, 1000, []float64{16}, false)
	}
	if clipped, open := f(3), f(math.Inf(1)); !(clipped > 4 && open < 1) {
		t.Errorf("six deviations score %v clipped and %v not", clipped, open)
	}
}

// A constant that moves is strange, and what it moved to becomes usual.
func TestZScoreOfAConstant(t *testing.T) {
	z, err := NewZScore(ZScoreSettings{Features: 1, Window: 100})
	if err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	next := func(v float64) float64 { at++; return process(t, z, at, []float64{v}, false) }
	for range 50 {
		if got := next(3); got != 0 {
			t.Fatalf("a constant scores %v", got)
		}
	}
	if got := next(5); got < 50 {
		t.Errorf("the first move of a constant scores %v", got)
	}
	last := 0.0
	for range 1000 {
		last = next(5)
	}
	if last > 1 {
		t.Errorf("1000 points later it scores %v", last)
	}
	if got := next(5 + 1e-12); got > 1 {
		t.Errorf("rounding scores %v", got)
	}
}

func TestDifferencesSeeTheStepAndNotTheLevel(t *testing.T) {
	d, err := NewDifferences(1)
	if err != nil {
		t.Fatal(err)
	}
	g := new(splitmix)
	v := 0.0
	for i := range 500 {
		v += g.normal()
		process(t, d, int64(i), []float64{v}, false)
	}
	v += 15
	if got := process(t, d, 500, []float64{v}, false); got < 8 {
		t.Errorf("a step of 15 in a walk of 1 scores %v", got)
	}
	if e := d.Expected(nil)[0]; math.Abs(e-(v-15)) > 0.5 {
		t.Errorf("expected %v, want about the value before, %v", e, v-15)
	}
	if got := process(t, d, 501, []float64{v + 0.1}, false); got > 1 {
		t.Errorf("staying at the new level scores %v", got)
	}
}

func TestDeviationsGrowSlowlyFarOut(t *testing.T) {
	f := func(v, centre, scale, level, want float64) {
		t.Helper()
		if got := deviations(v, centre, scale, level); math.Abs(got-want) > 1e-9 {
			t.Errorf("deviations(%v, %v, %v, %v) = %v, want %v", v, centre, scale, level, got, want)
		}
	}
	f(5, 5, 0, 5, 0)
	f(8, 5, 1, 5, 3)
	f(2, 5, 1, 5, 3)
	f(15, 5, 1, 5, 10)
	f(5+10*math.E, 5, 1, 5, 20)
	f(1e6+1, 1e6, 0, 1e6, 1) // no scale below a millionth of the level
	f(1, 0, 0, 0, 10*(1+math.Log(1e5)))
	f(largest, -largest, 1e-300, 0, 10*(1+math.Log(1e5)))
}

// The norm of several features lies between the largest and their sum.
func TestFeaturesAreJoinedByTheFourNorm(t *testing.T) {
	f := func(want float64, deviation ...float64) {
		t.Helper()
		fr := frame{features: len(deviation), deviation: deviation}
		if got := fr.score(); math.Abs(got-want) > 1e-12 {
			t.Errorf("score of %v = %v, want %v", deviation, got, want)
		}
	}
	f(0, 0, 0)
	f(7, 7)
	f(7, 7, 0, 0)
	f(5*math.Pow(2, 0.25), 5, 5)
	fr := frame{features: 2, deviation: []float64{2, 1}}
	if b := fr.Blame(nil); math.Abs(b[0]-16./17) > 1e-12 || math.Abs(b[1]-1./17) > 1e-12 {
		t.Errorf("blame of 2 and 1 is %v, want 16/17 and 1/17", b)
	}
}
