package job_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/sqlite"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
)

// eventually waits for ok, which may take as long as the machine needs: the
// deadline only turns a hang into a failure.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func count(t *testing.T, d *db.DB, query string) (n int64) {
	t.Helper()
	must(t, d.Read().QueryRow(t.Context(), query).Scan(&n))
	return n
}

// work registers a room that hears every ExecutionStopped into a table and
// queues a command for it; the command's handler fails now and then.
func register(h *house, calls *atomic.Int64) {
	h.queue.Hear("ticket", ops.ExecutionStopped, func(ctx context.Context, tx db.Tx, f ops.Fact) error {
		if _, err := tx.Exec(ctx, "INSERT INTO heard (room, seq) VALUES ('ticket', $1)", f.Seq); err != nil {
			return err
		}
		c := ops.NewCommand("Greet", fmt.Sprintf("fact/%d", f.Seq), nil)
		c.Cause = f.ID
		return h.queue.Enqueue(ctx, tx, c)
	})
	h.queue.Hear("change", ops.ExecutionStopped, func(ctx context.Context, tx db.Tx, f ops.Fact) error {
		_, err := tx.Exec(ctx, "INSERT INTO heard (room, seq) VALUES ('change', $1)", f.Seq)
		return err
	})
	h.queue.Handle("Greet", func(ctx context.Context, c ops.Command) error {
		switch calls.Add(1) % 50 {
		case 3:
			return fmt.Errorf("peer: %w", ops.ErrUnavailable)
		case 7, 27:
			return job.Snooze(10*time.Millisecond, "not yet")
		}
		return h.db.Write(ctx, func(tx db.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO greeted (subject, times) VALUES ($1, 1) ON CONFLICT (subject) DO UPDATE SET times = greeted.times + 1", c.Subject)
			return err
		})
	})
}

func tables(t *testing.T, d *db.DB) {
	t.Helper()
	must(t, d.Write(t.Context(), func(tx db.Tx) error {
		for _, statement := range []string{
			"CREATE TABLE IF NOT EXISTS heard (room TEXT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (room, seq))",
			"CREATE TABLE IF NOT EXISTS greeted (subject TEXT PRIMARY KEY, times BIGINT NOT NULL)",
		} {
			if _, err := tx.Exec(t.Context(), statement); err != nil {
				return err
			}
		}
		return nil
	}))
}

// TestReplicasShareTheWork runs two queues on one PostgreSQL: every fact is
// heard once per room (a second time breaks the primary key and so the order),
// every command is carried out, periodic work is not doubled.
func TestReplicasShareTheWork(t *testing.T) {
	t.Parallel()
	url := peer.Postgres(t)
	const facts = 150
	var calls, ticks atomic.Int64
	var houses []*house
	for range 2 {
		d, err := db.OpenPostgres(t.Context(), url)
		must(t, err)
		t.Cleanup(func() { _ = d.Close() })
		h := open(t, d)
		tables(t, d)
		register(h, &calls)
		h.queue.Every("daily", 24*time.Hour, func(context.Context) error { ticks.Add(1); return nil })
		houses = append(houses, h)
	}
	for _, h := range houses {
		h.start()
		must(t, h.queue.Ready(t.Context()))
	}
	for i := range facts {
		houses[i%2].tell(stopped(fmt.Sprint(i)))
	}
	d := houses[0].db
	eventually(t, "all commands done", func() bool {
		return count(t, d, "SELECT COUNT(*) FROM command WHERE state = 'done'") == facts
	})
	eventually(t, "all facts heard", func() bool { return count(t, d, "SELECT COUNT(*) FROM heard") == 2*facts })
	eventually(t, "the periodic work done", func() bool { return ticks.Load() > 0 })
	for _, h := range houses {
		must(t, h.queue.Stop(t.Context()))
	}
	if n := count(t, d, "SELECT COUNT(*) FROM greeted"); n != facts {
		t.Errorf("%d of %d commands were carried out", n, facts)
	}
	if n := count(t, d, "SELECT COUNT(*) FROM command"); n != facts {
		t.Errorf("%d commands of %d facts", n, facts)
	}
	if ticks.Load() != 1 {
		t.Errorf("daily work ran %d times", ticks.Load())
	}
	must(t, houses[0].store.VerifyChain(t.Context(), ""))
}

func TestReplicasMigrateTogether(t *testing.T) {
	t.Parallel()
	url := peer.Postgres(t)
	d, err := db.OpenPostgres(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	failed := make(chan error, 4)
	for range cap(failed) {
		go func() {
			_, err := job.Open(t.Context(), d, nil, options())
			failed <- err
		}()
	}
	for range cap(failed) {
		must(t, <-failed)
	}
}

func BenchmarkCommands(b *testing.B) {
	d, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "f.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	h := openFor(b, d)
	var left atomic.Int64
	left.Store(int64(b.N))
	finished := make(chan struct{})
	h.queue.Handle("Greet", func(context.Context, ops.Command) error {
		if left.Add(-1) == 0 {
			close(finished)
		}
		return nil
	})
	if err := h.queue.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for sent := 0; sent < b.N; sent += 100 {
		batch := make([]ops.Command, min(100, b.N-sent))
		for i := range batch {
			batch[i] = ops.NewCommand("Greet", "x", nil)
		}
		if err := d.Write(b.Context(), func(tx db.Tx) error { return h.queue.Enqueue(b.Context(), tx, batch...) }); err != nil {
			b.Fatal(err)
		}
	}
	<-finished
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	if err := h.queue.Stop(b.Context()); err != nil {
		b.Fatal(err)
	}
}
