package ticket

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

const (
	// callTime bounds one call to a platform.
	callTime = 30 * time.Second
	// rounds bounds how often one command looks, writes and looks again before
	// it lets others go first.
	rounds = 12
	// noteSettle is the least time to wait before looking for a note whose answer
	// was lost: the platform may still be at work on what a process that died, or
	// another one, has sent.
	noteSettle = 5 * time.Second
	// deniedPause is how long a refused ticket waits: a person must mend rights
	// or credentials, and nobody tells us when.
	deniedPause = time.Minute
)

// sync carries out SyncTicket: it makes one platform show what one ticket wants.
func (r *Room) sync(ctx context.Context, c ops.Command) error {
	body, err := ops.CommandBody[ops.SyncTicketBody](c)
	if err != nil {
		return err
	}
	t, err := r.Store.Ticket(ctx, body.TicketID)
	if err != nil {
		return fmt.Errorf("ticket: %w", err)
	}
	p := r.platforms[t.Platform]
	if p == nil {
		err := fmt.Errorf("ticket: platform %s is no longer under platforms: %w", t.Platform, ops.ErrStalled)
		return r.trouble(ctx, nil, t, c.Cause, err)
	}
	leave, err := p.gate.enter(ctx, r.now())
	if err != nil {
		return snoozed(r.trouble(ctx, p, t, c.Cause, err))
	}
	defer leave()
	tried, err := r.equalise(ctx, p, body.TicketID, c.Cause)
	if err == nil {
		return nil
	}
	return snoozed(r.trouble(ctx, p, tried, c.Cause, err))
}

// equalise goes round until the platform shows what is wanted. It returns the
// ticket it was at.
func (r *Room) equalise(ctx context.Context, p *platform, id, cause string) (ops.Ticket, error) {
	var refused error // what the platform does not take; notes go out all the same
	asked := false    // a request for approval was refused
	for range rounds {
		t, err := r.Store.Ticket(ctx, id)
		if err != nil {
			return t, err
		}
		notes, err := r.Store.NotesOut(ctx, id)
		if err != nil {
			return t, err
		}
		fields := p.missing(t)
		if refused != nil || t.Sync == ops.SyncConflict {
			fields = nil
		}
		stuck := refused != nil && mustWithdraw(t)
		switch {
		case t.Ref == "":
			err = r.open(ctx, p, t, cause)
		case mustWithdraw(t) && !stuck:
			err = r.withdraw(ctx, p, t, cause)
			if errors.Is(err, ops.ErrInvalid) {
				refused, err = err, nil // the new plan must not stand there while the old one can be approved
			}
		case len(p.dueTasks(t, true)) > 0 && !stuck:
			err = r.tasks(ctx, p, t, p.dueTasks(t, true)) // an open one may hold up the end of its ticket
		case len(fields) > 0:
			err = r.write(ctx, p, t, fields, cause)
			if errors.Is(err, ops.ErrInvalid) {
				refused, err = err, r.explainStay(ctx, t)
			}
		case len(p.dueTasks(t, false)) > 0 && !stuck:
			err = r.tasks(ctx, p, t, p.dueTasks(t, false))
		case p.mustAttach(t):
			err = r.attach(ctx, p, t)
		case len(notes) > 0:
			err = r.deliver(ctx, p, t, notes, cause)
		case mustRequest(t) && !stuck && !asked:
			err = r.request(ctx, p, t, cause)
			if errors.Is(err, ops.ErrInvalid) {
				refused, asked, err = err, true, nil
			}
		case refused != nil:
			return t, refused
		case p.mustCompare(t):
			err = r.compare(ctx, p, t, cause)
		default:
			done, err := r.finish(ctx, p, id)
			if done || err != nil {
				return t, err
			}
		}
		if err != nil && !errors.Is(err, ops.ErrConflict) {
			return t, err
		}
		if err != nil && !errors.As(err, new(*moved)) {
			// The platform's copy is not the one we knew.
			if err := r.look(ctx, p, id, cause, nil, 0); err != nil {
				return t, err
			}
		}
	}
	t, err := r.Store.Ticket(ctx, id)
	return t, errors.Join(err, &later{time.Second, "the ticket keeps changing"})
}

// moved tells that the ticket's row is not as it was read; reading again helps.
type moved struct{ error }

func (m *moved) Unwrap() error { return m.error }

// turn runs f on a ticket whose turn is still the one given, and takes the
// next turn. Want may have changed since; Seen has not.
func (r *Room) turn(ctx context.Context, id string, turn int64, f func(tx db.Tx, t *ops.Ticket) error) error {
	return r.DB.Write(ctx, func(tx db.Tx) error {
		t, err := r.Store.TicketIn(ctx, tx, id)
		if err != nil {
			return err
		}
		if t.Work.Turn != turn {
			return &moved{fmt.Errorf("ticket %s is at turn %d, not %d: %w", id, t.Work.Turn, turn, ops.ErrConflict)}
		}
		t.Work.Turn++
		if err := f(tx, &t); err != nil {
			return err
		}
		return r.Store.SaveTicket(ctx, tx, &t)
	})
}

// finish marks a ticket clean, unless something came in meanwhile.
func (r *Room) finish(ctx context.Context, p *platform, id string) (done bool, err error) {
	err = r.DB.Write(ctx, func(tx db.Tx) error {
		done = false
		t, err := r.Store.TicketIn(ctx, tx, id)
		if err != nil {
			return err
		}
		notes, err := r.Store.NotesOutIn(ctx, tx, id)
		if err != nil {
			return err
		}
		differs := len(p.missing(t)) > 0
		if len(notes) > 0 || p.waits(t) || differs && t.Sync != ops.SyncConflict {
			return nil
		}
		done = true
		t.Work.Dirty, t.Work.Troubled = false, ""
		if !differs {
			t.Sync, t.SyncNote = ops.SyncOK, ""
		}
		return r.Store.SaveTicket(ctx, tx, &t)
	})
	return done, err
}

// call bounds one call to the platform and takes its result into account for
// the platform's other tickets.
func (r *Room) call(ctx context.Context, p *platform, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err := do(ctx)
	p.gate.note(r.now(), err)
	return err
}

func unknown(err error) bool { return errors.As(err, new(*ops.UnknownOutcome)) }

// open makes the ticket exist on the platform, once.
func (r *Room) open(ctx context.Context, p *platform, t ops.Ticket, cause string) error {
	settle, careful := p.Conn.SettleTime(t.Kind)
	lost := !t.Work.CreateSentAt.IsZero() // an earlier create was never answered
	if lost && careful {
		if wait := t.Work.CreateSentAt.Add(settle).Sub(r.now()); wait > 0 {
			return &later{wait, "an earlier create was not answered; looking for it when it must be visible"}
		}
		var found []connector.Copy
		err := r.call(ctx, p, func(ctx context.Context) (err error) { found, err = p.Conn.Find(ctx, t.Key); return err })
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return r.adopt(ctx, p, t, found[0], cause, true)
		}
	}
	text := t.Want.Description
	if text == "" {
		var err error
		if text, err = r.describe(ctx, strings.TrimPrefix(t.Subject, "incident/")); err != nil {
			return err
		}
	}
	var want ops.TicketFields
	err := r.turn(ctx, t.ID, t.Work.Turn, func(tx db.Tx, row *ops.Ticket) error {
		row.Want.Description = text
		row.Work.CreateSentAt, row.Work.Sent = r.now(), row.Want
		want = row.Want
		return nil
	})
	if err != nil {
		return err
	}
	t.Work.Turn++
	var made connector.Copy
	err = r.call(ctx, p, func(ctx context.Context) (err error) {
		made, err = p.Conn.Create(ctx, t.Key, t.Kind, want)
		return err
	})
	switch {
	case err == nil:
		return r.adopt(ctx, p, t, made, cause, lost)
	case !unknown(err):
		// It was refused, so the next attempt need not look for it.
		undo := r.turn(ctx, t.ID, t.Work.Turn, func(_ db.Tx, row *ops.Ticket) error {
			if !lost {
				row.Work.CreateSentAt = time.Time{}
			}
			return nil
		})
		return errors.Join(err, undo)
	}
	if careful {
		if e := r.auditAt(ctx, p, r.now().Add(2*settle+time.Minute), cause); e != nil {
			return errors.Join(err, e)
		}
	}
	return err
}

// adopt takes the platform's ticket as ours. found tells that an earlier
// create may have made it: what differs from what we sent is then an edit.
func (r *Room) adopt(ctx context.Context, p *platform, t ops.Ticket, c connector.Copy, cause string, found bool) error {
	return r.turn(ctx, t.ID, t.Work.Turn, func(tx db.Tx, row *ops.Ticket) error {
		row.Ref, row.Display, row.URL = c.Ref, c.Display, c.URL
		row.Work.CreateSentAt, row.Work.Troubled, row.SyncNote = time.Time{}, "", ""
		row.Sync = ops.SyncPending
		f := ops.NewFact(row.Subject, r.now(), ops.SystemPrincipal, cause, ops.TicketOpenedBody{
			TicketID: row.ID, Platform: row.Platform, Ref: c.Ref, Display: c.Display, URL: c.URL, Found: found,
		})
		if _, err := r.Store.Tell(ctx, tx, f); err != nil {
			return err
		}
		if !found || c.Own {
			row.Seen, row.Work.SeenVersion, row.SeenAt, row.Work.Sent = c.Fields, c.Version, r.now(), ops.TicketFields{}
			return nil
		}
		row.Seen = p.Conn.Normal(row.Work.Sent, c.Fields)
		return r.see(ctx, tx, p, row, c, cause, nil)
	})
}

// write writes fields over the copy we have seen.
func (r *Room) write(ctx context.Context, p *platform, t ops.Ticket, fields []connector.Field, cause string) error {
	var want ops.TicketFields
	err := r.turn(ctx, t.ID, t.Work.Turn, func(_ db.Tx, row *ops.Ticket) error {
		if mustWithdraw(*row) || len(p.dueTasks(*row, true)) > 0 {
			return &moved{fmt.Errorf("ticket %s heard what comes before its fields: %w", row.ID, ops.ErrConflict)}
		}
		want = row.Want
		fields = p.missing(*row)
		r.mayComeLate(row, slices.DeleteFunc(unlike(row.Work.Sent, want), func(f connector.Field) bool { return !slices.Contains(fields, f) }))
		row.Work.Sent = connector.Overlay(row.Work.Sent, want, fields)
		if over(want.State) {
			row.Work.Sent = connector.Overlay(row.Work.Sent, want, []connector.Field{connector.ResolveCode, connector.ResolveNote})
		}
		return nil
	})
	if err != nil || len(fields) == 0 {
		return err
	}
	t.Work.Turn++
	var c connector.Copy
	err = r.call(ctx, p, func(ctx context.Context) (err error) {
		c, err = p.Conn.Update(ctx, t.Ref, connector.Edit{Want: want, Changed: fields, Version: t.Work.SeenVersion})
		return err
	})
	if err != nil {
		return err
	}
	if err := r.observe(ctx, p, t.ID, t.Work.Turn, c, cause, fields, 0); err != nil {
		return err
	}
	// Success is the state read again, not the answer. Somebody else may have
	// been faster than our reading; what we wrote and still see otherwise with
	// nobody else in between, the platform does not take.
	if c.Own {
		normal := p.Conn.Normal(want, c.Fields)
		for _, f := range connector.Diff(normal, c.Fields) {
			if slices.Contains(fields, f) {
				return fmt.Errorf("ticket: %s shows %s %q after %q was written; correct the field's mapping or the platform's rule: %w",
					t.Display, f, connector.Value(c.Fields, f), connector.Value(normal, f), ops.ErrInvalid)
			}
		}
	}
	return nil
}

// deliver appends notes in their order, each once.
func (r *Room) deliver(ctx context.Context, p *platform, t ops.Ticket, notes []ops.TicketNote, cause string) error {
	out := 0
	mark := func(n *ops.TicketNote, state ops.NoteState) error {
		next := *n
		next.State = state
		if state == ops.NoteSending {
			next.SentAt = r.now()
		}
		err := r.DB.Write(ctx, func(tx db.Tx) error {
			err := r.Store.MoveNote(ctx, tx, *n, next)
			if errors.Is(err, ops.ErrConflict) {
				return &moved{err}
			}
			if err != nil || state != ops.NoteDelivered {
				return err
			}
			row, err := r.Store.TicketIn(ctx, tx, t.ID)
			if err != nil {
				return err
			}
			row.NotesOut++
			return r.Store.SaveTicket(ctx, tx, &row)
		})
		if err == nil {
			*n = next
		}
		return err
	}
	for _, n := range notes {
		if n.State == ops.NoteSending {
			arrived, err := r.arrived(ctx, p, t, n)
			if err != nil {
				return err
			}
			if arrived {
				if err := mark(&n, ops.NoteDelivered); err != nil {
					return err
				}
				out++
				continue
			}
		}
		if err := r.unseen(ctx, p, t); err != nil {
			return err
		}
		if err := mark(&n, ops.NoteSending); err != nil {
			return err
		}
		err := r.call(ctx, p, func(ctx context.Context) error { return p.Conn.AddNote(ctx, t.Ref, n.Note) })
		if err != nil {
			if !unknown(err) {
				err = errors.Join(err, mark(&n, ops.NoteWaiting))
			}
			return err
		}
		if err := mark(&n, ops.NoteDelivered); err != nil {
			return err
		}
		out++
	}
	return r.look(ctx, p, t.ID, cause, nil, out)
}

// unseen returns ErrConflict when somebody has edited a ticket of a change since
// we looked. Notes and files carry no version, and what is written over an edit
// makes us its last writer: who gave a window would be known to nobody.
func (r *Room) unseen(ctx context.Context, p *platform, t ops.Ticket) error {
	if !isChangeKind(t.Kind) {
		return nil
	}
	var c connector.Copy
	err := r.call(ctx, p, func(ctx context.Context) (err error) { c, err = p.Conn.Get(ctx, t.Ref); return err })
	if err == nil && !c.Own && c.Version != t.Work.SeenVersion {
		err = fmt.Errorf("ticket: %s was edited by %s and not yet read: %w", t.Display, c.UpdatedBy, ops.ErrConflict)
	}
	return err
}

// arrived looks whether a note whose answer was lost is there.
func (r *Room) arrived(ctx context.Context, p *platform, t ops.Ticket, n ops.TicketNote) (bool, error) {
	settle, _ := p.Conn.SettleTime(t.Kind)
	if wait := n.SentAt.Add(max(settle, noteSettle)).Sub(r.now()); wait > 0 {
		return false, &later{wait, "a note was not answered; looking for it when it must be visible"}
	}
	var c connector.Copy
	err := r.call(ctx, p, func(ctx context.Context) (err error) { c, err = p.Conn.Get(ctx, t.Ref); return err })
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(c.Notes, func(x connector.Note) bool { return x.Own && x.ID == n.ID }), nil
}

// trouble notes why a ticket could not be made equal, tells people once, and
// returns what the queue shall do.
func (r *Room) trouble(ctx context.Context, p *platform, tried ops.Ticket, cause string, err error) error {
	var wait *later
	if errors.As(err, &wait) {
		return err
	}
	if ctx.Err() != nil {
		// A slow platform used up the command's time. That is the platform's
		// trouble: the queue's own pauses grow far beyond its return.
		if p != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && (errors.Is(err, ops.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)) {
			return &later{max(p.gate.paused(r.now()), firstPause), "the platform is slower than a command may take"}
		}
		return err
	}
	class := ops.Class(err)
	var ends bool
	again := error(nil)
	state := ops.SyncFailed
	is := func(classes ...error) bool {
		return slices.ContainsFunc(classes, func(c error) bool { return errors.Is(class, c) })
	}
	switch {
	case is(ops.ErrThrottled, ops.ErrUnavailable):
		state = ops.SyncUnknown
		pause := firstPause
		if p != nil {
			pause = max(p.gate.paused(r.now()), time.Millisecond)
		}
		again = &later{pause, class.Error()}
	case is(ops.ErrDenied):
		again = &later{deniedPause, class.Error()}
	case is(ops.ErrInvalid, ops.ErrNotFound, ops.ErrStalled):
		ends = true
	default:
		return err
	}
	e := r.DB.Write(ctx, func(tx db.Tx) error {
		t, e := r.Store.TicketIn(ctx, tx, tried.ID)
		if e != nil {
			return e
		}
		if ends {
			if len(connector.Diff(t.Want, tried.Want)) > 0 {
				again = &later{time.Millisecond, "what is wanted has changed meanwhile"}
			} else {
				t.Work.Dirty = false
			}
		}
		t.Sync, t.SyncNote = state, err.Error()
		if is(ops.ErrNotFound) && t.Ref != "" {
			t.SyncNote = fmt.Sprintf("%s is no longer on %s: deleted there, merged, or hidden from Fettle's user. It is not opened again. %s", t.Display, t.Platform, t.SyncNote)
		}
		if t.Work.Troubled != class.Error() && !is(ops.ErrThrottled) {
			t.Work.Troubled = class.Error()
			f := ops.NewFact(t.Subject, r.now(), ops.SystemPrincipal, cause, ops.TicketTroubledBody{
				TicketID: t.ID, Platform: t.Platform, Class: class.Error(), Error: err.Error(),
			})
			if _, e := r.Store.Tell(ctx, tx, f); e != nil {
				return e
			}
		}
		return r.Store.SaveTicket(ctx, tx, &t)
	})
	if e != nil {
		return errors.Join(err, e)
	}
	if again != nil {
		return again
	}
	return err
}
