package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// writerLock is the PostgreSQL advisory lock every writing group takes, so
// that over all replicas the order of fact sequence numbers is the order of
// commits and a reader by "seq > last" can never miss a row.
const writerLock = 0x666574746c65 // "fettle"

// conn is one open write transaction on either engine.
type conn struct {
	sql *sql.Tx
	pgx pgx.Tx
}

func (d *DB) begin() (*conn, error) {
	ctx := context.Background()
	if d.engine == Postgres {
		tx, err := d.pool.Begin(ctx)
		if err != nil {
			return nil, fmt.Errorf("begin: %w", err)
		}
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(writerLock)); err != nil {
			_ = tx.Rollback(ctx)
			return nil, fmt.Errorf("take the writer lock: %w", err)
		}
		return &conn{pgx: tx}, nil
	}
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	return &conn{sql: tx}, nil
}

func (c *conn) exec(query string) error {
	var err error
	if c.pgx != nil {
		_, err = c.pgx.Exec(context.Background(), query)
	} else {
		_, err = c.sql.ExecContext(context.Background(), query)
	}
	return err
}

func (c *conn) commit() error {
	if c.pgx != nil {
		return c.pgx.Commit(context.Background())
	}
	return c.sql.Commit()
}

// rollback undoes what was not committed; after a commit it does nothing.
func (c *conn) rollback() {
	if c.pgx != nil {
		_ = c.pgx.Rollback(context.Background())
		return
	}
	_ = c.sql.Rollback()
}

// part is the Tx one caller sees. Cancelling the caller's context does not
// reach the statements: a cancelled query would break the transaction for the
// whole group, and every statement here is short.
type part struct {
	*conn
	*request
	broken error // the first statement that failed
}

var _ Tx = (*part)(nil)

func (p *part) SQL() *sql.Tx         { return p.sql }
func (p *part) PGX() pgx.Tx          { return p.pgx }
func (p *part) AfterCommit(f func()) { p.after = append(p.after, f) }

// note remembers a failed statement. PostgreSQL aborts the transaction at the
// first one; SQLite would carry on and commit half of what fn meant.
func (p *part) note(err error) error {
	if err != nil && p.broken == nil && !errors.Is(err, ErrNoRows) {
		p.broken = err
	}
	return err
}

func (p *part) failed() error {
	if p.broken == nil {
		return nil
	}
	return fmt.Errorf("a statement failed and its caller went on: %w", p.broken)
}

func (p *part) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	ctx = context.WithoutCancel(ctx)
	if p.pgx != nil {
		tag, err := p.pgx.Exec(ctx, query, args...)
		return tag.RowsAffected(), p.note(err)
	}
	res, err := p.sql.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, p.note(err)
	}
	return res.RowsAffected()
}

func (p *part) Query(ctx context.Context, query string, args ...any) (Rows, error) {
	ctx = context.WithoutCancel(ctx)
	var rows Rows
	var err error
	if p.pgx != nil {
		rows, err = pgQuery(ctx, p.pgx, query, args)
	} else {
		rows, err = sqlQuery(ctx, p.sql, query, args)
	}
	if err != nil {
		return nil, p.note(err)
	}
	return partRows{rows, p}, nil
}

func (p *part) QueryRow(ctx context.Context, query string, args ...any) Row {
	ctx = context.WithoutCancel(ctx)
	if p.pgx != nil {
		return partRow{pgRow{p.pgx.QueryRow(ctx, query, args...)}, p}
	}
	return partRow{p.sql.QueryRowContext(ctx, query, args...), p}
}

type partRow struct {
	row  Row
	part *part
}

func (r partRow) Scan(dest ...any) error { return r.part.note(r.row.Scan(dest...)) }

type partRows struct {
	Rows
	part *part
}

func (r partRows) Next() bool {
	more := r.Rows.Next()
	if !more {
		_ = r.part.note(r.Rows.Err())
	}
	return more
}

func (r partRows) Scan(dest ...any) error { return r.part.note(r.Rows.Scan(dest...)) }

type sqlReader struct{ db *sql.DB }

func (r sqlReader) Query(ctx context.Context, query string, args ...any) (Rows, error) {
	return sqlQuery(ctx, r.db, query, args)
}

func (r sqlReader) QueryRow(ctx context.Context, query string, args ...any) Row {
	return r.db.QueryRowContext(ctx, query, args...)
}

type pgReader struct{ pool *pgxpool.Pool }

func (r pgReader) Query(ctx context.Context, query string, args ...any) (Rows, error) {
	return pgQuery(ctx, r.pool, query, args)
}

func (r pgReader) QueryRow(ctx context.Context, query string, args ...any) Row {
	return pgRow{r.pool.QueryRow(ctx, query, args...)}
}

type sqlQuerier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func sqlQuery(ctx context.Context, q sqlQuerier, query string, args []any) (Rows, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return sqlRows{rows}, nil
}

type pgQuerier interface {
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
}

func pgQuery(ctx context.Context, q pgQuerier, query string, args []any) (Rows, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// sqlRows drops the error of Close, which Err has already reported.
type sqlRows struct{ *sql.Rows }

func (r sqlRows) Close() { _ = r.Rows.Close() }

type pgRow struct{ row pgx.Row }

func (r pgRow) Scan(dest ...any) error {
	err := r.row.Scan(dest...)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNoRows
	}
	return err
}

// InsertNumbered inserts one row into a table whose key the engine hands out
// and returns that key, zero when a conflict clause left the row out. key is
// the column's name. On SQLite it runs as a plain statement, which costs
// about half of one that returns rows.
func InsertNumbered(ctx context.Context, tx Tx, query, key string, args ...any) (int64, error) {
	ctx = context.WithoutCancel(ctx)
	if tx.PGX() != nil {
		var id int64
		err := tx.QueryRow(ctx, query+" RETURNING "+key, args...).Scan(&id)
		if errors.Is(err, ErrNoRows) {
			return 0, nil
		}
		return id, err
	}
	res, err := tx.SQL().ExecContext(ctx, query, args...)
	if err != nil {
		if p, ok := tx.(*part); ok {
			err = p.note(err)
		}
		return 0, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return 0, err
	}
	return res.LastInsertId()
}

// Collect runs scan on every row of a query and closes it.
func Collect[T any](rows Rows, err error, scan func(Row) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
