package detect_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/series"
)

// victimEnv makes this test binary the process that is killed: its value is
// the folder of a lab, and the number of records to send before it ends.
const victimEnv = "FETTLE_DETECT_TEST_VICTIM"

// shippedEnv makes the lab use the detector that is shipped.
const shippedEnv = "FETTLE_DETECT_TEST_SHIPPED"

func TestMain(m *testing.M) {
	if dir, count, ok := strings.Cut(os.Getenv(victimEnv), "|"); ok {
		n, _ := strconv.Atoi(count)
		if err := victim(dir, n); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const crashHosts, crashStep = 5, time.Minute

// crashRecords are all that is ever sent.
func crashRecords() []series.Record {
	steps := 200
	if os.Getenv("FETTLE_LONG") == "1" {
		steps = 800
	}
	return records(hosts(crashHosts), 2, 0, steps, crashStep, 3)
}

func crashLab(t testing.TB, dir string) *lab {
	l := newLab(t, dir)
	l.fleet.step = crashStep
	l.config.CheckpointInterval, l.config.Shards = 50*time.Millisecond, 2
	if os.Getenv("FETTLE_LONG") == "1" {
		l.config.MaxModels = 4 // some are always on disk
		l.fleet.shipped = os.Getenv(shippedEnv) != ""
	}
	return l
}

// told is a testing.TB for the victim, which is no test.
type told struct{ testing.TB }

func (told) Helper()           {}
func (told) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
func (told) Error(args ...any) { panic(fmt.Sprint(args...)) }

// victim sends the fleet's samples, from where it was killed the last time, as
// a sender that repeats what was not acknowledged, and detects meanwhile.
func victim(dir string, until int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	l := crashLab(told{}, dir)
	l.start()
	rs := crashRecords()
	for i := range rs {
		rs[i].Dedupe = "r" + strconv.Itoa(i)
	}
	acked := filepath.Join(dir, "acknowledged")
	text, _ := os.ReadFile(acked)
	from, _ := strconv.Atoi(string(text))
	for from < until {
		to := min(from+10, until)
		l.append(rs[from:to]...)
		from = to
		if err := os.WriteFile(acked, []byte(strconv.Itoa(from)), 0o600); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	// One record more: where all samples were committed before a kill, the end
	// must wait for the replay.
	l.append(series.Record{Kind: series.Hold, Body: []byte(`{"tick":1}`)})
	l.settle()
	l.halt()
	l.close()
	return nil
}

// crashPoints are the failpoints of the path, as the generated list names them.
func crashPoints(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "internal", "failpoint", "points", "points.txt"))
	must(t, err)
	var out []string
	for p := range strings.Lines(string(text)) {
		p = strings.TrimSpace(p)
		for _, of := range []string{":detect.(*run)", ":detect.modelDir", ":detect.(*Pipeline).take", ":series.(*SQLLog)"} {
			if strings.Contains(p, of) {
				out = append(out, p)
			}
		}
	}
	if len(out) < 8 {
		t.Fatalf("only %q", out)
	}
	return out
}

// everything is what a reader of the store and the snapshots sees.
func (l *lab) everything() string {
	l.t.Helper()
	p, err := detect.NewPipeline(l.config, detect.PipelineDeps{Log: l.log, Selection: l.fleet, Detectors: detect.Detectors{New: newEWMA, Load: loadEWMA}, Place: l.store, Findings: l.store, Clock: time.Now, Logger: l.logger})
	must(l.t, err)
	var out strings.Builder
	all, err := p.Series(context.Background(), detect.SeriesFilter{})
	must(l.t, err)
	for _, w := range all {
		readings, err := p.Readings(context.Background(), w.ID, begin, begin.Add(1000*time.Hour))
		must(l.t, err)
		for _, r := range readings {
			fmt.Fprintf(&out, "%s %d %v\n", w.Entity, r.At, r)
		}
	}
	o := l.outcome()
	for _, list := range [][]string{o.anomalies, o.alerts, o.watched} {
		out.WriteString(strings.Join(list, "\n") + "\n")
	}
	return out.String()
}

// TestNothingIsLostWhenThePowerGoes kills a process at every point of the path
// where it leaves memory, starts it again, and compares what is there at the
// end with what a process leaves that nobody killed.
func TestNothingIsLostWhenThePowerGoes(t *testing.T) {
	killed(t, 4)
}

// TestNothingIsLostOfTheShippedDetector does the same with models of forests.
// What they find is not asked here.
func TestNothingIsLostOfTheShippedDetector(t *testing.T) {
	peer.Long(t)
	t.Setenv(shippedEnv, "1")
	killed(t, 0)
}

func killed(t *testing.T, anomalies int) {
	t.Helper()
	long := os.Getenv("FETTLE_LONG") == "1"
	want := crashLab(t, filepath.Join(t.TempDir(), "want"))
	want.start()
	want.append(crashRecords()...)
	want.settle()
	want.halt()
	wanted := want.everything()
	want.close()
	if n := strings.Count(wanted, "firing"); n < anomalies {
		t.Fatalf("%d anomalies to lose", n)
	}

	dir := filepath.Join(t.TempDir(), "victim")
	must(t, os.MkdirAll(dir, 0o700))
	points := crashPoints(t)
	var tries []string
	for n := range 4 {
		for _, p := range points {
			tries = append(tries, fmt.Sprintf("%s#%d", p, 1+n))
		}
	}
	if !long {
		tries = slices.DeleteFunc(tries[:len(points)], func(p string) bool { return !strings.Contains(p, "detect.") })
	}
	kills := 0
	for i, p := range append(tries, "") {
		total := len(crashRecords())
		until := min(total, (i+1)*total/len(tries))
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", victimEnv, dir, until), failpoint.Env+"="+p)
		var said bytes.Buffer
		cmd.Stderr = &said
		err := cmd.Run()
		switch {
		case cmd.ProcessState != nil && !cmd.ProcessState.Exited():
			kills++
		case err != nil:
			t.Fatalf("victim killed at %q: %v\n%s", p, err, said.String())
		}
	}
	if kills < len(tries)/2 {
		t.Errorf("%d of %d victims were killed", kills, len(tries))
	}
	got := crashLab(t, dir)
	defer got.close()
	if is := got.everything(); is != wanted {
		t.Errorf("after %d kills: %s", kills, firstDifference(strings.Split(is, "\n"), strings.Split(wanted, "\n")))
	}
	t.Logf("%d kills", kills)
}
