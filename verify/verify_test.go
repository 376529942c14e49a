package verify_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/job/jobtest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
	"github.com/fettleops/fettle/verify"
	"github.com/fettleops/fettle/verify/check"
)

// world is what the verify room asks: one change and how its cause stands.
type world struct {
	change   ops.Change
	incident ops.Incident
	goneAt   time.Time // zero: it fires for ever
	roseAt   time.Time // when its incident became critical; zero: never
	unknown  bool
	series   []ops.Series
	others   map[string][]ops.Series // of the siblings
	checks   []verify.HealthRule
}

func (w *world) Resource(_ context.Context, id string) (ops.Resource, error) {
	return ops.Resource{ID: id, Kind: "host", Labels: map[string]string{"env": "prod"}}, nil
}

func (w *world) Siblings(_ context.Context, id string, from, to time.Time, limit int) ([]string, error) {
	if id != "r1" || !from.Before(to) || limit < 1 {
		return nil, fmt.Errorf("siblings of %s in %s to %s, at most %d: %w", id, from, to, limit, ops.ErrInternal)
	}
	return slices.Sorted(maps.Keys(w.others)), nil
}

// answers is a health check that answers by the time since the run was applied.
type answers func(since time.Duration) check.Health

func (a answers) Look(_ context.Context, s check.Subject) (check.Health, string) {
	h := a(s.Now.Sub(s.Since))
	return h, "it is " + string(h)
}

func (w *world) Change(context.Context, string) (ops.Change, error) { return w.change, nil }

func (w *world) Incident(context.Context, string) (ops.Incident, error) {
	i := w.incident
	if !w.roseAt.IsZero() && !time.Now().Before(w.roseAt) {
		i.Severity = ops.Critical
	}
	return i, nil
}

func (w *world) Cause(context.Context, ops.Change) (bool, time.Time, string, error) {
	if w.unknown {
		return false, time.Time{}, "", fmt.Errorf("alert: %w", ops.ErrNotFound)
	}
	if !w.goneAt.IsZero() && !time.Now().Before(w.goneAt) {
		return false, w.goneAt, "the host rule", nil
	}
	return true, time.Time{}, "the host rule", nil
}

func (w *world) Recent(_ context.Context, id string, from, to time.Time) ([]ops.Series, error) {
	var out []ops.Series
	series := w.series
	if id != "r1" {
		series = w.others[id]
	}
	for _, s := range series {
		cut := s
		cut.Points = nil
		for _, p := range s.Points {
			if !p.At.Before(from) && p.At.Before(to) {
				cut.Points = append(cut.Points, p)
			}
		}
		if len(cut.Points) > 0 {
			out = append(out, cut)
		}
	}
	return out, nil
}

type scene struct {
	*world
	db    *db.DB
	store *store.Store
	queue *jobtest.Queue
	start time.Time
	t     *testing.T
}

// schema is what every database here begins with.
var schema = dbtest.Laid(store.Migrate)

// play runs a scene whose run was applied at its start, with ten minutes for
// the cause to go away, until nothing is left to do. It returns the verdicts.
func play(t *testing.T, edit func(s *scene)) []ops.Verdict {
	t.Helper()
	var verdicts []ops.Verdict
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		d := schema.Open(t)
		defer d.Close()
		start := time.Now().UTC()
		st := store.New(d, time.Now)
		s := &scene{t: t, db: d, store: st, queue: jobtest.New(d, st), start: start, world: &world{
			change: ops.Change{
				ID: "c1", Number: 1, IncidentID: "i1", ResourceID: "r1", VerifyWithin: 10 * time.Minute,
				Trigger: &ops.Alert{Labels: map[string]string{"device": "sda"}, Context: ops.AlertContext{Metric: "disk", Operator: ">", Threshold: "85"}},
			},
			incident: ops.Incident{ID: "i1", Severity: ops.High},
		}}
		run := ops.Run{ID: "run1", ChangeID: "c1", StartedAt: start.Add(-time.Minute), AppliedAt: start}
		s.change.Run = &run
		edit(s)
		room := verify.New(verify.Options{
			DB: d, Journal: st, Facts: st, Queue: s.queue, Changes: s, Causes: s, Samples: s, Inventory: s,
			Checks: s.checks,
			Clock:  time.Now, Log: slog.New(slog.DiscardHandler),
		})
		room.Register(s.queue)
		s.tell(ops.RunAppliedBody{Run: run, Change: s.change})
		err := s.queue.Run(ctx, time.Hour, func() bool {
			return time.Since(start) > time.Second && s.queue.Waiting() == 0
		})
		if err != nil {
			t.Fatal(err)
		}
		if ended := s.queue.Ended(); len(ended) > 0 {
			t.Errorf("commands ended with errors: %v", ended)
		}
		facts, err := st.FactsAfter(ctx, 0, 100, ops.VerdictGiven)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range facts {
			b, err := ops.Body[ops.VerdictGivenBody](f)
			if err != nil {
				t.Fatal(err)
			}
			verdicts = append(verdicts, b.Verdict)
		}
	})
	return verdicts
}

func (s *scene) tell(bodies ...ops.FactBody) {
	s.t.Helper()
	err := s.db.Write(s.t.Context(), func(tx db.Tx) error {
		for _, b := range bodies {
			if _, err := s.store.Tell(s.t.Context(), tx, ops.NewFact(ops.ChangeSubject("c1"), time.Now(), ops.SystemPrincipal, "", b)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.t.Error(err)
	}
}

// tellAt tells facts some time into the scene.
func (s *scene) tellAt(after time.Duration, bodies ...ops.FactBody) {
	time.AfterFunc(after, func() { s.tell(bodies...) })
}

func one(t *testing.T, verdicts []ops.Verdict) ops.Verdict {
	t.Helper()
	if len(verdicts) != 1 {
		t.Fatalf("%d verdicts, want exactly one: %+v", len(verdicts), verdicts)
	}
	return verdicts[0]
}

func TestVerdictAsSoonAsTheCauseStayedAway(t *testing.T) {
	v := one(t, play(t, func(s *scene) { s.goneAt = s.start.Add(2 * time.Minute) }))
	if v.Word != ops.Better || v.Waited < 3*time.Minute || v.Waited > 3*time.Minute+20*time.Second || v.RunID != "run1" {
		t.Errorf("verdict %+v; want better a minute after the cause went", v)
	}
}

func TestResolvedIncidentIsLookedAtAtOnce(t *testing.T) {
	v := one(t, play(t, func(s *scene) {
		s.goneAt = s.start.Add(2*time.Minute + time.Second)
		resolved := ops.IncidentResolvedBody{Incident: ops.Incident{ID: "i1"}}
		s.tellAt(2*time.Minute+time.Second, resolved, resolved)
		s.tellAt(2*time.Minute, ops.IncidentResolvedBody{Incident: ops.Incident{ID: "another"}})
	}))
	if v.Word != ops.Better || v.Waited > 3*time.Minute+3*time.Second {
		t.Errorf("verdict %+v; want better exactly a minute after the cause went", v)
	}
}

func TestStillFiring(t *testing.T) {
	if v := one(t, play(t, func(*scene) {})); v.Word != ops.Unchanged || v.Waited < 10*time.Minute || v.Waited > 11*time.Minute {
		t.Errorf("verdict %+v; want unchanged after ten minutes", v)
	}
}

func TestSeverityRose(t *testing.T) {
	v := one(t, play(t, func(s *scene) {
		s.roseAt = s.start.Add(5 * time.Minute)
	}))
	if v.Word != ops.Worse || !strings.Contains(v.Why, "high to critical") {
		t.Errorf("verdict %+v; want worse", v)
	}
}

func TestMetricIsShownBeforeAndAfter(t *testing.T) {
	v := one(t, play(t, func(s *scene) {
		s.goneAt = s.start.Add(5 * time.Minute)
		disk := func(device string, before, after float64) ops.Series {
			out := ops.Series{SeriesID: ops.SeriesID{Resource: "r1", Metric: "disk", Labels: map[string]string{"device": device}}}
			for m := -8; m <= 8; m++ {
				value := before
				if m > 0 {
					value = after
				}
				out.Points = append(out.Points, ops.Point{At: s.start.Add(time.Duration(m)*time.Minute - time.Second), Value: value})
			}
			return out
		}
		s.series = []ops.Series{disk("aaa", 1, 2), disk("sda", 95, 40)}
	}))
	if v.Before != "disk: mean 95, min 95, max 95 (8 points)" || v.After != "disk: mean 40, min 40, max 40 (6 points)" {
		t.Errorf("before %q, after %q", v.Before, v.After)
	}
}

func TestNoDataIsInconclusive(t *testing.T) {
	if v := one(t, play(t, func(s *scene) { s.unknown = true })); v.Word != ops.Inconclusive {
		t.Errorf("verdict %+v; want inconclusive", v)
	}
	if v := one(t, play(t, func(s *scene) { s.change.Trigger.Stateless = true })); v.Word != ops.Inconclusive {
		t.Errorf("verdict on a sender that never resolves: %+v; want inconclusive", v)
	}
	v := one(t, play(t, func(s *scene) { s.change.Trigger, s.change.IncidentID = nil, "" }))
	if v.Word != ops.Inconclusive || v.Waited > time.Minute {
		t.Errorf("verdict on a change without a cause: %+v; want inconclusive at once", v)
	}
}

func TestNoVerdictAfterTheChangeEnded(t *testing.T) {
	verdicts := play(t, func(s *scene) {
		s.tellAt(5*time.Minute, ops.ChangeEndedBody{Change: ops.Change{ID: "c1"}})
	})
	if len(verdicts) != 0 {
		t.Errorf("verdicts %+v on a change that a person had closed", verdicts)
	}
}
