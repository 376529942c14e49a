package baseline

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// kindOfScorer is a scorer that obeys the rules below.
type kindOfScorer struct {
	name string
	// view is how many points the scorer looks at together.
	view int
	// learns is false for the crude scorers that know nothing.
	learns bool
	newFor func(features int) (Scorer, error)
}

func all() []kindOfScorer {
	return []kindOfScorer{
		{"z-score", 1, true, func(n int) (Scorer, error) { return NewZScore(ZScoreSettings{Features: n, Window: 64}) }},
		{"differences", 2, true, func(n int) (Scorer, error) { return NewDifferences(n) }},
		{"mad", 1, true, func(n int) (Scorer, error) { return NewMAD(MADSettings{Features: n, Window: 32}) }},
		{"seasonal", 1, true, func(n int) (Scorer, error) { return NewSeasonal(SeasonalSettings{Features: n, Visits: 1}) }},
		{"sub-pca", 4, true, func(n int) (Scorer, error) {
			return NewSubPCA(SubPCASettings{Features: n, Shingle: 4, Window: 64})
		}},
		{"cusum", 1, true, func(n int) (Scorer, error) { return NewCUSUM(CUSUMSettings{Features: n, Window: 32}) }},
		{"random", 1, false, func(n int) (Scorer, error) { return NewRandom(n, 7) }},
		{"null", 1, false, func(n int) (Scorer, error) { return NewNull(n) }},
	}
}

func make1(t testing.TB, s Scorer, err error) Scorer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (k kindOfScorer) fresh(t testing.TB, features int) Scorer {
	t.Helper()
	s, err := k.newFor(features)
	return make1(t, s, err)
}

const minute = 60_000

// wave is a point of a noisy daily rhythm; the features differ in size.
func wave(g *splitmix, i, features int) []float64 {
	x := make([]float64, features)
	for f := range x {
		x[f] = math.Pow(10, float64(f)) * (10 + 3*math.Sin(float64(i)/9+float64(f)) + g.normal())
	}
	return x
}

// normal is a standard normal number (Box and Muller).
func (s *splitmix) normal() float64 {
	return math.Sqrt(-2*math.Log(1-s.unit())) * math.Cos(2*math.Pi*s.unit())
}

// taught has read n points of a wave, one each ten minutes.
func (k kindOfScorer) taught(t testing.TB, features, n int) (Scorer, *splitmix) {
	t.Helper()
	s, g := k.fresh(t, features), new(splitmix)
	for i := range n {
		process(t, s, int64(i)*10*minute, wave(g, i, features), false)
	}
	return s, g
}

func process(t testing.TB, s Scorer, at int64, x []float64, hold bool) float64 {
	t.Helper()
	score, err := s.Process(at, x, hold)
	if err != nil {
		t.Fatalf("point at %d: %v", at, err)
	}
	return score
}

func TestScorers(t *testing.T) {
	rules := []struct {
		name, why string
		check     func(t *testing.T, k kindOfScorer)
	}{
		{"bad points are refused", "a point that cannot be learned must not half change the model", func(t *testing.T, k kindOfScorer) {
			s, _ := k.taught(t, 2, 200)
			before := s.AppendState(nil)
			f := func(at int64, x []float64, want string) {
				t.Helper()
				if _, err := s.Process(at, x, false); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Process(%d, %v): %v, want %q", at, x, err, want)
				}
				if !bytes.Equal(s.AppendState(nil), before) {
					t.Errorf("Process(%d, %v) changed the model", at, x)
				}
			}
			next := int64(200 * 10 * minute)
			f(next, []float64{1}, "point of 1 values: the model has 2 features")
			f(next, nil, "point of 0 values")
			f(next, []float64{1, 2, 3}, "point of 3 values")
			f(next, []float64{1, math.Inf(1)}, "value 1 is +Inf")
			f(next, []float64{math.Inf(-1), 1}, "value 0 is -Inf")
			f(199*10*minute, []float64{1, 1}, "does not follow")
			f(0, []float64{1, 1}, "does not follow")
		}},
		{"missing values are skipped", "a scrape that failed is not an anomaly", func(t *testing.T, k kindOfScorer) {
			s, g := k.taught(t, 3, 300)
			learned := s.Learned()
			if got := process(t, s, 1e12, []float64{math.NaN(), math.NaN(), math.NaN()}, false); got != 0 {
				t.Errorf("a point without values scores %v, want 0", got)
			}
			if s.Learned() != learned {
				t.Error("a point without values was counted as learned")
			}
			x := wave(g, 301, 3)
			x[1] = math.NaN()
			process(t, s, 2e12, x, false)
			if b := s.Blame(nil); b[1] != 0 {
				t.Errorf("a missing value is blamed: %v", b)
			}
		}},
		{"a feature that never comes does not stop the others", "one host has no swap: the rest of it is still watched", func(t *testing.T, k kindOfScorer) {
			if !k.learns {
				t.Skip("knows nothing")
			}
			s, g := k.fresh(t, 2), new(splitmix)
			wild := 0.0
			for i := range 406 {
				x := wave(g, i, 2)
				x[1] = math.NaN()
				if i >= 400 {
					x[0] *= 100
				}
				score := process(t, s, int64(i)*10*minute, x, false)
				if i >= 400 {
					wild = max(wild, score)
				}
				if e := s.Expected(nil); !math.IsNaN(e[1]) || i > 100 && math.IsNaN(e[0]) {
					t.Fatalf("point %d is expected at %v", i, e)
				}
			}
			if wild < 4 {
				t.Errorf("wild points of the feature that comes score %v at most", wild)
			}
		}},
		{"expected and blame have the point's width", "readings are filled in place, feature by feature", func(t *testing.T, k kindOfScorer) {
			s, g := k.taught(t, 3, 300)
			for i := range 50 {
				x := wave(g, 300+i, 3)
				if i%7 == 0 {
					x[2] *= 50
				}
				score := process(t, s, int64(300+i)*10*minute, x, false)
				e, b := s.Expected(make([]float64, 1, 8)), s.Blame(make([]float64, 1, 8))
				if len(e) != 4 || len(b) != 4 {
					t.Fatalf("Expected and Blame appended %d and %d values, want 3", len(e)-1, len(b)-1)
				}
				sum := b[1] + b[2] + b[3]
				if score == 0 && sum != 0 || score > 0 && math.Abs(sum-1) > 1e-9 {
					t.Fatalf("score %v with blame %v", score, b[1:])
				}
				if k.learns && i%7 == 0 && s.Expected(nil)[2] > 3000 {
					t.Errorf("expected %v for a wave around 1000", s.Expected(nil))
				}
			}
		}},
		{"the feature that fails is blamed", "an anomaly names the feature to look at", func(t *testing.T, k kindOfScorer) {
			if !k.learns {
				t.Skip("knows nothing")
			}
			for guilty := range 3 {
				s, g := k.taught(t, 3, 400)
				top, blame := 0.0, []float64(nil)
				for i := range 12 { // a CUSUM takes several points
					x := wave(g, 400+i, 3)
					x[guilty] *= 6
					score := process(t, s, int64(400+i)*10*minute, x, false)
					if score > top {
						top, blame = score, s.Blame(nil)
					}
				}
				if blame[guilty] < 0.5 {
					t.Errorf("feature %d fails, blame is %v", guilty, blame)
				}
				if top < 4 {
					t.Errorf("a value six times as high scores %v at most", top)
				}
			}
		}},
		{"a held point teaches nothing", "maintenance must not become normal", func(t *testing.T, k kindOfScorer) {
			a, g := k.taught(t, 2, 300)
			b, _ := k.taught(t, 2, 300)
			at := int64(300 * 10 * minute)
			learned := a.Learned()
			for i := range 40 {
				x := wave(g, 300+i, 2)
				process(t, a, at, x, true)
				process(t, b, at, []float64{-1e6 * x[0], float64(i) * 1e9}, true)
				at += 10 * minute
			}
			if a.Learned() != learned || b.Learned() != learned {
				t.Errorf("%d and %d points learned, want %d", a.Learned(), b.Learned(), learned)
			}
			for i := range 60 {
				x := wave(g, 340+i, 2)
				sa, sb := process(t, a, at, x, false), process(t, b, at, x, false)
				at += 10 * minute
				// A view still holds the points before for as long as it is.
				if i >= k.view-1 && sa != sb {
					t.Fatalf("point %d after the hold: %v, and %v had the held values been absurd", i, sa, sb)
				}
			}
		}},
		{"a held point is scored", "what goes wrong in maintenance is still shown", func(t *testing.T, k kindOfScorer) {
			a, _ := k.taught(t, 1, 300)
			b, _ := k.taught(t, 1, 300)
			x, at := []float64{60}, int64(300*10*minute)
			if sa, sb := process(t, a, at, x, true), process(t, b, at, x, false); sa != sb {
				t.Errorf("%v held, %v learned", sa, sb)
			}
		}},
		{"a saved model goes on as it was", "a restart must not change a score", func(t *testing.T, k kindOfScorer) {
			for _, n := range []int{0, 1, 5, 33, 150, 700} {
				s, g := k.taught(t, 2, n)
				state := s.AppendState([]byte("before"))
				if !bytes.HasPrefix(state, []byte("before")) {
					t.Fatal("AppendState did not append")
				}
				state = state[len("before"):]
				l := k.fresh(t, 2)
				if err := l.LoadState(state); err != nil {
					t.Fatalf("after %d points: %v", n, err)
				}
				if !bytes.Equal(l.AppendState(nil), state) {
					t.Fatalf("after %d points: a loaded model saves another state", n)
				}
				for f, e := range s.Expected(nil) {
					if got := l.Expected(nil)[f]; math.Float64bits(got) != math.Float64bits(e) {
						t.Errorf("after %d points: expected %v, loaded %v", n, e, got)
					}
				}
				for i := range 100 {
					x, hold := wave(g, n+i, 2), i%11 == 0
					at := int64(n+i) * 10 * minute
					if a, b := process(t, s, at, x, hold), process(t, l, at, x, hold); a != b {
						t.Fatalf("after %d points, %d later: %v, loaded %v", n, i, a, b)
					}
				}
				if !bytes.Equal(l.AppendState(nil), s.AppendState(nil)) {
					t.Fatalf("after %d points and 100 more: the states differ", n)
				}
			}
		}},
		{"a damaged or foreign state is refused", "a model half loaded is worse than one that learns again", func(t *testing.T, k kindOfScorer) {
			s, _ := k.taught(t, 1, 40)
			state := s.AppendState(nil)
			l, _ := k.taught(t, 1, 50)
			before := l.AppendState(nil)
			f := func(what string, bad []byte) {
				t.Helper()
				if err := l.LoadState(bad); err == nil {
					t.Errorf("%s: loaded", what)
				}
				if !bytes.Equal(l.AppendState(nil), before) {
					t.Fatalf("%s: changed the model", what)
				}
			}
			f("nothing", nil)
			for i := 0; i < len(state); i += 1 + len(state)/97 {
				bad := bytes.Clone(state)
				bad[i] ^= 0x10
				f(fmt.Sprintf("byte %d flipped", i), bad)
				f(fmt.Sprintf("cut to %d bytes", i), state[:i])
			}
			f("one byte more", append(bytes.Clone(state), 0))
			two, _ := k.taught(t, 2, 40)
			f("two features", two.AppendState(nil))
			for _, other := range all() {
				if other.name != k.name {
					o, _ := other.taught(t, 1, 40)
					f("state of "+other.name, o.AppendState(nil))
				}
			}
		}},
		{"a point costs no allocation", "ten thousand models share one collector", func(t *testing.T, k kindOfScorer) {
			s, g := k.taught(t, 2, 300)
			i, x := 300, wave(g, 300, 2)
			e, b := make([]float64, 0, 2), make([]float64, 0, 2)
			if n := testing.AllocsPerRun(200, func() {
				x[0] += float64(i%5) - 2
				if i%13 == 0 {
					x[1] = math.NaN()
				} else {
					x[1] = float64(i)
				}
				if _, err := s.Process(int64(i)*10*minute, x, i%17 == 0); err != nil {
					t.Fatal(err)
				}
				e, b = s.Expected(e[:0]), s.Blame(b[:0])
				i++
			}); n != 0 {
				t.Errorf("%v allocations per point", n)
			}
		}},
		{"it says when it is ready", "a user sees how much is still to learn", func(t *testing.T, k kindOfScorer) {
			s, g := k.fresh(t, 2), new(splitmix)
			for i := range 400 {
				ready := s.Learned() >= s.Needed()
				score := process(t, s, int64(i)*minute, wave(g, i, 2), false)
				if k.learns && !ready && score != 0 {
					t.Fatalf("point %d scores %v with %d of %d points learned", i, score, s.Learned(), s.Needed())
				}
				// On the first point after, all but a sum of surprises has one.
				if k.learns && k.name != "cusum" && ready && score == 0 {
					t.Fatalf("point %d scores nothing with %d of %d points learned", i, s.Learned(), s.Needed())
				}
			}
		}},
		{"a normal point scores little and a wild one much", "the score is what ranks points", func(t *testing.T, k kindOfScorer) {
			if !k.learns {
				t.Skip("knows nothing")
			}
			s, g := k.taught(t, 2, 500)
			usual := 0.0
			at := int64(500 * 10 * minute)
			for i := range 100 {
				usual += process(t, s, at, wave(g, 500+i, 2), true) / 100
				at += 10 * minute
			}
			wild := 0.0
			for i := range int64(6) { // a CUSUM takes several points
				wild = max(wild, process(t, s, at+i*minute, []float64{1e4, 1e5}, false))
			}
			if !(wild > 3*usual) {
				t.Errorf("wild points score %v at most, usual ones %v", wild, usual)
			}
		}},
	}
	for _, k := range all() {
		for _, r := range rules {
			t.Run(k.name+"/"+r.name, func(t *testing.T) {
				defer func() {
					if t.Failed() {
						t.Log("why: " + r.why)
					}
				}()
				r.check(t, k)
			})
		}
	}
}

// stream draws points, some held, missing, extreme or far apart.
func stream(features int) *rapid.Generator[[]step] {
	value := rapid.OneOf(
		rapid.Float64Range(-100, 100),
		rapid.SampledFrom([]float64{0, 1, -1, math.NaN(), 1e-300, -1e-300, 1e150, 1e300, -math.MaxFloat64, math.MaxFloat64}),
	)
	one := rapid.Custom(func(t *rapid.T) step {
		return step{
			after: rapid.OneOf(rapid.Int64Range(1, 5), rapid.Int64Range(minute, 10*hoursPerWeek*60*minute)).Draw(t, "after"),
			x:     rapid.SliceOfN(value, features, features).Draw(t, "x"),
			hold:  rapid.IntRange(0, 9).Draw(t, "hold") == 0,
		}
	})
	return rapid.SliceOfN(one, 0, 120)
}

type step struct {
	after int64
	x     []float64
	hold  bool
}

func TestScoresDoNotDependOnTheFuture(t *testing.T) {
	for _, k := range all() {
		t.Run(k.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				steps := stream(2).Draw(t, "stream")
				cut := rapid.IntRange(0, len(steps)).Draw(t, "cut")
				whole, err := k.newFor(2)
				if err != nil {
					t.Fatal(err)
				}
				prefix, err := k.newFor(2)
				if err != nil {
					t.Fatal(err)
				}
				var scores []float64
				at := int64(0)
				for _, s := range steps {
					at += s.after
					score, err := whole.Process(at, s.x, s.hold)
					if err != nil {
						t.Fatal(err)
					}
					if !(score >= 0) || math.IsInf(score, 0) {
						t.Fatalf("score %v", score)
					}
					scores = append(scores, score)
				}
				at = 0
				for i, s := range steps[:cut] {
					at += s.after
					score, err := prefix.Process(at, s.x, s.hold)
					if err != nil {
						t.Fatal(err)
					}
					if score != scores[i] {
						t.Fatalf("point %d: %v, and %v with more to follow", i, score, scores[i])
					}
				}
				// What was saved at the cut goes on to the same scores.
				loaded, err := k.newFor(2)
				if err != nil {
					t.Fatal(err)
				}
				if err := loaded.LoadState(prefix.AppendState(nil)); err != nil {
					t.Fatal(err)
				}
				for i, s := range steps[cut:] {
					at += s.after
					score, err := loaded.Process(at, s.x, s.hold)
					if err != nil {
						t.Fatal(err)
					}
					if score != scores[cut+i] {
						t.Fatalf("point %d: %v after a load, %v without", cut+i, score, scores[cut+i])
					}
				}
			})
		})
	}
}

func TestTheUnitDoesNotMatter(t *testing.T) {
	for _, k := range all() {
		for _, factor := range []float64{1e-9, 1024, 1e12} {
			a, b, g := k.fresh(t, 1), k.fresh(t, 1), new(splitmix)
			for i := range 400 {
				x := wave(g, i, 1)
				sa := process(t, a, int64(i)*minute, x, false)
				sb := process(t, b, int64(i)*minute, []float64{x[0] * factor}, false)
				if math.Abs(sa-sb) > 1e-6*max(1, sa) {
					t.Fatalf("%s: point %d scores %v, and %v in units of %v", k.name, i, sa, sb, 1/factor)
				}
			}
		}
	}
}

func TestSettingsAreBounded(t *testing.T) {
	f := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	for _, k := range all() {
		_, err := k.newFor(0)
		f(k.name, err, "0 features")
		_, err = k.newFor(65)
		f(k.name, err, "65 features")
	}
	_, err := NewZScore(ZScoreSettings{Features: 1, Window: 7})
	f("z-score", err, "window 7: give 8 to 1000000")
	_, err = NewZScore(ZScoreSettings{Features: 1, Clip: math.NaN()})
	f("z-score", err, "clip NaN")
	_, err = NewMAD(MADSettings{Features: 1, Window: 5000})
	f("mad", err, "window 5000: give 8 to 4096")
	_, err = NewSeasonal(SeasonalSettings{Features: 1, Visits: 9})
	f("seasonal", err, "visits 9")
	_, err = NewSeasonal(SeasonalSettings{Features: 1, Depth: -1})
	f("seasonal", err, "depth -1")
	_, err = NewSubPCA(SubPCASettings{Features: 8, Shingle: 64})
	f("sub-pca", err, "give at most 256")
	_, err = NewSubPCA(SubPCASettings{Features: 1, Shingle: 4, Components: 4})
	f("sub-pca", err, "components 4: give 1 to 3")
	_, err = NewCUSUM(CUSUMSettings{Features: 1, Slack: 4})
	f("cusum", err, "slack 4")
	_, err = NewCUSUM(CUSUMSettings{Features: 1, Limit: -1})
	f("cusum", err, "limit -1")
}

func TestSettingsMustMatchTheState(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	f := func(want string, a, b Scorer) {
		t.Helper()
		if err := b.LoadState(a.AppendState(nil)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	z := func(s ZScoreSettings) Scorer { m, err := NewZScore(s); return make1(t, m, err) }
	f("window 99: this model has 2560", z(ZScoreSettings{Features: 1, Window: 99}), z(ZScoreSettings{Features: 1}))
	f("difference 0: this model has 1", z(ZScoreSettings{Features: 1}), z(ZScoreSettings{Features: 1, Difference: true}))
	f("clip 5: this model has 3", z(ZScoreSettings{Features: 1, Clip: 5}), z(ZScoreSettings{Features: 1}))
	s := func(s SeasonalSettings) Scorer { m, err := NewSeasonal(s); return make1(t, m, err) }
	f(`zone "CET": this model has "UTC"`, s(SeasonalSettings{Features: 1, Zone: berlin}), s(SeasonalSettings{Features: 1}))
	p := func(s SubPCASettings) Scorer { m, err := NewSubPCA(s); return make1(t, m, err) }
	f("shingle 4: this model has 8", p(SubPCASettings{Features: 1, Shingle: 4}), p(SubPCASettings{Features: 1}))
	c := func(s CUSUMSettings) Scorer { m, err := NewCUSUM(s); return make1(t, m, err) }
	f("limit 9: this model has 16", c(CUSUMSettings{Features: 1, Limit: 9}), c(CUSUMSettings{Features: 1}))
	r := func(seed uint64) Scorer { m, err := NewRandom(1, seed); return make1(t, m, err) }
	f("seed 1: this model has 2", r(1), r(2))
}
