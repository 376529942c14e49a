package densify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/densify"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/ops"
)

// asker opens a source that asks a fake.
func asker(t *testing.T, f *fake, options string, guarded bool, log *bytes.Buffer) intake.Asker {
	t.Helper()
	env := intake.Env{
		Integration: intaketest.Name, Clock: func() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.now },
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Secret: func(_ context.Context, ref string) (string, error) {
			if ref != "env:API" {
				return "", fmt.Errorf("secret %s is not set", ref)
			}
			return fakePassword, nil
		},
	}
	if !guarded {
		env.Transport = f.Client().Transport
	}
	s, err := densify.Open(intaketest.YAML(fmt.Sprintf("api: {url: %q, flavour: %s, username: %s, password: env:API%s}", f.URL, f.flavour, fakeUser, options)), env)
	if err != nil {
		t.Fatal(err)
	}
	a, ok := s.(intake.Asker)
	if !ok {
		t.Fatal("a source of densify cannot be asked")
	}
	return a
}

func wanting() ops.Recommendation {
	return ops.Recommendation{
		Integration: intaketest.Name, Producer: ops.ProducerDensify, EntityID: system, Name: "web", Wants: "tags and report of Densify",
		ReportHref: "/systems/" + system + "/analysis-report", Resource: ops.ResourceRef{Aliases: []string{"arn:aws:ec2:us-east-1:1:instance/i-1"}},
	}
}

var tenOClock = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

func TestAskDensify(t *testing.T) {
	for _, flavour := range []string{"token", "basic"} {
		t.Run(flavour, func(t *testing.T) {
			f := newFake(t, flavour, tenOClock)
			var log bytes.Buffer
			a := asker(t, f, "", false, &log)
			told, err := a.Ask(t.Context(), wanting())
			if err != nil {
				t.Fatal(err)
			}
			r := told.Recommendation
			if r.Wants != "" || r.Tags["env"] != "prod : blue" || r.Stack != "arn:aws:cloudformation:us-east-1:123456789012:stack/web/5b1" || r.LogicalID != "Server" ||
				!slices.Contains(r.Resource.Aliases, "cfn:"+r.Stack+"/Server") || string(told.Report) != "%PDF-1.7 report" {
				t.Errorf("told %+v, report %q", r, told.Report)
			}
			if strings.Contains(log.String(), fakePassword) || strings.Contains(log.String(), "token-1") {
				t.Errorf("a secret stands in the log:\n%s", &log)
			}
		})
	}
}

// TestTheTokenIsKeptAndRenewed: 429 is possible on authorize, and a token lasts
// an hour.
func TestTheTokenIsKeptAndRenewed(t *testing.T) {
	f := newFake(t, "token", tenOClock)
	a := asker(t, f, ", report: false", false, &bytes.Buffer{})
	ask := func(want ...string) {
		t.Helper()
		if _, err := a.Ask(t.Context(), wanting()); err != nil {
			t.Fatal(err)
		}
		if got := f.requests(); !slices.Equal(got, want) {
			t.Errorf("asked %q, want %q", got, want)
		}
	}
	const login, get = "POST /api/v2/authorize", "GET /api/v2/systems/" + system
	pass := func(d time.Duration) { f.mu.Lock(); f.now = f.now.Add(d); f.mu.Unlock() }
	ask(login, get)
	ask(get)
	pass(59 * time.Minute)
	ask(login, get) // before it expires
	f.mu.Lock()
	clear(f.tokens) // Densify was restarted
	f.mu.Unlock()
	ask(get, login, get)
	f.mu.Lock()
	f.expires = func(time.Time) int64 { return 3600000 } // not an instant
	f.mu.Unlock()
	pass(2 * time.Hour)
	ask(login, get)
	ask(get)
}

func TestAskFails(t *testing.T) {
	answer := func(status int, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	const path = "/systems/" + system
	f := func(what, at string, h http.HandlerFunc, change func(r *ops.Recommendation), class error, text string) {
		t.Helper()
		d := newFake(t, "token", tenOClock)
		if h != nil {
			d.broken[at] = h
		}
		r := wanting()
		if change != nil {
			change(&r)
		}
		var log bytes.Buffer
		told, err := asker(t, d, "", false, &log).Ask(t.Context(), r)
		if !errors.Is(err, class) || class != nil && !strings.Contains(err.Error(), text) || class == nil && !strings.Contains(told.Note, text) {
			t.Errorf("%s: %v (note %q), want %v with %q", what, err, told.Note, class, text)
		}
		if s := fmt.Sprint(err, told.Note, log.String()); strings.Contains(s, fakePassword) || strings.Contains(s, "token-1") {
			t.Errorf("%s: a secret in an error or the log: %s", what, s)
		}
	}
	f("no tags yet", path, answer(200, `[{"attributes":[]}]`), nil, ops.ErrUnavailable, "has no tags")
	f("an error with 200", path, answer(200, `[{"ErrorMessage":"not now"}]`), nil, ops.ErrUnavailable, "not now")
	f("an HTML page", path, answer(200, `<html>`), nil, ops.ErrUnavailable, "neither a system")
	f("down", path, answer(503, ""), nil, ops.ErrUnavailable, "503")
	f("throttled", path, answer(429, "", "Retry-After", "90"), nil, ops.ErrThrottled, "1m30s")
	f("throttled at the door", "/authorize", answer(429, "", "Retry-After", "90"), nil, ops.ErrThrottled, "1m30s")
	f("no token", "/authorize", answer(200, "{}"), nil, ops.ErrUnavailable, "no apiToken")
	f("not allowed", path, answer(403, ""), nil, ops.ErrStalled, "check the user")
	f("redirected away", path, answer(302, "", "Location", "https://169.254.169.254/latest"), nil, ops.ErrStalled, "leads where it must not")
	f("no such system", "", nil, func(r *ops.Recommendation) { r.EntityID = "other" }, ops.ErrNotFound, "404")
	f("a path as id", "", nil, func(r *ops.Recommendation) { r.EntityID = "../authorize" }, ops.ErrInvalid, "names no system")
	f("no id", "", nil, func(r *ops.Recommendation) { r.EntityID = "" }, ops.ErrInvalid, "names no system")
	f("a parameter", "", nil, func(r *ops.Recommendation) { r.Producer = ops.ProducerParameterStore }, ops.ErrStalled, "parameters cannot be read here")

	f("the report is down", path+"/analysis-report", answer(503, ""), nil, ops.ErrUnavailable, "report of web")
	f("there is no report", path+"/analysis-report", answer(404, ""), nil, nil, "there is no analysis report")
	f("the report is no PDF", path+"/analysis-report", answer(200, "<html>"), nil, nil, "no PDF")
	for _, href := range []string{"https://evil.example/systems/x/analysis-report", "//evil.example/x", "/systems/../authorize", "/systems/x/analysis-report?u=1", "/systems/a/b/analysis-report"} {
		f(href, "", nil, func(r *ops.Recommendation) { r.ReportHref = href }, nil, "is not followed")
	}
}

// TestAskingStaysOutOfTheNetwork: without a transport of the tests' own, an
// address inside the network is refused before anything is sent, unless its
// network is listed.
func TestAskingStaysOutOfTheNetwork(t *testing.T) {
	f := newFake(t, "token", tenOClock)
	_, err := asker(t, f, "", true, &bytes.Buffer{}).Ask(t.Context(), wanting())
	if !errors.Is(err, ops.ErrStalled) || !strings.Contains(err.Error(), "api.private") || len(f.requests()) != 0 {
		t.Errorf("a loopback address: %v", err)
	}
	_, err = asker(t, f, `, private: ["127.0.0.0/8"]`, true, &bytes.Buffer{}).Ask(t.Context(), wanting())
	if err == nil || strings.Contains(err.Error(), "api.private") || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a listed network is reached, and its certificate is nobody's: %v", err)
	}
}
