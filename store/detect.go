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

// TakeDetection makes holder the owner of a partition until a time and returns
// where it stands, under a new epoch. It is ops.ErrConflict while another
// holder's lease lasts, unless the caller knows that it is alone.
func (s *Store) TakeDetection(ctx context.Context, tx db.Tx, part int64, holder string, now, until time.Time, alone bool) (ops.DetectionPlace, error) {
	var p ops.DetectionPlace
	err := tx.QueryRow(ctx, `INSERT INTO detection (part, epoch, holder, expires_at, committed, replay_from) VALUES ($1, 1, $2, $3, 0, 0)
		ON CONFLICT (part) DO UPDATE SET epoch = detection.epoch + 1, holder = excluded.holder, expires_at = excluded.expires_at
		WHERE detection.holder = excluded.holder OR detection.expires_at <= $4 OR $5 = 1
		RETURNING epoch, committed, replay_from`, part, holder, millis(until), millis(now), bit(alone)).Scan(&p.Epoch, &p.Committed, &p.ReplayFrom)
	if errors.Is(err, db.ErrNoRows) {
		return p, fmt.Errorf("store: partition %d of the sample log is held by another replica: %w", part, ops.ErrConflict)
	}
	if err != nil {
		return p, fmt.Errorf("store: take partition %d of the sample log: %w", part, err)
	}
	return p, nil
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// KeepDetection extends the lease of an epoch, or returns ops.ErrConflict when
// it is over. A zero time ends the lease, so that another replica need not
// wait for it.
func (s *Store) KeepDetection(ctx context.Context, tx db.Tx, part, epoch int64, until time.Time) error {
	n, err := tx.Exec(ctx, "UPDATE detection SET expires_at = $3 WHERE part = $1 AND epoch = $2", part, epoch, millis(until))
	return fenced(n, err, part, epoch)
}

// MoveDetection moves the place of an epoch on from the committed offset from.
// It returns ops.ErrConflict, and the caller's transaction must not commit,
// when another epoch has begun or the place is not at from.
func (s *Store) MoveDetection(ctx context.Context, tx db.Tx, part, from int64, to ops.DetectionPlace) error {
	n, err := tx.Exec(ctx, "UPDATE detection SET committed = $4, replay_from = $5 WHERE part = $1 AND epoch = $2 AND committed = $3",
		part, to.Epoch, from, to.Committed, to.ReplayFrom)
	return fenced(n, err, part, to.Epoch)
}

func fenced(n int64, err error, part, epoch int64) error {
	if err != nil {
		return fmt.Errorf("store: move partition %d of the sample log: %w", part, err)
	}
	if n == 0 {
		return fmt.Errorf("store: partition %d of the sample log is no longer held under epoch %d: %w", part, epoch, ops.ErrConflict)
	}
	return nil
}

// Detection returns where a partition stands; all zero before its first owner.
func (s *Store) Detection(ctx context.Context, part int64) (ops.DetectionPlace, error) {
	var p ops.DetectionPlace
	err := s.db.Read().QueryRow(ctx, "SELECT epoch, committed, replay_from FROM detection WHERE part = $1", part).Scan(&p.Epoch, &p.Committed, &p.ReplayFrom)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return p, fmt.Errorf("store: read partition %d of the sample log: %w", part, err)
	}
	return p, nil
}

// SaveDetectionNotes keeps notes; one that is known stays as it is.
func (s *Store) SaveDetectionNotes(ctx context.Context, tx db.Tx, notes []ops.DetectionNote) error {
	rows := make([][]any, 0, len(notes))
	for _, n := range notes {
		rows = append(rows, []any{n.Offset, n.Until, n.Body})
	}
	if err := db.InsertMany(ctx, tx, "INSERT INTO detection_note (pos, until, body)", "ON CONFLICT DO NOTHING", rows); err != nil {
		return fmt.Errorf("store: save notes of the sample log: %w", err)
	}
	return nil
}

// DetectionNotes returns the notes up to an offset, in order.
func (s *Store) DetectionNotes(ctx context.Context, upTo int64) ([]ops.DetectionNote, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT pos, until, body FROM detection_note WHERE pos <= $1 ORDER BY pos", upTo)
	notes, err := db.Collect(rows, err, func(r db.Row) (ops.DetectionNote, error) {
		var n ops.DetectionNote
		return n, r.Scan(&n.Offset, &n.Until, &n.Body)
	})
	if err != nil {
		return nil, fmt.Errorf("store: read notes of the sample log: %w", err)
	}
	return notes, nil
}

// DropDetectionNotes forgets the notes that no replay after an offset needs:
// those at or before it that are over by an instant, and of those that replace
// each other all but the last.
func (s *Store) DropDetectionNotes(ctx context.Context, tx db.Tx, upTo int64, over time.Time) error {
	_, err := tx.Exec(ctx, `DELETE FROM detection_note WHERE pos <= $1 AND ((until > 0 AND until < $2)
		OR (until = 0 AND pos < (SELECT MAX(pos) FROM detection_note WHERE until = 0 AND pos <= $1)))`, upTo, millis(over))
	if err != nil {
		return fmt.Errorf("store: forget notes of the sample log: %w", err)
	}
	return nil
}

// SaveWatched writes what is known of watched entities. The first offset
// and the tier of one that is known stay.
func (s *Store) SaveWatched(ctx context.Context, tx db.Tx, watched []ops.Watched) error {
	rows := make([][]any, 0, len(watched))
	for _, w := range watched {
		rows = append(rows, []any{w.ID, w.Group, w.Entity, w.Detector, w.Tier, w.First, int64(w.Learned), int64(w.Needed), millis(w.SeenAt)})
	}
	err := db.InsertMany(ctx, tx, "INSERT INTO watched (id, watchers, entity, detector, tier, first_pos, learned, needed, seen_at)",
		`ON CONFLICT (id) DO UPDATE SET detector = excluded.detector, learned = excluded.learned, needed = excluded.needed, seen_at = excluded.seen_at`, rows)
	if err != nil {
		return fmt.Errorf("store: save watched entities: %w", err)
	}
	return nil
}

// ForgetWatched removes entities that are no longer watched. Their anomalies
// and readings stay for their time.
func (s *Store) ForgetWatched(ctx context.Context, tx db.Tx, ids []string) error {
	for _, id := range ids {
		if _, err := tx.Exec(ctx, "DELETE FROM watched WHERE id = $1", id); err != nil {
			return fmt.Errorf("store: forget the watched entity %s: %w", id, err)
		}
	}
	return nil
}

// Watched returns every watched entity by group and entity.
func (s *Store) Watched(ctx context.Context) ([]ops.Watched, error) {
	rows, err := s.db.Read().Query(ctx, `SELECT id, watchers, entity, detector, tier, first_pos, learned, needed, seen_at,
		COALESCE((SELECT MIN(a.id) FROM anomaly a WHERE a.series = watched.id AND a.is_open = 1), '') FROM watched ORDER BY watchers, entity`)
	watched, err := db.Collect(rows, err, func(r db.Row) (ops.Watched, error) {
		var w ops.Watched
		var learned, needed, seen int64
		err := r.Scan(&w.ID, &w.Group, &w.Entity, &w.Detector, &w.Tier, &w.First, &learned, &needed, &seen, &w.Anomaly)
		w.Learned, w.Needed, w.SeenAt = int(learned), int(needed), fromMillis(seen)
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("store: read watched entities: %w", err)
	}
	return watched, nil
}

// SaveAnomalies writes anomalies over what is known of them.
func (s *Store) SaveAnomalies(ctx context.Context, tx db.Tx, anomalies []ops.Anomaly) error {
	for i := range anomalies {
		a := &anomalies[i]
		body, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("store: encode anomaly %s: %w", a.ID, err)
		}
		_, err = tx.Exec(ctx, `INSERT INTO anomaly (id, series, is_open, from_at, to_at, body, watchers, entity, search) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9)
			ON CONFLICT (id) DO UPDATE SET is_open = excluded.is_open, to_at = excluded.to_at, body = excluded.body, search = excluded.search`,
			a.ID, a.Series, bit(a.Open), millis(a.From), millis(a.To), string(body), a.Group, a.Entity, searchOf(a))
		if err != nil {
			return fmt.Errorf("store: save anomaly %s: %w", a.ID, err)
		}
	}
	return nil
}

// OpenAnomalies returns every open anomaly by id.
func (s *Store) OpenAnomalies(ctx context.Context) ([]ops.Anomaly, error) {
	return s.anomalies(ctx, "WHERE is_open = 1 ORDER BY id")
}

// Anomalies returns at most limit anomalies that meet [from, to), newest
// first: of one series, or of all when it is empty.
func (s *Store) Anomalies(ctx context.Context, series string, from, to time.Time, limit int) ([]ops.Anomaly, error) {
	return s.anomalies(ctx, "WHERE ($1 = '' OR series = $1) AND from_at < $2 AND (to_at > $3 OR is_open = 1) ORDER BY from_at DESC, id LIMIT $4",
		series, millis(to), millis(from), int64(limit))
}

func (s *Store) anomalies(ctx context.Context, where string, args ...any) ([]ops.Anomaly, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT body FROM anomaly "+where, args...)
	anomalies, err := db.Collect(rows, err, func(r db.Row) (ops.Anomaly, error) {
		var a ops.Anomaly
		var body string
		if err := r.Scan(&body); err != nil {
			return a, err
		}
		return a, json.Unmarshal([]byte(body), &a)
	})
	if err != nil {
		return nil, fmt.Errorf("store: read anomalies: %w", err)
	}
	return anomalies, nil
}

// DropAnomalies deletes at most limit anomalies that ended before an instant.
func (s *Store) DropAnomalies(ctx context.Context, tx db.Tx, before time.Time, limit int) (int64, error) {
	return tx.Exec(ctx, `DELETE FROM anomaly WHERE id IN (SELECT id FROM anomaly WHERE from_at < $1 AND to_at < $1 AND is_open = 0 ORDER BY from_at LIMIT $2)`,
		millis(before), int64(limit))
}

// SaveReadings writes chunks over what is known of their hours.
func (s *Store) SaveReadings(ctx context.Context, tx db.Tx, chunks []ops.ReadingChunk) error {
	rows := make([][]any, 0, len(chunks))
	for _, c := range chunks {
		rows = append(rows, []any{c.Series, millis(c.Start), c.Body})
	}
	err := db.InsertMany(ctx, tx, "INSERT INTO reading_chunk (series, start, body)", "ON CONFLICT (series, start) DO UPDATE SET body = excluded.body", rows)
	if err != nil {
		return fmt.Errorf("store: save readings: %w", err)
	}
	return nil
}

// Readings returns the chunks of a series that start in [from, to), oldest first.
func (s *Store) Readings(ctx context.Context, series string, from, to time.Time) ([]ops.ReadingChunk, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT start, body FROM reading_chunk WHERE series = $1 AND start >= $2 AND start < $3 ORDER BY start", series, millis(from), millis(to))
	chunks, err := db.Collect(rows, err, func(r db.Row) (ops.ReadingChunk, error) {
		c := ops.ReadingChunk{Series: series}
		var start int64
		err := r.Scan(&start, &c.Body)
		c.Start = fromMillis(start)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("store: read readings of %s: %w", series, err)
	}
	return chunks, nil
}

// DropReadings deletes at most limit chunks that start before an instant.
func (s *Store) DropReadings(ctx context.Context, tx db.Tx, before time.Time, limit int) (int64, error) {
	return tx.Exec(ctx, "DELETE FROM reading_chunk WHERE (series, start) IN (SELECT series, start FROM reading_chunk WHERE start < $1 ORDER BY start LIMIT $2)",
		millis(before), int64(limit))
}

// SaveBootstrap writes a bootstrap over what is known of it.
func (s *Store) SaveBootstrap(ctx context.Context, tx db.Tx, b ops.Bootstrap) error {
	_, err := tx.Exec(ctx, `INSERT INTO bootstrap (id, watchers, source, replaces, covered, moved_at, samples, ended, last_pos)
		VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9) ON CONFLICT (id) DO UPDATE SET covered = excluded.covered, moved_at = excluded.moved_at,
		samples = excluded.samples, ended = excluded.ended, last_pos = excluded.last_pos`,
		b.ID, b.Group, b.Source, bit(b.Replace), millis(b.Covered), millis(b.MovedAt), b.Samples, bit(b.Ended), b.Offset)
	if err != nil {
		return fmt.Errorf("store: save the bootstrap of %s: %w", b.Group, err)
	}
	return nil
}

// Bootstrap returns a bootstrap by id, or ops.ErrNotFound.
func (s *Store) Bootstrap(ctx context.Context, id string) (ops.Bootstrap, error) {
	return s.bootstrap(ctx, "bootstrap "+id, "WHERE id = $1", id)
}

// LastBootstrap returns the newest bootstrap of a group from a source, or
// ops.ErrNotFound.
func (s *Store) LastBootstrap(ctx context.Context, group, source string) (ops.Bootstrap, error) {
	return s.bootstrap(ctx, "bootstrap of "+group, "WHERE watchers = $1 AND source = $2 ORDER BY moved_at DESC, id LIMIT 1", group, source)
}

func (s *Store) bootstrap(ctx context.Context, what, where string, args ...any) (ops.Bootstrap, error) {
	var b ops.Bootstrap
	var replaces, covered, moved, ended int64
	err := s.db.Read().QueryRow(ctx, "SELECT id, watchers, source, replaces, covered, moved_at, samples, ended, last_pos FROM bootstrap "+where, args...).
		Scan(&b.ID, &b.Group, &b.Source, &replaces, &covered, &moved, &b.Samples, &ended, &b.Offset)
	if errors.Is(err, db.ErrNoRows) {
		return b, fmt.Errorf("store: no %s: %w", what, ops.ErrNotFound)
	}
	if err != nil {
		return b, fmt.Errorf("store: read the %s: %w", what, err)
	}
	b.Replace, b.Ended, b.Covered, b.MovedAt = replaces == 1, ended == 1, fromMillis(covered), fromMillis(moved)
	return b, nil
}
