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

const notificationColumns = "id, number, channel, says, state, digest, digest_id, attempts, error, made_at, tried_at, done_at, resent_at, resent_by, version, body"

func scanNotification(r db.Row) (ops.Notification, error) {
	var n ops.Notification
	var state, body string
	var digest, attempts, made, tried, done, resent int64
	err := r.Scan(&n.ID, &n.Number, &n.Channel, &n.Says, &state, &digest, &n.DigestID, &attempts, &n.Error, &made, &tried, &done, &resent, &n.ResentBy, &n.Version, &body)
	if err != nil {
		return n, err
	}
	n.State, n.Digest, n.Attempts = ops.NotificationState(state), digest == 1, int(attempts)
	n.MadeAt, n.TriedAt, n.DoneAt, n.ResentAt = fromMillis(made), fromMillis(tried), fromMillis(done), fromMillis(resent)
	if err := json.Unmarshal([]byte(body), &n.Notice); err != nil {
		return n, fmt.Errorf("store: read notification %s: %w: %w", n.ID, err, ops.ErrInternal)
	}
	return n, nil
}

func findNotification(ctx context.Context, r db.Reader, id string) (ops.Notification, error) {
	n, err := scanNotification(r.QueryRow(ctx, "SELECT "+notificationColumns+" FROM notification WHERE id = $1", id))
	if errors.Is(err, db.ErrNoRows) {
		return n, fmt.Errorf("notification %s: %w", id, ops.ErrNotFound)
	}
	return n, err
}

// Notification returns a notification, or ops.ErrNotFound.
func (s *Store) Notification(ctx context.Context, id string) (ops.Notification, error) {
	return findNotification(ctx, s.db.Read(), id)
}

// NotificationIn is Notification inside a transaction.
func (s *Store) NotificationIn(ctx context.Context, tx db.Tx, id string) (ops.Notification, error) {
	return findNotification(ctx, tx, id)
}

// AddNotification adds a notification and reports whether it was added: not
// when its channel was told of the same fact or the same thing before.
func (s *Store) AddNotification(ctx context.Context, tx db.Tx, n ops.Notification) (bool, error) {
	body, err := json.Marshal(n.Notice)
	if err != nil {
		return false, fmt.Errorf("store: notification %s: %w: %w", n.ID, err, ops.ErrInternal)
	}
	fact := n.Notice.Fact
	if n.Digest {
		fact = n.ID
	}
	if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM notification WHERE channel = $1 AND (fact_id = $2 OR says = $3)", n.Channel, fact, n.Says).Scan(&n.Version); err != nil {
		return false, fmt.Errorf("store: look for notification of %s: %w", fact, err)
	}
	if n.Version > 0 {
		return false, nil
	}
	number, err := s.NextNumber(ctx, tx, "notification")
	if err != nil {
		return false, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO notification (id, number, channel, fact_id, says, state, subject, digest, digest_id, attempts, error, made_at, tried_at, done_at, version, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', 0, '', $9, 0, 0, 1, $10)`,
		n.ID, number, n.Channel, fact, n.Says, string(n.State), n.Notice.Subject, flag(n.Digest), millis(n.MadeAt), string(body))
	if err != nil {
		return false, fmt.Errorf("store: add notification %s: %w", n.ID, err)
	}
	return true, nil
}

// SaveNotification writes a notification over its version, or returns
// ops.ErrConflict when it has another one.
func (s *Store) SaveNotification(ctx context.Context, tx db.Tx, n ops.Notification) error {
	body, err := json.Marshal(n.Notice)
	if err != nil {
		return fmt.Errorf("store: notification %s: %w: %w", n.ID, err, ops.ErrInternal)
	}
	rows, err := tx.Exec(ctx, `UPDATE notification SET state = $2, digest_id = $3, attempts = $4, error = $5, tried_at = $6, done_at = $7, body = $8, resent_at = $10, resent_by = $11, version = version + 1
		WHERE id = $1 AND version = $9`,
		n.ID, string(n.State), n.DigestID, int64(n.Attempts), n.Error, millis(n.TriedAt), millis(n.DoneAt), string(body), n.Version, millis(n.ResentAt), n.ResentBy)
	if err != nil {
		return fmt.Errorf("store: save notification %s: %w", n.ID, err)
	}
	if rows == 0 {
		return fmt.Errorf("store: notification %s is no longer at version %d: %w", n.ID, n.Version, ops.ErrConflict)
	}
	return nil
}

// NotificationTries returns when a channel was handed notifications after a
// time, oldest first, each by its last attempt.
func (s *Store) NotificationTries(ctx context.Context, from db.Reader, channel string, after time.Time) ([]time.Time, error) {
	rows, err := from.Query(ctx, "SELECT tried_at FROM notification WHERE channel = $1 AND tried_at > $2 ORDER BY tried_at", channel, millis(after))
	out, err := db.Collect(rows, err, func(r db.Row) (time.Time, error) {
		var at int64
		err := r.Scan(&at)
		return fromMillis(at), err
	})
	if err != nil {
		return nil, fmt.Errorf("store: tries of channel %s: %w", channel, err)
	}
	return out, nil
}

// WaitingDigest returns the digest of a channel that is not yet sent, or
// ops.ErrNotFound.
func (s *Store) WaitingDigest(ctx context.Context, from db.Reader, channel string) (ops.Notification, error) {
	n, err := scanNotification(from.QueryRow(ctx, "SELECT "+notificationColumns+" FROM notification WHERE channel = $1 AND digest = 1 AND state IN ('waiting', 'sending')", channel))
	if errors.Is(err, db.ErrNoRows) {
		return n, fmt.Errorf("digest of channel %s: %w", channel, ops.ErrNotFound)
	}
	return n, err
}

// EarlierNotification reports whether something about a subject is on its way
// to a channel that was made before the notification with this number.
func (s *Store) EarlierNotification(ctx context.Context, tx db.Tx, channel, subject string, number int64) (bool, error) {
	var n int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM notification WHERE channel = $1 AND subject = $2 AND number < $3 AND digest = 0 AND state IN ('waiting', 'sending')", channel, subject, number).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("store: earlier notifications of channel %s: %w", channel, err)
	}
	return n > 0, nil
}

// HoldsNotifications reports whether a channel holds something back that is in
// no digest yet.
func (s *Store) HoldsNotifications(ctx context.Context, tx db.Tx, channel string) (bool, error) {
	var n int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM notification WHERE channel = $1 AND state IN ('held', 'unsure')", channel).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("store: what channel %s holds back: %w", channel, err)
	}
	return n > 0, nil
}

// ListInDigest marks everything a channel held back as listed in a digest. It
// returns the oldest of it, at most limit, as it was, and how many there are.
func (s *Store) ListInDigest(ctx context.Context, tx db.Tx, channel, digestID string, limit int) ([]ops.Notification, int, error) {
	rows, err := tx.Query(ctx, "SELECT "+notificationColumns+" FROM notification WHERE channel = $1 AND state IN ('held', 'unsure') ORDER BY number LIMIT $2", channel, int64(limit))
	held, err := db.Collect(rows, err, scanNotification)
	if err != nil {
		return nil, 0, fmt.Errorf("store: what channel %s holds back: %w", channel, err)
	}
	n, err := tx.Exec(ctx, "UPDATE notification SET state = 'listed', digest_id = $2, done_at = $3, version = version + 1 WHERE channel = $1 AND state IN ('held', 'unsure')",
		channel, digestID, s.clock().UnixMilli())
	if err != nil {
		return nil, 0, fmt.Errorf("store: list in digest %s: %w", digestID, err)
	}
	return held, int(n), nil
}

// Notifications returns the notifications the filter selects, newest first.
func (s *Store) Notifications(ctx context.Context, f ops.NotificationFilter) ([]ops.Notification, error) {
	query, args := "SELECT "+notificationColumns+" FROM notification WHERE 1 = 1", []any{}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	if f.Channel != "" {
		query += " AND channel = " + arg(f.Channel)
	}
	if f.Digest != "" {
		query += " AND digest_id = " + arg(f.Digest)
	}
	if f.Before > 0 {
		query += " AND number < " + arg(f.Before)
	}
	if len(f.States) > 0 {
		marks := make([]string, len(f.States))
		for i, state := range f.States {
			marks[i] = arg(string(state))
		}
		query += " AND state IN (" + strings.Join(marks, ", ") + ")"
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	rows, err := s.db.Read().Query(ctx, query+" ORDER BY number DESC LIMIT "+arg(int64(limit)), args...)
	out, err := db.Collect(rows, err, scanNotification)
	if err != nil {
		return nil, fmt.Errorf("store: notifications: %w", err)
	}
	return out, nil
}

// NotificationCounts returns how many notifications of each channel are in
// each state that is not the end.
func (s *Store) NotificationCounts(ctx context.Context) (map[string]map[ops.NotificationState]int, error) {
	return s.countNotifications(ctx, "state IN ('waiting', 'sending', 'held', 'unsure')")
}

// NotificationsEnded returns how many notifications of each channel came to
// an end after a time and are still in one of these states.
func (s *Store) NotificationsEnded(ctx context.Context, after time.Time, states ...ops.NotificationState) (map[string]map[ops.NotificationState]int, error) {
	marks, args := make([]string, len(states)), []any{millis(after)}
	for i, state := range states {
		args = append(args, string(state))
		marks[i] = fmt.Sprintf("$%d", len(args))
	}
	return s.countNotifications(ctx, "done_at > $1 AND state IN ("+strings.Join(marks, ", ")+")", args...)
}

func (s *Store) countNotifications(ctx context.Context, where string, args ...any) (map[string]map[ops.NotificationState]int, error) {
	type count struct {
		channel, state string
		n              int64
	}
	rows, err := s.db.Read().Query(ctx, "SELECT channel, state, COUNT(*) FROM notification WHERE "+where+" GROUP BY channel, state", args...)
	found, err := db.Collect(rows, err, func(r db.Row) (c count, err error) { return c, r.Scan(&c.channel, &c.state, &c.n) })
	if err != nil {
		return nil, fmt.Errorf("store: count notifications: %w", err)
	}
	out := map[string]map[ops.NotificationState]int{}
	for _, c := range found {
		if out[c.channel] == nil {
			out[c.channel] = map[ops.NotificationState]int{}
		}
		out[c.channel][ops.NotificationState(c.state)] = int(c.n)
	}
	return out, nil
}

// KeepChannels makes the channels with these names be known from now on,
// unless they are known already, and forgets all others. It returns since when
// each is known.
func (s *Store) KeepChannels(ctx context.Context, tx db.Tx, names []string, now time.Time) (map[string]time.Time, error) {
	out := map[string]time.Time{}
	rows, err := tx.Query(ctx, "SELECT name, since_at FROM notification_channel ORDER BY name")
	known, err := db.Collect(rows, err, func(r db.Row) (string, error) {
		var name string
		var at int64
		err := r.Scan(&name, &at)
		out[name] = fromMillis(at)
		return name, err
	})
	if err != nil {
		return nil, fmt.Errorf("store: channels: %w", err)
	}
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
		if _, ok := out[name]; ok {
			continue
		}
		out[name] = fromMillis(millis(now))
		if _, err := tx.Exec(ctx, "INSERT INTO notification_channel (name, since_at) VALUES ($1, $2)", name, millis(now)); err != nil {
			return nil, fmt.Errorf("store: keep channel %s: %w", name, err)
		}
	}
	for _, name := range known {
		if wanted[name] {
			continue
		}
		delete(out, name)
		if _, err := tx.Exec(ctx, "DELETE FROM notification_channel WHERE name = $1", name); err != nil {
			return nil, fmt.Errorf("store: forget channel %s: %w", name, err)
		}
	}
	return out, nil
}
