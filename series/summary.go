package series

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fettleops/fettle/ops"
)

// summary holds one bucket per step of a span: least, sum, greatest, count.
type summary struct {
	step, span time.Duration
	start      time.Time
	buckets    []bucket
}

type bucket struct {
	n              uint32
	low, sum, high float64
}

func newSummary(step, span time.Duration, start time.Time) *summary {
	return &summary{step: step, span: span, start: start, buckets: make([]bucket, span/step)}
}

func (s *summary) holds(at time.Time) bool {
	return !at.Before(s.start) && at.Before(s.start.Add(s.span))
}

func (s *summary) add(at time.Time, v float64) {
	if !s.holds(at) || math.IsNaN(v) {
		return
	}
	b := &s.buckets[at.Sub(s.start)/s.step]
	if b.n == 0 || v < b.low {
		b.low = v
	}
	if b.n == 0 || v > b.high {
		b.high = v
	}
	b.n++
	b.sum += v
}

// points returns the mean of each bucket that holds anything, at its start.
func (s *summary) points() []ops.Point {
	var out []ops.Point
	for i, b := range s.buckets {
		if b.n > 0 {
			out = append(out, ops.Point{At: s.start.Add(time.Duration(i) * s.step), Value: b.sum / float64(b.n)})
		}
	}
	return out
}

// format is the first byte of a chunk, so that a later format can be told apart.
const format = 1

var (
	packer, _   = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	unpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<20))
)

// encode writes the buckets column by column, which is what compresses well.
func (s *summary) encode() []byte {
	raw := make([]byte, 0, len(s.buckets)*28)
	for _, b := range s.buckets {
		raw = binary.LittleEndian.AppendUint32(raw, b.n)
	}
	column := func(f func(bucket) float64) {
		for _, b := range s.buckets {
			if b.n > 0 {
				raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(f(b)))
			}
		}
	}
	column(func(b bucket) float64 { return b.low })
	column(func(b bucket) float64 { return b.sum })
	column(func(b bucket) float64 { return b.high })
	return packer.EncodeAll(raw, []byte{format})
}

var errChunk = errors.New("chunk is damaged")

func (s *summary) decode(body []byte) error {
	if len(body) == 0 || body[0] != format {
		return fmt.Errorf("unknown chunk format: %w", errChunk)
	}
	raw, err := unpacker.DecodeAll(body[1:], nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errChunk, err)
	}
	n := len(s.buckets)
	if len(raw) < 4*n {
		return errChunk
	}
	full := 0
	for i := range s.buckets {
		s.buckets[i].n = binary.LittleEndian.Uint32(raw[4*i:])
		if s.buckets[i].n > 0 {
			full++
		}
	}
	raw = raw[4*n:]
	if len(raw) != 3*8*full {
		return errChunk
	}
	column := func(set func(*bucket, float64)) {
		for i := range s.buckets {
			if s.buckets[i].n > 0 {
				set(&s.buckets[i], math.Float64frombits(binary.LittleEndian.Uint64(raw)))
				raw = raw[8:]
			}
		}
	}
	column(func(b *bucket, v float64) { b.low = v })
	column(func(b *bucket, v float64) { b.sum = v })
	column(func(b *bucket, v float64) { b.high = v })
	return nil
}
