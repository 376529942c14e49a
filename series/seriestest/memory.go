// Package seriestest holds a sample log in memory for tests of what writes to
// or reads from one.
package seriestest

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// Log is a series.Log that lives as long as the test: a restart of what stands
// around it is a second user of the same Log. It is safe for concurrent use.
type Log struct {
	mu      sync.Mutex
	records []series.Record // offsets after+1, after+2, ...
	after   int64
	bytes   int64
	dedupe  map[string]bool
	limit   int64
	broken  error
	grown   chan struct{}
}

var _ series.Log = (*Log)(nil)

// NewLog returns an empty log without a limit.
func NewLog() *Log { return &Log{dedupe: map[string]bool{}, grown: make(chan struct{}, 1)} }

// Limit makes appends past that many bytes of bodies fail with series.ErrFull;
// zero is no limit.
func (l *Log) Limit(bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = bytes
}

// Break makes appends and reads fail with err until it is nil.
func (l *Log) Break(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
}

func (l *Log) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("series: %w", err)
	}
	return l.broken
}

// Append implements series.Log.
func (l *Log) Append(ctx context.Context, records ...series.Record) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(ctx); err != nil {
		return 0, err
	}
	var fresh []series.Record
	var size int64
	seen := map[string]bool{}
	for _, r := range records {
		if r.Dedupe != "" && (l.dedupe[r.Dedupe] || seen[r.Dedupe]) {
			continue
		}
		seen[r.Dedupe] = true
		r.Body = bytes.Clone(r.Body)
		size += int64(len(r.Body))
		fresh = append(fresh, r)
	}
	if l.limit > 0 && size > 0 && l.bytes+size > l.limit {
		return 0, series.ErrFull
	}
	for _, r := range fresh {
		r.Offset = l.last() + 1
		if r.Dedupe != "" {
			l.dedupe[r.Dedupe] = true
		}
		l.records = append(l.records, r)
	}
	l.bytes += size
	if len(fresh) > 0 {
		select {
		case l.grown <- struct{}{}:
		default:
		}
	}
	return l.last(), nil
}

func (l *Log) last() int64 { return l.after + int64(len(l.records)) }

// Read implements series.Log.
func (l *Log) Read(ctx context.Context, after int64, maxBytes int) ([]series.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(ctx); err != nil {
		return nil, err
	}
	if after < l.after {
		return nil, fmt.Errorf("series: offset %d is before the oldest record kept, %d: %w", after, l.after+1, ops.ErrNotFound)
	}
	var out []series.Record
	for i := after - l.after; i < int64(len(l.records)); i++ {
		r := l.records[i]
		if maxBytes -= len(r.Body); maxBytes < 0 && len(out) > 0 {
			break
		}
		r.Body = bytes.Clone(r.Body)
		out = append(out, r)
	}
	return out, nil
}

// Bounds implements series.Log.
func (l *Log) Bounds(ctx context.Context) (series.Bounds, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(ctx); err != nil {
		return series.Bounds{}, err
	}
	return series.Bounds{After: l.after, Last: l.last(), Bytes: l.bytes}, nil
}

// Grown implements series.Log.
func (l *Log) Grown() <-chan struct{} { return l.grown }

// Trim implements series.Log. The records are gone at once, with their Dedupe.
func (l *Log) Trim(ctx context.Context, upTo int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(ctx); err != nil {
		return err
	}
	for len(l.records) > 0 && l.after < upTo {
		l.after++
		l.bytes -= int64(len(l.records[0].Body))
		delete(l.dedupe, l.records[0].Dedupe)
		l.records = l.records[1:]
	}
	return nil
}
