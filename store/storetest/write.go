package storetest

import (
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

var writeRules = []rule{
	{
		name:  "migrations/up-down-up",
		why:   "a release that has to be taken back must leave a database the one before can use",
		check: migrates,
	},
	{
		name:  "write/failing-neighbour",
		why:   "callers share a commit; one caller's mistake must not cost another its alert",
		check: failingNeighbour,
	},
	{
		name:  "write/overlooked-failure",
		why:   "a statement that failed must never be committed around: PostgreSQL would drop the whole group, SQLite would keep half",
		check: overlookedFailure,
	},
	{
		name:  "write/after-commit",
		why:   "what is woken by a commit must find it committed, and must not be woken by one that failed",
		check: afterCommit,
	},
	{
		name:  "sql/placeholder-order",
		why:   "one SQL text serves both engines, so $2 must mean the second argument wherever it stands",
		check: placeholderOrder,
	},
	{
		name:  "sql/values",
		why:   "a number or text that changes on its way through the database corrupts hashes, cursors and payloads",
		check: values,
	},
	{
		name:  "number/concurrent",
		why:   "two incidents with one number, or a gap after a failed write, would mislead the people who use them",
		check: numbers,
	},
}

func migrates(t *testing.T, h *house) {
	must(t, store.MigrateDown(h.ctx, h.db))
	tables := "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%'"
	if h.db.Engine() == db.Postgres {
		tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'public' AND table_name NOT LIKE 'goose%'"
	}
	if n := h.count(tables); n != 0 {
		t.Errorf("%d tables are left after every migration was taken back", n)
	}
	must(t, store.Migrate(h.ctx, h.db))
	must(t, store.Migrate(h.ctx, h.db)) // and again, as at every start
	h.tell(h.fact("a", "after"))
}

func failingNeighbour(t *testing.T, h *house) {
	boom := errors.New("boom")
	var wrong atomic.Int64
	together(func(i int) {
		for range 10 {
			err := h.db.Write(h.ctx, func(tx db.Tx) error {
				if _, err := h.store.NextNumber(h.ctx, tx, "part"); err != nil {
					return err
				}
				switch i % 4 {
				case 1:
					return boom
				case 2:
					panic("defect")
				case 3:
					_, err := tx.Exec(h.ctx, "INSERT INTO setting (name, value) VALUES ('x', NULL)")
					return err
				}
				return nil
			})
			if ok := err == nil; ok != (i%4 == 0) || i%4 == 1 && !errors.Is(err, boom) {
				wrong.Add(1)
			}
		}
	})
	if wrong.Load() > 0 {
		t.Errorf("%d writes ended otherwise than their function did", wrong.Load())
	}
	if n, err := h.store.LastNumber(h.ctx, "part"); n != crowd/4*10 || err != nil {
		t.Errorf("%d good writes took effect (%v), want %d", n, err, crowd/4*10)
	}
}

func overlookedFailure(t *testing.T, h *house) {
	f := func(name string, statement func(tx db.Tx)) {
		t.Helper()
		err := h.db.Write(h.ctx, func(tx db.Tx) error {
			must(t, h.store.SetSetting(h.ctx, tx, name, "half"))
			statement(tx)
			return nil
		})
		if err == nil {
			t.Errorf("%s: the write succeeded", name)
		}
		if _, made, err := h.store.Setting(h.ctx, name); made || err != nil {
			t.Errorf("%s: half of the write was kept (%v)", name, err)
		}
	}
	f("exec", func(tx db.Tx) { _, _ = tx.Exec(h.ctx, "INSERT INTO setting (name, value) VALUES ('x', NULL)") })
	f("row", func(tx db.Tx) {
		var n int64
		_ = tx.QueryRow(h.ctx, "INSERT INTO setting (name, value) VALUES ('x', NULL) RETURNING 1").Scan(&n)
	})
	f("rows", func(tx db.Tx) {
		rows, err := tx.Query(h.ctx, "INSERT INTO setting (name, value) VALUES ('x', NULL) RETURNING 1")
		for err == nil && rows.Next() { // a failure that only reading finds
		}
	})
	// Finding nothing is no failure.
	h.write(func(tx db.Tx) error {
		var v string
		wantClass(t, "no rows", tx.QueryRow(h.ctx, "SELECT value FROM setting WHERE name = 'none'").Scan(&v), db.ErrNoRows)
		return nil
	})
}

func afterCommit(t *testing.T, h *house) {
	var seen, never atomic.Int64
	h.store.OnFact(func() { seen.Add(1) })
	h.tell(h.fact("a", "1"))
	if seen.Load() != 1 {
		t.Errorf("woken %d times by one commit", seen.Load())
	}
	together(func(int) {
		_ = h.db.Write(h.ctx, func(tx db.Tx) error {
			tx.AfterCommit(func() { never.Add(1) })
			return ops.ErrInternal
		})
	})
	if never.Load() != 0 {
		t.Errorf("woken %d times by failed writes", never.Load())
	}
}

func placeholderOrder(t *testing.T, h *house) {
	var a, b string
	must(t, h.db.Read().QueryRow(h.ctx, "SELECT CAST($2 AS TEXT), CAST($1 AS TEXT)", "first", "second").Scan(&a, &b))
	if a != "second" || b != "first" {
		t.Errorf("SELECT $2, $1 gave %q, %q", a, b)
	}
	h.write(func(tx db.Tx) error {
		_, err := tx.Exec(h.ctx, "INSERT INTO setting (value, name) VALUES ($2, $1)", "name", "value")
		return err
	})
	if v, _, err := h.store.Setting(h.ctx, "name"); v != "value" || err != nil {
		t.Errorf("INSERT ($2, $1) kept %q, %v", v, err)
	}
}

func values(t *testing.T, h *house) {
	for _, want := range []int64{math.MaxInt64, math.MinInt64, 1 << 53, -1, 0} {
		h.exec("DELETE FROM number")
		h.exec("INSERT INTO number (kind, last) VALUES ('n', $1)", want)
		if got, err := h.store.LastNumber(h.ctx, "n"); got != want || err != nil {
			t.Errorf("number %d came back as %d, %v", want, got, err)
		}
	}
	for _, want := range []string{"", " ", "null", "ü 日本 \U0001F600", `{"a":"\u0000","b":1.0e400}`, strings.Repeat("x", 1<<20), "a\n\t\"'\\b", "%_$1"} {
		h.write(func(tx db.Tx) error { return h.store.SetSetting(h.ctx, tx, "v", want) })
		if got, _, err := h.store.Setting(h.ctx, "v"); got != want || err != nil {
			t.Errorf("text %.40q came back as %.40q, %v", want, got, err)
		}
	}
}

func numbers(t *testing.T, h *house) {
	seen := make([]atomic.Int64, crowd*5+1)
	together(func(i int) {
		for range 5 {
			_ = h.db.Write(h.ctx, func(tx db.Tx) error { // takes one and gives it back
				_, err := h.store.NextNumber(h.ctx, tx, "incident")
				return errors.Join(err, ops.ErrConflict)
			})
			var n int64
			err := h.db.Write(h.ctx, func(tx db.Tx) (err error) {
				n, err = h.store.NextNumber(h.ctx, tx, "incident")
				return err
			})
			if err == nil && n > 0 && int(n) < len(seen) {
				seen[n].Add(1)
			}
		}
	})
	for n := 1; n < len(seen); n++ {
		if seen[n].Load() != 1 {
			t.Fatalf("number %d was given %d times", n, seen[n].Load())
		}
	}
}
