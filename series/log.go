package series

import (
	"context"
	"errors"
)

// ErrFull is returned by Append when the log has grown to its limit: detection
// is too far behind, and the sender must try again later.
var ErrFull = errors.New("series: the sample log is full")

// Log is the append-only log between the metric sources and detection.
// Offsets grow by one per record from 1, without gaps and in the order in
// which readers see them. It is safe for concurrent use.
type Log interface {
	// Append makes the records durable, all or none, and returns the offset of
	// the last. A record whose Dedupe the log still holds is left out; when none
	// is left the offset is that of the newest record. Callers that append at
	// the same time share a commit.
	Append(ctx context.Context, records ...Record) (last int64, err error)
	// Read returns records after an offset in order, at most about maxBytes of
	// them and at least one if there is any. An offset before the oldest record
	// kept is an error of class ops.ErrNotFound. Bodies are the caller's.
	Read(ctx context.Context, after int64, maxBytes int) ([]Record, error)
	// Bounds returns the offset before the oldest record kept, that of the
	// newest, and the bytes kept.
	Bounds(ctx context.Context) (Bounds, error)
	// Grown is sent on, without blocking, after an append.
	Grown() <-chan struct{}
	// Trim lets go of records up to an offset; they may stay readable.
	Trim(ctx context.Context, upTo int64) error
}

// Record is one entry of the log.
type Record struct {
	Offset int64 // set by the log
	Kind   Kind
	// Dedupe is the sender's id of what it sent, prefixed with the integration;
	// empty when it has none.
	Dedupe string
	Body   []byte
}

// Kind says what a record's body is.
type Kind uint8

// The kinds of record. Detection is a function of the log alone, so what else
// bears on it is in the log too.
const (
	Samples Kind = 1 // a Batch
	Hold    Kind = 2 // JSON of a span not to learn from; owned by detect
	Past    Kind = 3 // a head and a Batch, a past to learn from; owned by detect
)

// Bounds is what a log holds: offsets in (After, Last].
type Bounds struct {
	After, Last int64
	Bytes       int64
}
