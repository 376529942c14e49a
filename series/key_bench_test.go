package series_test

import (
	"testing"

	"github.com/fettleops/fettle/series"
)

// BenchmarkParseKey reads the names of a series that is seen for the first time.
func BenchmarkParseKey(b *testing.B) {
	d := series.Descriptor{Metric: "node_cpu_seconds_total", Temporality: series.Cumulative, Labels: []series.Label{
		{Name: "cluster", Value: "eu-1"}, {Name: "cpu", Value: "12"}, {Name: "instance", Value: "host-000123.example:9100"}, {Name: "job", Value: "node"}, {Name: "mode", Value: "idle"},
	}}
	var batch series.Batch
	batch.Series(&d)
	batch.Sample(1, 1)
	var r series.BatchReader
	if err := r.Open(batch.Append(nil)); err != nil || !r.Next() {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if got, err := series.ParseKey(r.Key()); err != nil || len(got.Labels) != len(d.Labels) {
			b.Fatal(got, err)
		}
	}
}
