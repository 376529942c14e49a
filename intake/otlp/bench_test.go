package otlp_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/otlp"
)

// batch is what a collector sends of 500 points: a resource, three attributes
// for each point.
func batch() *collector.ExportMetricsServiceRequest {
	var list []*metrics.Metric
	for i := range 10 {
		m := gauge("system.something.io." + strconv.Itoa(i))
		for j := range 50 {
			m.GetGauge().DataPoints = append(m.GetGauge().DataPoints, number(minute, float64(j), text("cpu", "cpu"+strconv.Itoa(j)), text("direction", "receive"), text("state", "idle")))
		}
		list = append(list, m)
	}
	m := request(list...)
	m.ResourceMetrics[0].Resource.Attributes = append(m.ResourceMetrics[0].Resource.Attributes, text("os.type", "linux"), text("service.name", "shop"))
	return m
}

// BenchmarkDecode decodes 500 data points to a batch that is ready to be
// compressed. The last is what only unmarshalling them with the library takes.
func BenchmarkDecode(b *testing.B) {
	for _, media := range []string{protobuf, inJSON} {
		b.Run(media[len("application/"):], func(b *testing.B) {
			s, err := otlp.Open(intaketest.YAML(""), intake.Env{})
			if err != nil {
				b.Fatal(err)
			}
			r := &intake.Request{Header: http.Header{"Content-Type": {media}}, Body: encode(b, batch(), media), ReceivedAt: now}
			b.SetBytes(int64(len(r.Body)))
			b.ReportAllocs()
			for b.Loop() {
				d, err := s.Decode(r)
				if err != nil || d.Samples.Samples() != 500 {
					b.Fatal(d.Samples.Samples(), err)
				}
				d.Release()
			}
			perSample(b)
		})
	}
	b.Run("library", func(b *testing.B) {
		body := encode(b, batch(), protobuf)
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(body, new(collector.ExportMetricsServiceRequest)); err != nil {
				b.Fatal(err)
			}
		}
		perSample(b)
	})
}

func perSample(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/sample")
}

// BenchmarkDoor is the whole way of such a body, compressed by gzip, into a log
// in memory.
func BenchmarkDoor(b *testing.B) {
	h := house(b, "")
	packed := intaketest.Pack(b, "gzip", encode(b, batch(), protobuf))
	header := delivery(protobuf, nil).Header
	header.Set("Content-Encoding", "gzip")
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest(http.MethodPost, "/in/"+intaketest.Name+"/v1/metrics", bytes.NewReader(packed))
		req.Header = header
		rec := httptest.NewRecorder()
		if h.Door.ServeHTTP(rec, req); rec.Code != http.StatusOK {
			b.Fatal(rec.Code, rec.Body)
		}
	}
	perSample(b)
}

// BenchmarkExport is the same over gRPC on loopback, one call after the other
// and not compressed, with the client's own work.
func BenchmarkExport(b *testing.B) {
	h := house(b, "")
	conn, _ := serve(b, h.Door)
	ctx := holder(b.Context(), "authorization", "Bearer "+token)
	m := batch()
	b.ReportAllocs()
	for b.Loop() {
		if _, s, _ := call(ctx, conn, m); s.Code() != codes.OK {
			b.Fatal(s)
		}
	}
	perSample(b)
}
