package correlate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

// world is the room on a real store, with a signal log and a clock in hand.
type world struct {
	t     *testing.T
	room  *Room
	store *store.Store
	db    *db.DB
	log   *signalLog
	now   time.Time
	muted string
}

// signalLog is a signal log in memory; its cursor lives in the store.
type signalLog struct {
	*store.Store
	messages []ops.Message
}

func (l *signalLog) FollowSignals(_ context.Context, after int64, limit int) ([]ops.Message, error) {
	rest := l.messages[after:]
	return rest[:min(limit, len(rest))], nil
}

type namedResources struct{}

func (namedResources) ResolveResources(_ context.Context, _ db.Tx, refs []ops.ResourceRef) ([]string, error) {
	out := make([]string, len(refs))
	for i, r := range refs {
		out[i] = "res-" + r.Name
	}
	return out, nil
}

func (w *world) Muted(context.Context, ops.Alert, time.Time) (string, bool) {
	return w.muted, w.muted != ""
}

// schema is what every database here begins with.
var schema = dbtest.Laid(store.Migrate)

func newWorld(t *testing.T, cfg Config) *world {
	t.Helper()
	d := schema.Open(t)
	w := &world{t: t, db: d, now: time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)}
	w.store = store.New(d, func() time.Time { return w.now })
	w.log = &signalLog{Store: w.store}
	w.restart(cfg)
	return w
}

// restart forgets everything that is not stored.
func (w *world) restart(cfg Config) {
	w.room = New(cfg, Deps{
		Log: w.log, Store: w.store, Facts: w.store, Resources: namedResources{}, Windows: w, DB: w.db,
		Clock: func() time.Time { return w.now }, NewID: w.store.NewID, Logger: slog.New(slog.DiscardHandler),
	})
}

func (w *world) after(d time.Duration) { w.now = w.now.Add(d) }

// say puts alerts into the log and lets the room decide.
func (w *world) say(alerts ...ops.Alert) {
	w.t.Helper()
	for _, a := range alerts {
		w.log.messages = append(w.log.messages, ops.Message{Seq: int64(len(w.log.messages) + 1), Integration: "prom", Source: "alertmanager", RecordedAt: w.now, Signals: []ops.Signal{{Alert: &a}}})
	}
	w.run()
}

func (w *world) run() {
	w.t.Helper()
	if _, err := w.room.catchUp(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	if err := w.room.settle(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) alert(rule, host string, state ops.AlertState, change ...func(*ops.Alert)) ops.Alert {
	a := ops.Alert{
		Fingerprint: ops.Fingerprint("prom", rule, map[string]string{"instance": host}), Rule: rule, Title: rule + " on " + host,
		Severity: ops.High, State: state, StartsAt: w.now, Resource: ops.ResourceRef{Name: host}, Labels: map[string]string{"instance": host, "service": "shop"},
	}
	if state == ops.Resolved {
		a.EndsAt = w.now
	}
	for _, c := range change {
		c(&a)
	}
	return a
}

// incidents describes all incidents, oldest first: key, state, severity, firing of total.
func (w *world) incidents() string {
	w.t.Helper()
	list, err := w.store.Incidents(context.Background(), ops.IncidentFilter{})
	if err != nil {
		w.t.Fatal(err)
	}
	var lines []string
	for _, i := range list {
		line := fmt.Sprintf("%s %s %s %d/%d", i.Key(), i.State, i.Severity, i.Firing, i.Total)
		if i.Flapping {
			line += " flapping"
		}
		if i.Muted != "" {
			line += " muted"
		}
		lines = append([]string{line}, lines...)
	}
	return strings.Join(lines, "; ")
}

// facts describes the facts since the last call.
func (w *world) facts() string {
	w.t.Helper()
	facts, err := w.store.FactsAfter(context.Background(), 0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	var kinds []string
	for _, f := range facts {
		kinds = append(kinds, string(f.Kind))
	}
	return strings.Join(kinds, " ")
}

func (w *world) want(incidents, facts string) {
	w.t.Helper()
	if got := w.incidents(); got != incidents {
		w.t.Errorf("incidents:\n got %s\nwant %s", got, incidents)
	}
	if got := w.facts(); got != facts {
		w.t.Errorf("facts:\n got %s\nwant %s", got, facts)
	}
}

func severity(s ops.Severity) func(*ops.Alert) { return func(a *ops.Alert) { a.Severity = s } }

func TestAStormIsOneIncident(t *testing.T) {
	w := newWorld(t, Config{GroupBy: []string{"service", "rule"}})
	var storm []ops.Alert
	for i := range 400 {
		storm = append(storm, w.alert("HighLatency", fmt.Sprintf("web%d", i), ops.Firing))
	}
	w.say(storm...)
	w.want("INC-1 new high 400/400", "IncidentOpened")
	members, err := w.store.Members(context.Background(), mustIncident(t, w, "INC-1").ID)
	if err != nil || len(members) != 400 {
		t.Fatalf("members: %d, %v", len(members), err)
	}
	for _, m := range members {
		if m.Why == "" {
			t.Fatalf("no reason recorded for %s", m.Fingerprint)
		}
	}
}

func mustIncident(t *testing.T, w *world, key string) ops.Incident {
	t.Helper()
	i, err := w.store.Incident(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestResolvesOnlyWithTheLastMember(t *testing.T) {
	w := newWorld(t, Config{GroupBy: []string{"rule"}})
	start := w.now
	at := func(a *ops.Alert) { a.StartsAt = start }
	w.say(w.alert("HighCPU", "a", ops.Firing), w.alert("HighCPU", "b", ops.Firing, severity(ops.Critical)))
	w.after(time.Minute)
	w.say(w.alert("HighCPU", "b", ops.Resolved, at))
	w.want("INC-1 new high 1/2", "IncidentOpened IncidentShrank")
	w.after(time.Minute)
	w.say(w.alert("HighCPU", "a", ops.Resolved, at))
	w.want("INC-1 resolved high 0/2", "IncidentOpened IncidentShrank IncidentResolved")
}

func TestTheSameMessageTwiceChangesNothing(t *testing.T) {
	w := newWorld(t, Config{})
	firing := w.alert("HighCPU", "a", ops.Firing)
	w.say(firing)
	w.say(firing, firing)
	w.want("INC-1 new high 1/1", "IncidentOpened")
	w.after(time.Minute)
	over := w.alert("HighCPU", "a", ops.Resolved, func(a *ops.Alert) { a.StartsAt = firing.StartsAt })
	w.say(over)
	w.say(firing, over) // the sender repeats the whole episode
	w.want("INC-1 resolved high 0/1", "IncidentOpened IncidentResolved")
}

func TestFiringAgainReopensWithinTheWindowAndOpensAnewAfter(t *testing.T) {
	w := newWorld(t, Config{ReopenWithin: time.Hour})
	episode := func() {
		start := w.now
		w.say(w.alert("HighCPU", "a", ops.Firing))
		w.after(time.Minute)
		w.say(w.alert("HighCPU", "a", ops.Resolved, func(a *ops.Alert) { a.StartsAt = start }))
	}
	episode()
	w.after(59 * time.Minute)
	episode()
	w.want("INC-1 resolved high 0/1", "IncidentOpened IncidentResolved IncidentReopened IncidentResolved")
	w.after(61 * time.Minute)
	episode()
	w.want("INC-1 resolved high 0/1; INC-2 resolved high 0/1", "IncidentOpened IncidentResolved IncidentReopened IncidentResolved IncidentOpened IncidentResolved")
}

func TestSeverityFollowsTheWorstFiringMember(t *testing.T) {
	w := newWorld(t, Config{})
	start := w.now
	w.say(w.alert("HighCPU", "a", ops.Firing))
	w.after(time.Minute)
	w.say(w.alert("HighCPU", "a", ops.Firing, severity(ops.Critical), func(a *ops.Alert) { a.StartsAt = start }))
	w.want("INC-1 new critical 1/1", "IncidentOpened IncidentGrew")
	w.after(time.Minute)
	w.say(w.alert("HighCPU", "a", ops.Firing, severity(ops.Low), func(a *ops.Alert) { a.StartsAt = start }))
	w.want("INC-1 new low 1/1", "IncidentOpened IncidentGrew IncidentShrank")
}

func TestAnIdleIncidentTakesNoNewAlerts(t *testing.T) {
	w := newWorld(t, Config{GroupBy: []string{"rule"}, Within: 10 * time.Minute})
	w.say(w.alert("HighCPU", "a", ops.Firing))
	w.after(9 * time.Minute)
	w.say(w.alert("HighCPU", "b", ops.Firing))
	w.after(11 * time.Minute)
	w.say(w.alert("HighCPU", "c", ops.Firing))
	w.want("INC-1 new high 2/2; INC-2 new high 1/1", "IncidentOpened IncidentGrew IncidentOpened")
}

func TestFlappingIsDamped(t *testing.T) {
	w := newWorld(t, Config{FlapChanges: 4, FlapWithin: 30 * time.Minute})
	start := w.now
	w.say(w.alert("Link", "a", ops.Firing))
	for range 10 {
		w.after(time.Minute)
		w.say(w.alert("Link", "a", ops.Resolved, func(a *ops.Alert) { a.StartsAt = start }))
		w.after(time.Minute)
		start = w.now
		w.say(w.alert("Link", "a", ops.Firing))
	}
	w.after(time.Minute)
	w.say(w.alert("Link", "a", ops.Resolved, func(a *ops.Alert) { a.StartsAt = start }))
	told := w.facts()
	if n := len(strings.Fields(told)); n > 8 {
		t.Errorf("21 changes told %d facts: %s", n, told)
	}
	members, err := w.store.Members(t.Context(), mustIncident(t, w, "INC-1").ID)
	if err != nil || len(members) != 1 || members[0].Joined != 5 { // by the third change back; from then on it flaps
		t.Errorf("%+v, %v, want one alert that joined by message 5", members, err)
	}
	if got, want := w.incidents(), "INC-1 in_progress high 0/1 flapping"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	w.after(31 * time.Minute)
	w.run()
	if got, want := w.incidents(), "INC-1 resolved high 0/1"; got != want {
		t.Errorf("after the quiet time: got %s, want %s", got, want)
	}
}

func TestAMutedIncidentSpeaksUpWhenItsWindowEnds(t *testing.T) {
	w := newWorld(t, Config{})
	w.muted = "sunday-night"
	w.say(w.alert("HighCPU", "a", ops.Firing))
	w.want("INC-1 new high 1/1 muted", "IncidentOpened")
	w.muted = ""
	w.after(time.Minute)
	w.run()
	w.want("INC-1 new high 1/1", "IncidentOpened IncidentGrew")
}

func TestARestartRemembers(t *testing.T) {
	w := newWorld(t, Config{})
	firing := w.alert("HighCPU", "a", ops.Firing)
	w.say(firing)
	w.restart(Config{})
	w.after(time.Minute)
	w.say(firing, w.alert("HighCPU", "a", ops.Resolved, func(a *ops.Alert) { a.StartsAt = firing.StartsAt }))
	w.want("INC-1 resolved high 0/1", "IncidentOpened IncidentResolved")
}

func TestAPersonResolvesAndOnlyANewEpisodeReopens(t *testing.T) {
	w := newWorld(t, Config{})
	ctx := context.Background()
	firing := w.alert("HighCPU", "a", ops.Firing)
	w.say(firing)
	ann := ops.Principal{Name: "ann", Kind: ops.Person, Roles: []ops.Role{ops.Responder}}
	if _, err := w.room.Move(ctx, ann, "INC-1", ops.IncidentResolved, "restarted it", "page"); err != nil {
		t.Fatal(err)
	}
	w.after(2 * time.Minute)
	w.say(firing) // the sender repeats itself
	w.want("INC-1 resolved high 1/1", "IncidentOpened IncidentMoved")
	w.after(time.Minute)
	w.say(w.alert("HighCPU", "a", ops.Firing))
	w.want("INC-1 in_progress high 1/1", "IncidentOpened IncidentMoved IncidentReopened")
}

func TestAViewerMayNotMove(t *testing.T) {
	w := newWorld(t, Config{})
	w.say(w.alert("HighCPU", "a", ops.Firing))
	_, err := w.room.Move(context.Background(), ops.Principal{Name: "eve", Roles: []ops.Role{ops.Viewer}}, "INC-1", ops.IncidentResolved, "", "api")
	if !errors.Is(err, ops.ErrDenied) {
		t.Errorf("got %v, want a denial", err)
	}
	w.want("INC-1 new high 1/1", "IncidentOpened")
}

func TestAnEditInAPlatformMovesTheIncident(t *testing.T) {
	w := newWorld(t, Config{})
	ctx := context.Background()
	w.say(w.alert("HighCPU", "a", ops.Firing))
	i := mustIncident(t, w, "INC-1")
	err := w.db.Write(ctx, func(tx db.Tx) error {
		told, err := w.store.Tell(ctx, tx, ops.NewFact(i.Subject(), w.now, ops.SystemPrincipal, "", ops.TicketEditedBody{Platform: "snow", Display: "INC0010001", By: "bob", State: ops.IncidentClosed}))
		if err != nil {
			return err
		}
		return w.room.hearTicketEdited(ctx, tx, told[0])
	})
	if err != nil {
		t.Fatal(err)
	}
	w.want("INC-1 closed high 1/1", "IncidentOpened TicketEdited IncidentMoved IncidentMoved")
}

func TestAConflictingWriteIsDecidedAgain(t *testing.T) {
	w := newWorld(t, Config{})
	w.say(w.alert("HighCPU", "a", ops.Firing))
	i := mustIncident(t, w, "INC-1")
	i.Version++
	err := w.db.Write(context.Background(), func(tx db.Tx) error { return w.store.SaveIncident(context.Background(), tx, i, i.State) })
	if err != nil {
		t.Fatal(err)
	}
	w.after(time.Minute)
	a := w.alert("HighCPU", "a", ops.Firing, severity(ops.Critical), func(a *ops.Alert) { a.StartsAt = w.now.Add(-time.Minute) })
	w.log.messages = append(w.log.messages, ops.Message{Seq: 2, Integration: "prom", RecordedAt: w.now, Signals: []ops.Signal{{Alert: &a}}})
	if _, err := w.room.catchUp(context.Background()); !errors.Is(err, ops.ErrConflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
	w.room.memory = nil // as Run does
	w.run()
	w.want("INC-1 new critical 1/1", "IncidentOpened IncidentGrew")
}

func TestAnEndCountsByWhenItIsOver(t *testing.T) {
	f := func(ends time.Duration, want string) {
		t.Helper()
		w := newWorld(t, Config{})
		start := w.now
		w.say(w.alert("HighCPU", "a", ops.Firing))
		w.after(2 * time.Minute)
		w.say(w.alert("HighCPU", "a", ops.Resolved, func(a *ops.Alert) {
			a.StartsAt, a.EndsAt = start.Add(-time.Minute), start.Add(ends)
		}))
		if got := w.incidents(); got != want {
			t.Errorf("an end %s from the start that is known: got %s, want %s", ends, got, want)
		}
	}
	f(time.Minute, "INC-1 resolved high 0/1")
	f(-time.Second, "INC-1 new high 1/1") // the end of an episode before this one
}
