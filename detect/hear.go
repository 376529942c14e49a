package detect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// Asks is what the room asks others.
type Asks interface {
	// Resource returns a resource by id.
	Resource(ctx context.Context, id string) (ops.Resource, error)
	// Change returns a change by id.
	Change(ctx context.Context, id string) (ops.Change, error)
	// Spans returns the maintenance windows about a resource that are open at
	// some time in [from, to).
	Spans(ctx context.Context, r ops.Resource, from, to time.Time) []ops.Occurrence
}

// Register hears the facts that bear on learning and registers periodic work.
//
// What is not to be learned (an open incident, a change that is carried out, a
// maintenance window) is a record in the sample log: it holds from its place
// on, for every replay too. A hold ends HoldAtMost after it began at the
// latest, reopened or not, so that what lasts is learned in the end. A change
// holds while it runs and is verified, since only then is it known whether it
// is rolled back.
func (p *Pipeline) Register(r job.Registrar) {
	for _, kind := range ops.Heard("detect") {
		r.Hear("detect", kind, p.hear)
	}
	r.Handle(ops.HoldLearning, p.holdLearning)
	r.Every("detect.windows", time.Minute, p.holdWindows)
	r.Every("detect.retain", time.Hour, p.Retain)
}

// hear orders the hold that follows from a fact. The log is another database,
// so the order is carried out after the commit.
func (p *Pipeline) hear(ctx context.Context, tx db.Tx, f ops.Fact) error {
	body, ok, err := heard(f)
	if err != nil || !ok {
		return err
	}
	most := p.HoldAtMost.Milliseconds()
	if body.Hold.From+most < p.Clock().UnixMilli() && body.Hold.To == 0 {
		return nil // over before it is told, as when facts of long ago are heard for the first time
	}
	if to := body.Hold.From + most; body.Hold.To == 0 || body.Hold.To > to {
		body.Hold.To = to
	}
	c := ops.NewCommand(ops.HoldLearning, f.Subject, body)
	c.Cause = f.ID
	return p.Jobs.Enqueue(ctx, tx, c)
}

// holdBody orders a hold. The aliases of the resource, or of the change's, are
// looked up when it is carried out.
type holdBody struct {
	Hold       hold   `json:"hold"`
	ResourceID string `json:"resource_id,omitempty"`
	ChangeID   string `json:"change_id,omitempty"`
	Over       bool   `json:"over,omitempty"` // it ends an earlier version
}

// heard says what a fact holds, with To zero while it lasts.
func heard(f ops.Fact) (holdBody, bool, error) {
	incident := func(i ops.Incident, alerts []ops.Alert, over time.Time) holdBody {
		h := hold{ID: f.Subject, Version: f.Seq, From: i.OpenedAt.UnixMilli(), Why: i.Key() + " is open", Key: i.Key()}
		for _, a := range alerts {
			h.Aliases = append(h.Aliases, a.Resource.Aliases...)
		}
		if !over.IsZero() {
			h.To = over.UnixMilli()
		}
		return holdBody{Hold: h, ResourceID: i.ResourceID, Over: !over.IsZero()}
	}
	switch f.Kind {
	case ops.IncidentOpened:
		b, err := ops.Body[ops.IncidentOpenedBody](f)
		return incident(b.Incident, b.Alerts, time.Time{}), true, err
	case ops.IncidentReopenedFact:
		b, err := ops.Body[ops.IncidentReopenedBody](f)
		return incident(b.Incident, b.Alerts, time.Time{}), true, err
	case ops.IncidentResolvedFact:
		b, err := ops.Body[ops.IncidentResolvedBody](f)
		return incident(b.Incident, nil, f.At), true, err
	case ops.IncidentMoved:
		b, err := ops.Body[ops.IncidentMovedBody](f)
		return incident(b.Incident, nil, f.At), !b.Incident.State.Open(), err
	case ops.RunStarted:
		b, err := ops.Body[ops.RunStartedBody](f)
		h := hold{ID: f.Subject, Version: f.Seq, From: b.Run.StartedAt.UnixMilli(), Why: "a change is carried out"}
		if b.Run.StartedAt.IsZero() {
			h.From = f.At.UnixMilli()
		}
		return holdBody{Hold: h, ChangeID: b.Run.ChangeID}, true, err
	case ops.RunMoved:
		b, err := ops.Body[ops.RunMovedBody](f)
		return changeOver(f, b.Change), err == nil && b.Change.Run != nil && b.Change.Run.State.Final(), err
	case ops.ChangeEnded:
		b, err := ops.Body[ops.ChangeEndedBody](f)
		return changeOver(f, b.Change), err == nil && b.Change.Run != nil, err
	}
	return holdBody{}, false, nil
}

func changeOver(f ops.Fact, c ops.Change) holdBody {
	h := hold{ID: f.Subject, Version: f.Seq, To: f.At.UnixMilli(), Why: c.Key() + " was carried out", Key: c.Key()}
	if c.Run != nil {
		h.From = c.Run.StartedAt.UnixMilli()
		if !c.Run.FinishedAt.IsZero() {
			h.To = c.Run.FinishedAt.UnixMilli()
		}
	}
	return holdBody{Hold: h, ResourceID: c.ResourceID, Over: true}
}

// holdLearning carries out an order: it tells the sample log.
func (p *Pipeline) holdLearning(ctx context.Context, c ops.Command) error {
	b, err := ops.CommandBody[holdBody](c)
	if err != nil {
		return err
	}
	if b.ChangeID != "" {
		x, err := p.Asks.Change(ctx, b.ChangeID)
		if err != nil {
			return fmt.Errorf("detect: hold for a change: %w", err)
		}
		b.ResourceID, b.Hold.Why, b.Hold.Key = x.ResourceID, x.Key()+" is carried out", x.Key()
	}
	if b.ResourceID != "" {
		r, err := p.Asks.Resource(ctx, b.ResourceID)
		if err != nil {
			return fmt.Errorf("detect: hold for a resource: %w", err)
		}
		b.Hold.Aliases = append(b.Hold.Aliases, r.Aliases...)
	}
	if !b.Over && !slices.ContainsFunc(b.Hold.Aliases, func(a string) bool { return strings.HasPrefix(a, "host:") }) {
		return nil // entities are known by host names alone
	}
	return p.hold(ctx, b.Hold, fmt.Sprintf("hold/%s/%d", b.Hold.ID, b.Hold.Version))
}

// hold tells the sample log a hold, once for each dedupe.
func (p *Pipeline) hold(ctx context.Context, h hold, dedupe string) error {
	slices.Sort(h.Aliases)
	h.Aliases = slices.DeleteFunc(slices.Compact(h.Aliases), func(a string) bool { return !strings.HasPrefix(a, "host:") })
	body, err := json.Marshal(note{Hold: &h})
	if err != nil {
		return fmt.Errorf("detect: encode a hold: %w", err)
	}
	if _, err := p.Log.Append(ctx, series.Record{Kind: series.Hold, Dedupe: dedupe, Body: body}); err != nil {
		return fmt.Errorf("detect: tell the sample log a hold: %w", err)
	}
	return nil
}

// holdWindows holds what maintenance windows are about that are open now, or
// open before it runs again.
func (p *Pipeline) holdWindows(ctx context.Context) error {
	all, err := p.Series(ctx, SeriesFilter{})
	if err != nil {
		return err
	}
	now := p.Clock()
	open := map[string]*hold{}
	for _, w := range all {
		r := ops.Resource{Kind: "host", Name: hostOf(w.Entity), Aliases: []string{aliasOf(w.Entity)}, Labels: labelsOf(w.Group, w.Entity)}
		for _, o := range p.Asks.Spans(ctx, r, now, now.Add(2*time.Minute)) {
			id := fmt.Sprintf("window/%s/%d", o.Window, o.Start.UnixMilli())
			h := open[id]
			if h == nil {
				h = &hold{
					ID: id, Version: now.UnixMilli(), From: o.Start.UnixMilli(), To: min(o.End.UnixMilli(), o.Start.Add(p.HoldAtMost).UnixMilli()),
					Why: "maintenance window " + o.Window,
				}
				open[id] = h
			}
			h.Aliases = append(h.Aliases, r.Aliases...)
		}
	}
	for _, id := range sortedKeys(open) {
		h := open[id]
		slices.Sort(h.Aliases)
		sum := sha256.New()
		for _, a := range h.Aliases {
			sum.Write([]byte(a + "\x00"))
		}
		if err := p.hold(ctx, *h, id+"/"+hex.EncodeToString(sum.Sum(nil)[:8])); err != nil {
			return err
		}
	}
	return nil
}

// labelsOf are the labels anomalies of an entity carry, which windows may ask
// for.
func labelsOf(group, entity string) map[string]string {
	return map[string]string{"group": group, "entity": entity, "instance": entity}
}
