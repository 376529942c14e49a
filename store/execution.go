package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

const executionColumns = "id, change_id, run_id, phase, lease, holder, epoch, plan, output, error, started_at, ended_at"

func scanExecution(r db.Row) (ops.Execution, error) {
	var e ops.Execution
	var phase, plan string
	var started, ended int64
	err := r.Scan(&e.ID, &e.ChangeID, &e.RunID, &phase, &e.Lease, &e.Holder, &e.Epoch, &plan, &e.Output, &e.Error, &started, &ended)
	if err != nil {
		return e, err
	}
	e.Phase, e.StartedAt, e.EndedAt = ops.ExecutionPhase(phase), fromMillis(started), fromMillis(ended)
	if plan != "" {
		e.Plan = new(ops.Plan)
		if err := json.Unmarshal([]byte(plan), e.Plan); err != nil {
			return e, fmt.Errorf("store: plan of execution %s: %w", e.ID, err)
		}
	}
	return e, nil
}

// Execution returns the journal entry with this id; ErrNotFound when nothing
// of it was ever begun.
func (s *Store) Execution(ctx context.Context, id string) (ops.Execution, error) {
	return execution(ctx, s.db.Read(), id)
}

func execution(ctx context.Context, r db.Reader, id string) (ops.Execution, error) {
	e, err := scanExecution(r.QueryRow(ctx, "SELECT "+executionColumns+" FROM execution WHERE id = $1", id))
	switch {
	case errors.Is(err, db.ErrNoRows):
		return e, fmt.Errorf("store: execution %s: %w", id, ops.ErrNotFound)
	case err != nil:
		return e, fmt.Errorf("store: read execution %s: %w", id, err)
	}
	return e, nil
}

// ExecutionsOf returns every journal entry of a change, oldest first.
func (s *Store) ExecutionsOf(ctx context.Context, changeID string) ([]ops.Execution, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT "+executionColumns+" FROM execution WHERE change_id = $1 ORDER BY started_at, id", changeID)
	return db.Collect(rows, err, scanExecution)
}

// TakeExecution takes e.Lease for e.Holder until the given time and begins e,
// or takes it over from a holder whose lease ran out. It returns the entry as
// it stands: its Phase tells whether somebody had already begun to act.
//
// ErrConflict means that e has ended, that somebody else holds the lease, or
// that another execution under the same lease began to act and nobody has yet
// found out what became of it. Time is the caller's; replicas whose clocks
// differ by more than the lease's length are not supported.
func (s *Store) TakeExecution(ctx context.Context, tx db.Tx, e ops.Execution, until time.Time) (ops.Execution, error) {
	now := s.clock()
	var other string
	err := tx.QueryRow(ctx, "SELECT id FROM execution WHERE lease = $1 AND phase = $2 AND id <> $3 LIMIT 1",
		e.Lease, string(ops.ExecutionActing), e.ID).Scan(&other)
	if err == nil {
		return e, fmt.Errorf("store: %s on the same resource has not ended: %w", other, ops.ErrConflict)
	}
	if !errors.Is(err, db.ErrNoRows) {
		return e, fmt.Errorf("store: take %s: %w", e.ID, err)
	}
	err = tx.QueryRow(ctx, `INSERT INTO execution_lease (name, execution, holder, epoch, until_at) VALUES ($1, $2, $3, 1, $4)
		ON CONFLICT (name) DO UPDATE SET execution = excluded.execution, holder = excluded.holder,
			epoch = execution_lease.epoch + 1, until_at = excluded.until_at
		WHERE execution_lease.execution = '' OR execution_lease.until_at <= $5
		RETURNING epoch`, e.Lease, e.ID, e.Holder, until.UnixMilli(), now.UnixMilli()).Scan(&e.Epoch)
	if errors.Is(err, db.ErrNoRows) {
		return e, fmt.Errorf("store: take %s: its resource is held by another execution: %w", e.ID, ops.ErrConflict)
	}
	if err != nil {
		return e, fmt.Errorf("store: take %s: %w", e.ID, err)
	}
	n, err := tx.Exec(ctx, `INSERT INTO execution (`+executionColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, '', '', '', $8, 0)
		ON CONFLICT (id) DO UPDATE SET holder = excluded.holder, epoch = excluded.epoch, lease = excluded.lease
		WHERE execution.phase <> $9`,
		e.ID, e.ChangeID, e.RunID, string(ops.ExecutionPlanning), e.Lease, e.Holder, e.Epoch, now.UnixMilli(), string(ops.ExecutionEnded))
	if err != nil {
		return e, fmt.Errorf("store: begin %s: %w", e.ID, err)
	}
	if n == 0 {
		return e, fmt.Errorf("store: %s has ended: %w", e.ID, ops.ErrConflict)
	}
	return execution(ctx, tx, e.ID)
}

// RenewExecution holds e's lease until the given time and keeps its output so
// far. ErrConflict means the lease was taken over: the caller may write
// nothing more about e.
func (s *Store) RenewExecution(ctx context.Context, tx db.Tx, e ops.Execution, until time.Time) error {
	n, err := tx.Exec(ctx, "UPDATE execution_lease SET until_at = $1 WHERE name = $2 AND execution = $3 AND holder = $4 AND epoch = $5",
		until.UnixMilli(), e.Lease, e.ID, e.Holder, e.Epoch)
	if err := owned(e, n, err); err != nil {
		return err
	}
	n, err = tx.Exec(ctx, "UPDATE execution SET output = $1 WHERE id = $2 AND holder = $3 AND epoch = $4", e.Output, e.ID, e.Holder, e.Epoch)
	return owned(e, n, err)
}

// ActExecution records, before the tool is called, that it is about to be
// called with exactly e.Plan. ErrConflict means that the lease was taken over
// or that e had begun to act already.
func (s *Store) ActExecution(ctx context.Context, tx db.Tx, e ops.Execution, until time.Time) error {
	if e.Plan == nil {
		return fmt.Errorf("store: %s cannot act without a plan: %w", e.ID, ops.ErrInternal)
	}
	plan, err := json.Marshal(e.Plan)
	if err != nil {
		return fmt.Errorf("store: plan of %s: %w", e.ID, err)
	}
	if err := s.RenewExecution(ctx, tx, e, until); err != nil {
		return err
	}
	n, err := tx.Exec(ctx, "UPDATE execution SET phase = $1, plan = $2 WHERE id = $3 AND holder = $4 AND epoch = $5 AND phase = $6",
		string(ops.ExecutionActing), string(plan), e.ID, e.Holder, e.Epoch, string(ops.ExecutionPlanning))
	return owned(e, n, err)
}

// EndExecution records the outcome of e, with its plan, output and error, and
// gives the lease back. ErrConflict means that somebody else has taken over or
// that it has ended; the caller then tells nothing.
func (s *Store) EndExecution(ctx context.Context, tx db.Tx, e ops.Execution) error {
	plan := []byte{}
	if e.Plan != nil {
		var err error
		if plan, err = json.Marshal(e.Plan); err != nil {
			return fmt.Errorf("store: plan of %s: %w", e.ID, err)
		}
	}
	n, err := tx.Exec(ctx, `UPDATE execution SET phase = $1, plan = $2, output = $3, error = $4, ended_at = $5
		WHERE id = $6 AND holder = $7 AND epoch = $8 AND phase <> $1`,
		string(ops.ExecutionEnded), string(plan), e.Output, e.Error, s.clock().UnixMilli(), e.ID, e.Holder, e.Epoch)
	if err := owned(e, n, err); err != nil {
		return err
	}
	return s.ReleaseExecution(ctx, tx, e)
}

// ReleaseExecution gives e's lease back without ending e. A lease somebody
// else has taken meanwhile stays theirs.
func (s *Store) ReleaseExecution(ctx context.Context, tx db.Tx, e ops.Execution) error {
	_, err := tx.Exec(ctx, "UPDATE execution_lease SET execution = '', holder = '', until_at = 0 WHERE name = $1 AND execution = $2 AND holder = $3 AND epoch = $4",
		e.Lease, e.ID, e.Holder, e.Epoch)
	if err != nil {
		return fmt.Errorf("store: release %s: %w", e.ID, err)
	}
	return nil
}

func owned(e ops.Execution, n int64, err error) error {
	if err != nil {
		return fmt.Errorf("store: write %s: %w", e.ID, err)
	}
	if n == 0 {
		return fmt.Errorf("store: %s was taken over: %w", e.ID, ops.ErrConflict)
	}
	return nil
}

// ExecutionMarks is one executor's durable memory of the effects it began,
// shared by all replicas.
type ExecutionMarks struct {
	store    *Store
	executor string
}

// ExecutionMarks returns the marks of the executor configured under this name.
func (s *Store) ExecutionMarks(executor string) *ExecutionMarks {
	return &ExecutionMarks{store: s, executor: executor}
}

// Mark records note under token unless something is recorded there. It returns
// what is recorded, and whether this call recorded it; it is durable before it
// returns.
func (m *ExecutionMarks) Mark(ctx context.Context, token, note string) (recorded string, fresh bool, err error) {
	err = m.store.db.Write(ctx, func(tx db.Tx) error {
		n, err := tx.Exec(ctx, "INSERT INTO execution_mark (executor, token, note, at) VALUES ($1, $2, $3, $4) ON CONFLICT (executor, token) DO NOTHING",
			m.executor, token, note, m.store.clock().UnixMilli())
		if err != nil {
			return err
		}
		fresh = n == 1
		return tx.QueryRow(ctx, "SELECT note FROM execution_mark WHERE executor = $1 AND token = $2", m.executor, token).Scan(&recorded)
	})
	if err != nil {
		return "", false, fmt.Errorf("store: mark %s of %s: %w", token, m.executor, err)
	}
	return recorded, fresh, nil
}

// Note replaces what is recorded under token, durably; ErrNotFound when Mark
// was never called for it.
func (m *ExecutionMarks) Note(ctx context.Context, token, note string) error {
	err := m.store.db.Write(ctx, func(tx db.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE execution_mark SET note = $1 WHERE executor = $2 AND token = $3", note, m.executor, token)
		if err == nil && n == 0 {
			err = ops.ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("store: note %s of %s: %w", token, m.executor, err)
	}
	return nil
}
