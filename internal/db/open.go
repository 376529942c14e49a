package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// readers is the size of SQLite's read-only pool; readers never block the writer in WAL mode.
const readers = 4

// OpenSQLite opens or creates the database file at path: write-ahead log,
// every commit flushed to disk (synchronous=FULL), one writing connection and
// a read-only pool. It holds the lock file path.lock until Close or the end of
// the process, and returns ops.ErrConflict naming the holder when another
// process, or another DB of this one, has it.
func OpenSQLite(ctx context.Context, path string) (db *DB, err error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	lock, err := acquire(abs + ".lock")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.release())
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
	d := &DB{engine: SQLite, lock: lock, write: write, read: read}
	d.start()
	return d, nil
}

// OpenPostgres opens the PostgreSQL database at url (a libpq URL or keyword
// string). The error never repeats the url, which may hold a password.
func OpenPostgres(ctx context.Context, url string) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("store.postgres is not a PostgreSQL URL like postgres://user@host:5432/fettle")
	}
	// A stopped node must not keep its row locks for long (engine.md, pitfall 4).
	cfg.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "10000"
	cfg.ConnConfig.RuntimeParams["application_name"] = "fettle"
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	cfg.ConnConfig.RuntimeParams["statement_timeout"] = "60000"
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	cfg.MaxConnIdleTime = 5 * time.Minute
	if cfg.MaxConns < 12 {
		cfg.MaxConns = 12
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach PostgreSQL at %s:%d: %w", cfg.ConnConfig.Host, cfg.ConnConfig.Port, err)
	}
	d := &DB{engine: Postgres, pool: pool}
	d.start()
	return d, nil
}

func (d *DB) start() {
	d.requests = make(chan *request, maxGroup)
	d.stop = make(chan struct{})
	d.done = make(chan struct{})
	go d.run()
}
