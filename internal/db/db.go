// Package db stands over the database, SQLite in one file or PostgreSQL, and
// owns the one way to write to it. Package sqlite opens the file.
//
// Both engines run the same SQL text: $N placeholders, int64 milliseconds for
// time, TEXT for JSON, 0 and 1 for booleans. All writes of a process go
// through one writer that commits many callers' work in one transaction
// (group commit), so that a durable write costs a share of one disk flush.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fettleops/fettle/internal/failpoint"
)

// Engine names the database behind a DB.
type Engine string

// The engines.
const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
)

// ErrNoRows is returned by Row.Scan when the query found nothing, whatever the engine.
var ErrNoRows = sql.ErrNoRows

// ErrClosed is returned by Write after Close.
var ErrClosed = errors.New("database is closed")

// Row is the single row of a query. Scan returns ErrNoRows when there is none.
type Row interface{ Scan(dest ...any) error }

// Rows iterates over a result. Close may be called more than once.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close()
}

// Reader runs queries on committed state, or inside a Tx on its own state.
type Reader interface {
	Query(ctx context.Context, query string, args ...any) (Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) Row
}

// Tx is one caller's part of a write transaction. It is valid only inside the
// function it was given to.
type Tx interface {
	Reader
	// Exec runs a statement and returns the number of rows it touched.
	Exec(ctx context.Context, query string, args ...any) (int64, error)
	// Send runs a statement whose count nobody needs. On PostgreSQL it goes out
	// together with what follows it, which saves a round trip. A failure fails
	// the caller's part, like that of every statement.
	Send(ctx context.Context, query string, args ...any)
	// AfterCommit runs f once, after the transaction is durable; never when it fails.
	AfterCommit(f func())
	// SQL returns the transaction of the SQLite engine, nil on PostgreSQL.
	SQL() *sql.Tx
	// PGX returns the transaction of the PostgreSQL engine, nil on SQLite.
	PGX() pgx.Tx
}

// maxGroup bounds how many callers share one commit.
const maxGroup = 512

// DB is an open database.
type DB struct {
	engine Engine
	write  *sql.DB      // SQLite: the one writing connection
	read   *sql.DB      // SQLite: the read-only pool
	unlock func() error // SQLite: lets another process have the file
	pool   *pgxpool.Pool

	requests chan *request
	stop     chan struct{}
	stopOnce sync.Once
	done     chan struct{}
}

type request struct {
	ctx   context.Context
	fn    func(Tx) error
	point string // where Write was called, when failpoints are armed
	after []func()
	err   error
	done  chan struct{}
}

// Engine returns which database is behind d.
func (d *DB) Engine() Engine { return d.engine }

// SQL returns the writing connection pool of the SQLite engine, which holds
// exactly one connection; nil on PostgreSQL. It exists for the job queue and
// the migrations.
func (d *DB) SQL() *sql.DB { return d.write }

// Pool returns the connection pool of the PostgreSQL engine, nil on SQLite.
func (d *DB) Pool() *pgxpool.Pool { return d.pool }

// Read returns a reader of committed state. Calling it inside a Write function
// reads what was committed before that transaction.
func (d *DB) Read() Reader {
	if d.engine == Postgres {
		return pgReader{d.pool}
	}
	return sqlReader{d.read}
}

// Write runs fn in a write transaction and returns once it is durable.
//
// fn may run twice: the first time it shares its transaction with other
// callers; if one of them fails after it has written, all are rolled back and
// each runs again behind a savepoint of its own, so that one failure does not
// undo its neighbours. Therefore fn does SQL only, sets (never adds to) what it
// captured, and calls neither Write nor anything slow. An error of fn rolls
// its own work back and is returned as it is. A statement that failed fails
// fn's part on both engines even if fn overlooks it: PostgreSQL would refuse
// the commit, and the neighbours with it.
func (d *DB) Write(ctx context.Context, fn func(tx Tx) error) error {
	r := &request{ctx: ctx, fn: fn, done: make(chan struct{})}
	if failpoint.Armed() {
		r.point = caller()
	}
	select {
	case d.requests <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-d.stop:
		return ErrClosed
	}
	select {
	case <-r.done:
		return r.err
	case <-d.done:
		select {
		case <-r.done:
			return r.err
		default:
			return ErrClosed
		}
	}
}

// caller names the function that called Write, package-qualified and without
// the module path, as the generated list of failpoints does. Writes of a
// closure go by the function it stands in: how the compiler numbers closures
// changes with what it inlines.
func caller() string {
	pcs := make([]uintptr, 1)
	if runtime.Callers(3, pcs) == 0 {
		return "unknown"
	}
	frame, _ := runtime.CallersFrames(pcs).Next()
	name := strings.TrimPrefix(frame.Function, "github.com/fettleops/fettle/")
	if i := strings.Index(name, ".func"); i > 0 {
		name = name[:i]
	}
	return name
}

// Close commits the writes that wait, refuses new ones and closes the
// connections. It may be called twice.
func (d *DB) Close() error {
	d.stopOnce.Do(func() { close(d.stop) })
	<-d.done
	if d.engine == Postgres {
		d.pool.Close()
		return nil
	}
	return errors.Join(d.read.Close(), d.write.Close(), d.unlock())
}

// run is the writer: it gathers what waits and commits it together.
func (d *DB) run() {
	defer close(d.done)
	group := make([]*request, 0, maxGroup)
	for {
		group = group[:0]
		select {
		case r := <-d.requests:
			group = append(group, r)
		case <-d.stop:
			for group = d.waiting(group); len(group) > 0; group = d.waiting(group[:0]) {
				d.commit(group)
			}
			return
		}
		runtime.Gosched() // the callers of the last commit run now: what they write next shares this one
		group = d.waiting(group)
		d.commit(group)
	}
}

// waiting adds the requests that wait by now to group, up to maxGroup.
func (d *DB) waiting(group []*request) []*request {
	for len(group) < maxGroup {
		select {
		case r := <-d.requests:
			group = append(group, r)
		default:
			return group
		}
	}
	return group
}

func (d *DB) commit(group []*request) {
	live := group[:0]
	for _, r := range group {
		if err := r.ctx.Err(); err != nil {
			r.finish(err)
			continue
		}
		live = append(live, r)
	}
	if len(live) == 0 {
		return
	}
	failed, err := d.attempt(live, false)
	if failed && len(live) > 1 {
		_, err = d.attempt(live, true)
	}
	for _, r := range live {
		if err != nil && r.err == nil {
			r.err = err
		}
		r.finish(r.err)
	}
}

func (r *request) finish(err error) {
	r.err = err
	if err == nil {
		for _, f := range r.after {
			f()
		}
	}
	close(r.done)
}

// attempt runs the group in one transaction. Without savepoints the first
// failing function fails the attempt as a whole; with them each stands alone.
// The error is that of the transaction itself.
func (d *DB) attempt(group []*request, savepoints bool) (failed bool, err error) {
	tx, err := d.begin()
	if err != nil {
		return false, err
	}
	defer tx.rollback()
	for _, r := range group {
		r.err, r.after = nil, nil
		part := &part{conn: tx, request: r}
		if savepoints {
			if err := tx.exec("SAVEPOINT part"); err != nil {
				return false, err
			}
		}
		r.err = call(r.fn, part)
		if savepoints {
			_ = tx.flush(context.Background()) // noted
		}
		if r.err == nil {
			r.err = part.failed()
		}
		switch {
		case r.err != nil && part.clean():
			r.after = nil // it leaves nothing behind: its neighbours go on
		case r.err != nil && !savepoints:
			return true, nil // a group of one ends here, rolled back, its error kept
		case r.err != nil:
			if err := tx.exec("ROLLBACK TO SAVEPOINT part"); err != nil {
				return false, err
			}
			r.after = nil
		}
		if savepoints {
			if err := tx.exec("RELEASE SAVEPOINT part"); err != nil {
				return false, err
			}
		}
	}
	if !slices.ContainsFunc(group, func(r *request) bool { return r.err == nil }) {
		return false, nil // rolled back: there is nothing to commit
	}
	if err := tx.flush(context.Background()); err != nil {
		group[0].err = fmt.Errorf("a statement failed: %w", err) // larger groups run again and learn whose it was
		return true, nil
	}
	hit(group, "before")
	if err := tx.commit(); err != nil {
		return false, fmt.Errorf("commit: %w", err)
	}
	hit(group, "after")
	return false, nil
}

func hit(group []*request, when string) {
	if !failpoint.Armed() {
		return
	}
	for _, r := range group {
		failpoint.Hit("commit." + when + ":" + r.point)
	}
}

// call turns a panic of fn into an error, so that one caller's defect does not
// stop the writer for all.
func call(fn func(Tx) error, tx Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			buf := make([]byte, 4<<10)
			err = fmt.Errorf("panic inside a write: %v\n%s", p, buf[:runtime.Stack(buf, false)])
		}
	}()
	return fn(tx)
}
