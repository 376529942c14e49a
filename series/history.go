// Package series keeps what was measured: the raw samples of the last hours in
// memory, and summaries by the minute and by the hour in compressed chunks,
// never a row per sample.
package series

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// Chunks is where summaries are kept.
type Chunks interface {
	SaveChunk(ctx context.Context, tx db.Tx, key string, c ops.SeriesChunk) error
	// ChunksOf returns the chunks of a resource's series that start in
	// [from, to), oldest first per series.
	ChunksOf(ctx context.Context, resource string, step time.Duration, from, to time.Time) ([]ops.SeriesChunk, error)
	DropChunks(ctx context.Context, tx db.Tx, step time.Duration, before time.Time, limit int) (int64, error)
}

// Writer runs write transactions.
type Writer interface {
	Write(ctx context.Context, fn func(tx db.Tx) error) error
}

const (
	rawFor     = 2 * time.Hour
	minuteStep = time.Minute
	minuteSpan = time.Hour // one chunk of minutes
	hourStep   = time.Hour
	hourSpan   = 24 * time.Hour // one chunk of hours
	maxSeries  = 10_000
)

// Retention is how long summaries are kept.
type Retention struct {
	Minutes time.Duration // defaults to 30 days
	Hours   time.Duration // defaults to 400 days
}

// History keeps and answers series. It is safe for concurrent use.
type History struct {
	chunks Chunks
	db     Writer
	clock  clock.Clock
	keep   Retention

	// mu is never held over a write: whoever reads series inside a transaction
	// would wait for the lock, and its holder for the one writer.
	mu   sync.Mutex
	live map[string]*live  // by key
	over []ops.SeriesChunk // stretches that are over and not yet written
}

// live is one series that has samples of late.
type live struct {
	id      ops.SeriesID
	unit    string
	points  []ops.Point // raw, oldest first, the last two hours
	minutes *summary    // the hour being written
	hours   *summary    // the day being written
	dirty   bool
	loaded  bool
}

// Open returns the history kept in chunks.
func Open(chunks Chunks, w Writer, now clock.Clock, keep Retention) *History {
	if keep.Minutes == 0 {
		keep.Minutes = 30 * 24 * time.Hour
	}
	if keep.Hours == 0 {
		keep.Hours = 400 * 24 * time.Hour
	}
	return &History{chunks: chunks, db: w, clock: now, keep: keep, live: map[string]*live{}}
}

// Key returns the canonical name of a series, independent of map order.
func Key(id ops.SeriesID) string {
	names := make([]string, 0, len(id.Labels))
	for k := range id.Labels {
		names = append(names, k)
	}
	sort.Strings(names)
	var b strings.Builder
	b.WriteString(id.Resource + "\x1f" + id.Metric)
	for _, k := range names {
		b.WriteString("\x1f" + k + "=" + id.Labels[k])
	}
	return b.String()
}

// Append takes samples in, each series in time order. A sample older than the
// newest of its series changes its minute's summary but not the raw points. A
// series beyond the limit of 10,000 is refused by name.
func (h *History) Append(ctx context.Context, samples []ops.Sample) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range samples {
		key := Key(s.Series)
		l, ok := h.live[key]
		if !ok {
			if len(h.live) >= maxSeries {
				return fmt.Errorf("series: %s of %s is one more than the %d series kept: %w", s.Series.Metric, s.Series.Resource, maxSeries, ops.ErrInvalid)
			}
			l = &live{id: s.Series, unit: s.Unit}
			h.live[key] = l
		}
		if err := h.prepare(ctx, l, s.At); err != nil {
			return err
		}
		if n := len(l.points); n == 0 || s.At.After(l.points[n-1].At) {
			l.points = append(l.points, s.Point)
		}
		l.minutes.add(s.At, s.Value)
		l.hours.add(s.At, s.Value)
		l.dirty = true
		if first := l.points[0].At; s.At.Sub(first) > rawFor+rawFor/8 {
			keep := sort.Search(len(l.points), func(i int) bool { return s.At.Sub(l.points[i].At) <= rawFor })
			l.points = append(l.points[:0], l.points[keep:]...)
		}
	}
	return nil
}

// prepare makes sure that the summaries being written are those of at, reading
// what an earlier life of the process has written of them.
func (h *History) prepare(ctx context.Context, l *live, at time.Time) error {
	if l.loaded && l.minutes.holds(at) && l.hours.holds(at) {
		return nil
	}
	if l.loaded && l.dirty { // the hour is over: keep it for the next flush
		h.over = append(h.over, l.chunks()...)
		l.dirty = false
	}
	for _, s := range []struct {
		to         **summary
		step, span time.Duration
	}{{&l.minutes, minuteStep, minuteSpan}, {&l.hours, hourStep, hourSpan}} {
		if *s.to != nil && (*s.to).holds(at) {
			continue
		}
		start := at.UTC().Truncate(s.span)
		chunks, err := h.chunks.ChunksOf(ctx, l.id.Resource, s.step, start, start.Add(s.span))
		if err != nil {
			return fmt.Errorf("series: read %s: %w", l.id.Metric, err)
		}
		*s.to = newSummary(s.step, s.span, start)
		for _, c := range chunks {
			if Key(c.Series) == Key(l.id) {
				if err := (*s.to).decode(c.Body); err != nil {
					return fmt.Errorf("series: %s at %s: %w", l.id.Metric, start.Format(time.RFC3339), err)
				}
			}
		}
	}
	l.loaded = true
	return nil
}

// chunks renders what is being written of a series.
func (l *live) chunks() []ops.SeriesChunk {
	var out []ops.SeriesChunk
	for _, s := range []*summary{l.minutes, l.hours} {
		out = append(out, ops.SeriesChunk{Series: l.id, Unit: l.unit, Step: s.step, Start: s.start, Body: s.encode()})
	}
	return out
}

// Flush writes the summaries that changed. What could not be written is
// written by the next flush.
func (h *History) Flush(ctx context.Context) error {
	h.mu.Lock()
	due := h.over
	h.over = nil
	over := len(due)
	var dirty []*live
	for _, l := range h.live {
		if l.dirty {
			l.dirty = false
			dirty = append(dirty, l)
			due = append(due, l.chunks()...)
		}
	}
	h.mu.Unlock()
	if len(due) == 0 {
		return nil
	}
	err := h.db.Write(ctx, func(tx db.Tx) error {
		for _, c := range due {
			if err := h.chunks.SaveChunk(ctx, tx, Key(c.Series), c); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = append(due[:over:over], h.over...)
	for _, l := range dirty {
		l.dirty = true
	}
	return fmt.Errorf("series: flush: %w", err)
}

// Retain drops summaries past their time, a bounded number at once.
func (h *History) Retain(ctx context.Context) error {
	now := h.clock()
	return h.db.Write(ctx, func(tx db.Tx) error {
		for _, r := range []struct{ step, keep time.Duration }{{minuteStep, h.keep.Minutes}, {hourStep, h.keep.Hours}} {
			if _, err := h.chunks.DropChunks(ctx, tx, r.step, now.Add(-r.keep), 1000); err != nil {
				return err
			}
		}
		return nil
	})
}

// Run flushes every minute until ctx ends, and once more then.
func (h *History) Run(ctx context.Context) error {
	tick := time.NewTicker(minuteStep)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := h.Flush(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return h.Flush(last)
		}
	}
}

// Last returns the newest value of a resource's metric over all its labels,
// the greatest where there are several.
func (h *History) Last(_ context.Context, resource, metric string) (ops.Point, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var best ops.Point
	found := false
	for _, l := range h.live {
		if l.id.Resource != resource || l.id.Metric != metric || len(l.points) == 0 {
			continue
		}
		if p := l.points[len(l.points)-1]; !found || p.Value > best.Value {
			best, found = p, true
		}
	}
	return best, found
}

// Recent returns every series of a resource with points in [from, to), raw
// where they are still in memory, one mean a minute otherwise, and one an hour
// where the minutes are gone too. Series come in the order of their names.
func (h *History) Recent(ctx context.Context, resource string, from, to time.Time) ([]ops.Series, error) {
	found := map[string]*ops.Series{}
	oldest := map[string]time.Time{}
	h.mu.Lock()
	for key, l := range h.live {
		if l.id.Resource != resource {
			continue
		}
		s := &ops.Series{SeriesID: l.id, Unit: l.unit}
		for _, p := range l.points {
			if !p.At.Before(from) && p.At.Before(to) {
				s.Points = append(s.Points, p)
			}
		}
		if len(l.points) > 0 {
			oldest[key] = l.points[0].At
		}
		found[key] = s
	}
	h.mu.Unlock()
	for _, step := range []struct{ step, span time.Duration }{{minuteStep, minuteSpan}, {hourStep, hourSpan}} {
		chunks, err := h.chunks.ChunksOf(ctx, resource, step.step, from.Truncate(step.span), to)
		if err != nil {
			return nil, fmt.Errorf("series: read %s: %w", resource, err)
		}
		earlier := map[string][]ops.Point{}
		for _, c := range chunks {
			key := Key(c.Series)
			sum := newSummary(c.Step, step.span, c.Start)
			if err := sum.decode(c.Body); err != nil {
				return nil, fmt.Errorf("series: %s at %s: %w", c.Series.Metric, c.Start.Format(time.RFC3339), err)
			}
			if found[key] == nil {
				found[key] = &ops.Series{SeriesID: c.Series, Unit: c.Unit}
			}
			for _, p := range sum.points() {
				before, known := oldest[key]
				if !p.At.Before(from) && p.At.Before(to) && (!known || p.At.Before(before)) {
					earlier[key] = append(earlier[key], p)
				}
			}
		}
		for key, points := range earlier {
			s := found[key]
			s.Points = append(points, s.Points...)
			oldest[key] = points[0].At
		}
	}
	keys := make([]string, 0, len(found))
	for k, s := range found {
		if len(s.Points) > 0 {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	out := make([]ops.Series, len(keys))
	for i, k := range keys {
		out[i] = *found[k]
	}
	return out, nil
}
