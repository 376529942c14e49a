package ticket

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

// pullCommand carries out PullPlatform: a pull before its time.
func (r *Room) pullCommand(ctx context.Context, c ops.Command) error {
	return r.Pull(ctx, strings.TrimPrefix(c.Subject, "platform/"))
}

// Pull reads what moved on a platform since the last pull. The cursor moves
// only after what it passed is in the database; what is read twice changes
// nothing the second time. It also runs while the platform is in trouble, and
// so finds out that it is back.
func (r *Room) Pull(ctx context.Context, name string) error {
	p := r.platforms[name]
	if p == nil {
		return fmt.Errorf("ticket: pull %q: no such platform: %w", name, ops.ErrNotFound)
	}
	key := "cursor/" + name
	at, err := r.Cursors.Get(ctx, key)
	if err != nil && !errors.Is(err, ops.ErrNotFound) {
		return fmt.Errorf("ticket: pull %s: %w", name, err)
	}
	cursor := string(at.Value)
	for {
		var copies []connector.Copy
		next := cursor
		err := r.call(ctx, p, func(ctx context.Context) (err error) { copies, next, err = p.Conn.Changes(ctx, cursor); return err })
		if err != nil {
			return fmt.Errorf("ticket: pull %s: %w", name, err)
		}
		for _, c := range copies {
			if err := r.pulled(ctx, p, c); err != nil {
				return fmt.Errorf("ticket: pull %s: %s: %w", name, c.Display, err)
			}
		}
		if next == cursor {
			return nil
		}
		if err := r.Cursors.Write(ctx, record.Edit{Key: key, Value: []byte(next), Version: record.Any}); err != nil {
			return fmt.Errorf("ticket: pull %s: keep the cursor: %w", name, err)
		}
		if cursor == "" {
			return nil // the first pull only finds out where now is
		}
		cursor = next
	}
}

// pulled looks at a ticket that moved. The feed's copy is a hint: by the time
// it is here, our own write may be newer, so the ticket is read again in turn.
func (r *Room) pulled(ctx context.Context, p *platform, c connector.Copy) error {
	t, err := r.Store.TicketByKey(ctx, p.name, c.Key)
	if errors.Is(err, ops.ErrNotFound) {
		return nil // opened by another Fettle, or before this database
	}
	if err != nil {
		return err
	}
	if t.Ref == "" {
		return nil // its create is still under way
	}
	if t.Ref != c.Ref {
		r.Log.LogAttrs(ctx, slog.LevelWarn, "second ticket under one key", slog.String("platform", p.name), slog.String("ref", c.Ref), slog.String("kept", t.Ref))
		return r.auditAt(ctx, p, r.now(), "")
	}
	// Somebody may have decided before our own last write.
	if c.Version == t.Work.SeenVersion && t.Work.Approval.Sent == "" {
		return nil
	}
	err = r.look(ctx, p, t.ID, "", nil, 0)
	var wait *later
	if errors.As(err, &wait) || errors.Is(err, ops.ErrNotFound) {
		return nil // somebody is at it and looks again; or it is gone, and the next sync says so
	}
	return err
}
