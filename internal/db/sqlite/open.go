// Package sqlite opens a SQLite file as the database of one process.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/fettleops/fettle/internal/db"
)

// readers is the size of SQLite's read-only pool; readers never block the writer in WAL mode.
const readers = 4

// Open opens or creates the database file at path: write-ahead log,
// every commit flushed to disk (synchronous=FULL), one writing connection and
// a read-only pool. It holds the lock file path.lock until Close or the end of
// the process, and returns ops.ErrConflict naming the holder when another
// process, or another DB of this one, has it.
func Open(ctx context.Context, path string) (d *db.DB, err error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	release, err := acquire(ctx, abs+".lock")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, release())
		}
	}()
	// The log file of SQLite takes the mode of the database: readable by us alone.
	f, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	dsn := func(extra ...string) string {
		v := url.Values{}
		for _, p := range append([]string{
			"busy_timeout(10000)", "foreign_keys(1)", "cache_size(-16000)", "temp_store(memory)",
		}, extra...) {
			v.Add("_pragma", p)
		}
		v.Set("_txlock", "immediate")
		return "file:" + (&url.URL{Path: abs}).EscapedPath() + "?" + v.Encode()
	}
	write := sql.OpenDB(&cachingConnector{dsn: dsn("journal_mode(WAL)", "synchronous(FULL)", "wal_autocheckpoint(4000)", "journal_size_limit(67108864)")})
	write.SetMaxOpenConns(1)
	write.SetMaxIdleConns(1)
	if err := write.PingContext(ctx); err != nil {
		_ = write.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	read := sql.OpenDB(&cachingConnector{dsn: dsn("query_only(1)")})
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	return db.OverSQLite(write, read, release), nil
}
