package job_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/internal/db/sqlite"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/job/jobtest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

// house is a queue on a store, as app builds it.
type house struct {
	t     testing.TB
	db    *db.DB
	store *store.Store
	queue *job.Queue
	heard journal
}

// schema is what every database here begins with.
var schema = dbtest.Laid(jobtest.Migrate)

func open(t *testing.T, d *db.DB) *house {
	t.Helper()
	return openFor(t, d)
}

func options() job.Options {
	return job.Options{Clock: time.Now, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
}

func openFor(t testing.TB, d *db.DB) *house {
	t.Helper()
	h := &house{t: t, db: d}
	must(t, store.Migrate(t.Context(), d))
	h.store = store.New(d, time.Now)
	q, err := job.Open(t.Context(), d, h.store, options())
	must(t, err)
	h.store.OnFact(q.Wake)
	h.queue = q
	return h
}

func openFile(t *testing.T, path string) *db.DB {
	t.Helper()
	d, err := sqlite.Open(t.Context(), path)
	must(t, err)
	return d
}

// inBubble runs f on a fresh SQLite house under virtual time.
func inBubble(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	path := filepath.Join(dbtest.Dir(t), "f.db")
	schema.Put(t, path)
	synctest.Test(t, func(t *testing.T) {
		d := openFile(t, path)
		h := open(t, d)
		f(t, h)
		must(t, h.queue.Stop(t.Context()))
		must(t, d.Close())
	})
}

func (h *house) start() {
	h.t.Helper()
	must(h.t, h.queue.Start(h.t.Context()))
}

func (h *house) enqueue(commands ...ops.Command) {
	h.t.Helper()
	must(h.t, h.db.Write(h.t.Context(), func(tx db.Tx) error { return h.queue.Enqueue(h.t.Context(), tx, commands...) }))
}

func (h *house) tell(facts ...ops.Fact) {
	h.t.Helper()
	must(h.t, h.db.Write(h.t.Context(), func(tx db.Tx) error {
		_, err := h.store.Tell(h.t.Context(), tx, facts...)
		return err
	}))
}

// row returns state, attempts and error of the command about a subject.
func (h *house) row(subject string) (state string, attempts int64, failure string) {
	h.t.Helper()
	must(h.t, h.db.Read().QueryRow(h.t.Context(), "SELECT state, attempts, error FROM command WHERE subject = $1", subject).Scan(&state, &attempts, &failure))
	return state, attempts, failure
}

// journal is what handlers and listeners of a test saw.
type journal struct {
	mu    sync.Mutex
	lines []string
	at    []time.Time
}

func (j *journal) note(format string, args ...any) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
	j.at = append(j.at, time.Now())
	return len(j.lines)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// times says when each line was noted.
func (j *journal) times() []time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.at)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func stopped(reason string) ops.Fact {
	return ops.NewFact(ops.SystemSubject, time.Now(), ops.SystemPrincipal, "", ops.ExecutionSwitchBody{Reason: reason})
}

func TestCommandIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		h.queue.Handle("Greet", func(_ context.Context, c ops.Command) error {
			h.heard.note("%s %s %s %s", c.Kind, c.Subject, c.Body, c.Cause)
			return nil
		})
		h.start()
		c := ops.NewCommand("Greet", "change/1", map[string]string{"text": "a\x00b <ü>"})
		c.Cause = "fact-1"
		h.enqueue(c)
		time.Sleep(time.Second)
		if got, want := h.heard.all(), []string{`Greet change/1 ` + string(c.Body) + ` fact-1`}; !slices.Equal(got, want) {
			t.Errorf("carried out %q, want %q", got, want)
		}
		if state, attempts, _ := h.row("change/1"); state != "done" || attempts != 1 {
			t.Errorf("recorded as %s after %d attempts", state, attempts)
		}
	})
}

func TestRolledBackCommandNeverExisted(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		h.queue.Handle("Greet", func(context.Context, ops.Command) error { h.heard.note("greeted"); return nil })
		h.start()
		boom := errors.New("boom")
		err := h.db.Write(t.Context(), func(tx db.Tx) error {
			must(t, h.queue.Enqueue(t.Context(), tx, ops.NewCommand("Greet", "a", nil)))
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatalf("write: %v", err)
		}
		time.Sleep(time.Minute)
		if got := h.heard.all(); len(got) > 0 {
			t.Errorf("a rolled back command ran: %q", got)
		}
		if n, err := h.queue.Depth(t.Context()); n != 0 || err != nil {
			t.Errorf("depth %d, %v", n, err)
		}
	})
}

func TestClassOfErrorDecides(t *testing.T) {
	t.Parallel()
	f := func(name string, err error, wantState string, wantCalls int, within time.Duration) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				h.queue.Handle("Try", func(context.Context, ops.Command) error {
					h.heard.note("call")
					if err == nil {
						panic("handlers may have defects")
					}
					return fmt.Errorf("peer: %w", err)
				})
				h.start()
				h.enqueue(ops.NewCommand("Try", "x", nil))
				time.Sleep(within)
				state, _, failure := h.row("x")
				if calls := len(h.heard.all()); state != wantState || calls != wantCalls || failure == "" {
					t.Errorf("%s: %s after %d calls with error %q, want %s after %d", name, state, calls, failure, wantState, wantCalls)
				}
			})
		})
	}
	// Pauses are 0.75..1, 1.5..2, 3..4 s.
	f("unavailable", ops.ErrUnavailable, "waiting", 3, 3200*time.Millisecond)
	f("conflict", ops.ErrConflict, "waiting", 3, 3200*time.Millisecond)
	f("without class", errors.New("odd"), "waiting", 3, 3200*time.Millisecond)
	f("panic", nil, "waiting", 3, 3200*time.Millisecond)
	f("throttled", &ops.Throttled{After: 40 * time.Second, Err: errors.New("429")}, "waiting", 1, 39*time.Second)
	f("throttled, later", &ops.Throttled{After: 40 * time.Second, Err: errors.New("429")}, "waiting", 2, 46*time.Second)
	f("snooze", job.Snooze(10*time.Second, "not yet"), "waiting", 4, 32*time.Second)
	for _, err := range []error{ops.ErrInvalid, ops.ErrDenied, ops.ErrNotFound, ops.ErrStalled} {
		f("ended: "+err.Error(), err, "ended", 1, time.Minute)
	}
}

func TestErrorIsKeptWithoutCredentials(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		h.queue.Handle("Try", func(context.Context, ops.Command) error {
			return fmt.Errorf("GET https://ada:hunter22@peer/x?token=abc: Bearer eyJhbGciOiJIUzI1NiJ9 \x00\xff %s: %w", strings.Repeat("ü", 9000), ops.ErrInvalid)
		})
		h.start()
		h.enqueue(ops.NewCommand("Try", "x", nil))
		time.Sleep(time.Second)
		state, _, failure := h.row("x")
		if state != "ended" || !strings.Contains(failure, "peer/x") || len(failure) > 4<<10 || !utf8.ValidString(failure) {
			t.Errorf("%s with %d bytes: %.200q", state, len(failure), failure)
		}
		for _, secret := range []string{"hunter22", "abc", "eyJ"} {
			if strings.Contains(failure, secret) {
				t.Errorf("the error shows %q: %.200q", secret, failure)
			}
		}
	})
}

func TestRetryPausesGrowToFiveMinutes(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		h.queue.Handle("Try", func(context.Context, ops.Command) error { h.heard.note("call"); return ops.ErrUnavailable })
		h.start()
		h.enqueue(ops.NewCommand("Try", "x", nil))
		time.Sleep(25 * time.Minute)
		var longest time.Duration
		calls := h.heard.times()
		for i := 1; i < len(calls); i++ {
			pause := calls[i].Sub(calls[i-1])
			least := min(time.Second<<min(i-1, 10), 5*time.Minute) * 3 / 4
			if pause < least {
				t.Errorf("pause %d is %s, want at least %s", i, pause, least)
			}
			longest = max(longest, pause)
		}
		if longest > 5*time.Minute+6*time.Second || len(calls) < 10 {
			t.Errorf("%d calls in 25 minutes, longest pause %s", len(calls), longest)
		}
		if _, attempts, _ := h.row("x"); int(attempts) != len(calls) {
			t.Errorf("%d attempts recorded of %d", attempts, len(calls))
		}
	})
}

func TestSnoozeIsNoFailure(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		h.queue.Handle("Poll", func(context.Context, ops.Command) error {
			if h.heard.note("poll") < 50 {
				return job.Snooze(5*time.Second, "still running")
			}
			return nil
		})
		h.start()
		h.enqueue(ops.NewCommand("Poll", "x", nil))
		time.Sleep(10 * time.Minute)
		if state, attempts, failure := h.row("x"); state != "done" || attempts != 1 || failure != "" {
			t.Errorf("%s after %d attempts, error %q", state, attempts, failure)
		}
	})
}

func TestCommandWaitsForItsTime(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{300 * time.Millisecond, 3 * time.Second, 9 * time.Second, 17 * time.Second, 2 * time.Minute} {
		t.Run(wait.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				h.queue.Handle("Wake", func(context.Context, ops.Command) error { h.heard.note("woken"); return nil })
				h.start()
				time.Sleep(7 * time.Second)
				c := ops.NewCommand("Wake", "x", nil)
				c.At = time.Now().Add(wait)
				h.enqueue(c)
				time.Sleep(wait + 3*time.Second)
				woken := h.heard.times()
				if len(woken) != 1 {
					t.Fatalf("ran %d times", len(woken))
				}
				if late := woken[0].Sub(c.At); late < -time.Millisecond || late > 20*time.Millisecond {
					t.Errorf("late by %s", late)
				}
			})
		})
	}
}

func TestUnknownCommandWaitsForAHandler(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		h.start()
		h.enqueue(ops.NewCommand("OfNextVersion", "x", nil))
		time.Sleep(time.Minute)
		if state, _, failure := h.row("x"); state != "waiting" || failure == "" {
			t.Errorf("state %s, error %q", state, failure)
		}
	})
}

func TestStopQueuesAgainWhatItCancelled(t *testing.T) {
	path := filepath.Join(dbtest.Dir(t), "f.db")
	synctest.Test(t, func(t *testing.T) {
		d := openFile(t, path)
		h := open(t, d)
		h.queue.Handle("Long", func(ctx context.Context, _ ops.Command) error {
			<-ctx.Done()
			return ctx.Err()
		})
		h.start()
		h.enqueue(ops.NewCommand("Long", "x", nil))
		time.Sleep(time.Second)
		short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		must(t, h.queue.Stop(short))
		must(t, h.queue.Stop(short))
		if err := h.queue.Ready(t.Context()); !errors.Is(err, ops.ErrUnavailable) {
			t.Errorf("ready after Stop: %v", err)
		}
		if state, attempts, _ := h.row("x"); state != "waiting" || attempts != 0 {
			t.Errorf("%s after %d attempts", state, attempts)
		}
		must(t, d.Close())

		d = openFile(t, path)
		h = open(t, d)
		h.queue.Handle("Long", func(context.Context, ops.Command) error { h.heard.note("second life"); return nil })
		h.start()
		time.Sleep(time.Second)
		if got := h.heard.all(); len(got) != 1 {
			t.Errorf("after the restart: %q", got)
		}
		must(t, h.queue.Stop(t.Context()))
		must(t, d.Close())
	})
}

func TestJobsOfADeadProcessAreFreedAtStart(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		h.queue.Handle("Greet", func(context.Context, ops.Command) error { h.heard.note("greeted"); return nil })
		h.enqueue(ops.NewCommand("Greet", "x", nil))
		must(t, h.db.Write(t.Context(), func(tx db.Tx) error {
			_, err := tx.Exec(t.Context(), "UPDATE river_job SET state = 'running', attempt = 1")
			return err
		}))
		h.start()
		time.Sleep(time.Second)
		if state, attempts, _ := h.row("x"); state != "done" || attempts != 2 {
			t.Errorf("%s after %d attempts", state, attempts)
		}
	})
}

func TestWhatADeadProcessLeftIsDoneInTime(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{3 * time.Second, 12 * time.Second} {
		t.Run(wait.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				c := ops.NewCommand("Wake", "x", nil)
				c.At = time.Now().Add(wait)
				h.enqueue(c)
				must(t, h.db.Write(t.Context(), func(tx db.Tx) error {
					_, err := tx.Exec(t.Context(), "INSERT INTO river_leader (leader_id, elected_at, expires_at) VALUES ('dead', $1, $2)",
						time.Now().UTC().Format(time.DateTime), time.Now().Add(15*time.Second).UTC().Format(time.DateTime))
					return err
				}))
				next, err := job.Open(t.Context(), h.db, h.store, options()) // it remembers nothing
				must(t, err)
				h.queue = next
				h.queue.Handle("Wake", func(context.Context, ops.Command) error { h.heard.note("woken"); return nil })
				h.start()
				time.Sleep(wait + time.Minute)
				woken := h.heard.times()
				if len(woken) != 1 {
					t.Fatalf("ran %d times", len(woken))
				}
				if late := woken[0].Sub(c.At); late < -time.Millisecond || late > 20*time.Millisecond {
					t.Errorf("late by %s", late)
				}
			})
		})
	}
}

func TestAClockThatIsSlewedDelaysLittle(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		var behind atomic.Int64
		o := options()
		o.Clock = func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }
		slewed, err := job.Open(t.Context(), h.db, h.store, o)
		must(t, err)
		h.queue = slewed
		h.queue.Handle("Wake", func(context.Context, ops.Command) error { h.heard.note("woken"); return nil })
		h.start()
		time.Sleep(7 * time.Second)
		c := ops.NewCommand("Wake", "x", nil)
		c.At = time.Now().Add(3 * time.Second)
		h.enqueue(c)
		behind.Store(int64(20 * time.Millisecond))
		time.Sleep(time.Minute)
		woken := h.heard.times()
		if len(woken) != 1 {
			t.Fatalf("ran %d times", len(woken))
		}
		if late := woken[0].Sub(c.At); late < 20*time.Millisecond || late > 1100*time.Millisecond {
			t.Errorf("late by %s", late)
		}
	})
}

func TestCrashesLengthenNoPause(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		h.queue.Handle("Greet", func(context.Context, ops.Command) error {
			if h.heard.note("greeted") == 1 {
				return ops.ErrUnavailable
			}
			return nil
		})
		h.enqueue(ops.NewCommand("Greet", "x", nil))
		must(t, h.db.Write(t.Context(), func(tx db.Tx) error {
			_, err := tx.Exec(t.Context(), "UPDATE river_job SET state = 'running', attempt = 9")
			return err
		}))
		h.start()
		time.Sleep(2 * time.Second)
		if state, attempts, _ := h.row("x"); state != "done" || attempts != 11 {
			t.Errorf("%s after %d attempts", state, attempts)
		}
	})
}

func TestFactsAreHeardOncePerRoomInOrder(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		listen := func(room string) {
			h.queue.Hear(room, ops.ExecutionStopped, func(_ context.Context, tx db.Tx, f ops.Fact) error {
				body, err := ops.Body[ops.ExecutionSwitchBody](f)
				tx.AfterCommit(func() { h.heard.note("%s %s", room, body.Reason) })
				return err
			})
		}
		listen("ticket")
		h.tell(stopped("0")) // before the start
		h.start()
		for i := 1; i < 200; i++ {
			h.tell(stopped(fmt.Sprint(i)), ops.NewFact(ops.SystemSubject, time.Now(), ops.SystemPrincipal, "", ops.ConfigLoadedBody{}))
		}
		time.Sleep(2 * time.Second)
		got := h.heard.all()
		if len(got) != 200 {
			t.Fatalf("heard %d facts", len(got))
		}
		for i, line := range got {
			if want := fmt.Sprintf("ticket %d", i); line != want {
				t.Fatalf("fact %d was %q", i, line)
			}
		}
	})
}

func TestPoisonFactHoldsUpItsRoomOnly(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		var failing, sound journal
		var cured atomic.Bool
		h.queue.Hear("ticket", ops.ExecutionStopped, func(_ context.Context, tx db.Tx, f ops.Fact) error {
			body, err := ops.Body[ops.ExecutionSwitchBody](f)
			if body.Reason == "2" && !cured.Load() {
				return ops.ErrInternal
			}
			tx.AfterCommit(func() { failing.note("%s", body.Reason) })
			return err
		})
		h.queue.Hear("change", ops.ExecutionStopped, func(_ context.Context, tx db.Tx, f ops.Fact) error {
			body, err := ops.Body[ops.ExecutionSwitchBody](f)
			tx.AfterCommit(func() { sound.note("%s", body.Reason) })
			return err
		})
		h.start()
		h.tell(stopped("0"), stopped("1"), stopped("2"), stopped("3"))
		time.Sleep(10 * time.Minute)
		if got := failing.all(); !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("the failing room heard %q", got)
		}
		if got := sound.all(); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
			t.Errorf("the other room heard %q", got)
		}
		cured.Store(true)
		time.Sleep(2 * time.Minute)
		if got := failing.all(); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
			t.Errorf("after the cure the room has heard %q", got)
		}
	})
}

func TestCursorPassesFactsThatConcernNobody(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		h.queue.Hear("ticket", ops.ExecutionStopped, func(context.Context, db.Tx, ops.Fact) error { return nil })
		h.start()
		many := make([]ops.Fact, 1500)
		for i := range many {
			many[i] = ops.NewFact(ops.SystemSubject, time.Now(), ops.SystemPrincipal, "", ops.ConfigLoadedBody{})
		}
		h.tell(many...)
		time.Sleep(2 * time.Second)
		if at, err := h.store.Cursor(t.Context(), "room/ticket"); at != 1500 || err != nil {
			t.Errorf("cursor at %d, %v", at, err)
		}
	})
}

func TestEveryRunsAboutEveryInterval(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		var slow, broken journal
		h.queue.Every("tick", 10*time.Second, func(context.Context) error { h.heard.note("tick"); return nil })
		h.queue.Every("slow", time.Second, func(context.Context) error {
			n := slow.note("in")
			time.Sleep(7 * time.Second)
			if len(slow.all()) != n {
				t.Error("slow work overlaps itself")
			}
			return nil
		})
		h.queue.Every("broken", time.Hour, func(context.Context) error { broken.note("run"); panic("defect") })
		h.start()
		time.Sleep(2*time.Minute + time.Second)
		if n := len(h.heard.all()); n < 12 || n > 13 {
			t.Errorf("ticked %d times in two minutes", n)
		}
		if n := len(slow.all()); n < 16 || n > 18 {
			t.Errorf("slow work ran %d times in two minutes", n)
		}
		if n := len(broken.all()); n < 2 || n > 3 {
			t.Errorf("broken work ran %d times in two minutes, want one try a minute", n)
		}
	})
}

func TestDailyWorkCutShortIsNotLeftForTomorrow(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, h *house) {
		next := func() time.Duration {
			t.Helper()
			var at int64
			must(t, h.db.Read().QueryRow(t.Context(), "SELECT next_at FROM schedule WHERE name = 'daily'").Scan(&at))
			return time.Until(time.UnixMilli(at))
		}
		h.queue.Every("daily", 24*time.Hour, func(context.Context) error {
			for range 30 {
				time.Sleep(time.Second)
				if ahead := next(); ahead <= 0 || ahead > 10*time.Second {
					t.Errorf("while it runs others may claim it in %s", ahead)
				}
			}
			return nil
		})
		h.start()
		time.Sleep(31 * time.Second)
		if ahead := next(); ahead < 23*time.Hour {
			t.Errorf("done, it is due again in %s", ahead)
		}
	})
}

func TestRegistrationDefectsPanic(t *testing.T) {
	t.Parallel()
	f := func(name string, register func(h *house)) {
		t.Helper()
		inBubble(t, func(t *testing.T, h *house) {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			register(h)
		})
	}
	handler := func(context.Context, ops.Command) error { return nil }
	listener := func(context.Context, db.Tx, ops.Fact) error { return nil }
	tick := func(context.Context) error { return nil }
	f("two handlers", func(h *house) { h.queue.Handle("A", handler); h.queue.Handle("A", handler) })
	f("two listeners", func(h *house) { h.queue.Hear("r", "F", listener); h.queue.Hear("r", "F", listener) })
	f("two periodics", func(h *house) { h.queue.Every("p", 1, tick); h.queue.Every("p", 1, tick) })
	f("no interval", func(h *house) { h.queue.Every("p", 0, tick) })
	f("late", func(h *house) { h.start(); h.queue.Handle("A", handler) })
}
