package feature_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect/feature"
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
