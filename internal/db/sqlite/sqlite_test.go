package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/sqlite"
	"github.com/fettleops/fettle/ops"
)

// table opens a fresh file with a table t(k, v).
func table(t testing.TB) *db.DB {
	t.Helper()
	d, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "f.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	exec(t, d, "CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT NOT NULL)")
	return d
}

func exec(t testing.TB, d *db.DB, query string, args ...any) {
	t.Helper()
	err := d.Write(t.Context(), func(tx db.Tx) error {
		_, err := tx.Exec(t.Context(), query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, d *db.DB, k int64) {
	t.Helper()
	exec(t, d, "INSERT INTO t (k, v) VALUES ($1, 'x')", k)
}

func TestSecondProcessIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.db")
	first, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), path); !errors.Is(err, ops.ErrConflict) || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("a second open gave %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	_ = again.Close()
}

func TestStatementsSurviveOpenRows(t *testing.T) {
	d := table(t)
	for k := range int64(50) {
		put(t, d, k)
	}
	const query = "SELECT k FROM t WHERE k >= $1 ORDER BY k"
	err := d.Write(t.Context(), func(tx db.Tx) error {
		outer, err := tx.Query(t.Context(), query, int64(0))
		if err != nil {
			return err
		}
		defer outer.Close()
		for want := int64(0); outer.Next(); want++ {
			var k, inner int64
			if err := outer.Scan(&k); err != nil || k != want {
				t.Fatalf("row %d is %d, %v", want, k, err)
			}
			// The same text while its statement is being read.
			if err := tx.QueryRow(t.Context(), query, k+10).Scan(&inner); k < 40 && (err != nil || inner != k+10) {
				t.Fatalf("inside row %d: %d, %v", k, inner, err)
			} else if k >= 40 {
				break
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// Rows left open by a careless caller: the next group must not suffer.
	err = d.Write(t.Context(), func(tx db.Tx) error {
		rows, err := tx.Query(t.Context(), query, int64(0))
		if err == nil {
			rows.Next()
		}
		return err
	})
	if err != nil {
		t.Errorf("rows left open: %v", err)
	}
	put(t, d, 100)
	var k int64
	if err := d.Write(t.Context(), func(tx db.Tx) error { return tx.QueryRow(t.Context(), query, int64(99)).Scan(&k) }); err != nil || k != 100 {
		t.Errorf("the query after gave %d, %v", k, err)
	}
}

func TestStatementsSurviveASchemaChange(t *testing.T) {
	d := table(t)
	read := func(want ...string) {
		t.Helper()
		for _, r := range []func(func(db.Reader) error) error{
			func(f func(db.Reader) error) error { return f(d.Read()) },
			func(f func(db.Reader) error) error {
				return d.Write(t.Context(), func(tx db.Tx) error { return f(tx) })
			},
		} {
			err := r(func(r db.Reader) error {
				got := make([]string, len(want))
				dest := make([]any, len(want))
				for i := range got {
					dest[i] = &got[i]
				}
				if err := r.QueryRow(t.Context(), "SELECT * FROM t WHERE k = $1", int64(1)).Scan(dest...); err != nil {
					return err
				}
				if strings.Join(got, ",") != strings.Join(want, ",") {
					t.Errorf("read %q, want %q", got, want)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	put(t, d, 1)
	read("1", "x")
	read("1", "x")
	exec(t, d, "ALTER TABLE t ADD COLUMN w TEXT NOT NULL DEFAULT 'new'")
	read("1", "x", "new")
	exec(t, d, "ALTER TABLE t DROP COLUMN v")
	read("1", "new")
	exec(t, d, "DROP TABLE t")
	exec(t, d, "CREATE TABLE t (w TEXT, k BIGINT)")
	exec(t, d, "INSERT INTO t (k, w) VALUES (1, 'y')")
	read("y", "1")
}

func TestStatementsSurviveManyTexts(t *testing.T) {
	d := table(t)
	put(t, d, 1)
	for i := range 1000 { // more texts than are kept
		var n int
		if err := d.Read().QueryRow(t.Context(), fmt.Sprintf("SELECT k + %d FROM t", i)).Scan(&n); err != nil || n != i+1 {
			t.Fatalf("text %d gave %d, %v", i, n, err)
		}
	}
}

// A limit is bound anew each time a kept statement runs.
func TestStatementsTakeTheirLimit(t *testing.T) {
	d := table(t)
	for k := range int64(5) {
		put(t, d, k)
	}
	f := func(query string, limit int64, want int) {
		t.Helper()
		rows, err := d.Read().Query(t.Context(), query, limit)
		all, err := db.Collect(rows, err, func(r db.Row) (n int64, err error) { return n, r.Scan(&n) })
		if err != nil || len(all) != want {
			t.Errorf("%s with %d gave %v, %v, want %d rows", query, limit, all, err, want)
		}
	}
	for _, query := range []string{"SELECT k FROM t ORDER BY k LIMIT $1", "SELECT k FROM t ORDER BY k LIMIT ?", "SELECT k FROM t ORDER BY k\nlimit ?1"} {
		f(query, 3, 3)
		f(query, 1, 1)
		f(query, 0, 0)
		f(query, 100, 5)
		f(query, -1, 5) // SQLite: no limit
	}
}

// BenchmarkBoundLimit is the price of a kept statement whose limit is an argument.
func BenchmarkBoundLimit(b *testing.B) {
	d := table(b)
	for b.Loop() {
		var k int64
		err := d.Read().QueryRow(b.Context(), "SELECT k FROM t WHERE k IN (SELECT k FROM t WHERE v = 'x' AND k >= 0 ORDER BY v, k LIMIT $1) UNION ALL SELECT 1", int64(10)).Scan(&k)
		if err != nil {
			b.Fatal(err)
		}
	}
}

func TestCancelledReadLeavesItsStatementUsable(t *testing.T) {
	d := table(t)
	const query = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < $1) SELECT n FROM c"
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		rows, err := d.Read().Query(ctx, query, int64(1_000_000))
		if err != nil {
			t.Fatal(err)
		}
		rows.Next()
		cancel()
		for rows.Next() { // until the cancellation arrives
		}
		rows.Close()
		rows.Close()
		got, err := d.Read().Query(t.Context(), query, int64(3))
		all, err := db.Collect(got, err, func(r db.Row) (n int64, err error) { return n, r.Scan(&n) })
		if err != nil || len(all) != 3 {
			t.Fatalf("after a cancelled read: %v, %v", all, err)
		}
	}
}
