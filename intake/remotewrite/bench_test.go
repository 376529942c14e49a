package remotewrite_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/remotewrite"
)

// BenchmarkDecode decodes bodies of 500 samples that real servers sent, from
// the protobuf to a batch that is ready to be compressed.
func BenchmarkDecode(b *testing.B) {
	for _, bench := range []struct{ name, file, contentType string }{{"1.0", "v1-samples", type1}, {"2.0", "v2-samples", type2}} {
		b.Run(bench.name, func(b *testing.B) {
			s, err := remotewrite.Driver.Open(intaketest.YAML(""), intake.Env{})
			if err != nil {
				b.Fatal(err)
			}
			r := &intake.Request{Header: http.Header{"Content-Type": {bench.contentType}}, Body: recorded(b, bench.file), ReceivedAt: now}
			b.SetBytes(int64(len(r.Body)))
			b.ReportAllocs()
			for b.Loop() {
				d, err := s.Decode(r)
				if err != nil || d.Samples.Samples() != 500 {
					b.Fatal(d.Samples.Samples(), err)
				}
				d.Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/sample")
		})
	}
}

// BenchmarkDoor is the whole way of such a body through the door into a log in
// memory: credential, snappy, protobuf, batch, compression, hash.
func BenchmarkDoor(b *testing.B) {
	h := house(b)
	packed := intaketest.Pack(b, "snappy", recorded(b, "v1-samples"))
	header := request(type1, nil).Header
	header.Set("Content-Encoding", "snappy")
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest(http.MethodPost, "/in/"+intaketest.Name, bytes.NewReader(packed))
		req.Header = header
		rec := httptest.NewRecorder()
		if h.Door.ServeHTTP(rec, req); rec.Code != http.StatusNoContent {
			b.Fatal(rec.Code, rec.Body)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/sample")
}
