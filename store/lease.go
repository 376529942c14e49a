package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/lease"
	"github.com/fettleops/fettle/ops"
)

// Leases returns the leases of one scope; scopes never see each other's.
func (s *Store) Leases(scope string) lease.Table { return &leases{db: s.db, scope: scope} }

// FreeLeases ends every lease, of integrations and of executions, that the last
// process still holds, so that the next one goes on at once instead of waiting
// for them to run out. It is meant for a start, before anything is taken: on
// SQLite the lock on the database file proves that nobody else is alive. On
// PostgreSQL another replica may be, and nothing is done.
func (s *Store) FreeLeases(ctx context.Context) error {
	if s.db.Engine() != db.SQLite {
		return nil
	}
	err := s.db.Write(ctx, func(tx db.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE execution_lease SET until_at = 0 WHERE until_at > 0"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE lease SET held_until = 0 WHERE held_until > 0")
		return err
	})
	if err != nil {
		return fmt.Errorf("store: free the leases of the last process: %w", err)
	}
	return nil
}

type leases struct {
	db    *db.DB
	scope string
}

const leaseColumns = "name, owner, epoch, held_until, checkpoint"

func scanLease(r db.Row) (lease.Lease, error) {
	var l lease.Lease
	var until int64
	err := r.Scan(&l.Name, &l.Owner, &l.Epoch, &until, &l.Checkpoint)
	if l.Owner != "" {
		l.Until = time.UnixMilli(until).UTC()
	}
	return l, err
}

// List implements lease.Table.
func (t *leases) List(ctx context.Context) ([]lease.Lease, error) {
	rows, err := t.db.Read().Query(ctx, "SELECT "+leaseColumns+" FROM lease WHERE scope = $1 ORDER BY name", t.scope)
	out, err := db.Collect(rows, err, scanLease)
	if err != nil {
		return nil, fmt.Errorf("store: list leases of %s: %w", t.scope, err)
	}
	return out, nil
}

// Make implements lease.Table.
func (t *leases) Make(ctx context.Context, wanted ...lease.Lease) error {
	if len(wanted) == 0 {
		return nil
	}
	rows := make([][]any, len(wanted))
	for i, l := range wanted {
		rows[i] = []any{t.scope, l.Name, "", int64(0), int64(0), l.Checkpoint}
	}
	err := t.db.Write(ctx, func(tx db.Tx) error {
		return db.InsertMany(ctx, tx, "INSERT INTO lease (scope, "+leaseColumns+")", "ON CONFLICT DO NOTHING", rows)
	})
	if err != nil {
		return fmt.Errorf("store: make leases of %s: %w", t.scope, err)
	}
	return nil
}

// Take implements lease.Table.
func (t *leases) Take(ctx context.Context, name, owner string, now, until time.Time) (lease.Lease, error) {
	var out lease.Lease
	err := t.db.Write(ctx, func(tx db.Tx) (err error) {
		out, err = scanLease(tx.QueryRow(ctx, `INSERT INTO lease (scope, name, owner, epoch, held_until, checkpoint) VALUES ($1, $2, $3, 1, $4, '')
			ON CONFLICT (scope, name) DO UPDATE SET owner = excluded.owner, epoch = lease.epoch + 1, held_until = excluded.held_until
			WHERE lease.owner = '' OR lease.owner = excluded.owner OR lease.held_until <= $5
			RETURNING `+leaseColumns, t.scope, name, owner, until.UnixMilli(), now.UnixMilli()))
		return err
	})
	switch {
	case errors.Is(err, db.ErrNoRows):
		return lease.Lease{}, fmt.Errorf("lease %s: %w: %w", name, lease.ErrHeld, ops.ErrConflict)
	case err != nil:
		return lease.Lease{}, fmt.Errorf("store: take lease %s: %w", name, err)
	}
	return out, nil
}

// Renew implements lease.Table.
func (t *leases) Renew(ctx context.Context, held lease.Lease, until time.Time) error {
	return t.change(ctx, held, "held_until = $5", until.UnixMilli())
}

// Save implements lease.Table.
func (t *leases) Save(ctx context.Context, held lease.Lease, checkpoint string) error {
	return t.change(ctx, held, "checkpoint = $5", checkpoint)
}

// Release implements lease.Table.
func (t *leases) Release(ctx context.Context, held lease.Lease) error {
	return t.change(ctx, held, "owner = $5, held_until = 0", "")
}

// change writes to a lease if it is still the one that is held.
func (t *leases) change(ctx context.Context, held lease.Lease, set string, value any) error {
	var n int64
	err := t.db.Write(ctx, func(tx db.Tx) (err error) {
		n, err = tx.Exec(ctx, "UPDATE lease SET "+set+" WHERE scope = $1 AND name = $2 AND owner = $3 AND epoch = $4", t.scope, held.Name, held.Owner, held.Epoch, value)
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("store: write lease %s: %w", held.Name, err)
	case n == 0:
		return fmt.Errorf("lease %s: %w: %w", held.Name, lease.ErrLost, ops.ErrConflict)
	}
	return nil
}

// Remove implements lease.Table.
func (t *leases) Remove(ctx context.Context, l lease.Lease) error {
	err := t.db.Write(ctx, func(tx db.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM lease WHERE scope = $1 AND name = $2 AND epoch = $3", t.scope, l.Name, l.Epoch)
		return err
	})
	if err != nil {
		return fmt.Errorf("store: remove lease %s: %w", l.Name, err)
	}
	return nil
}
