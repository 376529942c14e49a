package connectortest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

// Rule is one thing every driver does, and why it must.
type Rule struct {
	Name   string
	Why    string
	HTTP   bool // only for drivers that speak HTTP
	Change bool // only for platforms with change requests
	Order  bool // only for platforms with work orders
	Task   bool // only for platforms that keep tasks with change requests
	Test   func(s *Suite)
}

// Rules lists what Run proves, in order.
var Rules = slices.Concat(contentRules, feedRules, changeRules, taskRules, orderRules, faultRules)

// Suite is one rule at work on one peer.
type Suite struct {
	testing.TB
	Harness

	t      *testing.T // for the harness's hands
	driver connector.Driver
	conn   *connector.Conn
	wire   *wire
	log    *logBuffer
	cursor string  // for the rules about faults
	errs   []error // every error a call gave, to be searched for secrets
}

// Run proves that d keeps the contract. start is called once per rule and
// returns a peer; it may be the same one, as every rule uses keys of its own.
func Run(t *testing.T, d connector.Driver, start func(t *testing.T) Harness) {
	for _, r := range Rules {
		t.Run(strings.ReplaceAll(r.Name, " ", "_"), func(t *testing.T) {
			h := start(t)
			if r.HTTP && h.Transport == nil {
				t.Skip("the driver speaks no HTTP")
			}
			if r.Change && h.Decide == nil {
				t.Skip("the platform has no change requests")
			}
			if r.Order && h.Offer == nil {
				t.Skip("the platform has no work orders")
			}
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("why %q matters: %s", r.Name, r.Why)
				}
			})
			s := newSuite(t, t, d, h)
			switch keeps := s.conn.KeepsTasks(); {
			case keeps != (h.Tasks != nil):
				t.Fatalf("the driver says that it keeps tasks: %v; the harness can count them: %v", keeps, !keeps)
			case r.Task && !keeps:
				t.Skip("the platform keeps no tasks")
			}
			r.Test(s)
			s.noSecrets()
		})
	}
}

func newSuite(tb testing.TB, t *testing.T, d connector.Driver, h Harness) *Suite {
	t.Helper()
	if h.Records == nil {
		h.Records = &record.Memory{}
	}
	if h.Kind == "" {
		h.Kind = ops.TicketIncident
	}
	if h.Now == nil {
		h.Now = time.Now
	}
	if h.Wait == nil {
		h.Wait = time.Sleep
	}
	if h.IsWrite == nil {
		h.IsWrite = func(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }
	}
	if h.Fields.Title == "" {
		h.Fields = ops.TicketFields{
			Title: "CPU of web-1 above 90 %", Description: "Alert: high-cpu\nResource: web-1\nÜmlaut, <b>tag</b> & 'quote' \"double\" ^caret",
			State: string(ops.IncidentNew), Severity: ops.High, Group: h.Fields.Group, Resource: h.Fields.Resource, Extra: h.Fields.Extra,
		}
	}
	s := &Suite{TB: tb, t: t, Harness: h, driver: d, log: &logBuffer{}}
	if h.Transport != nil {
		s.wire = &wire{peer: h.Transport, isWrite: h.IsWrite}
	}
	s.conn = s.open(h.Settings, h.Secrets)
	return s
}

func (s *Suite) open(settings connector.Settings, secrets map[string]string) *connector.Conn {
	s.Helper()
	env := connector.Env{
		Name: "peer", Installation: "connectortest", User: s.User, PublicURL: "http://fettle.test", Clock: s.Now,
		Log: slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Secrets: secretMap(secrets), Records: s.Records,
	}
	if s.wire != nil {
		env.HTTP = s.wire
	}
	c, err := s.driver.Open(s.Context(), settings, env)
	if err != nil {
		s.Fatalf("open: %v", err)
	}
	s.Cleanup(func() { _ = c.Close() })
	return c
}

// noSecrets fails when anything that was said shows a secret.
func (s *Suite) noSecrets() {
	s.Helper()
	said := []string{s.log.String()}
	for _, err := range s.errs {
		said = append(said, err.Error())
	}
	for ref, v := range s.Secrets {
		for _, text := range said {
			if strings.Contains(text, v) {
				s.Errorf("secret %s shows in: %.300s", ref, text)
			}
		}
	}
}

// key returns a key nobody used before.
func (s *Suite) key() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// fails notes err, which must be of class want, for the search for secrets.
func (s *Suite) fails(what string, err, want error) {
	s.Helper()
	if err == nil {
		s.Errorf("%s: no error, want %v", what, want)
		return
	}
	s.errs = append(s.errs, err)
	if got := ops.Class(err); !errors.Is(got, want) {
		s.Errorf("%s: class %v (%v), want %v", what, got, err, want)
	}
}

func (s *Suite) create() connector.Copy {
	s.Helper()
	return s.createKey(s.key())
}

func (s *Suite) createKey(key string) connector.Copy {
	s.Helper()
	c, err := s.conn.Create(s.Context(), key, s.Kind, s.Fields)
	if err != nil {
		s.Fatalf("create: %v", err)
	}
	return c
}

func (s *Suite) get(ref string) connector.Copy {
	s.Helper()
	c, err := s.conn.Get(s.Context(), ref)
	if err != nil {
		s.Fatalf("get %s: %v", ref, err)
	}
	return c
}

// update writes fields over the ticket as it stands.
func (s *Suite) update(ref string, want ops.TicketFields, changed ...connector.Field) connector.Copy {
	s.Helper()
	c, err := s.conn.Update(s.Context(), ref, connector.Edit{Want: want, Changed: changed, Version: s.get(ref).Version})
	if err != nil {
		s.Fatalf("update %v of %s: %v", changed, ref, err)
	}
	return c
}

// shows fails unless the named fields of got are what the platform should
// show after want was written.
func (s *Suite) shows(got connector.Copy, want ops.TicketFields, fields ...connector.Field) {
	s.Helper()
	normal := s.conn.Normal(want, got.Fields)
	for _, f := range connector.Diff(normal, got.Fields) {
		if slices.Contains(fields, f) {
			s.Errorf("%s of %s shows %q, want %q", f, got.Display, connector.Value(got.Fields, f), connector.Value(normal, f))
		}
	}
}

// writes returns how many writing requests were sent so far.
func (s *Suite) writes() int {
	switch {
	case s.Writes != nil:
		return s.Writes(s.t)
	case s.wire != nil:
		_, n := s.wire.counts()
		return n
	}
	return 0
}

// settle waits until the outcome of a lost create can be looked up.
func (s *Suite) settle() {
	if d, needed := s.conn.SettleTime(s.Kind); needed {
		s.Wait(d)
	}
}

// drain pulls changes until none comes any more and returns them in order.
func (s *Suite) drain(c *connector.Conn, cursor string) ([]connector.Copy, string) {
	s.Helper()
	var out []connector.Copy
	for range 100 {
		got, next, err := c.Changes(s.Context(), cursor)
		if err != nil {
			s.Fatalf("changes after %q: %v", cursor, err)
		}
		out = append(out, got...)
		if next == cursor {
			return out, next
		}
		cursor = next
	}
	s.Fatalf("changes after %q: the cursor never stands still", cursor)
	return nil, ""
}

// logBuffer is a log that many goroutines may write.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// within returns a context that ends d from now.
func (s *Suite) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), d)
	s.Cleanup(cancel)
	return ctx
}
