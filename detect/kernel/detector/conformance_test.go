package detector_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/detect/kernel/detector"
)

// trial is a detector, its settings, and a stream with everything that streams
// have: noise, waves, runs of one value, spikes, missing values, gaps, holds.
type trial struct {
	name     string
	settings detector.Settings
	points   []detector.Point
}

func draw(t *rapid.T) trial {
	c := trial{name: rapid.SampledFrom(detector.Names()).Draw(t, "detector")}
	c.settings = detector.Settings{
		Features: rapid.IntRange(1, 3).Draw(t, "features"),
		Step:     time.Duration(rapid.IntRange(1, 3600).Draw(t, "step")) * time.Second,
		Seed:     rapid.Uint64().Draw(t, "seed"),
		Tier:     rapid.SampledFrom([]detector.Tier{detector.Small, detector.Small, detector.Full}).Draw(t, "tier"),
	}
	c.points = stream(rapid.Uint64().Draw(t, "stream"), rapid.IntRange(2, 160).Draw(t, "points"), c.settings)
	return c
}

func stream(seed uint64, n int, s detector.Settings) []detector.Point {
	rng := rand.New(rand.NewPCG(seed, 5))
	step := max(s.Step, time.Second).Milliseconds()
	scale := math.Pow(10, float64(rng.IntN(16)-6))
	at, stuck, hold := int64(1_700_000_000_000), 0, 0
	out := make([]detector.Point, n)
	for i := range out {
		at += step
		if rng.IntN(50) == 0 {
			at += rng.Int64N(1e8)
		}
		if rng.IntN(40) == 0 {
			stuck = rng.IntN(20)
		}
		if rng.IntN(60) == 0 {
			hold = rng.IntN(12)
		}
		stuck, hold = max(0, stuck-1), max(0, hold-1)
		p := detector.Point{At: at, Values: make([]float64, s.Features), Hold: hold > 0}
		for k := range p.Values {
			switch {
			case stuck > 0 && i > 0:
				p.Values[k] = out[i-1].Values[k]
			case rng.IntN(30) == 0:
				p.Values[k] = math.NaN()
			case rng.IntN(40) == 0:
				p.Values[k] = scale * 1e3 * rng.NormFloat64()
			default:
				p.Values[k] = scale * (5 + math.Sin(float64(i)/7) + 0.2*rng.NormFloat64())
			}
		}
		out[i] = p
	}
	return out
}

func build(t fatal, name string, s detector.Settings) detector.Detector {
	t.Helper()
	d, err := detector.New(name, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

type fatal interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// read feeds points and returns the readings as text, which tells every bit of a
// number but for the sign of NaN.
func read(t fatal, d detector.Detector, points []detector.Point) []string {
	t.Helper()
	var r detector.Reading
	var out []string
	for _, p := range points {
		if err := d.Process(p, &r); err != nil {
			t.Fatal(err)
		}
		out = append(out, text(&r))
	}
	return out
}

func text(r *detector.Reading) string {
	return fmt.Sprint(r.Score, r.Raw, r.Threshold, r.Grade, r.Confidence, r.Learned, r.Needed, r.Expected, r.Low, r.High, r.Blame)
}

func equal(t fatal, got, want []string, what string) {
	t.Helper()
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("%s: reading %d of %d is\n%s\nwanted\n%s", what, i, len(want), slices.Concat(got, make([]string, len(want)))[i], want[i])
		}
	}
}

// rules are what every detector promises.
var rules = []struct {
	name, why string
	check     func(*rapid.T, trial)
}{
	{
		"no look-ahead", "a score that waits for later points is of no use at 3 a.m., and flatters in a bench",
		func(t *rapid.T, c trial) {
			whole := read(t, build(t, c.name, c.settings), c.points)
			cut := rapid.IntRange(1, len(c.points)).Draw(t, "cut")
			other := stream(rapid.Uint64().Draw(t, "other"), 40, c.settings)
			prefix := slices.Clone(c.points[:cut])
			last := prefix[cut-1].At
			for i := range other {
				other[i].At = last + int64(i+1)*c.settings.Step.Milliseconds()
			}
			equal(t, read(t, build(t, c.name, c.settings), append(prefix, other...))[:cut], whole[:cut], "with another future")
		},
	},
	{
		"goes on after a load", "a restart must neither find nor lose an anomaly",
		func(t *rapid.T, c trial) {
			whole := read(t, build(t, c.name, c.settings), c.points)
			cut := rapid.IntRange(0, len(c.points)).Draw(t, "cut")
			d := build(t, c.name, c.settings)
			read(t, d, c.points[:cut])
			state, err := d.AppendState([]byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			state = bytes.TrimPrefix(state, []byte("before"))
			loaded, err := detector.Load(c.name, c.settings, state)
			if err != nil {
				t.Fatal(err)
			}
			again, err := loaded.AppendState(nil)
			if err != nil || !bytes.Equal(again, state) {
				t.Fatalf("a loaded model saves other bytes (%v)", err)
			}
			equal(t, read(t, loaded, c.points[cut:]), whole[cut:], "after a load")
		},
	},
	{
		"readings are in range", "whoever ranks, draws or stores them relies on it",
		func(t *rapid.T, c trial) {
			d := build(t, c.name, c.settings)
			var r detector.Reading
			for i, p := range c.points {
				if err := d.Process(p, &r); err != nil {
					t.Fatal(err)
				}
				if why := wrong(p, &r); why != "" {
					t.Fatalf("point %d: %s: %s", i, why, text(&r))
				}
			}
		},
	},
	{
		"a refused point leaves no trace", "one broken sender must not spoil a model",
		func(t *rapid.T, c trial) {
			whole := read(t, build(t, c.name, c.settings), c.points)
			d := build(t, c.name, c.settings)
			cut := rapid.IntRange(1, len(c.points)).Draw(t, "cut")
			got := read(t, d, c.points[:cut])
			at, n := c.points[cut-1].At, c.settings.Features
			infinite := make([]float64, n)
			infinite[n-1] = math.Inf(1)
			for _, p := range []detector.Point{
				{At: at + 1, Values: make([]float64, n+1)},
				{At: at + 1, Values: infinite},
				{At: at, Values: make([]float64, n)},
				{At: at - 1, Values: make([]float64, n), Hold: true},
			} {
				if err := d.Process(p, &detector.Reading{}); err == nil {
					t.Fatalf("%+v is taken", p)
				}
			}
			equal(t, append(got, read(t, d, c.points[cut:])...), whole, "after refused points")
		},
	},
}

func wrong(p detector.Point, r *detector.Reading) string {
	sum := 0.0
	for i, b := range r.Blame {
		if !(b >= 0 && b <= 1) {
			return "a blame is not in [0,1]"
		}
		if math.IsNaN(p.Values[i]) && b > 0 {
			return "a missing value is blamed"
		}
		sum += b
		if e := r.Expected[i]; !math.IsNaN(e) && !(r.Low[i] <= e && e <= r.High[i]) {
			return "what is expected is not in its band"
		}
	}
	switch n := len(p.Values); {
	case !(r.Score >= 0 && r.Score <= 1):
		return "the score is not in [0,1]"
	case !(r.Raw >= 0 && r.Raw <= math.MaxFloat64):
		return "the raw score is not a number from 0"
	case !(r.Threshold >= 0 && r.Threshold <= math.MaxFloat64):
		return "the threshold is not a number from 0"
	case !(r.Grade >= 0 && r.Grade <= 1) || r.Grade > 0 && !r.Ready():
		return "the grade is not in [0,1], or comes too early"
	case !(r.Confidence >= 0 && r.Confidence <= 1):
		return "the confidence is not in [0,1]"
	case r.Learned < 0 || r.Learned > r.Needed:
		return "more is learned than needed"
	case len(r.Expected) != n || len(r.Low) != n || len(r.High) != n || len(r.Blame) != n:
		return "a slice is not as long as the point"
	case sum != 0 && math.Abs(sum-1) > 1e-9:
		return "the blame does not sum to 1"
	}
	return ""
}

func TestEveryDetectorKeepsTheRules(t *testing.T) {
	for _, r := range rules {
		t.Run(strings.ReplaceAll(r.name, " ", "-"), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Log("why: " + r.why)
				}
			}()
			rapid.Check(t, func(t *rapid.T) { r.check(t, draw(t)) })
		})
	}
}

// Long enough that everything has graded, alerted and learned.
func TestLongStreamsGoOnAfterALoad(t *testing.T) {
	for _, name := range detector.Names() {
		s := detector.Settings{Features: 2, Seed: 7, Tier: detector.Small, AlarmsPerWeek: 200}
		points := stream(11, 1500, s)
		whole := read(t, build(t, name, s), points)
		d := build(t, name, s)
		for _, cut := range [][2]int{{0, 700}, {700, 1100}, {1100, 1500}} {
			equal(t, read(t, d, points[cut[0]:cut[1]]), whole[cut[0]:cut[1]], name)
			state, err := d.AppendState(nil)
			if err != nil {
				t.Fatal(err)
			}
			if d, err = detector.Load(name, s, state); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	s := detector.Settings{Features: 2, Seed: 7, Tier: detector.Small}
	d := build(t, "default", s)
	read(t, d, stream(3, 300, s))
	state, err := d.AppendState(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := func(what, name string, change func(*detector.Settings), b []byte) {
		t.Helper()
		s := s
		if change != nil {
			change(&s)
		}
		if _, err := detector.Load(name, s, b); !errors.Is(err, detector.ErrState) {
			t.Errorf("%s: %v, wanted ErrState", what, err)
		}
	}
	f("another detector", "rcf", nil, state)
	f("another number of features", "default", func(s *detector.Settings) { s.Features = 3 }, state)
	f("another step", "default", func(s *detector.Settings) { s.Step = time.Hour }, state)
	f("another seed", "default", func(s *detector.Settings) { s.Seed++ }, state)
	f("another budget", "default", func(s *detector.Settings) { s.AlarmsPerWeek = 2 }, state)
	f("another effect", "default", func(s *detector.Settings) { s.MinEffect = 0.1 }, state)
	f("another tier", "default", func(s *detector.Settings) { s.Tier = detector.Full }, state)
	f("nothing", "default", nil, nil)
	f("bytes left over", "default", nil, append(slices.Clone(state), 0))
	for _, n := range []int{4, 5, 20, 100, len(state) / 2, len(state) - 1} {
		f(fmt.Sprintf("the first %d bytes", n), "default", nil, state[:n])
	}
	for i := 0; i < len(state); i += 1 + len(state)/200 {
		b := slices.Clone(state)
		b[i] ^= 0x10
		f(fmt.Sprintf("byte %d turned", i), "default", nil, b)
	}
	// Defaults filled in are equal settings.
	if _, err := detector.Load("default", detector.Settings{Features: 2, Seed: 7, Tier: detector.Small, Step: time.Minute, AlarmsPerWeek: 1}, state); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	f := func(name string, s detector.Settings, want string) {
		t.Helper()
		if _, err := detector.New(name, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%q, %+v) = %v, wanted an error about %q", name, s, err, want)
		}
	}
	f("prophet", detector.Settings{Features: 1}, `"prophet" is none of default, rcf`)
	f("default", detector.Settings{}, "0 features")
	f("default", detector.Settings{Features: 65}, "65 features")
	f("default", detector.Settings{Features: 1, Step: -1}, "step")
	f("default", detector.Settings{Features: 1, AlarmsPerWeek: -1}, "alarms per week")
	f("default", detector.Settings{Features: 1, AlarmsPerWeek: math.NaN()}, "alarms per week")
	f("default", detector.Settings{Features: 1, MinEffect: math.NaN()}, "minimum effect")
	f("default", detector.Settings{Features: 1, Tier: "huge"}, "huge")
	for _, name := range detector.Names() {
		for _, tier := range []detector.Tier{detector.Full, detector.Small} {
			if _, err := detector.New(name, detector.Settings{Features: 1, Tier: tier}); err != nil {
				t.Error(err)
			}
		}
	}
}

// Steady state allocates nothing: a point comes for each of ten thousand models
// every few seconds. Forests may grow what they keep of rare shapes, hence less
// than one allocation in ten points.
func TestPointsDoNotAllocate(t *testing.T) {
	for _, name := range detector.Names() {
		for _, features := range []int{1, 4} {
			s := detector.Settings{Features: features, Seed: 1, Tier: detector.Small}
			d := build(t, name, s)
			points := stream(23, 4000, s)
			var r detector.Reading
			for _, p := range points[:3000] {
				if err := d.Process(p, &r); err != nil {
					t.Fatal(err)
				}
			}
			i := 3000
			if n := testing.AllocsPerRun(900, func() {
				if err := d.Process(points[i], &r); err != nil {
					t.Fatal(err)
				}
				i++
			}); n >= 0.1 {
				t.Errorf("%s of %d features allocates %v times per point", name, features, n)
			}
		}
	}
}

// Values of any size are taken: somebody always exports a counter of
// nanoseconds, or the largest float for "none".
func TestExtremeValues(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := detector.Settings{Features: 1 + int(seed%2), Tier: detector.Small}
		d := build(t, "default", s)
		sizes := []float64{math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 0, 1, 1e30, -1e30, 1e-30, 1e200, math.NaN()}
		var r detector.Reading
		for i := range 600 {
			p := detector.Point{At: int64(i) * 60_000, Values: make([]float64, s.Features)}
			for k := range p.Values {
				p.Values[k] = sizes[rng.IntN(len(sizes))]
			}
			if err := d.Process(p, &r); err != nil {
				t.Fatalf("%v: %v", p, err)
			}
			if why := wrong(p, &r); why != "" {
				t.Fatalf("%v: %s: %s", p, why, text(&r))
			}
		}
	}
}
