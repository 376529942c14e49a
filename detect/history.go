package detect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fettleops/fettle/detect/kernel/detector"
)

// Reading is what was measured of a watched entity in one step, and what its
// detector said of it. NaN is missing or not known yet. In readings of past
// hours a step is at least a minute: Values, Expected, Low and High are means
// over the minute's steps, as is Threshold; Score, Raw and Grade are the
// greatest.
type Reading struct {
	At                          int64 // start of the step, Unix milliseconds UTC
	Score, Raw, Grade           float32
	Threshold                   float32   // of Raw
	Values, Expected, Low, High []float32 // one per feature
}

const (
	recentSteps = 240      // steps kept with a model
	recentBytes = 32 << 10 // at most, where points are wide
	recentLeast = 60
	hourMillis  = int64(time.Hour / time.Millisecond)
)

// A row begins with scalars numbers, before four per feature; the first peaks
// of them are summed up by the greatest, all others by the mean.
const (
	scalars = 4
	peaks   = 3
)

// history is what a model keeps of its readings: every step of late, and the
// hour that is not yet in the store.
type history struct {
	dims  int
	width int     // numbers of a row
	rows  int     // capacity
	at    []int64 // ring; next is the place of the oldest once it is full
	data  []float32
	next  int
	hour  hour
}

// hour sums up readings by buckets of at least a minute.
type hour struct {
	start  int64 // Unix milliseconds; meaningless while at is empty
	at     []int64
	counts []uint32  // per bucket and number
	data   []float64 // sums, of the first peaks numbers the greatest
}

func newHistory(dims int) history {
	width := 4*dims + scalars
	return history{dims: dims, width: width, rows: max(recentLeast, min(recentSteps, recentBytes/(4*width)))}
}

// bucketOf is the length of a bucket of the hour, in milliseconds.
func bucketOf(step time.Duration) int64 { return max(step, time.Minute).Milliseconds() }

// add keeps a reading. Where it begins a new hour it returns the one before,
// rendered, and when that began.
func (h *history) add(p detector.Point, r *detector.Reading, bucket, phase int64, pack packer) (start int64, over []byte) {
	row := h.row(p.At)
	row[0], row[1], row[2], row[3] = float32(r.Score), float32(r.Raw), float32(r.Grade), float32(r.Threshold)
	put := func(column int, from []float64) {
		for i := range h.dims {
			v := float32(math.NaN())
			if i < len(from) {
				v = float32(from[i])
			}
			row[scalars+column*h.dims+i] = v
		}
	}
	put(0, p.Values)
	put(1, r.Expected)
	put(2, r.Low)
	put(3, r.High)

	begins := floor(p.At-phase, hourMillis) + phase
	if len(h.hour.at) > 0 && begins != h.hour.start {
		start, over = h.hour.start, h.hour.render(h.width, pack)
		h.hour = hour{at: h.hour.at[:0], counts: h.hour.counts[:0], data: h.hour.data[:0]}
	}
	h.hour.start = begins
	h.hour.add(floor(p.At, bucket), row)
	return start, over
}

func floor(v, by int64) int64 {
	r := v % by
	if r < 0 {
		r += by
	}
	return v - r
}

// row makes room for a step and returns its numbers.
func (h *history) row(at int64) []float32 {
	if len(h.at) < h.rows {
		h.at = append(h.at, at)
		h.data = append(h.data, make([]float32, h.width)...)
		return h.data[len(h.data)-h.width:]
	}
	i := h.next
	h.at[i] = at
	h.next = (i + 1) % h.rows
	return h.data[i*h.width : (i+1)*h.width]
}

// each calls f for each recent reading, oldest first. Its slices are valid
// until f returns.
func (h *history) each(f func(Reading)) {
	for i := range h.at {
		j := (h.next + i) % len(h.at)
		f(reading(h.at[j], h.data[j*h.width:(j+1)*h.width], h.dims))
	}
}

func reading(at int64, row []float32, dims int) Reading {
	column := func(i int) []float32 { return row[scalars+i*dims : scalars+(i+1)*dims] }
	return Reading{At: at, Score: row[0], Raw: row[1], Grade: row[2], Threshold: row[3], Values: column(0), Expected: column(1), Low: column(2), High: column(3)}
}

func (h *hour) add(at int64, row []float32) {
	n := len(row)
	if k := len(h.at); k == 0 || h.at[k-1] != at {
		h.at = append(h.at, at)
		h.counts = append(h.counts, make([]uint32, n)...)
		h.data = append(h.data, make([]float64, n)...)
	}
	counts, data := h.counts[len(h.counts)-n:], h.data[len(h.data)-n:]
	for i, v := range row {
		v := float64(v)
		switch {
		case v != v:
			continue
		case i >= peaks:
			data[i] += v
		case counts[i] == 0 || v > data[i]:
			data[i] = v
		}
		counts[i]++
	}
}

// row returns the numbers of a bucket, means where sums were kept.
func (h *hour) row(i, width int, dst []float32) []float32 {
	dst = dst[:0]
	for j := range width {
		v, n := h.data[i*width+j], h.counts[i*width+j]
		switch {
		case n == 0:
			v = math.NaN()
		case j >= peaks:
			v /= float64(n)
		}
		dst = append(dst, float32(v))
	}
	return dst
}

// readings returns the buckets so far.
func (h *hour) readings(dims int) []Reading {
	var out []Reading
	for i, at := range h.at {
		out = append(out, reading(at, h.row(i, 4*dims+scalars, nil), dims))
	}
	return out
}

// chunkVersion is the first byte of a chunk.
const chunkVersion = 1

// packer compresses chunks. It is safe for concurrent use.
type packer struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

func newPacker() (packer, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(128<<10), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return packer{}, fmt.Errorf("detect: make the compressor of readings: %w", err)
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(16<<20))
	if err != nil {
		return packer{}, fmt.Errorf("detect: make the decompressor of readings: %w", err)
	}
	return packer{e, d}, nil
}

// render writes the hour column by column, and of each column first all lowest
// bytes, then all second ones: the bytes that vary little stand together.
func (h *hour) render(width int, pack packer) []byte {
	n := len(h.at)
	raw := binary.AppendUvarint(nil, uint64(width))
	raw = binary.AppendUvarint(raw, uint64(n))
	before := h.start
	for _, at := range h.at {
		raw = binary.AppendVarint(raw, at-before)
		before = at
	}
	rows := make([]float32, 0, n*width)
	for i := range n {
		rows = append(rows, h.row(i, width, nil)...)
	}
	for j := range width {
		for shift := 0; shift < 32; shift += 8 {
			for i := range n {
				raw = append(raw, byte(math.Float32bits(rows[i*width+j])>>shift))
			}
		}
	}
	return pack.encoder.EncodeAll(raw, []byte{chunkVersion})
}

var errChunk = errors.New("detect: a chunk of readings is damaged")

// parse reads back what render wrote of the hour that began at start.
func (pack packer) parse(start int64, body []byte) ([]Reading, error) {
	if len(body) == 0 || body[0] != chunkVersion {
		return nil, fmt.Errorf("%w: unknown version", errChunk)
	}
	raw, err := pack.decoder.DecodeAll(body[1:], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errChunk, err)
	}
	width, size := binary.Uvarint(raw)
	if size <= 0 || width < scalars || (width-scalars)%4 != 0 || width > 1<<16 {
		return nil, errChunk
	}
	raw = raw[size:]
	n, size := binary.Uvarint(raw)
	if size <= 0 || n > uint64(len(raw)) {
		return nil, errChunk
	}
	raw = raw[size:]
	at := make([]int64, n)
	before := start
	for i := range at {
		d, size := binary.Varint(raw)
		if size <= 0 {
			return nil, errChunk
		}
		before += d
		at[i], raw = before, raw[size:]
	}
	if uint64(len(raw)) != 4*n*width {
		return nil, errChunk
	}
	rows := make([]float32, n*width)
	for j := range width {
		for i := range n {
			var v uint32
			for k := range uint64(4) {
				v |= uint32(raw[(j*4+k)*n+i]) << (8 * k)
			}
			rows[i*width+j] = math.Float32frombits(v)
		}
	}
	out := make([]Reading, n)
	for i := range out {
		out[i] = reading(at[i], rows[uint64(i)*width:uint64(i+1)*width], int(width-scalars)/4)
	}
	return out, nil
}
