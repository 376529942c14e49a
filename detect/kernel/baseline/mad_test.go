package baseline

import (
	"math"
	"testing"
)

// Up to half of a window of outliers leaves the scale where it was; the plain
// z-score does not stand a tenth.
func TestMADStandsOutliers(t *testing.T) {
	m, err := NewMAD(MADSettings{Features: 1, Window: 200})
	if err != nil {
		t.Fatal(err)
	}
	g := new(splitmix)
	for i := range 1000 {
		x := 10 + g.normal()
		if i%5 == 0 {
			x = 1000 * g.unit()
		}
		process(t, m, int64(i), []float64{x}, false)
	}
	if got := process(t, m, 1000, []float64{18}, false); got < 4 || got > 9 {
		t.Errorf("eight deviations score %v with a fifth of the window wild", got)
	}
	if e := m.Expected(nil)[0]; math.Abs(e-10) > 1 {
		t.Errorf("expected %v, want about 10", e)
	}
}

func TestMADTakesInANewLevelAfterHalfAWindow(t *testing.T) {
	m, err := NewMAD(MADSettings{Features: 1, Window: 100})
	if err != nil {
		t.Fatal(err)
	}
	g := new(splitmix)
	for i := range 300 {
		level := 10.0
		if i >= 200 {
			level = 30
		}
		got := process(t, m, int64(i), []float64{level + g.normal()}, false)
		if i >= 200 && i < 230 && got < 8 {
			t.Errorf("point %d of the new level scores %v", i-200, got)
		}
		if i >= 290 && got > 5 {
			t.Errorf("point %d of the new level scores %v", i-200, got)
		}
	}
}

// A counter that is nearly always zero has no median deviation; the mean one
// takes its place.
func TestMADOfAMostlyConstantSeries(t *testing.T) {
	m, err := NewMAD(MADSettings{Features: 1, Window: 100})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		x := 0.0
		if i%10 == 0 {
			x = 1
		}
		process(t, m, int64(i), []float64{x}, false)
	}
	one := process(t, m, 200, []float64{1}, true)
	ten := process(t, m, 201, []float64{10}, true)
	if want := 1 / (1.2533 * 0.1); math.Abs(one-want) > 1e-9 {
		t.Errorf("the usual 1 scores %v, want %v", one, want)
	}
	if ten < 2*one {
		t.Errorf("10 scores %v beside %v for 1", ten, one)
	}
}
