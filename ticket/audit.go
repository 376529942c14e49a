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
	// audited is how many tickets an audit reads from the database at once.
	audited = 200
	// auditBack is how long after we last saw a ticket an audit looks for its
	// doubles. A create whose answer was lost has an audit of its own, so this
	// only has to cover some days of that being impossible.
	auditBack = 3 * 24 * time.Hour
)

// auditCommand carries out AuditTickets.
func (r *Room) auditCommand(ctx context.Context, c ops.Command) error {
	return r.Audit(ctx, strings.TrimPrefix(c.Subject, "platform/"))
}

// auditAt queues an audit of a platform.
func (r *Room) auditAt(ctx context.Context, p *platform, at time.Time, cause string) error {
	c := ops.NewCommand(ops.AuditTickets, PlatformSubject(p.name), struct{}{})
	c.At, c.Cause = at, cause
	return r.DB.Write(ctx, func(tx db.Tx) error { return r.Jobs.Enqueue(ctx, tx, c) })
}

// Audit looks for what slipped through on a platform. Where there is no
// idempotent create, it looks for every recent key: of several tickets the
// oldest is kept and the others closed with a note. Everywhere, it queues
// again what has been waiting without a command.
func (r *Room) Audit(ctx context.Context, name string) error {
	p := r.platforms[name]
	if p == nil {
		return fmt.Errorf("ticket: audit %q: no such platform: %w", name, ops.ErrNotFound)
	}
	if err := r.requeue(ctx, p); err != nil {
		return fmt.Errorf("ticket: audit %s: %w", name, err)
	}
	for after := ""; ; {
		tickets, err := r.Store.TicketsOn(ctx, name, after, audited, false)
		if err != nil {
			return fmt.Errorf("ticket: audit %s: %w", name, err)
		}
		for _, t := range tickets {
			after = t.ID
			if _, careful := p.Conn.SettleTime(t.Kind); !careful {
				continue
			}
			if t.Ref == "" || !t.SeenAt.IsZero() && t.SeenAt.Before(r.now().Add(-auditBack)) {
				continue
			}
			if err := r.merge(ctx, p, t); err != nil {
				return fmt.Errorf("ticket: audit %s: %w", name, err)
			}
		}
		if len(tickets) < audited {
			return nil
		}
	}
}

// requeue queues every dirty ticket again. A command too many finds nothing to do.
func (r *Room) requeue(ctx context.Context, p *platform) error {
	for after := ""; ; {
		tickets, err := r.Store.TicketsOn(ctx, p.name, after, audited, true)
		if err != nil {
			return err
		}
		var commands []ops.Command
		for _, t := range tickets {
			after = t.ID
			if r.now().Sub(t.Work.WantAt) > time.Hour {
				commands = append(commands, ops.NewCommand(ops.SyncTicket, t.Subject, ops.SyncTicketBody{TicketID: t.ID}))
			}
		}
		if len(commands) > 0 {
			if err := r.DB.Write(ctx, func(tx db.Tx) error { return r.Jobs.Enqueue(ctx, tx, commands...) }); err != nil {
				return err
			}
		}
		if len(tickets) < audited {
			return nil
		}
	}
}

// merge keeps the oldest ticket of a key and closes the others.
func (r *Room) merge(ctx context.Context, p *platform, t ops.Ticket) error {
	var found []connector.Copy
	err := r.call(ctx, p, func(ctx context.Context) (err error) { found, err = p.Conn.Find(ctx, t.Key); return err })
	if err != nil || len(found) < 2 {
		return err
	}
	keep := found[0]
	if t.Ref != keep.Ref {
		err := r.turn(ctx, t.ID, t.Work.Turn, func(tx db.Tx, row *ops.Ticket) error {
			row.Ref, row.Display, row.URL = keep.Ref, keep.Display, keep.URL
			row.Seen, row.Work.SeenVersion, row.SeenAt = keep.Fields, keep.Version, r.now()
			for i := range row.Work.Tasks {
				row.Work.Tasks[i].Shown = ops.TaskShown{} // they are on the other one
			}
			if row.Work.Dirty {
				return nil
			}
			return r.queue(ctx, tx, row, "", false)
		})
		if err != nil {
			return err
		}
	}
	for _, double := range found[1:] {
		if t.Kind == ops.TicketChangeRequest && ended(double.Fields.State) || t.Kind != ops.TicketChangeRequest && !ops.IncidentState(double.Fields.State).Open() {
			continue // closed by an earlier audit, or by a person
		}
		if err := r.closeDouble(ctx, p, t, keep, double); err != nil && !errors.Is(err, ops.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (r *Room) closeDouble(ctx context.Context, p *platform, t ops.Ticket, keep, double connector.Copy) error {
	text := fmt.Sprintf("Duplicate of %s: an answer of %s was lost and Fettle opened this ticket again. Please go on in %s.", keep.Display, p.name, keep.Display)
	id := "merge-" + double.Ref
	var now connector.Copy
	err := r.call(ctx, p, func(ctx context.Context) (err error) { now, err = p.Conn.Get(ctx, double.Ref); return err })
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(now.Notes, func(n connector.Note) bool { return n.Own && n.ID == id }) {
		err := r.call(ctx, p, func(ctx context.Context) error {
			return p.Conn.AddNote(ctx, double.Ref, ops.Note{ID: id, At: r.now(), Author: ops.SystemPrincipal.Name, Text: text})
		})
		if err != nil {
			return err
		}
	}
	err = r.call(ctx, p, func(ctx context.Context) (err error) {
		if now, err = p.Conn.Get(ctx, double.Ref); err != nil {
			return err
		}
		want := now.Fields
		want.State = string(ops.IncidentCancelled)
		if t.Kind == ops.TicketChangeRequest {
			want.State, want.ResolveCode, want.ResolveNote = string(ops.ChangeCancelled), string(ops.Superseded), text
		}
		_, err = p.Conn.Update(ctx, double.Ref, connector.Edit{Want: want, Changed: []connector.Field{connector.State}, Version: now.Version})
		return err
	})
	if err != nil {
		return err
	}
	return r.DB.Write(ctx, func(tx db.Tx) error {
		_, err := r.Store.Tell(ctx, tx, ops.NewFact(t.Subject, r.now(), ops.SystemPrincipal, "", ops.TicketDuplicateBody{
			TicketID: t.ID, Platform: p.name, Kept: keep.Display, Closed: double.Display,
		}))
		return err
	})
}
