package app

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/detect/feature"
	"github.com/fettleops/fettle/intake/host"
	"github.com/fettleops/fettle/series"
)

func TestEveryReadySetIsWatchedByDefault(t *testing.T) {
	c := config.Default()
	var sets []string
	var groups []feature.Group
	for _, g := range c.Detect.Groups {
		sets = append(sets, g.Features[0].Set)
		groups = append(groups, watched(g))
	}
	slices.Sort(sets)
	if !slices.Equal(sets, feature.Sets()) {
		t.Errorf("the default watches %v, there are %v", sets, feature.Sets())
	}
	if _, err := feature.Compile(groups); err != nil {
		t.Error(err)
	}
	if err := CheckConfig(c); err != nil {
		t.Error(err)
	}
}

func TestWatched(t *testing.T) {
	c, err := config.Load("fettle.yaml", []byte(`
detect:
  groups:
    - name: web
      match: 'metric.labels.job == "web"'
      entity: [zone, instance]
      features:
        - {name: all, metric: [a_total, b_total], rate: true, by_step: max, by_entity: sum, unit: By/s, hidden: true}
        - {name: share, expr: 'all / 2.0'}
        - {set: host}
      step: 30s
      lateness: 0s
      in_order: false
      detector: rcf
      alarm_budget: 1/d
      min_effect: 5%
      tier: small
      max_entities: 3
      severity: low
`))
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckConfig(c); err != nil {
		t.Fatal(err)
	}
	late := time.Duration(0)
	want := feature.Group{
		Name: "web", Match: `metric.labels.job == "web"`, Entity: []string{"zone", "instance"},
		Features: []feature.Feature{
			{Name: "all", Metrics: []string{"a_total", "b_total"}, Rate: new(true), ByStep: feature.Max, ByEntity: feature.Sum, Unit: "By/s", Hidden: true},
			{Name: "share", Expr: "all / 2.0"},
			{Set: "host"},
		},
		Step: 30 * time.Second, Lateness: &late, InOrder: new(false), Detector: "rcf", AlarmsPerWeek: 7, MinEffect: 0.05,
		Tier: "small", MaxEntities: 3, Severity: "low",
	}
	if got := watched(c.Detect.Groups[0]); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestGroupFaultsHaveTheirPlace(t *testing.T) {
	c, err := config.Load("fettle.yaml", []byte(`
detect:
  groups:
    - {name: a, features: node_exportr}
    - {name: b, entity: instance, features: [{name: x, metric: m}, {name: y, expr: '1.0 - z'}], step: 1ms, detector: forest}
`))
	if err != nil {
		t.Fatal(err)
	}
	err = CheckConfig(c)
	for _, want := range []string{
		`fettle.yaml:4:27: detect.groups[0].features[0].set: there is no ready set "node_exportr"`,
		`fettle.yaml:4:7: detect.groups[0].entity: is missing`,
		`detect.groups[1].features[1].expr:`,
		`detect.groups[1].step: 1ms is out of range`,
		`detect.groups[1].detector: "forest" is none of default, rcf,`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %s", err, want)
		}
	}
}

// TestTheHostSetReadsOurOwnSampler looks at this machine twice, as the host
// source does.
func TestTheHostSetReadsOurOwnSampler(t *testing.T) {
	set, err := feature.Compile([]feature.Group{{Name: "host", Step: time.Second, Features: []feature.Feature{{Set: "host"}}}})
	if err != nil {
		t.Fatal(err)
	}
	var readings []host.Reading
	for range 2 {
		r, err := host.Read(t.Context(), time.Now)
		if err != nil {
			t.Log(err) // one missing counter does not blind the rest
		}
		readings = append(readings, r)
		time.Sleep(100 * time.Millisecond) // CPU time is counted in hundredths
	}
	e := set.Selectors()[0].New("machine-1")
	var closed []feature.Closed
	for _, late := range []int64{0, 60_000} {
		for _, s := range host.Samples("machine-1", readings[0], readings[1]) {
			d := series.Descriptor{
				Metric: s.Series.Metric, Temporality: series.Gauge, Unit: s.Unit,
				Labels: []series.Label{{Name: "resource", Value: s.Series.Resource}},
			}
			bindings, err := set.Bind(&d)
			if err != nil {
				t.Fatal(err)
			}
			for i := range bindings {
				if bindings[i].Entity != "machine-1" {
					t.Errorf("%s is of %q", d.Metric, bindings[i].Entity)
				}
				points, err := e.Add(&bindings[i], series.RawPoint{At: s.At.UnixMilli() + late, Value: s.Value})
				if err != nil {
					t.Fatal(err)
				}
				closed = append(closed, points...)
			}
		}
	}
	if len(closed) != 1 {
		t.Fatalf("%d points, want 1", len(closed))
	}
	for i, d := range set.Selectors()[0].Dimensions {
		if v := closed[0].Values[i]; !(v >= 0) || d.Unit == "1" && v > 1 {
			t.Errorf("%s is %v %s", d.Name, v, d.Unit)
		}
	}
}
