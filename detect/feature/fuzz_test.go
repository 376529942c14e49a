package feature_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"testing"

	"github.com/fettleops/fettle/detect/feature"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// sealed puts the version, the fingerprint and the checksum around a body, so
// that the fuzzer gets past them.
func sealed(sel *feature.Selector, body []byte) []byte {
	out := binary.LittleEndian.AppendUint64([]byte{1}, sel.Fingerprint())
	out = append(out, body...)
	return binary.LittleEndian.AppendUint32(out, crc32.Checksum(out, crc32.MakeTable(crc32.Castagnoli)))
}

// fuzzed are bindings of every kind.
func fuzzed(f testing.TB) (*feature.Selector, []feature.Binding) {
	set, sel := compiled(f, everyKind())
	var bindings []feature.Binding
	for i, m := range []string{"level", "counter", "delta", "level", "counter"} {
		d := series.Descriptor{Metric: m, Labels: labels("device", fmt.Sprint(i), "host", "a")}
		switch m {
		case "counter":
			d.Temporality = series.Cumulative
		case "delta":
			d.Temporality = series.Delta
		}
		b, err := set.Bind(&d)
		if err != nil {
			f.Fatal(err)
		}
		bindings = append(bindings, b...)
	}
	return sel, bindings
}

// run feeds an entity what the bytes say, ten at a time: a series, a step to
// go in time and a value. It checks that points are in order and finite.
func run(t *testing.T, e *feature.Entity, bindings []feature.Binding, data []byte, reload bool) []feature.Closed {
	var out []feature.Closed
	at := int64(1_000_000)
	for len(data) >= 10 {
		b := &bindings[int(data[0])%len(bindings)]
		at += int64(int8(data[1])) * 500
		v := math.Float64frombits(binary.LittleEndian.Uint64(data[2:]))
		data = data[10:]
		closed, err := e.Add(b, series.RawPoint{At: at, Value: v})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range closed {
			if n := len(out); n > 0 && c.At <= out[n-1].At || c.At%10_000 != 0 {
				t.Fatalf("%d after %v", c.At, out)
			}
			for _, x := range c.Values {
				if math.IsInf(x, 0) {
					t.Fatal("an infinite value")
				}
			}
			c.Values = append([]float64(nil), c.Values...)
			out = append(out, c)
		}
		if !reload {
			continue
		}
		if e, err = e.Selector().Load("a", e.AppendState(nil)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func FuzzAdd(f *testing.F) {
	sel, bindings := fuzzed(f)
	sample := func(b, step byte, v float64) []byte {
		return binary.LittleEndian.AppendUint64([]byte{b, step}, math.Float64bits(v))
	}
	var log []byte
	for i := range byte(60) {
		log = append(log, sample(i, 4, float64(i))...)
	}
	f.Add(log)
	f.Add(append(sample(0, 0, math.MaxFloat64), sample(3, 0, math.MaxFloat64)...))
	f.Add(append(append(sample(3, 1, 5), sample(3, 1, stale)...), sample(3, 127, -1)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		want := run(t, sel.New("a"), bindings, data, false)
		for _, c := range want { // a state that is loaded may say that this was no counter
			if c.Values[1] < 0 {
				t.Fatalf("a negative rate %v", c.Values[1])
			}
		}
		if got := run(t, sel.New("a"), bindings, data, true); !same(got, want) {
			t.Fatalf("saved and loaded\n%v\nwithout\n%v", got, want)
		}
	})
}

func FuzzLoad(f *testing.F) {
	sel, bindings := fuzzed(f)
	e := sel.New("a")
	f.Add(body(e), []byte{})
	for i := range int64(30) {
		if _, err := e.Add(&bindings[i%int64(len(bindings))], series.RawPoint{At: i * 3000, Value: float64(i)}); err != nil {
			f.Fatal(err)
		}
		if i%7 == 0 {
			f.Add(body(e), binary.LittleEndian.AppendUint64([]byte{0, 100}, math.Float64bits(1)))
		}
	}
	f.Fuzz(func(t *testing.T, state, data []byte) {
		e, err := sel.Load("a", sealed(sel, state))
		if err != nil {
			if !errors.Is(err, ops.ErrInvalid) {
				t.Fatalf("%v has no class", err)
			}
			return
		}
		// What loads works: it takes samples, and saves as it is.
		again, err := sel.Load("a", e.AppendState(nil))
		if err != nil {
			t.Fatal(err)
		}
		if want, got := run(t, e, bindings, data, false), run(t, again, bindings, data, false); !same(got, want) {
			t.Fatalf("saved and loaded\n%v\nwithout\n%v", got, want)
		}
	})
}

func body(e *feature.Entity) []byte {
	state := e.AppendState(nil)
	return state[9 : len(state)-4]
}
