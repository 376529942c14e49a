package series

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/klauspost/compress/s2"
)

// Temporality says what the values of a series are.
type Temporality byte

// The temporalities. What a sender does not say is Unspecified, and the
// feature that uses the series decides.
const (
	Unspecified Temporality = 0
	Gauge       Temporality = 1
	Cumulative  Temporality = 2 // a counter that only grows until it is reset
	Delta       Temporality = 3 // what was added since the sample before
)

// Label is a name and its value.
type Label struct{ Name, Value string }

// Descriptor names a series the way its sender does.
type Descriptor struct {
	Metric      string
	Temporality Temporality
	Unit        string // as the sender says it, UCUM in OTLP; empty is unknown
	Labels      []Label
}

// Label returns the value of a label, and whether there is one.
func (d *Descriptor) Label(name string) (string, bool) {
	for i := range d.Labels {
		if d.Labels[i].Name == name {
			return d.Labels[i].Value, true
		}
	}
	return "", false
}

// RawPoint is a sample without its series.
type RawPoint struct {
	At    int64 // Unix milliseconds UTC
	Value float64
}

// IsStale reports whether a value is Prometheus' stale marker, the NaN with
// bits 0x7ff0000000000002: the series has ended.
func IsStale(v float64) bool { return math.Float64bits(v) == 0x7ff0000000000002 }

// Batch renders samples of one delivery for the log. The zero value is ready;
// Reset makes it ready again. For each series call Series, then Sample for
// each of its samples.
//
// The form: a version byte, then S2 of, per series, the length of its key and
// the key, the number of its points and for each the varint difference of
// milliseconds and the bits of the value. The key is temporality, metric, unit
// and sorted labels, each with its length, so that equal series have equal
// keys and a reader needs no parsing to know a series again.
type Batch struct {
	plain   []byte
	points  []byte
	begun   bool // a series is being written
	count   int  // its points so far
	last    int64
	samples int
	cuts    []int // where in plain a part ends
}

const batchVersion = 1

// partSize is the size before compression past which a part ends.
const partSize = 1 << 20

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	*b = Batch{plain: b.plain[:0], points: b.points[:0], cuts: b.cuts[:0]}
}

// Series begins a series. Labels must be sorted by name, each name once.
func (b *Batch) Series(d *Descriptor) {
	b.close()
	b.plain = binary.AppendUvarint(b.plain, uint64(keySize(d)))
	b.plain = append(b.plain, byte(d.Temporality))
	b.plain = appendText(b.plain, d.Metric)
	b.plain = appendText(b.plain, d.Unit)
	for i := range d.Labels {
		b.plain = appendText(b.plain, d.Labels[i].Name)
		b.plain = appendText(b.plain, d.Labels[i].Value)
	}
	b.begun = true
}

// Sample adds a sample to the series begun last.
func (b *Batch) Sample(at int64, v float64) {
	b.points = binary.AppendVarint(b.points, at-b.last)
	b.points = binary.LittleEndian.AppendUint64(b.points, math.Float64bits(v))
	b.last = at
	b.count++
	b.samples++
}

// Samples returns how many samples the batch holds.
func (b *Batch) Samples() int { return b.samples }

// Size returns the bytes of the batch before compression.
func (b *Batch) Size() int { return len(b.plain) + len(b.points) }

// Append appends the batch, as it stands, to dst.
func (b *Batch) Append(dst []byte) []byte {
	b.close()
	return render(dst, b.plain)
}

// Parts returns the batch, as it stands, as bodies that are batches of their
// own and hold its series in their order: none for an empty batch, one for a
// batch below 1 MiB before compression, and otherwise one for each 1 MiB, cut
// after the series that passes it. Equal batches have equal parts.
func (b *Batch) Parts() [][]byte {
	b.close()
	var out [][]byte
	from := 0
	for _, to := range b.cuts {
		out = append(out, render(nil, b.plain[from:to]))
		from = to
	}
	if from < len(b.plain) {
		out = append(out, render(nil, b.plain[from:]))
	}
	return out
}

func render(dst, plain []byte) []byte {
	need := s2.MaxEncodedLen(len(plain))
	dst = append(slices.Grow(dst, 1+need), batchVersion)
	n := len(dst)
	return dst[:n+len(s2.Encode(dst[n:n+need], plain))]
}

func (b *Batch) close() {
	if !b.begun {
		return
	}
	b.plain = binary.AppendUvarint(b.plain, uint64(b.count))
	b.plain = append(b.plain, b.points...)
	b.points, b.count, b.last, b.begun = b.points[:0], 0, 0, false
	from := 0
	if n := len(b.cuts); n > 0 {
		from = b.cuts[n-1]
	}
	if len(b.plain)-from >= partSize {
		b.cuts = append(b.cuts, len(b.plain))
	}
}

func keySize(d *Descriptor) int {
	n := 1 + textSize(d.Metric) + textSize(d.Unit)
	for i := range d.Labels {
		n += textSize(d.Labels[i].Name) + textSize(d.Labels[i].Value)
	}
	return n
}

func textSize(s string) int {
	n, size := len(s), 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size + len(s)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// maxBatch bounds a batch before compression: what an append may hold at all.
const maxBatch = 64 << 20

var errBatch = errors.New("series: a batch that is broken")

// BatchReader reads a batch back. The zero value is ready for Open.
type BatchReader struct {
	buffer, rest []byte
	key          []byte
	points       []RawPoint
	err          error
}

// Open begins to read a body written by Batch.Append.
func (r *BatchReader) Open(body []byte) error {
	r.rest, r.key, r.err = nil, nil, nil
	if len(body) == 0 || body[0] != batchVersion {
		return fmt.Errorf("%w: unknown version", errBatch)
	}
	n, err := s2.DecodedLen(body[1:])
	if err != nil {
		return fmt.Errorf("%w: %w", errBatch, err)
	}
	if n > maxBatch {
		return fmt.Errorf("%w: %d bytes", errBatch, n)
	}
	if cap(r.buffer) < n {
		r.buffer = make([]byte, n)
	}
	if r.rest, err = s2.Decode(r.buffer[:cap(r.buffer)], body[1:]); err != nil {
		return fmt.Errorf("%w: %w", errBatch, err)
	}
	return nil
}

// Next goes to the next series; false at the end and on an error.
func (r *BatchReader) Next() bool {
	if len(r.rest) == 0 || r.err != nil {
		return false
	}
	n, ok := r.uvarint()
	if !ok || n > uint64(len(r.rest)) {
		return r.fail()
	}
	r.key, r.rest = r.rest[:n], r.rest[n:]
	count, ok := r.uvarint()
	if !ok || count > uint64(len(r.rest))/9 {
		return r.fail()
	}
	r.points = r.points[:0]
	var at int64
	for range count {
		d, size := binary.Varint(r.rest)
		if size <= 0 || len(r.rest) < size+8 {
			return r.fail()
		}
		at += d
		r.points = append(r.points, RawPoint{At: at, Value: math.Float64frombits(binary.LittleEndian.Uint64(r.rest[size:]))})
		r.rest = r.rest[size+8:]
	}
	return true
}

func (r *BatchReader) uvarint() (uint64, bool) {
	v, size := binary.Uvarint(r.rest)
	if size <= 0 {
		return 0, false
	}
	r.rest = r.rest[size:]
	return v, true
}

func (r *BatchReader) fail() bool {
	r.err = fmt.Errorf("%w: %d bytes before its end", errBatch, len(r.rest))
	return false
}

// Err returns what stopped Next before the end.
func (r *BatchReader) Err() error { return r.err }

// Key returns the identity of the series: equal series have equal keys. It is
// valid until the next Open.
func (r *BatchReader) Key() []byte { return r.key }

// Points returns the samples of the series in the order they were sent; valid
// until Next.
func (r *BatchReader) Points() []RawPoint { return r.points }

// ParseKey reads the names out of a key. They share one copy of it.
func ParseKey(key []byte) (Descriptor, error) {
	if len(key) == 0 {
		return Descriptor{}, fmt.Errorf("%w: empty key", errBatch)
	}
	texts := 0
	for rest := key[1:]; len(rest) > 0; texts++ {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return Descriptor{}, fmt.Errorf("%w: key", errBatch)
		}
		rest = rest[size+int(n):]
	}
	if texts < 2 || texts%2 != 0 {
		return Descriptor{}, fmt.Errorf("%w: key with %d texts", errBatch, texts)
	}
	all, rest := string(key), key[1:]
	next := func() string {
		n, size := binary.Uvarint(rest)
		from := len(key) - len(rest) + size
		rest = rest[size+int(n):]
		return all[from : from+int(n)]
	}
	d := Descriptor{Temporality: Temporality(key[0]), Metric: next(), Unit: next()}
	if texts > 2 {
		d.Labels = make([]Label, texts/2-1)
	}
	for i := range d.Labels {
		d.Labels[i] = Label{Name: next(), Value: next()}
	}
	return d, nil
}
