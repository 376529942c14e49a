package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"regexp"
	"strings"

	"modernc.org/sqlite"
)

// cachingConnector opens SQLite connections that keep their prepared
// statements, which saves parsing the same few dozen statements again for
// every row.
type cachingConnector struct{ dsn string }

// maxStatements bounds the statements one connection keeps.
const maxStatements = 256

func (c *cachingConnector) Driver() driver.Driver { return &sqlite.Driver{} }

func (c *cachingConnector) Connect(context.Context) (driver.Conn, error) {
	inner, err := (&sqlite.Driver{}).Open(c.dsn)
	if err != nil {
		return nil, err
	}
	full, ok := inner.(sqliteConn)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver lacks an interface the statement cache needs"), inner.Close())
	}
	return &cachingConn{sqliteConn: full, kept: map[string]*keptStmt{}}, nil
}

// boundLimit finds limits that are arguments. SQLite plans by the value of such
// a limit (sqlite3ExprIsInteger, since 3.46), and so throws the statement away
// and parses it again each time one is bound: what the cache is there to save.
// A sign in front leaves the value as it is and keeps the planner from looking.
var boundLimit = regexp.MustCompile(`(?i)\b(LIMIT)\s+([?$@:]\w*)`)

type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type keptStmt struct {
	stmt sqliteStmt
	busy bool // a result of it is still being read
}

// cachingConn is used by one goroutine at a time, as database/sql promises.
type cachingConn struct {
	sqliteConn
	kept map[string]*keptStmt
}

func (c *cachingConn) statement(ctx context.Context, query string) (*keptStmt, error) {
	if k, ok := c.kept[query]; ok {
		if k.busy {
			return nil, nil
		}
		return k, nil
	}
	if !cacheable(query) {
		return nil, nil
	}
	if len(c.kept) >= maxStatements {
		if err := c.forget(); err != nil {
			return nil, err
		}
	}
	s, err := c.PrepareContext(ctx, boundLimit.ReplaceAllString(query, "$1 +$2"))
	if err != nil {
		return nil, err
	}
	full, ok := s.(sqliteStmt)
	if !ok {
		return nil, s.Close()
	}
	k := &keptStmt{stmt: full}
	c.kept[query] = k
	return k, nil
}

// forget closes every statement that is not being read. It is the crudest
// eviction there is, and enough: a program that stays under maxStatements
// never sees it, one that makes its SQL up as it goes pays only the parsing it
// would pay without a cache.
func (c *cachingConn) forget() error {
	var errs []error
	for query, k := range c.kept {
		if k.busy {
			continue
		}
		delete(c.kept, query)
		errs = append(errs, k.stmt.Close())
	}
	return errors.Join(errs...)
}

// cacheable keeps schema changes, pragmas and scripts of several statements
// out of the cache: a prepared script would run its first statement only once
// prepared.
func cacheable(query string) bool {
	q := strings.TrimSpace(query)
	for strings.HasPrefix(q, "--") { // the job queue's statements begin with their name
		_, rest, _ := strings.Cut(q, "\n")
		q = strings.TrimSpace(rest)
	}
	if strings.Contains(strings.TrimSuffix(q, ";"), ";") {
		return false
	}
	word := q
	if end := strings.IndexAny(q, " \t\r\n"); end >= 0 {
		word = q[:end]
	}
	switch strings.ToUpper(word) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "SAVEPOINT", "RELEASE", "ROLLBACK":
		return true
	}
	return false
}

func (c *cachingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	k, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if k == nil {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	return k.stmt.ExecContext(ctx, args)
}

func (c *cachingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	k, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if k == nil {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	rows, err := k.stmt.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	k.busy = true
	return &keptRows{Rows: rows, stmt: k}, nil
}

func (c *cachingConn) Close() error {
	var errs []error
	for _, k := range c.kept {
		errs = append(errs, k.stmt.Close())
	}
	return errors.Join(append(errs, c.sqliteConn.Close())...)
}

type keptRows struct {
	driver.Rows
	stmt *keptStmt
}

func (r *keptRows) Close() error {
	r.stmt.busy = false
	return r.Rows.Close()
}
