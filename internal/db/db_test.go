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
	"github.com/fettleops/fettle/internal/db/sqlite"
	"github.com/fettleops/fettle/internal/peer"
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
	return sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "f.db"))
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
	d, err := sqlite.Open(t.Context(), path)
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
	d, err = sqlite.Open(t.Context(), path)
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
	d, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "f.db"))
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
