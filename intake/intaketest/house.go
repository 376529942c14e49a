// Package intaketest is the conformance suite of the front door: Run proves
// that a source behind the real door and the real store keeps the promises
// every sender relies on, Golden compares what its decoder makes of recorded
// payloads, and Fuzz feeds the decoder what nobody meant to send.
package intaketest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/store"
)

// Now is the time at which every house stands.
var Now = time.Date(2026, 11, 21, 10, 0, 5, 0, time.UTC)

// YAML is a Decoder of YAML text that refuses unknown keys.
type YAML string

// Decode implements intake.Decoder.
func (y YAML) Decode(v any) error {
	if strings.TrimSpace(string(y)) == "" {
		return nil
	}
	if err := yaml.NewDecoder(strings.NewReader(string(y)), yaml.Strict()).Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// Secrets are the references a house resolves.
type Secrets map[string]string

func (s Secrets) resolve(_ context.Context, ref string) (string, error) {
	if v, ok := s[ref]; ok {
		return v, nil
	}
	return "", fmt.Errorf("secret %s is not set", ref)
}

// Setup is a house to be built: one door on one SQLite file.
type Setup struct {
	Driver  intake.Driver
	Auth    string // YAML
	Options string // YAML
	Secrets Secrets
	Redact  []string
	Fetch   intake.Fetcher
	Limits  intake.Limits
	Samples series.Log // nil is none; a house that follows another gets the same
	Path    string     // of the database; empty makes a new one
	// Clock is Now for ever unless set.
	Clock        func() time.Time
	LoopbackDemo bool
}

// House is a door with everything behind it.
type House struct {
	Door     *intake.Door
	DB       *db.DB
	Store    *store.Store
	Registry *prometheus.Registry
	// Broken makes appends fail as a full disk does.
	Broken  atomic.Bool
	path    string
	logs    lockedBuffer
	log     *breakable
	samples series.Log
}

// breakable is the store with a fault that can be switched on.
type breakable struct {
	*store.Store
	house *House
}

// AppendEncoded implements intake.Log.
func (b *breakable) AppendEncoded(ctx context.Context, tx db.Tx, m ops.Message, body, raw []byte) (bool, error) {
	stored, err := b.Store.AppendEncoded(ctx, tx, m, body, raw)
	if err == nil && b.house.Broken.Load() {
		return false, errors.New("disk is full")
	}
	return stored, err
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Name is the integration of every house.
const Name = "sender"

// Open builds a house and closes it when the test ends.
func Open(t testing.TB, s Setup) *House {
	t.Helper()
	h, err := TryOpen(t, s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// schema is what every database here begins with.
var schema = dbtest.Laid(store.Migrate)

// TryOpen is Open for a set-up whose door may refuse to open.
func TryOpen(t testing.TB, s Setup) (*House, error) {
	t.Helper()
	if s.Clock == nil {
		s.Clock = func() time.Time { return Now }
	}
	if s.Path == "" {
		s.Path = filepath.Join(dbtest.Dir(t), "fettle.db")
	}
	d := schema.OpenAt(t, s.Path)
	h := &House{DB: d, Store: store.New(d, s.Clock), Registry: prometheus.NewRegistry(), path: s.Path, samples: s.Samples}
	h.log = &breakable{h.Store, h}
	metrics, err := intake.NewMetrics(h.Registry)
	if err != nil {
		t.Fatal(err)
	}
	h.Door, err = intake.Open(t.Context(), intake.Options{
		DB: d, Log: h.log, Samples: s.Samples, Drivers: []intake.Driver{s.Driver}, Metrics: metrics, Limits: s.Limits,
		Clock: s.Clock, LoopbackDemo: s.LoopbackDemo, Logger: slog.New(slog.NewJSONHandler(&h.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Secret: s.Secrets.resolve, Fetch: s.Fetch,
		Integrations: []intake.Integration{{Name: Name, Source: s.Driver.Name, Auth: YAML(s.Auth), Options: YAML(s.Options), Redact: s.Redact}},
	})
	return h, err
}

// Logs returns what was logged.
func (h *House) Logs() string { return h.logs.String() }

// Request is one delivery of a sender.
type Request struct {
	Method string // default POST
	Path   string // after /in/<Name>
	Header http.Header
	Body   []byte
	// Cut announces more bytes than come.
	Cut bool
	// Chunked leaves the length unsaid.
	Chunked bool
}

// clone returns a copy whose header and body can be changed.
func (r Request) clone() Request {
	r.Header, r.Body = r.Header.Clone(), bytes.Clone(r.Body)
	if r.Header == nil {
		r.Header = http.Header{}
	}
	return r
}

// Send posts a request to the door.
func (h *House) Send(t testing.TB, r Request) *httptest.ResponseRecorder {
	t.Helper()
	method := r.Method
	if method == "" {
		method = http.MethodPost
	}
	var body io.Reader = bytes.NewReader(r.Body)
	if r.Cut {
		body = io.MultiReader(body, cutReader{})
	}
	req := httptest.NewRequestWithContext(t.Context(), method, "/in/"+Name+r.Path, body)
	req.ContentLength = int64(len(r.Body))
	switch {
	case r.Cut:
		req.ContentLength++
	case r.Chunked:
		req.ContentLength = -1
	}
	for k, v := range r.Header {
		req.Header[k] = v
	}
	rec := httptest.NewRecorder()
	h.Door.ServeHTTP(rec, req)
	return rec
}

// cutReader is a connection that ended too early, as net/http reports it.
type cutReader struct{}

func (cutReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Stored returns everything in the log.
func (h *House) Stored(t testing.TB) []ops.Message {
	t.Helper()
	m, err := h.Store.SignalsAfter(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Samples returns every record of the sample log.
func (h *House) Samples(t testing.TB) []series.Record {
	t.Helper()
	b, err := h.samples.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := h.samples.Read(t.Context(), b.After, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Forget empties the sample log.
func (h *House) Forget(t testing.TB) {
	t.Helper()
	if err := h.samples.Trim(t.Context(), math.MaxInt64); err != nil {
		t.Fatal(err)
	}
}
