package webtest

import (
	"context"
	"encoding/json"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// advice is what an optimisation tool said in the night, taken in by the
// placer as it comes: placed, not placed, not readable, and one that was done.
func (h *House) advice() {
	h.t.Helper()
	h.At(start.Add(-4 * time.Hour))
	insight := func(service, key, from, to, kind string, saving float64) ops.Recommendation {
		return ops.Recommendation{
			Integration: "densify", Producer: ops.ProducerDensify, EntityID: "e-" + key, Account: "123456789012", Region: "eu-west-1", Service: service, ResourceKey: key, Name: key,
			Resource: ops.ResourceRef{Kind: "host", Name: key, Aliases: []string{"arn:aws:ec2:eu-west-1:123456789012:instance/" + key}},
			Current:  ops.Values{Type: from}, Recommended: ops.Values{Type: to}, Kind: kind, Effort: "Low", ApprovalType: "na",
			Saving: &ops.Saving{Amount: saving, Currency: "USD", Per: "month"}, Tags: map[string]string{"env": "prod"},
			Raw: json.RawMessage(`{"resourceId":"` + key + `","currentType":"` + from + `","recommendedType":"` + to + `"}`),
		}
	}
	uptime := 99.1
	web := insight(ops.ServiceEC2, "i-06d390ca1a0c59d95", "m5.xlarge", "m5.large", "Downsize", 61.2)
	web.PredictedUptime, web.Stack, web.LogicalID = &uptime, "arn:aws:cloudformation:eu-west-1:123456789012:stack/web/5b1", "Server"
	group := insight(ops.ServiceASG, "export-workers", "c5.large", "c5.large", "Downscale", 120)
	group.Current.Group, group.Recommended.Group = &ops.GroupSize{Min: 4, Max: 10}, &ops.GroupSize{Min: 2, Max: 6}
	odd := ops.Recommendation{Integration: "densify", Producer: ops.ProducerDensify, Fault: "missing: serviceType, resourceId", Raw: json.RawMessage(`{"name":"?"}`)}
	var signals []ops.Signal
	for _, r := range []ops.Recommendation{web, insight(ops.ServiceRDS, "ledger-db", "db.m5.large", "db.m5.xlarge", "Upsize", -44.5), group, odd} {
		signals = append(signals, ops.Signal{Recommendation: &r})
	}
	h.Write(func(ctx context.Context, tx db.Tx) error {
		_, err := h.Store.AppendSignals(ctx, tx, ops.Message{Integration: "densify", Source: "densify", Signals: signals, Raw: []byte("[]")})
		return err
	})
	if _, err := h.Advice.CatchUp(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	predicted, realised, before, after := 12.4, 11.9, 0.192, 0.096
	done := insight(ops.ServiceEC2, "i-0batch", "m5.2xlarge", "m5.xlarge", "Downsize", 140)
	done.ID, done.State, done.Outcome, done.Why, done.Rule = h.id(), ops.RecommendationDone, ops.Successful, "its change ended as successful", "ec2"
	done.FirstSeen, done.LastSeen, done.EndedAt = start.Add(-9*24*time.Hour), start.Add(-4*time.Hour), start.Add(-6*24*time.Hour)
	done.Realised = &ops.Realised{Since: done.EndedAt, Until: start, Hours: 144, Currency: "USD", Predicted: &predicted, Amount: &realised, Before: &before, After: &after, CountedBy: "the quarters of an hour in which something was measured of it"}
	h.Write(func(ctx context.Context, tx db.Tx) (err error) {
		if done.Number, err = h.Store.NextNumber(ctx, tx, "recommendation"); err != nil {
			return err
		}
		return h.Store.SaveRecommendation(ctx, tx, done)
	})
}
