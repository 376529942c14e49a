package change

import (
	"context"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// nextInLine is how many changes one end wakes where limits on concurrency
// hold them up: more than one, because the first may be held up by another
// limit still.
const nextInLine = 4

// freed tells that a change no longer holds up others: it has ended, or goes
// into another window.
func freed(was, now ops.Change) bool {
	switch was.State {
	case ops.ChangeImplement:
		return now.State != ops.ChangeImplement
	case ops.ChangeScheduled:
		moved := was.Window != nil && (now.Window == nil || *now.Window != *was.Window)
		return now.State != ops.ChangeScheduled && now.State != ops.ChangeImplement || moved
	}
	return false
}

// wakeLine wakes what stands in line behind a change.
func (r *Room) wakeLine(ctx context.Context, tx db.Tx, g *Gate, c ops.Change, now time.Time) ([]ops.Command, error) {
	behind := []string{c.ResourceID}
	if r.Graph != nil && c.ResourceID != "" {
		needing, err := r.Graph.NeededBy(ctx, c.ResourceID)
		if err != nil {
			return nil, err
		}
		behind = append(behind, needing...)
	}
	most := 0
	if l := g.Concurrency; l.Total > 0 || l.PerService > 0 || l.PerAccount > 0 {
		most = nextInLine
	}
	ids, err := r.Rows.WakeLine(ctx, tx, now, behind, most)
	if err != nil {
		return nil, err
	}
	out := make([]ops.Command, len(ids))
	for i, id := range ids {
		out[i] = ops.NewCommand(ops.WakeChange, ops.ChangeSubject(id), ops.WakeChangeBody{ChangeID: id, Why: c.Key() + " ended"})
		out[i].At = now
	}
	return out, nil
}
