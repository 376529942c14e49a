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

// CorrelateCursor names the follower whose distance from the newest signal is
// the depth of the queue behind the front door.
const CorrelateCursor = "correlate"

// Sealer encrypts what is kept and opens it again. Both are safe for
// concurrent use; Open fails on bytes that were not sealed with its key.
type Sealer interface {
	Seal(plain []byte) []byte
	Open(sealed []byte) ([]byte, error)
}

// SealSignalsWith encrypts the bodies of signals appended from now on. Call it
// before the store is shared. Rows written without a sealer stay readable.
func (s *Store) SealSignalsWith(k Sealer) { s.seal = k }

// EncodeSignals renders and seals a message the way the log keeps it: the
// signals, and apart from them the raw payload as it came, which must be JSON.
// It does no I/O, so that the dear part of an append happens outside the
// transaction and on the caller's processor. Without a sealer, raw is m.Raw
// itself.
func (s *Store) EncodeSignals(m ops.Message) (body, raw []byte, err error) {
	raw = m.Raw
	m.Raw = nil
	body, err = json.Marshal(m)
	if err != nil {
		return nil, nil, fmt.Errorf("store: encode a message of %s: %w", m.Integration, err)
	}
	if s.seal != nil {
		body, raw = s.seal.Seal(body), s.seal.Seal(raw)
	}
	return body, raw, nil
}

const insertSignal = `INSERT INTO signal (integration, source, dedupe, recorded_at, sealed, body, raw, advice) VALUES ($1,$2,$3,$4,$5,$6,$7,$8)
	ON CONFLICT DO NOTHING`

// insert returns the number of the new row, zero for a repeat.
func (s *Store) insert(ctx context.Context, tx db.Tx, m ops.Message, body, raw []byte) (int64, error) {
	sealed := int64(0)
	if s.seal != nil {
		sealed = 1
	}
	at := s.clock().UnixMilli()
	seq, err := db.InsertNumbered(ctx, tx, insertSignal, "seq", m.Integration, m.Source, m.Dedupe, at, sealed, body, raw, advice(m))
	if err != nil {
		return 0, fmt.Errorf("store: append a message of %s: %w", m.Integration, err)
	}
	if seq == 0 {
		return 0, nil
	}
	m.Seq = seq
	m.RecordedAt = fromMillis(at)
	tx.AfterCommit(func() { s.recent.add(m) })
	return m.Seq, nil
}

// AppendEncoded appends a message that EncodeSignals rendered. It reports
// false when the log holds a message of the same integration and the same
// non-empty dedupe key already: the same message twice changes nothing. It is
// one statement and reads nothing. The signals are handed to the follower of
// the log as they are: the caller changes nothing they point to from here on.
func (s *Store) AppendEncoded(ctx context.Context, tx db.Tx, m ops.Message, body, raw []byte) (bool, error) {
	seq, err := s.insert(ctx, tx, m, body, raw)
	return seq > 0, err
}

// AppendSignals encodes and appends a message and returns its place in the
// log, zero for a repeat; see AppendEncoded.
func (s *Store) AppendSignals(ctx context.Context, tx db.Tx, m ops.Message) (int64, error) {
	body, raw, err := s.EncodeSignals(m)
	if err != nil {
		return 0, err
	}
	return s.insert(ctx, tx, m, body, raw)
}

// SignalsAfter returns at most limit messages with a sequence number above
// after, oldest first, with Seq and RecordedAt set.
func (s *Store) SignalsAfter(ctx context.Context, after int64, limit int) ([]ops.Message, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT seq, recorded_at, sealed, body, raw FROM signal WHERE seq > $1 ORDER BY seq LIMIT $2", after, int64(limit))
	messages, err := db.Collect(rows, err, s.scanMessage)
	if err != nil {
		return nil, fmt.Errorf("store: read signals after %d: %w", after, err)
	}
	return messages, nil
}

func (s *Store) scanMessage(r db.Row) (ops.Message, error) {
	var m ops.Message
	var seq, at, sealed int64
	var body, raw []byte
	if err := r.Scan(&seq, &at, &sealed, &body, &raw); err != nil {
		return m, err
	}
	if sealed != 0 {
		if s.seal == nil {
			return m, fmt.Errorf("signal %d is encrypted and no server.data_key is configured: %w", seq, ops.ErrStalled)
		}
		var errBody, errRaw error
		body, errBody = s.seal.Open(body)
		if raw != nil {
			raw, errRaw = s.seal.Open(raw)
		}
		if err := errors.Join(errBody, errRaw); err != nil {
			return m, fmt.Errorf("open signal %d: %w", seq, err)
		}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, fmt.Errorf("decode signal %d: %w", seq, err)
	}
	if len(raw) > 0 {
		m.Raw = raw
	}
	m.Seq, m.RecordedAt = seq, fromMillis(at)
	return m, nil
}

// SignalDepth returns how many messages wait to be correlated: the newest
// sequence number minus the cursor CorrelateCursor. Numbers that a duplicate
// left unused count too, so it never reports less than there is.
func (s *Store) SignalDepth(ctx context.Context) (int64, error) {
	var depth int64
	err := s.db.Read().QueryRow(ctx, `SELECT COALESCE((SELECT MAX(seq) FROM signal), 0)
		- COALESCE((SELECT position FROM cursor WHERE name = $1), 0)`, CorrelateCursor).Scan(&depth)
	if err != nil {
		return 0, fmt.Errorf("store: read the depth of the signal log: %w", err)
	}
	return max(depth, 0), nil
}

// TrimSignals deletes at most limit of the oldest messages that were recorded
// before a time and that correlation, and for recommendations the room change,
// has passed, and returns how many it deleted. The newest message stays whatever its age.
func (s *Store) TrimSignals(ctx context.Context, tx db.Tx, before time.Time, limit int) (int64, error) {
	n, err := tx.Exec(ctx, `DELETE FROM signal WHERE seq IN (
			SELECT seq FROM (SELECT seq, recorded_at FROM signal ORDER BY seq LIMIT $1) AS oldest
			WHERE recorded_at < $2)
		AND seq <= COALESCE((SELECT position FROM cursor WHERE name = $3), 0)
		AND (advice = 0 OR seq <= COALESCE((SELECT position FROM cursor WHERE name = $4), 0))
		AND seq < (SELECT MAX(seq) FROM signal)`, int64(limit), before.UnixMilli(), CorrelateCursor, AdviceCursor)
	if err != nil {
		return 0, fmt.Errorf("store: trim signals: %w", err)
	}
	return n, nil
}
