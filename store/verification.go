package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

const verificationColumns = "run_id, change_id, incident_id, applied_at, until_at, was, ended_at"

func scanVerification(r db.Row) (ops.Verification, error) {
	var v ops.Verification
	var was string
	var applied, until, ended int64
	err := r.Scan(&v.RunID, &v.ChangeID, &v.IncidentID, &applied, &until, &was, &ended)
	v.Was, v.AppliedAt, v.Until, v.EndedAt = ops.Severity(was), fromMillis(applied), fromMillis(until), fromMillis(ended)
	return v, err
}

// Verification returns the wait for a run's verdict; ErrNotFound when none was begun.
func (s *Store) Verification(ctx context.Context, runID string) (ops.Verification, error) {
	v, err := scanVerification(s.db.Read().QueryRow(ctx, "SELECT "+verificationColumns+" FROM verification WHERE run_id = $1", runID))
	switch {
	case errors.Is(err, db.ErrNoRows):
		return v, fmt.Errorf("store: verification of run %s: %w", runID, ops.ErrNotFound)
	case err != nil:
		return v, fmt.Errorf("store: read verification of run %s: %w", runID, err)
	}
	return v, nil
}

// BeginVerification begins the wait for a run's verdict. A second call for the
// same run changes nothing.
func (s *Store) BeginVerification(ctx context.Context, tx db.Tx, v ops.Verification) error {
	_, err := tx.Exec(ctx, "INSERT INTO verification ("+verificationColumns+") VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (run_id) DO NOTHING",
		v.RunID, v.ChangeID, v.IncidentID, millis(v.AppliedAt), millis(v.Until), string(v.Was))
	if err != nil {
		return fmt.Errorf("store: begin verification of run %s: %w", v.RunID, err)
	}
	return nil
}

// OpenVerifications returns the waits of an incident that have not ended, as
// the transaction sees them.
func (s *Store) OpenVerifications(ctx context.Context, tx db.Tx, incidentID string) ([]ops.Verification, error) {
	rows, err := tx.Query(ctx, "SELECT "+verificationColumns+" FROM verification WHERE incident_id = $1 AND ended_at = 0 ORDER BY run_id", incidentID)
	return db.Collect(rows, err, scanVerification)
}

// NoteVerification keeps the incident's severity of the first look; later
// looks change nothing.
func (s *Store) NoteVerification(ctx context.Context, tx db.Tx, runID string, was ops.Severity) error {
	if _, err := tx.Exec(ctx, "UPDATE verification SET was = $1 WHERE run_id = $2 AND was = ''", string(was), runID); err != nil {
		return fmt.Errorf("store: note verification of run %s: %w", runID, err)
	}
	return nil
}

// EndVerification ends the wait for a run's verdict. ErrConflict means that it
// had ended: the caller gives no second verdict.
func (s *Store) EndVerification(ctx context.Context, tx db.Tx, runID string) error {
	n, err := tx.Exec(ctx, "UPDATE verification SET ended_at = $1 WHERE run_id = $2 AND ended_at = 0", s.clock().UnixMilli(), runID)
	if err != nil {
		return fmt.Errorf("store: end verification of run %s: %w", runID, err)
	}
	if n == 0 {
		return fmt.Errorf("store: verification of run %s has ended: %w", runID, ops.ErrConflict)
	}
	return nil
}

// EndVerificationsOf ends every open wait of a change without a verdict.
func (s *Store) EndVerificationsOf(ctx context.Context, tx db.Tx, changeID string) error {
	if _, err := tx.Exec(ctx, "UPDATE verification SET ended_at = $1 WHERE change_id = $2 AND ended_at = 0", s.clock().UnixMilli(), changeID); err != nil {
		return fmt.Errorf("store: end verifications of change %s: %w", changeID, err)
	}
	return nil
}

// HealthLooks returns what the health checks of a run saw last, by name.
func (s *Store) HealthLooks(ctx context.Context, runID string) ([]ops.HealthLook, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT run_id, check_name, health, failures, said, at FROM verification_health WHERE run_id = $1 ORDER BY check_name", runID)
	return db.Collect(rows, err, func(r db.Row) (ops.HealthLook, error) {
		var h ops.HealthLook
		var failures, at int64
		err := r.Scan(&h.RunID, &h.Check, &h.Health, &failures, &h.Text, &at)
		h.Failures, h.At = int(failures), fromMillis(at)
		return h, err
	})
}

// NoteHealth keeps what a health check of a run saw, instead of what it saw before.
func (s *Store) NoteHealth(ctx context.Context, tx db.Tx, h ops.HealthLook) error {
	_, err := tx.Exec(ctx, `INSERT INTO verification_health (run_id, check_name, health, failures, said, at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (run_id, check_name) DO UPDATE SET health = excluded.health, failures = excluded.failures, said = excluded.said, at = excluded.at`,
		h.RunID, h.Check, h.Health, int64(h.Failures), h.Text, millis(h.At))
	if err != nil {
		return fmt.Errorf("store: note health check %s of run %s: %w", h.Check, h.RunID, err)
	}
	return nil
}
