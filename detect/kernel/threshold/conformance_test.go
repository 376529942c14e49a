package threshold

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// model is one type of this package behind what all of them have in common.
type model struct {
	name string
	// update feeds one point and returns all that the type says of it.
	update func(at int64, x float64, hold bool) []float64
	save   func(dst []byte) []byte
	load   func(src []byte) ([]byte, error)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// models returns a fresh one of each type, small enough that windows roll over.
func models() []model {
	var out []float64
	say := func(v ...float64) []float64 {
		out = append(out[:0], v...)
		return out
	}
	normalizer := must(NewNormalizer(NormalizerSettings{}))
	grader := must(NewGrader(GraderSettings{Shingled: true, Adjust: true, Scaled: true}))
	spot := must(NewSPOT(SPOTSettings{Risk: 1e-3, Calibrate: 200, Peaks: 32}))
	dspot := must(NewDSPOT(DSPOTSettings{SPOTSettings: SPOTSettings{Risk: 1e-3, Calibrate: 200, Peaks: 32, Cluster: 4}, Depth: 20}))
	percentile := must(NewPercentile(PercentileSettings{Window: 100}))
	drift := must(NewDrift(DriftSettings{Features: 2}))
	values, deviations := make([]float64, 2), []float64{1, 1}
	season := must(NewSeason(SeasonSettings{Zone: func(int64) int64 { return 3_600_000 }}))
	effect := NewEffect(0.01, 0.1)
	expected := must(NewExpected(ExpectedSettings{}))
	debounce := must(NewDebounce(DebounceSettings{Hold: 30}))
	deviation := NewDeviation(0.01)
	all := []model{
		{"deviation", func(_ int64, x float64, hold bool) []float64 {
			return say(deviation.Update(x, hold), deviation.SD(), deviation.Weight())
		}, deviation.AppendState, deviation.LoadState},
		{"normalizer", func(_ int64, x float64, hold bool) []float64 {
			return say(normalizer.Update(x, hold))
		}, normalizer.AppendState, normalizer.LoadState},
		{"grader", func(_ int64, x float64, hold bool) []float64 {
			return say(grader.Update(x, hold))
		}, grader.AppendState, grader.LoadState},
		{"spot", func(_ int64, x float64, hold bool) []float64 {
			return say(truth(spot.Update(x, hold)), spot.Threshold())
		}, spot.AppendState, spot.LoadState},
		{"dspot", func(_ int64, x float64, hold bool) []float64 {
			return say(truth(dspot.Update(x, hold)), dspot.Threshold())
		}, dspot.AppendState, dspot.LoadState},
		{"percentile", func(_ int64, x float64, hold bool) []float64 {
			return say(truth(percentile.Update(x, hold)), percentile.Threshold())
		}, percentile.AppendState, percentile.LoadState},
		{"drift", func(_ int64, x float64, hold bool) []float64 {
			values[0], values[1] = x, -x
			d := drift.Update(x-1.5, values, deviations, hold)
			return say(float64(d.Step), truth(d.Alert), truth(d.Learn))
		}, drift.AppendState, drift.LoadState},
		{"season", func(at int64, x float64, hold bool) []float64 {
			r := season.Update(at, x, hold)
			return say(r.Expected, r.Spread, r.Confidence, season.Residual(at, x))
		}, season.AppendState, season.LoadState},
		{"effect", func(_ int64, x float64, hold bool) []float64 {
			return say(effect.Update(x, 1, hold))
		}, effect.AppendState, effect.LoadState},
		{"expected", func(_ int64, x float64, hold bool) []float64 {
			i := expected.Update(0, 1, x, hold)
			return say(i.Expected, i.Low, i.High, expected.Deviation(0))
		}, expected.AppendState, expected.LoadState},
		{"debounce", func(_ int64, x float64, hold bool) []float64 {
			return say(debounce.Update(x, hold))
		}, debounce.AppendState, debounce.LoadState},
	}
	for _, tail := range []RankTail{ParetoTail, ExponentialTail, EmpiricalTail} {
		rank := must(NewRank(RankSettings{Window: 128, Tail: tail}))
		all = append(all, model{"rank " + tail.String(), func(_ int64, x float64, hold bool) []float64 {
			return say(rank.Update(x, hold), rank.Zeros(x))
		}, rank.AppendState, rank.LoadState})
	}
	return all
}

// stream is a score-like stream with spikes, a level shift and missing points,
// half an hour apart: 2,000 points are six weeks.
func stream(seed uint64, n int) []float64 {
	rng := rand.New(rand.NewPCG(seed, 1))
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = 1 + 0.2*rng.NormFloat64() + 0.3*math.Sin(float64(i)*2*math.Pi/48)
		switch {
		case i%211 == 210:
			xs[i] = math.NaN()
		case i%173 == 172:
			xs[i] += 3 * rng.Float64()
		case i > n/2 && i < n/2+40:
			xs[i] += 2
		}
	}
	return xs
}

func at(i int) int64 { return int64(i) * 1_800_000 }

func same(a, b []float64) bool {
	for i := range a {
		if math.Float64bits(a[i]) != math.Float64bits(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

func TestEveryModel(t *testing.T) {
	const n = 2000
	rules := []struct {
		name, why string
		check     func(t *testing.T, fresh func() model)
	}{
		{"held points leave no trace", "what happens in a maintenance must not become the normal", func(t *testing.T, fresh func() model) {
			m, without := fresh(), fresh()
			for i, x := range stream(1, n) {
				if i%500 >= 400 {
					before := m.save(nil)
					m.update(at(i), x*5+3, true)
					if !bytes.Equal(before, m.save(nil)) {
						t.Fatalf("point %d was held and changed the state", i)
					}
					continue
				}
				if got, want := m.update(at(i), x, false), without.update(at(i), x, false); !same(got, want) {
					t.Fatalf("point %d reads %v after held points, %v without them", i, got, want)
				}
			}
		}},
		{"held points are read like others", "a person still wants to see what happened", func(t *testing.T, fresh func() model) {
			a, b := fresh(), fresh()
			n := n
			if a.name == "drift" {
				n = 1000 // until a run is learned: a held point never is
			}
			for i, x := range stream(2, n) {
				// The first output of each is read before the point is learned.
				held := a.update(at(i), x, true)[0]
				a.update(at(i), x, false)
				if got := b.update(at(i), x, false)[0]; !same([]float64{held}, []float64{got}) {
					t.Fatalf("point %d reads %v held and %v otherwise", i, held, got)
				}
			}
		}},
		{"a loaded model goes on as if nothing had been", "a restart must not change what is found", func(t *testing.T, fresh func() model) {
			m := fresh()
			for i, x := range stream(3, n) {
				if i%97 == 0 {
					saved := m.save([]byte("before"))
					m = fresh()
					for _, y := range stream(4, 70) {
						m.update(0, y, false) // a load replaces all
					}
					rest, err := m.load(append(saved[len("before"):], "after"...))
					if err != nil || string(rest) != "after" {
						t.Fatalf("load at point %d: rest %q, error %v", i, rest, err)
					}
					if again := m.save([]byte("before")); !bytes.Equal(again, saved) {
						t.Fatalf("at point %d the loaded model saves differently", i)
					}
				}
				m.update(at(i), x, false)
			}
			straight := fresh()
			for i, x := range stream(3, n) {
				straight.update(at(i), x, false)
			}
			if !bytes.Equal(m.save(nil), straight.save(nil)) {
				t.Error("the model that was loaded on the way ends in another state")
			}
		}},
		{"two models share nothing", "what one series does must not show in another", func(t *testing.T, fresh func() model) {
			a, b := fresh(), fresh()
			xs := stream(5, n)
			for i, x := range xs[:n/2] {
				a.update(at(i), x, false)
				b.update(at(i), x, false)
			}
			prefix := b.save(nil)
			for i, x := range xs[n/2:] {
				a.update(at(n/2+i), x*2, false)
			}
			if !bytes.Equal(prefix, b.save(nil)) {
				t.Error("feeding one model changed another")
			}
		}},
		{"a point costs no allocation", "a thousand models a second leave the collector nothing to do", func(t *testing.T, fresh func() model) {
			m, xs, i := fresh(), stream(6, n), 0
			if got := testing.AllocsPerRun(n-1, func() {
				m.update(at(i), xs[i], false)
				i++
			}); got != 0 {
				t.Errorf("%v allocations per point, want 0", got)
			}
		}},
		{"values that are not finite are not learned", "one NaN in a mean is NaN for ever", func(t *testing.T, fresh func() model) {
			m := fresh()
			if m.name == "drift" {
				t.Skip("counts points, and lets missing values agree")
			}
			for i, x := range stream(7, 400) {
				m.update(at(i), x, false)
			}
			before := m.save(nil)
			for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				m.update(at(400), x, false)
			}
			if !bytes.Equal(before, m.save(nil)) {
				t.Error("the state changed")
			}
		}},
		{"the largest values do no harm", "a broken exporter must not break the model for good", func(t *testing.T, fresh func() model) {
			m := fresh()
			for i, x := range stream(8, n) {
				if i%37 == 0 {
					x = math.Copysign(math.MaxFloat64, x-1)
				}
				m.update(at(i), x, false)
			}
			if _, err := fresh().load(m.save(nil)); err != nil {
				t.Errorf("the state holds what no state may hold: %v", err)
			}
		}},
		{"a state that is not ours is refused and changes nothing", "half a model is worse than an old one", func(t *testing.T, fresh func() model) {
			m, other := fresh(), fresh()
			for i, x := range stream(9, 500) {
				m.update(at(i), x, false)
				other.update(at(i), x+0.1, false)
			}
			good, before := other.save(nil), m.save(nil)
			refused := func(src []byte, want string) {
				t.Helper()
				if _, err := m.load(src); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one that says %q", err, want)
				}
				if !bytes.Equal(before, m.save(nil)) {
					t.Fatal("the refused state changed the model")
				}
			}
			for cut := range good {
				refused(good[:cut], "ends early")
			}
			refused(append([]byte{'?'}, good[1:]...), "of kind")
			refused(append([]byte{good[0], 99}, good[2:]...), "version 99")
			strange := bytes.Clone(good)
			copy(strange[2:10], "\x00\x00\x00\x00\x00\x00\x59\x40") // the first setting: 100
			refused(strange, "equal settings")
		}},
	}
	for k := range models() {
		fresh := func() model { return models()[k] }
		for _, rule := range rules {
			t.Run(fresh().name+"/"+rule.name, func(t *testing.T) {
				rule.check(t, fresh)
				if t.Failed() {
					t.Log("why:", rule.why)
				}
			})
		}
	}
}

// FuzzLoadState feeds what may come from a damaged disk: a model refuses it or
// goes on with it, but never panics.
func FuzzLoadState(f *testing.F) {
	for k, m := range models() {
		for i, x := range stream(1, 300) {
			m.update(at(i), x, false)
		}
		f.Add(uint8(k), m.save(nil))
	}
	f.Fuzz(func(t *testing.T, k uint8, state []byte) {
		all := models()
		m := all[int(k)%len(all)]
		before := m.save(nil)
		if _, err := m.load(state); err != nil && !bytes.Equal(before, m.save(nil)) {
			t.Fatal("a refused state changed the model")
		}
		for i, x := range stream(2, 300) {
			m.update(at(i), x, false)
		}
	})
}

// BenchmarkUpdate is one point of each model in its steady state.
func BenchmarkUpdate(b *testing.B) {
	xs := stream(1, 1<<14)
	for k := range models() {
		m := models()[k]
		b.Run(strings.ReplaceAll(m.name, " ", "="), func(b *testing.B) {
			for i := range 4096 {
				m.update(at(i), xs[i], false)
			}
			b.ReportAllocs()
			b.SetBytes(8)
			i := 4096
			for b.Loop() {
				m.update(at(i), xs[i&(len(xs)-1)], false)
				i++
			}
		})
	}
}

// BenchmarkWindow is one point of the types whose price grows with their window,
// at the sizes they are used with.
func BenchmarkWindow(b *testing.B) {
	run := func(name string, size int, update func(x float64)) {
		b.Run(fmt.Sprintf("%s/size=%d", name, size), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			xs := make([]float64, 1<<14)
			for i := range xs {
				xs[i] = rng.ExpFloat64()
			}
			for i := range size {
				update(xs[i&(len(xs)-1)])
			}
			b.ReportAllocs()
			b.SetBytes(8)
			i := 0
			for b.Loop() {
				update(xs[i&(len(xs)-1)])
				i++
			}
		})
	}
	for _, size := range []int{1440, 43_200} {
		p := must(NewPercentile(PercentileSettings{Window: size}))
		run("percentile", size, func(x float64) { p.Update(x, false) })
	}
	for _, size := range []int{512, 2048} {
		r := must(NewRank(RankSettings{Window: size}))
		run("rank", size, func(x float64) { r.Update(x, false) })
	}
}
