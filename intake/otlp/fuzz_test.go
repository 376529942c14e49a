package otlp_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/otlp"
)

// seeds are the golden requests in one of the encodings.
func seeds(f *testing.F, media string) (out [][]byte) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seed in testdata (%v)", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if media == protobuf {
			var m collector.ExportMetricsServiceRequest
			if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, &m); err != nil {
				f.Fatal(err)
			}
			b = encode(f, &m, protobuf)
		}
		out = append(out, b)
	}
	return out
}

func FuzzProtobuf(f *testing.F) {
	intaketest.FuzzSamples(f, otlp.Driver, "", http.Header{"Content-Type": {protobuf}}, seeds(f, protobuf)...)
}

func FuzzJSON(f *testing.F) {
	intaketest.FuzzSamples(f, otlp.Driver, "", http.Header{"Content-Type": {inJSON}}, seeds(f, inJSON)...)
}

// FuzzAgree holds the decoder against the messages of the library.
func FuzzAgree(f *testing.F) {
	for _, b := range seeds(f, protobuf) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) < 3000 { // below every limit
			agree(t, t, body)
		}
	})
}
