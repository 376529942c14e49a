package feature_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect/feature"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

func labels(pairs ...string) []series.Label {
	var out []series.Label
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, series.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}

func TestBind(t *testing.T) {
	set, err := feature.Compile([]feature.Group{
		{
			Name: "web", Match: `metric.labels.env != "test"`, Entity: []string{"instance"},
			Features: []feature.Feature{
				{Name: "all", Metrics: []string{"requests", "calls"}},
				{Name: "failed", Metrics: []string{"requests"}, Match: `metric.labels.code.startsWith("5")`},
				{Name: "any", Match: `metric.name.startsWith("queue_")`},
			},
		},
		{Name: "zones", Entity: []string{"zone", "rack"}, Features: []feature.Feature{{Name: "calls", Metrics: []string{"calls"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := func(metric string, l []series.Label, want string) {
		t.Helper()
		b, err := set.Bind(&series.Descriptor{Metric: metric, Labels: l})
		if err != nil {
			t.Error(err)
		}
		var got []string
		for i := range b {
			got = append(got, b[i].Selector.Group.Name+"/"+b[i].Entity+"/"+b[i].Feature())
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s%v feeds %q, want %q", metric, l, s, want)
		}
	}
	f("requests", labels("code", "200", "instance", "a"), "web/a/all")
	f("requests", labels("code", "503", "instance", "a"), "web/a/all web/a/failed")
	f("requests", labels("code", "503", "env", "test", "instance", "a"), "")
	f("requests", labels("code", "503"), "")    // of no entity
	f("requests", labels("instance", ""), "")   // an empty label is none
	f("requestss", labels("instance", "a"), "") // names are whole
	f("queue_length", labels("instance", "a"), "web/a/any")
	f("calls", labels("instance", "a", "rack", "1", "zone", "z"), "web/a/all zones/z,1/calls")
	f("calls", labels("rack", `b,c`, "zone", `a\`), `zones/a\\,b\,c/calls`)
	f("calls", labels("zone", "a"), "")
}

func TestBindConvertsUnits(t *testing.T) {
	f := func(feat, unit string, kind series.Temporality, want string) {
		t.Helper()
		g := one("x")
		g.Features[0].Unit = feat
		s := begin(t, g)
		d := series.Descriptor{Metric: "x", Unit: unit, Temporality: kind, Labels: labels("host", "a")}
		b, err := s.set.Bind(&d)
		if err != nil {
			if !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), want) || len(b) > 0 {
				t.Errorf("%q of %q: %v, want %q", feat, unit, err, want)
			}
			return
		}
		var got string
		for _, p := range []series.RawPoint{{At: 0, Value: 100}, {At: 59_000, Value: 159}, {At: 9 * minute, Value: 1}} {
			closed, err := s.entity.Add(&b[0], p)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range closed {
				got = fmt.Sprintf("%.4g", c.Values[0])
			}
		}
		if got != want {
			t.Errorf("%q of %q gives %s, want %s", feat, unit, got, want)
		}
	}
	g, c := series.Gauge, series.Cumulative
	f("1", "%", g, "1.295")
	f("", "Percent", g, "1.295")
	f("", "{Percent}", g, "1.295")
	f("%", "1", g, "1.295e+04")
	f("s", "ms", g, "0.1295")
	f("ms", "s", g, "1.295e+05")
	f("By", "KiBy", g, "1.326e+05")
	f("By/s", "Bytes/Second", g, "129.5")
	f("By/s", "By", c, "1")
	f("1", "s", c, "1") // seconds per second
	f("1", "{packet}", g, "129.5")
	f("By/s", "", c, "1") // nothing said, nothing converted
	f("", "furlong", g, "129.5")
	f("", "By/furlong", g, "129.5")
	f("By/s", "By/min", g, "2.158")
	f("By/s", "bit/ms", g, "1.619e+04")
	f("By/s", "By", g, `its unit "By" gives By, the feature is in By/s`)
	f("s", "By", g, "correct the feature's unit")
}

func TestBindReportsMatchersThatFail(t *testing.T) {
	set, err := feature.Compile([]feature.Group{{
		Name: "web", Entity: []string{"instance"},
		Features: []feature.Feature{{Name: "a", Metrics: []string{"m"}, Match: `int(metric.labels.shard) > 3`}, {Name: "b", Metrics: []string{"m"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := set.Bind(&series.Descriptor{Metric: "m", Labels: labels("instance", "x")})
	if !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), "group web, a:") {
		t.Errorf("%v", err)
	}
	if len(b) != 1 || b[0].Feature() != "b" {
		t.Errorf("%+v", b)
	}
}

func TestCompileFaults(t *testing.T) {
	f := func(g feature.Group, want ...string) {
		t.Helper()
		_, err := feature.Compile([]feature.Group{g})
		if !errors.Is(err, ops.ErrInvalid) {
			t.Errorf("%+v: %v", g, err)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v\ndoes not say %s", err, w)
			}
		}
	}
	features := func(fs ...feature.Feature) feature.Group {
		return feature.Group{Name: "g", Entity: []string{"host"}, Features: fs}
	}
	late := -time.Second
	f(feature.Group{Name: "g"}, "entity: is missing", "features: has none that the model sees")
	f(feature.Group{Name: "g", Entity: []string{"a", "a"}, Step: time.Millisecond, Lateness: &late, MaxEntities: -1, Match: "metric.nam == 1", Features: []feature.Feature{{Set: "node"}}},
		`entity: has "a" empty or twice`, "step: 1ms is out of range", "lateness: -1s is out of range", "max_entities: must be 1 or more",
		`match: policy:`, `did you mean "name"`, `features[0].set: there is no ready set "node"; ready sets: cloudwatch_ec2, host, node_exporter, otel_hostmetrics`)
	f(features(feature.Feature{Set: "host", Name: "x"}), "features[0]: says set and other keys")
	f(features(feature.Feature{Name: "x"}), "features[0]: selects nothing")
	f(features(feature.Feature{Name: "in", Metrics: []string{""}, ByStep: "mode", ByEntity: "last", Unit: "furlong", Match: "1"}),
		`features[0].name: "in" cannot be a name`)
	f(features(feature.Feature{Name: "x", Metrics: []string{""}, ByStep: "mode", ByEntity: "last", Unit: "furlong", Match: "1"}),
		`features[0].metric: is empty`, `by_step: "mode" is none of`, `by_entity: "last" is none of`, `unit: "furlong" is not known`, "match: policy:")
	f(features(feature.Feature{Set: "host"}, feature.Feature{Name: "disk_io", Metrics: []string{"m"}}), `features[1].name: "disk_io" is taken`)
	f(features(feature.Feature{Name: "y", Expr: "x"}, feature.Feature{Name: "x", Metrics: []string{"m"}}), `features[0].expr: policy: formula "x" reads "x", which is no feature here`)
	f(features(feature.Feature{Name: "x", Metrics: []string{"m"}, Hidden: true}), "has none that the model sees")
	f(features(feature.Feature{Name: "x", Metrics: []string{"m"}}, feature.Feature{Name: "y", Expr: "x", Metrics: []string{"m"}}), "has an expr and selects series too")
	var many []feature.Feature
	for i := range feature.MaxFeatures + 1 {
		many = append(many, feature.Feature{Name: fmt.Sprintf("f%d", i), Metrics: []string{"m"}})
	}
	f(features(many...), "at most 64")
	if _, err := feature.Compile([]feature.Group{features(many[0]), features(many[0])}); err == nil || !strings.Contains(err.Error(), "is taken by another group") {
		t.Errorf("two of a name: %v", err)
	}
}

func TestReadySetsFillWhatIsLeftOpen(t *testing.T) {
	_, sel := compiled(t, feature.Group{Name: "g", Features: []feature.Feature{{Set: "cloudwatch_ec2"}, {Name: "x", Metrics: []string{"m"}}}})
	g := sel.Group
	if g.Step != 5*time.Minute || *g.Lateness != 5*time.Minute || *g.InOrder || g.Entity[0] != "InstanceId" || g.MaxEntities != 10_000 || len(sel.Dimensions) != 5 {
		t.Errorf("%+v", g)
	}
	_, sel = compiled(t, feature.Group{Name: "g", Entity: []string{"node"}, Step: time.Minute, InOrder: new(true), Features: []feature.Feature{{Set: "cloudwatch_ec2"}}})
	g = sel.Group
	if g.Step != time.Minute || *g.Lateness != 5*time.Minute || !*g.InOrder || g.Entity[0] != "node" {
		t.Errorf("%+v", g)
	}
}

func TestFingerprint(t *testing.T) {
	print := func(change func(*feature.Group)) uint64 {
		g := everyKind()
		if change != nil {
			change(&g)
		}
		_, sel := compiled(t, g)
		return sel.Fingerprint()
	}
	own := print(nil)
	f := func(same bool, change func(*feature.Group)) {
		t.Helper()
		if (print(change) == own) != same {
			t.Errorf("equal is %t, want %t", !same, same)
		}
	}
	f(true, func(g *feature.Group) { g.Name, g.MaxEntities, g.Detector, g.Match = "other", 5, "rcf", "true" })
	f(true, func(g *feature.Group) { late := time.Hour; g.Lateness, g.InOrder = &late, new(false) })
	f(false, func(g *feature.Group) { g.Step = time.Minute })
	f(false, func(g *feature.Group) { g.Features[0].Name = "other" })
	f(false, func(g *feature.Group) { g.Features[0].Metrics = []string{"leve", "l"} })
	f(false, func(g *feature.Group) { g.Features[0].Rate = new(false) })
	f(false, func(g *feature.Group) { g.Features[1].Hidden = false })
	f(false, func(g *feature.Group) { g.Features[4].Expr = "newest" })
	f(false, func(g *feature.Group) { g.Features[0].Unit = "s" })
}
