package series

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// DefaultLogBytes is how much of bodies a log keeps at most, unless told
// otherwise: 4 GiB.
const DefaultLogBytes = 4 << 30

// SQLLog is the Log in a database: a file of its own beside the core database
// on one machine, so that metrics and decisions do not share a writer; the
// core database itself on PostgreSQL.
type SQLLog struct {
	db       *db.DB
	maxBytes int64
	grown    chan struct{}
}

var _ Log = (*SQLLog)(nil)

// OpenLog opens the log in d, making its tables where they are missing. A
// maxBytes of 0 is DefaultLogBytes.
func OpenLog(ctx context.Context, d *db.DB, maxBytes int64) (*SQLLog, error) {
	if maxBytes <= 0 {
		maxBytes = DefaultLogBytes
	}
	l := &SQLLog{db: d, maxBytes: maxBytes, grown: make(chan struct{}, 1)}
	words := strings.NewReplacer("OFFSET_KEY", "INTEGER PRIMARY KEY", "BYTES", "BLOB")
	if d.Engine() == db.Postgres {
		words = strings.NewReplacer("OFFSET_KEY", "BIGINT PRIMARY KEY", "BYTES", "BYTEA")
	}
	err := d.Write(ctx, func(tx db.Tx) error {
		for _, statement := range logSchema {
			if _, err := tx.Exec(ctx, words.Replace(statement)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("series: open the sample log: %w", err)
	}
	return l, nil
}

// logSchema is run at every start. The head hands out offsets: a sequence
// would commit out of order on PostgreSQL and hide records from a reader.
var logSchema = []string{
	`CREATE TABLE IF NOT EXISTS sample_head (
		part    BIGINT PRIMARY KEY,
		last    BIGINT NOT NULL, -- offset of the newest record
		trimmed BIGINT NOT NULL, -- offset of the newest record let go
		bytes   BIGINT NOT NULL  -- of the bodies kept
	)`,
	`CREATE TABLE IF NOT EXISTS sample_record (
		off    OFFSET_KEY,
		kind   BIGINT NOT NULL,
		dedupe TEXT NOT NULL,
		size   BIGINT NOT NULL,
		body   BYTES NOT NULL
	)`,
	`CREATE UNIQUE INDEX IF NOT EXISTS sample_record_dedupe ON sample_record (dedupe) WHERE dedupe <> ''`,
	`INSERT INTO sample_head (part, last, trimmed, bytes) VALUES (0, 0, 0, 0) ON CONFLICT DO NOTHING`,
}

// Append implements Log.
func (l *SQLLog) Append(ctx context.Context, records ...Record) (last int64, err error) {
	keys := make([]string, len(records))
	for i := range records {
		keys[i] = dedupeKey(records[i].Dedupe)
	}
	err = l.db.Write(ctx, func(tx db.Tx) error {
		last, err = l.append(ctx, tx, records, keys)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("series: append to the sample log: %w", err)
	}
	select {
	case l.grown <- struct{}{}:
	default:
	}
	return last, nil
}

func (l *SQLLog) append(ctx context.Context, tx db.Tx, records []Record, keys []string) (int64, error) {
	// Touching the head first makes writers of several processes queue up, so
	// that what is looked up next cannot change before the commit.
	var last, bytes int64
	err := tx.QueryRow(ctx, "UPDATE sample_head SET bytes = bytes WHERE part = 0 RETURNING last, bytes").Scan(&last, &bytes)
	if err != nil {
		return 0, err
	}
	known, err := l.known(ctx, tx, keys)
	if err != nil {
		return 0, err
	}
	rows := make([][]any, 0, len(records))
	for i, r := range records {
		if keys[i] != "" {
			if known[keys[i]] {
				continue
			}
			known[keys[i]] = true
		}
		last++
		bytes += int64(len(r.Body))
		rows = append(rows, []any{last, int64(r.Kind), keys[i], int64(len(r.Body)), r.Body})
	}
	if len(rows) == 0 {
		return last, nil
	}
	if bytes > l.maxBytes {
		return 0, ErrFull
	}
	if err := db.InsertMany(ctx, tx, "INSERT INTO sample_record (off, kind, dedupe, size, body)", "", rows); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, "UPDATE sample_head SET last = $1, bytes = $2 WHERE part = 0", last, bytes)
	return last, err
}

// known returns which of the keys the log holds.
func (l *SQLLog) known(ctx context.Context, tx db.Tx, keys []string) (map[string]bool, error) {
	known := map[string]bool{}
	for _, k := range keys {
		if k == "" {
			continue
		}
		var one int64
		switch err := tx.QueryRow(ctx, "SELECT 1 FROM sample_record WHERE dedupe = $1 AND dedupe <> ''", k).Scan(&one); {
		case err == nil:
			known[k] = true
		case !errors.Is(err, db.ErrNoRows):
			return nil, err
		}
	}
	return known, nil
}

// Read implements Log.
func (l *SQLLog) Read(ctx context.Context, after int64, maxBytes int) ([]Record, error) {
	out, err := l.read(ctx, after, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("series: read the sample log: %w", err)
	}
	// What was trimmed while it was read shows as a gap at the front.
	if len(out) > 0 && out[0].Offset == after+1 {
		return out, nil
	}
	b, err := l.Bounds(ctx)
	switch {
	case err != nil:
		return nil, err
	case after < b.After:
		return nil, fmt.Errorf("series: record %d of the sample log is gone, it begins after %d: %w", after+1, b.After, ops.ErrNotFound)
	case len(out) > 0:
		return nil, fmt.Errorf("series: the sample log has a gap between %d and %d", after, out[0].Offset)
	}
	return nil, nil
}

// readLimit bounds the records of one read, however small they are.
const readLimit = 4096

func (l *SQLLog) read(ctx context.Context, after int64, maxBytes int) ([]Record, error) {
	rows, err := l.db.Read().Query(ctx, "SELECT off, kind, dedupe, body FROM sample_record WHERE off > $1 ORDER BY off LIMIT "+strconv.Itoa(readLimit), after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Record
	size := 0
	for size < maxBytes && rows.Next() {
		var r Record
		var kind int64
		if err := rows.Scan(&r.Offset, &kind, &r.Dedupe, &r.Body); err != nil {
			return nil, err
		}
		r.Kind = Kind(kind)
		size += len(r.Body)
		out = append(out, r)
	}
	return out, rows.Err()
}

// Bounds implements Log.
func (l *SQLLog) Bounds(ctx context.Context) (Bounds, error) {
	var b Bounds
	err := l.db.Read().QueryRow(ctx, "SELECT trimmed, last, bytes FROM sample_head WHERE part = 0").Scan(&b.After, &b.Last, &b.Bytes)
	if err != nil {
		return b, fmt.Errorf("series: read the head of the sample log: %w", err)
	}
	return b, nil
}

// Grown implements Log. Appends of other processes are not seen here: a
// reader looks again now and then.
func (l *SQLLog) Grown() <-chan struct{} { return l.grown }

// trimAtOnce bounds a trimming transaction, so that appends do not wait long.
const trimAtOnce = 256

// Trim implements Log.
func (l *SQLLog) Trim(ctx context.Context, upTo int64) error {
	for {
		b, err := l.Bounds(ctx)
		if err != nil {
			return err
		}
		from, to := b.After, min(upTo, b.Last, b.After+trimAtOnce)
		if to <= from {
			return nil
		}
		err = l.db.Write(ctx, func(tx db.Tx) error {
			return trim(ctx, tx, from, to)
		})
		if err != nil {
			return fmt.Errorf("series: trim the sample log: %w", err)
		}
	}
}

func trim(ctx context.Context, tx db.Tx, from, to int64) error {
	// The head first, as in append. It also keeps two that trim at once from
	// counting the same bytes twice.
	n, err := tx.Exec(ctx, `UPDATE sample_head SET trimmed = $1,
		bytes = bytes - (SELECT COALESCE(SUM(size), 0) FROM sample_record WHERE off > $2 AND off <= $1) WHERE part = 0 AND trimmed = $2`, to, from)
	if err != nil || n == 0 {
		return err
	}
	_, err = tx.Exec(ctx, "DELETE FROM sample_record WHERE off <= $1", to)
	return err
}

// maxKey bounds what goes into an index.
const maxKey = 200

func dedupeKey(id string) string {
	if len(id) <= maxKey {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256 " + hex.EncodeToString(sum[:])
}
