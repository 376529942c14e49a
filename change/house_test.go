package change_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/change/runbook"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

// house is the change room on a real store, with a queue, an inventory and a
// clock that the test turns by hand.
type house struct {
	t      testing.TB
	ctx    context.Context
	db     change.Transactor
	store  record
	room   *change.Room
	config change.Config
	now    time.Time
	value  *float64 // what the senses measure

	resources map[string]ops.Resource
	people    map[string]ops.Principal // by name
	needs     map[string][]string      // what a resource depends on
	tickets   []ops.Ticket
	members   []ops.Member // of all incidents
	listeners map[ops.FactKind]job.Listener
	handlers  map[ops.CommandKind]job.Handler
	sweep     func(context.Context) error
	commands  []ops.Command // every command ever given
}

// record is where the house keeps everything: the store, or memory.
type record interface {
	change.Rows
	change.Ledger
	Changes(ctx context.Context, f ops.ChangeFilter) ([]ops.Change, error)
	FactsAfter(ctx context.Context, after int64, limit int, kinds ...ops.FactKind) ([]ops.Fact, error)
	FactsAbout(ctx context.Context, subject string) ([]ops.Fact, error)
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// schema is what every database here begins with.
var schema = dbtest.Laid(store.Migrate)

func newHouse(t testing.TB, c change.Config) *house {
	t.Helper()
	h := newEmptyHouse(t, c)
	d := schema.Open(t)
	h.db, h.store = d, store.New(d, func() time.Time { return h.now })
	h.restart()
	return h
}

// newEmptyHouse has no store and no room yet.
func newEmptyHouse(t testing.TB, c change.Config) *house {
	h := &house{t: t, ctx: context.Background(), config: c, now: at("2026-11-21T10:00:00Z"), resources: map[string]ops.Resource{}, people: map[string]ops.Principal{}, needs: map[string][]string{}}
	for _, p := range []ops.Principal{owner, manager, second, robot, viewer} {
		h.people[p.Name] = p
	}
	for i := range 4 {
		id := fmt.Sprintf("r%d", i)
		env := "prod"
		if i == 3 {
			env = "test"
		}
		h.resources[id] = ops.Resource{ID: id, Name: "host" + id, Labels: map[string]string{"env": env}}
	}
	return h
}

// restart builds the room anew on what the store holds.
func (h *house) restart() {
	h.t.Helper()
	g, err := change.NewGate(h.config)
	if err != nil {
		h.t.Fatal(err)
	}
	h.restartOn(g)
}

// restartOn is restart with a gate that is compiled already.
func (h *house) restartOn(g *change.Gate) {
	h.listeners, h.handlers = map[ops.FactKind]job.Listener{}, map[ops.CommandKind]job.Handler{}
	h.room = change.NewRoomOn(g, change.Deps{
		DB: h.db, Rows: h.store, Ledger: h.store, Queue: h, Inventory: h, Incidents: h, Senses: h, People: h, Graph: h, Tickets: h,
		Clock: func() time.Time { return h.now }, Log: slog.New(slog.DiscardHandler),
	})
	h.room.Register(h)
}

// TicketsAbout returns the tickets, whatever they are about.
func (h *house) TicketsAbout(context.Context, string) ([]ops.Ticket, error) { return h.tickets, nil }

func (h *house) Incident(_ context.Context, id string) (ops.Incident, error) {
	return ops.Incident{ID: id, Number: 1}, nil
}

func (h *house) Joined(_ context.Context, incidentID string, span ops.Span) (out []ops.Member, err error) {
	for _, m := range h.members {
		if m.IncidentID == incidentID && span.First <= m.Joined && m.Joined <= span.Last {
			out = append(out, m)
		}
	}
	return out, nil
}

func (h *house) Enqueue(_ context.Context, tx db.Tx, commands ...ops.Command) error {
	commands = slices.Clone(commands)
	tx.AfterCommit(func() { h.commands = append(h.commands, commands...) })
	return nil
}

func (h *house) Handle(k ops.CommandKind, f job.Handler) { h.handlers[k] = f }

func (h *house) Hear(_ string, k ops.FactKind, l job.Listener)                      { h.listeners[k] = l }
func (h *house) Every(_ string, _ time.Duration, f func(ctx context.Context) error) { h.sweep = f }

func (h *house) Resource(_ context.Context, id string) (ops.Resource, error) {
	r, ok := h.resources[id]
	if !ok {
		return r, fmt.Errorf("resource %s: %w", id, ops.ErrNotFound)
	}
	return r, nil
}

func (h *house) Principal(_ context.Context, idOrName string) (ops.Principal, error) {
	p, ok := h.people[idOrName]
	if !ok {
		return p, fmt.Errorf("principal %s: %w", idOrName, ops.ErrNotFound)
	}
	return p, nil
}

func (h *house) Needs(_ context.Context, id string) ([]string, error) { return h.needs[id], nil }

func (h *house) NeededBy(_ context.Context, id string) (out []string, err error) {
	for from, needs := range h.needs {
		if slices.Contains(needs, id) {
			out = append(out, from)
		}
	}
	return out, nil
}

func (h *house) CountResources(context.Context) (int, error) { return len(h.resources), nil }
func (h *house) Measure(context.Context, ops.Alert) (float64, bool) {
	if h.value == nil {
		return 0, false
	}
	return *h.value, true
}

// tell records a fact of another room and, unless told otherwise, has the room
// hear it.
func (h *house) tell(subject string, body ops.FactBody) ops.Fact {
	h.t.Helper()
	var told []ops.Fact
	err := h.db.Write(h.ctx, func(tx db.Tx) (err error) {
		told, err = h.store.Tell(h.ctx, tx, ops.NewFact(subject, h.now, ops.SystemPrincipal, "", body))
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.hear(told[0])
	return told[0]
}

func (h *house) hear(f ops.Fact) {
	h.t.Helper()
	l, ok := h.listeners[f.Kind]
	if !ok {
		return
	}
	if err := h.db.Write(h.ctx, func(tx db.Tx) error { return l(h.ctx, tx, f) }); err != nil {
		h.t.Fatalf("hear %s: %v", f.Kind, err)
	}
}

// wakeDue carries out every WakeChange whose time has come, until none is left.
func (h *house) wakeDue() {
	h.t.Helper()
	for i := 0; i < len(h.commands); i++ {
		c := h.commands[i]
		if c.Kind != ops.WakeChange || c.At.After(h.now) {
			continue
		}
		h.commands[i].Kind = "done"
		if err := h.handlers[ops.WakeChange](h.ctx, c); err != nil {
			h.t.Fatalf("wake %s: %v", c.Subject, err)
		}
	}
}

// order returns the commands of a kind given so far for a change.
func (h *house) orders(kind ops.CommandKind, id string) (out []ops.Command) {
	for _, c := range h.commands {
		if c.Kind == kind && c.Subject == ops.ChangeSubject(id) {
			out = append(out, c)
		}
	}
	return out
}

func (h *house) change(idOrKey string) ops.Change {
	h.t.Helper()
	c, err := h.store.Change(h.ctx, idOrKey)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// alert opens an incident with one alert of high CPU.
func (h *house) alert(resource string, value float64) ops.Alert {
	h.t.Helper()
	a := ops.Alert{Rule: "high-cpu", State: ops.Firing, Severity: ops.High, Resource: ops.ResourceRef{ID: resource, Name: "host" + resource}, Context: ops.AlertContext{Value: &value}}
	h.tell("incident/i-"+resource, ops.IncidentOpenedBody{Incident: ops.Incident{ID: "i-" + resource, Number: 1, ResourceID: resource}, Alerts: []ops.Alert{a}, Count: 1})
	return a
}

// only returns the only live change there is.
func (h *house) only() ops.Change {
	h.t.Helper()
	all, err := h.store.Changes(h.ctx, ops.ChangeFilter{})
	if err != nil {
		h.t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(c ops.Change) bool { return c.State.Terminal() })
	if len(all) != 1 {
		h.t.Fatalf("%d live changes, want 1", len(all))
	}
	return all[0]
}

func plan(c ops.Change, variant string, undo bool) ops.Plan {
	p := ops.Plan{
		ID: fmt.Sprintf("%s-plan-%d", c.ID, c.Revision), ChangeID: c.ID, Revision: c.Revision, Executor: c.Executor, Tool: "command", Target: c.Resource,
		Actions: []ops.PlanAction{{Resource: c.Resource, Verb: "run", Args: []string{c.Action, variant}}}, ApplySecs: 60, RollbackSecs: 120, Text: "+ " + c.Action,
	}
	if undo {
		p.Rollback = []ops.PlanAction{{Resource: c.Resource, Verb: "run", Args: []string{"undo", variant}}}
	}
	p.Digest = p.ComputeDigest()
	return p
}

// planned has the executor make a plan for the change.
func (h *house) planned(c ops.Change, undo bool) ops.Change {
	h.t.Helper()
	h.tell(c.Subject(), ops.PlanMadeBody{Plan: plan(c, "a", undo)})
	return h.change(c.ID)
}

func (h *house) facts(id string) []ops.Fact {
	h.t.Helper()
	facts, err := h.store.FactsAbout(h.ctx, ops.ChangeSubject(id))
	if err != nil {
		h.t.Fatal(err)
	}
	return facts
}

func (h *house) count(id string, kind ops.FactKind) (n int) {
	for _, f := range h.facts(id) {
		if f.Kind == kind {
			n++
		}
	}
	return n
}

func person(id string, roles ...ops.Role) ops.Principal {
	return ops.Principal{ID: id, Name: id, Kind: ops.Person, Roles: roles}
}

var (
	owner   = person("olga", ops.ApplicationOwner)
	manager = person("mia", ops.ChangeManager)
	second  = person("sam", ops.ChangeManager)
	robot   = ops.Principal{ID: "robot", Name: "robot", Kind: ops.Service, Roles: []ops.Role{ops.Admin}}
	viewer  = person("vic", ops.Viewer)
)

func testConfig() change.Config {
	low, high := 0.1, 0.9
	return change.Config{
		Windows: []ops.Window{
			{Name: "night", Schedule: "cron(0 2 * * ? *)", Duration: 4 * time.Hour, Cutoff: time.Hour, TimeZone: "UTC", Applies: `resource.labels.env == "prod"`},
			{Name: "test", Schedule: "always", TimeZone: "UTC", Applies: `resource.labels.env == "test"`},
			{Name: "maintenance", Schedule: "0 12 * * *", Duration: time.Hour, TimeZone: "UTC", Mute: true, Applies: `resource.labels.env == "test"`},
		},
		Freezes: []ops.Window{{Name: "freeze", TimeZone: "UTC", From: at("2026-11-23T00:00:00Z"), To: at("2026-11-25T00:00:00Z")}},
		Approval: []change.ApprovalRule{
			{Match: `change.type == "standard" && change.risk < 0.2`, Automatically: true},
			{Match: `change.resource.labels.env == "prod"`, Approvers: []ops.Approvers{{Role: ops.ApplicationOwner, Count: 1}, {Role: ops.ChangeManager, Count: 1}}, Expires: 72 * time.Hour},
		},
		Limits:    change.Limits{Count: 3, Per: time.Hour, BlastRadius: 50},
		Executors: []change.Executor{{Name: "host"}, {Name: "aws", Apply: time.Minute, Rollback: time.Minute}},
		Runbooks: []runbook.Config{
			{Name: "cpu", Trigger: `alert.rule == "high-cpu"`, Risk: &low, VerifyWithin: 5 * time.Minute, Cooldown: 10 * time.Minute, Steps: []runbook.Step{
				{When: "value > 0.9", Executor: "host", Action: "scale"}, {When: "value > 0.8", Executor: "host", Action: "kill"},
			}},
			{Name: "risky", Trigger: `alert.rule == "disk"`, Risk: &high, VerifyWithin: 5 * time.Minute, Cooldown: 10 * time.Minute, Steps: []runbook.Step{{Executor: "aws", Action: "extend"}}},
		},
		MaxAge: 20 * 24 * time.Hour,
	}
}

func is(t testing.TB, err, class error) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("error is %v, want %v", err, class)
	}
}
