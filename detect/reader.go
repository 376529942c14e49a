package detect

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

const (
	// roundBytes is about how much of the log is taken in at once.
	roundBytes = 1 << 20
	// lookAgain is how long an append of another replica may go unseen, and
	// lookAlone how soon to look where there is no other.
	lookAgain = 250 * time.Millisecond
	lookAlone = 5 * time.Second
	// roundsAhead is how many rounds are read while one is worked on.
	roundsAhead = 2
	// maxCached bounds the series whose answer is remembered; twice as many at
	// most are.
	maxCached = 500_000
	// forgetAfter is when an entity that says nothing is forgotten, and
	// forgetWhenFull when its group has no room for another.
	forgetAfter    = 30 * 24 * time.Hour
	forgetWhenFull = 24 * time.Hour
	// complainEvery is how often at most the same is said in the log.
	complainEvery = 10 * time.Minute
)

// round is a stretch of the log, decoded and dealt to the shards.
type round struct {
	number   int64
	to       int64 // offset of the last record
	tick     int64 // the last one
	items    [][]item
	points   []series.RawPoint
	born     []*watched
	gone     []*watched
	notes    []ops.DetectionNote
	samples  int
	selected int
	refused  map[*Group]int // samples of entities beyond the limit
	broken   int            // records
}

// item is samples of one input of one entity.
type item struct {
	w      *watched
	input  Input
	offset int64
	holds  []hold // on the entity, at this place of the log
	tick   int64
	lo, hi int // of round.points

	past *pastItem // of a record of kind series.Past, which has several inputs
	over []ended   // bootstraps that have ended at this place of the log
}

func (r *round) reset(number int64) {
	for i := range r.items {
		clear(r.items[i])
		r.items[i] = r.items[i][:0]
	}
	clear(r.refused)
	*r = round{number: number, items: r.items, points: r.points[:0], refused: r.refused}
}

// reader turns the log into rounds. It alone decides what is watched: in the
// order of the log, so that a replay decides the same.
type reader struct {
	*Pipeline
	index *index
	at    int64 // last record read
	// committed is what an earlier run has settled: up to there the store says
	// what is watched.
	committed int64
	records   []series.Record // read and not yet dealt out
	batch     series.BatchReader
	cache     seriesCache
	holds     *holds
	over      []ended // bootstraps, replaced as a whole
	tick      int64
	number    int64
	// complained is when it was last said that a series cannot be selected.
	complained time.Time
	free       chan *round
	level      chan struct{} // told when the end of the log is reached
}

// run reads rounds into out until ctx ends.
func (r *reader) run(ctx context.Context, out chan<- *round) error {
	again := lookAgain
	if r.Alone {
		again = lookAlone
	}
	timer := time.NewTimer(again)
	defer timer.Stop()
	for {
		if len(r.records) == 0 {
			var err error
			if r.records, err = r.Log.Read(ctx, r.at, roundBytes); err != nil {
				return err
			}
		}
		if len(r.records) == 0 {
			select {
			case r.level <- struct{}{}:
			default:
			}
			timer.Reset(again)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-r.Log.Grown():
			case <-timer.C:
			}
			continue
		}
		next, err := r.round(ctx)
		if err != nil {
			return err
		}
		select {
		case out <- next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// round decodes records until they are used up or would need too many models
// at once.
func (r *reader) round(ctx context.Context) (*round, error) {
	var to *round
	select {
	case to = <-r.free:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.number++
	to.reset(r.number)
	touched := 0
	for len(r.records) > 0 && (touched == 0 || touched < r.MaxModels/2) {
		rec := r.records[0]
		r.records = r.records[1:]
		r.at, to.to = rec.Offset, rec.Offset
		switch rec.Kind {
		case series.Samples:
			n, err := r.deal(to, rec)
			touched += n
			if err != nil {
				to.broken++
				r.Logger.LogAttrs(ctx, slog.LevelError, "record of the sample log cannot be read", slog.Int64("offset", rec.Offset), slog.Any("error", err))
			}
		case series.Past:
			n, err := r.past(to, rec)
			touched += n
			if err != nil {
				to.broken++
				r.Logger.LogAttrs(ctx, slog.LevelError, "record of the sample log cannot be read", slog.Int64("offset", rec.Offset), slog.Any("error", err))
			}
		case series.Hold:
			if err := r.note(to, rec); err != nil {
				to.broken++
				r.Logger.LogAttrs(ctx, slog.LevelError, "record of the sample log cannot be read", slog.Int64("offset", rec.Offset), slog.Any("error", err))
			}
		default:
			to.broken++
			r.Logger.LogAttrs(ctx, slog.LevelError, "record of the sample log is of an unknown kind", slog.Int64("offset", rec.Offset), slog.Int("kind", int(rec.Kind)))
		}
	}
	to.tick = r.tick
	return to, nil
}

// deal gives the samples of a record to the shards, and returns how many
// models the round needs beyond those it needed before.
func (r *reader) deal(to *round, rec series.Record) (touched int, err error) {
	if err := r.batch.Open(rec.Body); err != nil {
		return 0, err
	}
	for r.batch.Next() {
		points := r.batch.Points()
		to.samples += len(points)
		bound, err := r.cache.find(r.batch.Key(), r.bind)
		if err != nil {
			return touched, err
		}
		if len(bound) == 0 || len(points) == 0 {
			continue
		}
		lo := len(to.points)
		for i := range bound {
			b := &bound[i]
			if b.w == nil || b.w.gone {
				if b.w = r.admit(to, b.group, b.entity, rec.Offset); b.w == nil {
					if rec.Offset > r.committed {
						to.refused[b.group] += len(points)
					}
					continue
				}
			}
			if len(to.points) == lo {
				to.points = append(to.points, points...)
				to.selected += len(points)
			}
			w := b.w
			w.heard = max(w.heard, r.tick)
			if w.round != to.number {
				w.round = to.number
				touched++
			}
			to.items[w.shard] = append(to.items[w.shard], item{w: w, input: b.input, offset: rec.Offset, holds: r.holds.about(w.alias), tick: r.tick, lo: lo, hi: len(to.points), over: r.over})
		}
	}
	return touched, r.batch.Err()
}

// bind answers for a series that is not in the cache.
func (r *reader) bind(key []byte) ([]bound, error) {
	d, err := series.ParseKey(key)
	if err != nil {
		return nil, err
	}
	bindings, err := r.Selection.Bind(&d)
	if now := r.Clock(); err != nil && now.Sub(r.complained) >= complainEvery {
		r.complained = now
		r.Logger.LogAttrs(context.Background(), slog.LevelWarn, "series cannot be selected as configured", slog.String("metric", d.Metric), slog.Any("error", err))
	}
	out := make([]bound, len(bindings))
	for i, b := range bindings {
		g := &r.groups[b.Group]
		out[i] = bound{w: r.index.byName[name{g.Name, b.Entity}], group: g, entity: b.Entity, input: b.Input}
	}
	return out, nil
}

// admit begins to watch an entity, unless its group has as many as it may. Of
// what an earlier run has settled the store knows what was watched; the rest
// was refused then and is refused again.
func (r *reader) admit(to *round, g *Group, entity string, offset int64) *watched {
	if w := r.index.byName[name{g.Name, entity}]; w != nil {
		return w
	}
	if offset <= r.committed || r.index.counts[g.Name] >= g.maxEntities() {
		return nil
	}
	w := newWatched(g, entity, r.Installation, g.tier(r.index.counts[g.Name]), offset, r.Shards)
	r.index.add(w)
	to.born = append(to.born, w)
	return w
}

// note takes a record that is not samples.
func (r *reader) note(to *round, rec series.Record) error {
	n, err := parseNote(rec.Body)
	if err != nil {
		return fmt.Errorf("detect: read a note: %w", err)
	}
	if rec.Offset > r.committed {
		to.notes = append(to.notes, ops.DetectionNote{Offset: rec.Offset, Until: n.until(), Body: rec.Body})
	}
	r.take(n)
	if n.Tick > 0 && rec.Offset > r.committed {
		r.forget(to)
	}
	return nil
}

// take puts a note into force.
func (r *reader) take(n note) {
	if n.Hold != nil {
		r.holds.put(*n.Hold)
	}
	if n.Ended != nil {
		r.over = append(slices.Clone(r.over), *n.Ended)
	}
	if n.Tick > 0 {
		r.tick = max(r.tick, n.Tick)
		r.holds.age(r.tick)
		r.over = withoutOld(r.over, r.tick)
	}
}

// forget lets go of entities that have said nothing for long, the most silent
// first: of a group without room no more than it takes for one.
func (r *reader) forget(to *round) {
	all := r.index.list()
	for _, w := range all {
		if w.heard == 0 {
			w.heard = r.tick
		}
	}
	slices.SortFunc(all, func(a, b *watched) int { return cmp.Or(cmp.Compare(a.heard, b.heard), cmp.Compare(a.id, b.id)) })
	for _, w := range all {
		after := forgetAfter
		if r.index.counts[w.group.Name] >= w.group.maxEntities() {
			after = forgetWhenFull
		}
		if r.tick-w.heard > after.Milliseconds() {
			w.gone = true
			r.index.remove(w)
			to.gone = append(to.gone, w)
		}
	}
}

// bound is what a series is good for.
type bound struct {
	w      *watched // nil: refused when it was last asked
	group  *Group
	entity string
	input  Input
}

// seriesCache remembers what series are good for by two hashes of their key,
// 96 bits together, so that a series nobody selects costs two short hashes,
// one look-up and 16 bytes. What was not asked for within the last maxCached
// answers is forgotten.
type seriesCache struct {
	seeds      [2]maphash.Seed
	fresh, old map[uint64]answer
	bounds     [][]bound // by answer.at-1
	unused     []int32
}

type answer struct {
	check uint32 // second hash of the key
	at    int32  // place in bounds plus one, 0 none
}

func newSeriesCache() seriesCache {
	return seriesCache{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, fresh: map[uint64]answer{}, old: map[uint64]answer{}}
}

func (c *seriesCache) find(key []byte, ask func(key []byte) ([]bound, error)) ([]bound, error) {
	h, check := maphash.Bytes(c.seeds[0], key), uint32(maphash.Bytes(c.seeds[1], key))
	a, ok := c.fresh[h]
	if !ok || a.check != check {
		if a, ok = c.old[h]; ok && a.check == check {
			delete(c.old, h)
		} else {
			b, err := ask(key)
			if err != nil {
				return nil, err
			}
			a = answer{check: check}
			if len(b) > 0 {
				a.at = c.keep(b)
			}
		}
		if len(c.fresh) >= maxCached {
			c.age()
		}
		c.fresh[h] = a
	}
	if a.at == 0 {
		return nil, nil
	}
	return c.bounds[a.at-1], nil
}

func (c *seriesCache) keep(b []bound) int32 {
	if n := len(c.unused); n > 0 {
		at := c.unused[n-1]
		c.unused = c.unused[:n-1]
		c.bounds[at-1] = b
		return at
	}
	c.bounds = append(c.bounds, b)
	return int32(len(c.bounds))
}

// age makes what is fresh old, and forgets what was old.
func (c *seriesCache) age() {
	for _, a := range c.old {
		if a.at > 0 {
			c.bounds[a.at-1] = nil
			c.unused = append(c.unused, a.at)
		}
	}
	clear(c.old)
	c.fresh, c.old = c.old, c.fresh
}
