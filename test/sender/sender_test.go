package sender_test

import (
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/remotewrite"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/test/sender"
)

func TestABodyIsReadAsItWasMeant(t *testing.T) {
	all := []series.Descriptor{
		{Metric: "up", Temporality: series.Gauge, Labels: []series.Label{{Name: "instance", Value: "a:9100"}, {Name: "job", Value: "node"}}},
		{Metric: "sent_total", Temporality: series.Cumulative, Labels: []series.Label{{Name: "Zone", Value: "\u00fc"}, {Name: "instance", Value: "a:9100"}}},
	}
	for _, v := range []sender.Version{1, 2} {
		tmpl, err := sender.New(v, all)
		if err != nil {
			t.Fatal(err)
		}
		s, err := remotewrite.Driver.Open(intaketest.YAML(""), intake.Env{})
		if err != nil {
			t.Fatal(err)
		}
		var b sender.Body
		for _, at := range []int64{1_200_000_000_000, 1_795_000_000_123} {
			plain, err := snappy.Decode(nil, b.Render(tmpl, at, func(i int) float64 { return float64(i) + 0.5 }))
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Decode(&intake.Request{Header: http.Header{"Content-Type": {v.ContentType()}}, Body: plain, ReceivedAt: time.UnixMilli(at)})
			if err != nil || got.Refused > 0 || got.Samples.Samples() != tmpl.Samples() {
				t.Fatalf("version %d: %d samples, %d refused (%s), %v", v, got.Samples.Samples(), got.Refused, got.Note, err)
			}
			var r series.BatchReader
			if err := r.Open(got.Samples.Append(nil)); err != nil {
				t.Fatal(err)
			}
			for i := 0; r.Next(); i++ {
				d, err := series.ParseKey(r.Key())
				if err != nil {
					t.Fatal(err)
				}
				if d.Metric != all[i].Metric || len(d.Labels) != 2 || d.Labels[0] != all[i].Labels[0] || d.Labels[1] != all[i].Labels[1] {
					t.Errorf("version %d: series %d is %+v", v, i, d)
				}
				if v == 2 && d.Temporality != all[i].Temporality {
					t.Errorf("series %d has temporality %d", i, d.Temporality)
				}
				if p := r.Points(); len(p) != 1 || p[0].At != at || math.Float64bits(p[0].Value) != math.Float64bits(float64(i)+0.5) {
					t.Errorf("version %d: samples %v", v, p)
				}
			}
			got.Release()
		}
	}
	if _, err := sender.New(3, all); err == nil {
		t.Error("a version 3 was taken")
	}
}
