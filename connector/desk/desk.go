// Package desk is the ticket platform inside Fettle: numbers, states,
// assignment, work notes, versions and a feed of moves, on a driver's Records
// alone. It is always there, and it is what the tests of the rooms use in
// place of a platform.
//
// The integration comes in through connector.Platform, people through Edit.
package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

// Driver is the driver.
var Driver = connector.Define("desk", Open)

// Config is what the desk needs: nothing.
type Config = connector.Config[connector.None, connector.None]

// Desk is an open ticket desk. It is safe for concurrent use, also by several
// processes on one database.
type Desk struct {
	env connector.Env
}

var _ connector.Platform = (*Desk)(nil)

// Open opens the desk kept in env.Records, an empty one the first time.
func Open(_ context.Context, cfg Config, env connector.Env) (connector.Platform, error) {
	if cfg.URL != "" {
		return nil, fmt.Errorf("desk: url %s: the desk is inside Fettle and has no url; leave it out: %w", cfg.URL, ops.ErrInvalid)
	}
	return &Desk{env: env}, nil
}

// user is what the desk calls the integration.
func (d *Desk) user() string {
	if d.env.User != "" {
		return d.env.User
	}
	return ops.SystemPrincipal.Name
}

// row is a ticket as it is kept, under ticket/<number>. Its notes are kept
// beside it, under note/<number>/<count>, so that a row stays small.
type row struct {
	Number    int64            `json:"number"`
	Key       string           `json:"key"`
	Kind      ops.TicketKind   `json:"kind"`
	Fields    ops.TicketFields `json:"fields"`
	Move      int64            `json:"move"` // place in the feed of moves, and so its version
	Notes     int64            `json:"notes"`
	CreatedAt time.Time        `json:"created_at"`
	UpdatedAt time.Time        `json:"updated_at"`
	UpdatedBy string           `json:"updated_by"`
	PlanAt    time.Time        `json:"plan_at,omitzero"`
	Requests  []request        `json:"requests,omitempty"`
	Files     []string         `json:"files,omitempty"`

	version int64 // of the record
}

type noteRow struct {
	ops.Note
	Own bool `json:"own"`
}

// counterKey is where the last number and the last move are.
const counterKey = "counter"

type counter struct {
	Number int64 `json:"number"`
	Move   int64 `json:"move"`
}

func keyKey(key string) string           { return "key/" + key }
func ticketKey(number int64) string      { return fmt.Sprintf("ticket/%012d", number) }
func noteKey(number, count int64) string { return fmt.Sprintf("note/%012d/%09d", number, count) }
func notePrefix(number int64) string     { return fmt.Sprintf("note/%012d/", number) }
func moveKey(move int64) string          { return fmt.Sprintf("move/%016d", move) }
func display(number int64) string        { return fmt.Sprintf("DESK-%d", number) }
func (r row) displayed() string          { return display(r.Number) }

// Create implements connector.Platform.
func (d *Desk) Create(ctx context.Context, key string, kind ops.TicketKind, f ops.TicketFields) (connector.Copy, error) {
	if f.State == "" {
		f.State = string(ops.IncidentNew) // ops.ChangeNew is the same word
	}
	if err := check(kind, ops.TicketFields{}, f); err != nil {
		return connector.Copy{}, err
	}
	var made row
	err := d.env.Records.Transact(ctx, func(ctx context.Context, now record.Reader) ([]record.Edit, error) {
		old, err := d.byKey(ctx, now, key)
		if !errors.Is(err, ops.ErrNotFound) {
			made = old
			return nil, err
		}
		c, cv, err := d.counter(ctx, now)
		if err != nil {
			return nil, err
		}
		at := d.now()
		made = row{
			Number: c.Number + 1, Key: key, Kind: kind, Fields: f, Move: c.Move + 1,
			CreatedAt: at, UpdatedAt: at, UpdatedBy: d.user(),
		}
		if f.Plan != "" {
			made.PlanAt = at
		}
		return []record.Edit{
			put(counterKey, counter{made.Number, made.Move}, cv),
			put(keyKey(key), made.Number, 0),
			put(ticketKey(made.Number), made, 0),
			put(moveKey(made.Move), made.Number, 0),
		}, nil
	})
	if err != nil {
		return connector.Copy{}, err
	}
	return d.copy(made, nil), nil
}

// Update implements connector.Platform.
func (d *Desk) Update(ctx context.Context, ref string, e connector.Edit) (connector.Copy, error) {
	var out row
	err := d.change(ctx, ref, func(r *row) ([]record.Edit, error) {
		if v := strconv.FormatInt(r.Move, 10); v != e.Version {
			return nil, fmt.Errorf("%s is at version %s, not %s: %w", r.displayed(), v, e.Version, ops.ErrConflict)
		}
		next := connector.Overlay(r.Fields, e.Want, e.Changed)
		if over(r.Kind, next.State) {
			next = connector.Overlay(next, e.Want, []connector.Field{connector.ResolveCode, connector.ResolveNote})
		}
		if err := check(r.Kind, r.Fields, next); err != nil {
			return nil, err
		}
		d.write(r, next, d.user())
		return nil, nil
	}, &out)
	if err != nil {
		return connector.Copy{}, err
	}
	return d.copy(out, nil), nil
}

// AddNote implements connector.Platform.
func (d *Desk) AddNote(ctx context.Context, ref string, n ops.Note) error {
	return d.change(ctx, ref, func(r *row) ([]record.Edit, error) {
		if n.Author == "" {
			n.Author = d.user()
		}
		r.UpdatedBy = d.user()
		return d.note(r, noteRow{n, true}), nil
	}, nil)
}

func (d *Desk) note(r *row, n noteRow) []record.Edit {
	r.Notes++
	n.At = d.now()
	return []record.Edit{put(noteKey(r.Number, r.Notes), n, 0)}
}

// Get implements connector.Platform.
func (d *Desk) Get(ctx context.Context, ref string) (connector.Copy, error) {
	r, err := d.row(ctx, d.env.Records, ref)
	if err != nil {
		return connector.Copy{}, err
	}
	notes, err := d.notes(ctx, r)
	if err != nil {
		return connector.Copy{}, err
	}
	return d.copy(r, notes), nil
}

// Find implements connector.Platform.
func (d *Desk) Find(ctx context.Context, key string) ([]connector.Copy, error) {
	r, err := d.byKey(ctx, d.env.Records, key)
	if errors.Is(err, ops.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []connector.Copy{d.copy(r, nil)}, nil
}

// page is how many moved tickets Changes returns at once.
const page = 100

// Changes implements connector.Platform. The cursor is the last move seen.
func (d *Desk) Changes(ctx context.Context, cursor string) ([]connector.Copy, string, error) {
	if cursor == "" {
		c, _, err := d.counter(ctx, d.env.Records)
		return nil, strconv.FormatInt(c.Move, 10), err
	}
	last, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil {
		return nil, "", fmt.Errorf("cursor %q is no number of a move: %w", cursor, ops.ErrInvalid)
	}
	moves, err := d.env.Records.List(ctx, "move/", moveKey(last), page)
	if err != nil {
		return nil, "", err
	}
	var out []connector.Copy
	for _, m := range moves {
		var number, move int64
		if err := json.Unmarshal(m.Value, &number); err != nil {
			return nil, "", fmt.Errorf("record %s: %w: %w", m.Key, err, ops.ErrInternal)
		}
		if move, err = strconv.ParseInt(strings.TrimPrefix(m.Key, "move/"), 10, 64); err != nil {
			return nil, "", fmt.Errorf("record %s: %w: %w", m.Key, err, ops.ErrInternal)
		}
		c, err := d.Get(ctx, display(number))
		if err != nil {
			return nil, "", err
		}
		out, last = append(out, c), move
	}
	return out, strconv.FormatInt(last, 10), nil
}

// Edit changes a ticket as a person: the named fields, and a note unless it is
// empty. A move the table of states of its kind does not allow is ErrInvalid.
func (d *Desk) Edit(ctx context.Context, ref, by string, changed []connector.Field, f ops.TicketFields, note string) (connector.Copy, error) {
	if by == "" || len(changed) == 0 && strings.TrimSpace(note) == "" {
		return connector.Copy{}, fmt.Errorf("an edit needs a person and a field or a note: %w", ops.ErrInvalid)
	}
	var out row
	err := d.change(ctx, ref, func(r *row) ([]record.Edit, error) {
		next := connector.Overlay(r.Fields, f, changed)
		if err := mayMove(*r, next.State); err != nil {
			return nil, err
		}
		if next.Plan != r.Fields.Plan {
			return nil, fmt.Errorf("plan: only Fettle says which plan stands: %w", ops.ErrInvalid)
		}
		if r.Kind != ops.TicketChangeRequest && ops.IncidentState(next.State).Open() {
			next.ResolveCode, next.ResolveNote = "", ""
		}
		if err := check(r.Kind, r.Fields, next); err != nil {
			return nil, err
		}
		d.write(r, next, by)
		if strings.TrimSpace(note) == "" {
			return nil, nil
		}
		id := fmt.Sprintf("desk-%d-%d", r.Number, r.Notes+1)
		return d.note(r, noteRow{ops.Note{ID: id, Author: by, Text: note}, false}), nil
	}, &out)
	if err != nil {
		return connector.Copy{}, err
	}
	return d.Get(ctx, out.displayed())
}

// List returns at most limit tickets with a number below before, newest first;
// before 0 begins with the newest. The cursor of the next page is the last
// ticket's number.
func (d *Desk) List(ctx context.Context, before int64, limit int) ([]connector.Copy, error) {
	c, _, err := d.counter(ctx, d.env.Records)
	if err != nil {
		return nil, err
	}
	if before <= 0 || before > c.Number+1 {
		before = c.Number + 1
	}
	var out []connector.Copy
	for n := before - 1; n > 0 && len(out) < limit; n-- {
		r, err := d.row(ctx, d.env.Records, display(n))
		if err != nil {
			return nil, err
		}
		out = append(out, d.copy(r, nil))
	}
	return out, nil
}

// write makes next the content of a ticket.
func (d *Desk) write(r *row, next ops.TicketFields, by string) {
	if next.Plan != r.Fields.Plan {
		r.PlanAt = d.now()
	}
	r.Fields, r.UpdatedBy = next, by
	if over(r.Kind, next.State) || next.State == string(ops.ChangeCancelled) {
		r.closeRequest()
	}
}

// over tells states that need a code and a note.
func over(kind ops.TicketKind, state string) bool {
	if kind == ops.TicketChangeRequest {
		return state == string(ops.ChangeClosed)
	}
	return state == string(ops.IncidentResolved) || state == string(ops.IncidentClosed)
}

// mayMove returns ErrInvalid for a move a person may not make.
func mayMove(r row, to string) error {
	if to == r.Fields.State {
		return nil
	}
	may := ops.CanMoveIncident(ops.IncidentState(r.Fields.State), ops.IncidentState(to))
	if r.Kind == ops.TicketChangeRequest {
		may = ops.CanMoveChange(ops.ChangeState(r.Fields.State), ops.ChangeState(to))
	}
	if !may {
		return fmt.Errorf("state: %s cannot go from %s to %s: %w", r.displayed(), r.Fields.State, to, ops.ErrInvalid)
	}
	return nil
}

// check returns ErrInvalid for content the desk does not hold.
func check(kind ops.TicketKind, was, f ops.TicketFields) error {
	if strings.TrimSpace(f.Title) == "" {
		return fmt.Errorf("title: a ticket needs one: %w", ops.ErrInvalid)
	}
	if f.Severity != "" {
		if _, err := ops.ParseSeverity(string(f.Severity)); err != nil {
			return err
		}
	}
	if !f.PlannedStart.IsZero() && !f.PlannedEnd.IsZero() && !f.PlannedEnd.After(f.PlannedStart) {
		return fmt.Errorf("planned_start, planned_end: %s is not before %s: %w",
			connector.Stamp(f.PlannedStart), connector.Stamp(f.PlannedEnd), ops.ErrInvalid)
	}
	var err error
	if kind == ops.TicketChangeRequest {
		_, err = ops.ParseChangeState(f.State)
	} else {
		_, err = ops.ParseIncidentState(f.State)
	}
	if err != nil {
		return err
	}
	if over(kind, f.State) && f.State != was.State && (f.ResolveCode == "" || f.ResolveNote == "") {
		return fmt.Errorf("resolve_code, resolve_note: state %s needs both: %w", f.State, ops.ErrInvalid)
	}
	return nil
}
