package remotewrite_test

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/remotewrite"
)

// TestAnyRequestIsReadAsTheLibraryReadsIt writes requests that are within the
// specification with the client library's messages.
func TestAnyRequestIsReadAsTheLibraryReadsIt(t *testing.T) {
	h := house(t)
	source, err := remotewrite.Driver.Open(intaketest.YAML(""), intake.Env{})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.StringMatching(`[a-zé]{1,9}`)
		table := writev2.NewSymbolTable()
		var m writev2.Request
		for range rapid.IntRange(0, 5).Draw(rt, "series") {
			labels := map[string]string{"__name__": name.Draw(rt, "metric")}
			for range rapid.IntRange(0, 4).Draw(rt, "labels") {
				labels[name.Draw(rt, "label")] = rapid.StringN(1, 9, -1).Draw(rt, "value")
			}
			ts := &writev2.TimeSeries{Metadata: &writev2.Metadata{Type: writev2.Metadata_MetricType(rapid.IntRange(0, 9).Draw(rt, "type")), UnitRef: table.Symbolize("bytes")}}
			var names []string
			for l := range labels {
				names = append(names, l)
			}
			slices.Sort(names)
			for _, l := range names {
				ts.LabelsRefs = append(ts.LabelsRefs, table.Symbolize(l), table.Symbolize(labels[l]))
			}
			for range rapid.IntRange(1, 4).Draw(rt, "samples") {
				ts.Samples = append(ts.Samples, &writev2.Sample{
					Value: math.Float64frombits(rapid.Uint64().Draw(rt, "bits")), Timestamp: rapid.Int64Max(now.UnixMilli()).Draw(rt, "at"),
				})
			}
			ts.CreatedTimestamp = 5 // of the drafts
			ts.Exemplars = []*writev2.Exemplar{{LabelsRefs: ts.LabelsRefs, Value: 1}}
			m.Timeseries = append(m.Timeseries, ts)
		}
		m.Symbols = table.Symbols()
		body, err := proto.Marshal(&m)
		if err != nil {
			rt.Fatal(err)
		}
		want, _ := oracle2(t, body)
		h.Forget(t)
		if rec := send(t, h, request(type2, body)); rec.Code != http.StatusNoContent {
			rt.Fatalf("answer %d %s", rec.Code, rec.Body)
		}
		if got, _ := inLog(t, h); !slices.Equal(got, want) {
			rt.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		// Any prefix of it is refused whole, or is a request of its own.
		cut := body[:rapid.IntRange(0, len(body)).Draw(rt, "cut")]
		d, err := source.Decode(&intake.Request{Header: http.Header{"Content-Type": {type2}}, Body: cut})
		whole := proto.Unmarshal(cut, new(writev2.Request)) == nil
		if (err == nil) != whole {
			rt.Fatalf("%d of %d bytes: %v, and the library takes them: %v", len(cut), len(body), err, whole)
		}
		d.Release()
	})
}
