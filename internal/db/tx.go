package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// writerLock is the PostgreSQL advisory lock every writing group takes, so
// that over all replicas the order of fact sequence numbers is the order of
// commits and a reader by "seq > last" can never miss a row.
const writerLock = 0x666574746c65 // "fettle"

// begin opens a transaction and takes the lock, in one round trip.
var begin = fmt.Sprintf("BEGIN; SELECT pg_advisory_xact_lock(%d)", int64(writerLock))

// conn is one open write transaction on either engine.
type conn struct {
	sql *sql.Tx
	pgx pgx.Tx

	// PostgreSQL: what was sent and waits for company on its way, and whose it is.
	batch  pgx.Batch
	owners []*part
}

func (d *DB) begin() (*conn, error) {
	ctx := context.Background()
	if d.engine == Postgres {
		tx, err := d.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
		if err != nil {
			return nil, fmt.Errorf("begin and take the writer lock: %w", err)
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

// post sends what waits, and last behind it if it is not empty, in one round
// trip. Unless it fails, its result is to be closed, and is at that of last.
func (c *conn) post(ctx context.Context, last string, args []any) (pgx.BatchResults, error) {
	if last != "" {
		c.batch.Queue(last, args...)
	}
	batch, owners := c.batch, c.owners // the results read on in it
	c.batch, c.owners = pgx.Batch{}, nil
	res := c.pgx.SendBatch(ctx, &batch)
	for _, p := range owners {
		if _, err := res.Exec(); err != nil {
			_ = p.note(err)
			_ = res.Close()
			return nil, err
		}
	}
	return res, nil
}

// flush sends what waits.
func (c *conn) flush(ctx context.Context) error {
	if len(c.owners) == 0 {
		return nil
	}
	res, err := c.post(ctx, "", nil)
	if err != nil {
		return err
	}
	return res.Close()
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
	wrote  bool  // a statement may have changed a row
}

var _ Tx = (*part)(nil)

func (p *part) AfterCommit(f func()) { p.after = append(p.after, f) }

// SQL and PGX hand the transaction to somebody who does not say what they write.
func (p *part) SQL() *sql.Tx { p.wrote = true; return p.sql }

func (p *part) PGX() pgx.Tx {
	if p.pgx == nil {
		return nil
	}
	p.wrote = true
	_ = p.note(p.flush(context.Background()))
	return p.pgx
}

// clean tells that there is nothing to roll back: no statement failed, and none
// changed a row. The loser of a race ends so, as a follower does whose cursor
// another replica has moved.
func (p *part) clean() bool { return p.broken == nil && !p.wrote }

// asked notes a statement that returns rows, which writes unless it selects.
func (p *part) asked(query string) {
	p.wrote = p.wrote || !strings.HasPrefix(query, "SELECT")
}

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
	return fmt.Errorf("a statement failed: %w", p.broken)
}

func (p *part) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	ctx = context.WithoutCancel(ctx)
	var n int64
	var err error
	switch {
	case len(p.owners) > 0:
		n, err = p.execBehind(ctx, query, args)
	case p.pgx != nil:
		var tag pgconn.CommandTag
		tag, err = p.pgx.Exec(ctx, query, args...)
		n = tag.RowsAffected()
	default:
		n, err = rowsAffected(p.sql.ExecContext(ctx, query, args...))
	}
	p.wrote = p.wrote || n > 0
	return n, p.note(err)
}

func rowsAffected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// execBehind runs a statement behind those that wait.
func (p *part) execBehind(ctx context.Context, query string, args []any) (int64, error) {
	res, err := p.post(ctx, query, args)
	if err != nil {
		return 0, err
	}
	tag, err := res.Exec()
	return tag.RowsAffected(), errors.Join(err, res.Close())
}

func (p *part) Send(ctx context.Context, query string, args ...any) {
	if p.pgx == nil {
		_, _ = p.Exec(ctx, query, args...) // noted
		return
	}
	p.wrote = true
	p.batch.Queue(query, args...)
	p.owners = append(p.owners, p)
}

func (p *part) Query(ctx context.Context, query string, args ...any) (Rows, error) {
	ctx = context.WithoutCancel(ctx)
	p.asked(query)
	var rows Rows
	var err error
	switch {
	case len(p.owners) > 0:
		rows, err = p.queryBehind(ctx, query, args)
	case p.pgx != nil:
		rows, err = pgQuery(ctx, p.pgx, query, args)
	default:
		rows, err = sqlQuery(ctx, p.sql, query, args)
	}
	if err != nil {
		return nil, p.note(err)
	}
	return partRows{rows, p}, nil
}

func (p *part) queryBehind(ctx context.Context, query string, args []any) (Rows, error) {
	res, err := p.post(ctx, query, args)
	if err != nil {
		return nil, err
	}
	rows, err := res.Query()
	if err != nil {
		_ = res.Close()
		return nil, err
	}
	return postedRows{rows, res}, nil
}

func (p *part) QueryRow(ctx context.Context, query string, args ...any) Row {
	ctx = context.WithoutCancel(ctx)
	p.asked(query)
	switch {
	case len(p.owners) > 0:
		res, err := p.post(ctx, query, args)
		if err != nil {
			return failedRow{p.note(err)}
		}
		return partRow{postedRow{res}, p}
	case p.pgx != nil:
		return partRow{pgRow{p.pgx.QueryRow(ctx, query, args...)}, p}
	}
	return partRow{p.sql.QueryRowContext(ctx, query, args...), p}
}

// postedRows and postedRow are the answer to a statement that others went
// before in the same round trip.
type postedRows struct {
	pgx.Rows
	res pgx.BatchResults
}

func (r postedRows) Close() {
	r.Rows.Close()
	_ = r.res.Close() // Err of the rows has told it
}

type postedRow struct{ res pgx.BatchResults }

func (r postedRow) Scan(dest ...any) error {
	err := pgRow{r.res.QueryRow()}.Scan(dest...)
	if end := r.res.Close(); err == nil {
		err = end
	}
	return err
}

type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }

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
		r.Rows.Close()
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
	if tx.SQL() == nil {
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
