package detect_test

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/series"
)

// few makes property tests on files quick: fsync is what they wait for.
func few(t *testing.T) {
	t.Helper()
	given := peer.Proving()
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		must(t, flag.Set("rapid.checks", "3"))
	}
}

func hosts(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

const step = 10 * time.Second

// uninterrupted is what one run over everything leaves.
func uninterrupted(t *testing.T, dir string, rs []series.Record) outcome {
	t.Helper()
	l := newLab(t, dir)
	defer l.close()
	l.start()
	l.append(rs...)
	l.settle()
	l.halt()
	return l.outcome()
}

func TestSamplesBecomeAnomalies(t *testing.T) {
	dir := dbtest.Dir(t)
	synctest.Test(t, func(t *testing.T) {
		o := uninterrupted(t, dir, records(hosts(4), 2, 0, 500, step, 4))
		if len(o.watched) != 4 || len(o.readings) != 4*499 || len(o.chunks) != 4 {
			t.Errorf("%d watched, %d readings, %d chunks", len(o.watched), len(o.readings), len(o.chunks))
		}
		if len(o.anomalies) != 16 || len(o.alerts) != 32 {
			t.Errorf("%d anomalies, %d alerts; want one for each spike of the hosts 0 and 3, told when it opens and when it is over", len(o.anomalies), len(o.alerts))
		}
		want := "firing 2026-11-21 00:16:50 +0000 UTC m1 is unusual on h3:9100 m1 3.35 where 0.34 was expected (0.049 to 0.64); m0 3.3 where 0.37 was expected (0.02 to 0.72). Grade 1 of 1, confidence 1, by ewma."
		if !strings.Contains(strings.Join(o.alerts, "\n"), want) {
			t.Errorf("no alert says %q; the first says %s", want, o.alerts[0])
		}
	})
}

// TestACrashChangesNothing holds runs that lose their memory again and again,
// at whatever point between two commits, against one that does not, however
// the log is cut into appends, shards and rounds.
func TestACrashChangesNothing(t *testing.T) {
	dir := dbtest.Dir(t)
	var want outcome
	const n, steps = 5, 150
	synctest.Test(t, func(t *testing.T) {
		want = uninterrupted(t, filepath.Join(dir, "want"), records(hosts(n), 2, 0, steps, step, 4))
	})
	few(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		rs := records(hosts(n), 2, 0, steps, step, 4)
		shards := rapid.IntRange(1, 4).Draw(rt, "shards")
		models := rapid.SampledFrom([]int{4, 100, 100}).Draw(rt, "models in memory")
		interval := time.Duration(rapid.IntRange(1, 90).Draw(rt, "checkpoint interval")) * time.Second
		type act struct{ append, pause, crash int }
		var acts []act
		for range rapid.IntRange(1, 12).Draw(rt, "acts") {
			acts = append(acts, act{
				append: rapid.IntRange(1, len(rs)/4).Draw(rt, "append"), pause: rapid.IntRange(0, 15).Draw(rt, "pause"), crash: rapid.SampledFrom([]int{0, 1, 1, 2, 3, 5, -1}).Draw(rt, "crash"),
			})
		}
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, filepath.Join(dir, "run", time.Duration(round).String()))
			defer l.close()
			l.config.Shards, l.config.MaxModels, l.config.CheckpointInterval = shards, models, interval
			c := &crashing{Place: l.store}
			l.place = c
			l.start()
			for _, a := range acts {
				k := min(a.append, len(rs))
				l.append(rs[:k]...)
				rs = rs[k:]
				if a.crash < 0 { // a stop and a start
					l.halt()
					l.start()
				} else {
					c.crashIn(a.crash)
				}
				time.Sleep(time.Duration(a.pause) * time.Second)
			}
			c.crashIn(0)
			l.append(rs...)
			l.settle()
			l.halt()
			for _, odd := range l.odd {
				rt.Errorf("scored differently by a replay: %s", odd)
				break
			}
			l.outcome().equal(rt, want)
		})
	})
}
