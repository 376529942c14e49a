package detect

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/series"
)

// pastPause is how long an entity waits for the next part of its past. Then it
// goes on with what comes live.
const pastPause = time.Hour

// past is where a model stands in learning its past. Until it is over the
// samples that come live are set aside: they are later than what is still to
// come, which would be late after them.
type past struct {
	ID   string `json:"id"`   // of the bootstrap
	Tick int64  `json:"tick"` // of its last part; 0 unknown
	Over bool   `json:"over,omitempty"`
}

// ended is the end of a bootstrap, as a note in the log.
type ended struct {
	ID string `json:"id"`
	At int64  `json:"at"` // Unix milliseconds
}

// withoutOld forgets the ends that no entity waits for any more.
func withoutOld(list []ended, tick int64) []ended {
	old := func(e ended) bool { return e.At < tick-2*pastPause.Milliseconds() }
	if !slices.ContainsFunc(list, old) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), old)
}

// pastHead begins the body of a record of kind series.Past: its length as a
// varint, the JSON of it, and a Batch.
type pastHead struct {
	ID      string `json:"id"` // of the bootstrap
	Group   string `json:"group"`
	Replace bool   `json:"replace,omitempty"`
}

func (h pastHead) append(batch *series.Batch) ([]byte, error) {
	head, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("detect: encode the head of a past: %w", err)
	}
	return batch.Append(appendBytes(nil, head)), nil
}

var errPast = errors.New("detect: a record of a past is damaged")

func parsePast(body []byte) (pastHead, []byte, error) {
	var h pastHead
	n, size := binary.Uvarint(body)
	if size <= 0 || n > uint64(len(body)-size) {
		return h, nil, errPast
	}
	head, batch := body[size:size+int(n)], body[size+int(n):]
	if err := json.Unmarshal(head, &h); err != nil {
		return h, nil, fmt.Errorf("%w: %w", errPast, err)
	}
	return h, batch, nil
}

// pastItem is what a record holds of the past of one entity.
type pastItem struct {
	pastHead
	inputs []pastInput
}

type pastInput struct {
	input  Input
	lo, hi int // of round.points
}

// past deals a record of kind series.Past. All series of an entity are one
// item, because a step needs them together.
func (r *reader) past(to *round, rec series.Record) (touched int, err error) {
	head, body, err := parsePast(rec.Body)
	if err != nil {
		return 0, err
	}
	if err := r.batch.Open(body); err != nil {
		return 0, err
	}
	items := map[*watched]*pastItem{}
	var order []*watched
	for r.batch.Next() {
		points := r.batch.Points()
		to.samples += len(points)
		bound, err := r.cache.find(r.batch.Key(), r.bind)
		if err != nil {
			return touched, err
		}
		lo := len(to.points)
		for i := range bound {
			b := &bound[i]
			if b.group.Name != head.Group || len(points) == 0 {
				continue
			}
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
			if items[w] == nil {
				items[w] = &pastItem{pastHead: head}
				order = append(order, w)
			}
			items[w].inputs = append(items[w].inputs, pastInput{b.input, lo, len(to.points)})
		}
	}
	for _, w := range order {
		w.heard = max(w.heard, r.tick)
		if w.round != to.number {
			w.round = to.number
			touched++
		}
		to.items[w.shard] = append(to.items[w.shard], item{w: w, offset: rec.Offset, holds: r.holds.about(w.alias), tick: r.tick, past: items[w]})
	}
	return touched, r.batch.Err()
}

// aside reports whether a live sample must be set aside because the model is
// still to learn what was before it.
func (s *shard) aside(m *model, it *item) bool {
	p := m.life.Past
	if p == nil || p.Over {
		return false
	}
	if p.Tick == 0 {
		p.Tick = it.tick
	}
	p.Over = it.tick-p.Tick > pastPause.Milliseconds() || slices.ContainsFunc(it.over, func(e ended) bool { return e.ID == p.ID })
	return !p.Over
}

// learn takes a part of the past of an entity in.
func (s *shard) learn(ctx context.Context, r *round, it *item, closed func(detector.Point)) {
	total := 0
	for _, in := range it.past.inputs {
		total += in.hi - in.lo
	}
	if !s.admitsPast(ctx, it) {
		s.counts.refused += total
		return
	}
	// The samples of all inputs in the order of their times, as they came when
	// they were new.
	type place struct {
		at           int64
		input, point int
	}
	places := make([]place, 0, total)
	for i, in := range it.past.inputs {
		for k := in.lo; k < in.hi; k++ {
			places = append(places, place{r.points[k].At, i, k})
		}
	}
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(a.at, b.at) })
	m := it.w.model
	for _, p := range places {
		m.entity.Add(it.past.inputs[p.input].input, r.points[p.point:p.point+1], closed)
	}
}

// admitsPast decides, in the order of the log, whether a model learns its past:
// one that does already, one that is still learning, and with Replace any. The
// model begins anew then, because a past cannot come after what followed it.
func (s *shard) admitsPast(ctx context.Context, it *item) bool {
	w, m := it.w, it.w.model
	p := m.life.Past
	if p != nil && p.ID == it.past.ID {
		if !p.Over {
			p.Tick = max(p.Tick, it.tick)
		}
		return !p.Over
	}
	if m.warm(w) && !it.past.Replace {
		return false
	}
	if m.life.Open != nil {
		s.tell(w, it.offset, m.life.close("its model learns anew from its past"))
	}
	anew, err := s.fresh(w)
	if err != nil { // the group made one before
		s.Logger.LogAttrs(ctx, slog.LevelError, "model cannot begin anew", slog.String("series", w.id), slog.Any("error", err))
		return false
	}
	anew.heard = m.heard
	anew.life.Past = &past{ID: it.past.ID, Tick: it.tick}
	w.model = anew
	s.follow(w)
	return true
}

// warm reports whether a model has seen enough to grade.
func (m *model) warm(w *watched) bool { return m.life.Last != 0 && w.learned >= w.needed }
