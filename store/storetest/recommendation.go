package storetest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

var recommendationRules = []rule{
	{
		name:  "recommendation/one-live",
		why:   "two live recommendations of one value would each raise a change on one resource",
		check: recommendsOnce,
	},
	{
		name:  "recommendation/find",
		why:   "people find a recommendation by state, service, change, number and words, page by page",
		check: findsRecommendations,
	},
	{
		name:  "recommendation/sum",
		why:   "a saving that is summed twice, or over two currencies, is a lie",
		check: sumsRecommendations,
	},
	{
		name:  "recommendation/log",
		why:   "a recommendation that nobody has read yet must outlive its retention, and alerts must not be read for it",
		check: followsAdvice,
	},
}

func (h *house) recommendation(n int64, key string, state ops.RecommendationState) ops.Recommendation {
	return ops.Recommendation{
		ID: "rec" + string(rune('0'+n)), Number: n, State: state, Why: "for 100%", Integration: "d", Account: "1", Region: "r", Service: ops.ServiceEC2, ResourceKey: key, Name: key,
		Kind: "Downsize", Saving: &ops.Saving{Amount: 73, Currency: "USD", Per: "month"}, FirstSeen: h.clock(), Raw: json.RawMessage(`{"a":1}`),
	}
}

func (h *house) saveRecommendation(r ops.Recommendation) error {
	return h.db.Write(h.ctx, func(tx db.Tx) error { return h.store.SaveRecommendation(h.ctx, tx, r) })
}

func recommendsOnce(t *testing.T, h *house) {
	r := h.recommendation(1, "i-1", ops.RecommendationPlaced)
	r.ChangeID = "c1"
	must(t, h.saveRecommendation(r))
	wantClass(t, "the same new one again", h.saveRecommendation(r), ops.ErrConflict)
	wantClass(t, "a second placed one", h.saveRecommendation(h.recommendation(2, "i-1", ops.RecommendationPlaced)), ops.ErrConflict)
	must(t, h.saveRecommendation(h.recommendation(2, "i-1", ops.RecommendationNew)))
	wantClass(t, "a second waiting one", h.saveRecommendation(h.recommendation(3, "i-1", ops.RecommendationUnplaced)), ops.ErrConflict)
	must(t, h.saveRecommendation(h.recommendation(3, "i-1", ops.RecommendationDone)))
	must(t, h.saveRecommendation(h.recommendation(4, "i-1", ops.RecommendationWithdrawn)))
	must(t, h.saveRecommendation(h.recommendation(5, "i-2", ops.RecommendationPlaced)))
	h.write(func(tx db.Tx) error {
		placed, waiting, last, err := h.store.RecommendationsOf(h.ctx, tx, r.Identity())
		if err == nil && (placed.Number != 1 || waiting.Number != 2 || last.Number != 4 || placed.Version != 1 || string(placed.Raw) != `{"a":1}`) {
			t.Errorf("of the identity: %+v, %+v, %+v", placed, waiting, last)
		}
		if of, err := h.store.RecommendationOfChange(h.ctx, tx, "c1"); err != nil || of.ID != r.ID {
			t.Errorf("of the change: %+v, %v", of, err)
		}
		_, err2 := h.store.RecommendationOfChange(h.ctx, tx, "c9")
		wantClass(t, "of no change", err2, ops.ErrNotFound)
		at, err3 := h.store.PlacedAt(h.ctx, tx, ops.Hint{Integration: "d", Region: "r", Service: ops.ServiceEC2, ResourceKey: "i-1"})
		if err3 != nil || len(at) != 1 || at[0].ID != r.ID {
			t.Errorf("at its place: %+v, %v", at, err3)
		}
		return err
	})
	// The indexes refuse what does not come this way, too.
	err := h.db.Write(h.ctx, func(tx db.Tx) error {
		_, err := tx.Exec(h.ctx, "UPDATE recommendation SET state = 'placed' WHERE number = 2")
		return err
	})
	if err == nil {
		t.Error("the schema lets two placed recommendations have one identity")
	}
	moved, err := h.store.Recommendation(h.ctx, "REC-1")
	must(t, err)
	moved.State = ops.RecommendationDone
	must(t, h.saveRecommendation(moved))
	wantClass(t, "one that has moved on", h.saveRecommendation(moved), ops.ErrConflict)
	_, err = h.store.Recommendation(h.ctx, "REC-99")
	wantClass(t, "a missing key", err, ops.ErrNotFound)
}

func findsRecommendations(t *testing.T, h *house) {
	for n, key := range []string{"i-1", "i-2", "shop"} {
		r := h.recommendation(int64(n+1), key, []ops.RecommendationState{ops.RecommendationUnplaced, ops.RecommendationPlaced, ops.RecommendationDone}[n])
		r.DueAt = h.clock().Add(time.Duration(n) * time.Hour)
		if n == 2 {
			r.Service, r.Kind, r.ChangeID, r.Why = ops.ServiceRDS, "Upsize", "c1", "CHG-1 ended"
		}
		must(t, h.saveRecommendation(r))
	}
	f := func(f ops.RecommendationFilter, want string) {
		t.Helper()
		found, err := h.store.Recommendations(h.ctx, f)
		must(t, err)
		var got []string
		for _, r := range found {
			got = append(got, r.ResourceKey)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%+v finds %q, want %q", f, s, want)
		}
	}
	f(ops.RecommendationFilter{}, "shop i-2 i-1")
	f(ops.RecommendationFilter{States: []ops.RecommendationState{ops.RecommendationUnplaced, ops.RecommendationDone}}, "shop i-1")
	f(ops.RecommendationFilter{Service: ops.ServiceRDS}, "shop")
	f(ops.RecommendationFilter{Kind: "Upsize"}, "shop")
	f(ops.RecommendationFilter{Change: "c1"}, "shop")
	f(ops.RecommendationFilter{Text: "SHOP"}, "shop")
	f(ops.RecommendationFilter{Text: "rec-2"}, "i-2")
	f(ops.RecommendationFilter{Text: "100%"}, "i-2 i-1")
	f(ops.RecommendationFilter{Before: 3, Limit: 1}, "i-2")
	due, err := h.store.DueRecommendations(h.ctx, h.clock().Add(time.Hour), 10)
	if err != nil || strings.Join(due, " ") != "rec1 rec2" {
		t.Errorf("due: %v, %v", due, err)
	}
	h.write(func(tx db.Tx) error {
		return h.store.PostponeRecommendation(h.ctx, tx, "rec1", h.clock().Add(9*time.Hour))
	})
	if due, err = h.store.DueRecommendations(h.ctx, h.clock(), 10); err != nil || len(due) != 0 {
		t.Errorf("due: %v, %v", due, err)
	}
	h.write(func(tx db.Tx) error { return h.store.ReconsiderRecommendations(h.ctx, tx, h.clock()) })
	if due, err = h.store.DueRecommendations(h.ctx, h.clock(), 10); err != nil || strings.Join(due, " ") != "rec1" {
		t.Errorf("after new rules due: %v, %v", due, err)
	}
}

func sumsRecommendations(t *testing.T, h *house) {
	one, two := 1.5, 3.0
	for n := range int64(4) {
		r := h.recommendation(n+1, "i-"+string(rune('0'+n)), ops.RecommendationDone)
		r.Outcome, r.Realised = ops.Successful, &ops.Realised{Predicted: &two, Amount: &one}
		switch n {
		case 1:
			r.State, r.Realised = ops.RecommendationUnplaced, nil
		case 2:
			r.Saving.Currency, r.Realised.Amount, r.Realised.Regressed = "EUR", nil, "it went back"
		case 3:
			r.Outcome = ops.Unsuccessful
		}
		must(t, h.saveRecommendation(r))
	}
	got, err := h.store.RecommendationTotals(h.ctx)
	must(t, err)
	if len(got) != 2 || got[0].Currency != "EUR" || got[0].Regressed != 1 || got[0].Measured != 0 || got[0].Ratio != nil || got[0].Done != 1 {
		t.Fatalf("totals %+v", got)
	}
	if x := got[1]; x.Count != 3 || x.Live != 1 || x.Unplaced != 1 || x.Done != 1 || x.Measured != 2 || x.Realised != 3 || x.Predicted != 6 || *x.Ratio != 0.5 || x.Open < 0.0999 || x.Open > 0.1001 {
		t.Errorf("totals %+v", x)
	}
}

func followsAdvice(t *testing.T, h *house) {
	r := h.recommendation(1, "i-1", "")
	for n, s := range []ops.Signal{{Alert: &ops.Alert{Rule: "cpu"}}, {Recommendation: &r}, {Alert: &ops.Alert{Rule: "cpu"}}, {Hint: &ops.Hint{Word: "close"}}, {Alert: &ops.Alert{Rule: "cpu"}}} {
		h.write(func(tx db.Tx) error {
			_, err := h.store.AppendSignals(h.ctx, tx, ops.Message{Integration: "d", Source: "densify", Dedupe: string(rune('a' + n)), Signals: []ops.Signal{s}, Raw: []byte("{}")})
			return err
		})
	}
	follow := func(after int64) (seqs []int64) {
		list, err := h.store.FollowAdvice(h.ctx, after, 10)
		must(t, err)
		for _, m := range list {
			if !m.Signals[0].Advice() {
				t.Errorf("message %d is no advice", m.Seq)
			}
			seqs = append(seqs, m.Seq)
		}
		return seqs
	}
	all := follow(0)
	if len(all) != 2 || len(follow(all[0])) != 1 || len(follow(all[1])) != 0 {
		t.Fatalf("advice at %v", all)
	}
	trim := func() (n int64) {
		h.write(func(tx db.Tx) (err error) {
			n, err = h.store.TrimSignals(h.ctx, tx, h.clock().Add(time.Hour), 100)
			return err
		})
		return n
	}
	h.write(func(tx db.Tx) error { return h.store.MoveCursor(h.ctx, tx, store.CorrelateCursor, 0, all[1]+1) })
	if n := trim(); n != 2 || len(follow(0)) != 2 {
		t.Errorf("%d messages trimmed, %d of advice left before anybody read it", n, len(follow(0)))
	}
	h.write(func(tx db.Tx) error { return h.store.MoveCursor(h.ctx, tx, store.AdviceCursor, 0, all[0]) })
	if n := trim(); n != 1 || len(follow(0)) != 1 {
		t.Errorf("%d messages trimmed, %d of advice left", n, len(follow(0)))
	}
}
