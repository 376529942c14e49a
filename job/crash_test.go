package job_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/sqlite"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

// floodEnv makes this test binary the process that is killed: its value is the
// database file.
const floodEnv = "FETTLE_JOB_TEST_FLOOD"

func TestMain(m *testing.M) {
	if path := os.Getenv(floodEnv); path != "" {
		if err := flood(path, os.Args[len(os.Args)-1]); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(peer.Waiting(m))
}

// flood writes facts with their commands as fast as it can while the queue
// works, and prints each subject once its write is acknowledged. It ends when
// its standard input does, that is with the test.
func flood(path, round string) error {
	ctx := context.Background()
	d, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	s := store.New(d, time.Now)
	q, err := job.Open(ctx, d, s, job.Options{Clock: time.Now, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	s.OnFact(q.Wake)
	var calls atomic.Int64
	register(&house{db: d, store: s, queue: q}, &calls)
	if err := q.Start(ctx); err != nil {
		return err
	}
	acknowledged := make(chan string, 1024)
	failed := make(chan error, 1)
	for i := range 8 {
		go func() {
			for j := 0; ; j++ {
				subject := fmt.Sprintf("flood/%s/%d/%d", round, i, j)
				err := d.Write(ctx, func(tx db.Tx) error {
					told, err := s.Tell(ctx, tx, ops.NewFact(subject, time.Now(), ops.SystemPrincipal, "", ops.ExecutionSwitchBody{Reason: "flood"}),
						ops.NewFact("shared", time.Now(), ops.SystemPrincipal, "", ops.ConfigLoadedBody{Digest: subject}))
					if err != nil {
						return err
					}
					c := ops.NewCommand("Greet", subject, nil)
					c.Cause = told[0].ID
					return q.Enqueue(ctx, tx, c)
				})
				if err != nil {
					failed <- err
					return
				}
				acknowledged <- subject
				time.Sleep(time.Millisecond) // the disk decides the rate of 8 writers, not this
			}
		}()
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		failed <- io.EOF
	}()
	for {
		select {
		case err := <-failed:
			return err
		case subject := <-acknowledged:
			if _, err := fmt.Println(subject); err != nil {
				return err
			}
		}
	}
}

// TestNothingIsLostWhenThePowerGoes kills a flooding process with SIGKILL, at
// random and at the commits of the queue, and then counts. The quick run kills it
// less often at random.
func TestNothingIsLostWhenThePowerGoes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f.db")
	d := openFile(t, path)
	open(t, d)
	tables(t, d)
	must(t, d.Close())

	random := rand.New(rand.NewPCG(1, 2))
	acknowledged := map[string]bool{}
	round := 0
	die := func(point string, acks int) {
		t.Helper()
		round++ // a life that dies before its first acknowledgement may still have committed: no two share names
		got := killed(t, path, fmt.Sprint(round), point, acks)
		for _, subject := range got {
			acknowledged[subject] = true
		}
	}
	kills, most := 2, 60
	if os.Getenv("FETTLE_LONG") == "1" {
		kills, most = 6, 300
	}
	for range kills {
		die("", 1+random.IntN(most))
	}
	for _, at := range []string{"job.(*Queue).tell", "job.(*worker).Work"} {
		for _, when := range []string{"commit.before:", "commit.after:"} {
			die(when+at+fmt.Sprintf("#%d", 1+random.IntN(20)), 0)
		}
	}

	d = openFile(t, path)
	t.Cleanup(func() { _ = d.Close() })
	h := open(t, d)
	var calls atomic.Int64
	register(h, &calls)
	h.start()
	facts := count(t, d, "SELECT COUNT(*) FROM fact WHERE kind = 'ExecutionStopped'")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%d facts; heard %v; commands %v; jobs %v", facts, spread(t, d, "room", "heard"), spread(t, d, "state", "command"),
				spread(t, d, "state || ' attempt ' || attempt || ' at ' || scheduled_at", "river_job WHERE state <> 'completed'"))
		}
	})
	eventually(t, "every fact heard and every command done", func() bool {
		return count(t, d, "SELECT COUNT(*) FROM heard") == 2*facts && count(t, d, "SELECT COUNT(*) FROM command WHERE state = 'done'") == 2*facts
	})
	must(t, h.queue.Stop(t.Context()))
	must(t, h.store.VerifyChain(t.Context(), ""))
	if n := count(t, d, "SELECT COUNT(*) FROM command"); n != 2*facts {
		t.Errorf("%d commands for %d facts: one told and one for what was heard of each", n, facts)
	}
	if n := count(t, d, "SELECT COUNT(*) FROM fact f WHERE kind = 'ExecutionStopped' AND 2 <> (SELECT COUNT(*) FROM heard h WHERE h.seq = f.seq)"); n != 0 {
		t.Errorf("%d facts were not heard exactly once by both rooms", n)
	}
	for subject := range acknowledged {
		var told, greeted int64
		must(t, d.Read().QueryRow(t.Context(), "SELECT (SELECT COUNT(*) FROM fact WHERE subject = $1), (SELECT COALESCE(SUM(times), 0) FROM greeted WHERE subject = $1)", subject).Scan(&told, &greeted))
		if told != 1 || greeted < 1 {
			t.Errorf("%s was acknowledged: %d facts, carried out %d times", subject, told, greeted)
		}
	}
	var check string
	must(t, d.Read().QueryRow(t.Context(), "PRAGMA integrity_check").Scan(&check))
	if check != "ok" {
		t.Errorf("the database is damaged: %s", check)
	}
	t.Logf("%d writes acknowledged, %d committed", len(acknowledged), facts)
}

// spread counts the rows of a table by what an expression says of each.
func spread(t *testing.T, d *db.DB, by, table string) map[string]int {
	t.Helper()
	rows, err := d.Read().Query(context.Background(), fmt.Sprintf("SELECT %s, COUNT(*) FROM %s GROUP BY 1", by, table))
	out := map[string]int{}
	_, err = db.Collect(rows, err, func(r db.Row) (n int, err error) {
		var what string
		err = r.Scan(&what, &n)
		out[what] = n
		return n, err
	})
	must(t, err)
	return out
}

// killed runs the flood until it dies at a failpoint, or until it has
// acknowledged acks writes and is killed, and returns what it acknowledged.
func killed(t *testing.T, path, round, point string, acks int) (acknowledged []string) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	var trouble strings.Builder
	child := exec.Command(self, round)
	child.Env = append(os.Environ(), floodEnv+"="+path, failpoint.Env+"="+point)
	child.Stderr = &trouble
	stdin, err := child.StdinPipe()
	must(t, err)
	defer func() { _ = stdin.Close() }()
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line cut short was not acknowledged to anyone
		}
		acknowledged = append(acknowledged, strings.TrimSpace(line))
		if point == "" && len(acknowledged) == acks {
			must(t, child.Process.Kill())
		}
	}
	if err := child.Wait(); err == nil || child.ProcessState.Exited() {
		t.Fatalf("the flood ended by itself (%v): %s", err, trouble.String())
	}
	return acknowledged
}
