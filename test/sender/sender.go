// Package sender renders remote write bodies the way Prometheus does, cheaply:
// the names of the series are encoded once, and a body is a copy of that with
// times and values put in. It is for benchmarks and tests that need many.
package sender

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/fettleops/fettle/series"
)

// Version is a version of the remote write protocol: 1 or 2.
type Version int

// ContentType is the Content-Type of bodies of a version.
func (v Version) ContentType() string {
	if v == 2 {
		return "application/x-protobuf;proto=io.prometheus.write.v2.Request"
	}
	return "application/x-protobuf"
}

// Template is the body of one sample for each of some series. It is safe for
// concurrent use.
type Template struct {
	version Version
	plain   []byte
	samples []int // where in plain the value and, nine bytes on, the time of each series stand
}

// timeBytes is the length of a time in a body: six bytes of a varint hold
// Unix milliseconds from the year 2005 to 2109.
const timeBytes = 6

// sampleBytes is the length of a sample: a tag, a value, a tag, a time.
const sampleBytes = 1 + 8 + 1 + timeBytes

// New encodes the names of series. Labels include no __name__.
func New(v Version, all []series.Descriptor) (*Template, error) {
	t := &Template{version: v}
	switch v {
	case 1:
		for i := range all {
			t.add(encode1(&all[i]))
		}
	case 2:
		refs := map[string]uint64{"": 0}
		symbols := []string{""}
		ref := func(s string) uint64 {
			n, known := refs[s]
			if !known {
				n = uint64(len(symbols))
				refs[s], symbols = n, append(symbols, s)
			}
			return n
		}
		var rows [][]byte
		for i := range all {
			rows = append(rows, encode2(&all[i], ref))
		}
		for _, s := range symbols {
			t.plain = protowire.AppendTag(t.plain, 4, protowire.BytesType)
			t.plain = protowire.AppendString(t.plain, s)
		}
		for _, row := range rows {
			t.add(row)
		}
	default:
		return nil, fmt.Errorf("remote write version %d is neither 1 nor 2", v)
	}
	return t, nil
}

// add appends a series whose message ends with its sample.
func (t *Template) add(row []byte) {
	tag := protowire.Number(1)
	if t.version == 2 {
		tag = 5
	}
	t.plain = protowire.AppendTag(t.plain, tag, protowire.BytesType)
	t.plain = protowire.AppendBytes(t.plain, row)
	t.samples = append(t.samples, len(t.plain)-sampleBytes+1)
}

// named returns the labels with __name__ where it belongs.
func named(d *series.Descriptor) []series.Label {
	labels := append([]series.Label{{Name: "__name__", Value: d.Metric}}, d.Labels...)
	slices.SortFunc(labels, func(a, b series.Label) int { return strings.Compare(a.Name, b.Name) })
	return labels
}

func encode1(d *series.Descriptor) (row []byte) {
	for _, l := range named(d) {
		var pair []byte
		pair = protowire.AppendTag(pair, 1, protowire.BytesType)
		pair = protowire.AppendString(pair, l.Name)
		pair = protowire.AppendTag(pair, 2, protowire.BytesType)
		pair = protowire.AppendString(pair, l.Value)
		row = protowire.AppendTag(row, 1, protowire.BytesType)
		row = protowire.AppendBytes(row, pair)
	}
	return appendSample(row)
}

func encode2(d *series.Descriptor, ref func(string) uint64) (row []byte) {
	var refs []byte
	for _, l := range named(d) {
		refs = protowire.AppendVarint(refs, ref(l.Name))
		refs = protowire.AppendVarint(refs, ref(l.Value))
	}
	row = protowire.AppendTag(row, 1, protowire.BytesType)
	row = protowire.AppendBytes(row, refs)
	kind := uint64(0)
	switch d.Temporality {
	case series.Gauge:
		kind = 2
	case series.Cumulative:
		kind = 1
	}
	var meta []byte
	if kind > 0 {
		meta = protowire.AppendTag(meta, 1, protowire.VarintType)
		meta = protowire.AppendVarint(meta, kind)
	}
	if d.Unit != "" {
		meta = protowire.AppendTag(meta, 4, protowire.VarintType)
		meta = protowire.AppendVarint(meta, ref(d.Unit))
	}
	if len(meta) > 0 {
		row = protowire.AppendTag(row, 5, protowire.BytesType)
		row = protowire.AppendBytes(row, meta)
	}
	return appendSample(row)
}

func appendSample(row []byte) []byte {
	var s []byte
	s = protowire.AppendTag(s, 1, protowire.Fixed64Type)
	s = protowire.AppendFixed64(s, 0)
	s = protowire.AppendTag(s, 2, protowire.VarintType)
	s = append(s, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01)
	row = protowire.AppendTag(row, 2, protowire.BytesType)
	return protowire.AppendBytes(row, s)
}

// Samples returns how many samples a body holds.
func (t *Template) Samples() int { return len(t.samples) }

// Version returns the version the bodies are of.
func (t *Template) Version() Version { return t.version }

// Body is memory to render bodies in. The zero value is ready; it is not safe
// for concurrent use.
type Body struct{ plain, packed []byte }

// Render returns a body in snappy with one sample of each series at a time in
// Unix milliseconds, and what value says of the i-th. It is valid until the
// next call.
func (b *Body) Render(t *Template, at int64, value func(i int) float64) []byte {
	var when [timeBytes]byte
	binary.PutUvarint(when[:], uint64(at))
	b.plain = append(b.plain[:0], t.plain...)
	for i, from := range t.samples {
		binary.LittleEndian.PutUint64(b.plain[from:], math.Float64bits(value(i)))
		copy(b.plain[from+9:], when[:])
	}
	b.packed = snappy.Encode(b.packed[:cap(b.packed)], b.plain)
	return b.packed
}
