package kinesis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/metricstream"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/internal/lease"
)

// Checkpoints are sequence numbers, which are decimal, or one of these.
const (
	fromOldest = "oldest"
	fromTime   = "time:" // and Unix milliseconds
	atEnd      = "end"   // the shard is closed and was read to its end
)

var (
	errGone = errors.New("the service does not know the shard")
	errLate = errors.New("the lease ran out")
)

// Limits of reading a shard.
const (
	maxRecords  = 10_000
	catchUp     = 250 * time.Millisecond // between calls for more that waits
	perSecond   = 2 << 20                // bytes a second that a shard gives to all its readers
	flush       = 4 << 20                // bytes of a page that are made durable together
	minBackoff  = time.Second
	maxBackoff  = 30 * time.Second
	minRetry    = 250 * time.Millisecond // between tries to append
	maxAttempts = 3                      // of Save before the shard is left
)

// worker reads one shard under its lease.
type worker struct {
	*consumer
	lease lease.Lease
	shard string
	until atomic.Int64 // Unix milliseconds to which the lease is renewed

	cancel context.CancelFunc
	done   chan struct{}
	err    error // why it ended, once done; nil at the end of the shard or when told to

	position string
	iterator *string
	reader   metricstream.Reader
}

// run reads until ctx ends, the lease is lost or the shard's end is saved.
func (w *worker) run(ctx context.Context) error {
	w.position = w.lease.Checkpoint
	backoff := minBackoff
	for ctx.Err() == nil {
		rest, err := w.page(ctx)
		switch {
		case ctx.Err() != nil, err == nil && w.position == atEnd:
			return nil
		case err == nil:
			backoff = minBackoff
		case errors.Is(err, lease.ErrLost), errors.Is(err, errLate), errors.Is(err, errGone):
			return err
		default:
			w.env.Log.LogAttrs(ctx, slog.LevelWarn, "shard not read", slog.String("shard", w.shard), slog.Any("error", err), slog.Duration("again_in", backoff))
			rest, backoff = backoff, min(2*backoff, maxBackoff)
		}
		sleep(ctx, rest)
	}
	return nil
}

// page fetches and keeps one page, and says how long to rest after it.
func (w *worker) page(ctx context.Context) (rest time.Duration, err error) {
	select {
	case w.pages <- struct{}{}: // bounds what is in memory over all shards
	case <-ctx.Done():
		return 0, nil
	}
	defer func() { <-w.pages }()
	if w.iterator == nil {
		if err := w.find(ctx); err != nil {
			return 0, err
		}
	}
	failpoint.Hit("kinesis.fetch.before")
	out, err := w.stream.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: w.iterator, StreamARN: w.stream.arn, Limit: new(int32(maxRecords))})
	failpoint.Hit("kinesis.fetch.after")
	var expired *types.ExpiredIteratorException
	var gone *types.ResourceNotFoundException
	switch {
	case errors.As(err, &expired):
		w.iterator = nil
		return catchUp, nil
	case errors.As(err, &gone):
		return 0, errGone
	case err != nil:
		w.iterator = nil
		return 0, fmt.Errorf("kinesis: get records: %w", err)
	}
	size, err := w.keep(ctx, out.Records)
	if err != nil {
		w.iterator = nil // the page is fetched again from the position
		return 0, err
	}
	w.iterator = out.NextShardIterator
	if w.iterator == nil {
		return 0, w.save(ctx, atEnd)
	}
	var behind time.Duration
	if out.MillisBehindLatest != nil {
		behind = time.Duration(*out.MillisBehindLatest) * time.Millisecond
	}
	w.env.Sink.Behind(w.shard, behind)
	if behind == 0 {
		return w.config.Every.D, nil
	}
	return max(catchUp, time.Duration(size)*time.Second/perSecond), nil
}

// find gets an iterator for the position.
func (w *worker) find(ctx context.Context) error {
	in := &kinesis.GetShardIteratorInput{StreamName: w.stream.name, StreamARN: w.stream.arn, ShardId: &w.shard}
	at, timed := strings.CutPrefix(w.position, fromTime)
	switch {
	case w.position == fromOldest:
		in.ShardIteratorType = types.ShardIteratorTypeTrimHorizon
	case timed:
		ms, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return fmt.Errorf("kinesis: checkpoint %q: %w", w.position, err)
		}
		in.ShardIteratorType, in.Timestamp = types.ShardIteratorTypeAtTimestamp, new(time.UnixMilli(ms).UTC())
	default:
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, &w.position
	}
	failpoint.Hit("kinesis.iterator.before")
	out, err := w.stream.client.GetShardIterator(ctx, in)
	failpoint.Hit("kinesis.iterator.after")
	var gone *types.ResourceNotFoundException
	var foreign *types.InvalidArgumentException
	switch {
	case errors.As(err, &gone):
		return errGone
	case errors.As(err, &foreign) && in.StartingSequenceNumber != nil:
		// The stream was deleted and made again under its name.
		w.env.Log.LogAttrs(ctx, slog.LevelWarn, "checkpoint is of another stream, the shard is read from its oldest record", slog.String("shard", w.shard), slog.Any("error", err))
		w.position = fromOldest
		return w.find(ctx)
	case err != nil:
		return fmt.Errorf("kinesis: get a shard iterator: %w", err)
	}
	w.iterator = out.ShardIterator
	return nil
}

// keep makes records durable, then moves the checkpoint past them, part by part.
func (w *worker) keep(ctx context.Context, records []types.Record) (size int, err error) {
	page, last := w.env.Sink.NewPage(), ""
	for i, r := range records {
		if r.SequenceNumber == nil {
			return size, errors.New("kinesis: a record without a sequence number")
		}
		size += len(r.Data)
		last = *r.SequenceNumber
		w.add(page, r.Data, last)
		if page.Size() < flush && i < len(records)-1 {
			continue
		}
		if err := w.append(ctx, page); err != nil {
			return size, err
		}
		if err := w.save(ctx, last); err != nil {
			return size, err
		}
		page = w.env.Sink.NewPage()
	}
	return size, nil
}

// add decodes a message into a page.
func (w *worker) add(page *intake.Page, data []byte, sequence string) {
	w.reader.Reset(intake.Newest(w.env.Clock()))
	parts, err := split(data)
	for _, p := range parts {
		w.reader.Read(p)
	}
	if err != nil {
		w.reader.Refuse(&intake.Fault{Field: "record", Fix: err.Error() + "; what stands before the fault was kept"})
	}
	note := w.reader.Note()
	if note != "" {
		note = w.shard + " " + sequence + ": " + note
	}
	page.Add(intake.Fetched{Dedupe: w.shard + "/" + sequence, Bytes: len(data), Samples: &w.reader.Batch, Refused: w.reader.Refused, Note: note})
}

// append tries until the page is durable: Kinesis keeps what comes meanwhile.
func (w *worker) append(ctx context.Context, page *intake.Page) error {
	for rest := minRetry; ; rest = min(2*rest, maxBackoff) {
		if w.env.Clock().UnixMilli() >= w.until.Load() {
			return errLate
		}
		err := w.env.Sink.Append(ctx, page)
		if err == nil || ctx.Err() != nil {
			return err
		}
		w.env.Log.LogAttrs(ctx, slog.LevelWarn, "fetched samples not kept yet", slog.String("shard", w.shard), slog.Any("error", err), slog.Duration("again_in", rest))
		sleep(ctx, rest)
	}
}

// save writes the checkpoint. What was appended is safe without it: it is
// fetched again and known.
func (w *worker) save(ctx context.Context, checkpoint string) error {
	var err error
	for range maxAttempts {
		if err = w.env.Leases.Save(ctx, w.lease, checkpoint); err == nil || errors.Is(err, lease.ErrLost) || ctx.Err() != nil {
			break
		}
		sleep(ctx, minRetry)
	}
	if err == nil {
		w.position = checkpoint
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
