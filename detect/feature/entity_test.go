package feature_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect/feature"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

const minute = 60_000

var (
	nan   = math.NaN()
	stale = math.Float64frombits(0x7ff0000000000002)
)

// story feeds a group of one entity and tells what came out.
type story struct {
	t      *testing.T
	set    *feature.Set
	entity *feature.Entity
	out    []string
}

func begin(t *testing.T, g feature.Group) *story {
	t.Helper()
	g.Name = "test"
	if g.Entity == nil {
		g.Entity = []string{"host"}
	}
	set, err := feature.Compile([]feature.Group{g})
	if err != nil {
		t.Fatal(err)
	}
	return &story{t: t, set: set, entity: set.Selectors()[0].New("a")}
}

func (s *story) bind(d series.Descriptor) []feature.Binding {
	s.t.Helper()
	b, err := s.set.Bind(&d)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(b) == 0 {
		s.t.Fatalf("%v is not bound", d)
	}
	return b
}

// add adds a sample of a series written metric or metric/device.
func (s *story) add(name string, kind series.Temporality, at int64, v float64) {
	s.t.Helper()
	metric, device, _ := strings.Cut(name, "/")
	d := series.Descriptor{Metric: metric, Temporality: kind, Labels: []series.Label{{Name: "device", Value: device}, {Name: "host", Value: "a"}}}
	for _, b := range s.bind(d) {
		closed, err := s.entity.Add(&b, series.RawPoint{At: at, Value: v})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, c := range closed {
			line := fmt.Sprintf("%v %v", time.Duration(c.At)*time.Millisecond, c.Values)
			if c.Skipped > 0 {
				line += fmt.Sprintf(" after %d", c.Skipped)
			}
			s.out = append(s.out, line)
		}
	}
}

func (s *story) gauge(name string, at int64, v float64) {
	s.t.Helper()
	s.add(name, series.Gauge, at, v)
}

func (s *story) counter(name string, at int64, v float64) {
	s.t.Helper()
	s.add(name, series.Cumulative, at, v)
}

func (s *story) want(lines ...string) {
	s.t.Helper()
	if got, want := strings.Join(s.out, "\n"), strings.Join(lines, "\n"); got != want {
		s.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	s.out = nil
}

func (s *story) counts(want feature.Counts) {
	s.t.Helper()
	if got := s.set.Selectors()[0].Counts(); got != want {
		s.t.Errorf("counts %+v, want %+v", got, want)
	}
}

func one(metric string) feature.Group {
	return feature.Group{Features: []feature.Feature{{Name: "x", Metrics: []string{metric}}}}
}

func TestAStepClosesWhenEverySeriesHasGoneOn(t *testing.T) {
	g := one("x")
	g.Features[0].ByEntity = feature.Sum
	s := begin(t, g)
	s.gauge("x/1", 0, 1)
	s.gauge("x/2", 1_000, 10)
	s.gauge("x/1", 30_000, 3) // the mean of 1 and 3
	s.gauge("x/1", minute, 2)
	s.gauge("x/2", minute, 20)
	s.want() // the first step waits for its lateness: other series may begin
	s.gauge("x/1", 2*minute, 2)
	s.want("0s [12]")
	s.gauge("x/2", 2*minute, 20) // the last series goes on
	s.want("1m0s [22]")
	s.gauge("x/2", 3*minute, 20)
	s.want()
	s.gauge("x/1", 3*minute, 5)
	s.want("2m0s [22]")
	s.counts(feature.Counts{})
}

func TestAStepWaitsForItsLateness(t *testing.T) {
	g := one("x")
	g.InOrder = new(false)
	s := begin(t, g)
	s.gauge("x", 10_000, 1)
	s.gauge("x", 70_000, 2)
	s.gauge("x", 5_000, 3)      // out of order, in time
	s.gauge("x", 5_000, 4)      // once more: the first counts
	s.gauge("x", 2*minute-1, 2) // not yet
	s.want()
	s.gauge("x", 2*minute, 2)
	s.want("0s [2]")
	s.gauge("x", 50_000, 9) // too late
	s.gauge("x", 10_000, 1) // sent again
	s.gauge("x", 3*minute, 0)
	s.want("1m0s [2]")
	s.counts(feature.Counts{Late: 1, Duplicate: 2, Reordered: 1})
}

func TestCountersBecomeRates(t *testing.T) {
	s := begin(t, one("x"))
	s.counter("x", 0, 100)
	s.counter("x", 30_000, 130)
	s.counter("x", minute, 160)
	s.counter("x", minute+30_000, 10) // begun again from 0
	s.counter("x", 2*minute, 40)
	s.counter("x", 3*minute, 100)
	s.counter("x", 4*minute, 100)
	s.counter("x", 5*minute, 100)
	s.want("0s [1]", "1m0s [0.6666666666666666]", "2m0s [1]", "3m0s [1]", "4m0s [0]")
	s.counts(feature.Counts{Resets: 1})
}

func TestACounterIsNoRateOverALongGap(t *testing.T) {
	s := begin(t, one("x"))
	s.counter("x", 0, 0)
	s.counter("x", minute, 60)
	s.counter("x", 6*minute, 360) // five steps: a rate over all of them
	s.counter("x", 12*minute, 9000)
	s.counter("x", 13*minute, 9600)
	s.counter("x", 14*minute, 9600)
	s.want(
		"1m0s [1]", "2m0s [NaN]", "3m0s [NaN]", "4m0s [NaN]", "5m0s [NaN]", "6m0s [1]",
		"13m0s [10] after 6",
	)
}

func TestRateSaysWhatValuesAre(t *testing.T) {
	f := func(kind series.Temporality, name string, rate *bool, want string) {
		t.Helper()
		g := one(name)
		g.Features[0].Rate = rate
		s := begin(t, g)
		s.add(name, kind, 0, 30)
		s.add(name, kind, minute, 60)
		s.add(name, kind, minute+1, 60)
		s.add(name, kind, 3*minute, 0)
		if got := s.out[len(s.out)-1]; got != want {
			t.Errorf("%s of kind %d: got %s, want %s", name, kind, got, want)
		}
	}
	f(series.Gauge, "x", nil, "1m0s [60]")
	f(series.Cumulative, "x", nil, "1m0s [0.49999166680555324]")
	f(series.Delta, "x", nil, "1m0s [2]")
	f(series.Unspecified, "x", nil, "1m0s [60]")
	f(series.Unspecified, "x_total", nil, "1m0s [0.49999166680555324]")
	f(series.Gauge, "x", new(true), "1m0s [0.49999166680555324]")
	f(series.Cumulative, "x", new(false), "1m0s [60]")
	f(series.Delta, "x", new(false), "1m0s [120]")
	f(series.Delta, "x", new(true), "1m0s [2]")
}

func TestFolds(t *testing.T) {
	f := func(step, entity feature.Fold, want string) {
		t.Helper()
		g := one("x")
		g.Features[0].ByStep, g.Features[0].ByEntity = step, entity
		s := begin(t, g)
		s.gauge("x/1", 0, 1)
		s.gauge("x/1", 2, 5)
		s.gauge("x/1", 1, 9)
		s.gauge("x/2", 0, 100)
		s.gauge("x/1", 2*minute, 0)
		s.want("0s [" + want + "]")
	}
	f("", "", "52.5")
	f(feature.Avg, feature.Sum, "105")
	f(feature.Last, feature.Min, "5")
	f(feature.Sum, feature.Max, "100")
	f(feature.Max, feature.Min, "9")
	f(feature.Min, feature.Min, "1")
}

func TestExpressions(t *testing.T) {
	s := begin(t, feature.Group{Features: []feature.Feature{
		{Name: "idle", Metrics: []string{"idle"}, Hidden: true},
		{Name: "total", Metrics: []string{"total"}},
		{Name: "busy", Expr: "1.0 - idle / total"},
		{Name: "twice", Expr: "busy * 2.0"},
	}})
	s.gauge("idle", 0, 1)
	s.gauge("total", 0, 4)
	s.gauge("total", minute, 4) // idle is missing, and what reads it
	s.gauge("idle", 2*minute, 3)
	s.gauge("total", 2*minute, 0) // a division by zero is no value
	s.gauge("idle", 4*minute, 0)
	s.want("0s [4 0.75 1.5]", "1m0s [4 NaN NaN]", "2m0s [0 NaN NaN]")
}

func TestGaps(t *testing.T) {
	s := begin(t, one("x"))
	s.gauge("x", 0, 1)
	s.gauge("x", 6*minute, 2) // five are missing
	s.want("0s [1]")          // they are known to be only when what follows closes
	s.gauge("x", 13*minute, 3)
	s.want("1m0s [NaN]", "2m0s [NaN]", "3m0s [NaN]", "4m0s [NaN]", "5m0s [NaN]", "6m0s [2]")
	s.gauge("x", 1_000_000*minute, 4) // a gap takes no time
	s.gauge("x", 1_000_002*minute, 4)
	s.want("13m0s [3] after 6", "16666h40m0s [4] after 999986")
}

func TestTheEntityBeginsWithItsOldestSample(t *testing.T) {
	s := begin(t, one("x"))
	s.gauge("x/1", 2*minute, 2)
	s.gauge("x/2", minute+1, 1) // in time, though another series was quicker
	s.gauge("x/2", 0, 1)        // too late
	s.gauge("x/1", 4*minute, 2)
	s.want("1m0s [1]", "2m0s [2]")
	s.counts(feature.Counts{Late: 1, Reordered: 0})
}

func TestAStaleMarkerEndsASeries(t *testing.T) {
	s := begin(t, one("x"))
	for m := range int64(3) {
		s.gauge("x/1", m*minute, 1)
		s.gauge("x/2", m*minute, 3)
	}
	s.want("0s [2]", "1m0s [2]")
	s.gauge("x/2", 2*minute+1, stale)
	s.gauge("x/1", 3*minute, 1)
	s.want() // the step it ended in waits: it may begin again
	s.gauge("x/1", 4*minute, 1)
	s.want("2m0s [2]", "3m0s [1]")
	if n := s.entity.Series(); n != 1 {
		t.Errorf("%d series are left, want 1", n)
	}
	s.gauge("x/1", 5*minute, 1)
	s.want("4m0s [1]")
}

func TestAStaleMarkerEndsACounter(t *testing.T) {
	g := one("x")
	g.InOrder = new(false)
	s := begin(t, g)
	s.counter("x", 0, 0)
	s.counter("x", 3, 5) // a new process
	s.counter("x", 2, stale)
	s.counter("x", 1, 100)
	s.counter("x", minute, 6)
	s.counter("x", 10*minute, 6)
	s.want("0s [100000]", fmt.Sprintf("1m0s [%v]", 1/59.997))
	s.counts(feature.Counts{Reordered: 2})
}

func TestASilentSeriesIsForgotten(t *testing.T) {
	s := begin(t, one("x"))
	s.gauge("x/1", 0, 1)
	s.gauge("x/2", 0, 3)
	for m := range int64(12) {
		s.gauge("x/1", (m+1)*minute, 1)
	}
	if n := s.entity.Series(); n != 1 {
		t.Errorf("%d series are left, want 1", n)
	}
	s.out = nil
	s.gauge("x/1", 13*minute, 1)
	s.want("12m0s [1]") // nobody waits for it any more
}

func TestInvalidSamplesAreCounted(t *testing.T) {
	s := begin(t, one("x"))
	for _, v := range []float64{nan, math.Inf(1), math.Inf(-1)} {
		s.gauge("x", 0, v)
	}
	s.gauge("x", -1, 1)
	s.gauge("x", math.MaxInt64, 1)
	s.gauge("x", math.MinInt64, 1)
	if _, ok := s.entity.Newest(); ok {
		t.Error("an invalid sample was taken")
	}
	s.gauge("x", 7, 1)
	if at, ok := s.entity.Newest(); !ok || at != 7 {
		t.Errorf("newest is %d, %t", at, ok)
	}
	s.counts(feature.Counts{Invalid: 6})
}

func TestTooManySeries(t *testing.T) {
	s := begin(t, one("x"))
	for i := range feature.MaxSeries {
		s.gauge(fmt.Sprintf("x/%d", i), 0, 1)
	}
	b := s.bind(series.Descriptor{Metric: "x", Labels: []series.Label{{Name: "host", Value: "a"}}})
	_, err := s.entity.Add(&b[0], series.RawPoint{})
	var limit *feature.LimitError
	if !errors.As(err, &limit) || !errors.Is(err, ops.ErrDenied) || !strings.Contains(err.Error(), `group test refuses entity "a": it has 4096 series`) {
		t.Errorf("%v", err)
	}
	s.gauge("x/1", 1, 1) // those known go on
	s.counts(feature.Counts{Refused: 1})
}

func TestAdmit(t *testing.T) {
	_, sel := compiled(t, feature.Group{Name: "hosts", MaxEntities: 2, Features: []feature.Feature{{Set: "host"}}})
	if err := sel.Admit(1, "b"); err != nil {
		t.Error(err)
	}
	err := sel.Admit(2, "c")
	want := `feature: group hosts refuses entity "c": it has 2 entities, its limit; raise detect.groups.max_entities, narrow the group's match, or name an entity label with fewer values`
	if !errors.Is(err, ops.ErrDenied) || err.Error() != want {
		t.Errorf("%v", err)
	}
	if c := sel.Counts(); c.Refused != 1 {
		t.Errorf("%+v", c)
	}
}
