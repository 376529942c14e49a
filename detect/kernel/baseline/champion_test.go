package baseline

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

func candidates() []Candidate {
	return []Candidate{
		{"null", func() (Processor, error) { return NewNull(1) }},
		{"random", func() (Processor, error) { return NewRandom(1, 5) }},
		{"z-score", func() (Processor, error) { return NewZScore(ZScoreSettings{Features: 1}) }},
		{"mad", func() (Processor, error) { return NewMAD(MADSettings{Features: 1}) }},
		{"differences", func() (Processor, error) { return NewDifferences(1) }},
		{"seasonal", func() (Processor, error) { return NewSeasonal(SeasonalSettings{Features: 1}) }},
		{"sub-pca", func() (Processor, error) { return NewSubPCA(SubPCASettings{Features: 1, Shingle: 12}) }},
		{"cusum", func() (Processor, error) { return NewCUSUM(CUSUMSettings{Features: 1}) }},
	}
}

// series makes a past of n points, one each hour.
func series(n int, value func(g *splitmix, i int) float64) []Point {
	g := splitmix(11)
	past := make([]Point, n)
	for i := range past {
		past[i] = Point{At: int64(i) * hourMs, Values: []float64{value(&g, i)}}
	}
	return past
}

func TestChampionPicksWhatFitsTheSeries(t *testing.T) {
	f := func(name string, want []string, past []Point) {
		t.Helper()
		got, err := Champion(past, candidates(), Trials{Seed: 1, Rounds: 4, MaxPoints: 2048})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range got {
			t.Logf("%-12s %-12s AP %.3f ROC %.3f, by kind %.2f, %d of %d blocks planted", name, s.Name, s.AveragePrecision, s.ROCAUC, s.ByKind, s.Planted, s.Judged)
		}
		for _, w := range want {
			if got[0].Name == w {
				return
			}
		}
		t.Errorf("%s: the champion is %s, want one of %v", name, got[0].Name, want)
	}
	weekly := make([]float64, hoursPerWeek)
	g := splitmix(3)
	for i := range weekly {
		weekly[i] = 1000 * g.unit()
	}
	// Each hour of the week has its own level, with nothing to tell it by but
	// the clock.
	f("seasonal", []string{"seasonal"}, series(2048, func(g *splitmix, i int) float64 { return weekly[i%hoursPerWeek] + 10*g.normal() }))
	// A walk has no level: only its steps are usual.
	v := 0.0
	f("walk", []string{"differences", "sub-pca"}, series(2048, func(g *splitmix, _ int) float64 { v += g.normal(); return v }))
	// Independent noise has nothing but a level and a scale.
	f("noise", []string{"z-score", "mad"}, series(2048, func(g *splitmix, _ int) float64 { return 50 + g.normal() }))
	// Where every few points burst far out, spikes mean nothing, and what can
	// still be told is another level.
	f("bursty", []string{"cusum"}, series(2048, func(g *splitmix, _ int) float64 {
		x := 50 + g.normal()
		if g.unit() < 0.1 {
			x += 200 * g.unit()
		}
		return x
	}))
	// A shape with a period of its own, which no clock of weeks shares.
	f("shape", []string{"sub-pca"}, series(2048, func(g *splitmix, i int) float64 {
		p := float64(i) * 2 * math.Pi / 11.3
		return 100*math.Sin(p) + 40*math.Sin(2*p+1) + 2*g.normal()
	}))
}

func TestChampionIsRepeatableAndLeavesThePastAlone(t *testing.T) {
	value := func(g *splitmix, _ int) float64 { return 10 + g.normal() }
	past, same := series(600, value), series(600, value)
	a, err := Champion(past, candidates(), Trials{Seed: 9, MaxPoints: 600})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(past, same) {
		t.Error("the past was changed")
	}
	b, err := Champion(past, candidates(), Trials{Seed: 9, MaxPoints: 600})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Champion(past, candidates(), Trials{Seed: 10, MaxPoints: 600})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(a) != fmt.Sprint(b) { // a NaN is not equal to itself
		t.Errorf("one seed, two standings:\n%v\n%v", a, b)
	}
	if fmt.Sprint(a) == fmt.Sprint(c) {
		t.Error("another seed gave the same figures")
	}
	if a[0].Planted == 0 || a[0].Judged <= a[0].Planted {
		t.Errorf("%d of %d blocks planted", a[0].Planted, a[0].Judged)
	}
	// What knows nothing is last.
	for _, s := range a[len(a)-2:] {
		if s.Name != "null" && s.Name != "random" {
			t.Errorf("%s is behind what knows nothing: %v", s.Name, a)
		}
	}
}

// counter is a candidate that counts what it was given.
type counter struct {
	Null
	points *int
}

func (c *counter) Process(at int64, x []float64, hold bool) (float64, error) {
	*c.points++
	return c.Null.Process(at, x, hold)
}

func TestChampionHasABoundedCost(t *testing.T) {
	points := 0
	_, err := Champion(series(3000, func(g *splitmix, _ int) float64 { return g.normal() }), []Candidate{{"counter", func() (Processor, error) {
		n, err := NewNull(1)
		return &counter{*n, &points}, err
	}}}, Trials{Rounds: 3, MaxPoints: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if points != 4*1000 {
		t.Errorf("%d points processed, want 4 runs of 1000", points)
	}
}

// A real anomaly in the past is no mistake of the one that finds it.
func TestChampionExcusesTheStrangest(t *testing.T) {
	f := func(real float64) float64 {
		got, err := Champion(series(1000, func(g *splitmix, i int) float64 {
			if x := 10 + g.normal(); i != 599 {
				return x
			}
			return real
		}), candidates()[2:3], Trials{Seed: 1, MaxPoints: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return got[0].AveragePrecision
	}
	if with, without := f(1e4), f(10); with < without-0.05 {
		t.Errorf("a real anomaly costs the z-score %v of its precision of %v", without-with, without)
	}
}

func TestChampionOfSeveralFeaturesWithGaps(t *testing.T) {
	past := series(600, func(g *splitmix, _ int) float64 { return 10 + g.normal() })
	for i := range past {
		past[i].Values = append(past[i].Values, math.NaN(), float64(i%7))
		if i%9 == 0 {
			past[i].Values[0] = math.NaN()
		}
	}
	got, err := Champion(past, []Candidate{{"mad", func() (Processor, error) { return NewMAD(MADSettings{Features: 3}) }}}, Trials{MaxPoints: 600})
	if err != nil || got[0].Planted == 0 || got[0].AveragePrecision < 0.2 {
		t.Errorf("%+v, %v", got, err)
	}
}

// wrong scores NaN.
type wrong struct{}

func (wrong) Process(int64, []float64, bool) (float64, error) { return math.NaN(), nil }

func TestChampionRefuses(t *testing.T) {
	noise := series(300, func(g *splitmix, _ int) float64 { return g.normal() })
	f := func(want string, past []Point, c []Candidate, s Trials) {
		t.Helper()
		if _, err := Champion(past, c, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f("no candidates", noise, nil, Trials{})
	f("a past of 255 points: give at least 256", noise[:255], candidates(), Trials{})
	f("rounds 33", noise, candidates(), Trials{Rounds: 33})
	f("points 255", noise, candidates(), Trials{MaxPoints: 255})
	f("mad: point of 1 values: the model has 2 features", noise, []Candidate{{"x", func() (Processor, error) { return NewMAD(MADSettings{Features: 2}) }}}, Trials{})
	f("x: out of order", noise, []Candidate{{"x", func() (Processor, error) { return nil, errors.New("out of order") }}}, Trials{})
	f("point 0 scored NaN", noise, []Candidate{{"x", func() (Processor, error) { return wrong{}, nil }}}, Trials{})
	uneven := append([]Point(nil), noise...)
	uneven[7].Values = []float64{1, 2}
	f("point 7 has 2 values and the first 1", uneven, candidates(), Trials{})
	f("nothing could be planted", series(300, func(*splitmix, int) float64 { return math.NaN() }), candidates(), Trials{})
}

func TestKindsHaveNames(t *testing.T) {
	f := func(k Kind, want string) {
		t.Helper()
		if got := k.String(); got != want {
			t.Errorf("kind %d is %q, want %q", int(k), got, want)
		}
	}
	f(Spike, "spike")
	f(Dip, "dip")
	f(Shift, "level shift")
	f(Stuck, "stuck value")
	f(Swap, "out of place")
	f(9, "kind 9")
}
