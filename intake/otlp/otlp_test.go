package otlp_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/otlp"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/series/seriestest"
)

const (
	token    = "s3cret-of-the-sender"
	protobuf = "application/x-protobuf"
	inJSON   = "application/json"
	minute   = 1795255260000000000 // a time in nanoseconds
)

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

func request(list ...*metrics.Metric) *collector.ExportMetricsServiceRequest {
	return &collector.ExportMetricsServiceRequest{ResourceMetrics: []*metrics.ResourceMetrics{{
		Resource:     &resource.Resource{Attributes: []*common.KeyValue{text("host.name", "web-1")}},
		ScopeMetrics: []*metrics.ScopeMetrics{{Metrics: list}},
	}}}
}

func gauge(name string, points ...*metrics.NumberDataPoint) *metrics.Metric {
	return &metrics.Metric{Name: name, Data: &metrics.Metric_Gauge{Gauge: &metrics.Gauge{DataPoints: points}}}
}

func number(nanos uint64, v float64, attributes ...*common.KeyValue) *metrics.NumberDataPoint {
	return &metrics.NumberDataPoint{TimeUnixNano: nanos, Value: &metrics.NumberDataPoint_AsDouble{AsDouble: v}, Attributes: attributes}
}

func encode(t testing.TB, m proto.Message, media string) []byte {
	t.Helper()
	marshal := proto.Marshal
	if media == inJSON {
		marshal = protojson.Marshal
	}
	b, err := marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func delivery(media string, body []byte) intaketest.Request {
	return intaketest.Request{Path: "/v1/metrics", Header: http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {media}}, Body: body}
}

func speech(t *testing.T, media string) intaketest.Speech {
	return intaketest.Speech{
		Auth: "bearer: env:TOKEN", Secrets: intaketest.Secrets{"env:TOKEN": token}, Coding: "gzip",
		Options: "{max_body: 65536, max_decompressed: 1048576}",
		Request: func(n int) intaketest.Request {
			var list []*metrics.Metric
			for i := range n {
				list = append(list, gauge("m"+strconv.Itoa(i), number(minute+uint64(n)*1e9, 1, text("a", "b")), number(minute, 2)))
			}
			body := encode(t, request(list...), media)
			if media == inJSON { // the same each time
				body = compact(t, body)
			}
			return delivery(media, body)
		},
		Samples: func(n int) int { return 2 * n },
		Forge: func(r intaketest.Request) intaketest.Request {
			r.Header.Set("Authorization", "Bearer "+token[:len(token)-1]+"X")
			return r
		},
		Strip: func(r intaketest.Request) intaketest.Request {
			r.Header.Del("Authorization")
			return r
		},
		Success: func(a *httptest.ResponseRecorder) bool {
			return a.Code == http.StatusOK && a.Body.String() == map[string]string{protobuf: "", inJSON: "{}"}[media]
		},
		Retries: func(status int) bool { return slices.Contains([]int{429, 502, 503, 504}, status) }, // facts, section 0
		Foreign: [][]byte{{0x0a, 0x05, 1}, []byte("[]"), []byte(`{"resourceMetrics": 5}`), []byte("\x0a\x02\x0a\x05")},
		Answered: func(r intaketest.Request, a *httptest.ResponseRecorder) error {
			return encoded(r.Header.Get("Content-Type"), a)
		},
	}
}

// encoded checks that an answer is in the encoding of its request, JSON where
// that was neither.
func encoded(media string, a *httptest.ResponseRecorder) error {
	unmarshal, want := protojson.Unmarshal, inJSON
	if media == protobuf {
		unmarshal, want = proto.Unmarshal, protobuf
	}
	if got := a.Header().Get("Content-Type"); got != want {
		return fmt.Errorf("type %q to a request of type %q", got, media)
	}
	if a.Code == http.StatusOK {
		return unmarshal(a.Body.Bytes(), new(collector.ExportMetricsServiceResponse))
	}
	var s rpcstatus.Status
	if err := unmarshal(a.Body.Bytes(), &s); err != nil {
		return err
	}
	var retry errdetails.RetryInfo
	told := len(s.Details) == 1 && s.Details[0].UnmarshalTo(&retry) == nil && retry.RetryDelay.AsDuration() > 0
	code := map[int]codes.Code{400: codes.InvalidArgument, 413: codes.ResourceExhausted, 415: codes.InvalidArgument, 503: codes.Unavailable}[a.Code]
	if codes.Code(s.Code) != code || s.Message == "" || told != (a.Code == 503) {
		return fmt.Errorf("status %v", &s)
	}
	return nil
}

func compact(t testing.TB, b []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	t.Run("protobuf", func(t *testing.T) { intaketest.RunSpeaker(t, otlp.Driver, speech(t, protobuf)) })
	t.Run("JSON", func(t *testing.T) { intaketest.RunSpeaker(t, otlp.Driver, speech(t, inJSON)) })
}

// now is after the bodies in testdata were recorded.
var now = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func house(t testing.TB, options string) *intaketest.House {
	t.Helper()
	return intaketest.Open(t, intaketest.Setup{
		Clock:  func() time.Time { return now },
		Driver: otlp.Driver, Auth: "bearer: env:TOKEN", Options: options, Secrets: intaketest.Secrets{"env:TOKEN": token}, Samples: seriestest.NewLog(),
	})
}

// inLog renders the sample log, one line for each sample.
func inLog(t testing.TB, h *intaketest.House) (out []string) {
	t.Helper()
	for _, record := range h.Samples(t) {
		out = append(out, lines(t, record.Body)...)
	}
	return out
}

func lines(t testing.TB, body []byte) (out []string) {
	t.Helper()
	var r series.BatchReader
	if err := r.Open(body); err != nil {
		t.Fatal(err)
	}
	for r.Next() {
		d, err := series.ParseKey(r.Key())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Points() {
			out = append(out, line(d.Metric, d.Unit, d.Temporality, d.Labels, p.At, p.Value))
		}
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return out
}

func line(metric, unit string, kind series.Temporality, labels []series.Label, at int64, v float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q [%s] {", metric, unit, []string{"unspecified", "gauge", "cumulative", "delta"}[kind])
	for i, l := range labels {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s=%q", l.Name, l.Value)
	}
	value := strconv.FormatFloat(v, 'g', -1, 64)
	if math.IsNaN(v) {
		value = fmt.Sprintf("NaN %x", math.Float64bits(v))
	}
	if series.IsStale(v) {
		value = "ended"
	}
	fmt.Fprintf(&b, "} at %d is %s", at, value)
	return b.String()
}

// TestGolden sends each testdata/*.json as it is and as protobuf, and compares
// the samples and the answer with the .txt of its name; protobuf that has no
// .json is a recording. The flag -update writes the .txt.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]map[string][]byte{} // by name and media type
	for _, file := range files {
		name, media := strings.TrimSuffix(file, filepath.Ext(file)), map[string]string{".json": inJSON, ".pb": protobuf}[filepath.Ext(file)]
		if media == "" {
			continue
		}
		if cases[name] == nil {
			cases[name] = map[string][]byte{}
		}
		if cases[name][media], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	for name, bodies := range cases {
		t.Run(filepath.Base(name), func(t *testing.T) {
			if in := bodies[inJSON]; in != nil {
				var m collector.ExportMetricsServiceRequest
				if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(in, &m); err != nil {
					t.Fatal(err)
				}
				bodies[protobuf] = encode(t, &m, protobuf)
			}
			for media, body := range bodies {
				h := house(t, "")
				rec := h.Send(t, delivery(media, body))
				if err := encoded(media, rec); err != nil {
					t.Error(err)
				}
				golden(t, name+".txt", strings.Join(append(inLog(t, h), fmt.Sprintf("answer %d %s", rec.Code, partial(t, media, rec))), "\n")+"\n")
			}
		})
	}
}

// partial is the partial success of an answer.
func partial(t testing.TB, media string, rec *httptest.ResponseRecorder) string {
	t.Helper()
	var m collector.ExportMetricsServiceResponse
	unmarshal := proto.Unmarshal
	if media == inJSON {
		unmarshal = protojson.Unmarshal
	}
	if err := unmarshal(rec.Body.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	if m.PartialSuccess == nil {
		return "in full"
	}
	return fmt.Sprintf("rejected %d: %s", m.PartialSuccess.RejectedDataPoints, m.PartialSuccess.ErrorMessage)
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if f := update(); f {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestResourceAttributesByConfiguration(t *testing.T) {
	f := func(options string, want ...string) {
		t.Helper()
		h := house(t, options)
		m := request(gauge("m", number(minute, 1)))
		m.ResourceMetrics[0].Resource.Attributes = []*common.KeyValue{
			text("host.name", "web-1"), text("host.id", "i-1"), text("os.type", "linux"), text("service.name", "shop"),
		}
		h.Send(t, delivery(protobuf, encode(t, m, protobuf)))
		var labels []series.Label
		for _, w := range want {
			name, value, _ := strings.Cut(w, "=")
			labels = append(labels, series.Label{Name: name, Value: value})
		}
		if got, want := inLog(t, h), line("m", "", series.Gauge, labels, minute/1e6, 1); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %s, want %s", options, got, want)
		}
	}
	f("", "host.id=i-1", "host.name=web-1", "service.name=shop")
	f("resource_attributes: [host.name]", "host.name=web-1")
	f("resource_attributes: [host.*, os.type]", "host.id=i-1", "host.name=web-1", "os.type=linux")
	f(`resource_attributes: ["*"]`, "host.id=i-1", "host.name=web-1", "os.type=linux", "service.name=shop")
	f("resource_attributes: [nothing]")
}

func TestOptions(t *testing.T) {
	f := func(options, field string) {
		t.Helper()
		_, err := otlp.Open(intaketest.YAML(options), intake.Env{})
		var fault *intake.Fault
		if !errors.As(err, &fault) || fault.Field != field {
			t.Errorf("%s: %v, want a fault of %s", options, err, field)
		}
	}
	f("max_body: -1", "max_body")
	f("max_decompressed: -1", "max_decompressed")
	f("max_decompressed: 67108865", "max_decompressed")
	f(`resource_attributes: [host.name, ""]`, "resource_attributes[1]")
	f("resource_attributes: [host.*.name]", "resource_attributes[0]")
}

func TestLimits(t *testing.T) {
	h := house(t, "")
	f := func(m *collector.ExportMetricsServiceRequest, status int, want string) {
		t.Helper()
		h.Forget(t)
		rec := h.Send(t, delivery(protobuf, encode(t, m, protobuf)))
		got := ""
		if rec.Code == http.StatusOK {
			got = partial(t, protobuf, rec)
		}
		if rec.Code != status || !strings.Contains(got, want) {
			t.Errorf("answer %d %.300s, want %d %s", rec.Code, got, status, want)
		}
		if n := len(h.Samples(t)); status != http.StatusOK && n > 0 {
			t.Errorf("%d records were kept", n)
		}
	}
	var many []*common.KeyValue
	for i := range 1001 {
		many = append(many, text(strconv.Itoa(i), "v"))
	}
	f(request(gauge("m", number(minute, 1, many...), number(minute, 2, many[1:]...))), 200, "rejected 2: 2 data points refused, the others kept; the first: resource_metrics[0].scope_metrics[0].metrics[0].data_points.attributes (\"m\"): send at most 1000 attributes per series")
	f(request(gauge("m", number(minute, 1, many[:999]...))), 200, "in full")
	f(request(gauge("m", number(minute, 1, append(many, append(many, many...)...)...))), 200, "at most 1000 attributes")
	long := strings.Repeat("x", 65_000)
	f(request(gauge("m", number(minute, 1, text("a", long)), number(minute, 1, text("a", long+long)))), 200, "rejected 1")
	f(request(gauge(long+long, number(minute, 1))), 200, "rejected 1")
	// A resource that is sent once and named by each of its points.
	big := request(gauge("m", slices.Repeat([]*metrics.NumberDataPoint{number(minute, 1)}, 1100)...))
	big.ResourceMetrics[0].Resource.Attributes = append(big.ResourceMetrics[0].Resource.Attributes, text("a", long))
	f(big, 413, "")
	big.ResourceMetrics[0].Resource.Attributes = append(big.ResourceMetrics[0].Resource.Attributes, text("b", long))
	f(big, 200, "rejected 1100")
	deep := func(levels int) *common.KeyValue {
		v := text("k", "v").Value
		for range levels {
			v = &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: []*common.AnyValue{v}}}}
		}
		return &common.KeyValue{Key: "deep", Value: v}
	}
	f(request(gauge("m", number(minute, 1, deep(16)))), 200, "in full")
	f(request(gauge("m", number(minute, 1, deep(17)), number(minute, 2))), 200, "rejected 1")
	bad := request(gauge("m", number(minute, 1), number(minute, 2)))
	bad.ResourceMetrics[0].Resource.Attributes = []*common.KeyValue{deep(99)}
	f(bad, 200, "rejected 2: 2 data points refused, the others kept; the first: resource_metrics[0].resource.attributes (\"m\"): send attributes of at most 16 levels")
	if rec := h.Send(t, delivery(inJSON, []byte(`{"resourceMetrics":[{"scopeMetrics":[`+strings.Repeat("{},", 2<<20)+`{}]}]}`))); rec.Code != 413 {
		t.Errorf("answer %d to more messages than memory holds", rec.Code)
	}
}

func TestTextThatIsNotUTF8(t *testing.T) {
	h := house(t, "")
	f := func(change func(m *collector.ExportMetricsServiceRequest), want string) {
		t.Helper()
		h.Forget(t)
		m := request(gauge("metric", number(minute, 1, text("key", "value"))), gauge("other", number(minute, 2)))
		change(m)
		body := []byte(strings.ReplaceAll(string(encode(t, m, protobuf)), "BAD", "\xff\xfe\xfd"))
		if got := partial(t, protobuf, h.Send(t, delivery(protobuf, body))); !strings.HasPrefix(got, want) || !strings.Contains(got, "UTF-8") {
			t.Errorf("%s, want %s", got, want)
		}
	}
	first := func(m *collector.ExportMetricsServiceRequest) *metrics.Metric {
		return m.ResourceMetrics[0].ScopeMetrics[0].Metrics[0]
	}
	f(func(m *collector.ExportMetricsServiceRequest) { first(m).Name = "BAD" }, "rejected 1")
	f(func(m *collector.ExportMetricsServiceRequest) { first(m).Unit = "BAD" }, "rejected 1")
	f(func(m *collector.ExportMetricsServiceRequest) {
		first(m).GetGauge().DataPoints[0].Attributes[0].Key = "BAD"
	}, "rejected 1")
	f(func(m *collector.ExportMetricsServiceRequest) {
		first(m).GetGauge().DataPoints[0].Attributes[0] = text("key", "BAD")
	}, "rejected 1")
	f(func(m *collector.ExportMetricsServiceRequest) {
		m.ResourceMetrics[0].Resource.Attributes[0] = text("host.name", "BAD")
	}, "rejected 2")
}

func TestNothingKeptIsCountedAsInvalid(t *testing.T) {
	h := house(t, "")
	body := encode(t, request(gauge("m", &metrics.NumberDataPoint{TimeUnixNano: minute})), protobuf)
	rec := h.Send(t, delivery(protobuf, body))
	if got := partial(t, protobuf, rec); rec.Code != http.StatusOK || !strings.HasPrefix(got, "rejected 1: ") {
		t.Errorf("answer %d %s", rec.Code, got)
	}
	header := delivery(protobuf, nil).Header
	if outcome, err := h.Door.Deliver(t.Context(), intaketest.Name, header, body); outcome != intake.Invalid || err == nil {
		t.Errorf("a setup test gives %s, %v", outcome, err)
	}
	if strings.Contains(h.Logs(), token) || !strings.Contains(h.Logs(), "1 data points refused, 0 samples kept") {
		t.Error(h.Logs())
	}
}

// One point from the future would make all that its entity still has to say
// come too late.
func TestAClockThatIsAheadIsRefusedPointByPoint(t *testing.T) {
	limit := uint64(now.Add(10 * time.Minute).UnixNano())
	for _, media := range []string{protobuf, inJSON} {
		h := house(t, "")
		rec := h.Send(t, delivery(media, encode(t, request(gauge("m", number(limit, 1), number(limit+1e6, 2))), media)))
		if got := partial(t, media, rec); rec.Code != http.StatusOK || !strings.HasPrefix(got, "rejected 1: ") || !strings.Contains(got, "clock") {
			t.Errorf("%s: answer %d %s", media, rec.Code, got)
		}
		if got := inLog(t, h); len(got) != 1 || !strings.HasSuffix(got[0], "is 1") {
			t.Errorf("%s: kept %q, want the point at the limit alone", media, got)
		}
	}
}
