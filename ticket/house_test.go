package ticket_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/desk"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/job/jobtest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
	"github.com/fettleops/fettle/ticket"
)

// house is the ticket room on a real store, with a queue that works one
// command at a time in virtual time, two desks as platforms, and a small
// correlate that obeys what people do in them.
type house struct {
	*testing.T
	db    *db.DB
	store *store.Store
	room  *ticket.Room

	snow, desk        *connectortest.Faulty
	snowDesk, ownDesk *desk.Desk
	incidents         map[string]ops.Incident
	changes           map[string]ops.Change
	artefacts         map[string][]byte
	plans             map[string][]ops.Plan
	members           map[string][]ops.Member
	series            []ops.Series
	seriesErr         error
	mu                sync.Mutex
	queue             []queued
	ended             []error // commands that ended for good
	handlers          map[ops.CommandKind]job.Handler
	listeners         map[ops.FactKind][]job.Listener
	every             []*periodic
	heard             int64
	number            int64
	steps             int // more actions of each plan
	people            map[string]string
	meanwhile         func() // happens once, after the room has read a ticket and before it writes
}

// glance is the store in which something happens behind the room's back.
type glance struct {
	*store.Store
	h *house
}

func (g glance) NotesOut(ctx context.Context, ticketID string) ([]ops.TicketNote, error) {
	notes, err := g.Store.NotesOut(ctx, ticketID)
	if f := g.h.meanwhile; f != nil {
		g.h.meanwhile = nil
		f()
		g.h.deliver()
	}
	return notes, err
}

type queued struct {
	c   ops.Command
	due time.Time
	seq int
}

type periodic struct {
	interval time.Duration
	next     time.Time
	f        func(context.Context) error
}

type setup struct {
	conflict ticket.Conflict
	careless time.Duration // snow without an idempotent create, with this settle time
	routes   []ticket.Route
	// snow, when set, is opened in place of the first desk.
	snow func(env connector.Env) (connector.Platform, error)
}

var both = []ticket.Route{{Platform: "snow", Kind: ops.TicketIncident}, {Platform: "desk", Kind: ops.TicketEvent}}

// schema is what every database here begins with.
var schema = dbtest.Laid(jobtest.Migrate)

// open builds a house. It must be called inside a synctest bubble.
func open(t *testing.T, s setup) *house {
	t.Helper()
	ctx := context.Background()
	d := schema.Open(t)
	st := store.New(d, time.Now)
	h := &house{
		T: t, db: d, store: st, incidents: map[string]ops.Incident{}, changes: map[string]ops.Change{}, plans: map[string][]ops.Plan{}, members: map[string][]ops.Member{},
		handlers: map[ops.CommandKind]job.Handler{}, listeners: map[ops.FactKind][]job.Listener{}, people: map[string]string{"snow/anna.s": "anna"},
	}
	platform := func(name string) (*desk.Desk, *connectortest.Faulty, *connector.Conn) {
		env := connector.Env{Name: name, Clock: time.Now, Records: st.Records("platform/" + name), PublicURL: "http://fettle.test"}
		if name == "snow" && s.snow != nil {
			p, err := s.snow(env)
			if err != nil {
				t.Fatal(err)
			}
			f := &connectortest.Faulty{Platform: p}
			return nil, f, connector.Wrap("real", struct {
				*connectortest.Faulty
				connector.Normaliser
				kindSettler
			}{f, p.(connector.Normaliser), kindSettler{p}}, env)
		}
		p, err := desk.Open(ctx, desk.Config{}, env)
		if err != nil {
			t.Fatal(err)
		}
		f := &connectortest.Faulty{Platform: p}
		inner := connector.Platform(f)
		if name == "snow" && s.careless > 0 {
			f.Platform = &connectortest.Careless{Platform: p, Settle: s.careless, Clock: time.Now}
			inner = struct {
				*connectortest.Faulty
				connector.Settler
			}{f, &connectortest.Careless{Settle: s.careless}}
		}
		own, ok := p.(*desk.Desk)
		if !ok {
			t.Fatalf("the desk is a %T", p)
		}
		return own, f, connector.Wrap("desk", inner, env)
	}
	var snow, own *connector.Conn
	h.snowDesk, h.snow, snow = platform("snow")
	h.ownDesk, h.desk, own = platform("desk")
	if s.routes == nil {
		s.routes = both
	}
	var err error
	h.room, err = ticket.New(ticket.Options{
		Installation: "test", PublicURL: "http://fettle.test", Clock: time.Now, Log: slog.New(slog.DiscardHandler), DB: d, Store: glance{st, h},
		Cursors: st.Records("ticket"), Ask: h, Artefacts: h, Jobs: h, Routes: s.routes, Groups: map[string]string{"cloud": "Cloud operations"},
		Platforms:   []ticket.Platform{{Conn: snow, Conflict: s.conflict}, {Conn: own, Conflict: s.conflict}},
		Match:       func(expr string, i ops.Incident) (bool, error) { return expr == string(i.Severity), nil },
		MatchChange: func(expr string, c ops.Change) (bool, error) { return expr == string(c.Type), nil },
		Person:      func(platform, user string) string { return h.people[platform+"/"+user] },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.room.Register(h)
	h.Hear("correlate", ops.TicketEdited, h.correlate)
	h.run(time.Second) // the first pulls find out where now is
	return h
}

// kindSettler gives the settle time of the platform behind a Faulty.
type kindSettler struct{ behind connector.Platform }

func (k kindSettler) SettleTimeOf(kind ops.TicketKind) time.Duration {
	switch p := k.behind.(type) {
	case connector.KindSettler:
		return p.SettleTimeOf(kind)
	case connector.Settler:
		return p.SettleTime()
	}
	return 0
}

// The queue.

func (h *house) Enqueue(_ context.Context, tx db.Tx, commands ...ops.Command) error {
	tx.AfterCommit(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, c := range commands {
			due := c.At
			if due.IsZero() {
				due = time.Now()
			}
			h.queue = append(h.queue, queued{c, due, len(h.queue)})
		}
	})
	return nil
}

func (h *house) Handle(kind ops.CommandKind, f job.Handler) { h.handlers[kind] = f }

func (h *house) Hear(_ string, kind ops.FactKind, l job.Listener) {
	h.listeners[kind] = append(h.listeners[kind], l)
}

func (h *house) Every(_ string, interval time.Duration, f func(context.Context) error) {
	h.every = append(h.every, &periodic{interval, time.Now(), f})
}

// run works for d of virtual time.
func (h *house) run(d time.Duration) {
	h.Helper()
	end := time.Now().Add(d)
	for {
		h.work()
		next := end
		for _, q := range h.queue {
			if q.due.Before(next) {
				next = q.due
			}
		}
		for _, p := range h.every {
			if p.next.Before(next) {
				next = p.next
			}
		}
		if !next.Before(end) {
			time.Sleep(time.Until(end))
			return
		}
		time.Sleep(time.Until(next))
	}
}

// work does all that is due now.
func (h *house) work() {
	h.Helper()
	ctx := context.Background()
	for range 10000 {
		h.deliver()
		for _, p := range h.every {
			if !p.next.After(time.Now()) {
				p.next = p.next.Add(p.interval)
				_ = p.f(ctx) // a platform that is down is no failure of the test
			}
		}
		h.deliver()
		h.mu.Lock()
		i := -1
		for n, q := range h.queue {
			if !q.due.After(time.Now()) && (i < 0 || q.due.Before(h.queue[i].due)) {
				i = n
			}
		}
		if i < 0 {
			h.mu.Unlock()
			return
		}
		q := h.queue[i]
		h.queue = slices.Delete(h.queue, i, i+1)
		h.mu.Unlock()
		h.carryOut(ctx, q)
	}
	h.Fatal("the queue never empties")
}

func (h *house) carryOut(ctx context.Context, q queued) {
	err := h.handlers[q.c.Kind](ctx, q.c)
	if err == nil {
		return
	}
	var again time.Duration
	if n, scanErr := fmt.Sscanf(err.Error(), "again in %s", new(string)); n == 1 && scanErr == nil {
		var text string
		_, _ = fmt.Sscanf(err.Error(), "again in %s", &text)
		again, _ = time.ParseDuration(text[:len(text)-1])
	} else {
		for _, end := range []error{ops.ErrInvalid, ops.ErrDenied, ops.ErrNotFound, ops.ErrStalled} {
			if errors.Is(ops.Class(err), end) {
				h.ended = append(h.ended, err)
				return
			}
		}
		h.Logf("%s %s: %v", time.Now().Format("15:04:05"), q.c.Kind, err)
		again = 10 * time.Second
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	q.due = time.Now().Add(again)
	h.queue = append(h.queue, q)
}

func (h *house) deliver() {
	h.Helper()
	ctx := context.Background()
	for {
		facts, err := h.store.FactsAfter(ctx, h.heard, 100)
		if err != nil {
			h.Fatal(err)
		}
		if len(facts) == 0 {
			return
		}
		for _, f := range facts {
			for _, l := range h.listeners[f.Kind] {
				if err := h.db.Write(ctx, func(tx db.Tx) error { return l(ctx, tx, f) }); err != nil {
					h.Fatalf("hear %s: %v", f.Kind, err)
				}
			}
			h.heard = f.Seq
		}
	}
}

// Correlate, and what the room asks.

func (h *house) correlate(ctx context.Context, tx db.Tx, f ops.Fact) error {
	b, err := ops.Body[ops.TicketEditedBody](f)
	if err != nil || b.State == "" {
		return err
	}
	for id, i := range h.incidents {
		if i.Subject() != f.Subject || !ops.CanMoveIncident(i.State, b.State) {
			continue
		}
		from := i.State
		i.State = b.State
		h.incidents[id] = i
		by := ops.Principal{Name: b.Person}
		_, err := h.store.Tell(ctx, tx, ops.NewFact(f.Subject, time.Now(), by, f.ID, ops.IncidentMovedBody{Incident: i, From: from, Why: "moved in " + b.Platform, Via: b.Platform}))
		return err
	}
	return nil
}

func (h *house) Incident(_ context.Context, id string) (ops.Incident, error) {
	i, ok := h.incidents[id]
	if !ok {
		return i, ops.ErrNotFound
	}
	return i, nil
}

func (h *house) FirstMembers(_ context.Context, id string, most int) ([]ops.Member, error) {
	members := slices.SortedStableFunc(slices.Values(h.members[id]), func(a, b ops.Member) int {
		return cmp.Or(cmp.Compare(a.State, b.State), a.StartsAt.Compare(b.StartsAt))
	})
	return members[:min(len(members), most)], nil
}

func (h *house) Change(_ context.Context, id string) (ops.Change, error) {
	c, ok := h.changes[id]
	if !ok {
		return c, ops.ErrNotFound
	}
	return c, nil
}

func (h *house) Plans(_ context.Context, changeID string) ([]ops.Plan, error) {
	return h.plans[changeID], nil
}

// Get returns an artefact.
func (h *house) Get(_ context.Context, digest string) ([]byte, error) {
	b, ok := h.artefacts[digest]
	if !ok {
		return nil, fmt.Errorf("artefact %s: %w", digest, ops.ErrNotFound)
	}
	return b, nil
}

func (h *house) FactsAbout(ctx context.Context, subject string) ([]ops.Fact, error) {
	return h.store.FactsAbout(ctx, subject)
}

func (h *house) Recent(context.Context, string, time.Time, time.Time) ([]ops.Series, error) {
	return h.series, h.seriesErr
}

// What the tests say and see.

func (h *house) tell(subject string, body ops.FactBody) ops.Fact {
	h.Helper()
	ctx := context.Background()
	var told []ops.Fact
	err := h.db.Write(ctx, func(tx db.Tx) (err error) {
		told, err = h.store.Tell(ctx, tx, ops.NewFact(subject, time.Now(), ops.SystemPrincipal, "", body))
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return told[0]
}

// incident opens an incident.
func (h *house) incident(severity ops.Severity) ops.Incident {
	h.Helper()
	h.number++
	i := ops.Incident{
		ID: fmt.Sprintf("i%d", h.number), Number: h.number, Title: fmt.Sprintf("high-cpu on web-%d", h.number), Severity: severity,
		State: ops.IncidentNew, Team: "cloud", Resource: fmt.Sprintf("web-%d", h.number), ResourceID: "r1", Firing: 1, Total: 1, OpenedAt: time.Now(),
	}
	h.incidents[i.ID] = i
	h.tell(i.Subject(), ops.IncidentOpenedBody{Incident: i, Why: "first alert of its group"})
	return i
}

// move changes an incident as correlate does and tells it.
func (h *house) move(id string, change func(*ops.Incident), body func(i ops.Incident) ops.FactBody) {
	h.Helper()
	i := h.incidents[id]
	change(&i)
	h.incidents[id] = i
	h.tell(i.Subject(), body(i))
}

func (h *house) resolve(id, why string) {
	h.Helper()
	h.move(id, func(i *ops.Incident) { i.State = ops.IncidentResolved },
		func(i ops.Incident) ops.FactBody { return ops.IncidentResolvedBody{Incident: i, Why: why} })
}

func (h *house) reopen(id string) {
	h.Helper()
	h.move(id, func(i *ops.Incident) { i.State = ops.IncidentInProgress },
		func(i ops.Incident) ops.FactBody { return ops.IncidentReopenedBody{Incident: i, Why: "fires again"} })
}

func (h *house) severity(id string, s ops.Severity) {
	h.Helper()
	was := h.incidents[id].Severity
	h.move(id, func(i *ops.Incident) { i.Severity = s },
		func(i ops.Incident) ops.FactBody { return ops.IncidentGrewBody{Incident: i, Was: was, Why: "worse"} })
}

// on returns the one ticket of an incident on a platform.
func (h *house) on(platform string, i ops.Incident) ops.Ticket {
	h.Helper()
	all, err := h.store.TicketsAbout(context.Background(), i.Subject())
	if err != nil {
		h.Fatal(err)
	}
	for _, t := range all {
		if t.Platform == platform {
			return t
		}
	}
	h.Fatalf("no ticket of %s on %s in %+v", i.Key(), platform, all)
	return ops.Ticket{}
}

// shown returns what people see on a platform.
func (h *house) shown(platform string, i ops.Incident) connector.Copy {
	h.Helper()
	d := h.ownDesk
	if platform == "snow" {
		d = h.snowDesk
	}
	c, err := d.Get(context.Background(), h.on(platform, i).Ref)
	if err != nil {
		h.Fatal(err)
	}
	return c
}

func (h *house) facts(subject string, kind ops.FactKind) []ops.Fact {
	h.Helper()
	all, err := h.store.FactsAbout(context.Background(), subject)
	if err != nil {
		h.Fatal(err)
	}
	return slices.DeleteFunc(all, func(f ops.Fact) bool { return f.Kind != kind })
}

func (h *house) inSync(i ops.Incident) {
	h.Helper()
	all, err := h.store.TicketsAbout(context.Background(), i.Subject())
	if err != nil {
		h.Fatal(err)
	}
	for _, t := range all {
		if t.Sync != ops.SyncOK || t.Work.Dirty {
			h.Errorf("%s on %s is %s (%s), dirty %v", i.Key(), t.Platform, t.Sync, t.SyncNote, t.Work.Dirty)
		}
	}
}

func (h *house) edit(platform string, i ops.Incident, by string, f ops.TicketFields, note string, changed ...connector.Field) {
	h.Helper()
	d := h.ownDesk
	if platform == "snow" {
		d = h.snowDesk
	}
	if _, err := d.Edit(context.Background(), h.on(platform, i).Ref, by, changed, f, note); err != nil {
		h.Fatal(err)
	}
}

// virtual runs f in a bubble of virtual time.
func virtual(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

var errNoSeries = errors.New("the log is gone")
