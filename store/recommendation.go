package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// AdviceCursor names the follower of recommendations and hints in the signal
// log.
const AdviceCursor = "recommend"

// advice is 1 for a message that the room change reads.
func advice(m ops.Message) int64 {
	for _, s := range m.Signals {
		if s.Advice() {
			return 1
		}
	}
	return 0
}

// FollowAdvice returns at most limit messages with recommendations or hints
// and a sequence number above after, oldest first, without the raw payloads.
func (s *Store) FollowAdvice(ctx context.Context, after int64, limit int) ([]ops.Message, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT seq, recorded_at, sealed, body, NULL FROM signal WHERE advice = 1 AND seq > $1 ORDER BY seq LIMIT $2", after, int64(limit))
	messages, err := db.Collect(rows, err, s.scanMessage)
	if err != nil {
		return nil, fmt.Errorf("store: follow advice after %d: %w", after, err)
	}
	return messages, nil
}

const recommendationColumns = "version, body"

func scanRecommendation(r db.Row) (ops.Recommendation, error) {
	var version int64
	var body string
	var out ops.Recommendation
	if err := r.Scan(&version, &body); err != nil {
		return out, err
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		return out, fmt.Errorf("store: read a recommendation: %w: %w", err, ops.ErrInternal)
	}
	out.Version = version
	return out, nil
}

func findRecommendation(ctx context.Context, r db.Reader, idOrKey string) (ops.Recommendation, error) {
	where, arg := "id = $1", any(idOrKey)
	if prefix, n, ok := ParseNumber(idOrKey); ok && prefix == "REC" {
		where, arg = "number = $1", n
	}
	out, err := scanRecommendation(r.QueryRow(ctx, "SELECT "+recommendationColumns+" FROM recommendation WHERE "+where, arg))
	if errors.Is(err, db.ErrNoRows) {
		return out, fmt.Errorf("recommendation %s: %w", idOrKey, ops.ErrNotFound)
	}
	return out, err
}

// Recommendation returns the recommendation with this id or key.
func (s *Store) Recommendation(ctx context.Context, idOrKey string) (ops.Recommendation, error) {
	return findRecommendation(ctx, s.db.Read(), idOrKey)
}

// RecommendationIn is Recommendation inside a transaction.
func (s *Store) RecommendationIn(ctx context.Context, tx db.Tx, idOrKey string) (ops.Recommendation, error) {
	return findRecommendation(ctx, tx, idOrKey)
}

// RecommendationsOf returns what is known of an identity: the one with a
// change, the one that waits, and the newest of those that have ended. What
// there is not is nil.
func (s *Store) RecommendationsOf(ctx context.Context, tx db.Tx, identity string) (placed, waiting, last *ops.Recommendation, err error) {
	rows, err := tx.Query(ctx, `SELECT `+recommendationColumns+` FROM recommendation WHERE identity = $1 AND state IN ('placed', 'new', 'unplaced')
		OR id = (SELECT id FROM recommendation WHERE identity = $1 AND state NOT IN ('placed', 'new', 'unplaced') ORDER BY number DESC LIMIT 1)`, identity)
	found, err := db.Collect(rows, err, scanRecommendation)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("store: recommendations of %s: %w", identity, err)
	}
	for i := range found {
		switch r := &found[i]; {
		case r.State == ops.RecommendationPlaced:
			placed = r
		case r.State.Live():
			waiting = r
		default:
			last = r
		}
	}
	return placed, waiting, last, nil
}

// RecommendationOfChange returns the recommendation a change carries, or
// ops.ErrNotFound.
func (s *Store) RecommendationOfChange(ctx context.Context, tx db.Tx, changeID string) (ops.Recommendation, error) {
	out, err := scanRecommendation(tx.QueryRow(ctx, "SELECT "+recommendationColumns+" FROM recommendation WHERE change_id = $1 ORDER BY number DESC LIMIT 1", changeID))
	if errors.Is(err, db.ErrNoRows) {
		return out, fmt.Errorf("recommendation of change %s: %w", changeID, ops.ErrNotFound)
	}
	return out, err
}

func place(integration, region, service, key string) string {
	return strings.Join([]string{integration, region, service, key}, "|")
}

// PlacedAt returns the placed recommendations a hint may mean.
func (s *Store) PlacedAt(ctx context.Context, tx db.Tx, h ops.Hint) ([]ops.Recommendation, error) {
	rows, err := tx.Query(ctx, "SELECT "+recommendationColumns+" FROM recommendation WHERE place = $1 AND state = 'placed' ORDER BY number",
		place(h.Integration, h.Region, h.Service, h.ResourceKey))
	found, err := db.Collect(rows, err, scanRecommendation)
	if err != nil {
		return nil, fmt.Errorf("store: recommendations at %s: %w", h.ResourceKey, err)
	}
	return found, nil
}

// SaveRecommendation writes a recommendation. One of version zero is new. It
// returns ops.ErrConflict when the stored version is not r.Version, or when its
// identity has another one in a state of which there is only one.
func (s *Store) SaveRecommendation(ctx context.Context, tx db.Tx, r ops.Recommendation) error {
	was := r.Version
	r.Version++
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("store: recommendation %s: %w: %w", r.Key(), err, ops.ErrInternal)
	}
	identity := r.Identity()
	if r.State.Live() {
		states := "'new', 'unplaced'"
		if r.State == ops.RecommendationPlaced {
			states = "'placed'"
		}
		if err := none(ctx, tx, "another recommendation of this identity is live",
			"SELECT COUNT(*) FROM recommendation WHERE identity = $1 AND id <> $2 AND state IN ("+states+")", identity, r.ID); err != nil {
			return err
		}
	}
	text := strings.ToLower(strings.Join([]string{r.Key(), r.Name, r.ResourceKey, r.Stack, r.Account, r.Region, r.Current.Type, r.Recommended.Type, r.Why, r.Change}, "\n"))
	sums := sumsOf(r)
	args := []any{
		r.ID, r.Number, identity, place(r.Integration, r.Region, r.Service, r.ResourceKey), string(r.State), r.Kind, r.Service, r.ResourceID, r.ChangeID, text,
		millis(r.DueAt), sums.currency, sums.open, sums.predicted, sums.realised, flag(sums.measured), flag(sums.regressed), flag(sums.succeeded), r.Version, string(body),
	}
	var n int64
	if was == 0 {
		n, err = tx.Exec(ctx, `INSERT INTO recommendation (id, number, identity, place, state, kind, service, resource_id, change_id, text, due_at, currency, open, predicted, realised, measured, regressed, succeeded, version, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) ON CONFLICT (id) DO NOTHING`, args...)
	} else {
		n, err = tx.Exec(ctx, `UPDATE recommendation SET identity = $3, place = $4, state = $5, kind = $6, service = $7, resource_id = $8, change_id = $9, text = $10, due_at = $11,
			currency = $12, open = $13, predicted = $14, realised = $15, measured = $16, regressed = $17, succeeded = $18, version = $19, body = $20
			WHERE id = $1 AND number = $2 AND version = $21`, append(args, was)...)
	}
	if err != nil {
		return fmt.Errorf("store: save recommendation %s: %w", r.Key(), err)
	}
	if n == 0 {
		return fmt.Errorf("store: recommendation %s is no longer at version %d: %w", r.Key(), was, ops.ErrConflict)
	}
	return nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

type sums struct {
	currency                       string
	open, predicted, realised      float64
	measured, regressed, succeeded bool
}

func sumsOf(r ops.Recommendation) sums {
	var out sums
	if r.Saving != nil {
		out.currency = r.Saving.Currency
		if perHour, ok := r.Saving.PerHour(); ok && r.State.Live() {
			out.open = perHour
		}
	}
	out.succeeded = r.State == ops.RecommendationDone && (r.Outcome == ops.Successful || r.Outcome == ops.SuccessfulWithIssues)
	if x := r.Realised; x != nil {
		out.regressed = x.Regressed != ""
		if x.Predicted != nil && x.Amount != nil {
			out.measured, out.predicted, out.realised = true, *x.Predicted, *x.Amount
		}
	}
	return out
}

// DueRecommendations returns the ids of recommendations that are to be looked
// at again, the longest due first, at most limit.
func (s *Store) DueRecommendations(ctx context.Context, now time.Time, limit int) ([]string, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT id FROM recommendation WHERE due_at > 0 AND due_at <= $1 ORDER BY due_at, number LIMIT $2", millis(now), int64(limit))
	ids, err := db.Collect(rows, err, func(r db.Row) (string, error) {
		var id string
		return id, r.Scan(&id)
	})
	if err != nil {
		return nil, fmt.Errorf("store: recommendations that are due: %w", err)
	}
	return ids, nil
}

// ReconsiderRecommendations makes every recommendation that waits without a
// change due at now: the rules have changed.
func (s *Store) ReconsiderRecommendations(ctx context.Context, tx db.Tx, now time.Time) error {
	if _, err := tx.Exec(ctx, "UPDATE recommendation SET due_at = $1 WHERE state = 'unplaced' AND change_id = '' AND due_at > $1", millis(now)); err != nil {
		return fmt.Errorf("store: reconsider the unplaced recommendations: %w", err)
	}
	return nil
}

// PostponeRecommendation says when a recommendation is looked at again; nothing
// else of it changes.
func (s *Store) PostponeRecommendation(ctx context.Context, tx db.Tx, id string, due time.Time) error {
	if _, err := tx.Exec(ctx, "UPDATE recommendation SET due_at = $2 WHERE id = $1", id, millis(due)); err != nil {
		return fmt.Errorf("store: postpone recommendation %s: %w", id, err)
	}
	return nil
}

// Recommendations returns the recommendations the filter selects, newest first.
func (s *Store) Recommendations(ctx context.Context, f ops.RecommendationFilter) ([]ops.Recommendation, error) {
	query, args := "SELECT "+recommendationColumns+" FROM recommendation WHERE 1 = 1", []any{}
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
	for _, c := range []struct{ column, value string }{
		{"service", f.Service}, {"kind", f.Kind}, {"resource_id", f.Resource}, {"change_id", f.Change},
	} {
		if c.value != "" {
			query += " AND " + c.column + " = " + arg(c.value)
		}
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
	found, err := db.Collect(rows, err, scanRecommendation)
	if err != nil {
		return nil, fmt.Errorf("store: list recommendations: %w", err)
	}
	return found, nil
}

// RecommendationTotals returns the sums over all recommendations, one line per
// kind and currency, in that order.
func (s *Store) RecommendationTotals(ctx context.Context) ([]ops.RecommendationTotals, error) {
	rows, err := s.db.Read().Query(ctx, `SELECT kind, currency, COUNT(*), SUM(CASE WHEN state IN ('new', 'placed', 'unplaced') THEN 1 ELSE 0 END),
		SUM(CASE WHEN state = 'placed' THEN 1 ELSE 0 END), SUM(CASE WHEN state = 'unplaced' THEN 1 ELSE 0 END), CAST(SUM(succeeded) AS BIGINT),
		SUM(open), SUM(predicted), SUM(realised), CAST(SUM(measured) AS BIGINT), CAST(SUM(regressed) AS BIGINT) FROM recommendation GROUP BY kind, currency ORDER BY kind, currency`)
	out, err := db.Collect(rows, err, func(r db.Row) (ops.RecommendationTotals, error) {
		var x ops.RecommendationTotals
		var n [7]int64
		err := r.Scan(&x.Kind, &x.Currency, &n[0], &n[1], &n[2], &n[3], &n[4], &x.Open, &x.Predicted, &x.Realised, &n[5], &n[6])
		x.Count, x.Live, x.Placed, x.Unplaced, x.Done, x.Measured, x.Regressed = int(n[0]), int(n[1]), int(n[2]), int(n[3]), int(n[4]), int(n[5]), int(n[6])
		if x.Predicted != 0 {
			ratio := x.Realised / x.Predicted
			x.Ratio = &ratio
		}
		return x, err
	})
	if err != nil {
		return nil, fmt.Errorf("store: sum recommendations: %w", err)
	}
	return out, nil
}

// ResourceIn is Resource inside a transaction.
func (s *Store) ResourceIn(ctx context.Context, tx db.Tx, idOrAlias string) (ops.Resource, error) {
	return s.resource(ctx, tx, idOrAlias)
}
