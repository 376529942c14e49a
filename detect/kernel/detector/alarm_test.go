package detector_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/internal/peer"
)

// source makes the value of each step.
type source func(i int) float64

func white(rng *rand.Rand) source {
	return func(int) float64 { return 50 + 3*rng.NormFloat64() }
}

func wandering(rng *rand.Rand) source {
	x := 0.0
	return func(int) float64 { x = 0.9*x + rng.NormFloat64(); return 50 + x }
}

// daily is a wave of a day of n steps.
func daily(n int) func(*rand.Rand) source {
	return func(rng *rand.Rand) source {
		return func(i int) float64 {
			return 50 + 20*math.Sin(2*math.Pi*float64(i)/float64(n)) + 3*rng.NormFloat64()
		}
	}
}

func heavy(rng *rand.Rand) source {
	return func(int) float64 { return math.Exp(rng.NormFloat64()) }
}

func counts(rng *rand.Rand) source {
	return func(int) float64 {
		n := 0
		for p := rng.Float64(); p > math.Exp(-2); n++ {
			p *= rng.Float64()
		}
		return float64(n)
	}
}

func jumping(rng *rand.Rand) source {
	level := 20.0
	return func(int) float64 {
		if rng.IntN(60) == 0 {
			level = []float64{20, 50, 80}[rng.IntN(3)]
		}
		return level + 2*rng.NormFloat64()
	}
}

const monday = 1_699_833_600_000

// weeks is how much is looked at: less where tests are to be quick.
func weeks() int {
	if peer.Proving() {
		return 4
	}
	return 2
}

// watch is a detector on a stream, step by step.
type watch struct {
	t        *testing.T
	d        detector.Detector
	r        detector.Reading
	step     int64
	i        int
	quiet    int
	episodes int // runs of graded points, five normal ones between them
	graded   int
}

func watching(t *testing.T, s detector.Settings) *watch {
	t.Helper()
	return observing(t, "default", s)
}

func observing(t *testing.T, name string, s detector.Settings) *watch {
	t.Helper()
	return &watch{t: t, d: build(t, name, s), step: max(s.Step, time.Second).Milliseconds(), quiet: 5}
}

func (w *watch) point(hold bool, values ...float64) *detector.Reading {
	w.t.Helper()
	w.i++
	if err := w.d.Process(detector.Point{At: monday + int64(w.i)*w.step, Values: values, Hold: hold}, &w.r); err != nil {
		w.t.Fatal(err)
	}
	if w.r.Grade > 0 {
		if w.quiet >= 5 {
			w.episodes++
		}
		w.graded++
		w.quiet = 0
	} else {
		w.quiet++
	}
	return &w.r
}

func (w *watch) forget() { w.episodes, w.graded, w.quiet = 0, 0, 5 }

// At one wished false alarm a week, weeks of whatever is normal raise few.
func TestAlarmsKeepTheirBudget(t *testing.T) {
	const step = 5 * time.Minute
	tiers := []detector.Tier{detector.Small}
	if peer.Proving() {
		tiers = append(tiers, detector.Full)
	}
	f := func(name string, make func(*rand.Rand) source, most float64) {
		t.Helper()
		for _, tier := range tiers {
			w := watching(t, detector.Settings{Features: 1, Step: step, Seed: 5, Tier: tier})
			src := make(rand.New(rand.NewPCG(9, 9)))
			for i := range weeks() * 7 * 288 {
				w.point(false, src(i))
			}
			if got := float64(w.episodes) / float64(weeks()); got > most {
				t.Errorf("%s, %s: %.2f episodes a week, wanted at most %.2f", name, tier, got, most)
			}
		}
	}
	f("noise", white, 2)
	f("a daily wave", daily(288), 2)
	f("heavy tails", heavy, 3)
	f("jumps between levels", jumping, 2)
	if peer.Proving() {
		f("wandering", wandering, 2)
		f("small counts", counts, 2)
	}
}

// The budget is a dial, not a constant.
func TestABudgetIsSpent(t *testing.T) {
	const step = 5 * time.Minute
	run := func(perWeek float64) float64 {
		w := watching(t, detector.Settings{Features: 1, Step: step, Seed: 5, Tier: detector.Small, AlarmsPerWeek: perWeek})
		src := white(rand.New(rand.NewPCG(9, 9)))
		for i := range weeks() * 7 * 288 {
			w.point(false, src(i))
		}
		return float64(w.episodes) / float64(weeks())
	}
	few, many := run(2), run(20)
	if many < 10 || many > 40 || few > many/3 {
		t.Errorf("budgets of 2 and 20 a week raise %.1f and %.1f", few, many)
	}
}

// plant is an anomaly in the last feature.
type plant struct {
	name     string
	steps    int
	value    func(k int, usual float64) float64
	within   int // steps until it must be found
	episodes int // at most, while it lasts and for 200 steps
}

var plants = []plant{
	{"spike", 1, func(_ int, x float64) float64 { return x + 40 }, 1, 1},
	{"dip", 3, func(int, float64) float64 { return 0 }, 1, 1},
	{"level shift", 300, func(_ int, x float64) float64 { return x + 40 }, 2, 2},
	{"stuck", 200, func(int, float64) float64 { return 51.5 }, 10, 1},
}

func TestPlantedAnomaliesAreFoundAndBlamed(t *testing.T) {
	f := func(features int, tier detector.Tier) {
		for _, p := range plants {
			w := watching(t, detector.Settings{Features: features, Seed: 5, Tier: tier})
			rng := rand.New(rand.NewPCG(4, 4))
			src := white(rng)
			values := make([]float64, features)
			next := func(k int) *detector.Reading {
				for j := range values {
					values[j] = src(w.i)
				}
				if k >= 0 {
					values[features-1] = p.value(k, values[features-1])
				}
				for j := range values { // units differ by far
					values[j] *= math.Pow(1000, float64(j))
				}
				return w.point(false, values...)
			}
			for range 1500 {
				next(-1)
			}
			w.forget()
			found := -1
			for k := range p.steps {
				r := next(k)
				if r.Grade > 0 && found < 0 {
					found = k
					for j, b := range r.Blame {
						if j != features-1 && b >= r.Blame[features-1] {
							t.Errorf("%s, %s of %d: feature %d is blamed: %.2f", p.name, tier, features, j, r.Blame)
						}
					}
				}
			}
			for range 200 {
				next(-1)
			}
			if found < 0 || found >= p.within {
				t.Errorf("%s, %s of %d: found after %d steps (-1: not), wanted within %d", p.name, tier, features, found, p.within)
			}
			if most := p.episodes; w.episodes > most {
				t.Errorf("%s, %s of %d: told %d times, wanted at most %d", p.name, tier, features, w.episodes, most)
			}
		}
	}
	f(1, detector.Small)
	f(4, detector.Small)
	if peer.Proving() {
		f(1, detector.Full)
		f(4, detector.Full)
	}
}

// What a forest scores high while it learns may never come again: a threshold
// that waits for more of it would hear nothing of the first real fault.
func TestACalmStartLeavesNoDetectorDeaf(t *testing.T) {
	f := func(tier detector.Tier, models, calm int) {
		t.Helper()
		found := 0
		for seed := range models {
			w := watching(t, detector.Settings{Features: 4, Step: 10 * time.Second, Seed: uint64(seed), Tier: tier})
			rng := rand.New(rand.NewPCG(uint64(seed), 7))
			values := make([]float64, 4)
			for i := range calm + 1 {
				for j := range values {
					values[j] = 0.4 + 0.15*math.Sin(2*math.Pi*float64(i)/360+float64(seed+j)) + 0.03*rng.Float64()
					if i == calm {
						values[j] += 3
					}
				}
				w.point(false, values...)
			}
			if w.r.Grade > 0 {
				found++
			}
		}
		if found < models {
			t.Errorf("%s: a spike of 100 deviations after %d calm points was seen in %d of %d", tier, calm, found, models)
		}
	}
	f(detector.Small, 5, 480)
	if peer.Proving() {
		f(detector.Small, 20, 2000)
		f(detector.Full, 5, 480)
		f(detector.Full, 5, 2000)
	}
}

// Forests blame the newest point's own features, not those of the point before.
func TestForestsBlameTheNewestPoint(t *testing.T) {
	w := observing(t, "rcf", detector.Settings{Features: 4, Seed: 5, Tier: detector.Small})
	src := white(rand.New(rand.NewPCG(4, 4)))
	values := make([]float64, 4)
	for i := range 1200 {
		for k := range values {
			values[k] = src(i)
		}
		odd := i - 1000
		if odd >= 0 && odd%50 == 0 {
			values[odd/50%4] += 40
		}
		if r := w.point(false, values...); odd >= 0 && odd%50 == 0 && !(r.Blame[odd/50%4] > 0.6) {
			t.Errorf("a spike of feature %d is blamed on %.2f", odd/50%4, r.Blame)
		}
	}
}

// A new level is told once, is then the new normal, and is expected.
func TestALevelShiftIsToldOnceThenLearned(t *testing.T) {
	w := watching(t, detector.Settings{Features: 1, Seed: 5})
	src := white(rand.New(rand.NewPCG(4, 4)))
	for i := range 1500 {
		w.point(false, src(i))
	}
	w.forget()
	var r *detector.Reading
	for i := range 1000 {
		r = w.point(false, src(i)+40)
		if i < 6 && math.Abs(r.Expected[0]-50) > 1 {
			t.Errorf("at the shift %v is expected, not about 50", r.Expected[0])
		}
	}
	if w.episodes < 1 || w.episodes > 2 {
		t.Errorf("a level shift is told %d times", w.episodes)
	}
	if w.graded > 40 || w.quiet < 500 {
		t.Errorf("%d points of a new level are graded, the last %d points ago", w.graded, w.quiet)
	}
	if math.Abs(r.Expected[0]-90) > 5 || r.Low[0] < 60 {
		t.Errorf("after the shift %v (%v to %v) is expected, not about 90", r.Expected[0], r.Low[0], r.High[0])
	}
}

// What happens under maintenance is scored, and nothing of it is learned.
func TestNothingIsLearnedWhileHeld(t *testing.T) {
	f := func(hold bool) (score float64, next detector.Reading) {
		w := watching(t, detector.Settings{Features: 1, Seed: 5})
		src := white(rand.New(rand.NewPCG(4, 4)))
		for i := range 1500 {
			w.point(false, src(i))
		}
		for i := range 400 {
			if r := w.point(hold, src(i)+40); i == 200 {
				score = r.Raw
			}
		}
		for i := range 20 {
			w.point(false, src(i))
		}
		return score, *w.point(false, src(1)+40)
	}
	during, after := f(true)
	if during < after.Threshold {
		t.Errorf("after 200 held points a strange one scores %v, below the threshold %v: it was learned", during, after.Threshold)
	}
	if after.Grade < 0.3 || math.Abs(after.Expected[0]-50) > 5 {
		t.Errorf("after a hold a strange value has grade %v where %v is expected", after.Grade, after.Expected[0])
	}
	if during, after := f(false); during > after.Threshold || after.Grade > 0 {
		t.Errorf("without a hold it is not learned either: %v at the threshold %v, grade %v", during, after.Threshold, after.Grade)
	}
}

func TestTheBandHoldsWhatItPromises(t *testing.T) {
	f := func(name string, make func(*rand.Rand) source) {
		t.Helper()
		w := watching(t, detector.Settings{Features: 1, Step: 5 * time.Minute, Seed: 5, Tier: detector.Small})
		src := make(rand.New(rand.NewPCG(4, 4)))
		in, width, n := 0, 0.0, 0
		for i := range (weeks() + 1) * 7 * 288 {
			x := src(i)
			r := w.point(false, x)
			if i < 7*288 {
				continue
			}
			n++
			width += r.High[0] - r.Low[0]
			if r.Low[0] <= x && x <= r.High[0] {
				in++
			}
		}
		if share := float64(in) / float64(n); share < 0.96 || share > 0.995 {
			t.Errorf("%s: %.3f of the values are in a band of 0.98", name, share)
		}
		// The noise has a deviation of 3: 98 % of it lies within 14.
		if width /= float64(n); name == "a daily wave" && (width < 13 || width > 25) {
			t.Errorf("%s: the band is %.1f wide", name, width)
		}
	}
	f("noise", white)
	f("a daily wave", daily(288))
	if peer.Proving() {
		f("wandering", wandering)
	}
}

func TestMinEffect(t *testing.T) {
	f := func(minimum, spike float64, want bool) {
		t.Helper()
		w := watching(t, detector.Settings{Features: 1, Seed: 5, MinEffect: minimum, Tier: detector.Small})
		src := white(rand.New(rand.NewPCG(4, 4)))
		for i := range 2000 {
			w.point(false, src(i))
		}
		if got := w.point(false, 50+spike).Grade > 0; got != want {
			t.Errorf("a spike of %v above 50 at a minimum effect of %v: graded %v", spike, minimum, got)
		}
	}
	f(0, 25, true)
	f(0.2, 25, true)
	f(0.8, 25, false)
	f(0.8, 60, true)
}

func TestMissingValues(t *testing.T) {
	nan := math.NaN()
	w := watching(t, detector.Settings{Features: 3, Seed: 5, Tier: detector.Small})
	src := white(rand.New(rand.NewPCG(4, 4)))
	for i := range 2000 {
		switch {
		case i%10 == 0:
			w.point(false, nan, nan, nan)
		case i%3 == 0:
			w.point(false, src(i), nan, src(i))
		default:
			w.point(false, src(i), src(i), src(i))
		}
	}
	if w.episodes > 2 {
		t.Errorf("missing values raise %d alarms", w.episodes)
	}
	whole := w.r.Confidence
	before := w.r.Learned
	r := w.point(false, nan, nan, nan)
	if r.Score != 0 || r.Grade != 0 || r.Learned != before || math.IsNaN(r.Expected[0]) {
		t.Errorf("a point without a value reads %s", text(r))
	}
	r = w.point(false, src(1), nan, 120)
	if !(r.Grade > 0) || r.Blame[1] != 0 || r.Blame[2] < 0.5 {
		t.Errorf("a spike beside a missing value has grade %v and blame %.2f", r.Grade, r.Blame)
	}
	if !(whole < 0.95) {
		t.Errorf("with a fifth of the values missing the confidence is %v", whole)
	}
}

// The unit of a feature, and how far its values are from 0, make no difference.
func TestUnitsMakeNoDifference(t *testing.T) {
	run := func(features int, scale, offset float64) (graded int, score float64) {
		w := watching(t, detector.Settings{Features: features, Seed: 5, Tier: detector.Small})
		src := white(rand.New(rand.NewPCG(4, 4)))
		values := make([]float64, features)
		for i := range 2000 {
			for k := range values {
				values[k] = (src(i) + offset) * scale
			}
			if i == 1900 {
				values[0] += 40 * scale
			}
			if r := w.point(false, values...); i == 1900 {
				score = r.Raw
			}
		}
		return w.graded, score
	}
	for _, features := range []int{1, 3} {
		graded, score := run(features, 1, 0)
		for _, c := range [][2]float64{{1 << 20, 0}, {1. / (1 << 20), 0}, {1, 1 << 30}} {
			if features > 1 && c[1] != 0 {
				continue // rounding is allowed for beside features of another size
			}
			g, s := run(features, c[0], c[1])
			if g != graded || math.Abs(s-score) > 0.1*score {
				t.Errorf("%d features times %v plus %v: %d graded, a spike scores %v; wanted %d and %v", features, c[0], c[1], g, s, graded, score)
			}
		}
	}
}

// The plain rule does what it says: one point in twenty, whatever happens.
func TestThePlainRuleGradesOneInTwenty(t *testing.T) {
	d := build(t, "percentile", detector.Settings{Features: 1, Seed: 5})
	src := white(rand.New(rand.NewPCG(4, 4)))
	var r detector.Reading
	graded := 0
	for i := range 3000 {
		if err := d.Process(detector.Point{At: int64(i+1) * 60_000, Values: []float64{src(i)}}, &r); err != nil {
			t.Fatal(err)
		}
		if i >= 1000 && r.Grade > 0 {
			graded++
		}
	}
	if graded < 60 || graded > 140 {
		t.Errorf("%d of 2000 points are graded, wanted about 100", graded)
	}
}

// Learning shows: "learning, 41 of 128 points".
func TestWarmUp(t *testing.T) {
	w := watching(t, detector.Settings{Features: 1, Seed: 5, Tier: detector.Small})
	src := white(rand.New(rand.NewPCG(4, 4)))
	confidence := 0.0
	for i := range 1000 {
		r := w.point(false, src(i))
		if want := min(i+1, r.Needed); r.Learned != want || r.Ready() != (i+1 >= r.Needed) {
			t.Fatalf("after %d points %d of %d are learned", i+1, r.Learned, r.Needed)
		}
		if r.Confidence < confidence {
			t.Fatalf("the confidence falls from %v to %v", confidence, r.Confidence)
		}
		confidence = r.Confidence
	}
	if confidence < 0.5 || w.r.Needed > 600 {
		t.Errorf("after 1000 points the confidence is %v, %d points are needed", confidence, w.r.Needed)
	}
}
