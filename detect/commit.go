package detect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// commit makes everything that follows from the records processed so far
// durable, in one transaction with the place. It returns errFenced, with
// nothing written, when another replica has taken over.
func (r *run) commit(ctx context.Context) error {
	to := ops.DetectionPlace{Epoch: r.epoch, Committed: max(r.processed, r.committed), ReplayFrom: r.replayFrom()}
	if to == r.place && len(r.outputs)+len(r.born)+len(r.gone)+len(r.notes)+len(r.rows) == 0 {
		return nil
	}
	c := r.compose(to)
	for attempt := 0; ; attempt++ {
		err := r.write(ctx, c)
		if errors.Is(err, ops.ErrConflict) {
			return errFenced
		}
		if err == nil || r.written(ctx, c) {
			break
		}
		r.Logger.LogAttrs(ctx, slog.LevelError, "detection cannot commit", slog.Int("attempt", attempt+1), slog.Any("error", err))
		if !sleep(ctx, min(200*time.Millisecond<<min(attempt, 5), 5*time.Second)) {
			return fmt.Errorf("detect: commit up to %d: %w", to.Committed, err)
		}
	}
	r.apply(ctx, c)
	return nil
}

// commitment is what one transaction writes.
type commitment struct {
	from      int64
	to        ops.DetectionPlace
	messages  []ops.Message
	anomalies []ops.Anomaly
	chunks    []ops.ReadingChunk
	watched   []ops.Watched
	gone      []string
	notes     []ops.DetectionNote
	over      time.Time // notes that ended before are of no use
}

func (r *run) compose(to ops.DetectionPlace) *commitment {
	c := &commitment{from: r.committed, to: to, notes: r.notes}
	if tick := r.lastTick(); tick > 0 {
		c.over = time.UnixMilli(tick).Add(-2 * keepHolds)
	}
	var signals []ops.Signal
	for _, o := range r.outputs {
		if o.chunk != nil {
			c.chunks = append(c.chunks, *o.chunk)
			continue
		}
		a := o.telling.anomaly
		link := ""
		if r.PublicURL != "" {
			link = r.PublicURL + "/series/" + a.Series
		}
		signals = append(signals, ops.Signal{Alert: o.telling.alert(o.w.group, link)})
		c.anomalies = append(c.anomalies, a)
	}
	for len(signals) > 0 {
		n := min(signalsAtOnce, len(signals))
		c.messages = append(c.messages, ops.Message{Integration: Sense, Source: Sense, Signals: signals[:n]})
		signals = signals[n:]
	}
	gone := map[*watched]bool{}
	for _, w := range r.gone {
		gone[w] = true
		c.gone = append(c.gone, w.id)
	}
	seen := map[*watched]bool{}
	for _, list := range [][]*watched{r.born, r.rows} {
		for _, w := range list {
			if !seen[w] && !gone[w] {
				seen[w] = true
				c.watched = append(c.watched, w.row())
			}
		}
	}
	return c
}

// lastTick is the newest tick that a note of this run has brought.
func (r *run) lastTick() int64 {
	for i := len(r.notes) - 1; i >= 0; i-- {
		if n, err := parseNote(r.notes[i].Body); err == nil && n.Tick > 0 {
			return n.Tick
		}
	}
	return 0
}

// write runs the transaction. The caller's end does not reach it: what is on
// its way is worth waiting for.
func (r *run) write(ctx context.Context, c *commitment) error {
	ctx = context.WithoutCancel(ctx)
	return r.DB.Write(ctx, func(tx db.Tx) error {
		if err := r.Place.MoveDetection(ctx, tx, part, c.from, c.to); err != nil {
			return err
		}
		for _, m := range c.messages {
			if _, err := r.Signals.AppendSignals(ctx, tx, m); err != nil {
				return err
			}
		}
		if err := r.Findings.SaveAnomalies(ctx, tx, c.anomalies); err != nil {
			return err
		}
		if err := r.Findings.SaveReadings(ctx, tx, c.chunks); err != nil {
			return err
		}
		if err := r.Findings.ForgetWatched(ctx, tx, c.gone); err != nil {
			return err
		}
		if err := r.Findings.SaveWatched(ctx, tx, c.watched); err != nil {
			return err
		}
		if err := r.Place.SaveDetectionNotes(ctx, tx, c.notes); err != nil {
			return err
		}
		if c.over.IsZero() {
			return nil
		}
		return r.Place.DropDetectionNotes(ctx, tx, c.to.ReplayFrom, c.over)
	})
}

// written reports whether a transaction whose end nobody told has committed.
func (r *run) written(ctx context.Context, c *commitment) bool {
	place, err := r.Place.Detection(ctx, part)
	return err == nil && place == c.to && c.to.Committed > c.from
}

// apply makes what is durable the memory.
func (r *run) apply(ctx context.Context, c *commitment) {
	r.committed, r.place = c.to.Committed, c.to
	for _, a := range c.anomalies {
		_, was := r.open[a.ID]
		switch {
		case a.Open && !was:
			r.metric.anomalies.WithLabelValues(a.Group, "opened").Inc()
		case !a.Open && was:
			r.metric.anomalies.WithLabelValues(a.Group, "closed").Inc()
		}
		if a.Open {
			r.open[a.ID] = a
		} else {
			delete(r.open, a.ID)
		}
	}
	for _, id := range c.gone {
		if r.index.get(id) != nil {
			continue // it has come again
		}
		if err := r.dir.remove(id); err != nil {
			r.Logger.LogAttrs(ctx, slog.LevelWarn, "snapshot of a forgotten entity stays until the next start", slog.String("series", id), slog.Any("error", err))
		}
	}
	clear(r.outputs)
	r.outputs, r.born, r.gone, r.notes, r.rows, r.urgent = r.outputs[:0], nil, nil, nil, nil, false
	if len(c.messages) > 0 && r.Told != nil {
		r.Told()
	}
}
