package baseline

import (
	"math"
	"testing"
)

// A level that shifts is told once, soon, and becomes normal at once.
func TestCUSUMTellsAShiftOnce(t *testing.T) {
	f := func(shift float64, within int) {
		t.Helper()
		c, err := NewCUSUM(CUSUMSettings{Features: 1})
		if err != nil {
			t.Fatal(err)
		}
		g := new(splitmix)
		told := -1
		for i := range 1000 {
			x := 50 + g.normal()
			if i >= 500 {
				x += shift
			}
			score := process(t, c, int64(i), []float64{x}, false)
			if c.Shifted() != (score > 16) {
				t.Fatalf("point %d scores %v, shifted: %v", i, score, c.Shifted())
			}
			if !c.Shifted() {
				continue
			}
			if told >= 0 {
				t.Errorf("a shift of %v is told at %d and again at %d", shift, told, i)
			}
			told = i
		}
		if told < 500 || told > 500+within {
			t.Errorf("a shift of %v at 500 is told at %d, want within %d", shift, told, within)
		}
		process(t, c, 1000, []float64{50}, true)
		if e := c.Expected(nil)[0]; math.Abs(e-50-shift) > 0.5 {
			t.Errorf("500 points after a shift of %v the level is %v", shift, e)
		}
	}
	f(3, 20)
	f(-3, 20)
	f(30, 6)
	f(2, 60)
}

func TestCUSUMLeavesSpikesToOthers(t *testing.T) {
	c, err := NewCUSUM(CUSUMSettings{Features: 1})
	if err != nil {
		t.Fatal(err)
	}
	g := new(splitmix)
	for i := range 2000 {
		x := 50 + g.normal()
		if i%50 == 49 {
			x += 1000
		}
		process(t, c, int64(i), []float64{x}, false)
		if c.Shifted() {
			t.Fatalf("a spike at point %d counts as a shift", i)
		}
	}
}

// The new level starts from the points since the sum was last zero: it is
// measured without the old one.
func TestCUSUMLearnsAnewFromTheOnset(t *testing.T) {
	c, err := NewCUSUM(CUSUMSettings{Features: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		process(t, c, int64(i), []float64{float64(i % 3)}, false)
	}
	for i := range 100 {
		process(t, c, int64(200+i), []float64{100 + float64(i%3)}, false)
		if c.Shifted() {
			if n := c.tracks[0].window.len(); n != i+1 || c.tracks[0].window.sorted[0] < 100 {
				t.Errorf("after a shift told at point %d the level rests on %d points, the least %v", i, n, c.tracks[0].window.sorted[0])
			}
			return
		}
	}
	t.Error("no shift was told")
}
