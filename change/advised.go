package change

import (
	"context"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// RaiseIn raises a change in the caller's transaction, for a service such as a
// rule for recommendations. Cause is the id of the fact that asks for it.
func (r *Room) RaiseIn(ctx context.Context, tx db.Tx, by ops.Principal, c ops.Change, why, cause string) (ops.Change, error) {
	return r.raised(ctx, tx, cause, Raised{By: by, Why: why, Change: c})
}

// EndIn ends a change that has not begun, in the caller's transaction, for the
// service that asked for it: as superseded or as withdrawn. It returns
// ops.ErrConflict when the change has begun.
func (r *Room) EndIn(ctx context.Context, tx db.Tx, by ops.Principal, id string, outcome ops.Outcome, why string) (ops.Change, error) {
	return r.apply(ctx, tx, id, Withdrawn{By: by, Why: why, Outcome: outcome})
}

// OnEnd names who takes the end of a change into account, in the transaction
// that ends it. Call it before the room works.
func (r *Room) OnEnd(settle func(ctx context.Context, tx db.Tx, c ops.Change) error) {
	r.settle = settle
}
