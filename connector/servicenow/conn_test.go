package servicenow_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/servicenow"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

// wire is a plain connector.HTTP that shows what passes.
type wire struct {
	// each, when set, answers in place of the instance, or returns nil.
	each func(req *http.Request, next http.RoundTripper) (*http.Response, error)

	mu   sync.Mutex
	sent []string // "GET /path"
}

func (w *wire) Do(req *http.Request, e connector.Effect) (*http.Response, error) {
	w.mu.Lock()
	w.sent = append(w.sent, req.Method+" "+req.URL.Path)
	w.mu.Unlock()
	var resp *http.Response
	var err error
	if w.each != nil {
		resp, err = w.each(req, http.DefaultTransport)
	}
	if resp == nil && err == nil {
		resp, err = http.DefaultTransport.RoundTrip(req)
	}
	if err == nil {
		return resp, nil
	}
	err = fmt.Errorf("%w: %w", err, ops.ErrUnavailable)
	if e == connector.Read {
		return nil, err
	}
	return nil, &ops.UnknownOutcome{Err: err}
}

// requests returns how many requests began with a text.
func (w *wire) requests(prefix string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, s := range w.sent {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

// logText is a log that many goroutines may write.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

type vault map[string]string

func (v vault) Resolve(_ context.Context, ref string) (string, error) { return v[ref], nil }

// connection is a driver on an instance, with what a test looks at.
type connection struct {
	*connector.Conn
	*testing.T
	i    *instance
	wire *wire
	log  *logText
	keys int
}

func (i *instance) open(t *testing.T, s connector.Settings) *connection {
	t.Helper()
	c := &connection{T: t, i: i, wire: &wire{}, log: &logText{}}
	var err error
	c.Conn, err = servicenow.Driver.Open(t.Context(), s, connector.Env{
		Name: "snow", Installation: "inst-1", PublicURL: "http://fettle.test", Clock: i.clock,
		Log: slog.New(slog.NewTextHandler(c.log, nil)), HTTP: c.wire, Secrets: vault(secrets), Records: &record.Memory{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func fields() ops.TicketFields {
	return ops.TicketFields{Title: "CPU of web-01 above 90 %", Description: "high-cpu", State: "new", Severity: ops.High, Group: "Service Desk", Resource: "web-01"}
}

func (c *connection) create(f ops.TicketFields) connector.Copy {
	c.Helper()
	c.keys++
	got, err := c.Create(c.Context(), fmt.Sprintf("%032x", c.keys), ops.TicketIncident, f)
	if err != nil {
		c.Fatal(err)
	}
	return got
}

func (c *connection) update(seen connector.Copy, f ops.TicketFields, changed ...connector.Field) connector.Copy {
	c.Helper()
	got, err := c.Update(c.Context(), seen.Ref, connector.Edit{Want: f, Changed: changed, Version: seen.Version})
	if err != nil {
		c.Fatal(err)
	}
	return got
}

// start returns the first cursor.
func (c *connection) start() string {
	c.Helper()
	got, cursor, err := c.Changes(c.Context(), "")
	if err != nil || len(got) != 0 {
		c.Fatalf("first changes: %d tickets, %v", len(got), err)
	}
	return cursor
}

// pull returns how often each ticket came until none came any more.
func (c *connection) pull(cursor string) (map[string]int, string) {
	c.Helper()
	came := map[string]int{}
	for range 100 {
		got, next, err := c.Changes(c.Context(), cursor)
		if err != nil {
			c.Fatal(err)
		}
		for _, t := range got {
			came[t.Ref]++
		}
		if len(got) == 0 {
			if next != cursor {
				c.Error("the cursor moved over nothing")
			}
			return came, next
		}
		cursor = next
	}
	c.Fatal("the feed never ends")
	return nil, ""
}

// fails fails unless err is of class want and says all of says.
func (c *connection) fails(err, want error, says ...string) {
	c.Helper()
	if class := ops.Class(err); err == nil || !errors.Is(class, want) {
		c.Errorf("%v (class %v), want %v", err, ops.Class(err), want)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			c.Errorf("%v does not say %q", err, s)
		}
	}
	for ref, v := range secrets {
		if strings.Contains(err.Error(), v) {
			c.Errorf("the error shows %s: %v", ref, err)
		}
	}
}

// says answers in place of the instance.
func says(req *http.Request, code int, kind, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {kind}}
	for k := 0; k+1 < len(header); k += 2 {
		h.Set(header[k], header[k+1])
	}
	return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: req}
}

// noHost is what a resolver says.
func noHost(host string) error {
	return &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}
