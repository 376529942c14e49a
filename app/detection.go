package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/detect/feature"
	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// buildDetection makes the pipeline from the sample log to anomalies.
func (a *App) buildDetection(ctx context.Context) error {
	var groups []feature.Group
	for _, g := range a.Config.Detect.Groups {
		groups = append(groups, watched(g))
	}
	set, err := feature.Compile(groups)
	if err != nil {
		return err
	}
	installation, err := a.Store.Installation(ctx)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read the host name: %w", err)
	}
	c := a.Config.Detect
	a.Pipeline, err = detect.NewPipeline(detect.PipelineConfig{
		Dir: filepath.Join(a.DataDir, "models"), Installation: installation, Holder: host + "/" + a.Store.NewID(), Alone: a.DB.Engine() == db.SQLite,
		PublicURL: a.publicURL(), MaxModels: c.MaxModels, CheckpointInterval: c.CheckpointInterval.D, LogKeep: c.LogKeep.D, LogMaxBytes: int64(c.LogMaxBytes), HoldAtMost: c.HoldAtMost.D,
		StopWithin: drain, KeepReadings: a.Config.Retention.Series1m.D, KeepAnomalies: a.Config.Retention.Alerts.D,
	}, detect.PipelineDeps{
		Log: a.Samples, Selection: detect.Select(set), Detectors: detect.Detectors{New: detector.New, Load: detector.Load}, Place: a.Store, Findings: a.Store, Signals: a.Store, DB: a.DB,
		Jobs: a.Queue, Asks: spans{a}, Clock: a.Clock, Logger: a.Logger, Registerer: a.metrics, Told: func() { a.Correlate.Wake() },
	})
	if err != nil {
		return err
	}
	a.Pipeline.Register(a.Queue)
	a.loops = append(a.loops, loop{"detect", a.Pipeline.Run})
	return nil
}

// senses shows what detection sees.
func (a *App) senses() *detect.Viewer {
	return &detect.Viewer{Watching: a.Pipeline, Record: a.Store, Windows: a.Change}
}

// spans answers what detection asks about what not to learn.
type spans struct{ app *App }

// Resource returns a resource.
func (s spans) Resource(ctx context.Context, id string) (ops.Resource, error) {
	return s.app.Store.Resource(ctx, id)
}

// Change returns a change.
func (s spans) Change(ctx context.Context, id string) (ops.Change, error) {
	return s.app.Store.Change(ctx, id)
}

// Spans returns the maintenance windows about a resource.
func (s spans) Spans(ctx context.Context, r ops.Resource, from, to time.Time) []ops.Occurrence {
	return s.app.Change.Spans(ctx, r, from, to)
}

// sense takes samples of this machine: the rules see them at once, and through
// the sample log the models do.
func (a *App) sense(ctx context.Context, about ops.ResourceRef, samples []ops.Sample) error {
	if len(samples) == 0 {
		return nil
	}
	var batch series.Batch
	for _, s := range samples {
		d := series.Descriptor{Metric: s.Series.Metric, Temporality: series.Gauge, Unit: s.Unit, Labels: []series.Label{{Name: "resource", Value: about.Name}}}
		for k, v := range s.Series.Labels {
			d.Labels = append(d.Labels, series.Label{Name: k, Value: v})
		}
		slices.SortFunc(d.Labels, func(a, b series.Label) int { return strings.Compare(a.Name, b.Name) })
		batch.Series(&d)
		batch.Sample(s.At.UnixMilli(), s.Value)
	}
	err := a.Detect.Observe(ctx, about, samples)
	if _, logged := a.Samples.Append(ctx, series.Record{Kind: series.Samples, Body: batch.Append(nil)}); logged != nil {
		err = errors.Join(err, fmt.Errorf("append the samples of this machine: %w", logged))
	}
	return err
}
