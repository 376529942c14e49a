package intake_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

func gzipped(t *testing.T, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(t *testing.T, change func(*intaketest.Setup)) *intaketest.House {
	t.Helper()
	s := intaketest.Setup{Driver: plain, Auth: "bearer: env:TOKEN", Secrets: secrets}
	if change != nil {
		change(&s)
	}
	return intaketest.Open(t, s)
}

func authorised(body string) intaketest.Request {
	return intaketest.Request{Header: headers("Authorization", "Bearer token-0123456789"), Body: []byte(body)}
}

func TestUnknownIntegration(t *testing.T) {
	h := open(t, nil)
	for _, path := range []string{"/in/", "/in/other", "/in/sender/x", "/other"} {
		rec := httptest.NewRecorder()
		h.Door.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
		if rec.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
}

func TestPanicOfADecoderIsForTheSenderToRepeat(t *testing.T) {
	h := open(t, nil)
	rec := h.Send(t, authorised(`{"id":"1","rule":"panic"}`))
	if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") != "5" || !strings.Contains(h.Logs(), "delivery panicked") {
		t.Errorf("answer %d, log:\n%s", rec.Code, h.Logs())
	}
	if rec := h.Send(t, authorised(body)); rec.Code != http.StatusAccepted {
		t.Errorf("the door stayed broken: %d", rec.Code)
	}
}

func TestDeflate(t *testing.T) {
	h := open(t, nil)
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write([]byte(body))
	_ = w.Close()
	r := authorised("")
	r.Body = b.Bytes()
	r.Header.Set("Content-Encoding", "deflate")
	if rec := h.Send(t, r); rec.Code != http.StatusAccepted || len(h.Stored(t)) != 1 {
		t.Errorf("answer %d %s", rec.Code, rec.Body)
	}
}

func TestIgnoredDeliveryLeavesNothing(t *testing.T) {
	h := open(t, nil)
	rec := h.Send(t, authorised(`{"id":"1"}`))
	if rec.Code != http.StatusAccepted || strings.TrimSpace(rec.Body.String()) != `{"status":"ignored"}` || len(h.Stored(t)) != 0 {
		t.Errorf("answer %d %s", rec.Code, rec.Body)
	}
}

func TestProblemNamesFieldValueAndFix(t *testing.T) {
	h := open(t, nil)
	rec := h.Send(t, authorised(`{"id":7}`))
	for _, want := range []string{`"field":"ID"`, `"value":"number"`, `"fix":"send a test message; a number stands where a string belongs"`, `"status":400`} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%s lacks %s", rec.Body, want)
		}
	}
	if strings.Contains(h.Logs(), "token-") {
		t.Errorf("log: %s", h.Logs())
	}
}

func TestMetrics(t *testing.T) {
	h := open(t, func(s *intaketest.Setup) { s.Limits.Body = 100 })
	h.Send(t, authorised(body))
	h.Send(t, authorised(body))
	h.Send(t, authorised(`{"id":"2","rule":"disk"}`))
	h.Send(t, authorised(`{`))
	h.Send(t, authorised(strings.Repeat(" ", 101)))
	h.Send(t, intaketest.Request{Body: []byte(body)})
	h.Broken.Store(true)
	h.Send(t, authorised(`{"id":"3","rule":"cpu"}`))
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(h.Registry, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	got := rec.Body.String()
	for _, want := range []string{
		`requests_total{integration="sender",outcome="accepted"} 2`,
		`requests_total{integration="sender",outcome="duplicate"} 1`,
		`requests_total{integration="sender",outcome="denied"} 1`,
		`requests_total{integration="sender",outcome="invalid"} 1`,
		`requests_total{integration="sender",outcome="too_large"} 1`,
		`requests_total{integration="sender",outcome="unavailable"} 1`,
		`requests_total{integration="sender",outcome="overload"} 0`,
		`signals_total{integration="sender"} 2`,
		`request_seconds_count{integration="sender"} 7`,
		`queue_depth_messages 2`,
	} {
		if !strings.Contains(got, "\nfettle_intake_"+want+"\n") {
			t.Errorf("metrics lack %s:\n%s", want, got)
		}
	}
}

func TestOverloadEndsWhenTheQueueDrains(t *testing.T) {
	now := intaketest.Now
	h := open(t, func(s *intaketest.Setup) {
		s.Limits.Depth, s.Limits.RetryAfter = 2, 1500*time.Millisecond
		s.Clock = func() time.Time { return now }
	})
	f := func(id string, want int) {
		t.Helper()
		if rec := h.Send(t, authorised(`{"id":"`+id+`","rule":"cpu"}`)); rec.Code != want || want == http.StatusServiceUnavailable && rec.Header().Get("Retry-After") != "2" {
			t.Errorf("message %s: answer %d %v, want %d", id, rec.Code, rec.Header(), want)
		}
	}
	f("1", http.StatusAccepted)
	f("2", http.StatusAccepted)
	f("3", http.StatusServiceUnavailable)
	if err := h.DB.Write(t.Context(), func(tx db.Tx) error { return h.Store.MoveCursor(t.Context(), tx, store.CorrelateCursor, 0, 2) }); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second) // the depth is read again after a while
	f("3", http.StatusAccepted)
}

func TestRedactionReachesIntoNestedJSON(t *testing.T) {
	h := open(t, func(s *intaketest.Setup) {
		s.Redact = []string{"/contact", "/list/*/phone", "/message/who/name", "/a~1b"}
	})
	h.Send(t, authorised(`{"id":"1","rule":"cpu","contact":"Jane","list":[{"phone":555,"x":1.50},{"phone":"556"}],"message":"{\"who\":{\"name\":\"Jane\",\"team\":\"web\"}}","a/b":"Jane"}`))
	m := h.Stored(t)
	if len(m) != 1 {
		t.Fatal("nothing stored")
	}
	want := `{"a/b":"[redacted]","contact":"[redacted]","id":"1","list":[{"phone":null,"x":1.50},{"phone":"[redacted]"}],"message":"{\"who\":{\"name\":\"[redacted]\",\"team\":\"web\"}}","rule":"cpu"}`
	if string(m[0].Raw) != want {
		t.Errorf("raw is\n%s\nwant\n%s", m[0].Raw, want)
	}
	if m[0].Signals[0].Alert.Description != "[redacted]" {
		t.Errorf("the decoder saw %q", m[0].Signals[0].Alert.Description)
	}
	if _, err := intaketest.TryOpen(t, intaketest.Setup{Driver: plain, Auth: "bearer: env:TOKEN", Secrets: secrets, Redact: []string{"contact"}}); err == nil || !errors.Is(err, ops.ErrInvalid) {
		t.Errorf("a pointer without a slash: %v", err)
	}
}

func TestTextThatADatabaseRefuses(t *testing.T) {
	h := open(t, nil)
	f := func(payload string) {
		t.Helper()
		before := len(h.Stored(t))
		if rec := h.Send(t, authorised(payload)); rec.Code != http.StatusAccepted {
			t.Errorf("answer %d %s", rec.Code, rec.Body)
		}
		h.Send(t, authorised(payload))
		m := h.Stored(t)
		if len(m) != before+1 {
			t.Fatalf("%d stored of one message sent twice", len(m)-before)
		}
		if got := m[len(m)-1]; strings.Contains(got.Dedupe+got.Signals[0].Alert.Rule, "\x00") || len(got.Dedupe) > 200 {
			t.Errorf("stored %q %q", got.Dedupe, got.Signals[0].Alert.Rule)
		}
	}
	// PostgreSQL keeps no NUL in text and no large key in an index.
	f(`{"id":"a\u0000b","rule":"c\u0000d"}`)
	f(`{"id":"` + strings.Repeat("x", 5000) + `","rule":"cpu"}`)
}

func TestDeliver(t *testing.T) {
	h := open(t, nil)
	f := func(integration, payload string, want intake.Outcome, class error) {
		t.Helper()
		got, err := h.Door.Deliver(t.Context(), integration, http.Header{}, []byte(payload))
		if got != want || !errors.Is(err, class) {
			t.Errorf("deliver %s to %s: %s, %v, want %s, %v", payload, integration, got, err, want, class)
		}
	}
	f(intaketest.Name, body, intake.Accepted, nil)
	f(intaketest.Name, body, intake.Duplicate, nil)
	f(intaketest.Name, "{", intake.Invalid, ops.ErrInvalid)
	f("other", body, intake.Invalid, ops.ErrNotFound)
}

func TestSenderWhoHangsUpGetsNoPromise(t *testing.T) {
	h := open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/in/"+intaketest.Name, strings.NewReader(body))
	req.Header = authorised("").Header
	rec := httptest.NewRecorder()
	h.Door.ServeHTTP(rec, req)
	if rec.Code != http.StatusServiceUnavailable || len(h.Stored(t)) != 0 {
		t.Errorf("answer %d, %d stored", rec.Code, len(h.Stored(t)))
	}
}

func TestParseTime(t *testing.T) {
	fallback := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := func(in, want string) {
		t.Helper()
		if got := intake.ParseTime(in, fallback).Format(time.RFC3339Nano); got != want {
			t.Errorf("ParseTime(%q) = %s, want %s", in, got, want)
		}
	}
	f("2019-10-02T17:04:40.989+0000", "2019-10-02T17:04:40.989Z")
	f("2026-11-21T09:00:00.0312699+00:00", "2026-11-21T09:00:00.0312699Z")
	f("2026-11-21T10:00:01.1234567Z", "2026-11-21T10:00:01.1234567Z")
	f("2026-11-21T10:00:00+02:00", "2026-11-21T08:00:00Z")
	f("3/22/2019 1:36:31 PM", "2019-03-22T13:36:31Z")
	f("2026-11-21T10:00:00", "2026-11-21T10:00:00Z")
	f("0001-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
	f("9999-12-31T23:59:59-01:00", "2026-01-01T00:00:00Z") // year 10000 cannot be encoded
	f("1850-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
	f("yesterday", "2026-01-01T00:00:00Z")
	f("", "2026-01-01T00:00:00Z")
}

func TestDiagnose(t *testing.T) {
	f := func(auth, options string, l intake.Listener, want ...string) {
		t.Helper()
		found := intake.Diagnose(t.Context(), intake.Options{
			Drivers: []intake.Driver{plain}, Clock: func() time.Time { return intaketest.Now }, Logger: slog.New(slog.DiscardHandler),
			Secret: func(_ context.Context, ref string) (string, error) {
				if v := secrets[ref]; v != "" {
					return v, nil
				}
				if ref == "env:SHORT" {
					return "abc", nil
				}
				return "", errors.New("secret " + ref + ": the environment variable is not set")
			},
			Fetch:        &intaketest.SNS{Down: true},
			Integrations: []intake.Integration{{Name: "a", Source: "plain", Auth: intaketest.YAML(auth), Options: intaketest.YAML(options)}},
		}, l)
		var got []string
		for _, x := range found {
			if x.Integration != "a" || x.Fix == "" || x.What == "" {
				t.Errorf("finding %+v is not whole", x)
			}
			got = append(got, x.What+" -> "+x.Fix)
		}
		all := strings.Join(got, "\n")
		for _, w := range want {
			if !strings.Contains(all, w) {
				t.Errorf("auth %q: findings\n%s\nlack %q", auth, all, w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("auth %q: %d findings, want %d:\n%s", auth, len(got), len(want), all)
		}
	}
	safe := intake.Listener{PublicURL: "https://fettle.example.com"}
	f("bearer: env:TOKEN", "", safe)
	f("bearer: env:TOKEN", "", intake.Listener{Loopback: true})
	f("bearer: env:TOKEN", "", intake.Listener{}, "in the clear")
	f("bearer: env:SHORT", "", safe, "shorter than 16")
	f("bearer: env:GONE", "", safe, "env:GONE: the environment variable is not set")
	f("", "", safe, "nothing comes in without authentication")
	f("none: true", "", safe, "auth.none is wrong", "everybody who reaches the listener")
	f("bearer: env:TOKEN", "unknown: 1", safe, "unknown")
	f("sns: {}", "", safe, "list the ARNs of the topics")
	f("sns: {topics: ['arn:aws:sns:eu-west-1:123456789012:ops']}", "", intake.Listener{TLS: true}, "public https addresses only")
	f("entra: {tenant: contoso.com, audience: 'api://x'}", "", safe, `auth.entra.tenant is "contoso.com"`)
	f("entra: {tenant: 11111111-1111-1111-1111-111111111111, audience: 'api://x'}", "", safe, "client_id is not known", "signing keys cannot be read")
	f("{bearer: hunter2, basic: {}}", "", safe, "auth.bearer", "auth.basic.username")
}

func TestOneSetOfMetricsServesManyDoors(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := intake.NewMetrics(reg); err != nil {
		t.Fatal(err)
	}
	if _, err := intake.NewMetrics(reg); err == nil {
		t.Error("two sets on one registry would count half each")
	}
}
