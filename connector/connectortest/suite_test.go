package connectortest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/desk"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

// The suite is held against itself: a careful driver over HTTP passes every
// rule, and each kind of carelessness fails the rule that is there for it.

// options makes the driver careless in one way each.
type options struct {
	CreatesAnew   bool // does not look the key up
	Overwrites    bool // does not compare versions
	AnyField      bool // writes all fields
	ForgetsNoteID bool
	TrustsHTML    bool // takes every 200 for an answer
	NoUnknown     bool // hides that the outcome is unknown
	LosesCursor   bool // skips what it has not returned
	OthersAreOurs bool
}

type auth struct{ Password string }

// api is a driver for a peer that is a desk behind JSON over HTTP.
type api struct {
	cfg connector.Config[auth, options]
	env connector.Env
}

var apiDriver = connector.Define("api", func(_ context.Context, cfg connector.Config[auth, options], env connector.Env) (connector.Platform, error) {
	return &api{cfg, env}, nil
})

type message struct {
	Key, Ref, Cursor string
	Kind             ops.TicketKind
	Fields           ops.TicketFields
	Edit             connector.Edit
	Note             ops.Note
	Copies           []connector.Copy
	Error            string
}

func (a *api) do(ctx context.Context, op string, e connector.Effect, m message) (message, error) {
	var out message
	b, err := json.Marshal(m)
	if err != nil {
		return out, err
	}
	method := http.MethodPost
	if e == connector.Read {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, a.cfg.URL+"/"+op, bytes.NewReader(b))
	if err != nil {
		return out, err
	}
	secret, err := a.env.Secrets.Resolve(ctx, a.cfg.Auth.Password)
	if err != nil {
		return out, err
	}
	req.SetBasicAuth("fettle", secret)
	resp, err := a.env.HTTP.Do(req, e)
	if err != nil {
		return out, a.hide(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	lost := func(err error) error {
		err = fmt.Errorf("api: %s: %w: %w", op, err, ops.ErrUnavailable)
		if e == connector.Read {
			return err
		}
		return a.hide(&ops.UnknownOutcome{Err: err})
	}
	if err != nil {
		return out, lost(err)
	}
	detail := ""
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		var said struct{ Message string }
		_ = json.Unmarshal(body, &said)
		detail = said.Message
	}
	accept := []string{"application/json"}
	if a.cfg.Options.TrustsHTML {
		accept = nil
	}
	if err := connector.AnswerError(resp, e, a.env.Clock(), detail, accept...); err != nil {
		return out, a.hide(fmt.Errorf("api: %s: %w", op, err))
	}
	var answer *message
	if err := json.Unmarshal(body, &answer); err != nil {
		if a.cfg.Options.TrustsHTML {
			return out, nil
		}
		return out, lost(err)
	}
	if answer == nil {
		return out, lost(errors.New("null"))
	}
	for i := range answer.Copies {
		if a.cfg.Options.OthersAreOurs {
			answer.Copies[i].Own = true
		}
	}
	switch answer.Error {
	case "":
		return *answer, nil
	case "not found":
		return out, fmt.Errorf("api: %s: %w", op, ops.ErrNotFound)
	case "conflict":
		return out, fmt.Errorf("api: %s: %w", op, ops.ErrConflict)
	}
	return out, fmt.Errorf("api: %s: %s: %w", op, answer.Error, ops.ErrInvalid)
}

func (a *api) hide(err error) error {
	var unknown *ops.UnknownOutcome
	if a.cfg.Options.NoUnknown && errors.As(err, &unknown) {
		return unknown.Err
	}
	return err
}

func (a *api) one(ctx context.Context, op string, e connector.Effect, in message) (connector.Copy, error) {
	m, err := a.do(ctx, op, e, in)
	if err != nil {
		return connector.Copy{}, err
	}
	if len(m.Copies) == 1 {
		return m.Copies[0], nil
	}
	err = fmt.Errorf("api: %s: %d tickets came back: %w", op, len(m.Copies), ops.ErrUnavailable)
	if e != connector.Read {
		err = a.hide(&ops.UnknownOutcome{Err: err})
	}
	return connector.Copy{}, err
}

func (a *api) Create(ctx context.Context, key string, kind ops.TicketKind, f ops.TicketFields) (connector.Copy, error) {
	if a.cfg.Options.CreatesAnew {
		n, _ := a.env.Records.List(ctx, "n/", "", 1000)
		_ = a.env.Records.Write(ctx, record.Edit{Key: fmt.Sprintf("n/%06d", len(n)), Value: []byte("x")})
		c, err := a.one(ctx, "create", connector.Once, message{Key: fmt.Sprintf("%s+%d", key, len(n)), Kind: kind, Fields: f})
		c.Key = key
		return c, err
	}
	return a.one(ctx, "create", connector.Once, message{Key: key, Kind: kind, Fields: f})
}

func (a *api) Update(ctx context.Context, ref string, e connector.Edit) (connector.Copy, error) {
	if a.cfg.Options.Overwrites {
		now, err := a.Get(ctx, ref)
		if err != nil {
			return now, err
		}
		e.Version = now.Version
	}
	if a.cfg.Options.AnyField {
		e.Changed = connector.Fields
	}
	return a.one(ctx, "update", connector.Repeat, message{Ref: ref, Edit: e})
}

func (a *api) AddNote(ctx context.Context, ref string, n ops.Note) error {
	if a.cfg.Options.ForgetsNoteID {
		n.ID = "x"
	}
	m, err := a.do(ctx, "note", connector.Once, message{Ref: ref, Note: n})
	if err == nil && m.Cursor != "noted" && !a.cfg.Options.TrustsHTML {
		err = a.hide(&ops.UnknownOutcome{Err: fmt.Errorf("api: note: no such answer: %w", ops.ErrUnavailable)})
	}
	return err
}

func (a *api) Get(ctx context.Context, ref string) (connector.Copy, error) {
	return a.one(ctx, "get", connector.Read, message{Ref: ref})
}

func (a *api) Find(ctx context.Context, key string) ([]connector.Copy, error) {
	m, err := a.do(ctx, "find", connector.Read, message{Key: key})
	if err == nil && m.Cursor != "found" {
		err = fmt.Errorf("api: find: no such answer: %w", ops.ErrUnavailable)
	}
	return m.Copies, err
}

func (a *api) Changes(ctx context.Context, cursor string) ([]connector.Copy, string, error) {
	m, err := a.do(ctx, "changes", connector.Read, message{Cursor: cursor})
	if err == nil && m.Cursor == "" {
		err = fmt.Errorf("api: changes: no cursor: %w", ops.ErrUnavailable)
	}
	if err == nil && a.cfg.Options.LosesCursor && len(m.Copies) > 1 {
		m.Copies = m.Copies[:1]
	}
	return m.Copies, m.Cursor, err
}

// serve is the peer: a desk behind HTTP.
func serve(d *desk.Desk) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in, out message
		_ = json.NewDecoder(r.Body).Decode(&in)
		ctx := context.WithoutCancel(r.Context())
		var c connector.Copy
		var err error
		single := true
		switch r.URL.Path {
		case "/create":
			c, err = d.Create(ctx, in.Key, in.Kind, in.Fields)
		case "/update":
			c, err = d.Update(ctx, in.Ref, in.Edit)
		case "/get":
			c, err = d.Get(ctx, in.Ref)
		case "/note":
			err = d.AddNote(ctx, in.Ref, in.Note)
			single, out.Cursor = false, "noted"
		case "/find":
			out.Copies, err = d.Find(ctx, in.Key)
			single, out.Cursor = false, "found"
		case "/changes":
			out.Copies, out.Cursor, err = d.Changes(ctx, in.Cursor)
			single = false
		}
		if single {
			out.Copies = []connector.Copy{c}
		}
		if err != nil {
			out = message{Error: err.Error()}
			switch {
			case errors.Is(err, ops.ErrNotFound):
				out.Error = "not found"
			case errors.Is(err, ops.ErrConflict):
				out.Error = "conflict"
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out)
	})
}

// inProcess carries requests to a handler without a network.
type inProcess struct{ h http.Handler }

func (p inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, req)
	return w.Result(), nil
}

func apiHarness(t *testing.T, o Values) Harness {
	t.Helper()
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	c, err := desk.Driver.Open(t.Context(), connector.Settings{}, connector.Env{Name: "peer", PublicURL: "http://peer.test", Clock: clock, Records: &record.Memory{}})
	if err != nil {
		t.Fatal(err)
	}
	peer, ok := c.Inner().(*desk.Desk)
	if !ok {
		t.Fatalf("the desk is a %T", c.Inner())
	}
	return Harness{
		Settings: connector.Settings{URL: "http://peer.test", Auth: Values{"Password": "env:PASSWORD"}, Options: o},
		Secrets:  map[string]string{"env:PASSWORD": "hunter2"},
		User:     "fettle", People: [2]string{"anna", "ben"}, Missing: "DESK-999999",
		Transport: inProcess{serve(peer)}, Now: clock, Wait: func(d time.Duration) { now = now.Add(d) },
		Edit: func(t *testing.T, ref, user string, changed []connector.Field, f ops.TicketFields, note string) {
			t.Helper()
			if _, err := peer.Edit(context.Background(), ref, user, changed, f, note); err != nil {
				t.Error(err)
			}
		},
		Count: func(t *testing.T, key string) int {
			t.Helper()
			all, err := peer.List(context.Background(), 0, 1000)
			if err != nil {
				t.Error(err)
			}
			n := 0
			for _, c := range all {
				if k, _, _ := strings.Cut(c.Key, "+"); k == key {
					n++
				}
			}
			return n
		},
	}
}

func TestCarefulDriverPasses(t *testing.T) {
	Run(t, apiDriver, func(t *testing.T) Harness { t.Helper(); return apiHarness(t, nil) })
}

func TestCarelessDriverFails(t *testing.T) {
	f := func(rule string, o Values) {
		t.Helper()
		for _, r := range Rules {
			if r.Name != rule {
				continue
			}
			rec := &recorder{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				s := newSuite(rec, t, apiDriver, apiHarness(t, o))
				r.Test(s)
				s.noSecrets()
			}()
			<-done
			if !rec.failed {
				t.Errorf("rule %q passes a driver with %v", rule, o)
			}
			return
		}
		t.Errorf("there is no rule %q", rule)
	}
	f("create twice", Values{"CreatesAnew": true})
	f("create concurrently", Values{"CreatesAnew": true})
	f("lost answer", Values{"CreatesAnew": true})
	f("stale update", Values{"Overwrites": true})
	f("only named fields", Values{"AnyField": true})
	f("note", Values{"ForgetsNoteID": true})
	f("lost note", Values{"ForgetsNoteID": true})
	f("page instead of an answer", Values{"TrustsHTML": true})
	f("nonsense", Values{"TrustsHTML": true})
	f("server error", Values{"NoUnknown": true})
	f("lost answer", Values{"NoUnknown": true})
	f("resume", Values{"LosesCursor": true})
	f("edits by others", Values{"OthersAreOurs": true})
}

// recorder notes a failure instead of failing.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Error(...any)          { r.failed = true }
func (r *recorder) Fatal(...any)          { r.failed = true; runtime.Goexit() }
func (r *recorder) Fatalf(string, ...any) { r.failed = true; runtime.Goexit() }
