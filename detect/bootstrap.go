package detect

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// Limits of a part of a past.
const (
	// maxPastSamples bounds the samples of a part.
	maxPastSamples = 2_000_000
	// pastAhead is how far a part may lie in the future, for clocks that differ.
	pastAhead = time.Hour
	// pastWait is how long a part may wait for the one before it to be learned.
	pastWait = 20 * time.Second
	// maxPastNames bounds the names that are told.
	maxPastNames = 10
)

// GroupState is a group and how far its models are.
type GroupState struct {
	Group
	Entities int // with a model
	Ready    int // of them, those that have learned enough
}

// Group returns a group by name, or ops.ErrNotFound.
func (p *Pipeline) Group(ctx context.Context, name string) (GroupState, error) {
	i := slices.IndexFunc(p.groups, func(g Group) bool { return g.Name == name })
	if i < 0 {
		return GroupState{}, fmt.Errorf("detect: no group %q is watched: %w", name, ops.ErrNotFound)
	}
	all, err := p.Series(ctx, SeriesFilter{Group: name})
	if err != nil {
		return GroupState{}, err
	}
	g := GroupState{Group: p.groups[i], Entities: len(all)}
	for _, w := range all {
		if !w.SeenAt.IsZero() && w.Learned >= w.Needed {
			g.Ready++
		}
	}
	return g, nil
}

// BeginBootstrap begins to teach the models of a group their past, or goes on
// with what was begun from the same source and was left less than an hour ago.
func (p *Pipeline) BeginBootstrap(ctx context.Context, group, source string, replace bool) (b ops.Bootstrap, resumed bool, err error) {
	if _, err := p.Group(ctx, group); err != nil {
		return b, false, err
	}
	now := p.Clock()
	b, err = p.Findings.LastBootstrap(ctx, group, source)
	switch {
	case err == nil && !b.Ended && b.Replace == replace && now.Sub(b.MovedAt) < pastPause:
		return b, true, nil
	case err != nil && !errors.Is(err, ops.ErrNotFound):
		return b, false, err
	}
	h := sha256.New()
	for _, s := range []string{group, source, b.ID} {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano())))
	b = ops.Bootstrap{ID: hex.EncodeToString(h.Sum(nil)[:12]), Group: group, Source: source, Replace: replace, MovedAt: now}
	return b, false, p.saveBootstrap(ctx, b)
}

func (p *Pipeline) saveBootstrap(ctx context.Context, b ops.Bootstrap) error {
	return p.DB.Write(ctx, func(tx db.Tx) error { return p.Findings.SaveBootstrap(ctx, tx, b) })
}

// Taken is what became of a part of a past.
type Taken struct {
	Series   int `json:"series"`   // in the part
	Selected int `json:"selected"` // by the group
	Samples  int `json:"samples"`  // of those, taken
	Entities int `json:"entities"` // whose past was taken
	// Warm is how many entities have learned enough and were left alone, and
	// WarmNames are the first of them.
	Warm      int      `json:"warm"`
	WarmNames []string `json:"warm_names,omitempty"`
}

// LearnPast takes the samples of [from, to) of a bootstrap: a series.Batch,
// each series once and its samples in the order of time. Parts come in the
// order of time; one that comes twice changes nothing. It returns once the part
// is durable and the one before it is learned, so that a past does not pile up
// before what comes live; ops.ErrUnavailable says that it is not yet.
//
// Entities that have learned enough are left alone unless the bootstrap
// replaces. What is learned is scored and kept as readings, and opens no
// anomaly.
func (p *Pipeline) LearnPast(ctx context.Context, id string, from, to time.Time, body []byte) (Taken, error) {
	var out Taken
	b, err := p.Findings.Bootstrap(ctx, id)
	switch {
	case err != nil:
		return out, err
	case b.Ended:
		return out, fmt.Errorf("detect: bootstrap %s has ended; begin another: %w", id, ops.ErrConflict)
	case !from.Before(to):
		return out, fmt.Errorf("detect: from %s is not before to %s: %w", from, to, ops.ErrInvalid)
	case to.After(p.Clock().Add(pastAhead)):
		return out, fmt.Errorf("detect: to %s is in the future; check the clocks: %w", to, ops.ErrInvalid)
	}
	batch, out, err := p.sift(ctx, b, from, to, body)
	if err != nil {
		return out, err
	}
	if err := p.learned(ctx, b.Offset); err != nil {
		return out, err
	}
	if batch.Samples() > 0 {
		record := series.Record{Kind: series.Past, Dedupe: fmt.Sprintf("bootstrap/%s/%d-%d", id, from.UnixMilli(), to.UnixMilli())}
		if record.Body, err = (pastHead{ID: id, Group: b.Group, Replace: b.Replace}).append(batch); err != nil {
			return out, err
		}
		if b.Offset, err = p.Log.Append(ctx, record); err != nil {
			return out, full(fmt.Errorf("detect: tell the sample log a past: %w", err))
		}
	}
	if to.After(b.Covered) {
		b.Covered = to
		b.Samples += int64(out.Samples)
	}
	b.MovedAt = p.Clock()
	return out, p.saveBootstrap(ctx, b)
}

// full gives a full log its class: the caller tries again later.
func full(err error) error {
	if errors.Is(err, series.ErrFull) {
		return fmt.Errorf("%w: %w", err, ops.ErrUnavailable)
	}
	return err
}

// sift keeps what the group selects of a part and what its models would take.
func (p *Pipeline) sift(ctx context.Context, b ops.Bootstrap, from, to time.Time, body []byte) (*series.Batch, Taken, error) {
	var out Taken
	batch := &series.Batch{}
	var in series.BatchReader
	if err := in.Open(body); err != nil {
		return nil, out, fmt.Errorf("%w: %w", err, ops.ErrInvalid)
	}
	seen, warm := map[string]bool{}, map[string]bool{}
	samples := 0
	for in.Next() {
		out.Series++
		points := in.Points()
		if samples += len(points); samples > maxPastSamples {
			return nil, out, fmt.Errorf("detect: more than %d samples in a part; send less at once: %w", maxPastSamples, ops.ErrInvalid)
		}
		d, err := series.ParseKey(in.Key())
		if err != nil {
			return nil, out, fmt.Errorf("%w: %w", err, ops.ErrInvalid)
		}
		for i, x := range points {
			if x.At < from.UnixMilli() || x.At >= to.UnixMilli() || i > 0 && x.At < points[i-1].At {
				return nil, out, fmt.Errorf("detect: sample %d of %s is at %d, which is outside of its part or before the one before it: %w", i, d.Metric, x.At, ops.ErrInvalid)
			}
		}
		entities, err := p.takers(&d, b.Group)
		if err != nil {
			return nil, out, fmt.Errorf("%w: %w", err, ops.ErrInvalid)
		}
		if len(entities) == 0 {
			continue
		}
		out.Selected++
		taken := false
		for _, e := range entities {
			takes, known := seen[e]
			if !known {
				takes = p.takesPast(b, e)
				seen[e] = takes
				if !takes {
					warm[e] = true
				}
			}
			taken = taken || takes
		}
		if !taken {
			continue
		}
		out.Samples += len(points)
		batch.Series(&d)
		for _, x := range points {
			batch.Sample(x.At, x.Value)
		}
	}
	if err := in.Err(); err != nil {
		return nil, out, fmt.Errorf("%w: %w", err, ops.ErrInvalid)
	}
	out.Warm, out.Entities = len(warm), len(seen)-len(warm)
	out.WarmNames = sortedKeys(warm)
	out.WarmNames = out.WarmNames[:min(len(out.WarmNames), maxPastNames)]
	return batch, out, nil
}

// takers returns the entities of a group that a series feeds.
func (p *Pipeline) takers(d *series.Descriptor, group string) ([]string, error) {
	bindings, err := p.Selection.Bind(d)
	var out []string
	for _, b := range bindings {
		if p.groups[b.Group].Name == group && !slices.Contains(out, b.Entity) {
			out = append(out, b.Entity)
		}
	}
	if len(out) > 0 {
		err = nil // bindings that come with an error stand
	}
	return out, err
}

// takesPast says beforehand what the model of an entity will decide when the
// log comes to it. One that is not in memory is asked then.
func (p *Pipeline) takesPast(b ops.Bootstrap, entity string) bool {
	r := p.now.Load()
	if r == nil {
		return true
	}
	id, _ := watchedID(b.Group, entity)
	w := r.index.get(id)
	if w == nil {
		return true
	}
	s := r.shards[w.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.model == nil {
		return true
	}
	if was := w.model.life.Past; was != nil && was.ID == b.ID {
		return !was.Over
	}
	return b.Replace || !w.model.warm(w)
}

// learned waits until an offset of the log is detected.
func (p *Pipeline) learned(ctx context.Context, offset int64) error {
	ctx, cancel := context.WithTimeout(ctx, pastWait)
	defer cancel()
	for {
		reached := int64(0)
		if r := p.now.Load(); r != nil {
			reached = r.reached.Load()
		} else {
			place, err := p.Place.Detection(ctx, part)
			if err != nil && ctx.Err() == nil {
				return err
			}
			reached = place.Committed
		}
		if reached >= offset {
			return nil
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return fmt.Errorf("detect: detection has come to record %d of the sample log and %d is to be learned first; try again: %w", reached, offset, ops.ErrUnavailable)
		}
	}
}

// EndBootstrap says that a past is complete: its models go on with what comes
// live. It returns once they have learned it. Ending it twice changes nothing.
func (p *Pipeline) EndBootstrap(ctx context.Context, id string) (ops.Bootstrap, error) {
	b, err := p.Findings.Bootstrap(ctx, id)
	if err != nil {
		return b, err
	}
	if !b.Ended {
		now := p.Clock()
		body, err := json.Marshal(note{Ended: &ended{ID: id, At: now.UnixMilli()}})
		if err != nil {
			return b, fmt.Errorf("detect: encode the end of a bootstrap: %w", err)
		}
		b.Offset, err = p.Log.Append(ctx, series.Record{Kind: series.Hold, Dedupe: "bootstrap/" + id + "/end", Body: body})
		if err != nil {
			return b, full(fmt.Errorf("detect: tell the sample log the end of a bootstrap: %w", err))
		}
		b.Ended, b.MovedAt = true, now
		if err := p.saveBootstrap(ctx, b); err != nil {
			return b, err
		}
	}
	return b, p.learned(ctx, b.Offset)
}
