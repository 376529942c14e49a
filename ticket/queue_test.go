package ticket_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/desk"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
	"github.com/fettleops/fettle/ticket"
)

// On the real queue, with every kind of lost answer on the way, each incident
// ends with one ticket that shows what the incident is.
func TestOnTheRealQueue(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := schema.Open(t)
	st := store.New(d, time.Now)
	log := slog.New(slog.DiscardHandler)
	q, err := job.Open(ctx, d, st, job.Options{Clock: time.Now, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	env := connector.Env{Name: "desk", Clock: time.Now, Records: st.Records("platform/desk")}
	inner, err := desk.Open(ctx, desk.Config{}, env)
	if err != nil {
		t.Fatal(err)
	}
	faulty := &connectortest.Faulty{Platform: inner}
	lost := connectortest.Fault{Err: connectortest.Unknown(), After: true}
	faulty.Next("create", lost)
	faulty.Next("update", lost)
	faulty.Next("add_note", lost)
	h := &house{T: t, db: d, store: st, incidents: map[string]ops.Incident{}, members: map[string][]ops.Member{}}
	room, err := ticket.New(ticket.Options{
		Installation: "test", Clock: time.Now, Log: log, DB: d, Store: st, Cursors: st.Records("ticket"), Ask: h, Jobs: q,
		Platforms: []ticket.Platform{{Conn: connector.Wrap("desk", faulty, env)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	room.Register(q)
	var all []ops.Incident
	for n := range 20 {
		i := ops.Incident{ID: fmt.Sprintf("i%d", n), Number: int64(n + 1), Title: "high-cpu", Severity: ops.High, State: ops.IncidentNew, Firing: 1, Total: 1, OpenedAt: time.Now()}
		h.incidents[i.ID] = i
		all = append(all, i)
	}
	if err := q.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Stop(context.Background()) })
	for _, i := range all {
		h.tell(i.Subject(), ops.IncidentOpenedBody{Incident: i, Why: "first"})
		worse := i
		worse.Severity = ops.Critical
		h.tell(i.Subject(), ops.IncidentGrewBody{Incident: worse, Was: i.Severity})
		worse.State = ops.IncidentResolved
		h.tell(i.Subject(), ops.IncidentResolvedBody{Incident: worse, Why: "over"})
	}
	q.Wake()
	equal := func() bool {
		for _, i := range all {
			ts, err := st.TicketsAbout(ctx, i.Subject())
			if err != nil {
				t.Fatal(err)
			}
			if len(ts) != 1 || ts[0].Sync != ops.SyncOK || ts[0].Want.State != string(ops.IncidentResolved) || ts[0].NotesOut != 2 {
				return false
			}
		}
		return true
	}
	for !equal() {
		select {
		case <-ctx.Done():
			for _, i := range all {
				ts, _ := st.TicketsAbout(context.Background(), i.Subject())
				t.Logf("%s: %+v", i.Key(), ts)
			}
			t.Fatal("the tickets never became equal")
		case <-time.After(20 * time.Millisecond):
		}
	}
	own, ok := inner.(*desk.Desk)
	if !ok {
		t.Fatalf("the desk is a %T", inner)
	}
	shown, err := own.List(ctx, 0, 1000)
	if err != nil || len(shown) != len(all) {
		t.Fatalf("%d tickets for %d incidents, %v", len(shown), len(all), err)
	}
	for _, c := range shown {
		got, err := own.Get(ctx, c.Ref)
		if err != nil || got.Fields.State != "resolved" || got.Fields.Severity != ops.Critical || len(got.Notes) != 2 {
			t.Errorf("%s shows %s %s with %d notes, %v", c.Ref, got.Fields.State, got.Fields.Severity, len(got.Notes), err)
		}
	}
}
