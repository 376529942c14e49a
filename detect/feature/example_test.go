package feature_test

import (
	"fmt"
	"time"

	"github.com/fettleops/fettle/detect/feature"
	"github.com/fettleops/fettle/series"
)

// The share of requests that fail, per instance and minute, of two counters.
func Example() {
	set, err := feature.Compile([]feature.Group{{
		Name: "web", Entity: []string{"instance"}, Step: time.Minute,
		Features: []feature.Feature{
			{Name: "requests", Metrics: []string{"http_requests_total"}, ByEntity: feature.Sum},
			{Name: "failures", Metrics: []string{"http_requests_total"}, Match: `metric.labels.code.startsWith("5")`, ByEntity: feature.Sum, Hidden: true},
			{Name: "failing", Expr: "requests > 0.0 ? failures / requests : 0.0"},
		},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	var bindings []feature.Binding
	for _, code := range []string{"200", "500"} {
		labels := []series.Label{{Name: "code", Value: code}, {Name: "instance", Value: "web-1"}}
		b, err := set.Bind(&series.Descriptor{Metric: "http_requests_total", Labels: labels}) // once per series
		if err != nil {
			fmt.Println(err)
			return
		}
		bindings = append(bindings, b...)
	}
	entity := bindings[0].Selector.New(bindings[0].Entity)
	for minute := range int64(5) {
		for i := range bindings {
			p := series.RawPoint{At: minute * 60_000, Value: float64(minute * 600)}
			closed, err := entity.Add(&bindings[i], p)
			if err != nil {
				fmt.Println(err)
				return
			}
			for _, c := range closed {
				fmt.Println(time.UnixMilli(c.At).UTC().Format(time.TimeOnly), c.Values)
			}
		}
	}
	// Output:
	// 00:01:00 [20 0.5]
	// 00:02:00 [20 0.5]
	// 00:03:00 [20 0.5]
}
