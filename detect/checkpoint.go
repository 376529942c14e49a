package detect

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fettleops/fettle/series"
)

// writeAhead is how many rendered snapshots wait for the disk.
const writeAhead = 16

// checkpoint writes the snapshots that are due. Each model has its own time in
// the interval, so that they are spread evenly; more bytes than the rate allows
// wait for the next second, those that hold up the log longest going first.
func (r *run) checkpoint(ctx context.Context, now time.Time) error {
	r.collect()
	var due []*watched
	for _, w := range r.index.list() {
		if w.since == 0 || w.writing != 0 {
			continue
		}
		if w.due.IsZero() {
			w.due = now.Add(spread(w, r.CheckpointInterval))
		}
		if !now.Before(w.due) {
			due = append(due, w)
		}
	}
	if len(due) == 0 {
		return nil
	}
	// A snapshot holds nothing whose consequences are not committed: they would
	// not be told after a crash.
	if err := r.commit(ctx); err != nil {
		return err
	}
	slices.SortFunc(due, func(a, b *watched) int { return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.id, b.id)) })
	budget := r.CheckpointRate
	for _, w := range due {
		if budget <= 0 {
			break
		}
		budget -= r.snapshot(ctx, w)
		w.due = now.Add(r.CheckpointInterval)
		r.rows = append(r.rows, w)
	}
	return nil
}

// spread is a model's own part of the interval.
func spread(w *watched, interval time.Duration) time.Duration {
	return time.Duration(float64(interval) * float64(w.seed>>11) / (1 << 53))
}

// snapshot renders a resident model and hands it to the writer. It returns the
// size. What the run has processed must be committed.
func (r *run) snapshot(ctx context.Context, w *watched) int {
	s := r.shards[w.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.snapshotOf(ctx, s, w)
}

func (r *run) snapshotOf(ctx context.Context, s *shard, w *watched) int {
	if w.model == nil || w.since == 0 || w.writing != 0 {
		return 0
	}
	body, err := s.render(w, r.processed, r.writer.buffer())
	if err != nil {
		r.metric.snapshotFailures.Inc()
		r.Logger.LogAttrs(ctx, slog.LevelError, "model cannot be saved", slog.String("series", w.id), slog.Any("error", err))
		return 0
	}
	w.writing, w.since = w.since, 0
	r.writer.hand(written{w: w, id: w.id, body: body, offset: r.processed})
	return len(body)
}

// collect takes note of the snapshots that are on disk by now.
func (r *run) collect() {
	for _, d := range r.writer.take() {
		if d.err != nil {
			d.w.since = d.w.writing // what came since is later
			r.metric.snapshotFailures.Inc()
			r.Logger.LogAttrs(context.Background(), slog.LevelError, "snapshot of a model not written", slog.String("series", d.id), slog.Any("error", d.err))
		} else {
			d.w.contained = d.offset
			r.metric.snapshots.Inc()
			r.metric.snapshotBytes.Add(float64(d.size))
		}
		d.w.writing = 0
	}
}

// replayFrom is the offset after which a restart must read: everything at or
// before it is in snapshots on disk.
func (r *run) replayFrom() int64 {
	from := r.processed
	for _, w := range r.index.list() {
		if d := w.dirtyFrom(); d > 0 {
			from = min(from, d-1)
		}
	}
	return from
}

// evict lets go of the models that were not needed for longest, when there are
// more than may stay in memory.
func (r *run) evict(ctx context.Context) error {
	resident := 0
	for _, s := range r.shards {
		resident += len(s.resident)
	}
	r.metric.resident.Store(int64(resident))
	if resident <= r.MaxModels {
		return nil
	}
	if err := r.commit(ctx); err != nil {
		return err
	}
	all := make([]*watched, 0, resident)
	for _, s := range r.shards {
		for w := range s.resident {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b *watched) int { return cmp.Or(cmp.Compare(a.used, b.used), cmp.Compare(a.id, b.id)) })
	all = all[:resident-r.MaxModels+r.MaxModels/20]
	for _, w := range all {
		r.snapshot(ctx, w)
	}
	r.writer.wait()
	r.collect()
	left := 0
	for _, w := range all {
		s := r.shards[w.shard]
		s.mu.Lock()
		if w.since == 0 && w.writing == 0 {
			s.drop(w)
			left++
		}
		s.mu.Unlock()
	}
	r.metric.resident.Store(int64(resident - left))
	return nil
}

// snapshotAll writes every model that its snapshot lacks something of, until
// ctx ends.
func (r *run) snapshotAll(ctx context.Context) {
	r.writer.wait()
	r.collect()
	for _, w := range r.index.list() {
		if w.since > 0 {
			r.rows = append(r.rows, w)
		}
	}
	var busy sync.WaitGroup
	for _, s := range r.shards {
		busy.Go(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			for w := range s.resident {
				if ctx.Err() != nil {
					return
				}
				r.snapshotOf(ctx, s, w)
			}
		})
	}
	busy.Wait()
	r.writer.wait()
	r.collect()
}

// written is a snapshot on its way to the disk, and what became of it.
type written struct {
	w      *watched
	id     string
	body   []byte
	size   int
	offset int64
	err    error
}

// writer writes snapshots, so that scoring does not wait for the disk.
type writer struct {
	dir     modelDir
	jobs    chan written
	buffers chan []byte // that have been written

	mu      sync.Mutex
	idle    *sync.Cond
	waiting int // handed in and not done
	done    []written
}

func newWriter(dir modelDir) *writer {
	w := &writer{dir: dir, jobs: make(chan written, writeAhead), buffers: make(chan []byte, writeAhead)}
	w.idle = sync.NewCond(&w.mu)
	return w
}

// buffer returns an empty buffer to render a snapshot into.
func (w *writer) buffer() []byte {
	select {
	case b := <-w.buffers:
		return b[:0]
	default:
		return nil
	}
}

// hand gives a snapshot to the disk; it waits where too many do.
func (w *writer) hand(x written) {
	w.mu.Lock()
	w.waiting++
	w.mu.Unlock()
	w.jobs <- x
}

// run writes until stop. What waits together shares the sync of its folders.
func (w *writer) run() {
	for x := range w.jobs {
		batch := []written{w.write(x)}
		for len(batch) < writeAhead {
			select {
			case x, ok := <-w.jobs:
				if ok {
					batch = append(batch, w.write(x))
					continue
				}
			default:
			}
			break
		}
		var ids []string
		for _, x := range batch {
			ids = append(ids, x.id)
		}
		if err := w.dir.sync(ids); err != nil {
			for i := range batch {
				batch[i].err = cmp.Or(batch[i].err, err)
			}
		}
		w.mu.Lock()
		w.done = append(w.done, batch...)
		w.waiting -= len(batch)
		w.idle.Broadcast()
		w.mu.Unlock()
	}
}

func (w *writer) write(x written) written {
	x.err, x.size = w.dir.write(x.id, x.body), len(x.body)
	select {
	case w.buffers <- x.body:
	default:
	}
	x.body = nil
	return x
}

// stop ends run once everything handed in is written.
func (w *writer) stop() { close(w.jobs) }

// wait returns once everything handed in is written.
func (w *writer) wait() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.waiting > 0 {
		w.idle.Wait()
	}
}

// take returns what was done since it was last asked.
func (w *writer) take() []written {
	w.mu.Lock()
	defer w.mu.Unlock()
	done := w.done
	w.done = nil
	return done
}

// trimmer lets go of the log beside the work: it may take a while.
type trimmer struct {
	log    series.Log
	logger *slog.Logger
	target chan int64
	last   int64
}

func newTrimmer(log series.Log, logger *slog.Logger) *trimmer {
	return &trimmer{log: log, logger: logger, target: make(chan int64, 1)}
}

// to asks for a trim, unless one is under way.
func (t *trimmer) to(offset int64) {
	if offset <= t.last {
		return
	}
	select {
	case t.target <- offset:
		t.last = offset
	default:
	}
}

func (t *trimmer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case offset := <-t.target:
			if err := t.log.Trim(ctx, offset); err != nil && ctx.Err() == nil {
				t.logger.LogAttrs(ctx, slog.LevelWarn, "sample log not trimmed", slog.Int64("offset", offset), slog.Any("error", err))
			}
		}
	}
}

// needless remembers since when records are of no use to any model.
type needless []needlessSince

type needlessSince struct {
	at     time.Time
	offset int64
}

// upTo returns the newest record that may go: one that has been of no use for
// keep, or that is of none now when the log fills up.
func (n *needless) upTo(now time.Time, offset int64, keep time.Duration, filling bool) int64 {
	if filling || keep <= 0 {
		*n = (*n)[:0]
		return offset
	}
	if l := len(*n); l == 0 || (*n)[l-1].offset < offset {
		*n = append(*n, needlessSince{now, offset})
	}
	old := 0
	for old < len(*n) && now.Sub((*n)[old].at) >= keep {
		old++
	}
	if old == 0 {
		return 0
	}
	offset = (*n)[old-1].offset
	*n = slices.Delete(*n, 0, old)
	return offset
}
