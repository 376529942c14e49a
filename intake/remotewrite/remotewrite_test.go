package remotewrite_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/remotewrite"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/series/seriestest"
)

const (
	token = "s3cret-of-the-sender"
	type1 = "application/x-protobuf"
	type2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
)

// The messages are put together here field by field as the specifications
// number them, so that what is wrong can be written too.
func field(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func number(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func sample(num protowire.Number, value float64, at int64) []byte {
	b := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(value))
	return field(nil, num, number(b, 2, uint64(at)))
}

// series1 is a time series of version 1.0 with name, value pairs of labels.
func series1(samples []byte, labels ...string) []byte {
	var b []byte
	for i := 0; i+1 < len(labels); i += 2 {
		b = field(b, 1, field(field(nil, 1, []byte(labels[i])), 2, []byte(labels[i+1])))
	}
	return field(nil, 1, append(b, samples...))
}

// series2 is a time series of version 2.0 with references to symbols.
func series2(rest []byte, refs ...uint64) []byte {
	var packed []byte
	for _, r := range refs {
		packed = protowire.AppendVarint(packed, r)
	}
	return field(nil, 5, append(field(nil, 1, packed), rest...))
}

func symbols(list ...string) []byte {
	var b []byte
	for _, s := range list {
		b = field(b, 4, []byte(s))
	}
	return b
}

func metadata(kind, help, unit uint64) []byte {
	return field(nil, 5, number(number(number(nil, 1, kind), 3, help), 4, unit))
}

func request(contentType string, plain []byte) intaketest.Request {
	return intaketest.Request{Header: http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {contentType}}, Body: plain}
}

func request1(n int) intaketest.Request {
	var b []byte
	for i := range n {
		b = append(b, series1(sample(2, float64(i), int64(1000*n)), "__name__", "up", "instance", fmt.Sprint("web", i), "job", "node")...)
	}
	return request(type1, b)
}

func request2(n int) intaketest.Request {
	b := symbols("", "__name__", "up", "instance", "web", "Whether it is up.", "ratio")
	for i := range n {
		rest := append(sample(2, float64(i), int64(1000*n)), sample(2, 1, int64(1000*n+500))...)
		b = append(b, series2(append(rest, metadata(2, 5, 6)...), 1, 2, 3, 4)...)
	}
	return request(type2, b)
}

const written = "X-Prometheus-Remote-Write-"

func speech(requests func(int) intaketest.Request, perSeries int) intaketest.Speech {
	return intaketest.Speech{
		Auth: "bearer: env:TOKEN", Secrets: intaketest.Secrets{"env:TOKEN": token}, Coding: "snappy",
		Options: "{max_body: 65536, max_decompressed: 1048576}",
		Request: requests, Samples: func(n int) int { return perSeries * n },
		Forge: func(r intaketest.Request) intaketest.Request {
			r.Header.Set("Authorization", "Bearer "+token[:len(token)-1]+"X")
			return r
		},
		Strip: func(r intaketest.Request) intaketest.Request {
			r.Header.Del("Authorization")
			return r
		},
		Success: func(a *httptest.ResponseRecorder) bool { return a.Code == http.StatusNoContent && a.Body.Len() == 0 },
		Retries: func(status int) bool { return status >= 500 }, // facts, section 0: 429 is optional at the sender
		Foreign: [][]byte{{0x0a, 0x05, 1}, bytes.Repeat([]byte{0x0b}, 20_000)},
		Answered: func(r intaketest.Request, a *httptest.ResponseRecorder) error {
			two := r.Header.Get("Content-Type") == type2
			for _, h := range []string{"Samples", "Histograms", "Exemplars"} {
				if has := a.Header().Get(written+h+"-Written") != ""; has != two {
					return fmt.Errorf("header %s is there: %v; version 2.0 must have it, also when it fails, and 1.0 must not", h, has)
				}
			}
			return nil
		},
	}
}

func TestConformance(t *testing.T) {
	t.Run("1.0", func(t *testing.T) { intaketest.RunSpeaker(t, remotewrite.Driver, speech(request1, 1)) })
	t.Run("2.0", func(t *testing.T) { intaketest.RunSpeaker(t, remotewrite.Driver, speech(request2, 2)) })
}

// now is after the bodies in testdata were recorded.
var now = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func house(t testing.TB) *intaketest.House {
	t.Helper()
	return intaketest.Open(t, intaketest.Setup{
		Clock:  func() time.Time { return now },
		Driver: remotewrite.Driver, Auth: "bearer: env:TOKEN", Secrets: intaketest.Secrets{"env:TOKEN": token}, Samples: seriestest.NewLog(),
	})
}

func send(t testing.TB, h *intaketest.House, r intaketest.Request) *httptest.ResponseRecorder {
	t.Helper()
	r.Body = intaketest.Pack(t, "snappy", r.Body)
	r.Header.Set("Content-Encoding", "snappy")
	return h.Send(t, r)
}

// kept renders what is in the log, a line per sample.
func kept(t testing.TB, h *intaketest.House) string {
	t.Helper()
	var b strings.Builder
	for _, record := range h.Samples(t) {
		var r series.BatchReader
		if err := r.Open(record.Body); err != nil {
			t.Fatal(err)
		}
		for r.Next() {
			d, err := series.ParseKey(r.Key())
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range r.Points() {
				fmt.Fprintf(&b, "%s%v %d %s @%d=%x\n", d.Metric, d.Labels, d.Temporality, d.Unit, p.At, math.Float64bits(p.Value))
			}
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	return b.String()
}

func line(what string, at int64, v float64) string {
	return fmt.Sprintf("%s @%d=%x\n", what, at, math.Float64bits(v))
}

// both sends a body of either version to a log that is empty.
func both(t *testing.T, h *intaketest.House, contentType string, body []byte, status, samples int, says, want string) {
	t.Helper()
	h.Forget(t)
	rec := send(t, h, request(contentType, body))
	if rec.Code != status || !strings.Contains(rec.Body.String(), says) {
		t.Errorf("answer %d %s, want %d that says %q", rec.Code, rec.Body, status, says)
	}
	if got := rec.Header().Get(written + "Samples-Written"); contentType == type2 && got != fmt.Sprint(samples) {
		t.Errorf("%s samples written, want %d", got, samples)
	}
	if got := kept(t, h); got != want {
		t.Errorf("kept\n%s\nwant\n%s", got, want)
	}
}

func TestVersion1(t *testing.T) {
	h := house(t)
	f := func(status int, says, want string, parts ...[]byte) {
		t.Helper()
		both(t, h, type1, bytes.Join(parts, nil), status, 0, says, want)
	}
	one := sample(2, 1.5, 1000)
	good := series1(one, "__name__", "up", "job", "node")
	kept := line("up[{job node}] 0 ", 1000, 1.5)
	stale := math.Float64frombits(0x7ff0000000000002)
	other := math.Float64frombits(0xfff8000000000123)
	f(204, "", "")
	f(204, "", kept, good)
	f(204, "", line("up[{a b} {job node}] 0 ", 1000, 1.5), series1(one, "job", "node", "a", "b", "__name__", "up")) // sorted for the sender
	f(204, "", line("up[] 0 ", 1000, 1.5), series1(one, "__name__", "up", "job", ""))                               // empty is absent
	f(204, "", line("up[] 0 ", 1, stale)+line("up[] 0 ", 2, other)+line("up[] 0 ", -3, math.Inf(-1)),
		series1(bytes.Join([][]byte{sample(2, stale, 1), sample(2, other, 2), sample(2, math.Inf(-1), -3)}, nil), "__name__", "up"))
	f(204, "", "", field(nil, 3, field(number(nil, 1, 1), 2, []byte("up"))))                                         // metadata alone
	f(204, "", kept, series1(append(bytes.Clone(one), field(nil, 3, []byte{})...), "__name__", "up", "job", "node")) // an exemplar is left out
	f(204, "", "", series1(nil, "__name__", "up"))
	// Fields in an order of their own, zeros left out, lengths of two bytes, fields nobody knows.
	odd := field(nil, 1, field(field(nil, 2, []byte("up")), 1, []byte("__name__")))
	f(204, "", line("up[] 0 ", 1000, 1.5), field(nil, 1, append(bytes.Clone(odd), field(nil, 2, append(number(nil, 2, 1000), 0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f))...)))
	f(204, "", line("up[] 0 ", 0, 0), field(nil, 1, append(bytes.Clone(odd), field(nil, 2, nil)...)))
	f(204, "", line("up[] 0 ", 7, 0), field(nil, 1, append(bytes.Clone(odd), field(nil, 2, number(nil, 2, 7))...)))
	long := strings.Repeat("x", 300)
	f(204, "", line("up[{"+long+" "+long+"}] 0 ", 1000, 1.5), series1(one, "__name__", "up", long, long))
	f(204, "", kept, series1(append(number(field(nil, 2000, []byte("?")), 7, 7), one...), "__name__", "up", "job", "node"))
	// What is refused does not take the rest with it.
	partial := func(says string, bad []byte) {
		t.Helper()
		f(400, says, kept, bad, good)
		f(400, "and 0 kept", "", bad)
	}
	partial("__name__", series1(one, "job", "node"))
	partial("each label once", series1(one, "__name__", "up", "job", "a", "job", "b"))
	partial("labels with names", series1(one, "__name__", "up", "", "b"))
	partial("UTF-8", series1(one, "__name__", "up", "job", "\xff"))
	partial("send_native_histograms", series1(field(nil, 4, number(nil, 15, 1000)), "__name__", "up"))
	ahead := now.Add(10 * time.Minute).UnixMilli()
	partial("clock", series1(sample(2, 1, ahead+1), "__name__", "up"))
	f(204, "", line("up[] 0 ", ahead, 1), series1(sample(2, 1, ahead), "__name__", "up"))
	partial("at most 1000 labels", series1(one, append(many(1000), "__name__", "up")...))
	partial("bytes of names", series1(one, "__name__", "up", "job", strings.Repeat("x", 70_000)))
	// What is no protobuf is refused whole.
	f(400, "cut off", "", good, []byte{0x0a, 0x7f, 1})
	f(400, "cut off", "", good, field(nil, 1, []byte{0x12, 9, 0x09, 1}))
}

func many(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("l%04d", i), "x")
	}
	return out
}

func TestVersion2(t *testing.T) {
	h := house(t)
	f := func(status, samples int, says, want string, parts ...[]byte) {
		t.Helper()
		both(t, h, type2, bytes.Join(parts, nil), status, samples, says, want)
	}
	table := symbols("", "__name__", "up", "job", "node", "seconds", "\xff", strings.Repeat("x", 70_000))
	one := sample(2, 1.5, 1000)
	good := series2(one, 1, 2, 3, 4)
	kept := line("up[{job node}] 0 ", 1000, 1.5)
	started := func(num protowire.Number) []byte { // with a start timestamp, which moved between drafts
		return field(nil, 2, number(number(protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(1.5)), 2, 1000), num, 500))
	}
	f(204, 0, "", "")
	f(204, 0, "", "", symbols(""))
	f(204, 1, "", kept, table, good)
	f(204, 1, "", kept, good, table) // in any order
	f(204, 1, "", kept, table, series2(started(3), 1, 2, 3, 4))
	f(204, 1, "", kept, table, series2(number(bytes.Clone(one), 6, 500), 1, 2, 3, 4))
	f(204, 1, "", line("up[] 2 seconds", 1000, 1.5), table, series2(append(bytes.Clone(one), metadata(1, 0, 5)...), 1, 2))
	f(204, 1, "", kept, table, field(nil, 5, append(number(number(number(number(nil, 1, 1), 1, 2), 1, 3), 1, 4), one...)))   // not packed
	f(204, 1, "", kept, table, series2(append(bytes.Clone(one), field(nil, 4, field(nil, 1, []byte{1, 2}))...), 1, 2, 3, 4)) // an exemplar is left out
	partial := func(says string, bad []byte) {
		t.Helper()
		f(400, 1, says, kept, table, bad, good)
		f(400, 0, "and 0 kept", "", table, bad)
	}
	partial("even number", series2(one, 1, 2, 3))
	partial("below the number of symbols", series2(one, 1, 2, 3, 8))
	partial("below the number of symbols", series2(one, 1, 2, 3, math.MaxUint64))
	partial("below the number of symbols", series2(append(bytes.Clone(one), metadata(1, 0, 99)...), 1, 2))
	partial("UTF-8 symbols", series2(one, 1, 2, 3, 6))
	partial("__name__", series2(one, 3, 4))
	partial("labels with names", series2(one, 1, 2, 0, 4))
	partial("each label once", series2(one, 1, 2, 3, 4, 3, 4))
	partial("bytes of names", series2(one, 1, 2, 3, 7))
	partial("not both", series2(append(bytes.Clone(one), field(nil, 3, number(nil, 15, 1))...), 1, 2, 3, 4))
	partial("send_native_histograms", series2(field(nil, 3, number(nil, 15, 1)), 1, 2))
	f(400, 0, "empty string", "", symbols("up", "__name__"), good)
	f(400, 0, "cut off", "", table, good, []byte{0x2a, 0x7f, 1})
	f(400, 0, "cut off", "", table, good, field(nil, 5, field(nil, 1, []byte{0xff})))
}

func TestTypesSayWhatTheValuesAre(t *testing.T) {
	h := house(t)
	f := func(metric string, kind uint64, label string, want series.Temporality) {
		t.Helper()
		body := append(symbols("", "__name__", metric, label, "0.5"), series2(append(sample(2, 1, 1), metadata(kind, 0, 0)...), 1, 2, 3, 4)...)
		both(t, h, type2, body, 204, 1, "", line(fmt.Sprintf("%s[{%s 0.5}] %d ", metric, label, want), 1, 1))
	}
	f("x", 0, "job", series.Unspecified)
	f("x_total", 1, "job", series.Cumulative)
	f("x_created", 1, "job", series.Gauge)
	f("x", 2, "job", series.Gauge)
	f("x_bucket", 3, "le", series.Cumulative)
	f("x_sum", 3, "job", series.Cumulative)
	f("x_bucket", 4, "le", series.Gauge)
	f("x", 5, "quantile", series.Gauge)
	f("x_count", 5, "job", series.Cumulative)
	f("x", 6, "job", series.Gauge)
	f("x", 7, "job", series.Gauge)
	f("x", 8, "job", series.Unspecified)
}

// TestVersionIsInTheContentType: the version header is nobody's to trust.
func TestVersionIsInTheContentType(t *testing.T) {
	h := house(t)
	f := func(contentType string, plain []byte, status int) {
		t.Helper()
		r := request(contentType, plain)
		r.Header.Set("X-Prometheus-Remote-Write-Version", "7.0")
		if rec := send(t, h, r); rec.Code != status {
			t.Errorf("%s: %d %s, want %d", contentType, rec.Code, rec.Body, status)
		}
	}
	one, two := request1(1).Body, request2(1).Body
	f("application/x-protobuf", one, 204)
	f("Application/X-Protobuf; charset=x", one, 204)
	f("application/x-protobuf;proto=prometheus.WriteRequest", one, 204)
	f(`application/x-protobuf; Proto="io.prometheus.write.v2.Request"`, two, 204)
	f("application/x-protobuf;proto=io.prometheus.write.v3.Request", two, 415)
	f("application/x-protobuf;;", one, 415)
	f("application/protobuf", one, 415)
}

func TestBodyWithoutEncodingIsSnappy(t *testing.T) {
	h := house(t)
	r := request1(3)
	r.Body = intaketest.Pack(t, "snappy", r.Body)
	if rec := h.Send(t, r); rec.Code != 204 {
		t.Errorf("answer %d %s", rec.Code, rec.Body)
	}
}

// TestSmallBodyDoesNotBecomeALargeBatch: a symbol is sent once and used often.
func TestSmallBodyDoesNotBecomeALargeBatch(t *testing.T) {
	h := house(t)
	body := symbols("", "__name__", "up", "job", strings.Repeat("x", 60_000))
	for range 2000 {
		body = append(body, series2(sample(2, 1, 1), 1, 2, 3, 4)...)
	}
	both(t, h, type2, body, 413, 0, "send less at a time", "")
	var flood []byte
	for range 1<<20 + 1 {
		flood = append(flood, 0x22, 0)
	}
	both(t, h, type2, flood, 413, 0, "send less at a time", "")
	// Many samples of one series come in parts that can be read.
	const n = 120_000
	h.Forget(t)
	if rec := send(t, h, request(type1, series1(bytes.Repeat(sample(2, 1, 1), n), "__name__", "up"))); rec.Code != 204 {
		t.Fatalf("answer %d %s", rec.Code, rec.Body)
	}
	got, records := 0, h.Samples(t)
	for _, r := range records {
		samples, err := intaketest.SoundSamples(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		got += samples
	}
	if got != n || len(records) != 2 {
		t.Errorf("%d samples in %d records", got, len(records))
	}
}

func TestOptionsNameTheFault(t *testing.T) {
	f := func(options, field string) {
		t.Helper()
		_, err := remotewrite.Driver.Open(intaketest.YAML(options), intake.Env{})
		var fault *intake.Fault
		if !errors.As(err, &fault) || fault.Field != field || fault.Fix == "" {
			t.Errorf("options %q: %v, want a fault at %s", options, err, field)
		}
	}
	f("max_body: -1", "max_body")
	f("max_decompressed: 67108865", "max_decompressed")
	if _, err := remotewrite.Driver.Open(intaketest.YAML("body: 1"), intake.Env{}); err == nil {
		t.Error("an unknown option was taken")
	}
}

func TestDiagnose(t *testing.T) {
	found := intake.Diagnose(t.Context(), intake.Options{
		Drivers: []intake.Driver{remotewrite.Driver}, Samples: seriestest.NewLog(),
		Integrations: []intake.Integration{{Name: "a", Source: "remotewrite", Auth: intaketest.YAML("none: true")}}, LoopbackDemo: true,
	}, intake.Listener{Loopback: true})
	if len(found) != 0 {
		t.Errorf("%+v", found)
	}
}
