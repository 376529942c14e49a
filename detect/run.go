package detect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

const (
	// commitEvery is how long what nobody waits for may be uncommitted.
	commitEvery = time.Second
	// tickEvery is how often the log is told how late it is.
	tickEvery = time.Minute
	// signalsAtOnce bounds the alerts of one message.
	signalsAtOnce = 500
)

// run is one tenure of the partition: from taking it to losing it. It belongs
// to the goroutine of loop.
type run struct {
	*Pipeline
	index     *index
	reader    *reader
	shards    []*shard
	writer    *writer
	trimmer   *trimmer
	needless  needless
	epoch     int64
	replay    int64 // where the replay ends: what an earlier run had committed
	processed int64 // offset up to which the models hold everything
	committed int64
	place     ops.DetectionPlace // as the store has it
	settled   bool               // the replay is over
	reached   atomic.Int64       // processed, for who asks from outside

	outputs []output
	born    []*watched
	gone    []*watched
	notes   []ops.DetectionNote
	rows    []*watched             // to be written anew
	open    map[string]ops.Anomaly // in the store
	urgent  bool                   // an anomaly waits to be committed

	tickedAt, refusedAt time.Time
	refused             map[*Group]int
}

// begin reads what is known and prepares a run.
func (p *Pipeline) begin(ctx context.Context, place ops.DetectionPlace) (*run, error) {
	bounds, err := p.Log.Bounds(ctx)
	if err != nil {
		return nil, err
	}
	if bounds.Last < place.Committed {
		p.Logger.LogAttrs(ctx, slog.LevelError, "sample log is not the one that was detected: it ends before what is committed",
			slog.Int64("committed", place.Committed), slog.Int64("last", bounds.Last))
		if place, err = p.reset(ctx, place, bounds.Last); err != nil {
			return nil, err
		}
	}
	ours, err := p.mark(place.Epoch)
	if err != nil {
		return nil, err
	}
	start := max(place.ReplayFrom, bounds.After)
	switch {
	case !ours:
		p.Logger.LogAttrs(ctx, slog.LevelInfo, "models here are not the newest: what the log holds is replayed", slog.Int64("from", bounds.After))
		start = bounds.After
	case bounds.After > place.ReplayFrom:
		p.Logger.LogAttrs(ctx, slog.LevelError, "records of the sample log are gone that models have not learned",
			slog.Int64("needed_from", place.ReplayFrom+1), slog.Int64("kept_from", bounds.After+1))
	}
	r := &run{
		Pipeline: p, index: newIndex(), epoch: place.Epoch, replay: place.Committed, processed: start, committed: place.Committed, place: place,
		open: map[string]ops.Anomaly{}, refused: map[*Group]int{}, trimmer: newTrimmer(p.Log, p.Logger), writer: newWriter(p.dir),
	}
	r.reached.Store(start)
	if err := r.recall(ctx, start); err != nil {
		return nil, err
	}
	for range p.Shards {
		r.shards = append(r.shards, &shard{
			Pipeline: p, limit: place.Committed, resident: map[*watched]struct{}{}, open: map[*watched]struct{}{}, said: map[*Group]bool{},
			opened: func(id string) bool { _, ok := r.open[id]; return ok },
		})
	}
	p.Logger.LogAttrs(ctx, slog.LevelInfo, "detection begins", slog.Int64("epoch", place.Epoch), slog.Int64("replay_from", start),
		slog.Int64("committed", place.Committed), slog.Int64("last", bounds.Last), slog.Int("entities", len(r.index.byID)))
	return r, nil
}

// reset moves the place back to the end of a log that is younger than it.
func (p *Pipeline) reset(ctx context.Context, place ops.DetectionPlace, last int64) (ops.DetectionPlace, error) {
	to := ops.DetectionPlace{Epoch: place.Epoch, Committed: last, ReplayFrom: last}
	err := p.DB.Write(ctx, func(tx db.Tx) error {
		if err := p.Place.DropDetectionNotes(ctx, tx, place.Committed, time.UnixMilli(1<<62)); err != nil {
			return err
		}
		return p.Place.MoveDetection(ctx, tx, part, place.Committed, to)
	})
	return to, err
}

// epochFile holds the epoch under which the snapshots here were written.
const epochFile = "epoch"

// mark notes the epoch beside the snapshots, and reports whether they are of
// the epoch before, so that nobody else has detected meanwhile.
func (p *Pipeline) mark(epoch int64) (ours bool, err error) {
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return false, fmt.Errorf("detect: make the folder of models: %w", err)
	}
	path := filepath.Join(p.Dir, epochFile)
	text, err := os.ReadFile(path)
	if err == nil {
		was, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		ours = was == epoch-1
	} else if !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("detect: read the epoch of the models: %w", err)
	}
	temp := path + tempSuffix
	if err := os.WriteFile(temp, []byte(strconv.FormatInt(epoch, 10)+"\n"), 0o600); err != nil {
		return false, fmt.Errorf("detect: note the epoch of the models: %w", err)
	}
	if err := os.Rename(temp, path); err != nil {
		return false, fmt.Errorf("detect: note the epoch of the models: %w", err)
	}
	return ours || epoch == 1, nil
}

// recall reads what was watched, what was held and what is open.
func (r *run) recall(ctx context.Context, start int64) error {
	rows, err := r.Findings.Watched(ctx)
	if err != nil {
		return err
	}
	groups := map[string]*Group{}
	for i := range r.groups {
		groups[r.groups[i].Name] = &r.groups[i]
	}
	for _, row := range rows {
		g := groups[row.Group]
		if g == nil {
			r.gone = append(r.gone, &watched{id: row.ID, group: &Group{Name: row.Group}, entity: row.Entity})
			continue
		}
		w := newWatched(g, row.Entity, r.Installation, tierNow(g, row.Tier), row.First, r.Shards)
		w.learned, w.needed, w.openID = row.Learned, row.Needed, row.Anomaly
		if !row.SeenAt.IsZero() {
			w.seenAt = row.SeenAt.UnixMilli()
		}
		r.index.add(w)
	}
	if _, err := r.dir.sweep(func(id string) bool { return r.index.byID[id] != nil }); err != nil {
		return err
	}
	r.reader = &reader{
		Pipeline: r.Pipeline, index: r.index, at: start, committed: r.committed, cache: newSeriesCache(), holds: newHolds(),
		free: make(chan *round, roundsAhead+1), level: make(chan struct{}, 1),
	}
	for range roundsAhead + 1 {
		r.reader.free <- &round{items: make([][]item, r.Shards), refused: map[*Group]int{}}
	}
	notes, err := r.Place.DetectionNotes(ctx, start)
	if err != nil {
		return err
	}
	for _, n := range notes {
		x, err := parseNote(n.Body)
		if err != nil {
			return fmt.Errorf("detect: read the note at %d: %w", n.Offset, err)
		}
		r.reader.take(x)
	}
	open, err := r.Findings.OpenAnomalies(ctx)
	if err != nil {
		return err
	}
	for _, a := range open {
		r.open[a.ID] = a
	}
	return nil
}

// tierNow is the tier an entity was given, or what the configuration says by
// now.
func tierNow(g *Group, had string) detector.Tier {
	if t := g.Settings.Tier; t != Auto && t != "" {
		return t
	}
	return detector.Tier(had)
}

// loop works until ctx ends, which is a stop, or the partition is lost.
func (r *run) loop(ctx context.Context) (err error) {
	work, cancel := context.WithCancelCause(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer r.writer.stop()
	defer cancel(nil)
	rounds := make(chan *round, roundsAhead-1)
	helpers.Go(func() {
		if err := r.reader.run(work, rounds); err != nil && work.Err() == nil {
			cancel(err)
		}
	})
	helpers.Go(func() { r.trimmer.run(work) })
	helpers.Go(r.writer.run)
	if !r.Alone {
		helpers.Go(func() { r.keep(work, r.epoch, cancel) })
	}
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	if err := r.keepHouse(work); err != nil {
		return err
	}
	for {
		select {
		case next := <-rounds:
			err = r.take(work, next)
			r.reader.free <- next
		case <-r.reader.level:
			r.metric.levelAt.Store(r.Clock().UnixNano())
		case <-tick.C:
			err = r.keepHouse(work)
		case <-work.Done():
			if ctx.Err() == nil {
				return context.Cause(work)
			}
			return r.stop(ctx)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// take takes a round in.
func (r *run) take(ctx context.Context, next *round) error {
	var busy sync.WaitGroup
	first := -1
	for i, items := range next.items {
		switch {
		case len(items) == 0 && (next.tick == 0 || len(r.shards[i].open) == 0):
		case first < 0:
			first = i
		default:
			busy.Go(func() { r.shards[i].work(ctx, next, items) })
		}
	}
	if first >= 0 {
		r.shards[first].work(ctx, next, next.items[first])
	}
	busy.Wait()
	r.processed = next.to
	r.reached.Store(next.to)
	r.gather()
	r.born = append(r.born, next.born...)
	r.gone = append(r.gone, next.gone...)
	r.notes = append(r.notes, next.notes...)
	for _, w := range next.gone {
		s := r.shards[w.shard]
		s.mu.Lock()
		delete(s.open, w)
		s.drop(w)
		w.since = 0
		s.mu.Unlock()
	}
	r.metric.samples.Add(float64(next.samples))
	r.metric.selected.Add(float64(next.selected))
	for g, n := range next.refused {
		r.refused[g] += n
		r.metric.refused.WithLabelValues(g.Name).Add(float64(n))
	}
	if r.urgent {
		if err := r.commit(ctx); err != nil {
			return err
		}
	}
	if !r.settled && r.processed >= r.replay {
		if err := r.settle(ctx); err != nil {
			return err
		}
	}
	return r.evict(ctx)
}

// gather takes over what the shards have to tell, in an order that does not
// depend on them. What follows from records that an earlier run had committed
// is in the store already.
func (r *run) gather() {
	before := len(r.outputs)
	for _, s := range r.shards {
		for _, o := range s.outputs {
			if o.offset > r.replay {
				r.outputs = append(r.outputs, o)
				r.urgent = r.urgent || o.telling != nil
			}
		}
		clear(s.outputs)
		s.outputs = s.outputs[:0]
		r.metric.points.Add(float64(s.counts.points))
		r.metric.held.Add(float64(s.counts.held))
		r.metric.failed.Add(float64(s.counts.failed))
		r.metric.pastRefused.Add(float64(s.counts.refused))
		r.metric.aside.Add(float64(s.counts.aside))
		s.counts = counts{}
		s.limit = max(r.replay, r.processed)
	}
	slices.SortStableFunc(r.outputs[before:], func(a, b output) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.w.id, b.w.id))
	})
}

// settle compares, once the replay is over, what the store knows to be open
// with what the models do. They differ only where a model was lost, or learned
// elsewhere meanwhile.
func (r *run) settle(ctx context.Context) error {
	if err := r.commit(ctx); err != nil {
		return err
	}
	r.settled = true
	for _, s := range r.shards {
		s.mu.Lock()
		s.live = true
		for _, w := range s.openInOrder() {
			if _, known := r.open[w.openID]; !known {
				t := w.model.life.Open.tell("")
				r.outputs = append(r.outputs, output{w: w, offset: r.processed, telling: &t})
			}
		}
		s.mu.Unlock()
	}
	for _, id := range sortedKeys(r.open) {
		a := r.open[id]
		w := r.index.get(a.Series)
		why := "it is no longer watched"
		if w == nil {
			w = &watched{id: a.Series, group: &Group{Name: a.Group}, entity: a.Entity}
		} else {
			if r.holds(ctx, w, id) {
				continue
			}
			why = "its model was lost"
		}
		a.Open = false
		r.outputs = append(r.outputs, output{w: w, offset: r.processed, telling: &telling{a, why}})
	}
	r.Logger.LogAttrs(ctx, slog.LevelInfo, "replay is over", slog.Int64("offset", r.processed))
	return r.commit(ctx)
}

// holds reports whether the model of an entity has the anomaly open.
func (r *run) holds(ctx context.Context, w *watched, id string) bool {
	s := r.shards[w.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.model(ctx, w)
	return m != nil && m.life.Open != nil && m.life.Open.Anomaly.ID == id
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// keepHouse does what has its time rather than its record: commits what nobody
// waits for, writes snapshots, lets go of the log and says how late it is.
func (r *run) keepHouse(ctx context.Context) error {
	now := r.Clock()
	if !r.settled && r.processed >= r.replay {
		if err := r.settle(ctx); err != nil {
			return err
		}
	}
	if err := r.checkpoint(ctx, now); err != nil {
		return err
	}
	if err := r.commit(ctx); err != nil {
		return err
	}
	if now.Sub(r.tickedAt) >= tickEvery {
		r.tickedAt = now
		if err := r.tick(ctx, now); err != nil {
			return err
		}
	}
	bounds, err := r.Log.Bounds(ctx)
	if err != nil {
		return err
	}
	r.trimmer.to(r.needless.upTo(now, r.place.ReplayFrom, r.LogKeep, r.LogMaxBytes > 0 && bounds.Bytes > r.LogMaxBytes/2))
	r.metric.lag.Store(max(0, bounds.Last-r.processed))
	r.metric.watched.Store(int64(len(r.index.list())))
	if len(r.refused) > 0 && now.Sub(r.refusedAt) >= complainEvery {
		r.refusedAt = now
		for g, n := range r.refused {
			r.Logger.LogAttrs(ctx, slog.LevelWarn, "entities beyond max_entities are not watched; raise it or select less",
				slog.String("group", g.Name), slog.Int("max_entities", g.maxEntities()), slog.Int("samples_refused", n))
		}
		clear(r.refused)
	}
	return nil
}

// tick tells the log how late it is. A full log is told later.
func (r *run) tick(ctx context.Context, now time.Time) error {
	body, err := json.Marshal(note{Tick: now.UnixMilli()})
	if err != nil {
		return fmt.Errorf("detect: encode a tick: %w", err)
	}
	if _, err := r.Log.Append(ctx, series.Record{Kind: series.Hold, Body: body}); err != nil && !errors.Is(err, series.ErrFull) {
		return fmt.Errorf("detect: tell the sample log the time: %w", err)
	}
	return nil
}

// stop commits and snapshots what it can in the time it has.
func (r *run) stop(ctx context.Context) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.StopWithin)
	defer cancel()
	err := r.commit(last)
	if err == nil {
		r.snapshotAll(last)
		err = r.commit(last)
	}
	if err == nil && !r.Alone {
		err = r.lease(last, r.epoch, time.Time{})
	}
	if err != nil {
		r.Logger.LogAttrs(last, slog.LevelWarn, "detection stopped without its last commit; the next start replays", slog.Any("error", err))
	}
	return nil
}
