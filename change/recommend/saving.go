package recommend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

const (
	// countWithin is how long a realised saving is counted.
	countWithin = 365 * 24 * time.Hour
	// countEvery is how often, and countSlowly after the first two days.
	countEvery  = time.Hour
	countSlowly = 24 * time.Hour
)

// begin starts to count what a change brought, or says why it brought nothing.
func (p *Placer) begin(r *ops.Recommendation, c ops.Change) {
	since := r.EndedAt
	if c.Run != nil && !c.Run.AppliedAt.IsZero() {
		since = c.Run.AppliedAt
	}
	r.Realised = &ops.Realised{Since: since, Until: since}
	switch {
	case c.Verdict != nil && c.Verdict.Word == ops.Worse:
		regress(r, "verification was worse: "+c.Verdict.Why, since)
	case c.Outcome == ops.Unsuccessful:
		why := "its change did not succeed"
		if c.Run != nil && c.Run.Error != "" {
			why += ": " + c.Run.Error
		}
		regress(r, why, since)
	default:
		r.DueAt = p.now().Add(countEvery)
	}
}

// regress ends the counting of a saving that is none.
func regress(r *ops.Recommendation, why string, at time.Time) {
	if r.Realised == nil {
		r.Realised = &ops.Realised{Since: at, Until: at}
	}
	r.Realised.Regressed, r.Realised.Final, r.DueAt = why, true, time.Time{}
}

// price returns what an hour of a type costs, nil when the configuration does
// not say. A price of the region comes before one of everywhere.
func (r *Rules) price(service, kind, region string) *Price {
	for _, key := range []priced{{service, kind, region}, {service, kind, ""}} {
		if p, ok := r.prices[key]; ok {
			return &p
		}
	}
	return nil
}

// count brings the realised saving up to now. share is which part of the time
// since it was last counted the resource ran.
func (r *Rules) count(x *ops.Recommendation, now time.Time, share float64, known bool) {
	v := x.Realised
	if v == nil || v.Final || !now.After(v.Until) {
		return
	}
	if !known {
		share = 1
	}
	v.CountedBy = "all hours since, as if it always ran: nobody watches it"
	if known {
		v.CountedBy = "the quarters of an hour in which something was measured of it"
	}
	v.Hours += now.Sub(v.Until).Hours() * share
	v.Until = now
	v.Predicted, v.Before, v.After, v.Amount, v.Why, v.Currency = nil, nil, nil, nil, "", ""
	if x.Saving != nil {
		v.Currency = x.Saving.Currency
		if perHour, ok := x.Saving.PerHour(); ok {
			predicted := perHour * v.Hours
			v.Predicted = &predicted
		}
	}
	before, after := r.price(x.Service, x.Current.Type, x.Region), r.price(x.Service, x.Recommended.Type, x.Region)
	if before != nil {
		v.Before = &before.PerHour
	}
	if after != nil {
		v.After = &after.PerHour
	}
	switch {
	case x.Service == ops.ServiceASG:
		v.Why = "how many instances of the group ran is not known"
	case before == nil:
		v.Why = fmt.Sprintf("prices has none of %s %s in %s", x.Service, dash(x.Current.Type), x.Region)
	case after == nil:
		v.Why = fmt.Sprintf("prices has none of %s %s in %s", x.Service, dash(x.Recommended.Type), x.Region)
	case before.Currency != after.Currency || v.Currency != "" && v.Currency != before.Currency:
		v.Why = "the prices and the predicted saving are in different currencies"
	default:
		v.Currency = before.Currency
		amount := (before.PerHour - after.PerHour) * v.Hours
		v.Amount = &amount
	}
	v.Final = now.Sub(v.Since) >= countWithin
}

// sweep looks at what is due: unplaced ones whose rules or resource may have
// changed, ones whose change expired, and savings to be counted.
func (p *Placer) sweep(ctx context.Context) error {
	for range 20 { // the rest in a minute
		ids, err := p.Rows.DueRecommendations(ctx, p.now(), chunk)
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if err := p.due(ctx, id); err != nil && !errors.Is(err, ops.ErrConflict) {
				return fmt.Errorf("recommend: look at %s again: %w", id, err)
			}
		}
	}
	return nil
}

func (p *Placer) due(ctx context.Context, id string) error {
	r, err := p.Rows.Recommendation(ctx, id)
	if err != nil {
		return err
	}
	var share float64
	var known bool
	if r.State == ops.RecommendationDone && r.Realised != nil && p.Uptime != nil && r.ResourceID != "" {
		share, known = p.Uptime(ctx, r.ResourceID, r.Realised.Until, p.now())
	}
	return p.DB.Write(ctx, func(tx db.Tx) error {
		now := p.now()
		r, err := p.Rows.RecommendationIn(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case r.State == ops.RecommendationDone:
			p.rules.Load().count(&r, now, share, known)
			r.DueAt = now.Add(countEvery)
			if r.Realised == nil || r.Realised.Final {
				r.DueAt = time.Time{}
			} else if now.Sub(r.Realised.Since) > 48*time.Hour {
				r.DueAt = now.Add(countSlowly)
			}
			return p.save(ctx, tx, &r)
		case r.State != ops.RecommendationUnplaced || r.Fault != "" || r.Wants != "":
			return p.Rows.PostponeRecommendation(ctx, tx, id, time.Time{})
		}
		return p.consider(ctx, tx, r)
	})
}
