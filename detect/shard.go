package detect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// shard owns the models of its entities. One goroutine works on it at a time.
type shard struct {
	*Pipeline
	// limit is the last record that can be in a snapshot: one that claims more is
	// of a log that was lost.
	limit int64
	// live says that the replay is over: from then on an open anomaly that the
	// store does not know as open is of a past that others have settled.
	live   bool
	opened func(id string) bool

	mu       sync.Mutex
	resident map[*watched]struct{}
	open     map[*watched]struct{} // with an open anomaly
	reading  detector.Reading
	outputs  []output
	counts   counts
	scratch  [2][]byte // of a snapshot being rendered
	said     map[*Group]bool

	// What closed works on.
	w    *watched
	item *item
}

// counts are what a shard did in a round.
type counts struct {
	points, held, failed int
	// Samples of a past that were refused, and samples that came meanwhile.
	refused, aside int
}

// output is something to commit that follows from a record.
type output struct {
	w       *watched
	offset  int64
	telling *telling
	chunk   *ops.ReadingChunk
}

// work takes the shard's part of a round in.
func (s *shard) work(ctx context.Context, r *round, items []item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	closed := s.closed
	for i := range items {
		it := &items[i]
		s.guard(ctx, it.w, it.offset, func() { s.feed(ctx, r, it, r.points[it.lo:it.hi], closed) })
	}
	if r.tick > 0 && len(s.open) > 0 {
		for _, w := range s.openInOrder() {
			s.silent(ctx, w, r.tick, r.to)
		}
	}
}

// guard keeps a defect that one entity's samples lay bare from ending the
// process again and again: the entity is given up until the next start.
func (s *shard) guard(ctx context.Context, w *watched, offset int64, f func()) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		stack := make([]byte, 4<<10)
		stack = stack[:runtime.Stack(stack, false)]
		s.Logger.LogAttrs(ctx, slog.LevelError, "entity given up: its samples made a model fail", slog.String("group", w.group.Name),
			slog.String("entity", w.entity), slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(stack)))
		if w.model != nil && w.model.life.Open != nil {
			s.tell(w, offset, w.model.life.close("its model failed"))
		}
		w.broken, w.since = true, 0
		s.drop(w)
	}()
	f()
}

func (s *shard) openInOrder() []*watched {
	out := make([]*watched, 0, len(s.open))
	for w := range s.open {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b *watched) int { return cmp.Compare(a.id, b.id) })
	return out
}

func (s *shard) feed(ctx context.Context, r *round, it *item, points []series.RawPoint, closed func(detector.Point)) {
	w := it.w
	if it.offset < w.first {
		return // of a time before it was forgotten and came again
	}
	w.used = r.number
	m := s.model(ctx, w)
	if m == nil || it.offset <= w.contained {
		return
	}
	s.silent(ctx, w, it.tick, it.offset)
	m.heard = max(m.heard, it.tick)
	if w.since == 0 {
		w.since = it.offset
	}
	s.w, s.item = w, it
	switch {
	case it.past != nil:
		s.learn(ctx, r, it, closed)
	case s.aside(m, it):
		s.counts.aside += len(points)
	default:
		m.entity.Add(it.input, points, closed)
	}
}

// silent closes the anomaly of an entity that has said nothing for too long.
func (s *shard) silent(ctx context.Context, w *watched, tick, offset int64) {
	if _, open := s.open[w]; !open {
		return
	}
	m := s.model(ctx, w)
	if m == nil || m.life.Open == nil {
		return
	}
	if m.heard == 0 {
		m.heard = tick
	}
	if tick-m.heard < w.silence {
		return
	}
	if w.since == 0 {
		w.since = offset
	}
	t := m.life.close("it is no longer measured")
	s.tell(w, offset, t)
}

// closed takes a step that is over.
func (s *shard) closed(p detector.Point) {
	w, m := s.w, s.w.model
	p.Hold = held(s.item.holds, p.At)
	if err := m.detector.Process(p, &s.reading); err != nil {
		s.counts.failed++
		return
	}
	s.counts.points++
	if p.Hold {
		s.counts.held++
	}
	r := &s.reading
	w.learned, w.needed, w.seenAt = r.Learned, r.Needed, p.At
	if start, body := m.history.add(p, r, w.bucket, w.phase, s.pack); body != nil {
		s.outputs = append(s.outputs, output{w: w, offset: s.item.offset, chunk: &ops.ReadingChunk{Series: w.id, Start: time.UnixMilli(start).UTC(), Body: body}})
	}
	if s.item.past != nil {
		m.life.Last = p.At // nobody wants a ticket for last week
	} else {
		for _, t := range m.life.step(w, p, r, m.spark) {
			s.tell(w, s.item.offset, t)
		}
	}
	if s.Observe != nil {
		s.Observe(w.id, p, r)
	}
}

// tell notes a telling to be committed.
func (s *shard) tell(w *watched, offset int64, t telling) {
	s.outputs = append(s.outputs, output{w: w, offset: offset, telling: &t})
	s.follow(w)
}

// follow notes whether a model has an open anomaly.
func (s *shard) follow(w *watched) {
	if w.model != nil && w.model.life.Open != nil {
		s.open[w], w.openID = struct{}{}, w.model.life.Open.Anomaly.ID
		return
	}
	delete(s.open, w)
	w.openID = ""
}

// spark returns the recent values of a feature.
func (m *model) spark(feature int) []ops.Point {
	var out []ops.Point
	skip := len(m.history.at) - sparkSteps
	m.history.each(func(r Reading) {
		if skip--; skip >= 0 || feature >= len(r.Values) {
			return
		}
		if v := float64(r.Values[feature]); !math.IsNaN(v) && !math.IsInf(v, 0) {
			out = append(out, ops.Point{At: time.UnixMilli(r.At).UTC(), Value: v})
		}
	})
	return out
}

// model returns the model of an entity, reading it from disk or making it
// where there is none; nil when neither can be done.
func (s *shard) model(ctx context.Context, w *watched) *model {
	if w.model != nil || w.broken {
		return w.model
	}
	m, err := s.load(ctx, w)
	if err == nil && m == nil {
		m, err = s.fresh(w)
	}
	if err != nil {
		w.broken = true
		s.Logger.LogAttrs(ctx, slog.LevelError, "entity cannot be watched", slog.String("group", w.group.Name), slog.String("entity", w.entity), slog.Any("error", err))
		return nil
	}
	w.model = m
	s.resident[w] = struct{}{}
	s.follow(w)
	return m
}

func (s *shard) fresh(w *watched) (*model, error) {
	d, err := s.Detectors.New(w.group.Detector, w.settings())
	if err != nil {
		return nil, fmt.Errorf("detect: make a detector %s: %w", w.group.Detector, err)
	}
	w.contained, w.learned, w.needed = 0, 0, 0
	return &model{entity: w.group.New(w.entity), detector: d, history: newHistory(len(w.group.Features))}, nil
}

// load reads the snapshot of an entity. It returns nil where there is none, or
// none that can be used: the model begins anew then, from what the log holds.
func (s *shard) load(ctx context.Context, w *watched) (*model, error) {
	at := []slog.Attr{slog.String("series", w.id), slog.String("group", w.group.Name), slog.String("entity", w.entity)}
	x, err := s.dir.read(w.id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, errBroken):
		s.Logger.LogAttrs(ctx, slog.LevelError, "snapshot of a model set aside, the model begins anew", append(at, slog.Any("error", err))...)
		return nil, s.dir.setAside(w.id)
	case err != nil:
		return nil, fmt.Errorf("detect: read a model: %w", err)
	case x.digest != w.digest || x.first != w.first:
		s.anew(ctx, w, "it was made with other settings")
		return nil, nil
	}
	e, err := w.group.Load(w.entity, x.entity)
	if err == nil && x.history.dims != len(w.group.Features) {
		err = fmt.Errorf("detect: a snapshot of %d features, want %d", x.history.dims, len(w.group.Features))
	}
	var d detector.Detector
	if err == nil {
		d, err = s.Detectors.Load(w.group.Detector, w.settings(), x.detector)
	}
	if err != nil { // the checksum is right: it is of another version
		s.anew(ctx, w, err.Error())
		return nil, nil
	}
	if s.live && x.life.Open != nil && !s.opened(x.life.Open.Anomaly.ID) {
		x.life.Open = nil
	}
	w.contained = min(x.contained, s.limit)
	w.learned, w.needed = x.learned, x.needed
	if w.seenAt == 0 {
		w.seenAt = x.life.Last
	}
	return &model{entity: e, detector: d, life: x.life, history: x.history, heard: x.heard}, nil
}

// anew says that a model begins anew, once for its group: after a change of
// settings or version all of them do.
func (s *shard) anew(ctx context.Context, w *watched, why string) {
	if s.said[w.group] {
		return
	}
	s.said[w.group] = true
	s.Logger.LogAttrs(ctx, slog.LevelWarn, "models of a group begin anew", slog.String("group", w.group.Name), slog.String("entity", w.entity), slog.String("why", why))
}

// render appends the snapshot of a resident model that holds everything up to
// an offset.
func (s *shard) render(w *watched, contained int64, dst []byte) ([]byte, error) {
	m := w.model
	entity, err := m.entity.AppendState(s.scratch[0][:0])
	s.scratch[0] = entity
	if err != nil {
		return dst, fmt.Errorf("detect: save the steps of %s: %w", w.entity, err)
	}
	state, err := m.detector.AppendState(s.scratch[1][:0])
	s.scratch[1] = state
	if err != nil {
		return dst, fmt.Errorf("detect: save the detector of %s: %w", w.entity, err)
	}
	x := snapshot{
		digest: w.digest, first: w.first, contained: contained, heard: m.heard, learned: w.learned, needed: w.needed,
		life: m.life, history: m.history, entity: entity, detector: state,
	}
	return x.append(dst)
}

// drop lets go of a resident model, whose snapshot is on disk.
func (s *shard) drop(w *watched) {
	w.model = nil
	delete(s.resident, w)
}
