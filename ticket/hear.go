package ticket

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// hear takes a fact into account: tickets are wanted, fields asked for, notes queued.
func (r *Room) hear(ctx context.Context, tx db.Tx, f ops.Fact) error {
	n, err := r.read(ctx, f)
	if err != nil {
		return err
	}
	if n.change != nil {
		if err := r.wantChange(ctx, tx, f, *n.change, n.notes); err != nil {
			return err
		}
	}
	if n.incident == nil {
		if n.incidentID == "" {
			return nil // a change that no incident asked for
		}
		return r.tell(ctx, tx, f, n, ops.IncidentSubject(n.incidentID))
	}
	return r.want(ctx, tx, f, n)
}

// want makes the tickets of an incident be there and ask for what it is.
func (r *Room) want(ctx context.Context, tx db.Tx, f ops.Fact, n news) error {
	i := *n.incident
	tickets, err := r.Store.TicketsAboutIn(ctx, tx, i.Subject())
	if err != nil {
		return err
	}
	here := map[string]bool{}
	for _, t := range tickets {
		here[t.Platform] = true
		team := r.team(i, t.Platform)
		ask(&t, r.asks(i, team, n.why, t.Work.Asked), r.now(), n.via == t.Platform)
		notes := n.notes
		if i.Muted != t.Work.Muted {
			notes = append(notes[:len(notes):len(notes)], mutedNote(i, t.Work.Muted))
			t.Work.Muted = i.Muted
		}
		if n.via == t.Platform {
			notes = nil
		}
		if err := r.save(ctx, tx, &t, f, notes); err != nil {
			return err
		}
	}
	if i.Muted != "" {
		return nil // maintenance disturbs nobody; the fact that ends the muting comes back here
	}
	opens := f.Kind == ops.IncidentOpened || f.Kind == ops.IncidentGrew || f.Kind == ops.IncidentReopenedFact
	if !opens && (len(tickets) > 0 || !i.State.Open()) {
		return nil
	}
	for _, route := range r.routes(ctx, i) {
		if here[route.Platform] {
			continue
		}
		here[route.Platform] = true
		kind := route.Kind
		if kind == "" {
			kind = ops.TicketIncident
		}
		asked := r.asks(i, route.Team, n.why, ops.TicketFields{})
		t := ops.Ticket{
			Kind: kind, Platform: route.Platform, Key: Key(r.Installation, route.Platform, kind, i.Subject()), Subject: i.Subject(),
			Want: asked, Sync: ops.SyncPending, Work: ops.TicketWork{Asked: asked, WantAt: r.now(), Muted: i.Muted},
		}
		// What happened so far is in the description, written when it is opened.
		if err := r.save(ctx, tx, &t, f, nil); err != nil {
			return err
		}
	}
	return nil
}

// tell queues notes on the tickets of a record.
func (r *Room) tell(ctx context.Context, tx db.Tx, f ops.Fact, n news, subject string) error {
	tickets, err := r.Store.TicketsAboutIn(ctx, tx, subject)
	if err != nil {
		return err
	}
	for _, t := range tickets {
		if n.via == t.Platform {
			continue
		}
		if err := r.save(ctx, tx, &t, f, n.notes); err != nil {
			return err
		}
	}
	return nil
}

// save writes a ticket with new notes and queues it unless it is queued
// already or its platform shows everything.
func (r *Room) save(ctx context.Context, tx db.Tx, t *ops.Ticket, f ops.Fact, notes []ops.Note) error {
	if t.ID == "" {
		if err := r.Store.SaveTicket(ctx, tx, t); err != nil {
			return err
		}
	}
	fresh := false
	for i, n := range notes {
		n.ID = f.ID
		if i > 0 {
			n.ID = fmt.Sprintf("%s-%d", f.ID, i+1)
		}
		if n.At.IsZero() {
			n.At = f.At
		}
		if n.Author == "" {
			n.Author = f.Principal
		}
		added, err := r.Store.AddNote(ctx, tx, ops.TicketNote{Note: n, TicketID: t.ID, State: ops.NoteWaiting})
		if err != nil {
			return err
		}
		fresh = fresh || added
	}
	return r.queue(ctx, tx, t, f.ID, fresh)
}

// queue saves a ticket and, when it goes from clean to dirty, queues the
// command that makes its platform equal.
func (r *Room) queue(ctx context.Context, tx db.Tx, t *ops.Ticket, cause string, notes bool) error {
	p := r.platforms[t.Platform]
	start := false
	if !t.Work.Dirty && p != nil && (t.Ref == "" || notes || len(p.missing(*t)) > 0 || p.waits(*t)) {
		t.Work.Dirty, start = true, true
		if t.Sync != ops.SyncConflict {
			t.Sync = ops.SyncPending
		}
	}
	if err := r.Store.SaveTicket(ctx, tx, t); err != nil {
		return err
	}
	if !start {
		return nil
	}
	c := ops.NewCommand(ops.SyncTicket, t.Subject, ops.SyncTicketBody{TicketID: t.ID})
	c.Cause = cause
	return r.Jobs.Enqueue(ctx, tx, c)
}

// routes returns the routes an incident takes: the first match of each
// platform, and the desk when there is none.
func (r *Room) routes(ctx context.Context, i ops.Incident) []Route {
	var out []Route
	taken := map[string]bool{}
	for n, route := range r.Routes {
		if taken[route.Platform] || isChangeKind(route.Kind) {
			continue
		}
		match := route.Match == ""
		if !match {
			var err error
			if match, err = r.Match(route.Match, i); err != nil {
				r.Log.LogAttrs(ctx, slog.LevelError, "route failed", slog.Int("route", n), slog.String("incident_id", i.ID), slog.Any("error", err))
			}
		}
		if match {
			taken[route.Platform] = true
			out = append(out, route)
		}
	}
	if len(out) == 0 {
		out = append(out, Route{Platform: DefaultPlatform, Kind: ops.TicketIncident})
	}
	return out
}

// team returns the team a platform's route gives an incident without one.
func (r *Room) team(i ops.Incident, platform string) string {
	for _, route := range r.Routes {
		if route.Platform == platform && route.Team != "" && !isChangeKind(route.Kind) {
			return route.Team
		}
	}
	return i.Team
}

// changeKnown returns a change as it is known, the zero one when it is gone.
func (r *Room) changeKnown(ctx context.Context, id string) (ops.Change, error) {
	c, err := r.Ask.Change(ctx, id)
	if errors.Is(err, ops.ErrNotFound) {
		return ops.Change{}, nil
	}
	if err != nil {
		return ops.Change{}, fmt.Errorf("ticket: ask for change %s: %w", id, err)
	}
	return c, nil
}

func mutedNote(i ops.Incident, before string) ops.Note {
	if i.Muted == "" {
		return ops.Note{Text: fmt.Sprintf("Maintenance window %s is over: this incident is no longer muted.", before)}
	}
	return ops.Note{Text: fmt.Sprintf("In maintenance window %s: this incident is muted until it ends.", i.Muted)}
}

// lines joins the lines that are not empty.
func lines(parts ...string) string {
	var out []string
	for _, p := range parts {
		if strings.TrimSpace(p) != "" {
			out = append(out, strings.TrimRight(p, " \n"))
		}
	}
	return strings.Join(out, "\n")
}
