package shift_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/detect/kernel/shift"
)

// wander is a day of noise on a slow walk, n points.
func wander(seed uint64, n int) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]float64, n)
	level := 100.0
	for i := range out {
		level += 0.02 * r.NormFloat64()
		out[i] = level + r.NormFloat64()
	}
	return out
}

func add(points []float64, d float64) []float64 {
	out := slices.Clone(points)
	for i := range out {
		out[i] += d
	}
	return out
}

func compare(t testing.TB, before, after []float64, o shift.Options) shift.Result {
	t.Helper()
	r, err := shift.Compare(before, after, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAMoveIsSeenWithItsSizeAndItsInterval(t *testing.T) {
	x := wander(1, 2060)
	before, after := x[:2000], x[2000:]
	f := func(by float64, up, down bool) {
		t.Helper()
		r := compare(t, before, add(after, by), shift.Options{})
		if (r.Move == shift.Up) != up || (r.Move == shift.Down) != down || r.Low > r.Effect || r.Effect > r.High {
			t.Errorf("moved by %v: %+v", by, r)
		}
		if math.Abs(r.Actual-r.Expected-by) > 1 || math.Abs(r.Effect*r.Scale-by) > 1 {
			t.Errorf("moved by %v: from %v to %v, effect %v of %v", by, r.Expected, r.Actual, r.Effect, r.Scale)
		}
		if up && r.Up > 0.05 || down && r.Down > 0.05 || !up && !down && min(r.Up, r.Down) < 0.02 {
			t.Errorf("moved by %v: p %v and %v", by, r.Up, r.Down)
		}
	}
	f(0, false, false)
	f(3, true, false)
	f(-3, false, true)
}

func TestATimeOfDayIsNoMove(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	x := make([]float64, 8*96)
	for i := range x {
		if hour := i % 96 / 4; hour >= 8 && hour < 10 {
			x[i] = 50
		}
		x[i] += r.NormFloat64()
	}
	at := 7*96 + 32 // eight o'clock
	if q := compare(t, x[:at], x[at:at+8], shift.Options{Day: 96, Least: 8}); q.Move == shift.Up {
		t.Errorf("what happens every morning is taken for a move: %+v", q)
	}
	if q := compare(t, x[:at], add(x[at:at+8], 5), shift.Options{Day: 96, Least: 8}); q.Move != shift.Up || !strings.Contains(q.View, "earlier days") || math.Abs(q.Expected-50) > 3 {
		t.Errorf("a move on top of it is not seen, or not explained: %+v", q)
	}
}

func TestWhatSiblingsDoTooIsNoMove(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	n, m := 2000, 60
	common := make([]float64, n+m)
	for i := range common {
		common[i] = 10 * math.Sin(float64(i)/37+float64(i*i)/40000)
		if i >= n {
			common[i] += 30 // a surge of traffic everywhere
		}
	}
	member := func(scale float64) []float64 {
		out := make([]float64, n+m)
		for i := range out {
			out[i] = scale * (50 + common[i] + r.NormFloat64())
		}
		return out
	}
	x := member(1)
	o := shift.Options{Siblings: [][]float64{member(2), member(0.5), member(1)}}
	if q := compare(t, x[:n], x[n:], o); q.Move == shift.Up || !strings.Contains(q.View, "siblings") {
		t.Errorf("what all did is taken for a move of one: %+v", q)
	}
	if q := compare(t, x[:n], x[n:], shift.Options{}); q.Move != shift.Up {
		t.Errorf("without siblings the surge is a move: %+v", q)
	}
	if q := compare(t, x[:n], add(x[n:], 5), o); q.Move != shift.Up {
		t.Errorf("a move beyond that of the siblings is not seen: %+v", q)
	}
}

func TestTooFewPointsSayNothing(t *testing.T) {
	x := wander(4, 300)
	missing := add(x[200:260], 0)
	for i := range 40 {
		missing[i] = math.NaN()
	}
	f := func(before, after []float64, o shift.Options, want error) {
		t.Helper()
		if _, err := shift.Compare(before, after, o); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%d before, %d after: %v", len(before), len(after), err)
		}
	}
	f(x[:200], x[200:205], shift.Options{}, shift.ErrShort)
	f(x[:100], x[200:260], shift.Options{}, shift.ErrShort)
	f(nil, x[:60], shift.Options{}, shift.ErrShort)
	f(x[:200], missing, shift.Options{}, shift.ErrShort)
	f(x[:200], x[200:260], shift.Options{Siblings: [][]float64{x[:10]}}, nil)
}

func TestAConstantSeriesMovesAtAnyLastingStep(t *testing.T) {
	before, after := make([]float64, 2000), add(make([]float64, 60), 1)
	if r := compare(t, before, after, shift.Options{}); r.Move != shift.Up || math.IsInf(r.Effect, 0) || math.IsNaN(r.Effect) {
		t.Errorf("%+v", r)
	}
	if r := compare(t, before, make([]float64, 60), shift.Options{}); r.Move != shift.None {
		t.Errorf("nothing moved: %+v", r)
	}
}

// TestProperty: units and origin do not matter, and a larger move is never
// less of one.
func TestPropertyOfUnits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := wander(rapid.Uint64().Draw(t, "seed"), 520)
		unit := rapid.Float64Range(1e-3, 1e6).Draw(t, "unit")
		origin := rapid.Float64Range(-1e3, 1e3).Draw(t, "origin")
		by := rapid.Float64Range(0, 5).Draw(t, "by")
		if rapid.Bool().Draw(t, "gap") {
			x[rapid.IntRange(0, 519).Draw(t, "at")] = math.NaN()
		}
		y := add(x, origin)
		for i := range y {
			y[i] *= unit
		}
		a, err := shift.Compare(x[:500], x[500:], shift.Options{Day: 96})
		b, errB := shift.Compare(y[:500], y[500:], shift.Options{Day: 96})
		if err != nil || errB != nil {
			t.Fatal(err, errB)
		}
		if math.Abs(a.Effect-b.Effect) > 1e-6*(1+math.Abs(a.Effect)) {
			t.Fatalf("effect %v in one unit and %v in another", a.Effect, b.Effect)
		}
		c, err := shift.Compare(x[:500], add(x[500:], by), shift.Options{Day: 96})
		if err != nil {
			t.Fatal(err)
		}
		if c.Effect < a.Effect-1e-9 || c.Low < a.Low-1e-9 || c.Up > a.Up {
			t.Fatalf("moved by %v more, and it is less of a move: %+v, %+v", by, a, c)
		}
	})
}

func FuzzCompare(f *testing.F) {
	f.Add(uint64(1), 300, 20, 24, 1e300)
	f.Add(uint64(2), 100, 60, 0, math.NaN())
	f.Fuzz(func(t *testing.T, seed uint64, n, m, day int, odd float64) {
		if n < 0 || m < 0 || n+m > 2000 || day > 2000 {
			t.Skip()
		}
		x := wander(seed, n+m)
		for i := range x {
			if (uint64(i)*2654435761+seed)%7 == 0 {
				x[i] = odd
			}
		}
		r, err := shift.Compare(x[:n], x[n:], shift.Options{Day: day, Siblings: [][]float64{x}})
		if err == nil && (r.Placebos < 19 || r.Up < 0 || r.Up > 1 || r.Down < 0 || r.Down > 1) {
			t.Errorf("%+v", r)
		}
	})
}

func BenchmarkCompare(b *testing.B) {
	x := wander(1, 2100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := shift.Compare(x[:2016], x[2016:2076], shift.Options{Day: 288}); err != nil {
			b.Fatal(err)
		}
	}
}
