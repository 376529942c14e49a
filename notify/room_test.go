package notify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/job/jobtest"
	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
	"github.com/fettleops/fettle/store"
)

// receiver remembers what it got, and answers as it is told.
type receiver struct {
	mu     sync.Mutex
	got    []notify.Message
	at     []time.Time
	answer func(n int, m notify.Message) error // nth call, from 0; nil: taken
	calls  int
}

// Send implements notify.Channel.
func (r *receiver) Send(_ context.Context, m notify.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.calls
	r.calls++
	if r.answer != nil {
		if err := r.answer(n, m); err != nil {
			return err
		}
	}
	r.got, r.at = append(r.got, m), append(r.at, time.Now())
	return nil
}

func (r *receiver) titles() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, m := range r.got {
		out = append(out, m.Title)
	}
	return out
}

// world is a room over a real store.
type world struct {
	t       *testing.T
	db      *db.DB
	store   *store.Store
	queue   *jobtest.Queue
	room    *notify.Room
	options notify.Options
}

// ask answers from what the test says.
type ask struct {
	changes map[string]ops.Change
	tickets map[string][]ops.Ticket
}

func (a ask) Change(_ context.Context, id string) (ops.Change, error) {
	if c, ok := a.changes[id]; ok {
		return c, nil
	}
	return ops.Change{}, ops.ErrNotFound
}

func (ask) Incident(context.Context, string) (ops.Incident, error) {
	return ops.Incident{}, ops.ErrNotFound
}

func (ask) Resource(context.Context, string) (ops.Resource, error) {
	return ops.Resource{ID: "r", Labels: map[string]string{"env": "prod"}}, nil
}

func (a ask) TicketsAbout(_ context.Context, subject string) ([]ops.Ticket, error) {
	return a.tickets[subject], nil
}

// schema is what every database here begins with.
var schema = dbtest.Laid(store.Migrate)

func newWorld(t *testing.T, routes ...notify.Route) *world {
	t.Helper()
	d := schema.Open(t)
	w := &world{t: t, db: d, store: store.New(d, time.Now)}
	w.options = notify.Options{
		DB: d, Journal: w.store, Ask: ask{}, Routes: routes, PublicURL: "https://fettle.example", Clock: time.Now, Log: slog.New(slog.DiscardHandler), TicketWait: -1,
	}
	w.start()
	return w
}

// start makes the room anew, as a restart does. Commands that were queued are
// queued again by the caller.
func (w *world) start() {
	w.t.Helper()
	w.queue = jobtest.New(w.db, w.store)
	w.options.Queue = w.queue
	var err error
	if w.room, err = notify.New(w.options); err != nil {
		w.t.Fatal(err)
	}
	if err := w.room.Begin(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.room.Register(w.queue)
}

func (w *world) tell(subject string, body ops.FactBody) {
	w.t.Helper()
	err := w.db.Write(w.t.Context(), func(tx db.Tx) error {
		_, err := w.store.Tell(w.t.Context(), tx, ops.NewFact(subject, time.Now(), ops.Principal{Name: "mia"}, "", body))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// run lets the room work for a time.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	end := time.Now().Add(d)
	heard := false // Run delivers before it asks for a second time
	err := w.queue.Run(w.t.Context(), d+time.Hour, func() bool {
		idle := heard && w.queue.Waiting() == 0
		heard = true
		return idle || !time.Now().Before(end)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(time.Until(end)) // nothing comes by itself
}

func (w *world) states() map[ops.NotificationState]int {
	w.t.Helper()
	all, err := w.store.Notifications(w.t.Context(), ops.NotificationFilter{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[ops.NotificationState]int{}
	for _, n := range all {
		out[n.State]++
	}
	return out
}

func incident(n int64, severity ops.Severity) ops.Incident {
	return ops.Incident{ID: fmt.Sprintf("i%d", n), Number: n, Title: "disk is full", Severity: severity, State: ops.IncidentNew, Resource: "db-1", ResourceID: "r"}
}

func (w *world) opened(n int64, severity ops.Severity) {
	w.t.Helper()
	i := incident(n, severity)
	w.tell(i.Subject(), ops.IncidentOpenedBody{Incident: i, Count: 1, Why: "because"})
}

func play(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func TestAFactIsToldOnce(t *testing.T) {
	play(t, "heard twice", func(t *testing.T) {
		r := &receiver{}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r})
		w.opened(1, ops.High)
		w.run(time.Minute)
		w.start() // jobtest delivers every fact again
		w.run(time.Minute)
		if got := r.titles(); !slices.Equal(got, []string{"INC-1 opened: disk is full"}) {
			t.Errorf("told %q", got)
		}
		m := r.got[0]
		if m.Link != "https://fettle.example/incidents/INC-1" || m.Why != "because" || m.Severity != ops.High || m.ID == "" || m.Event != "incident.opened" {
			t.Errorf("the message: %+v", m)
		}
	})
	play(t, "in each channel", func(t *testing.T) {
		a, b := &receiver{}, &receiver{}
		w := newWorld(t, notify.Route{Name: "a", Channel: a}, notify.Route{Name: "b", Channel: b})
		w.opened(1, ops.High)
		w.run(time.Minute)
		if len(a.got) != 1 || len(b.got) != 1 || a.got[0].ID == b.got[0].ID {
			t.Errorf("a got %v, b got %v", a.titles(), b.titles())
		}
	})
}

func TestQuietWhenNothingChanged(t *testing.T) {
	play(t, "incident", func(t *testing.T) {
		r := &receiver{}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r})
		i := incident(1, ops.High)
		grew := func(to, was ops.Severity) {
			i.Severity = to
			w.tell(i.Subject(), ops.IncidentGrewBody{Incident: i, Count: 1, Was: was})
		}
		w.opened(1, ops.High)
		grew(ops.High, ops.High)
		grew(ops.High, ops.High)
		grew(ops.Critical, ops.High)
		grew(ops.High, ops.Critical)
		grew(ops.Critical, ops.High) // as bad as people know it to be
		i.State = ops.IncidentResolved
		w.tell(i.Subject(), ops.IncidentResolvedBody{Incident: i})
		i.State = ops.IncidentClosed
		w.tell(i.Subject(), ops.IncidentMovedBody{Incident: i, From: ops.IncidentResolved, Via: "page"})
		i.State, i.Reopened = ops.IncidentInProgress, 1
		w.tell(i.Subject(), ops.IncidentReopenedBody{Incident: i})
		grew(ops.Critical, ops.Critical)
		i.State = ops.IncidentResolved
		w.tell(i.Subject(), ops.IncidentMovedBody{Incident: i, From: ops.IncidentInProgress, Via: "page"})
		w.run(time.Minute)
		want := []string{"INC-1 opened: disk is full", "INC-1 is critical now: disk is full", "INC-1 resolved: disk is full", "INC-1 fires again: disk is full", "INC-1 resolved: disk is full"}
		if got := r.titles(); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
	play(t, "maintenance", func(t *testing.T) {
		r := &receiver{}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r, On: []ops.FactKind{ops.IncidentOpened}})
		i := incident(1, ops.High)
		i.Muted = "night"
		w.tell(i.Subject(), ops.IncidentOpenedBody{Incident: i})
		w.run(time.Minute)
		if got := r.titles(); len(got) != 0 {
			t.Errorf("told in maintenance: %q", got)
		}
		i.Muted = ""
		w.tell(i.Subject(), ops.IncidentGrewBody{Incident: i, Was: i.Severity, Why: "the maintenance window night is over"})
		w.run(time.Minute)
		if got := r.titles(); !slices.Equal(got, []string{"INC-1 opened: disk is full"}) {
			t.Errorf("told after maintenance: %q", got)
		}
	})
	play(t, "old news", func(t *testing.T) {
		r := &receiver{}
		w := newWorld(t)
		w.opened(1, ops.High)
		time.Sleep(time.Hour)
		w.options.Routes = []notify.Route{{Name: "chat", Channel: r}}
		w.start() // a channel that comes later, and every fact from the beginning
		w.opened(2, ops.High)
		w.run(time.Minute)
		if got := r.titles(); !slices.Equal(got, []string{"INC-2 opened: disk is full"}) {
			t.Errorf("told %q", got)
		}
	})
}

func TestWhichFactsAreNews(t *testing.T) { play(t, "facts", whichFactsAreNews) }

func whichFactsAreNews(t *testing.T) {
	r := &receiver{}
	w := newWorld(t, notify.Route{Name: "chat", Channel: r})
	c := ops.Change{ID: "c1", Number: 7, Title: "restart", State: ops.ChangeAuthorize, Resource: "web-1", ResourceID: "r", Revision: 1}
	run := ops.Run{ID: "run", ChangeID: c.ID}
	w.options.Ask = ask{changes: map[string]ops.Change{c.ID: c}}
	w.start()
	with := func(shape func(c *ops.Change)) ops.Change {
		out := c
		shape(&out)
		return out
	}
	f := func(body ops.FactBody, want string, severity ops.Severity) {
		t.Helper()
		r.got = nil
		w.tell(c.Subject(), body)
		w.run(time.Minute)
		switch got := r.titles(); {
		case want == "" && len(got) != 0:
			t.Errorf("%s: told %q, want nothing", body.FactKind(), got)
		case want != "" && (len(got) != 1 || !strings.Contains(got[0], want) || r.got[0].Severity != severity):
			t.Errorf("%s: told %q (%+v), want %q (%s)", body.FactKind(), got, r.got, want, severity)
		}
		// The next one may say the same.
		if err := w.db.Write(t.Context(), func(tx db.Tx) error { _, err := tx.Exec(t.Context(), "DELETE FROM notification"); return err }); err != nil {
			t.Fatal(err)
		}
	}
	held := with(func(c *ops.Change) { c.Run = &ops.Run{ID: "run", State: ops.RunHeld}; c.Waiting = "held: look" })
	f(ops.ApprovalRequestedBody{Change: with(func(c *ops.Change) { c.Approvers = []ops.Approvers{{Role: "approver", Count: 1}} }), Digest: "0123456789abcdef", Text: "~ size"}, "CHG-7 waits for approval: restart", ops.Medium)
	f(ops.ApprovalRequestedBody{Change: c, Digest: "0123456789abcdef"}, "", "")
	f(ops.RunStartedBody{Run: run, Window: ops.Occurrence{Window: "night"}}, "CHG-7 starts", ops.Info)
	if text := fmt.Sprint(r.got[0]); strings.Contains(text, "always open") {
		t.Errorf("a window of one night: %s", text)
	}
	f(ops.RunStartedBody{Run: run, Window: ops.Occurrence{Window: "any", Start: time.Unix(0, 0), End: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}}, "CHG-7 starts", ops.Info)
	if text := fmt.Sprint(r.got[0]); !strings.Contains(text, "Window any, always open.") || strings.Contains(text, "1970") {
		t.Errorf("a window that never closes: %s", text)
	}
	f(ops.RunMovedBody{Change: held, From: ops.RunRunning, Why: "lost"}, "CHG-7 is held", ops.Critical)
	f(ops.RunMovedBody{Change: held, From: ops.RunHeld}, "", "")
	f(ops.RunMovedBody{Change: with(func(c *ops.Change) { c.Run = &ops.Run{ID: "run", State: ops.RunVerifying} }), From: ops.RunRunning}, "", "")
	f(ops.RunFailedBody{Run: run, Error: "exit 1"}, "CHG-7 failed", ops.High)
	f(ops.RunFailedBody{Run: run, Unknown: true}, "nobody knows how", ops.High)
	f(ops.RunRolledBackBody{Run: run}, "CHG-7 was rolled back", ops.High)
	f(ops.RunRolledBackBody{Run: run, Error: "exit 2"}, "could not be rolled back", ops.Critical)
	f(ops.VerdictGivenBody{Verdict: ops.Verdict{ChangeID: "c1", RunID: "run", Word: ops.Worse}}, "made things worse", ops.High)
	f(ops.VerdictGivenBody{Verdict: ops.Verdict{ChangeID: "c1", RunID: "run", Word: ops.Inconclusive}}, "a person must look", ops.Medium)
	f(ops.VerdictGivenBody{Verdict: ops.Verdict{ChangeID: "c1", RunID: "run", Word: ops.Better}}, "", "")
	f(ops.VerdictGivenBody{Verdict: ops.Verdict{ChangeID: "gone", RunID: "run", Word: ops.Worse}}, "", "")
	f(ops.BreakGlassAskedBody{Change: c, Glass: ops.BreakGlass{Freeze: "year-end", ByName: "ivo"}, Roles: []ops.Role{ops.IncidentCommander}}, "asks to override the freeze year-end", ops.High)
	f(ops.GlassBrokenBody{Change: c, Glass: ops.BreakGlass{Freeze: "year-end"}}, "overrides the freeze year-end", ops.Critical)
	f(ops.ChangeEndedBody{Change: with(func(c *ops.Change) { c.State, c.Outcome = ops.ChangeClosed, ops.Successful })}, "CHG-7 is closed, successful", ops.Info)
	f(ops.ChangeEndedBody{Change: with(func(c *ops.Change) { c.State, c.Outcome = ops.ChangeCancelled, ops.MissedWindow })}, "CHG-7 is cancelled, missed window", ops.Medium)
	f(ops.ExecutionSwitchBody{Reason: "drill"}, "All execution is stopped", ops.High)
	f(ops.ExecutionResumedBody{Reason: "over"}, "Execution goes on", ops.High)
}

func when(t *testing.T, text string) *policy.Program {
	t.Helper()
	p, err := policy.Compile(policy.Notice, text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRoutes(t *testing.T) {
	f := func(route notify.Route, want ...string) {
		t.Helper()
		play(t, fmt.Sprint(route.On, route.When), func(t *testing.T) {
			r := &receiver{}
			route := route
			route.Name, route.Channel = "chat", r
			w := newWorld(t, route)
			w.opened(1, ops.Critical)
			w.opened(2, ops.Low)
			w.tell(ops.SystemSubject, ops.ExecutionSwitchBody{Reason: "drill"})
			w.run(time.Minute)
			var got []string
			for _, m := range r.got {
				got = append(got, strings.TrimSpace(m.Event+" "+m.Key))
			}
			if !slices.Equal(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
		})
	}
	f(notify.Route{}, "incident.opened INC-1", "incident.opened INC-2", "execution.stopped")
	f(notify.Route{On: []ops.FactKind{ops.IncidentOpened}}, "incident.opened INC-1", "incident.opened INC-2")
	f(notify.Route{When: when(t, `incident.severity == "critical" || fact.kind != "IncidentOpened"`)}, "incident.opened INC-1", "execution.stopped")
	f(notify.Route{When: when(t, `notice.severity in ["critical", "high"] && fact.principal == "mia"`)}, "incident.opened INC-1", "execution.stopped")
	f(notify.Route{When: when(t, `resource.labels.env == "prod"`)}, "incident.opened INC-1", "incident.opened INC-2")
	f(notify.Route{When: when(t, `change.resource.labels.env == "test"`)})
	// A condition that fails is told: too much is seen, too little is not.
	f(notify.Route{On: []ops.FactKind{ops.ExecutionStopped}, When: when(t, `incident.number / incident.number == 1`)}, "execution.stopped")
	_, err := notify.New(notify.Options{Log: slog.New(slog.DiscardHandler), Routes: []notify.Route{{Name: "x", On: []ops.FactKind{"Nothing"}}}})
	if !errors.Is(err, ops.ErrInvalid) {
		t.Errorf("a fact that nobody is told: %v", err)
	}
}

// At most so many an hour, whatever comes, and then one digest with the rest.
func TestAtMostSoManyAnHourAndThenADigest(t *testing.T) {
	play(t, "storm", func(t *testing.T) {
		const limit, all = 3, 20
		r := &receiver{}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r, Traits: notify.Traits{PerHour: limit}})
		for n := range int64(all) {
			w.opened(n+1, ops.Medium)
			w.run(3 * time.Minute)
		}
		w.run(2 * time.Hour)
		seen := map[string]int{}
		for i, m := range r.got {
			if i >= limit && r.at[i].Sub(r.at[i-limit]) < time.Hour {
				t.Errorf("message %d came %s after the one %d before it", i, r.at[i].Sub(r.at[i-limit]), limit)
			}
			if m.Event == "digest" {
				for _, h := range m.Held {
					seen[strings.Fields(h.Title)[0]]++
				}
				continue
			}
			seen[m.Key]++
		}
		for n := range all {
			if key := fmt.Sprintf("INC-%d", n+1); seen[key] != 1 {
				t.Errorf("%s was told %d times", key, seen[key])
			}
		}
		if s := w.states(); s[ops.NotificationHeld]+s[ops.NotificationWaiting]+s[ops.NotificationSending] != 0 {
			t.Errorf("still open: %v", s)
		}
	})
	play(t, "one held", func(t *testing.T) {
		r := &receiver{}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r, Traits: notify.Traits{PerHour: 1}})
		w.opened(1, ops.Low)
		w.opened(2, ops.Critical)
		w.run(59 * time.Minute)
		if got := r.titles(); len(got) != 1 {
			t.Errorf("within the hour: %q", got)
		}
		w.run(2 * time.Minute)
		if got := r.titles(); len(got) != 2 || got[1] != "1 notification was held back" || r.got[1].Severity != ops.Critical || r.got[1].Held[0].Title != "INC-2 opened: disk is full" {
			t.Errorf("after the hour: %+v", r.got)
		}
		listed, err := w.store.Notifications(t.Context(), ops.NotificationFilter{Digest: r.got[1].ID})
		if err != nil || len(listed) != 1 || listed[0].State != ops.NotificationListed {
			t.Errorf("listed: %+v, %v", listed, err)
		}
	})
	play(t, "without a limit", func(t *testing.T) {
		r := &receiver{}
		w := newWorld(t, notify.Route{Name: "bus", Channel: r})
		for n := range int64(100) {
			w.opened(n+1, ops.Low)
		}
		w.run(time.Minute)
		if len(r.got) != 100 {
			t.Errorf("%d of 100 came", len(r.got))
		}
	})
}

func unavailable() error { return fmt.Errorf("chat: status 503: %w", ops.ErrUnavailable) }

func TestTriedAgainAsFarAsItHelps(t *testing.T) {
	f := func(name string, repeats bool, answer func(n int) error, took time.Duration, calls int, want map[ops.NotificationState]int) {
		t.Helper()
		play(t, name, func(t *testing.T) {
			r := &receiver{answer: func(n int, _ notify.Message) error { return answer(n) }}
			w := newWorld(t, notify.Route{Name: "chat", Channel: r, Traits: notify.Traits{Repeats: repeats}, GiveUpAfter: time.Hour})
			w.opened(1, ops.High)
			w.run(took)
			got := w.states()
			if r.calls != calls || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%d calls, %v; want %d, %v", r.calls, got, calls, want)
			}
		})
	}
	until := func(n int, err error) func(int) error {
		return func(i int) error {
			if i < n {
				return err
			}
			return nil
		}
	}
	sent := map[ops.NotificationState]int{ops.NotificationSent: 1}
	givenUp := map[ops.NotificationState]int{ops.NotificationGivenUp: 1}
	unknown := &ops.UnknownOutcome{Err: unavailable()}
	f("taken later", false, until(3, unavailable()), time.Hour, 4, sent)
	f("throttled", false, until(1, &ops.Throttled{After: 10 * time.Minute, Err: unavailable()}), 11*time.Minute, 2, sent)
	f("refused", false, until(9, fmt.Errorf("no such channel: %w", ops.ErrNotFound)), time.Hour, 1, givenUp)
	f("denied", true, until(9, fmt.Errorf("wrong token: %w", ops.ErrDenied)), time.Hour, 1, givenUp)
	f("unknown, and the receiver recognises it", true, until(2, unknown), time.Hour, 3, sent)
	// It goes into the next digest, which is taken.
	f("unknown, and it does not", false, until(1, unknown), time.Hour, 2, map[ops.NotificationState]int{ops.NotificationSent: 1, ops.NotificationListed: 1})
	// A digest in doubt is followed by no digest of digests.
	f("unknown for ever", false, until(99, unknown), 2*time.Hour, 2, map[ops.NotificationState]int{ops.NotificationGivenUp: 1, ops.NotificationListed: 1})
	play(t, "never", func(t *testing.T) {
		r := &receiver{answer: func(int, notify.Message) error { return unavailable() }}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r, GiveUpAfter: time.Hour})
		w.opened(1, ops.High)
		w.run(3 * time.Hour)
		all, err := w.store.Notifications(t.Context(), ops.NotificationFilter{})
		if err != nil || len(all) != 1 || all[0].State != ops.NotificationGivenUp || !strings.Contains(all[0].Error, "not taken within 1h") || !strings.Contains(all[0].Error, "status 503") {
			t.Errorf("given up: %+v, %v", all, err)
		}
		if n := r.calls; n < 5 || n > 2000 {
			t.Errorf("%d attempts", n)
		}
	})
}

// What is about the same thing comes in order, also when the first is delayed.
func TestOrder(t *testing.T) {
	play(t, "order", func(t *testing.T) {
		r := &receiver{answer: func(n int, _ notify.Message) error {
			if n < 3 {
				return unavailable()
			}
			return nil
		}}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r})
		i := incident(1, ops.High)
		w.opened(1, ops.High)
		i.State = ops.IncidentResolved
		w.tell(i.Subject(), ops.IncidentResolvedBody{Incident: i})
		w.run(time.Hour)
		if got := r.titles(); !slices.Equal(got, []string{"INC-1 opened: disk is full", "INC-1 resolved: disk is full"}) {
			t.Errorf("told %q", got)
		}
	})
}

// killed ends the process, as far as the room can tell: what the panic leaves
// behind is what a crash leaves.
type killed struct{}

// A crash while a message is being sent is the one moment in which nobody can
// know. What follows is what the receiver can bear.
func TestACrashBetweenSendAndMark(t *testing.T) {
	f := func(repeats bool, messages int, states string) {
		t.Helper()
		play(t, fmt.Sprint("repeats ", repeats), func(t *testing.T) {
			r := &receiver{}
			w := newWorld(t, notify.Route{Name: "chat", Traits: notify.Traits{Repeats: repeats}, Channel: sender(func(ctx context.Context, m notify.Message) error {
				if err := r.Send(ctx, m); err != nil {
					return err
				}
				if len(r.got) == 1 {
					panic(killed{})
				}
				return nil
			})})
			w.opened(1, ops.High)
			func() {
				defer func() {
					if p := recover(); p != (killed{}) {
						t.Fatalf("the process was not killed: %v", p)
					}
				}()
				w.run(time.Minute)
			}()
			all, err := w.store.Notifications(t.Context(), ops.NotificationFilter{})
			if err != nil || len(all) != 1 || all[0].State != ops.NotificationSending {
				t.Fatalf("left behind: %+v, %v", all, err)
			}
			w.start()
			w.queue.Add(ops.NewCommand(ops.SendNotice, "notification/"+all[0].ID, ops.SendNoticeBody{NotificationID: all[0].ID}))
			w.run(10 * time.Minute)
			same := 0
			for _, m := range r.got {
				if m.ID == all[0].ID {
					same++
				}
			}
			if got := fmt.Sprint(w.states()); len(r.got) != messages || got != states || same > 1 && !repeats {
				t.Errorf("%d messages, %d of them the same, %s; want %d, %s", len(r.got), same, got, messages, states)
			}
			if last := r.got[len(r.got)-1]; !repeats && (len(last.Held) != 1 || !last.Held[0].Unsure) {
				t.Errorf("people do not hear of the doubt: %+v", last)
			}
		})
	}
	f(true, 2, "map[sent:1]")
	f(false, 2, "map[listed:1 sent:1]")
}

type sender func(ctx context.Context, m notify.Message) error

// Send implements notify.Channel.
func (s sender) Send(ctx context.Context, m notify.Message) error { return s(ctx, m) }

func TestTickets(t *testing.T) {
	play(t, "waits a little", func(t *testing.T) {
		r := &receiver{}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r})
		tickets := map[string][]ops.Ticket{"incident/i1": {{Platform: "snow"}}}
		w.options.Ask, w.options.TicketWait = ask{tickets: tickets}, 5*time.Second
		w.start()
		w.opened(1, ops.High)
		w.opened(2, ops.High)
		w.run(2 * time.Second)
		if len(r.got) != 0 {
			t.Errorf("it was told before its ticket had a number")
		}
		tickets["incident/i1"] = []ops.Ticket{{Platform: "snow", Ref: "x", Display: "INC0010001", URL: "https://snow.example/x"}}
		w.run(8 * time.Second)
		if len(r.got) != 2 || len(r.got[0].Tickets) != 1 || r.got[0].Tickets[0].Display != "INC0010001" || len(r.got[1].Tickets) != 0 {
			t.Errorf("told %+v", r.got)
		}
	})
}

func TestAChannelThatIsGone(t *testing.T) {
	play(t, "gone", func(t *testing.T) {
		w := newWorld(t, notify.Route{Name: "chat", Channel: &receiver{answer: func(int, notify.Message) error { return unavailable() }}})
		w.opened(1, ops.High)
		w.run(time.Second)
		all, err := w.store.Notifications(t.Context(), ops.NotificationFilter{})
		if err != nil || len(all) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		w.options.Routes = nil
		w.start()
		w.queue.Add(ops.NewCommand(ops.SendNotice, "notification/"+all[0].ID, ops.SendNoticeBody{NotificationID: all[0].ID}))
		w.run(time.Minute)
		if s := w.states(); s[ops.NotificationGivenUp] != 1 {
			t.Errorf("what waited for it: %v", s)
		}
	})
}

func TestTestMessage(t *testing.T) {
	r := &receiver{}
	w := newWorld(t, notify.Route{Name: "chat", Driver: "slack", Channel: r, On: []ops.FactKind{ops.ChangeEnded}, When: when(t, "true"), Traits: notify.Traits{PerHour: 5}})
	by := ops.Principal{Name: "mia"}
	if err := w.room.Test(t.Context(), by, "chat"); err != nil || len(r.got) != 1 || r.got[0].Event != "test" || !strings.Contains(r.got[0].Why, "mia") {
		t.Errorf("a test: %v, %+v", err, r.got)
	}
	if err := w.room.Test(t.Context(), by, "none"); !errors.Is(err, notify.ErrNoChannel) || !errors.Is(err, ops.ErrNotFound) {
		t.Errorf("no channel: %v", err)
	}
	r.answer = func(int, notify.Message) error { return fmt.Errorf("wrong token: %w", ops.ErrDenied) }
	if err := w.room.Test(t.Context(), by, "chat"); !errors.Is(err, ops.ErrDenied) {
		t.Errorf("refused: %v", err)
	}
	got, err := w.room.Channels(t.Context())
	if err != nil || len(got) != 1 || got[0].Name != "chat" || got[0].Driver != "slack" || got[0].PerHour != 5 || got[0].When != "true" || got[0].Since.IsZero() {
		t.Errorf("channels: %+v, %v", got, err)
	}
}
