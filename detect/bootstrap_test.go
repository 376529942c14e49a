package detect_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// part is the batch of a part: steps [from, to) of the hosts.
func part(hosts []int, metrics, from, to int, step time.Duration) (begins, ends time.Time, body []byte) {
	var b series.Batch
	for _, h := range hosts {
		for m := range metrics {
			b.Series(&series.Descriptor{Metric: fmt.Sprintf("m%d", m), Labels: []series.Label{{Name: "instance", Value: fmt.Sprintf("h%d:9100", h)}}})
			for s := from; s < to; s++ {
				b.Sample(begin.Add(time.Duration(s)*step).UnixMilli()+int64(m), story(h, m, s))
			}
		}
	}
	b.Series(&series.Descriptor{Metric: "nobody_selects_it"})
	b.Sample(begin.Add(time.Duration(from)*step).UnixMilli(), 1)
	return begin.Add(time.Duration(from) * step), begin.Add(time.Duration(to) * step), b.Append(nil)
}

// late makes the clock of a lab that of the day after the story begins.
func (l *lab) late() {
	start := time.Now()
	l.clock = func() time.Time { return begin.Add(24*time.Hour + time.Since(start)) }
}

// teach gives one part, again and again until it is taken, as a client does.
func (l *lab) teach(id string, hosts []int, from, to int) detect.Taken {
	l.t.Helper()
	begins, ends, body := part(hosts, l.fleet.metrics, from, to, l.fleet.step)
	for range 1000 {
		got, err := l.pipe.LearnPast(context.Background(), id, begins, ends, body)
		if err == nil {
			return got
		}
		if !errors.Is(err, ops.ErrUnavailable) {
			l.t.Fatal(err)
		}
	}
	l.t.Fatal("the part is never taken")
	return detect.Taken{}
}

func (l *lab) begin(source string, replace bool) ops.Bootstrap {
	l.t.Helper()
	b, _, err := l.pipe.BeginBootstrap(context.Background(), "fleet", source, replace)
	must(l.t, err)
	return b
}

func (l *lab) end(id string) {
	l.t.Helper()
	for range 1000 {
		_, err := l.pipe.EndBootstrap(context.Background(), id)
		if err == nil {
			return
		}
		if !errors.Is(err, ops.ErrUnavailable) {
			l.t.Fatal(err)
		}
	}
	l.t.Fatal("the bootstrap never ends")
}

const (
	learned = 300 // steps of the past
	lived   = 120 // steps that come live after it
)

// asIfLive holds a lab that was taught a past against one that lived it.
func asIfLive(t interface{ Errorf(string, ...any) }, taught, live outcome) {
	for k, v := range live.readings {
		if taught.readings[k] != v {
			t.Errorf("reading %s: taught %q, lived %q", k, taught.readings[k], v)
			break
		}
	}
	if len(taught.readings) != len(live.readings) {
		t.Errorf("%d readings, want %d", len(taught.readings), len(live.readings))
	}
	if !slices.Equal(taught.chunks, live.chunks) {
		t.Errorf("readings in the store differ: %s", firstDifference(taught.chunks, live.chunks))
	}
	boundary := begin.Add(learned * step)
	var want []string
	for _, a := range live.anomalies {
		from, err := time.Parse("2006-01-02 15:04:05 -0700 MST", strings.Join(strings.Fields(a)[2:6], " "))
		if err != nil {
			t.Errorf("%v", err)
			return
		}
		if !from.Before(boundary) {
			want = append(want, a)
		}
	}
	if len(want) == 0 || len(want) == len(live.anomalies) {
		t.Errorf("%d of %d anomalies came live: the story tells nothing", len(want), len(live.anomalies))
	}
	if !slices.Equal(taught.anomalies, want) {
		t.Errorf("anomalies after the past: %s", firstDifference(taught.anomalies, want))
	}
}

func TestThePastTeachesAsIfItHadBeenLived(t *testing.T) {
	dir := dbtest.Dir(t)
	all := hosts(4)
	var live outcome
	synctest.Test(t, func(t *testing.T) {
		live = uninterrupted(t, filepath.Join(dir, "live"), records(all, 2, 0, learned+lived, step, 4))
	})
	round := 0
	f := func(v lesson) {
		t.Helper()
		round++
		synctest.Test(t, func(t *testing.T) {
			for _, fault := range v.teach(t, filepath.Join(dir, fmt.Sprint(round)), live) {
				t.Errorf("%+v: %s", v, fault)
			}
		})
	}
	f(lesson{shards: 1, models: 100, cuts: []int{learned}})
	f(lesson{shards: 2, models: 3, before: 7, cuts: []int{60, 200, 211, learned}, crash: 2})
	f(lesson{shards: 3, models: 100, before: 11, cuts: []int{149, learned}, crash: 1})
	if !peer.Proving() {
		return
	}
	rapid.Check(t, func(rt *rapid.T) {
		v := lesson{
			shards: rapid.IntRange(1, 3).Draw(rt, "shards"), models: rapid.SampledFrom([]int{3, 100}).Draw(rt, "models in memory"),
			before: rapid.IntRange(0, 11).Draw(rt, "steps lived before"), crash: rapid.SampledFrom([]int{0, 1, 2, 4}).Draw(rt, "crash"),
		}
		for at := 0; at < learned; {
			at = min(learned, at+rapid.IntRange(1, 150).Draw(rt, "part"))
			v.cuts = append(v.cuts, at)
		}
		round++
		synctest.Test(t, func(t *testing.T) {
			for _, fault := range v.teach(t, filepath.Join(dir, fmt.Sprint(round)), live) {
				rt.Error(fault)
			}
		})
	})
}

// lesson is a way to teach a fleet its past.
type lesson struct {
	shards, models int
	before         int   // steps lived before it begins
	cuts           []int // where its parts end
	crash          int   // commits until the run loses its memory, in each part
}

// faults collects what is wrong.
type faults []string

func (f *faults) Errorf(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

func (v lesson) teach(t *testing.T, dir string, live outcome) (out faults) {
	all := hosts(4)
	l := newLab(t, dir)
	defer l.close()
	l.late()
	l.config.Shards, l.config.MaxModels, l.config.CheckpointInterval = v.shards, v.models, 7*time.Second
	c := &crashing{Place: l.store}
	l.place = c
	l.start()
	// What is still learning when its past comes begins anew.
	l.append(records(all, 2, -v.before, 0, step, 4)...)
	l.settle()
	b := l.begin("test", false)
	from := 0
	for _, to := range v.cuts {
		c.crashIn(v.crash)
		if got := l.teach(b.ID, all, from, to); got.Entities != 4 || got.Warm != 0 || got.Series != 9 || got.Selected != 8 {
			out.Errorf("part %d to %d: %+v", from, to, got)
		}
		// What comes live meanwhile is set aside.
		l.append(records(all, 2, learned, learned+1, step, 4)...)
		from = to
		time.Sleep(time.Duration(to%5) * time.Second)
	}
	c.crashIn(0)
	l.end(b.ID)
	l.append(records(all, 2, learned, learned+lived, step, 4)...)
	l.settle()
	l.halt()
	if len(l.odd) > 0 {
		out.Errorf("scored differently by a replay: %s", l.odd[0])
	}
	o := l.outcome()
	maps.DeleteFunc(o.readings, func(key, _ string) bool {
		at, err := strconv.ParseInt(strings.Fields(key)[1], 10, 64)
		return err == nil && at < begin.UnixMilli()
	})
	o.chunks = slices.DeleteFunc(o.chunks, func(c string) bool { return !slices.Contains(live.chunks, c) })
	asIfLive(&out, o, live)
	return out
}

func TestAPastIsTakenOnce(t *testing.T) {
	dir := dbtest.Dir(t)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, dir)
		defer l.close()
		l.late()
		l.start()
		first := l.begin("test", false)
		l.teach(first.ID, hosts(2), 0, 100)
		// It was interrupted: whoever comes again goes on where it was left.
		again, resumed, err := l.pipe.BeginBootstrap(t.Context(), "fleet", "test", false)
		must(t, err)
		if !resumed || again.ID != first.ID || !again.Covered.Equal(begin.Add(100*step)) || again.Samples != 400 {
			t.Errorf("resumed %v: %+v", resumed, again)
		}
		l.teach(first.ID, hosts(2), 0, 100)
		l.teach(first.ID, hosts(2), 100, 200)
		l.end(first.ID)
		l.end(first.ID)
		must(t, func() error {
			begins, ends, body := part(hosts(2), 2, 200, 300, step)
			if _, err := l.pipe.LearnPast(t.Context(), first.ID, begins, ends, body); !errors.Is(err, ops.ErrConflict) {
				return fmt.Errorf("a part after the end: %w", err)
			}
			return nil
		}())
		readings := len(l.seen)

		second, resumed, err := l.pipe.BeginBootstrap(t.Context(), "fleet", "test", false)
		must(t, err)
		if resumed || second.ID == first.ID {
			t.Errorf("what has ended goes on: %+v", second)
		}
		got := l.teach(second.ID, hosts(3), 0, 100)
		if got.Warm != 2 || got.Entities != 1 || got.Samples != 200 || !slices.Equal(got.WarmNames, []string{"h0:9100", "h1:9100"}) {
			t.Errorf("what knows enough: %+v", got)
		}
		l.end(second.ID)
		if n := len(l.seen) - readings; n != 99 {
			t.Errorf("%d readings more, want those of the third host", n)
		}
		g, err := l.pipe.Group(t.Context(), "fleet")
		must(t, err)
		if g.Entities != 3 || g.Ready != 3 {
			t.Errorf("%d of %d entities have learned", g.Ready, g.Entities)
		}

		time.Sleep(time.Second)
		third := l.begin("test", true)
		if got := l.teach(third.ID, hosts(1), 0, 50); got.Warm != 0 || got.Entities != 1 {
			t.Errorf("replace: %+v", got)
		}
		l.end(third.ID)
		l.settle()
		l.halt()
		for _, a := range l.outcome().anomalies {
			t.Errorf("the past opened an anomaly: %s", a)
		}
	})
}

func TestWhatWaitsTooLongForItsPastGoesOn(t *testing.T) {
	dir := dbtest.Dir(t)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, dir)
		defer l.close()
		l.late()
		l.start()
		time.Sleep(2 * time.Second) // the log knows how late it is
		b := l.begin("test", false)
		l.teach(b.ID, hosts(1), 0, 50)
		l.append(records(hosts(1), 2, 60, 70, step, 1)...)
		l.settle()
		before := len(l.seen)
		time.Sleep(62 * time.Minute)
		l.append(records(hosts(1), 2, 70, 80, step, 1)...)
		l.settle()
		if n := len(l.seen) - before; n != 10 {
			t.Errorf("%d readings after an hour without a part, want 10: one of the past, whose step was open, and nine", n)
		}
		if got := l.teach(b.ID, hosts(1), 50, 60); got.Samples != 0 || got.Warm != 1 {
			t.Errorf("a part of what is over: %+v", got)
		}
		l.halt()
	})
}

func TestPartsThatMakeNoSenseAreRefused(t *testing.T) {
	dir := dbtest.Dir(t)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, dir)
		defer l.close()
		l.late()
		l.start()
		b := l.begin("test", false)
		begins, ends, body := part(hosts(1), 2, 0, 10, step)
		f := func(id string, from, to time.Time, body []byte, want error) {
			t.Helper()
			if _, err := l.pipe.LearnPast(t.Context(), id, from, to, body); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
		f("nobody", begins, ends, body, ops.ErrNotFound)
		f(b.ID, ends, begins, body, ops.ErrInvalid)
		f(b.ID, begins, ends.AddDate(1, 0, 0), body, ops.ErrInvalid)
		f(b.ID, begins.Add(step), ends, body, ops.ErrInvalid)
		f(b.ID, begins, ends.Add(-step), body, ops.ErrInvalid)
		f(b.ID, begins, ends, body[:len(body)-1], ops.ErrInvalid)
		f(b.ID, begins, ends, nil, ops.ErrInvalid)
		var backwards series.Batch
		backwards.Series(&series.Descriptor{Metric: "m0", Labels: []series.Label{{Name: "instance", Value: "h0"}}})
		backwards.Sample(begins.UnixMilli()+1, 1)
		backwards.Sample(begins.UnixMilli(), 1)
		f(b.ID, begins, ends, backwards.Append(nil), ops.ErrInvalid)
		f(b.ID, begins, ends, body, nil)
		if _, _, err := l.pipe.BeginBootstrap(t.Context(), "nobody", "test", false); !errors.Is(err, ops.ErrNotFound) {
			t.Errorf("a group nobody knows: %v", err)
		}
		l.halt()
	})
}
