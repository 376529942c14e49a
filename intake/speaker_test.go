package intake_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/series/seriestest"
)

// lines speaks a protocol of "metric value" lines. A line "!" is refused, a
// body "?" is no payload, "type" is of the wrong type after all, "panic" is one.
type lines struct{ released *int }

const linesType = "text/x-lines"

func linesDriver(released *int) intake.Driver {
	return intake.Define("lines", func(intake.Decoder, intake.Env) (intake.Source, error) { return lines{released}, nil })
}

func (lines) Terms() intake.Terms {
	return intake.Terms{
		Paths: []string{"", "/v1/lines"}, Media: []string{linesType}, Codings: []string{"snappy", "zstd", "gzip", "deflate"}, Body: 1 << 10, Decompressed: 4 << 10,
	}
}

func (l lines) Decode(r *intake.Request) (intake.Delivery, error) {
	d := intake.Delivery{Samples: new(series.Batch), Release: func() { *l.released++ }}
	for line := range strings.Lines(string(r.Body)) {
		switch line = strings.TrimSpace(line); line {
		case "?":
			return d, &intake.Fault{Field: "line", Value: line, Fix: "send lines"}
		case "type":
			return d, intake.WrongMediaType("lines of another kind", "send plain lines")
		case "panic":
			panic("lines")
		case "!":
			d.Refused++
			continue
		}
		metric, value, _ := strings.Cut(line, " ")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return d, &intake.Fault{Field: "value", Fix: "send a number"}
		}
		d.Samples.Series(&series.Descriptor{Metric: metric})
		d.Samples.Sample(1, v)
	}
	if d.Refused > 0 {
		d.Note = "a line was refused"
		if d.Samples.Samples() == 0 {
			d.Outcome = intake.Invalid
		}
	}
	return d, nil
}

func (lines) Answer(r *intake.Request, d intake.Delivery, outcome intake.Outcome, retryAfter time.Duration, err error) intake.Answer {
	class := "ours"
	var fault *intake.Fault
	switch {
	case err == nil:
		return intake.Answer{Status: http.StatusOK, Header: map[string]string{"X-Refused": strconv.Itoa(d.Refused)}, Body: []byte(r.Path + " " + string(outcome))}
	case errors.Is(err, intake.ErrTooLarge):
		class = "large"
	case errors.Is(err, intake.ErrCoding):
		class = "coding"
	case errors.Is(err, intake.ErrMediaType):
		class = "media"
	case errors.As(err, &fault):
		class = "fault"
	}
	return intake.Answer{Status: http.StatusTeapot, Header: map[string]string{"Retry-After": intake.Seconds(retryAfter)}, Body: []byte(class + " " + string(outcome))}
}

func linesHouse(t *testing.T, change func(*intaketest.Setup)) (*intaketest.House, *int) {
	t.Helper()
	released := new(int)
	return open(t, func(s *intaketest.Setup) {
		s.Driver, s.Samples = linesDriver(released), seriestest.NewLog()
		if change != nil {
			change(s)
		}
	}), released
}

func post(h *intaketest.House, path, contentType, coding string, body []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "/in/"+intaketest.Name+path, bytes.NewReader(body))
	req.Header.Set("Authorization", "Bearer token-0123456789")
	req.Header.Set("Content-Type", contentType)
	if coding != "" {
		req.Header.Set("Content-Encoding", coding)
	}
	rec := httptest.NewRecorder()
	h.Door.ServeHTTP(rec, req)
	return rec
}

func zstded(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(b, nil)
}

func TestASpeakerAnswersForItself(t *testing.T) {
	h, released := linesHouse(t, nil)
	calls := 0
	f := func(path, contentType, coding, body string, status int, answer string) {
		t.Helper()
		calls++
		rec := post(h, path, contentType, coding, []byte(body))
		if rec.Code != status || rec.Body.String() != answer {
			t.Errorf("%s %s %.20q: %d %s, want %d %s", path, coding, body, rec.Code, rec.Body, status, answer)
		}
	}
	plain := "cpu 1\nmem 2\n"
	f("", linesType, "", plain, 200, " accepted")
	f("/v1/lines", linesType+"; charset=x", "identity", "cpu 3", 200, "/v1/lines accepted")
	f("", "Text/X-Lines", "SNAPPY", string(snappy.Encode(nil, []byte("cpu 4"))), 200, " accepted")
	f("", linesType, "zstd", string(zstded(t, []byte("cpu 5"))), 200, " accepted")
	f("", linesType, "x-gzip", string(gzipped(t, "cpu 6")), 200, " accepted")
	f("", linesType, "", "", 200, " ignored")
	f("", linesType, "", "cpu 7\n!\n", 200, " accepted")
	f("", linesType, "", "!\n", 200, " invalid")
	if got, want := calls, *released; got != want {
		t.Errorf("%d deliveries released of %d", want, got)
	}
	before := len(h.Samples(t))
	f("", "application/json", "", plain, 418, "media invalid")
	f("", "", "", plain, 418, "media invalid")
	f("", linesType, "", "type", 418, "media invalid")
	f("", linesType, "br", plain, 418, "coding invalid")
	f("", linesType, "", "?", 418, "fault invalid")
	f("", linesType, "gzip", plain, 418, "fault invalid")
	f("", linesType, "zstd", plain, 418, "fault invalid")
	f("", linesType, "snappy", "\xff\xff", 418, "fault invalid")
	f("", linesType, "snappy", "\x80\x10\x00a", 418, "fault invalid") // announces 2 KiB in 4 bytes
	f("", linesType, "", strings.Repeat("x", 1025), 418, "large too_large")
	bomb := bytes.Repeat([]byte("x"), 4097)
	f("", linesType, "snappy", string(snappy.Encode(nil, bomb)), 418, "large too_large")
	f("", linesType, "zstd", string(zstded(t, bomb)), 418, "large too_large")
	f("", linesType, "gzip", string(gzipped(t, string(bomb))), 418, "large too_large")
	if after := len(h.Samples(t)); after != before {
		t.Errorf("%d records of refused deliveries", after-before)
	}
	if rec := post(h, "/v2/lines", linesType, "", nil); rec.Code != http.StatusNotFound {
		t.Errorf("a path that is not in the terms: %d", rec.Code)
	}
	if rec := post(h, "", linesType, "br", nil); rec.Header().Get("Accept-Encoding") != "snappy, zstd, gzip, deflate, identity" {
		t.Errorf("Accept-Encoding %q", rec.Header().Get("Accept-Encoding"))
	}
	if rec := post(h, "", linesType, "", []byte("panic")); rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") != "5" {
		t.Errorf("a panic: %d", rec.Code)
	}
	for name, want := range map[string]string{"fettle_intake_samples_total": "7", "fettle_intake_samples_refused_total": "2"} {
		if got := counter(h, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// counter returns the line of a metric of the house's integration.
func counter(h *intaketest.House, name string) string {
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(h.Registry, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(rec.Body.String()) {
		if v, ok := strings.CutPrefix(line, name+"{integration=\""+intaketest.Name+"\"} "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func TestSamplesAreDurableBeforeTheAnswer(t *testing.T) {
	log := seriestest.NewLog()
	h, _ := linesHouse(t, func(s *intaketest.Setup) { s.Samples = log })
	f := func(body, answer string, records int) {
		t.Helper()
		rec := post(h, "", linesType, "", []byte(body))
		if rec.Body.String() != answer || len(h.Samples(t)) != records {
			t.Errorf("%q: answer %s with %d records, want %s with %d", body, rec.Body, len(h.Samples(t)), answer, records)
		}
	}
	log.Break(errors.New("disk is full"))
	if rec := post(h, "", linesType, "", []byte("cpu 1")); rec.Body.String() != "ours unavailable" {
		t.Errorf("a broken log: %s", rec.Body)
	}
	log.Break(nil)
	f("cpu 1", " accepted", 1)
	f("cpu 1", " accepted", 1) // again
	log.Limit(1)
	f("cpu 2", "ours overload", 1)
	log.Limit(0)
	f("cpu 2", " accepted", 2)
	r := h.Samples(t)[0]
	if !strings.HasPrefix(r.Dedupe, intaketest.Name+"/sha256 ") || r.Kind != series.Samples {
		t.Errorf("record %+v", r)
	}
}

func TestTooManyBytesInHand(t *testing.T) {
	h, _ := linesHouse(t, func(s *intaketest.Setup) { s.Limits.InHand = 64 })
	f := func(coding, body, answer string) {
		t.Helper()
		if rec := post(h, "", linesType, coding, []byte(body)); rec.Body.String() != answer {
			t.Errorf("%s %.9q: %s, want %s", coding, body, rec.Body, answer)
		}
	}
	wide := "cpu 1" + strings.Repeat(" ", 90)
	f("", wide, "ours overload")
	f("snappy", string(snappy.Encode(nil, []byte(wide))), "ours overload")
	f("gzip", string(gzipped(t, wide)), "ours overload")
	f("", "cpu 1", " accepted") // what was in hand was let go
}

func TestMetricsNeedASampleLogAndNoPointers(t *testing.T) {
	f := func(s intaketest.Setup, want string) {
		t.Helper()
		s.Driver, s.Auth, s.Secrets = linesDriver(new(int)), "bearer: env:TOKEN", secrets
		if _, err := intaketest.TryOpen(t, s); !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("opened with %v, want %q", err, want)
		}
	}
	f(intaketest.Setup{}, "keeps no sample log")
	f(intaketest.Setup{Samples: seriestest.NewLog(), Redact: []string{"/x"}}, "do not reach into text/x-lines")
}

func TestDeliverToASpeaker(t *testing.T) {
	log := seriestest.NewLog()
	h, _ := linesHouse(t, func(s *intaketest.Setup) { s.Samples = log })
	f := func(contentType, coding, body string, want intake.Outcome, class error) {
		t.Helper()
		got, err := h.Door.Deliver(t.Context(), intaketest.Name, headers("Content-Type", contentType, "Content-Encoding", coding), []byte(body))
		if got != want || !errors.Is(err, class) {
			t.Errorf("deliver %q: %s, %v, want %s, %v", body, got, err, want, class)
		}
	}
	f(linesType, "", "cpu 1", intake.Accepted, nil)
	f(linesType, "snappy", string(snappy.Encode(nil, []byte("cpu 2"))), intake.Accepted, nil)
	f(linesType, "br", "cpu 1", intake.Invalid, ops.ErrInvalid)
	f("", "", "cpu 1", intake.Invalid, ops.ErrInvalid)
	f(linesType, "", "!", intake.Invalid, ops.ErrInvalid)
	f(linesType, "", "?", intake.Invalid, ops.ErrInvalid)
	f(linesType, "", strings.Repeat("x", 4097), intake.TooLarge, ops.ErrInvalid)
	if n := len(h.Samples(t)); n != 2 {
		t.Errorf("%d records", n)
	}
	log.Limit(1)
	f(linesType, "", "cpu 3", intake.Overload, ops.ErrUnavailable)
}

func TestDeliverAsTheHolderOfACredential(t *testing.T) {
	released, log := new(int), seriestest.NewLog()
	house := intaketest.Open(t, intaketest.Setup{Driver: linesDriver(released), Auth: "bearer: env:TOKEN", Secrets: secrets, Samples: log})
	metrics, err := intake.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{"env:A": "token-of-a-0123456789", "env:B": "token-of-b-0123456789"}
	door, err := intake.Open(t.Context(), intake.Options{
		DB: house.DB, Log: house.Store, Samples: log, Drivers: []intake.Driver{linesDriver(released), plain}, Metrics: metrics,
		Clock: func() time.Time { return intaketest.Now }, Logger: slog.New(slog.DiscardHandler),
		Secret: func(_ context.Context, ref string) (string, error) { return tokens[ref], nil },
		Integrations: []intake.Integration{
			{Name: "a", Source: "lines", Auth: intaketest.YAML("bearer: env:A")},
			{Name: "b", Source: "lines", Auth: intaketest.YAML("bearer: env:B")},
			{Name: "b-too", Source: "lines", Auth: intaketest.YAML("bearer: env:B")},
			{Name: "webhook", Source: "plain", Auth: intaketest.YAML("bearer: env:A")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := func(source, token, media, body, answer, dedupe string, class error) {
		t.Helper()
		got, err := door.DeliverAs(t.Context(), source, headers("Authorization", "Bearer "+token), media, []byte(body))
		if string(got.Body) != answer || !errors.Is(err, class) {
			t.Errorf("%s %s: %s, %v, want %s, %v", source, body, got.Body, err, answer, class)
		}
		records, err := log.Read(t.Context(), 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if dedupe != "" && (len(records) == 0 || !strings.HasPrefix(records[len(records)-1].Dedupe, dedupe)) {
			t.Errorf("%s: the last record is of another integration than %s", body, dedupe)
		}
	}
	f("lines", tokens["env:B"], linesType, "cpu 1", " accepted", "b/", nil)
	f("lines", tokens["env:A"], linesType, "cpu 2", " accepted", "a/", nil)
	f("lines", tokens["env:A"], linesType, "?", "fault invalid", "", ops.ErrInvalid)
	f("lines", tokens["env:A"], "text/html", "cpu 3", "media invalid", "", intake.ErrMediaType)
	f("lines", tokens["env:A"], linesType, strings.Repeat("x", 4097), "large too_large", "", intake.ErrTooLarge)
	f("lines", tokens["env:A"], linesType, "panic", "", "", ops.ErrInternal)
	f("lines", "token-of-c-0123456789", linesType, "cpu 4", "", "", ops.ErrDenied)
	f("plain", tokens["env:A"], linesType, "cpu 5", "", "", ops.ErrNotFound)
	log.Limit(1)
	f("lines", tokens["env:A"], linesType, "cpu 6", "ours overload", "", series.ErrFull)

	admits := func(source, token string, class error) {
		t.Helper()
		if err := door.Admits(t.Context(), source, headers("Authorization", "Bearer "+token)); !errors.Is(err, class) {
			t.Errorf("%s is admitted to %s: %v, want %v", token, source, err, class)
		}
	}
	admits("lines", tokens["env:B"], nil)
	admits("lines", "token-of-c-0123456789", ops.ErrDenied)
	admits("plain", tokens["env:A"], ops.ErrNotFound)
}
