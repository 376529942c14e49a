package db_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// onBoth runs f on a fresh database of each engine with a table t(k, v).
func onBoth(t *testing.T, f func(t *testing.T, d *db.DB)) {
	t.Helper()
	run := func(name string, open func(t *testing.T) (*db.DB, error)) {
		t.Run(name, func(t *testing.T) {
			d, err := open(t)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			exec(t, d, "CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT NOT NULL)")
			f(t, d)
		})
	}
	run("sqlite", func(t *testing.T) (*db.DB, error) { return openFile(t) })
	run("postgres", func(t *testing.T) (*db.DB, error) { return db.OpenPostgres(t.Context(), peer.Postgres(t)) })
}

func openFile(t testing.TB) (*db.DB, error) {
	return db.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "f.db"))
}

func sqlite(t *testing.T) *db.DB {
	t.Helper()
	d, err := openFile(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	exec(t, d, "CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT NOT NULL)")
	return d
}

func exec(t *testing.T, d *db.DB, query string, args ...any) {
	t.Helper()
	err := d.Write(t.Context(), func(tx db.Tx) error {
		_, err := tx.Exec(t.Context(), query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func put(ctx context.Context, d *db.DB, k int64, after ...func()) error {
	return d.Write(ctx, func(tx db.Tx) error {
		for _, f := range after {
			tx.AfterCommit(f)
		}
		_, err := tx.Exec(ctx, "INSERT INTO t (k, v) VALUES ($1, 'x')", k)
		return err
	})
}

func count(t *testing.T, d *db.DB) (n int64) {
	t.Helper()
	if err := d.Read().QueryRow(t.Context(), "SELECT COUNT(*) FROM t").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWritersShareCommits(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		const callers, each = 64, 20
		var hooks atomic.Int64
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for j := range each {
					k := int64(i*each + j)
					if err := put(t.Context(), d, k, func() { hooks.Add(1) }); err != nil {
						t.Error(err)
					}
					var v string // what Write returned is there for everyone
					if err := d.Read().QueryRow(t.Context(), "SELECT v FROM t WHERE k = $1", k).Scan(&v); err != nil {
						t.Errorf("row %d after its write: %v", k, err)
					}
				}
			})
		}
		wg.Wait()
		if n := count(t, d); n != callers*each || hooks.Load() != n {
			t.Errorf("%d rows, %d hooks, want %d", n, hooks.Load(), callers*each)
		}
	})
}

func TestFailureStaysWithItsCaller(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		boom := errors.New("boom")
		var hooks atomic.Int64
		hook := func() { hooks.Add(1) }
		var wg sync.WaitGroup
		for i := range int64(300) {
			wg.Go(func() {
				err := d.Write(t.Context(), func(tx db.Tx) error {
					tx.AfterCommit(hook)
					if _, err := tx.Exec(t.Context(), "INSERT INTO t (k, v) VALUES ($1, 'x')", i); err != nil {
						return err
					}
					switch i % 3 {
					case 1:
						return fmt.Errorf("caller %d: %w", i, boom)
					case 2:
						panic(fmt.Sprintf("caller %d", i))
					}
					return nil
				})
				switch i % 3 {
				case 0:
					if err != nil {
						t.Errorf("caller %d failed with a neighbour: %v", i, err)
					}
				case 1:
					if !errors.Is(err, boom) || !strings.Contains(err.Error(), strconv.FormatInt(i, 10)) {
						t.Errorf("caller %d got %v", i, err)
					}
				case 2:
					if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("panic inside a write: caller %d", i)) {
						t.Errorf("caller %d got %v", i, err)
					}
				}
			})
		}
		wg.Wait()
		if n := count(t, d); n != 100 || hooks.Load() != 100 {
			t.Errorf("%d rows and %d hooks of 100 good writes", n, hooks.Load())
		}
	})
}

func TestWriteWhoseCallerGaveUpBeforeItBegan(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := put(ctx, d, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if n := count(t, d); n != 0 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestCallerThatGivesUpHalfwayDoesNotBreakTheGroup(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		err := d.Write(ctx, func(tx db.Tx) error {
			cancel()
			_, err := tx.Exec(ctx, "INSERT INTO t (k, v) VALUES (1, 'x')")
			return err
		})
		if err != nil {
			t.Errorf("got %v", err)
		}
		if n := count(t, d); n != 1 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestCloseKeepsItsPromises(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.db")
	d, err := db.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, d, "CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT NOT NULL)")
	var acknowledged sync.Map
	var wg sync.WaitGroup
	begun := make(chan struct{}, 64)
	for i := range int64(64) {
		wg.Go(func() {
			for j := int64(0); ; j++ {
				k := i<<32 | j
				err := put(context.Background(), d, k)
				if errors.Is(err, db.ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("a write during Close: %v", err)
					return
				}
				acknowledged.Store(k, true)
				if j == 2 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range 64 {
		<-begun
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	d, err = db.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	rows, err := d.Read().Query(t.Context(), "SELECT k FROM t")
	_, err = db.Collect(rows, err, func(r db.Row) (struct{}, error) {
		var k int64
		err := r.Scan(&k)
		if _, ok := acknowledged.LoadAndDelete(k); !ok {
			t.Errorf("row %d was kept and its writer told otherwise", k)
		}
		return struct{}{}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	acknowledged.Range(func(k, _ any) bool {
		t.Errorf("row %d was acknowledged and lost", k)
		return true
	})
}

func TestSecondProcessIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.db")
	first, err := db.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.OpenSQLite(t.Context(), path); !errors.Is(err, ops.ErrConflict) || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("a second open gave %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := db.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	_ = again.Close()
}

func TestStatementsSurviveOpenRows(t *testing.T) {
	d := sqlite(t)
	for k := range int64(50) {
		if err := put(t.Context(), d, k); err != nil {
			t.Fatal(err)
		}
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
	if err := put(t.Context(), d, 100); err != nil {
		t.Errorf("the write after: %v", err)
	}
	var k int64
	if err := d.Write(t.Context(), func(tx db.Tx) error { return tx.QueryRow(t.Context(), query, int64(99)).Scan(&k) }); err != nil || k != 100 {
		t.Errorf("the query after gave %d, %v", k, err)
	}
}

func TestStatementsSurviveASchemaChange(t *testing.T) {
	d := sqlite(t)
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
	if err := put(t.Context(), d, 1); err != nil {
		t.Fatal(err)
	}
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
	d := sqlite(t)
	if err := put(t.Context(), d, 1); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 { // more texts than are kept
		var n int
		if err := d.Read().QueryRow(t.Context(), fmt.Sprintf("SELECT k + %d FROM t", i)).Scan(&n); err != nil || n != i+1 {
			t.Fatalf("text %d gave %d, %v", i, n, err)
		}
	}
}

// A limit is bound anew each time a kept statement runs.
func TestStatementsTakeTheirLimit(t *testing.T) {
	d := sqlite(t)
	for k := range int64(5) {
		if err := put(t.Context(), d, k); err != nil {
			t.Fatal(err)
		}
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
	d, err := openFile(b)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = d.Close() })
	err = d.Write(b.Context(), func(tx db.Tx) error {
		_, err := tx.Exec(b.Context(), "CREATE TABLE t (k BIGINT, v TEXT)")
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var k int64
		err := d.Read().QueryRow(b.Context(), "SELECT k FROM t WHERE k IN (SELECT k FROM t WHERE v = 'x' AND k >= 0 ORDER BY v, k LIMIT $1) UNION ALL SELECT 1", int64(10)).Scan(&k)
		if err != nil {
			b.Fatal(err)
		}
	}
}

func TestCancelledReadLeavesItsStatementUsable(t *testing.T) {
	d := sqlite(t)
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

func TestReadSeesOnlyWhatIsCommitted(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		err := d.Write(t.Context(), func(tx db.Tx) error {
			if _, err := tx.Exec(t.Context(), "INSERT INTO t (k, v) VALUES (1, 'x')"); err != nil {
				return err
			}
			if n := count(t, d); n != 0 {
				t.Errorf("%d rows before the commit", n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestOpenPostgresHidesThePassword(t *testing.T) {
	for _, url := range []string{"postgres://u:s3cret@127.0.0.1:1/x?sslmode=nonsense", "postgres://u:s3cret@127.0.0.1:1/x"} {
		_, err := db.OpenPostgres(t.Context(), url)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v", err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	d, err := db.OpenSQLite(b.Context(), filepath.Join(b.TempDir(), "f.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	err = d.Write(b.Context(), func(tx db.Tx) error {
		_, err := tx.Exec(b.Context(), "CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT NOT NULL)")
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range 64 {
		wg.Go(func() {
			for k := next.Add(1); k <= int64(b.N); k = next.Add(1) {
				if err := put(b.Context(), d, k); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

// together makes one group of writes: they wait while the first one runs, and
// are queued in order.
func together(t *testing.T, d *db.DB, fns ...func(tx db.Tx) error) []error {
	t.Helper()
	began, gate := make(chan struct{}), make(chan struct{})
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = d.Write(t.Context(), func(db.Tx) error {
			close(began)
			<-gate
			return nil
		})
	})
	<-began
	for i, fn := range fns {
		wg.Go(func() { errs[i] = d.Write(t.Context(), fn) })
		for d.Waiting() <= i {
			runtime.Gosched()
		}
	}
	close(gate)
	wg.Wait()
	return errs
}

func insert(t *testing.T, tx db.Tx, k int64) error {
	_, err := tx.Exec(t.Context(), "INSERT INTO t (k, v) VALUES ($1, 'x')", k)
	return err
}

func TestFailureThatWroteNothingCostsItsNeighboursNothing(t *testing.T) {
	f := func(fail func(t *testing.T, tx db.Tx) error, wantRuns int) {
		t.Helper()
		onBoth(t, func(t *testing.T, d *db.DB) {
			if err := put(t.Context(), d, 100); err != nil {
				t.Fatal(err)
			}
			runs, hooks := 0, 0
			good := func(k int64) func(db.Tx) error {
				return func(tx db.Tx) error {
					runs++
					return insert(t, tx, k)
				}
			}
			errs := together(t, d, good(1), func(tx db.Tx) error {
				tx.AfterCommit(func() { hooks++ })
				return fail(t, tx)
			}, good(2))
			if errs[0] != nil || errs[1] == nil || errs[2] != nil || hooks != 0 {
				t.Errorf("errors %v, %d hooks of the one that failed", errs, hooks)
			}
			if runs != wantRuns || count(t, d) != 3 {
				t.Errorf("its neighbours ran %d times for %d rows, want %d for 3", runs, count(t, d), wantRuns)
			}
		})
	}
	boom := errors.New("boom")
	f(func(*testing.T, db.Tx) error { return boom }, 2)
	f(func(t *testing.T, tx db.Tx) error {
		var v string
		_ = tx.QueryRow(t.Context(), "SELECT v FROM t WHERE k = 100").Scan(&v)
		return boom
	}, 2)
	f(func(t *testing.T, tx db.Tx) error {
		n, err := tx.Exec(t.Context(), "UPDATE t SET v = 'y' WHERE k = 101")
		return errors.Join(boom, err, fmt.Errorf("%d rows", n))
	}, 2)
	f(func(t *testing.T, tx db.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE t SET v = 'y' WHERE k = 100")
		return errors.Join(boom, err)
	}, 3)
	f(func(t *testing.T, tx db.Tx) error {
		var k int64
		_ = tx.QueryRow(t.Context(), "INSERT INTO t (k, v) VALUES (7, 'x') RETURNING k").Scan(&k)
		return boom
	}, 3)
	f(func(t *testing.T, tx db.Tx) error { return insert(t, tx, 100) }, 3) // the statement itself fails
	f(func(t *testing.T, tx db.Tx) error {
		tx.Send(t.Context(), "INSERT INTO t (k, v) VALUES (8, 'x')")
		return boom
	}, 3)
}

func TestSentStatementsKeepTheirPlace(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		var seen [3]string
		errs := together(t, d, func(tx db.Tx) error {
			ctx := t.Context()
			tx.Send(ctx, "INSERT INTO t (k, v) VALUES (1, 'a')")
			tx.Send(ctx, "UPDATE t SET v = 'b' WHERE k = $1", 1)
			if err := tx.QueryRow(ctx, "SELECT v FROM t WHERE k = $1", 1).Scan(&seen[0]); err != nil {
				return err
			}
			tx.Send(ctx, "UPDATE t SET v = 'c' WHERE k = 1")
			rows, err := tx.Query(ctx, "SELECT v FROM t")
			all, err := db.Collect(rows, err, func(r db.Row) (v string, err error) { return v, r.Scan(&v) })
			if err != nil {
				return err
			}
			seen[1] = strings.Join(all, ",")
			tx.Send(ctx, "UPDATE t SET v = 'd' WHERE k = 1")
			if n, err := tx.Exec(ctx, "UPDATE t SET v = v || 'e' WHERE k = 1"); err != nil || n != 1 {
				return fmt.Errorf("%d rows, %w", n, err)
			}
			tx.Send(ctx, "UPDATE t SET v = v || 'f' WHERE k = 1")
			return nil
		}, func(tx db.Tx) error { // sees what the one before has sent
			return tx.QueryRow(t.Context(), "SELECT v FROM t WHERE k = 1").Scan(&seen[2])
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if want := [3]string{"b", "c", "def"}; seen != want {
			t.Errorf("read %q, want %q", seen, want)
		}
	})
}

func TestSentStatementThatFailsFailsItsCaller(t *testing.T) {
	f := func(name string, after func(t *testing.T, tx db.Tx) error) {
		onBoth(t, func(t *testing.T, d *db.DB) {
			if err := put(t.Context(), d, 100); err != nil {
				t.Fatal(err)
			}
			bad := func(tx db.Tx) error {
				tx.Send(t.Context(), "INSERT INTO t (k, v) VALUES (100, 'again')")
				return after(t, tx)
			}
			put := func(k int64) func(tx db.Tx) error {
				return func(tx db.Tx) error { return insert(t, tx, k) }
			}
			errs := together(t, d, put(1), bad, put(2), bad)
			if errs[0] != nil || errs[1] == nil || errs[2] != nil || errs[3] == nil || count(t, d) != 3 {
				t.Errorf("%s: errors %v, %d rows", name, errs, count(t, d))
			}
			if err := d.Write(t.Context(), bad); err == nil {
				t.Errorf("%s: alone it passed", name)
			}
			if err := d.Write(t.Context(), put(3)); err != nil {
				t.Errorf("%s: the next write: %v", name, err)
			}
		})
	}
	f("nothing follows", func(*testing.T, db.Tx) error { return nil })
	f("a query", func(t *testing.T, tx db.Tx) error {
		rows, err := tx.Query(t.Context(), "SELECT v FROM t")
		if err == nil {
			rows.Close()
		}
		return nil // overlooks it
	})
	f("a row", func(t *testing.T, tx db.Tx) error {
		var v string
		_ = tx.QueryRow(t.Context(), "SELECT v FROM t WHERE k = 100").Scan(&v)
		return nil
	})
	f("a statement", func(t *testing.T, tx db.Tx) error {
		_ = insert(t, tx, 9)
		return nil
	})
	f("the transaction itself", func(t *testing.T, tx db.Tx) error {
		tx.PGX()
		return nil
	})
}
