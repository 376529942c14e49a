package ticket

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// look reads a ticket from its platform and takes what it shows into account.
// wrote and notes are what we did there since the last look.
func (r *Room) look(ctx context.Context, p *platform, id, cause string, wrote []connector.Field, notes int) error {
	for range rounds {
		t, err := r.Store.Ticket(ctx, id)
		if err != nil {
			return err
		}
		var c connector.Copy
		err = r.call(ctx, p, func(ctx context.Context) (err error) { c, err = p.Conn.Get(ctx, t.Ref); return err })
		if err != nil {
			return err
		}
		err = r.observe(ctx, p, id, t.Work.Turn, c, cause, wrote, notes)
		if !errors.As(err, new(*moved)) {
			return err
		}
	}
	return &later{firstPause, "the ticket keeps changing"}
}

// observe takes a copy read in the given turn into account.
func (r *Room) observe(ctx context.Context, p *platform, id string, turn int64, c connector.Copy, cause string, wrote []connector.Field, notes int) error {
	return r.turn(ctx, id, turn, func(tx db.Tx, t *ops.Ticket) error {
		if err := r.see(ctx, tx, p, t, c, cause, wrote); err != nil {
			return err
		}
		if len(wrote) == 0 && notes == 0 {
			return nil
		}
		var names []string
		for _, f := range wrote {
			names = append(names, string(f))
		}
		_, err := r.Store.Tell(ctx, tx, ops.NewFact(t.Subject, r.now(), ops.SystemPrincipal, cause, ops.TicketUpdatedBody{
			TicketID: t.ID, Platform: t.Platform, Display: c.Display, Fields: names, Notes: notes,
		}))
		return err
	})
}

// see makes a copy the last seen one, tells what a person changed in it, and
// queues the ticket when the platform does not show what is wanted. wrote is
// what we wrote just before. The caller saves t.
func (r *Room) see(ctx context.Context, tx db.Tx, p *platform, t *ops.Ticket, c connector.Copy, cause string, wrote []connector.Field) error {
	want, sent := p.Conn.Normal(t.Want, t.Seen), p.Conn.Normal(t.Work.Sent, t.Seen)
	late := p.Conn.Normal(r.late(*t), t.Seen)
	body := ops.TicketEditedBody{TicketID: t.ID, Platform: t.Platform, Display: c.Display}
	conflict := false
	for _, f := range connector.Diff(c.Fields, t.Seen) {
		is, was := connector.Value(c.Fields, f), connector.Value(t.Seen, f)
		if same(c.Fields, want, f) || same(c.Fields, sent, f) && connector.Value(sent, f) != "" {
			continue // an echo, or what we want anyway
		}
		if c.Own && same(c.Fields, late, f) && connector.Value(late, f) != "" {
			continue // an echo that took its time
		}
		if c.Own && slices.Contains(wrote, f) {
			continue // the platform made something else of what we wrote
		}
		if c.Own && f == connector.State && requesting(*t) {
			continue // what our request did, read before its answer
		}
		body.Edits = append(body.Edits, ops.FieldEdit{Field: string(f), From: was, To: is})
		ours := connector.Value(t.Want, f) != ""
		theirs := true
		if ours && !same(want, t.Seen, f) {
			switch p.Conflict {
			case FettleWins:
				theirs = false
			case NewestWins:
				theirs = !c.UpdatedAt.Before(t.Work.WantAt)
			case Ask:
				conflict, theirs = true, false
			}
		}
		if f == connector.Plan || f == connector.State && planning(*t) && !ended(is) {
			// Which plan stands is never a person's to say, nor that it goes on
			// while it is planned: an approval that came meanwhile is told and void.
			theirs = false
		}
		if f == connector.State && t.Kind == ops.TicketChangeRequest && onTheWay(was, is, t.Want.State) {
			theirs = false // a late approval there moved it towards where its change is already
		}
		if theirs && ours {
			t.Want = connector.With(t.Want, f, is)
		}
		if theirs && f == connector.State && !isChangeKind(t.Kind) {
			body.State = ops.IncidentState(is)
		}
	}
	for _, n := range c.Notes {
		if n.Own || n.ID == "" {
			continue
		}
		fresh, err := r.Store.AddNote(ctx, tx, ops.TicketNote{Note: n.Note, TicketID: t.ID, State: ops.NoteRead})
		if err != nil {
			return err
		}
		if fresh {
			body.Notes = append(body.Notes, n.Note)
		}
	}
	// What we sent has arrived or is about to be sent again: from here on, a
	// person who sets the same value means it. What was not answered may come yet.
	r.mayComeLate(t, slices.DeleteFunc(unlike(sent, c.Fields), func(f connector.Field) bool { return slices.Contains(wrote, f) }))
	t.Work.Sent = ops.TicketFields{}
	t.Seen, t.Work.SeenVersion, t.SeenAt = c.Fields, c.Version, r.now()
	t.Display, t.URL = c.Display, c.URL
	complete(t)
	if conflict {
		t.Sync, t.SyncNote = ops.SyncConflict, fmt.Sprintf("changed here and there: %v; a person must decide which stands", fieldNames(body.Edits))
	}
	if isChangeKind(t.Kind) {
		if err := r.seenOfChange(ctx, tx, t, c, body.Edits, cause); err != nil {
			return err
		}
	}
	if len(body.Edits) > 0 || len(body.Notes) > 0 {
		if err := r.edited(ctx, tx, t, c, body, cause); err != nil {
			return err
		}
	}
	if len(p.missing(*t)) == 0 && !p.waits(*t) && !t.Work.Dirty {
		t.Sync, t.SyncNote, t.Work.Troubled = ops.SyncOK, "", ""
	}
	if t.Work.Dirty || t.Sync == ops.SyncConflict {
		return nil
	}
	// queue saves; the caller's save then writes over the version queue left.
	return r.queue(ctx, tx, t, cause, false)
}

// lateFor is how long a write without an answer may still come about in a
// platform: a call is given up after 20 seconds (app), and a busy platform carries
// out what it has begun to read.
const lateFor = 2 * time.Minute

// mayComeLate keeps what was sent of these fields and not answered, before
// something else is sent or nothing more is known of it.
func (r *Room) mayComeLate(t *ops.Ticket, fields []connector.Field) {
	if len(fields) > 0 {
		t.Work.Late, t.Work.LateUntil = connector.Overlay(r.late(*t), t.Work.Sent, fields), r.now().Add(lateFor)
	}
}

// late is what may still come about in a platform although it was sent before
// what is wanted.
func (r *Room) late(t ops.Ticket) ops.TicketFields {
	if !r.now().Before(t.Work.LateUntil) {
		return ops.TicketFields{}
	}
	return t.Work.Late
}

// unlike returns the fields of what was sent that a copy, or what is sent next,
// does not show.
func unlike(sent, shown ops.TicketFields) []connector.Field {
	return slices.DeleteFunc(connector.Diff(sent, shown), func(f connector.Field) bool { return connector.Value(sent, f) == "" })
}

// edited tells a person's edit.
func (r *Room) edited(ctx context.Context, tx db.Tx, t *ops.Ticket, c connector.Copy, body ops.TicketEditedBody, cause string) error {
	if !c.Own {
		body.By = c.UpdatedBy
	}
	if body.By == "" && len(body.Notes) > 0 {
		body.By = body.Notes[len(body.Notes)-1].Author
	}
	who := ops.Principal{Name: t.Platform + ":" + body.By}
	if body.By != "" {
		body.Person = r.Person(t.Platform, body.By)
	}
	if body.Person != "" {
		who.Name = body.Person
	}
	at := c.UpdatedAt
	if at.IsZero() {
		at = r.now()
	}
	_, err := r.Store.Tell(ctx, tx, ops.NewFact(t.Subject, at, who, cause, body))
	return err
}

// onTheWay tells that a move of a change request leads part of the way to the
// state that is wanted.
func onTheWay(from, to, want string) bool {
	place := func(s string) int { return slices.Index(ops.ChangeStates, ops.ChangeState(s)) }
	return ops.ChangeState(want) != ops.ChangeCancelled && place(from) >= 0 && place(from) < place(to) && place(to) < place(want)
}

func same(a, b ops.TicketFields, f connector.Field) bool {
	return !slices.Contains(connector.Diff(a, b), f)
}

func fieldNames(edits []ops.FieldEdit) []string {
	var out []string
	for _, e := range edits {
		out = append(out, e.Field)
	}
	return out
}

// Decide ends a conflict under the policy Ask: ours writes what Fettle wanted,
// otherwise what the platform shows stands.
func (r *Room) Decide(ctx context.Context, ticketID string, ours bool, by ops.Principal) error {
	return r.DB.Write(ctx, func(tx db.Tx) error {
		t, err := r.Store.TicketIn(ctx, tx, ticketID)
		if err != nil {
			return err
		}
		p := r.platforms[t.Platform]
		if t.Sync != ops.SyncConflict || p == nil {
			return fmt.Errorf("ticket %s on %s has no conflict to decide: %w", t.Display, t.Platform, ops.ErrConflict)
		}
		if err := by.Require(ops.MayWorkIncidents); err != nil {
			return err
		}
		t.Sync, t.SyncNote = ops.SyncPending, ""
		if !ours {
			t.Want = connector.Overlay(t.Want, t.Seen, p.missing(t))
			t.Sync = ops.SyncOK
		}
		return r.queue(ctx, tx, &t, "", false)
	})
}
