package series

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestABatchReadsBackAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b Batch
		var want []string
		for range rapid.IntRange(0, 5).Draw(t, "series") {
			d := Descriptor{
				Metric: rapid.String().Draw(t, "metric"), Unit: rapid.String().Draw(t, "unit"),
				Temporality: Temporality(rapid.IntRange(0, 3).Draw(t, "temporality")),
			}
			for i := range rapid.IntRange(0, 3).Draw(t, "labels") {
				d.Labels = append(d.Labels, Label{fmt.Sprint(i), rapid.String().Draw(t, "label")})
			}
			b.Series(&d)
			want = append(want, fmt.Sprint(d))
			for _, at := range rapid.SliceOf(rapid.Int64()).Draw(t, "at") {
				v := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
				b.Sample(at, v)
				want = append(want, fmt.Sprint(at, math.Float64bits(v)))
			}
		}
		body := b.Append(nil)
		if again := b.Append(nil); !slices.Equal(body, again) {
			t.Fatal("rendering a batch changed it")
		}
		var r BatchReader
		var got []string
		if err := r.Open(body); err != nil {
			t.Fatal(err)
		}
		for r.Next() {
			d, err := ParseKey(r.Key())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(d))
			for _, p := range r.Points() {
				got = append(got, fmt.Sprint(p.At, math.Float64bits(p.Value)))
			}
		}
		if r.Err() != nil || !slices.Equal(got, want) {
			t.Fatalf("got %q, %v, want %q", got, r.Err(), want)
		}
	})
}

func TestPartsOfALargeBatchHoldItsSeriesInOrder(t *testing.T) {
	f := func(series, points, parts int) {
		t.Helper()
		var b Batch
		for i := range series {
			b.Series(&Descriptor{Metric: fmt.Sprint("m", i)})
			for j := range points {
				b.Sample(int64(j), float64(i))
			}
		}
		got := b.Parts()
		if len(got) != parts {
			t.Errorf("%d series of %d points: %d parts, want %d", series, points, len(got), parts)
		}
		next := 0
		for _, body := range got {
			var r BatchReader
			if err := r.Open(body); err != nil {
				t.Fatal(err)
			}
			for r.Next() {
				if d, err := ParseKey(r.Key()); err != nil || d.Metric != fmt.Sprint("m", next) || len(r.Points()) != points {
					t.Fatalf("series %d is %q with %d points, %v", next, d.Metric, len(r.Points()), err)
				}
				next++
			}
			if r.Err() != nil {
				t.Fatal(r.Err())
			}
		}
		if next != series {
			t.Errorf("%d series came back of %d", next, series)
		}
		b.Reset()
		if len(b.Parts()) != 0 {
			t.Error("an empty batch has parts")
		}
	}
	f(0, 0, 0)
	f(1, 1, 1)
	f(10, 20_000, 2)
	f(1, 200_000, 1)
	f(3, 200_000, 3)
}

func FuzzBatch(f *testing.F) {
	var b Batch
	b.Series(&Descriptor{Metric: "up", Labels: []Label{{"instance", "web1:9100"}}})
	b.Sample(1, 1)
	f.Add(b.Append(nil))
	f.Fuzz(func(_ *testing.T, body []byte) {
		var r BatchReader
		if r.Open(body) != nil {
			return
		}
		for r.Next() {
			_, _ = ParseKey(r.Key())
		}
	})
}

func BenchmarkBatch(b *testing.B) {
	d := Descriptor{Metric: "node_cpu_seconds_total", Labels: []Label{{"cpu", "0"}, {"instance", "web1.example.com:9100"}, {"job", "node"}, {"mode", "idle"}}}
	var w Batch
	var r BatchReader
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		w.Reset()
		for i := range 500 {
			w.Series(&d)
			w.Sample(int64(i), float64(i))
		}
		body = w.Append(body[:0])
		if err := r.Open(body); err != nil {
			b.Fatal(err)
		}
		n := 0
		for r.Next() {
			n++
		}
		if n != 500 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/sample")
}
