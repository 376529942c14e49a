package firehose_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/firehose"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/series/seriestest"
)

const (
	key  = "s3cret-access-key-of-the-stream"
	auth = "header: {name: X-Amz-Firehose-Access-Key, value: env:KEY}"
)

var secrets = intaketest.Secrets{"env:KEY": key}

// line is a datum of the n-th instance.
func line(n int) string {
	return fmt.Sprintf(`{"metric_stream_name":"s","account_id":"123456789012","region":"us-east-1","namespace":"AWS/EC2","metric_name":"CPUUtilization","dimensions":{"InstanceId":"i-%d"},"timestamp":%d,"value":{"max":97.0,"min":88.0,"sum":372.0,"count":4.0},"unit":"Percent"}`+"\n",
		n, intaketest.Now.Add(-2*time.Minute).UnixMilli())
}

// perLine is how many samples a line becomes.
const perLine = 5

func message() []byte {
	text := func(s string) *common.AnyValue {
		return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
	}
	b, err := proto.Marshal(&collector.ExportMetricsServiceRequest{ResourceMetrics: []*metrics.ResourceMetrics{{ScopeMetrics: []*metrics.ScopeMetrics{{Metrics: []*metrics.Metric{{
		Name: "amazonaws.com/AWS/EC2/CPUUtilization", Unit: "Percent",
		Data: &metrics.Metric_Summary{Summary: &metrics.Summary{DataPoints: []*metrics.SummaryDataPoint{{
			Attributes:   []*common.KeyValue{{Key: "Namespace", Value: text("AWS/EC2")}, {Key: "MetricName", Value: text("CPUUtilization")}},
			TimeUnixNano: uint64(intaketest.Now.UnixNano()), Count: 4, Sum: 372,
		}}}},
	}}}}}}})
	if err != nil {
		panic(err)
	}
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

// request is a delivery as Firehose sends it.
func request(id string, records ...string) intaketest.Request {
	type rec struct {
		Data []byte `json:"data"`
	}
	body := struct {
		RequestID string `json:"requestId"`
		Timestamp int64  `json:"timestamp"`
		Records   []rec  `json:"records"`
	}{RequestID: id, Timestamp: intaketest.Now.UnixMilli(), Records: []rec{}}
	for _, r := range records {
		body.Records = append(body.Records, rec{[]byte(r)})
	}
	b, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return intaketest.Request{Body: b, Header: http.Header{
		"Content-Type": {"application/json"}, "X-Amz-Firehose-Protocol-Version": {"1.0"}, "X-Amz-Firehose-Request-Id": {id},
		"X-Amz-Firehose-Source-Arn": {"arn:aws:firehose:us-east-1:123456789012:deliverystream/metrics"}, "X-Amz-Firehose-Access-Key": {key},
		"X-Amz-Firehose-Common-Attributes": {`{"commonAttributes":{"deployment":"test"}}`},
	}}
}

// demanded holds an answer against the specification of the endpoint.
func demanded(r intaketest.Request, a *httptest.ResponseRecorder) error {
	var got map[string]any
	dec := json.NewDecoder(bytes.NewReader(a.Body.Bytes()))
	dec.UseNumber()
	if err := dec.Decode(&got); err != nil {
		return fmt.Errorf("the body %q is no JSON: %w", a.Body, err)
	}
	if ct := a.Header().Get("Content-Type"); ct != "application/json" {
		return fmt.Errorf("content type %q", ct)
	}
	if a.Header().Get("Content-Encoding") != "" || a.Header().Get("Content-Length") != strconv.Itoa(a.Body.Len()) {
		return fmt.Errorf("headers %v for %d bytes", a.Header(), a.Body.Len())
	}
	if id := r.Header.Get("X-Amz-Firehose-Request-Id"); got["requestId"] != id {
		return fmt.Errorf("request id %v, want %s", got["requestId"], id)
	}
	if n, ok := got["timestamp"].(json.Number); !ok || n.String() != strconv.FormatInt(intaketest.Now.UnixMilli(), 10) {
		return fmt.Errorf("timestamp %v", got["timestamp"])
	}
	if _, says := got["errorMessage"]; says == (a.Code == http.StatusOK) {
		return fmt.Errorf("status %d and %s", a.Code, a.Body)
	}
	if a.Code == http.StatusRequestEntityTooLarge {
		return errors.New("after 413 Firehose drops for good")
	}
	return nil
}

func TestConformance(t *testing.T) {
	intaketest.RunSpeaker(t, firehose.Driver, intaketest.Speech{
		Auth: auth, Secrets: secrets,
		Request: func(n int) intaketest.Request {
			id := fmt.Sprintf("ed4acda5-034f-9f42-bba1-%012d", n)
			return request(id, strings.Repeat(line(n), n), string(message()))
		},
		Samples: func(n int) int { return n*perLine + 3 },
		Forge: func(r intaketest.Request) intaketest.Request {
			r.Header.Set("X-Amz-Firehose-Access-Key", "another-key")
			return r
		},
		Strip: func(r intaketest.Request) intaketest.Request {
			r.Header.Del("X-Amz-Firehose-Access-Key")
			return r
		},
		Success:  func(a *httptest.ResponseRecorder) bool { return a.Code == http.StatusOK },
		Retries:  func(status int) bool { return status != http.StatusOK && status != http.StatusRequestEntityTooLarge },
		TooLarge: http.StatusBadRequest,
		Foreign:  [][]byte{[]byte("{}"), []byte("[]"), []byte("null"), []byte(`{"version":"4","alerts":[]}`), []byte(`{"requestId":"ed4acda5-034f-9f42-bba1-000000000001"}`)},
		Answered: demanded,
	})
}

func house(t testing.TB) *intaketest.House {
	t.Helper()
	return intaketest.Open(t, intaketest.Setup{Driver: firehose.Driver, Auth: auth, Secrets: secrets, Samples: seriestest.NewLog()})
}

func samples(t testing.TB, h *intaketest.House) (n int) {
	t.Helper()
	for _, r := range h.Samples(t) {
		k, err := intaketest.SoundSamples(r.Body)
		if err != nil {
			t.Error(err)
		}
		n += k
	}
	return n
}

func TestWhatBecomesOfBadRecords(t *testing.T) {
	f := func(status, kept int, say string, records ...string) {
		t.Helper()
		h := house(t)
		r := request("id-1", records...)
		a := h.Send(t, r)
		if err := demanded(r, a); err != nil {
			t.Error(err)
		}
		if n := samples(t, h); a.Code != status || n != kept {
			t.Errorf("%q: %d %s, %d samples; want %d, %d", records, a.Code, a.Body, n, status, kept)
		}
		if said := h.Logs() + a.Body.String(); !strings.Contains(said, say) {
			t.Errorf("%q: nobody says %q:\n%s", records, say, said)
		}
	}
	f(http.StatusOK, 0, "")
	f(http.StatusOK, 0, "", "")
	f(http.StatusOK, 2*perLine, "", line(1), line(2))
	f(http.StatusOK, perLine+3, "", line(1), string(message())) // both formats for a moment
	f(http.StatusOK, perLine, "1 data refused, 5 samples kept", line(1), `{"ticker_symbol":"QXZ"}`)
	f(http.StatusOK, perLine, "records[0]", "gibberish", line(1))
	f(http.StatusBadRequest, 0, "no namespace or metric_name", `{"metric_stream_name":"s"}`+"\n")
	f(http.StatusBadRequest, 0, "choose one of the two as output format", "\x1f\x8bxx")
}

func TestARecordThatIsNoBase64(t *testing.T) {
	h := house(t)
	r := request("id-1", line(1))
	r.Body = bytes.Replace(r.Body, []byte(`"records":[`), []byte(`"records":[{"data":"%%"},`), 1)
	if a := h.Send(t, r); a.Code != http.StatusOK || samples(t, h) != perLine || !strings.Contains(h.Logs(), "send base64") {
		t.Errorf("%d %s\n%s", a.Code, a.Body, h.Logs())
	}
}

func TestTheRequestIDIsTheIdentity(t *testing.T) {
	h := house(t)
	for _, id := range []string{"a", "a", "b"} {
		if a := h.Send(t, request(id, line(1))); a.Code != http.StatusOK {
			t.Errorf("%d %s", a.Code, a.Body)
		}
	}
	if n := len(h.Samples(t)); n != 2 {
		t.Errorf("%d records of two requests, one of them repeated", n)
	}
	// A test without the headers, as moto and curl send it, is told its id too.
	r := request("c", line(1))
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Amz-") && name != firehose.AccessKeyHeader {
			r.Header.Del(name)
		}
	}
	if a := h.Send(t, r); a.Code != http.StatusOK || !strings.Contains(a.Body.String(), `"requestId":"c"`) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	r.Body = []byte(`{"records":[]}`)
	if a := h.Send(t, r); a.Code != http.StatusBadRequest || !strings.Contains(a.Body.String(), "requestId: is missing") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	r.Header.Set("X-Amz-Firehose-Protocol-Version", "2.0")
	if a := h.Send(t, r); a.Code != http.StatusBadRequest || !strings.Contains(a.Body.String(), "protocol version 1.0") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

// TestTheLongestDelivery is what Firehose sends at most: 64 MiB before
// compression.
func TestTheLongestDelivery(t *testing.T) {
	peer.Long(t)
	h := house(t)
	r := request("long", strings.Repeat(line(1), 3000))
	pad := 64<<20 - len(r.Body)
	r.Body = append(r.Body, bytes.Repeat([]byte(" "), pad)...)
	if a := h.Send(t, r); a.Code != http.StatusOK {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if n := samples(t, h); n != 3000*perLine {
		t.Errorf("%d samples", n)
	}
}

func TestDiagnose(t *testing.T) {
	f := func(auth, say string) {
		t.Helper()
		found := intake.Diagnose(t.Context(), intake.Options{
			Drivers: []intake.Driver{firehose.Driver}, Samples: seriestest.NewLog(), Secret: func(_ context.Context, ref string) (string, error) { return secrets[ref], nil },
			Clock:        func() time.Time { return intaketest.Now },
			Integrations: []intake.Integration{{Name: "x", Source: "firehose", Auth: intaketest.YAML(auth)}},
			Logger:       slog.New(slog.DiscardHandler),
		}, intake.Listener{PublicURL: "https://fettle.example.com"})
		said := fmt.Sprint(found)
		if (say == "") != (len(found) == 0) || !strings.Contains(said, say) {
			t.Errorf("%s: %s, want %q", auth, said, say)
		}
	}
	f(auth, "")
	f("header: {name: X-Api-Key, value: env:KEY}", "set auth.header.name to X-Amz-Firehose-Access-Key")
	f("bearer: env:KEY", "Firehose cannot send what auth.bearer asks for")
}

// FuzzDecode wants of any body that it is answered as demanded and that what is
// kept is sound.
func FuzzDecode(f *testing.F) {
	f.Add(request("a", line(1), string(message())).Body)
	f.Add([]byte(`{"requestId":"ed4acda5-034f-9f42-bba1-f29aea6d7d8f","timestamp":1795251600000,"records":[{"data":"eyJtZXRyaWNfc3RyZWFtX25hbWUiOiJzIn0K"}]}`))
	f.Add([]byte(`{"records":[{"data":"%"}]}`))
	s, err := firehose.Open(intake.Nothing{}, intake.Env{Clock: func() time.Time { return intaketest.Now }})
	if err != nil {
		f.Fatal(err)
	}
	speaker := s.(intake.Speaker)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := &intake.Request{Header: http.Header{}, Body: body, ReceivedAt: intaketest.Now}
		d, err := s.Decode(r)
		if d.Release != nil {
			defer d.Release()
		}
		a := speaker.Answer(r, d, "", time.Second, err)
		var told struct {
			RequestID string
			Timestamp int64
		}
		if json.Unmarshal(a.Body, &told) != nil || told.Timestamp == 0 || (err == nil) != (a.Status == http.StatusOK) || err == nil && told.RequestID == "" {
			t.Errorf("%v: %d %s", err, a.Status, a.Body)
		}
		if d.Samples != nil {
			for _, part := range d.Samples.Parts() {
				if _, err := intaketest.SoundSamples(part); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
