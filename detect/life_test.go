package detect_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// said is a log that is read while it is written.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// inLab runs f with a lab under virtual time.
func inLab(t *testing.T, f func(t *testing.T, l *lab)) {
	t.Helper()
	dir := dbtest.Dir(t)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, dir)
		f(t, l)
		l.close()
	})
}

// telling lists the alerts so far, without what is not asked for here.
func (l *lab) telling() string {
	l.t.Helper()
	messages, err := l.store.SignalsAfter(context.Background(), 0, 1000)
	must(l.t, err)
	var out []string
	for _, m := range messages {
		for _, s := range m.Signals {
			a := s.Alert
			_, over, _ := strings.Cut(a.Description, "Over: ")
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", a.Anomaly.Entity, a.State, over)))
		}
	}
	return strings.Join(out, "; ")
}

func (l *lab) models() []string {
	l.t.Helper()
	found, err := filepath.Glob(filepath.Join(l.config.Dir, "*", "*.model"))
	must(l.t, err)
	return found
}

func TestAnEntityThatFallsSilentIsNotUnusualForEver(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.start()
		l.append(records(hosts(1), 2, 0, 43, step, 4)...) // ends in the middle of a spike
		l.settle()
		if got, want := l.telling(), "h0:9100 firing"; got != want {
			t.Fatalf("%q, want %q", got, want)
		}
		time.Sleep(10 * time.Minute)
		if got, want := l.telling(), "h0:9100 firing; h0:9100 resolved it is no longer measured."; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		l.halt()
	})
}

func TestAnAnomalyOfALostModelIsResolved(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.start()
		l.append(records(hosts(1), 2, 0, 43, step, 4)...)
		l.settle()
		l.halt()
		must(t, os.RemoveAll(l.config.Dir))
		must(t, l.log.Trim(t.Context(), 1<<40))
		l.start()
		time.Sleep(2 * time.Second)
		if got, want := l.telling(), "h0:9100 firing; h0:9100 resolved its model was lost."; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		l.halt()
	})
}

func TestABrokenSnapshotIsSetAside(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var said said
		l.logger = slog.New(slog.NewTextHandler(&said, nil))
		l.start()
		l.append(records(hosts(2), 2, 0, 100, step, 4)...)
		l.settle()
		l.halt()
		models := l.models()
		if len(models) != 2 {
			t.Fatalf("%v", models)
		}
		body, err := os.ReadFile(models[0])
		must(t, err)
		body[len(body)/2] ^= 1
		must(t, os.WriteFile(models[0], body, 0o600))

		l.start()
		l.append(records(hosts(2), 2, 100, 130, step, 4)...)
		l.settle()
		all, err := l.pipe.Series(t.Context(), detect.SeriesFilter{})
		must(t, err)
		for _, w := range all {
			if w.Learned != ewmaNeeded {
				t.Errorf("%s: learned %d of %d", w.Entity, w.Learned, w.Needed)
			}
		}
		l.halt()
		if _, err := os.Stat(models[0] + ".broken"); err != nil {
			t.Error(err)
		}
		if !strings.Contains(said.String(), "set aside") {
			t.Errorf("nobody was told: %s", said.String())
		}
	})
}

func TestGroupsHaveALimit(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.fleet.limit = 2
		var said said
		l.logger = slog.New(slog.NewTextHandler(&said, nil))
		l.start()
		l.append(records(hosts(5), 2, 0, 30, step, 5)...)
		l.settle()
		time.Sleep(2 * time.Second)
		all, err := l.pipe.Series(t.Context(), detect.SeriesFilter{})
		must(t, err)
		if len(all) != 2 || all[0].Entity != "h0:9100" || all[1].Entity != "h1:9100" {
			t.Errorf("%+v", all)
		}
		if n := strings.Count(said.String(), "beyond max_entities"); n != 1 {
			t.Errorf("told %d times: %s", n, said.String())
		}
		// A day of silence makes room where it is needed.
		l.append(series.Record{Kind: series.Hold, Body: fmt.Appendf(nil, `{"tick":%d}`, time.Now().Add(25*time.Hour).UnixMilli())})
		l.append(records([]int{3}, 2, 40, 60, step, 5)...)
		l.settle()
		time.Sleep(2 * time.Second)
		all, err = l.pipe.Series(t.Context(), detect.SeriesFilter{})
		must(t, err)
		if len(all) != 2 || all[1].Entity != "h3:9100" {
			t.Errorf("%+v", all)
		}
		l.halt()
		if m := l.models(); len(m) != 2 {
			t.Errorf("snapshots %v", m)
		}
	})
}

func TestSnapshotsLetGoOfTheLog(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.config.CheckpointInterval = time.Minute
		l.start()
		last := l.append(records(hosts(6), 2, 0, 100, step, 2)...)
		l.settle()
		time.Sleep(62 * time.Second)
		b, err := l.log.Bounds(t.Context())
		must(t, err)
		if b.After < last {
			t.Errorf("the log holds records after %d, all up to %d are in snapshots", b.After, last)
		}
		if m := l.models(); len(m) != 6 {
			t.Errorf("%d snapshots", len(m))
		}
		l.halt()
	})
}

func (l *lab) hold(id string, version int64, from, to int, aliases ...string) {
	l.t.Helper()
	at := func(s int) int64 { return begin.Add(time.Duration(s) * step).UnixMilli() }
	body, err := json.Marshal(map[string]any{"hold": map[string]any{"id": id, "version": version, "aliases": aliases, "from": at(from), "to": at(to)}})
	must(l.t, err)
	l.append(series.Record{Kind: series.Hold, Body: body})
}

// TestWhatIsHeldIsScoredAndNotLearned: of the steps a hold covers none is
// learned, before and after it all are, and a later version of it counts.
func TestWhatIsHeldIsScoredAndNotLearned(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.start()
		l.append(records(hosts(2), 2, 0, 5, step, 4)...)
		l.hold("incident/1", 2, 6, 9, "host:h1")
		l.hold("incident/1", 1, 0, 99, "host:h1", "host:h0") // came late
		l.append(records(hosts(2), 2, 5, 12, step, 4)...)
		l.settle()
		l.halt()
		got := map[string]int{}
		for k, v := range l.seen {
			if strings.Contains(v, " true ") {
				got[k[:24]]++
			}
		}
		if len(got) != 1 {
			t.Fatalf("held of %v", got)
		}
		for _, n := range got {
			if n != 3 {
				t.Errorf("%d steps held, want 3", n)
			}
		}
	})
}

// TestWhoLooksIsToldWhyLearningIsHeld: on the replica that detects, on one that
// does not, and after a restart.
func TestWhoLooksIsToldWhyLearningIsHeld(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		shift := time.Until(begin)
		l.clock = func() time.Time { return time.Now().Add(shift) }
		at := func(d time.Duration) int64 { return begin.Add(d).UnixMilli() }
		other, err := detect.NewPipeline(l.config, detect.PipelineDeps{
			Log: l.log, Selection: l.fleet, Detectors: detect.Detectors{New: newEWMA, Load: loadEWMA}, Place: l.store, Findings: l.store, Signals: l.store,
			DB: l.core, Clock: l.clock, Logger: l.logger,
		})
		must(t, err)
		look := func(want ...ops.LearningHold) {
			t.Helper()
			for name, p := range map[string]*detect.Pipeline{"detects": l.pipe, "does not detect": other} {
				all, err := p.Series(t.Context(), detect.SeriesFilter{})
				must(t, err)
				if len(all) != 2 || len(all[0].Held) != 0 {
					t.Fatalf("who %s sees %+v", name, all)
				}
				one, _, err := p.One(t.Context(), all[1].ID)
				must(t, err)
				for _, w := range []ops.Watched{all[1], one} {
					if !slices.Equal(w.Held, want) {
						t.Errorf("who %s sees %s held by %+v, want %+v", name, w.Entity, w.Held, want)
					}
				}
			}
		}
		hold := func(id string, version int64, from, to time.Duration, why, key string) {
			t.Helper()
			l.append(series.Record{Kind: series.Hold, Body: fmt.Appendf(nil, `{"hold":{"id":%q,"version":%d,"aliases":["host:h1"],"from":%d,"to":%d,"why":%q,"key":%q}}`, id, version, at(from), at(to), why, key)})
			l.settle()
			time.Sleep(2 * time.Second) // notes are committed by the second
		}
		l.start()
		l.append(records(hosts(2), 2, 0, 5, step, 4)...)
		l.settle()
		time.Sleep(2 * time.Second)
		look()
		window := ops.LearningHold{Why: "maintenance window night", From: begin.Add(-time.Minute), Until: begin.Add(time.Hour)}
		incident := ops.LearningHold{Why: "INC-42 is open", Key: "INC-42", From: begin, Until: begin.Add(24 * time.Hour)}
		hold("incident/1", 1, 0, 24*time.Hour, incident.Why, incident.Key)
		hold("window/night/1", 1, -time.Minute, time.Hour, window.Why, "")
		hold("change/7", 1, 2*time.Hour, 3*time.Hour, "CHG-7 is carried out", "CHG-7")
		look(window, incident)
		l.halt()
		l.start()
		l.settle()
		look(window, incident)
		time.Sleep(time.Hour)
		look(incident)
		hold("incident/1", 2, 0, time.Hour, "INC-42 is open", "INC-42") // resolved
		look()
		l.halt()
	})
}

// TestADefectGivesUpOneEntity: a detector that panics takes neither the process
// nor the other entities with it.
func TestADefectGivesUpOneEntity(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var log said
		l.logger = slog.New(slog.NewTextHandler(&log, nil))
		l.fleet.poison = "h0:9100"
		l.start()
		l.append(records(hosts(2), 2, 0, 60, step, 4)...)
		l.settle()
		l.halt()
		if n := len(l.seen); n != 59+42 {
			t.Errorf("%d readings", n)
		}
		if got, want := l.telling(), "h0:9100 firing; h0:9100 resolved its model failed."; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if n := strings.Count(log.String(), "entity given up"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

// TestALostAnswerOfACommit: the transaction is durable and nobody said so.
func TestALostAnswerOfACommit(t *testing.T) {
	dir := dbtest.Dir(t)
	var want outcome
	rs := records(hosts(4), 2, 0, 200, step, 4)
	synctest.Test(t, func(t *testing.T) { want = uninterrupted(t, filepath.Join(dir, "want"), rs) })
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, filepath.Join(dir, "got"))
		w := &deaf{Writer: l.core}
		l.writer = w
		l.start()
		for i := range rs {
			w.lose(i%3 == 0)
			l.append(rs[i])
			time.Sleep(300 * time.Millisecond)
		}
		l.settle()
		l.halt()
		l.outcome().equal(t, want)
		if w.lost == 0 {
			t.Error("no answer was lost")
		}
		l.close()
	})
}

// deaf is a writer that loses answers.
type deaf struct {
	detect.Writer
	mu   sync.Mutex
	next bool
	lost int
}

func (d *deaf) lose(next bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next = next
}

func (d *deaf) Write(ctx context.Context, fn func(db.Tx) error) error {
	err := d.Writer.Write(ctx, fn)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && d.next {
		d.next = false
		d.lost++
		return errors.New("connection reset by peer")
	}
	return err
}

// TestOneReplicaDetects: with two pipelines on one database one works, and the
// other takes over when it stops, from what the log holds.
func TestOneReplicaDetects(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.config.Alone = false
		other := &lab{t: t, log: l.log, store: l.store, place: l.store, writer: l.core, fleet: l.fleet, config: l.config, logger: l.logger, seen: map[string]string{}}
		other.config.Holder, other.config.Dir = "other", filepath.Join(l.dir, "other")
		l.start()
		time.Sleep(time.Second)
		other.start()
		l.append(records(hosts(2), 2, 0, 100, step, 4)...)
		l.settle()
		time.Sleep(10 * time.Second)
		if len(l.seen) == 0 || len(other.seen) > 0 {
			t.Errorf("%d readings of the first, %d of the second", len(l.seen), len(other.seen))
		}
		before, err := l.store.Detection(t.Context(), 0)
		must(t, err)
		l.halt()
		time.Sleep(3 * time.Second)
		l.append(records(hosts(2), 2, 100, 120, step, 4)...)
		l.settle()
		time.Sleep(time.Second)
		other.halt()
		after, err := l.store.Detection(t.Context(), 0)
		must(t, err)
		if after.Epoch != before.Epoch+1 || len(other.seen) == 0 {
			t.Errorf("%+v then %+v, %d readings of the second", before, after, len(other.seen))
		}
	})
}

func TestReadings(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		const n = 1500 // a little over four hours
		l.start()
		l.append(records(hosts(1), 2, 0, n, step, 4)...)
		l.settle()
		all, err := l.pipe.Series(t.Context(), detect.SeriesFilter{Group: "fleet", Entity: "h0:9100"})
		must(t, err)
		if len(all) != 1 {
			t.Fatalf("%+v", all)
		}
		w, features, err := l.pipe.One(t.Context(), all[0].ID)
		if err != nil || !reflect.DeepEqual(w, all[0]) || len(features) != 2 || features[1].Name != "m1" {
			t.Errorf("%+v, %v, %v", w, features, err)
		}
		f := func() {
			t.Helper()
			got, err := l.pipe.Readings(t.Context(), w.ID, begin, begin.Add(5*time.Hour))
			must(t, err)
			if want := 240 + (n-1-240+5)/6; len(got) < want-1 || len(got) > want+1 {
				t.Errorf("%d readings, want the last 240 steps and %d minutes before", len(got), want-240)
			}
			for i, r := range got {
				if i > 0 && r.At <= got[i-1].At {
					t.Fatalf("reading %d is not after the one before", i)
				}
				s := int(time.UnixMilli(r.At).Sub(begin) / step)
				want := story(0, 1, s)
				if i < len(got)-240 {
					want = 0
					for k := range 6 {
						want += story(0, 1, s+k) / 6
					}
				}
				if v := float64(r.Values[1]); v < want-1e-4 || v > want+1e-4 {
					t.Fatalf("reading %d at step %d is %v, want %v", i, s, v, want)
				}
			}
			part, err := l.pipe.Readings(t.Context(), w.ID, begin.Add(time.Hour), begin.Add(2*time.Hour))
			if err != nil || len(part) != 60 {
				t.Errorf("%d readings of an hour, %v", len(part), err)
			}
		}
		f()
		l.halt()
		f() // from the snapshot
		if _, _, err := l.pipe.One(t.Context(), "unknown"); !errors.Is(err, ops.ErrNotFound) {
			t.Error(err)
		}
		if got, err := l.pipe.Readings(t.Context(), "../../etc/passwd", begin, begin.Add(time.Hour)); err != nil || len(got) != 0 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// TestALogThatIsNotTheOne: the log was deleted and the database was not.
func TestALogThatIsNotTheOne(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.start()
		l.append(records(hosts(1), 2, 0, 100, step, 4)...)
		l.settle()
		l.halt()
		l.close()
		for _, suffix := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(filepath.Join(l.dir, "samples.db"+suffix))
		}
		l.open()
		l.start()
		time.Sleep(time.Second)
		was := len(l.seen)
		l.append(records(hosts(1), 2, 100, 130, step, 4)...)
		l.settle()
		l.halt()
		if len(l.seen) < was+29 {
			t.Errorf("%d readings more", len(l.seen)-was)
		}
	})
}
