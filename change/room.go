// Package change is the gate every change to infrastructure goes through: it
// raises changes from runbooks and people, has them planned, asks the right
// persons to approve exactly that plan, waits for a window in which it can
// also be undone, starts it once, and closes it with an outcome.
//
// Its core, Gate.Next, is pure: a state, the world and an event give facts and
// commands, and the new state is the fold of those facts. Room reads the state
// and the world, asks the gate, and commits facts, state and commands in one
// transaction.
package change

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
)

// Rows are the room's own records.
type Rows interface {
	// LoadChange reads a change, its plan (zero when it has none) and when it
	// wants to be woken.
	LoadChange(ctx context.Context, tx db.Tx, idOrKey string) (ops.Change, ops.Plan, time.Time, error)
	// SaveChange writes all of it, or returns ops.ErrConflict when the version
	// moved, the plan has another run, or the lock or the runbook is taken.
	SaveChange(ctx context.Context, tx db.Tx, c ops.Change, p ops.Plan, wake time.Time) error
	// Change reads a committed change.
	Change(ctx context.Context, idOrKey string) (ops.Change, error)
	RunbookHistory(ctx context.Context, tx db.Tx, runbook, resourceID string) (live string, ended time.Time, err error)
	LockHolder(ctx context.Context, tx db.Tx, lock, exceptChange string) (key string, err error)
	// RunningResources returns the ids of the resources on which other changes
	// have an unfinished run.
	RunningResources(ctx context.Context, tx db.Tx, exceptChange string) (ids []string, err error)
	// UnderWay returns the other changes of these resources that are scheduled
	// or run.
	UnderWay(ctx context.Context, tx db.Tx, resourceIDs []string, exceptChange string) ([]ops.Change, error)
	// AutomatedStarts returns the newest starts of automated changes after since,
	// oldest first.
	AutomatedStarts(ctx context.Context, tx db.Tx, since time.Time, limit int) (at []time.Time, resources []string, err error)
	WakeScheduled(ctx context.Context, tx db.Tx, now time.Time) (ids []string, err error)
	// StandInLine notes whether a change waits until another one ends.
	StandInLine(ctx context.Context, tx db.Tx, changeID string, stands bool)
	// WakeLine makes changes that do due at now: those of these resources, and of
	// the rest the oldest, at most so many.
	WakeLine(ctx context.Context, tx db.Tx, now time.Time, resourceIDs []string, most int) (ids []string, err error)
	OverdueChanges(ctx context.Context, before time.Time, limit int) (map[string]time.Time, error)
	ExecutionStoppedIn(ctx context.Context, tx db.Tx) (reason string, stopped bool, err error)
	SetExecutionStopped(ctx context.Context, tx db.Tx, reason string, stopped bool) error
}

// Ledger records facts and hands out ids and numbers.
type Ledger interface {
	Tell(ctx context.Context, tx db.Tx, facts ...ops.Fact) ([]ops.Fact, error)
	NextNumber(ctx context.Context, tx db.Tx, kind string) (int64, error)
	NewID() string
}

// Inventory is what the room asks about resources.
type Inventory interface {
	// Resource returns a resource by id, or ops.ErrNotFound.
	Resource(ctx context.Context, id string) (ops.Resource, error)
	// CountResources returns how many are known.
	CountResources(ctx context.Context) (int, error)
}

// Incidents is what the room asks about incidents.
type Incidents interface {
	// Incident returns an incident by id or number, or ops.ErrNotFound.
	Incident(ctx context.Context, idOrKey string) (ops.Incident, error)
	// Joined returns the alerts of an incident that fire and last joined it by
	// the messages of a span.
	Joined(ctx context.Context, incidentID string, span ops.Span) ([]ops.Member, error)
}

// Senses measures what an alert was about, as it is now.
type Senses interface {
	// Measure returns the present value of the alert's metric on its resource,
	// and false when nothing recent is known.
	Measure(ctx context.Context, a ops.Alert) (float64, bool)
}

// People is what the room asks about persons.
type People interface {
	// Principal returns the principal of this id or name, or ops.ErrNotFound.
	Principal(ctx context.Context, idOrName string) (ops.Principal, error)
}

// Tickets is what the room asks about tickets.
type Tickets interface {
	// TicketsAbout returns the tickets of a record.
	TicketsAbout(ctx context.Context, subject string) ([]ops.Ticket, error)
}

// Graph is what the room asks about how resources depend on each other.
type Graph interface {
	// Needs returns the ids of everything a resource depends on, directly or
	// through others, without the resource itself.
	Needs(ctx context.Context, resourceID string) ([]string, error)
	// NeededBy returns the ids of everything that depends on it, likewise.
	NeededBy(ctx context.Context, resourceID string) ([]string, error)
}

// Transactor runs transactions. *db.DB is one.
type Transactor interface {
	Write(ctx context.Context, f func(tx db.Tx) error) error
}

// Deps is what the room works with. Senses, People, Graph and Tickets may be
// nil: then runbooks take the value the alert came with, nothing said in a
// platform counts and nobody is delegated, changes keep no order, and who
// approves in the wrong place is not led to the ticket.
type Deps struct {
	DB        Transactor
	Rows      Rows
	Ledger    Ledger
	Queue     job.Enqueuer
	Inventory Inventory
	Incidents Incidents
	Senses    Senses
	People    People
	Graph     Graph
	Tickets   Tickets
	Clock     clock.Clock
	Log       *slog.Logger
}

// Room is the change room.
type Room struct {
	Deps
	gate   atomic.Pointer[Gate]
	settle func(ctx context.Context, tx db.Tx, c ops.Change) error
}

// New returns the room. The error wraps ops.ErrInvalid and names every fault
// of the configuration.
func New(c Config, d Deps) (*Room, error) {
	r := &Room{Deps: d}
	r.Log = d.Log.With(slog.String("room", "change"))
	return r, r.Reload(c)
}

// Reload puts another configuration in force, whole or, with an error, not at
// all. What was decided before stands under the policy digest it carries.
func (r *Room) Reload(c Config) error {
	g, err := NewGate(c)
	if err != nil {
		return err
	}
	r.gate.Store(g)
	return nil
}

// sweep is how often overdue wake-ups are looked for, and how late one is then.
const sweep = time.Minute

// Register names the room's work to the queue.
func (r *Room) Register(reg job.Registrar) {
	reg.Handle(ops.WakeChange, r.wake)
	reg.Handle(ops.WeighAlerts, r.weigh)
	for _, kind := range ops.Heard("change") {
		switch kind {
		case ops.IncidentOpened, ops.IncidentGrew, ops.IncidentReopenedFact:
			reg.Hear("change", kind, r.hearIncident)
		default:
			reg.Hear("change", kind, r.hear)
		}
	}
	reg.Every("change.overdue", sweep, r.sweep)
}

func (r *Room) now() time.Time { return r.Clock().UTC().Truncate(time.Millisecond) }

// hear applies a fact of another room about a change.
func (r *Room) hear(ctx context.Context, tx db.Tx, f ops.Fact) error {
	id, ok := strings.CutPrefix(f.Subject, "change/")
	if !ok {
		return fmt.Errorf("change: fact %s (%s) is about %s, not about a change: %w", f.ID, f.Kind, f.Subject, ops.ErrInternal)
	}
	_, err := r.apply(ctx, tx, id, Heard{f})
	if errors.Is(err, ops.ErrNotFound) {
		// Nothing can ever be done about it, and it must not hold up the room.
		tx.AfterCommit(func() {
			r.Log.LogAttrs(ctx, slog.LevelError, "a fact is about a change that does not exist", slog.String("fact", f.ID), slog.String("change_id", id))
		})
		return nil
	}
	return err
}

// wake carries out WakeChange. A wake-up that is not the one the change last
// asked for has been overtaken and does nothing.
func (r *Room) wake(ctx context.Context, c ops.Command) error {
	id, _ := strings.CutPrefix(c.Subject, "change/")
	var early time.Duration
	err := r.DB.Write(ctx, func(tx db.Tx) error {
		early = 0
		_, _, due, err := r.Rows.LoadChange(ctx, tx, id)
		if err != nil || due.IsZero() || (!c.At.IsZero() && !due.Equal(c.At)) {
			return err
		}
		if now := r.now(); now.Before(due) {
			early = due.Sub(now)
			return nil
		}
		_, err = r.apply(ctx, tx, id, Woken{})
		return err
	})
	if err == nil && early > 0 {
		return job.Snooze(early, "the change is not due yet")
	}
	return err
}

// sweep wakes again what should have been woken: a level-based net under the
// timers, so that a change cannot sleep for ever because one command ended.
func (r *Room) sweep(ctx context.Context) error {
	late, err := r.Rows.OverdueChanges(ctx, r.now().Add(-sweep), 100)
	if err != nil {
		return err
	}
	for id, due := range late {
		err := r.wake(ctx, ops.Command{Kind: ops.WakeChange, Subject: ops.ChangeSubject(id), At: due})
		if err != nil {
			return fmt.Errorf("wake overdue change %s: %w", id, err)
		}
	}
	return nil
}

// act applies an event to a change in a transaction of its own.
func (r *Room) act(ctx context.Context, idOrKey string, e Event) (out ops.Change, err error) {
	err = r.DB.Write(ctx, func(tx db.Tx) error {
		out, err = r.apply(ctx, tx, idOrKey, e)
		return err
	})
	return out, err
}

// apply reads a change and the world, asks the gate, and commits what follows.
func (r *Room) apply(ctx context.Context, tx db.Tx, idOrKey string, e Event) (ops.Change, error) {
	c, p, due, err := r.Rows.LoadChange(ctx, tx, idOrKey)
	if err != nil {
		return c, err
	}
	return r.commit(ctx, tx, State{c, p}, due, e)
}

func (r *Room) commit(ctx context.Context, tx db.Tx, s State, due time.Time, e Event) (ops.Change, error) {
	g := r.gate.Load()
	about := s.Change
	if raised, ok := e.(Raised); ok {
		about = raised.Change
	}
	w, err := r.world(ctx, tx, g, about)
	if err != nil {
		return s.Change, err
	}
	if w.People, err = r.people(ctx, g, e); err != nil {
		return s.Change, err
	}
	if w.Ticket, err = r.ticket(ctx, s.Change); err != nil {
		return s.Change, err
	}
	next, err := g.Next(s, w, e)
	if err != nil || len(next.Facts) == 0 && len(next.Commands) == 0 && next.Wake.IsZero() {
		return s.Change, err
	}
	c := next.State.Change
	tx.AfterCommit(func() { r.warn(ctx, c, next.Trouble) })
	told, err := r.Ledger.Tell(ctx, tx, next.Facts...)
	if err != nil {
		return s.Change, err
	}
	commands := next.Commands
	if c.State.Terminal() {
		due = time.Time{}
	} else if !next.Wake.IsZero() {
		due = later(next.Wake, w.Now)
		wake := ops.NewCommand(ops.WakeChange, c.Subject(), ops.WakeChangeBody{ChangeID: c.ID, Why: string(c.State)})
		wake.At = due
		commands = append(commands, wake)
	}
	if len(told) > 0 {
		for i := range commands {
			commands[i].Cause = told[len(told)-1].ID
		}
	}
	if err := r.Rows.SaveChange(ctx, tx, c, next.State.Plan, due); err != nil {
		return s.Change, err
	}
	c.Version++
	if !next.Wake.IsZero() || c.State.Terminal() {
		r.Rows.StandInLine(ctx, tx, c.ID, next.InLine)
	}
	if freed(s.Change, c) {
		woken, err := r.wakeLine(ctx, tx, g, c, w.Now)
		if err != nil {
			return s.Change, err
		}
		commands = append(commands, woken...)
	}
	if c.State.Terminal() && r.settle != nil {
		if err := r.settle(ctx, tx, c); err != nil {
			return s.Change, err
		}
	}
	return c, r.Queue.Enqueue(ctx, tx, commands...)
}

// warn logs conditions that could not be evaluated for a change.
func (r *Room) warn(ctx context.Context, c ops.Change, trouble []string) {
	for _, why := range trouble {
		r.Log.LogAttrs(ctx, slog.LevelWarn, "a condition cannot be evaluated", slog.String("change_id", c.ID), slog.String("why", why))
	}
}

// later returns when in the clock's grain, which the stored timer has, never
// before now.
func later(when, now time.Time) time.Time {
	if up := when.Add(time.Millisecond - 1).UTC().Truncate(time.Millisecond); up.After(now) {
		return up
	}
	return now
}

// MayAct looks again, right before a tool acts for a run, whether the gate
// still lets it: the freezes as they are configured now and the glass broken
// for the change. Empty: it does.
func (r *Room) MayAct(ctx context.Context, c ops.Change, need time.Duration) (why string, err error) {
	found, err := r.resource(ctx, c.ResourceID, c.Resource)
	if err != nil {
		return "", err
	}
	_, freezes, trouble := r.gate.Load().applicable(c, found)
	r.warn(ctx, c, trouble)
	if f, frozen := window.Frozen(r.now(), need, freezes); frozen {
		return "the freeze " + f.Window + " denies it", nil
	}
	return "", nil
}
