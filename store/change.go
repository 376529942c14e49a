package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

const changeColumns = "version, wake_at, body"

type changeRow struct {
	change ops.Change
	wake   time.Time
}

func scanChange(r db.Row) (changeRow, error) { return scanChangeAnd(r) }

// scanChangeAnd scans also the columns behind those of the change.
func scanChangeAnd(r db.Row, also ...any) (changeRow, error) {
	var version, wake int64
	var body string
	if err := r.Scan(append([]any{&version, &wake, &body}, also...)...); err != nil {
		return changeRow{}, err
	}
	var c ops.Change
	if err := json.Unmarshal([]byte(body), &c); err != nil {
		return changeRow{}, fmt.Errorf("store: read a change: %w: %w", err, ops.ErrInternal)
	}
	c.Version = version
	return changeRow{c, fromMillis(wake)}, nil
}

// findChange reads a change by id or by the number people use, CHG-42.
// whichChange returns the condition, on its one argument, that finds a change.
func whichChange(idOrKey string) (where string, arg any, err error) {
	if len(idOrKey) <= 4 || !strings.EqualFold(idOrKey[:4], "CHG-") {
		return "id = $1", idOrKey, nil
	}
	n, err := strconv.ParseInt(idOrKey[4:], 10, 64)
	if err != nil {
		return "", nil, fmt.Errorf("change %q is neither an id nor a key like CHG-42: %w", idOrKey, ops.ErrInvalid)
	}
	return "number = $1", n, nil
}

func findChange(ctx context.Context, r db.Reader, idOrKey string) (changeRow, error) {
	where, arg, err := whichChange(idOrKey)
	if err != nil {
		return changeRow{}, err
	}
	row, err := scanChange(r.QueryRow(ctx, "SELECT "+changeColumns+" FROM change WHERE "+where, arg))
	if errors.Is(err, db.ErrNoRows) {
		return row, fmt.Errorf("change %s: %w", idOrKey, ops.ErrNotFound)
	}
	return row, err
}

// Change returns the change with this id or key.
func (s *Store) Change(ctx context.Context, idOrKey string) (ops.Change, error) {
	row, err := findChange(ctx, s.db.Read(), idOrKey)
	return row.change, err
}

// Changes returns the changes the filter selects, newest first.
func (s *Store) Changes(ctx context.Context, f ops.ChangeFilter) ([]ops.Change, error) {
	query, args := "SELECT "+changeColumns+" FROM change WHERE 1 = 1", []any{}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	if len(f.States) > 0 {
		marks := make([]string, len(f.States))
		for i, state := range f.States {
			marks[i] = arg(string(state))
		}
		query += " AND state IN (" + strings.Join(marks, ", ") + ")"
	}
	if f.Incident != "" {
		query += " AND incident_id = " + arg(f.Incident)
	}
	if f.Resource != "" {
		query += " AND resource_id = " + arg(f.Resource)
	}
	if f.Text != "" {
		query += " AND text LIKE " + arg("%"+escapeLike(strings.ToLower(f.Text))+"%") + ` ESCAPE '\'`
	}
	if f.Before > 0 {
		query += " AND number < " + arg(f.Before)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	query += " ORDER BY number DESC LIMIT " + arg(int64(limit))
	rows, err := s.db.Read().Query(ctx, query, args...)
	found, err := db.Collect(rows, err, scanChange)
	if err != nil {
		return nil, fmt.Errorf("store: list changes: %w", err)
	}
	out := make([]ops.Change, len(found))
	for i, row := range found {
		out[i] = row.change
	}
	return out, nil
}

// ChangesOfIncident returns every change an incident asked for, newest first.
func (s *Store) ChangesOfIncident(ctx context.Context, incidentID string) ([]ops.Change, error) {
	return s.Changes(ctx, ops.ChangeFilter{Incident: incidentID, Limit: 1000})
}

func findPlan(ctx context.Context, r db.Reader, id string) (ops.Plan, error) {
	p, err := scanBody[ops.Plan](r.QueryRow(ctx, "SELECT body FROM plan WHERE id = $1", id))
	if errors.Is(err, db.ErrNoRows) {
		return p, fmt.Errorf("plan %s: %w", id, ops.ErrNotFound)
	}
	return p, err
}

// Plan returns the plan with this id.
func (s *Store) Plan(ctx context.Context, id string) (ops.Plan, error) {
	return findPlan(ctx, s.db.Read(), id)
}

// PlansOfChange returns every plan a change ever had, oldest first.
func (s *Store) PlansOfChange(ctx context.Context, changeID string) ([]ops.Plan, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT body FROM plan WHERE change_id = $1 ORDER BY revision", changeID)
	return db.Collect(rows, err, scanBody[ops.Plan])
}

// Run returns the run with this id.
func (s *Store) Run(ctx context.Context, id string) (ops.Run, error) {
	run, err := scanBody[ops.Run](s.db.Read().QueryRow(ctx, "SELECT body FROM run WHERE id = $1", id))
	if errors.Is(err, db.ErrNoRows) {
		return run, fmt.Errorf("run %s: %w", id, ops.ErrNotFound)
	}
	return run, err
}

// RunsOfChange returns every run a change ever had, oldest first.
func (s *Store) RunsOfChange(ctx context.Context, changeID string) ([]ops.Run, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT body FROM run WHERE change_id = $1 ORDER BY started_at, id", changeID)
	return db.Collect(rows, err, scanBody[ops.Run])
}

// LoadChange reads a change, its current plan (zero when it has none) and when
// it wants to be woken, inside a transaction.
func (s *Store) LoadChange(ctx context.Context, tx db.Tx, idOrKey string) (ops.Change, ops.Plan, time.Time, error) {
	where, arg, err := whichChange(idOrKey)
	if err != nil {
		return ops.Change{}, ops.Plan{}, time.Time{}, err
	}
	var newest string // which is the current one, unless a new one is awaited
	row, err := scanChangeAnd(tx.QueryRow(ctx, "SELECT "+changeColumns+", COALESCE((SELECT body FROM plan WHERE change_id = change.id ORDER BY revision DESC LIMIT 1), '') FROM change WHERE "+where, arg), &newest)
	if errors.Is(err, db.ErrNoRows) {
		err = fmt.Errorf("change %s: %w", idOrKey, ops.ErrNotFound)
	}
	if err != nil || row.change.PlanID == "" {
		return row.change, ops.Plan{}, row.wake, err
	}
	var p ops.Plan
	if err := json.Unmarshal([]byte(newest), &p); err != nil || p.ID != row.change.PlanID {
		p, err = findPlan(ctx, tx, row.change.PlanID)
		return row.change, p, row.wake, err
	}
	return row.change, p, row.wake, nil
}

// SaveChange writes a change with its plan, approvals and run. A change of
// version zero is new. It returns ops.ErrConflict when the stored version is
// not c.Version, when the plan has a run already, when another unfinished run
// holds the same lock, or when the runbook has a live change on the resource.
func (s *Store) SaveChange(ctx context.Context, tx db.Tx, c ops.Change, p ops.Plan, wake time.Time) error {
	was := c.Version
	c.Version++
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("store: change %s: %w: %w", c.Key(), err, ops.ErrInternal)
	}
	text := strings.ToLower(strings.Join([]string{c.Key(), c.Title, c.Resource, c.Runbook, c.Action}, "\n"))
	if c.Runbook != "" && !c.State.Terminal() {
		if err := none(ctx, tx, "the runbook has a live change on this resource",
			"SELECT COUNT(*) FROM change WHERE runbook = $1 AND resource_id = $2 AND id <> $3 AND state NOT IN ('closed', 'cancelled')", c.Runbook, c.ResourceID, c.ID); err != nil {
			return err
		}
	}
	var n int64
	if was == 0 {
		n, err = tx.Exec(ctx, `INSERT INTO change (id, number, state, runbook, resource_id, incident_id, text, created_at, closed_at, wake_at, version, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (id) DO NOTHING`,
			c.ID, c.Number, string(c.State), c.Runbook, c.ResourceID, c.IncidentID, text, millis(c.CreatedAt), millis(c.ClosedAt), millis(wake), c.Version, string(body))
	} else {
		n, err = tx.Exec(ctx, `UPDATE change SET state = $3, text = $4, closed_at = $5, wake_at = $6, version = $7, body = $8 WHERE id = $1 AND version = $2`,
			c.ID, was, string(c.State), text, millis(c.ClosedAt), millis(wake), c.Version, string(body))
	}
	if err != nil {
		return fmt.Errorf("store: save change %s: %w", c.Key(), err)
	}
	if n == 0 {
		return fmt.Errorf("store: change %s is no longer at version %d: %w", c.Key(), was, ops.ErrConflict)
	}
	if err := s.savePlan(ctx, tx, p); err != nil {
		return err
	}
	for i, a := range c.Approvals {
		b, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("store: approval of %s: %w: %w", c.Key(), err, ops.ErrInternal)
		}
		tx.Send(ctx, `INSERT INTO approval (change_id, position, principal, decision, digest, revision, at, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (change_id, position) DO UPDATE SET body = excluded.body`,
			c.ID, int64(i), a.Principal, string(a.Decision), a.Digest, int64(a.Revision), millis(a.At), string(b))
	}
	return s.saveRun(ctx, tx, c)
}

func (s *Store) savePlan(ctx context.Context, tx db.Tx, p ops.Plan) error {
	if p.ID == "" {
		return nil
	}
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("store: plan %s: %w: %w", p.ID, err, ops.ErrInternal)
	}
	tx.Send(ctx, "INSERT INTO plan (id, change_id, revision, digest, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING",
		p.ID, p.ChangeID, int64(p.Revision), p.Digest, string(body))
	return nil
}

func (s *Store) saveRun(ctx context.Context, tx db.Tx, c ops.Change) error {
	if c.Run == nil {
		return nil
	}
	r := *c.Run
	var ofPlan, ofLock int64
	err := tx.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM run WHERE plan_id = $1 AND id <> $3),
		(SELECT COUNT(*) FROM run WHERE lock = $2 AND id <> $3 AND state NOT IN ('succeeded', 'failed', 'rolled_back'))`,
		r.PlanID, c.Lock(), r.ID).Scan(&ofPlan, &ofLock)
	switch {
	case err != nil:
		return fmt.Errorf("store: other runs of the plan or the lock of %s: %w", c.Key(), err)
	case ofPlan > 0:
		return fmt.Errorf("store: the plan has a run already: %w", ops.ErrConflict)
	case ofLock > 0 && !r.State.Final():
		return fmt.Errorf("store: another run holds %s: %w", c.Lock(), ops.ErrConflict)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("store: run %s: %w: %w", r.ID, err, ops.ErrInternal)
	}
	automated := int64(0)
	if c.Automated() {
		automated = 1
	}
	tx.Send(ctx, `INSERT INTO run (id, change_id, plan_id, lock, resource_id, automated, state, started_at, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body`,
		r.ID, c.ID, r.PlanID, c.Lock(), c.ResourceID, automated, string(r.State), millis(r.StartedAt), string(body))
	return nil
}

// none returns ops.ErrConflict, saying why, when a count is not zero. The
// unique indexes hold the same rules for whatever does not come this way.
func none(ctx context.Context, tx db.Tx, why, query string, args ...any) error {
	var n int64
	if err := tx.QueryRow(ctx, query, args...).Scan(&n); err != nil {
		return fmt.Errorf("store: check that not %s: %w", why, err)
	}
	if n > 0 {
		return fmt.Errorf("store: %s: %w", why, ops.ErrConflict)
	}
	return nil
}

// RunbookHistory returns the key of the live change of a runbook on a
// resource, empty when there is none, and when the last one before ended.
func (s *Store) RunbookHistory(ctx context.Context, tx db.Tx, runbook, resourceID string) (live string, ended time.Time, err error) {
	var open, last int64
	err = tx.QueryRow(ctx, `SELECT COALESCE(MAX(CASE WHEN state NOT IN ('closed', 'cancelled') THEN number END), 0), COALESCE(MAX(closed_at), 0)
		FROM change WHERE runbook = $1 AND resource_id = $2`, runbook, resourceID).Scan(&open, &last)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("store: changes of runbook %s: %w", runbook, err)
	}
	if open > 0 {
		live = ops.Change{Number: open}.Key()
	}
	return live, fromMillis(last), nil
}

// LockHolder returns the key of the change, other than this one, whose
// unfinished run holds a lock; empty when nobody does.
func (s *Store) LockHolder(ctx context.Context, tx db.Tx, lock, exceptChange string) (string, error) {
	var number int64
	err := tx.QueryRow(ctx, `SELECT c.number FROM run r JOIN change c ON c.id = r.change_id
		WHERE r.lock = $1 AND r.change_id <> $2 AND r.state NOT IN ('succeeded', 'failed', 'rolled_back') LIMIT 1`, lock, exceptChange).Scan(&number)
	if errors.Is(err, db.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("store: holder of %s: %w", lock, err)
	}
	return ops.Change{Number: number}.Key(), nil
}

// RunningResources returns the ids of the resources, one for each, on which
// other changes have an unfinished run; empty for a run without a resource.
func (s *Store) RunningResources(ctx context.Context, tx db.Tx, exceptChange string) ([]string, error) {
	rows, err := tx.Query(ctx, "SELECT resource_id FROM run WHERE change_id <> $1 AND state NOT IN ('succeeded', 'failed', 'rolled_back') ORDER BY id", exceptChange)
	ids, err := db.Collect(rows, err, func(r db.Row) (id string, err error) { return id, r.Scan(&id) })
	if err != nil {
		return nil, fmt.Errorf("store: running changes: %w", err)
	}
	return ids, nil
}

// maxMarks bounds how many values one statement asks for.
const maxMarks = 500

// UnderWay returns the other changes of these resources that are scheduled or
// run, oldest first in each five hundred resources.
func (s *Store) UnderWay(ctx context.Context, tx db.Tx, resourceIDs []string, exceptChange string) ([]ops.Change, error) {
	var out []ops.Change
	for part := range slices.Chunk(resourceIDs, maxMarks) {
		marks, args := make([]string, len(part)), []any{exceptChange}
		for i, id := range part {
			args = append(args, id)
			marks[i] = fmt.Sprintf("$%d", len(args))
		}
		rows, err := tx.Query(ctx, "SELECT "+changeColumns+" FROM change WHERE id <> $1 AND state IN ('scheduled', 'implement') AND resource_id IN ("+strings.Join(marks, ", ")+") ORDER BY number", args...)
		found, err := db.Collect(rows, err, scanChange)
		if err != nil {
			return nil, fmt.Errorf("store: changes under way: %w", err)
		}
		for _, row := range found {
			out = append(out, row.change)
		}
	}
	return out, nil
}

// AutomatedStarts returns when the newest runs of automated changes started, all
// after since and at most limit, oldest first, and on which resource each.
func (s *Store) AutomatedStarts(ctx context.Context, tx db.Tx, since time.Time, limit int) (at []time.Time, resources []string, err error) {
	rows, err := tx.Query(ctx, "SELECT started_at, resource_id FROM run WHERE automated = 1 AND started_at > $1 ORDER BY started_at DESC LIMIT $2", millis(since), limit)
	_, err = db.Collect(rows, err, func(r db.Row) (struct{}, error) {
		var ms int64
		var resource string
		err := r.Scan(&ms, &resource)
		at, resources = append(at, fromMillis(ms)), append(resources, resource)
		return struct{}{}, err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("store: automated runs: %w", err)
	}
	slices.Reverse(at)
	slices.Reverse(resources)
	return at, resources, nil
}

// WakeScheduled makes every change that waits in scheduled due at now, and
// returns their ids.
func (s *Store) WakeScheduled(ctx context.Context, tx db.Tx, now time.Time) ([]string, error) {
	rows, err := tx.Query(ctx, "UPDATE change SET wake_at = $1 WHERE state = 'scheduled' RETURNING id", millis(now))
	ids, err := db.Collect(rows, err, func(r db.Row) (string, error) {
		var id string
		err := r.Scan(&id)
		return id, err
	})
	if err != nil {
		return nil, fmt.Errorf("store: wake the scheduled changes: %w", err)
	}
	return ids, nil
}

// StandInLine notes whether a change waits until another one ends.
func (s *Store) StandInLine(ctx context.Context, tx db.Tx, changeID string, stands bool) {
	in := int64(0)
	if stands {
		in = 1
	}
	tx.Send(ctx, "UPDATE change SET in_line = $2 WHERE id = $1 AND in_line <> $2", changeID, in)
}

// WakeLine makes the scheduled changes that wait until another one ends due at
// now, those of the given resources and of the rest the oldest, at most so
// many, and returns their ids. Those that are due already are left out.
func (s *Store) WakeLine(ctx context.Context, tx db.Tx, now time.Time, resourceIDs []string, most int) ([]string, error) {
	const standing = "in_line = 1 AND state = 'scheduled' AND wake_at > $1"
	var out []string
	wake := func(which string, args ...any) error {
		rows, err := tx.Query(ctx, "UPDATE change SET wake_at = $1 WHERE "+standing+" AND "+which+" RETURNING id", append([]any{millis(now)}, args...)...)
		ids, err := db.Collect(rows, err, func(r db.Row) (id string, err error) { return id, r.Scan(&id) })
		if err != nil {
			return fmt.Errorf("store: wake what stands in line: %w", err)
		}
		out = append(out, ids...)
		return nil
	}
	for part := range slices.Chunk(resourceIDs, maxMarks) {
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		if err := wake("resource_id IN ("+strings.TrimPrefix(marks(len(part)+1), "$1,")+")", args...); err != nil {
			return nil, err
		}
	}
	if most <= 0 {
		return out, nil
	}
	return out, wake("id IN (SELECT id FROM change WHERE "+standing+" ORDER BY number LIMIT $2)", int64(most))
}

// OverdueChanges returns the ids of live changes whose wake-up should have
// come before, with when, the longest overdue first, at most limit.
func (s *Store) OverdueChanges(ctx context.Context, before time.Time, limit int) (map[string]time.Time, error) {
	out := map[string]time.Time{}
	rows, err := s.db.Read().Query(ctx, "SELECT id, wake_at FROM change WHERE state NOT IN ('closed', 'cancelled') AND wake_at < $1 ORDER BY wake_at LIMIT $2", millis(before), int64(limit))
	_, err = db.Collect(rows, err, func(r db.Row) (struct{}, error) {
		var id string
		var wake int64
		err := r.Scan(&id, &wake)
		out[id] = fromMillis(wake)
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("store: overdue changes: %w", err)
	}
	return out, nil
}

// executionSwitch is the name of the setting that stops all execution.
const executionSwitch = "execution_stopped"

// ExecutionStopped returns why all execution is stopped, and whether it is. A
// tool is not called while it is.
func (s *Store) ExecutionStopped(ctx context.Context) (reason string, stopped bool, err error) {
	return readSwitch(ctx, s.db.Read())
}

// ExecutionStoppedIn is ExecutionStopped inside a transaction.
func (s *Store) ExecutionStoppedIn(ctx context.Context, tx db.Tx) (reason string, stopped bool, err error) {
	return readSwitch(ctx, tx)
}

func readSwitch(ctx context.Context, r db.Reader) (string, bool, error) {
	var reason string
	err := r.QueryRow(ctx, "SELECT value FROM setting WHERE name = $1", executionSwitch).Scan(&reason)
	if errors.Is(err, db.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("store: read the execution switch: %w", err)
	}
	return reason, true, nil
}

// SetExecutionStopped stops all execution for a reason, or, with stopped
// false, lets it go on.
func (s *Store) SetExecutionStopped(ctx context.Context, tx db.Tx, reason string, stopped bool) error {
	var err error
	if stopped {
		_, err = tx.Exec(ctx, "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", executionSwitch, reason)
	} else {
		_, err = tx.Exec(ctx, "DELETE FROM setting WHERE name = $1", executionSwitch)
	}
	if err != nil {
		return fmt.Errorf("store: set the execution switch: %w", err)
	}
	return nil
}
