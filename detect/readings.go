package detect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// SeriesFilter selects watched entities; empty fields select all.
type SeriesFilter struct {
	Group  string
	Entity string
	// Text is in what they are found by, see Group.Finds.
	Text string
	// Open selects those with an open anomaly.
	Open bool
}

// Series returns what is watched, by group and entity. On a replica that does
// not detect, what was learned of late is up to CheckpointInterval old.
func (p *Pipeline) Series(ctx context.Context, f SeriesFilter) ([]ops.Watched, error) {
	finds := p.finds(f)
	var out []ops.Watched
	if r := p.now.Load(); r != nil {
		for _, w := range r.index.all() {
			if !finds(w.group.Name, w.entity) {
				continue
			}
			if row := r.look(w); !f.Open || row.Anomaly != "" {
				out = append(out, row)
			}
		}
		return out, nil
	}
	all, err := p.stored(ctx)
	return slices.DeleteFunc(all, func(w ops.Watched) bool {
		return f.Open && w.Anomaly == "" || !finds(w.Group, w.Entity)
	}), err
}

// finds returns whether a filter selects an entity of a group, by its names.
func (p *Pipeline) finds(f SeriesFilter) func(group, entity string) bool {
	groups := map[string]*Group{}
	for i := range p.groups {
		groups[p.groups[i].Name] = &p.groups[i]
	}
	return func(group, entity string) bool {
		if f.Group != "" && group != f.Group || f.Entity != "" && entity != f.Entity {
			return false
		}
		g := groups[group]
		if g == nil { // no longer configured
			g = &Group{Name: group}
		}
		return g.Finds(entity, f.Text)
	}
}

// stored returns what the store knows to be watched, for a replica that does
// not detect.
func (p *Pipeline) stored(ctx context.Context) ([]ops.Watched, error) {
	all, err := p.Findings.Watched(ctx)
	if err != nil {
		return nil, err
	}
	notes, err := p.Place.DetectionNotes(ctx, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	h := newHolds()
	for _, n := range notes {
		x, err := parseNote(n.Body)
		if err != nil {
			return nil, fmt.Errorf("detect: read the note at %d: %w", n.Offset, err)
		}
		if x.Hold != nil {
			h.put(*x.Hold)
		}
	}
	now := p.Clock()
	for i := range all {
		all[i].Held = h.look(aliasOf(all[i].Entity), now)
	}
	return all, nil
}

// look returns what is known of an entity now.
func (r *run) look(w *watched) ops.Watched {
	s := r.shards[w.shard]
	s.mu.Lock()
	row := w.row()
	s.mu.Unlock()
	row.Held = r.reader.holds.look(w.alias, r.Clock())
	return row
}

// One returns one watched entity and its features, or ops.ErrNotFound.
func (p *Pipeline) One(ctx context.Context, id string) (ops.Watched, []Feature, error) {
	var all []ops.Watched
	if r := p.now.Load(); r != nil {
		if w := r.index.get(id); w != nil {
			all = append(all, r.look(w))
		}
	} else {
		var err error
		if all, err = p.stored(ctx); err != nil {
			return ops.Watched{}, nil, err
		}
	}
	i := slices.IndexFunc(all, func(w ops.Watched) bool { return w.ID == id })
	if i < 0 {
		return ops.Watched{}, nil, fmt.Errorf("detect: series %q is not watched: %w", id, ops.ErrNotFound)
	}
	for _, g := range p.groups {
		if g.Name == all[i].Group {
			return all[i], slices.Clone(g.Features), nil
		}
	}
	return all[i], nil, nil
}

// Anomalies returns at most limit anomalies that meet [from, to), newest
// first: of one series, or of all when it is empty.
func (p *Pipeline) Anomalies(ctx context.Context, series string, from, to time.Time, limit int) ([]ops.Anomaly, error) {
	return p.Findings.Anomalies(ctx, series, from, to, limit)
}

// Readings returns the readings of a series in [from, to), oldest first: by
// the step for the last 240 steps (fewer where there are many features), by
// the minute or the step, whichever is longer, before that. On a replica that
// does not detect the newest come from its own snapshots, if it has any.
func (p *Pipeline) Readings(ctx context.Context, id string, from, to time.Time) ([]Reading, error) {
	chunks, err := p.Findings.Readings(ctx, id, from.Add(-time.Hour), to)
	if err != nil {
		return nil, err
	}
	var out []Reading
	for _, c := range chunks {
		hour, err := p.pack.parse(c.Start.UnixMilli(), c.Body)
		if err != nil {
			return nil, fmt.Errorf("%w: series %s at %s", err, id, c.Start.Format(time.RFC3339))
		}
		out = append(out, hour...)
	}
	recent, begun, err := p.recent(id)
	if err != nil {
		return nil, err
	}
	out = append(out, begun...)
	if len(recent) > 0 {
		first := recent[0].At
		out = slices.DeleteFunc(out, func(r Reading) bool { return r.At >= first })
		out = append(out, recent...)
	}
	out = slices.DeleteFunc(out, func(r Reading) bool { return r.At < from.UnixMilli() || r.At >= to.UnixMilli() })
	slices.SortStableFunc(out, func(a, b Reading) int { return int(min(1, max(-1, a.At-b.At))) })
	return slices.CompactFunc(out, func(a, b Reading) bool { return a.At == b.At }), nil
}

// recent returns what the model of an entity keeps itself: its last steps, and
// the hour that has begun.
func (p *Pipeline) recent(id string) (steps, hour []Reading, err error) {
	keep := func(h *history) {
		h.each(func(r Reading) {
			for _, c := range []*[]float32{&r.Values, &r.Expected, &r.Low, &r.High} {
				*c = slices.Clone(*c)
			}
			steps = append(steps, r)
		})
		hour = h.hour.readings(h.dims)
	}
	if r := p.now.Load(); r != nil {
		w := r.index.get(id)
		if w == nil {
			return nil, nil, nil
		}
		s := r.shards[w.shard]
		s.mu.Lock()
		defer s.mu.Unlock()
		if w.model != nil {
			keep(&w.model.history)
			return steps, hour, nil
		}
	}
	if !isID(id) {
		return nil, nil, nil
	}
	x, err := p.dir.read(id)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errBroken) {
		return nil, nil, nil // said when the model is needed
	}
	if err != nil {
		return nil, nil, fmt.Errorf("detect: read a model: %w", err)
	}
	keep(&x.history)
	return steps, hour, nil
}

// isID reports whether a text has the form of an id, and so can name a file.
func isID(id string) bool {
	if len(id) != 24 {
		return false
	}
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// retainAtOnce bounds a deleting transaction.
const retainAtOnce = 500

// Retain deletes readings and anomalies that are older than they are kept.
func (p *Pipeline) Retain(ctx context.Context) error {
	now := p.Clock()
	for more := true; more; {
		var readings, anomalies int64
		err := p.DB.Write(ctx, func(tx db.Tx) (err error) {
			if readings, err = p.Findings.DropReadings(ctx, tx, now.Add(-p.KeepReadings), retainAtOnce); err != nil {
				return err
			}
			anomalies, err = p.Findings.DropAnomalies(ctx, tx, now.Add(-p.KeepAnomalies), retainAtOnce)
			return err
		})
		if err != nil {
			return fmt.Errorf("detect: delete what is too old: %w", err)
		}
		more = readings == retainAtOnce || anomalies == retainAtOnce
	}
	return nil
}
