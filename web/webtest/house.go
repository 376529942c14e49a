// Package webtest builds the user interface on a real store with real rooms
// and a small estate that is the same on every run. The tests of the pages and
// the screenshots of the README use it.
package webtest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fettleops/fettle/analytics"
	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/change/recommend"
	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/desk"
	"github.com/fettleops/fettle/correlate"
	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/job/jobtest"
	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/store"
	"github.com/fettleops/fettle/web"
)

// start is the instant the estate is looked at: Thu 19 Nov 2026 05:12 UTC.
var start = time.Date(2026, 11, 19, 5, 12, 0, 0, time.UTC)

// House is the user interface with everything behind it.
type House struct {
	Web       *web.Web
	Store     *store.Store
	DB        *db.DB
	Gate      *change.Room
	Advice    *recommend.Placer
	Notify    *notify.Room
	Incidents *correlate.Room
	Series    *series.History
	Desk      *desk.Desk
	// Tokens holds a token per person: ada (admin), max (approver), rea
	// (responder), vic (viewer), bot (a service).
	Tokens map[string]string
	People map[string]ops.Principal

	t     testing.TB
	watch *watch
	mu    sync.Mutex
	now   time.Time
	ids   int
}

// Now returns the house's clock.
func (h *House) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// At sets the house's clock.
func (h *House) At(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = t
}

// Advance moves the house's clock.
func (h *House) Advance(d time.Duration) { h.At(h.Now().Add(d)) }

// Sessions adapts the store to what the pages ask. It is what app does, with
// the store's own transactions.
type Sessions struct {
	Store *store.Store
	DB    *db.DB
	Lasts time.Duration
}

// SignIn opens a session for a token.
func (s Sessions) SignIn(ctx context.Context, token string) (cookie, csrf string, err error) {
	of, err := s.Store.PrincipalBySecret(ctx, token)
	if err != nil {
		return "", "", err
	}
	err = s.DB.Write(ctx, func(tx db.Tx) error {
		id, session, err := s.Store.CreateSession(ctx, tx, of, s.Lasts)
		cookie, csrf = id, session.CSRF
		return err
	})
	return cookie, csrf, err
}

// Session returns who a cookie belongs to.
func (s Sessions) Session(ctx context.Context, cookie string) (ops.Principal, string, error) {
	session, err := s.Store.SessionByID(ctx, cookie)
	return session.Principal, session.CSRF, err
}

// SignOut ends a session.
func (s Sessions) SignOut(ctx context.Context, cookie string) error {
	return s.DB.Write(ctx, func(tx db.Tx) error { return s.Store.EndSession(ctx, tx, cookie) })
}

// gate is the change room with the switch's state, which the store holds.
type gate struct {
	*change.Room
	*store.Store
}

// pulse is a steady trickle of signals.
type pulse struct{}

func (pulse) Pulse(context.Context) (samples, alerts int64, err error) { return 41_180, 12, nil }

// schema is what every database here begins with.
var schema = dbtest.Laid(jobtest.Migrate)

// Empty returns a house with people and nothing that happened.
func Empty(t testing.TB) *House {
	t.Helper()
	ctx := context.Background()
	h := &House{t: t, now: start, watch: &watch{}, Tokens: map[string]string{}, People: map[string]ops.Principal{}}
	h.DB = schema.Open(t)
	log := slog.New(slog.DiscardHandler)
	h.Store = store.New(h.DB, h.Now)
	queue, err := job.Open(ctx, h.DB, h.Store, job.Options{Clock: h.Now, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	windows := []ops.Window{{Name: "EU data tier", Schedule: "0 22 * * *", Duration: 4 * time.Hour, Cutoff: 30 * time.Minute, TimeZone: "Europe/Dublin"}, {
		Name: "Nightly patching", Schedule: "0 1 * * *", Duration: 45 * time.Minute, TimeZone: "UTC", Mute: true, Applies: `resource.labels.instance.startsWith("checkout-")`,
	}}
	freezes := []ops.Window{{Name: "Year end", Deny: true, TimeZone: "Europe/Dublin", From: time.Date(2026, 11, 27, 6, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 30, 18, 0, 0, 0, time.UTC)}}
	book, err := window.NewBook(append(slices.Clone(windows), freezes...))
	if err != nil {
		t.Fatal(err)
	}
	h.Gate, err = change.New(change.Config{
		Windows: windows, Freezes: freezes,
		Approval: []change.ApprovalRule{{
			Match: "true", Approvers: []ops.Approvers{{Role: ops.Approver, Count: 1}}, Expires: 72 * time.Hour,
		}},
		Executors: []change.Executor{{Name: "shell"}},
	}, change.Deps{DB: h.DB, Rows: h.Store, Ledger: h.Store, Queue: queue, Inventory: h.Store, Incidents: h.Store, Tickets: h.Store, Clock: h.Now, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	h.Advice, err = recommend.New(recommend.Config{Rules: []recommend.Rule{
		{Name: "ec2", Match: `recommendation.service == "ec2"`, Executor: "shell", Action: "resize", Args: []string{"${resource}", "${recommended}"}},
	}}, recommend.Deps{
		DB: h.DB, Log: h.Store, Rows: h.Store, Ledger: h.Store, Gate: h.Gate, Inventory: h.Store, Tickets: h.Store, Queue: queue, Clock: h.Now, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Gate.OnEnd(h.Advice.Settle)
	h.Incidents = correlate.New(correlate.Config{}, correlate.Deps{
		Log: h.Store, Store: h.Store, Facts: h.Store, Resources: h.Store, DB: h.DB, Clock: h.Now, NewID: h.id, Logger: log,
	})
	h.Notify, err = notify.New(notify.Options{
		DB: h.DB, Journal: h.Store, Ask: h.Store, Queue: queue, Routes: routes(t), PublicURL: "https://fettle.example.com", Clock: h.Now, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Series = series.Open(h.Store, h.DB, h.Now, series.Retention{})
	p, err := desk.Open(ctx, desk.Config{}, connector.Env{Name: "desk", Clock: h.Now, Log: log, Records: h.Store.Records("desk")})
	if err != nil {
		t.Fatal(err)
	}
	var ok bool
	if h.Desk, ok = p.(*desk.Desk); !ok {
		t.Fatalf("the desk is a %T", p)
	}
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Fatal(err)
	}
	h.Web, err = web.New(web.Deps{
		Sessions: Sessions{h.Store, h.DB, 12 * time.Hour}, Record: h.Store, Series: h.Series, Incidents: h.Incidents,
		Senses: &detect.Viewer{Watching: h.watch, Record: h.Store, Windows: h.Gate}, Gate: gate{h.Gate, h.Store}, Advice: h.Advice, Channels: h.Notify,
		Analytics: &analytics.Room{Teams: []analytics.Team{{Name: "EUC", Zone: zone, Hour: 19}, {Name: "Support", Zone: zone, Hour: 19}}, Record: h.Store, Facts: h.Store, DB: h.DB, Clock: h.Now, Logger: log},
		Windows:   book, Desk: h.Desk, DeskName: "desk", Pulse: pulse{}, Clock: h.Now, Logger: log, Version: "1.0",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		name, full string
		kind       ops.PrincipalKind
		roles      []ops.Role
	}{
		{"ada", "Ada Byron", ops.Person, []ops.Role{ops.Admin}},
		{"max", "Max Keller", ops.Person, []ops.Role{ops.Approver}},
		{"rea", "Rea Silva", ops.Person, []ops.Role{ops.Responder}},
		{"vic", "Vic Moss", ops.Person, []ops.Role{ops.Viewer}},
		{"bot", "deploy-bot", ops.Service, []ops.Role{ops.Admin}},
	} {
		h.person(p.name, ops.Principal{Name: p.full, Kind: p.kind, Roles: p.roles})
	}
	return h
}

// Write runs a transaction and ends the test when it fails.
func (h *House) Write(fn func(ctx context.Context, tx db.Tx) error) {
	h.t.Helper()
	if err := h.DB.Write(context.Background(), func(tx db.Tx) error { return fn(context.Background(), tx) }); err != nil {
		h.t.Fatal(err)
	}
}

func (h *House) person(short string, p ops.Principal) {
	h.Write(func(ctx context.Context, tx db.Tx) error {
		p, err := h.Store.UpsertPrincipal(ctx, tx, p)
		if err != nil {
			return err
		}
		h.People[short] = p
		h.Tokens[short], _, err = h.Store.CreateToken(ctx, tx, ops.SystemPrincipal, p, "test", time.Time{})
		return err
	})
}

// Tell records a fact at an instant.
func (h *House) Tell(at time.Time, by ops.Principal, subject string, body ops.FactBody) {
	h.t.Helper()
	h.Write(func(ctx context.Context, tx db.Tx) error {
		_, err := h.Store.Tell(ctx, tx, ops.NewFact(subject, at, by, "", body))
		return err
	})
}

// id returns the next id of an estate that is the same on every run.
func (h *House) id() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids++
	return fmt.Sprintf("01936b00-0000-7000-8000-%012d", h.ids)
}
