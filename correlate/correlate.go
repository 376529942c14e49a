// Package correlate turns the stream of alerts into incidents: one cause, one
// incident, however many alerts.
//
// It follows the signal log in batches. What a batch means is decided by a
// pure core (see step) on what is remembered in memory; the decisions, the
// facts that tell them and the log position commit in one transaction. After a
// crash the batch is decided again from the same position and the same stored
// state, so nothing is lost and nothing counts twice.
package correlate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
)

// Config says how alerts become incidents.
type Config struct {
	// GroupBy lists the labels whose values make alerts one incident. The
	// words rule, resource and integration name the alert's own fields.
	// Defaults to rule and resource.
	GroupBy []string
	// Within is how long after its last new alert an open incident still takes
	// in new ones. Defaults to 10 minutes.
	Within time.Duration
	// ReopenWithin is how long a resolved incident reopens instead of a new one
	// opening. Defaults to 24 hours.
	ReopenWithin time.Duration
	// FlapChanges state changes of one alert within FlapWithin make it flapping:
	// its incident then stays open until the alert has been quiet for
	// FlapWithin. Default to 4 within 30 minutes; 0 changes switches it off.
	FlapChanges int
	FlapWithin  time.Duration
	// StatelessAfter resolves alerts whose sender never does. Defaults to 24 hours.
	StatelessAfter time.Duration
}

func (c Config) withDefaults() Config {
	if len(c.GroupBy) == 0 {
		c.GroupBy = []string{"rule", "resource"}
	}
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.Within, 10*time.Minute)
	set(&c.ReopenWithin, 24*time.Hour)
	set(&c.FlapWithin, 30*time.Minute)
	set(&c.StatelessAfter, 24*time.Hour)
	return c
}

// Log is the signal log and this room's place in it.
type Log interface {
	FollowSignals(ctx context.Context, after int64, limit int) ([]ops.Message, error)
	Cursor(ctx context.Context, name string) (int64, error)
	MoveCursor(ctx context.Context, tx db.Tx, name string, from, to int64) error
}

// Store keeps incidents and their members.
type Store interface {
	LiveIncidents(ctx context.Context, resolvedSince time.Time) ([]ops.Incident, error)
	Members(ctx context.Context, incidentID string) ([]ops.Member, error)
	Incident(ctx context.Context, idOrKey string) (ops.Incident, error)
	IncidentIn(ctx context.Context, tx db.Tx, idOrKey string) (ops.Incident, error)
	SaveIncident(ctx context.Context, tx db.Tx, i ops.Incident, was ops.IncidentState) error
	SaveMembers(ctx context.Context, tx db.Tx, members []ops.Member) error
	NextNumber(ctx context.Context, tx db.Tx, kind string) (int64, error)
}

// Teller records facts.
type Teller interface {
	Tell(ctx context.Context, tx db.Tx, facts ...ops.Fact) ([]ops.Fact, error)
}

// Resources gives the resource ids of what alerts are about.
type Resources interface {
	ResolveResources(ctx context.Context, tx db.Tx, refs []ops.ResourceRef) ([]string, error)
}

// Windows says whether a maintenance window mutes an alert now.
type Windows interface {
	Muted(ctx context.Context, a ops.Alert, at time.Time) (window string, muted bool)
}

// Teams says which team an incident belongs to.
type Teams interface {
	TeamOf(i ops.Incident) string
}

// Writer runs write transactions.
type Writer interface {
	Write(ctx context.Context, fn func(tx db.Tx) error) error
}

// Deps is what the room is plugged into.
type Deps struct {
	Log       Log
	Store     Store
	Facts     Teller
	Resources Resources
	Windows   Windows // nil: nothing mutes
	Teams     Teams   // nil: no team
	DB        Writer
	Clock     clock.Clock
	NewID     func() string
	Logger    *slog.Logger
}

// cursor is this room's place in the signal log.
const cursor = "correlate"

// batch bounds the messages of one transaction.
const batch = 1000

// Room is the correlating room.
type Room struct {
	Deps
	cfg  Config
	wake chan struct{}

	mu    sync.Mutex
	moved map[string]bool // incidents people moved since the memory read them

	at     int64  // log position the memory stands at
	memory *state // owned by the goroutine of Run
}

// New returns the room. Nothing runs before Run.
func New(cfg Config, d Deps) *Room {
	d.Logger = d.Logger.With(slog.String("room", "correlate"))
	return &Room{Deps: d, cfg: cfg.withDefaults(), wake: make(chan struct{}, 1), moved: map[string]bool{}}
}

// Register attaches the room's listeners to the queue.
func (r *Room) Register(q job.Registrar) {
	q.Hear("correlate", ops.TicketEdited, r.hearTicketEdited)
}

// Wake tells the room that the log has grown. It never blocks.
func (r *Room) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// refresh makes Run read an incident again before it decides anything more.
func (r *Room) refresh(id string) {
	r.mu.Lock()
	r.moved[id] = true
	r.mu.Unlock()
	r.Wake()
}

const (
	// gather is how long the room lets the log grow after a batch. An alert
	// after a quiet moment is decided at once; in a storm the updates of an
	// incident, and the writer's time, are shared by many.
	gather   = 50 * time.Millisecond
	poll     = time.Second     // safety net under Wake, and how other replicas notice
	settle   = time.Second     // how often what time changes is looked at
	takeover = 5 * time.Second // how long a message may wait before a passive replica takes over
)

// Run follows the log until ctx ends.
//
// With several replicas each runs this loop; the one whose cursor move
// succeeds goes on, the others find their position stale, step back and only
// take over when messages stay unread for longer than the takeover time.
func (r *Room) Run(ctx context.Context) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var settled time.Time
	passive := false
	for {
		n, err := 0, error(nil)
		if !passive || r.overdue(ctx) {
			n, err = r.catchUp(ctx)
			passive = false
		}
		if err == nil && !passive && r.Clock().Sub(settled) >= settle {
			settled = r.Clock()
			err = r.settle(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ops.ErrConflict):
			r.memory = nil
			at, cerr := r.Log.Cursor(ctx, cursor)
			passive = cerr == nil && at != r.at // another replica moved on; a person's edit leaves the cursor where it was
		case err != nil:
			r.memory = nil
			r.Logger.LogAttrs(ctx, slog.LevelError, "correlate batch", slog.Any("error", err))
			select { // one pause, then the same batch again
			case <-time.After(poll):
			case <-ctx.Done():
				return nil
			}
			continue
		case n == batch:
			continue // more waits
		case n > 0:
			select {
			case <-time.After(gather):
			case <-ctx.Done():
				return nil
			}
		}
		if err != nil && !passive {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-tick.C:
		}
	}
}

// overdue reports whether the active replica has left messages unread for too long.
func (r *Room) overdue(ctx context.Context) bool {
	at, err := r.Log.Cursor(ctx, cursor)
	if err != nil {
		return false
	}
	waiting, err := r.Log.FollowSignals(ctx, at, 1)
	return err == nil && len(waiting) > 0 && r.Clock().Sub(waiting[0].RecordedAt) > takeover
}

// catchUp decides one batch and returns how many messages it held.
func (r *Room) catchUp(ctx context.Context) (int, error) {
	if err := r.remember(ctx); err != nil {
		return 0, err
	}
	messages, err := r.Log.FollowSignals(ctx, r.at, batch)
	if err != nil || len(messages) == 0 {
		return 0, err
	}
	s := r.memory.begin(r.cfg)
	for _, m := range messages {
		for _, sig := range m.Signals {
			if sig.Alert != nil {
				s.alert(m, *sig.Alert)
			}
		}
	}
	to := messages[len(messages)-1].Seq
	return len(messages), r.save(ctx, s, to)
}

// remember reads the open incidents once, and again after somebody else has
// written to them.
func (r *Room) remember(ctx context.Context) error {
	r.mu.Lock()
	moved := r.moved
	r.moved = map[string]bool{}
	r.mu.Unlock()
	if r.memory != nil {
		for id := range moved {
			i, err := r.Store.Incident(ctx, id)
			if err != nil {
				r.memory = nil
				return fmt.Errorf("correlate: read an incident again: %w", err)
			}
			if e, ok := r.memory.incidents[id]; ok && i.Version > e.incident.Version {
				e.incident = i
			}
		}
		return nil
	}
	at, err := r.Log.Cursor(ctx, cursor)
	if err != nil {
		return fmt.Errorf("correlate: read the cursor: %w", err)
	}
	now := r.Clock()
	incidents, err := r.Store.LiveIncidents(ctx, now.Add(-r.cfg.ReopenWithin))
	if err != nil {
		return fmt.Errorf("correlate: read the open incidents: %w", err)
	}
	memory := newState()
	for _, i := range incidents {
		members, err := r.Store.Members(ctx, i.ID)
		if err != nil {
			return fmt.Errorf("correlate: read the alerts of %s: %w", i.Key(), err)
		}
		memory.load(i, members)
	}
	memory.newID = r.NewID
	memory.muted = func(a ops.Alert, at time.Time) string {
		if r.Windows == nil {
			return ""
		}
		w, muted := r.Windows.Muted(ctx, a, at)
		if !muted {
			return ""
		}
		return w
	}
	r.memory, r.at = memory, at
	return nil
}

// save commits what a step decided, together with the log position.
func (r *Room) save(ctx context.Context, s *step, to int64) error {
	s.finish()
	from := r.at
	var saved []ops.Incident
	err := r.DB.Write(ctx, func(tx db.Tx) error {
		saved = saved[:0]
		if to != from {
			if err := r.Log.MoveCursor(ctx, tx, cursor, from, to); err != nil {
				return err
			}
		}
		var facts []ops.Fact
		for _, e := range s.touched() {
			i := e.incident // a copy: this function may run twice
			if e.isNew {
				n, err := r.Store.NextNumber(ctx, tx, "INC")
				if err != nil {
					return err
				}
				i.Number = n
				ids, err := r.Resources.ResolveResources(ctx, tx, []ops.ResourceRef{e.ref})
				if err != nil {
					return err
				}
				i.ResourceID = ids[0]
				if r.Teams != nil {
					i.Team = r.Teams.TeamOf(i)
				}
			}
			if err := r.Store.SaveIncident(ctx, tx, i, e.was); err != nil {
				return err
			}
			saved = append(saved, i)
			facts = append(facts, e.facts(i)...)
		}
		if err := r.Store.SaveMembers(ctx, tx, s.members()); err != nil {
			return err
		}
		_, err := r.Facts.Tell(ctx, tx, facts...)
		return err
	})
	if err != nil {
		return fmt.Errorf("correlate: save: %w", err)
	}
	s.apply(saved)
	r.at = to
	return nil
}

// settle looks at incidents that time alone changes: flapping ones that went
// quiet, muted ones whose window ended, alerts nobody will ever resolve.
func (r *Room) settle(ctx context.Context) error {
	if err := r.remember(ctx); err != nil {
		return err
	}
	s := r.memory.begin(r.cfg)
	now := r.Clock().UTC()
	s.settle(now)
	defer func() {
		if r.memory != nil {
			r.memory.evict(now, r.cfg.ReopenWithin)
		}
	}()
	if len(s.touched()) == 0 {
		return nil
	}
	return r.save(ctx, s, r.at)
}
