package intake

import (
	"context"
	"fmt"

	"github.com/fettleops/fettle/ops"
)

// Ask asks the sender of a recommendation for what the recommendation wants.
// Errors are those of Asker; ErrStalled when its integration is no longer
// configured or cannot be asked.
func (d *Door) Ask(ctx context.Context, r ops.Recommendation) (Told, error) {
	in := d.integrations[r.Integration]
	if in == nil {
		return Told{}, fmt.Errorf("intake: ask %s: it is no longer under integrations: %w", r.Integration, ops.ErrStalled)
	}
	a, ok := in.decoder.(Asker)
	if !ok {
		return Told{}, fmt.Errorf("intake: ask %s: senders of %s cannot be asked: %w", r.Integration, in.source, ops.ErrStalled)
	}
	return a.Ask(ctx, r)
}
