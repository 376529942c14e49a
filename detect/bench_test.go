package detect_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/series/seriestest"
)

// detectAll detects everything in a log, which is in memory so that what is
// measured is the pipeline, and returns how long it took.
func detectAll(b *testing.B, p *seriestest.Log, f fleet) time.Duration {
	b.Helper()
	l := newLab(b, b.TempDir())
	defer l.close()
	pipe, err := detect.NewPipeline(l.config, detect.PipelineDeps{
		Log: p, Selection: f, Detectors: detect.Detectors{New: newEWMA, Load: loadEWMA}, Place: l.store, Findings: l.store, Signals: l.store,
		DB: l.core, Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	must(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	bounds, err := p.Bounds(b.Context())
	must(b, err)
	b.ResetTimer()
	go func() { done <- pipe.Run(ctx) }()
	for {
		place, err := l.store.Detection(b.Context(), 0)
		must(b, err)
		if place.Committed >= bounds.Last {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	took := b.Elapsed()
	b.StopTimer()
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		b.Fatal(err)
	}
	return took
}

// BenchmarkPoints is what the pipeline costs per point of four features, one
// sample each, with a detector that costs next to nothing. Up to a second of it
// is the wait for the last commit: give it a -benchtime of seconds.
func BenchmarkPoints(b *testing.B) {
	for _, models := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("models=%d", models), func(b *testing.B) {
			log := seriestest.NewLog()
			steps := max(2, b.N/models)
			calm := hosts(models)
			for i := range calm {
				calm[i] = 3*i + 1
			}
			_, err := log.Append(b.Context(), records(calm, 4, 0, steps, step, 100)...)
			must(b, err)
			b.ReportAllocs()
			took := detectAll(b, log, fleet{metrics: 4, step: step})
			b.ReportMetric(float64(steps*models)/took.Seconds(), "points/s")
		})
	}
}

// BenchmarkUnselected is what a sample costs that no group selects.
func BenchmarkUnselected(b *testing.B) {
	var bodies [][]byte
	const perRecord, different = 500, 200
	for r := range different {
		var batch series.Batch
		for s := range perRecord {
			batch.Series(&series.Descriptor{Metric: "http_request_duration_seconds_bucket", Temporality: series.Cumulative, Labels: []series.Label{
				{Name: "handler", Value: fmt.Sprintf("/api/v1/%d", s)},
				{Name: "instance", Value: fmt.Sprintf("web%d.example.com:9100", r)},
				{Name: "job", Value: "web"},
				{Name: "le", Value: "0.25"},
				{Name: "method", Value: "GET"},
			}})
			batch.Sample(begin.UnixMilli(), float64(s))
		}
		bodies = append(bodies, batch.Append(nil))
	}
	log := seriestest.NewLog()
	samples := 0
	for i := range max(1, b.N/perRecord) {
		_, err := log.Append(b.Context(), series.Record{Kind: series.Samples, Body: bodies[i%different]})
		must(b, err)
		samples += perRecord
	}
	b.ReportAllocs()
	took := detectAll(b, log, fleet{metrics: 4, step: step})
	b.ReportMetric(float64(samples)/took.Seconds(), "samples/s")
}
