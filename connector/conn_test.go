package connector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/httpx"
	"github.com/fettleops/fettle/ops"
)

// scripted is a platform that does what a test tells it to.
type scripted struct {
	connector.Platform
	update func(ctx context.Context) (connector.Copy, error)
	find   []connector.Copy
	next   string
}

func (s *scripted) Update(ctx context.Context, _ string, _ connector.Edit) (connector.Copy, error) {
	return s.update(ctx)
}
func (s *scripted) Find(context.Context, string) ([]connector.Copy, error) { return s.find, nil }
func (s *scripted) Changes(context.Context, string) ([]connector.Copy, string, error) {
	return nil, s.next, nil
}

type oneSecret string

func (o oneSecret) Resolve(context.Context, string) (string, error) { return string(o), nil }

func whole() connector.Copy {
	return connector.Copy{Ref: "1", Display: "T-1", Version: "1", Key: "k", UpdatedAt: time.Unix(1, 0)}
}

// through opens a Conn in front of a driver that logs and fails as told.
func through(t *testing.T, s *scripted, log *bytes.Buffer) *connector.Conn {
	t.Helper()
	driver := connector.Define("scripted", func(ctx context.Context, _ connector.Config[connector.None, connector.None], env connector.Env) (connector.Platform, error) {
		v, err := env.Secrets.Resolve(ctx, "env:X")
		env.Log.Info("signed in with "+v, slog.String("password", v), slog.Group("g", slog.Any("error", errors.New(v))))
		env.Log.With(slog.String("token", v)).Info("again")
		return s, err
	})
	c, err := driver.Open(t.Context(), connector.Settings{}, connector.Env{
		Name: "p", Clock: time.Now, Secrets: oneSecret("s3cret-value"), Log: slog.New(slog.NewJSONHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConnClassesAndCleansErrors(t *testing.T) {
	var log bytes.Buffer
	s := &scripted{}
	c := through(t, s, &log)
	edit := connector.Edit{Changed: []connector.Field{connector.Title}}
	f := func(name string, do func(ctx context.Context) error, class error, unknown bool, after time.Duration) {
		t.Helper()
		s.update = func(ctx context.Context) (connector.Copy, error) { return whole(), do(ctx) }
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := c.Update(ctx, "T-1", edit)
		if !errors.Is(ops.Class(err), class) || errors.As(err, new(*ops.UnknownOutcome)) != unknown || ops.RetryAfter(err) != after {
			t.Errorf("%s: %v (class %v, unknown %v, after %s)", name, err, ops.Class(err), errors.As(err, new(*ops.UnknownOutcome)), ops.RetryAfter(err))
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(e.Error(), "s3cret") {
				t.Errorf("%s: the secret shows in %q", name, e)
			}
		}
	}
	says := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	f("denied", says(fmt.Errorf("password s3cret-value is wrong: %w", ops.ErrDenied)), ops.ErrDenied, false, 0)
	f("unknown", says(&ops.UnknownOutcome{Err: fmt.Errorf("s3cret-value: %w", ops.ErrUnavailable)}), ops.ErrUnavailable, true, 0)
	f("throttled", says(&ops.Throttled{After: time.Minute, Err: errors.New("s3cret-value")}), ops.ErrThrottled, false, time.Minute)
	f("no class", says(errors.New("oops")), ops.ErrInternal, false, 0)
	f("time ran out", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, ops.ErrUnavailable, true, 0)
	f("panic", func(context.Context) error { panic("s3cret-value") }, ops.ErrInternal, true, 0)
	if strings.Contains(log.String(), "s3cret") || strings.Count(log.String(), "redacted") < 4 {
		t.Errorf("log: %s", log.String())
	}
}

func TestConnChecksAnswers(t *testing.T) {
	s := &scripted{next: ""}
	c := through(t, s, &bytes.Buffer{})
	_, cursor, err := c.Changes(t.Context(), "7")
	if !errors.Is(err, ops.ErrInternal) || cursor != "7" {
		t.Errorf("a lost cursor gave %q, %v; want the old one and an error", cursor, err)
	}
	s.find = []connector.Copy{whole()}
	if _, err := c.Find(t.Context(), "another key"); !errors.Is(err, ops.ErrInternal) {
		t.Errorf("a stranger's ticket gave %v", err)
	}
	s.update = func(context.Context) (connector.Copy, error) { return connector.Copy{Ref: "1"}, nil }
	if _, err := c.Update(t.Context(), "1", connector.Edit{Changed: connector.Fields}); !errors.Is(err, ops.ErrInternal) {
		t.Errorf("half a ticket gave %v", err)
	}
}

func TestAnswerError(t *testing.T) {
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	f := func(status int, kind, retry string, e connector.Effect, class error, unknown bool, after time.Duration) {
		t.Helper()
		resp := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {kind}}}
		if retry != "" {
			resp.Header.Set("Retry-After", retry)
		}
		err := connector.AnswerError(resp, e, now, "said so", "application/json")
		if !errors.Is(ops.Class(err), class) || errors.As(err, new(*ops.UnknownOutcome)) != unknown || ops.RetryAfter(err) != after {
			t.Errorf("%d %s: %v, want %v", status, kind, err, class)
		}
	}
	const j = "application/json; charset=utf-8"
	f(200, j, "", connector.Once, nil, false, 0)
	f(204, "", "", connector.Once, nil, false, 0)
	f(200, "text/html", "", connector.Read, ops.ErrUnavailable, false, 0)
	f(201, "text/html", "", connector.Once, ops.ErrUnavailable, true, 0)
	f(302, "text/html", "", connector.Once, ops.ErrUnavailable, true, 0)
	f(400, j, "", connector.Once, ops.ErrInvalid, false, 0)
	f(401, j, "", connector.Once, ops.ErrDenied, false, 0)
	f(403, j, "", connector.Once, ops.ErrDenied, false, 0)
	f(404, j, "", connector.Read, ops.ErrNotFound, false, 0)
	f(409, j, "", connector.Once, ops.ErrConflict, false, 0)
	f(412, j, "", connector.Repeat, ops.ErrConflict, false, 0)
	f(429, j, "7", connector.Once, ops.ErrThrottled, false, 7*time.Second)
	f(429, j, "Sat, 21 Nov 2026 09:01:00 GMT", connector.Once, ops.ErrThrottled, false, time.Minute)
	f(429, j, "-5", connector.Once, ops.ErrThrottled, false, 0)
	f(429, j, "99999999", connector.Once, ops.ErrThrottled, false, 24*time.Hour)
	f(503, j, "9", connector.Once, ops.ErrThrottled, false, 9*time.Second)
	f(503, j, "", connector.Repeat, ops.ErrUnavailable, true, 0)
	f(500, j, "", connector.Read, ops.ErrUnavailable, false, 0)
}

func TestSettings(t *testing.T) {
	driver := connector.Define("x", func(context.Context, connector.Config[connector.None, connector.None], connector.Env) (connector.Platform, error) {
		return nil, nil
	})
	f := func(url, says string) {
		t.Helper()
		err := driver.Validate(connector.Settings{URL: url})
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says) || !errors.Is(err, ops.ErrInvalid)) {
			t.Errorf("%q: %v, want %q", url, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the password shows in %v", url, err)
		}
	}
	f("", "")
	f("https://acme.service-now.com/", "")
	f("acme.service-now.com", "absolute")
	f("ftp://acme", "absolute")
	f("https://user:hunter2@acme", "secret references")
	f("https://acme?x=1", "query")
}

func TestDiffAndOverlay(t *testing.T) {
	a := ops.TicketFields{Title: "a ", State: "new", Extra: map[string]string{"x": "1", "y": "2"}}
	b := ops.TicketFields{Title: "a\r\n", State: "resolved", Severity: ops.High, Extra: map[string]string{"x": "1", "z": "3"}}
	want := []connector.Field{connector.State, connector.Severity, connector.ExtraField("y"), connector.ExtraField("z")}
	if got := connector.Diff(a, b); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Diff = %v, want %v", got, want)
	}
	if got := connector.Diff(connector.Overlay(a, b, want), b); len(got) != 0 {
		t.Errorf("after Overlay differ %v", got)
	}
	if a.Extra["z"] != "" || a.State != "new" {
		t.Errorf("Overlay changed its argument: %+v", a)
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestOver(t *testing.T) {
	f := func(name string, trip tripper, e connector.Effect, status int, unknown bool) {
		t.Helper()
		o := httpx.Options{Attempts: 1}
		if trip != nil {
			o.Transport = trip
		}
		client := httpx.New(o)
		defer client.Close()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:1/", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := connector.Over(client).Do(req, e)
		if status != 0 {
			if err != nil || resp.StatusCode != status || resp.Header.Get("Retry-After") != "3" {
				t.Errorf("%s: %v, %v; want the answer %d", name, resp, err, status)
			}
			return
		}
		if !errors.Is(ops.Class(err), ops.ErrUnavailable) || errors.As(err, new(*ops.UnknownOutcome)) != unknown {
			t.Errorf("%s: %v; want ErrUnavailable, unknown %v", name, err, unknown)
		}
	}
	answers := func(status int) tripper {
		return func(r *http.Request) (*http.Response, error) {
			h := http.Header{"Retry-After": {"3"}, "Content-Type": {"application/json"}}
			return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
		}
	}
	cut := func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
	f("a port nobody listens on", nil, connector.Once, 0, false)
	f("a success", answers(201), connector.Once, 201, false)
	f("a refusal", answers(403), connector.Once, 403, false)
	f("a failure", answers(500), connector.Repeat, 500, false)
	f("a cut read", cut, connector.Read, 0, false)
}
