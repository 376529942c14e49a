package detect

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/ops"
)

// drawHistory makes a history the way a model does.
func drawHistory(t *rapid.T, dims int) (history, []ops.ReadingChunk) {
	pack, err := newPacker()
	if err != nil {
		t.Fatal(err)
	}
	h := newHistory(dims)
	bucket := rapid.SampledFrom([]int64{60_000, 300_000, 420_000}).Draw(t, "bucket")
	phase := floor(rapid.Int64Range(0, hourMillis-1).Draw(t, "phase"), bucket)
	at := rapid.Int64Range(0, 2_000_000_000_000).Draw(t, "at")
	value := rapid.OneOf(rapid.Float64Range(-10, 10), rapid.Just(math.NaN()))
	var chunks []ops.ReadingChunk
	for range rapid.IntRange(0, 400).Draw(t, "points") {
		at += rapid.SampledFrom([]int64{10_000, 60_000, 4_000_000}).Draw(t, "distance")
		p := detector.Point{At: at}
		r := detector.Reading{Score: 0.5, Grade: 0.1}
		for range dims {
			p.Values = append(p.Values, value.Draw(t, "value"))
			r.Expected = append(r.Expected, value.Draw(t, "expected"))
			r.Low, r.High = append(r.Low, 1), append(r.High, 2)
		}
		if start, body := h.add(p, &r, bucket, phase, pack); body != nil {
			readings, err := pack.parse(start, body)
			if err != nil || len(readings) == 0 {
				t.Fatalf("%d readings of a chunk, %v", len(readings), err)
			}
			for _, x := range readings {
				if x.At < start-bucket || x.At >= start+hourMillis {
					t.Fatalf("a reading at %d in the hour from %d", x.At, start)
				}
			}
			chunks = append(chunks, ops.ReadingChunk{Body: body})
		}
	}
	return h, chunks
}

func (h *history) text() string {
	var out strings.Builder
	h.each(func(r Reading) { fmt.Fprintln(&out, r) })
	fmt.Fprintln(&out, h.hour.readings(h.dims), h.hour.start)
	return out.String()
}

func TestASnapshotReadsBackAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, _ := drawHistory(t, rapid.IntRange(1, 5).Draw(t, "dims"))
		s := snapshot{
			digest: rapid.String().Draw(t, "digest"), first: rapid.Int64().Draw(t, "first"), contained: rapid.Int64().Draw(t, "contained"), heard: 5, learned: 7, needed: 9,
			life: life{Last: 3, Open: &episode{Quiet: 2, Told: 0.5, Anomaly: ops.Anomaly{ID: "x", Grade: 0.7}}}, history: h, entity: []byte("entity"), detector: []byte("detector"),
		}
		body, err := s.append(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseSnapshot(body)
		if err != nil {
			t.Fatal(err)
		}
		if got.history.text() != h.text() {
			t.Errorf("got\n%s\nwant\n%s", got.history.text(), h.text())
		}
		again, err := got.append(nil)
		if err != nil || !bytes.Equal(again, body) {
			t.Errorf("written again it is another, %v", err)
		}
		got.history, s.history = history{}, history{}
		if !reflect.DeepEqual(*got, s) {
			t.Errorf("got %+v, want %+v", *got, s)
		}
		i := rapid.IntRange(0, len(body)-1).Draw(t, "damage")
		body[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := parseSnapshot(body); err == nil {
			t.Errorf("byte %d of %d is damaged and nobody says so", i, len(body))
		}
	})
}

// FuzzSnapshot reads fields that a checksum vouches for: whatever they say,
// nothing but an error may follow.
func FuzzSnapshot(f *testing.F) {
	s := snapshot{digest: "d", history: newHistory(2), entity: []byte("e"), detector: []byte("d")}
	pack, err := newPacker()
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		s.history.add(detector.Point{At: int64(i) * 60_000, Values: []float64{1, 2}}, &detector.Reading{}, 60_000, 0, pack)
	}
	body, err := s.append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body[len(snapshotMagic) : len(body)-4])
	f.Fuzz(func(_ *testing.T, fields []byte) {
		d := decoder{rest: fields}
		d.bytes()
		var h history
		h.decode(&d)
		if !d.bad {
			h.each(func(Reading) {})
			h.hour.readings(h.dims)
		}
	})
}

func FuzzChunk(f *testing.F) {
	pack, err := newPacker()
	if err != nil {
		f.Fatal(err)
	}
	h := newHistory(1)
	for i := range 70 {
		if _, body := h.add(detector.Point{At: int64(i) * 60_000, Values: []float64{1}}, &detector.Reading{}, 60_000, 0, pack); body != nil {
			f.Add(body)
		}
	}
	f.Fuzz(func(_ *testing.T, body []byte) { _, _ = pack.parse(0, body) })
}

func TestHostOf(t *testing.T) {
	f := func(entity, want string) {
		t.Helper()
		if got := hostOf(entity); got != want {
			t.Errorf("%q is on %q, want %q", entity, got, want)
		}
	}
	f("web1:9100", "web1")
	f("web1.example.com", "web1.example.com")
	f("10.0.0.1:9100", "10.0.0.1")
	f("[::1]:9100", "::1")
	f("fe80::1", "fe80::1")
	f("i-0123", "i-0123")
	f("pod:web", "pod:web")
}

func TestNumber(t *testing.T) {
	f := func(v float64, want string) {
		t.Helper()
		if got := number(v); got != want {
			t.Errorf("%v is written %q, want %q", v, got, want)
		}
	}
	f(0, "0")
	f(0.97, "0.97")
	f(0.314159, "0.31")
	f(0.00512, "0.0051")
	f(12.3456, "12.35")
	f(1234.5, "1234")
	f(-250, "-250")
	f(0.00001234, "1.23e-05")
	f(12_345_678_901, "1.23e+10")
}

// BenchmarkSnapshotFile is a file per model on the disk of the machine, 16 of
// them sharing the sync of their folders, as the writer does it.
func BenchmarkSnapshotFile(b *testing.B) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 400<<10/16)
	dir := modelDir(filepath.Join(b.TempDir(), "models"))
	if err := os.MkdirAll(string(dir), 0o700); err != nil {
		b.Fatal(err)
	}
	w := newWriter(dir)
	go w.run()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		id, _ := watchedID("bench", fmt.Sprint(n%1000))
		n++
		w.hand(written{id: id, body: append(w.buffer(), body...)})
	}
	w.wait()
	w.stop()
	for _, x := range w.take() {
		if x.err != nil {
			b.Fatal(x.err)
		}
	}
}
