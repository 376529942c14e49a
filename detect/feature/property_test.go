package feature_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/detect/feature"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// told is a sample on its way to an entity.
type told struct {
	bindings []feature.Binding
	series   int
	point    series.RawPoint
}

func everyKind() feature.Group {
	return feature.Group{
		Name: "every kind", Entity: []string{"host"}, Step: 10 * time.Second,
		Features: []feature.Feature{
			{Name: "level", Metrics: []string{"level"}, ByEntity: feature.Max},
			{Name: "newest", Metrics: []string{"level"}, ByStep: feature.Last, ByEntity: feature.Sum, Hidden: true},
			{Name: "rate", Metrics: []string{"counter"}, ByEntity: feature.Sum},
			{Name: "delta", Metrics: []string{"delta"}, ByEntity: feature.Avg},
			{Name: "both", Expr: "newest / (1.0 + rate)"},
		},
	}
}

// anywhere is a time in a step, without rapid's liking for small numbers.
var anywhere = rapid.Custom(func(t *rapid.T) int {
	return 1111 * rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}).Draw(t, "part")
})

// samples draws series of every kind, each in its order, as one log in which
// the times of different series run along together.
func samples(t *rapid.T, set *feature.Set, ends bool) []told {
	var out []told
	metrics := []struct {
		name string
		kind series.Temporality
	}{{"level", series.Gauge}, {"counter", series.Cumulative}, {"delta", series.Delta}}
	n := rapid.IntRange(1, 6).Draw(t, "series")
	for i := range n {
		m := metrics[rapid.IntRange(0, 2).Draw(t, "metric")]
		d := series.Descriptor{Metric: m.name, Temporality: m.kind, Labels: []series.Label{{Name: "device", Value: fmt.Sprint(i)}, {Name: "host", Value: "a"}}}
		b, err := set.Bind(&d)
		if err != nil || len(b) == 0 {
			t.Fatal(b, err)
		}
		at := int64(anywhere.Draw(t, "begin"))
		for range rapid.IntRange(1, 40).Draw(t, "samples") {
			v := rapid.Float64Range(0, 1000).Draw(t, "value")
			if ends && rapid.IntRange(0, 30).Draw(t, "stale") == 0 {
				v = stale
			}
			out = append(out, told{b, i, series.RawPoint{At: at, Value: v}})
			at += int64(rapid.OneOf(rapid.IntRange(1, 12_000), rapid.IntRange(1, 90_000)).Draw(t, "pause"))
		}
	}
	slices.SortStableFunc(out, func(a, b told) int { return int(a.point.At - b.point.At) })
	return out
}

func play(t interface{ Fatal(...any) }, e *feature.Entity, log []told, between func(i int, e *feature.Entity) *feature.Entity) []feature.Closed {
	var out []feature.Closed
	for i, s := range log {
		for j := range s.bindings {
			closed, err := e.Add(&s.bindings[j], s.point)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range closed {
				c.Values = slices.Clone(c.Values)
				out = append(out, c)
			}
		}
		if between != nil {
			e = between(i, e)
		}
	}
	return out
}

func same(a, b []feature.Closed) bool {
	return slices.EqualFunc(a, b, func(a, b feature.Closed) bool {
		return a.At == b.At && a.Skipped == b.Skipped && slices.EqualFunc(a.Values, b.Values, func(x, y float64) bool {
			return math.Float64bits(x) == math.Float64bits(y) || math.IsNaN(x) && math.IsNaN(y)
		})
	})
}

func compiled(t interface{ Fatal(...any) }, g feature.Group) (*feature.Set, *feature.Selector) {
	set, err := feature.Compile([]feature.Group{g})
	if err != nil {
		t.Fatal(err)
	}
	return set, set.Selectors()[0]
}

func TestPointsComeInOrderAndAreSane(t *testing.T) {
	set, sel := compiled(t, everyKind())
	rapid.Check(t, func(t *rapid.T) {
		log := samples(t, set, true)
		// Any order at all, and anything as a value: what comes out is in order.
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "shuffle"), 1))
		if rapid.Bool().Draw(t, "any order") {
			r.Shuffle(len(log), func(i, j int) { log[i], log[j] = log[j], log[i] })
		}
		before := int64(math.MinInt64)
		for _, c := range play(t, sel.New("a"), log, nil) {
			if c.At <= before || c.At%10_000 != 0 {
				t.Fatalf("%d after %d", c.At, before)
			}
			if before != math.MinInt64 && (c.At-before)/10_000 != c.Skipped+1 {
				t.Fatalf("%d after %d with %d skipped", c.At, before, c.Skipped)
			}
			before = c.At
			if len(c.Values) != len(sel.Dimensions) {
				t.Fatalf("%d values", len(c.Values))
			}
			for i, v := range c.Values {
				if math.IsInf(v, 0) || v < 0 {
					t.Fatalf("%s is %v: a reset must not give a negative rate", sel.Dimensions[i].Name, v)
				}
			}
		}
	})
}

// TestOrderOfSeriesDoesNotMatter moves series against each other by less than
// the lateness, each keeping its own order; all are there from the first step.
func TestOrderOfSeriesDoesNotMatter(t *testing.T) {
	set, sel := compiled(t, everyKind())
	rapid.Check(t, func(t *rapid.T) {
		log := samples(t, set, false) // a series that comes back begins later than the others
		log = regular(log)
		want := play(t, sel.New("a"), log, nil)
		delay := make([]int64, 6)
		for i := range delay {
			delay[i] = int64(anywhere.Draw(t, "delay"))
		}
		moved := slices.Clone(log)
		slices.SortStableFunc(moved, func(a, b told) int {
			return int(a.point.At + delay[a.series] - b.point.At - delay[b.series])
		})
		if got := play(t, sel.New("a"), moved, nil); !same(got, want[:min(len(got), len(want))]) && !same(got[:min(len(got), len(want))], want) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	})
}

// regular drops the samples after a pause in which a series would be forgotten.
func regular(log []told) []told {
	last, quiet := map[int]int64{}, map[int]bool{}
	return slices.DeleteFunc(log, func(s told) bool {
		before, ok := last[s.series]
		quiet[s.series] = quiet[s.series] || ok && s.point.At-before > 40_000
		last[s.series] = s.point.At
		return quiet[s.series]
	})
}

// TestAnyOrderWithinTheLatenessDoesNotMatter is for groups whose senders do
// not keep the order.
func TestAnyOrderWithinTheLatenessDoesNotMatter(t *testing.T) {
	g := everyKind()
	g.InOrder = new(false)
	set, sel := compiled(t, g)
	rapid.Check(t, func(t *rapid.T) {
		log := samples(t, set, true)
		end := told{log[0].bindings, log[0].series, series.RawPoint{At: log[len(log)-1].point.At + 600_000, Value: 1}}
		want := play(t, sel.New("a"), append(slices.Clone(log), end), nil)
		moved := slices.Clone(log)
		delay := make(map[int]int64, len(log))
		order := make([]int, len(log))
		for i := range log {
			delay[i] = log[i].point.At + int64(anywhere.Draw(t, "delay"))
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return int(delay[a] - delay[b]) })
		for i, from := range order {
			moved[i] = log[from]
		}
		if got := play(t, sel.New("a"), append(moved, end), nil); !same(got, want) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	})
	if c := sel.Counts(); c.Late > 0 || c.Duplicate > 0 {
		t.Errorf("%+v: nothing was late", c)
	}
}

func TestSavingInTheMiddleDoesNotMatter(t *testing.T) {
	set, sel := compiled(t, everyKind())
	rapid.Check(t, func(t *rapid.T) {
		log := samples(t, set, true)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "shuffle"), 1))
		if rapid.Bool().Draw(t, "any order") {
			r.Shuffle(len(log), func(i, j int) { log[i], log[j] = log[j], log[i] })
		}
		want := play(t, sel.New("a"), log, nil)
		got := play(t, sel.New("a"), log, func(_ int, e *feature.Entity) *feature.Entity {
			if r.IntN(4) > 0 {
				return e
			}
			state := e.AppendState([]byte("before"))
			loaded, err := sel.Load("a", state[len("before"):])
			if err != nil {
				t.Fatal(err)
			}
			if loaded.Key() != "a" || loaded.Selector() != sel || loaded.Series() != e.Series() {
				t.Fatal("a loaded entity is another one")
			}
			if again := loaded.AppendState(nil); string(again) != string(state[len("before"):]) {
				t.Fatal("a loaded entity saves as another state")
			}
			return loaded
		})
		if !same(got, want) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	})
}

func TestLoadRefuses(t *testing.T) {
	set, sel := compiled(t, everyKind())
	b, err := set.Bind(&series.Descriptor{Metric: "level", Labels: []series.Label{{Name: "host", Value: "a"}}})
	if err != nil {
		t.Fatal(err)
	}
	e := sel.New("a")
	for at := range int64(5) {
		if _, err := e.Add(&b[0], series.RawPoint{At: at * 10_000, Value: 1}); err != nil {
			t.Fatal(err)
		}
	}
	state := e.AppendState(nil)
	for i := range state {
		broken := slices.Clone(state)
		broken[i] ^= 0x10
		if _, err := sel.Load("a", broken); !errors.Is(err, ops.ErrInvalid) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := sel.Load("a", state[:i]); !errors.Is(err, ops.ErrInvalid) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	other := everyKind()
	other.Features[0].ByEntity = feature.Min
	_, sel = compiled(t, other)
	if _, err := sel.Load("a", state); !errors.Is(err, ops.ErrConflict) {
		t.Errorf("under other features: %v", err)
	}
}
