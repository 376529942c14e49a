package db

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// OverSQLite returns the database behind the one connection that writes to a
// SQLite file and those that read it. Closing it closes both and then calls
// unlock, which must bear being called twice. Open a file with package sqlite,
// which alone links SQLite: it is larger than all that is ours.
func OverSQLite(write, read *sql.DB, unlock func() error) *DB {
	d := &DB{engine: SQLite, write: write, read: read, unlock: unlock}
	d.start()
	return d
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
