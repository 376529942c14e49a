package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/intake/host"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// rules merges the shipped rules with the configured ones, by name.
func rules(c *config.Config) []detect.Rule {
	configured := map[string]config.Rule{}
	for _, r := range c.Detect.Rules {
		configured[r.Name] = r
	}
	var out []detect.Rule
	for _, r := range detect.Shipped() {
		if _, replaced := configured[r.Name]; !replaced {
			out = append(out, r)
		}
	}
	for _, r := range c.Detect.Rules {
		if r.Enabled {
			out = append(out, detect.Rule{
				Name: r.Name, When: r.When, Clear: r.Clear, For: r.For.D, Severity: ops.Severity(r.Severity), Title: r.Title, Labels: r.Labels,
			})
		}
	}
	return out
}

func (a *App) buildSenses(ctx context.Context) error {
	a.History = series.Open(a.Store, a.DB, a.Clock, series.Retention{Minutes: a.Config.Retention.Series1m.D, Hours: a.Config.Retention.Series1h.D})
	a.loops = append(a.loops, loop{"series", a.History.Run})
	a.Queue.Every("series.retain", time.Hour, a.History.Retain)
	var err error
	a.Detect, err = detect.New(rules(a.Config), detect.Deps{
		Signals: a.Store, History: a.History, DB: a.DB, Clock: a.Clock, Logger: a.Logger, Told: func() { a.Correlate.Wake() },
	})
	if err != nil {
		return err
	}
	if !a.Config.Detect.Host.Enabled {
		return nil
	}
	about, err := a.thisHost(ctx)
	if err != nil {
		return err
	}
	a.loops = append(a.loops, loop{"host", host.Sampler{
		Resource: about.ID, Every: a.Config.Detect.Host.Every.D, Clock: a.Clock, Logger: a.Logger,
		Sink: func(ctx context.Context, samples []ops.Sample) error {
			a.pulse.add(int64(len(samples)), 0)
			return a.sense(ctx, about, samples)
		},
	}.Run})
	return nil
}

// thisHost is the machine Fettle runs on, as a resource.
func (a *App) thisHost(ctx context.Context) (ops.ResourceRef, error) {
	name, err := os.Hostname()
	if err != nil {
		return ops.ResourceRef{}, fmt.Errorf("read the host name: %w", err)
	}
	ref := ops.ResourceRef{Kind: "host", Name: name, Aliases: []string{ops.Alias("host", name)}}
	return a.Resource(ctx, ref)
}

// Resource resolves a reference, making the resource where nobody knows it.
func (a *App) Resource(ctx context.Context, ref ops.ResourceRef) (ops.ResourceRef, error) {
	err := a.DB.Write(ctx, func(tx db.Tx) error {
		ids, err := a.Store.ResolveResources(ctx, tx, []ops.ResourceRef{ref})
		if err == nil {
			ref.ID = ids[0]
		}
		return err
	})
	return ref, err
}
