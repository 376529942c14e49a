package app

import (
	"context"
	"time"

	"github.com/fettleops/fettle/change/recommend"
	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/ops"
)

// recommendConfig turns the configuration into the placer's.
func recommendConfig(c *config.Config) recommend.Config {
	out := recommend.Config{Threshold: c.Recommendations.CancellationThreshold.D, Rest: c.Recommendations.Rest.D}
	for _, r := range c.Recommendations.Rules {
		out.Rules = append(out.Rules, recommend.Rule{
			Name: r.Name, Match: r.Match, Executor: r.Executor, Action: r.Action, Args: r.Args, Parameter: r.Parameter,
			Type: ops.ChangeType(r.Type), VerifyWithin: r.VerifyWithin.D, Team: r.Team, Risk: r.Risk,
		})
	}
	for _, p := range c.Prices {
		out.Prices = append(out.Prices, recommend.Price{Service: p.Service, Type: p.Type, Region: p.Region, PerHour: p.PerHour, Currency: p.Currency})
	}
	return out
}

func (a *App) buildRecommend(context.Context) error {
	var err error
	a.Recommend, err = recommend.New(recommendConfig(a.Config), recommend.Deps{
		DB: a.DB, Log: a.Store, Rows: a.Store, Ledger: a.Store, Gate: a.Change, Inventory: a.Store, Tickets: a.Store, Queue: a.Queue,
		Ask: a.askProducer, Keep: a.Blobs.Put, Uptime: a.uptime, Clock: a.Clock, Logger: a.Logger,
	})
	if err != nil {
		return err
	}
	a.Change.OnEnd(a.Recommend.Settle)
	a.Recommend.Register(a.Queue)
	a.loops = append(a.loops, loop{"recommend", a.Recommend.Run})
	return nil
}

// askProducer asks through the front door, which knows the producers.
func (a *App) askProducer(ctx context.Context, r ops.Recommendation) (recommend.Told, error) {
	told, err := a.Door.Ask(ctx, r)
	return recommend.Told(told), err
}

// quarter is the longest distance of samples at which a resource still counts
// as seen to run.
const quarter = 15 * time.Minute

// uptime returns in which share of the quarters of an hour of a span something
// was measured of a resource, and false when nothing was in all of it: then
// nobody watches.
func (a *App) uptime(ctx context.Context, resourceID string, from, to time.Time) (float64, bool) {
	from, to = from.Truncate(quarter), to.Truncate(quarter)
	whole := to.Sub(from) / quarter
	if whole < 1 {
		return 0, false
	}
	list, err := a.History.Recent(ctx, resourceID, from, to)
	if err != nil {
		return 0, false
	}
	seen := map[int64]bool{}
	for _, s := range list {
		for _, p := range s.Points {
			if !p.At.Before(from) && p.At.Before(to) {
				seen[p.At.Unix()/int64(quarter.Seconds())] = true
			}
		}
	}
	return float64(len(seen)) / float64(whole), len(seen) > 0
}
