package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

// journal is a store whose clock stands still until it is moved.
type journal struct {
	*store.Store
	t   *testing.T
	db  *db.DB
	now time.Time
}

// schema is what every database here begins with.
var schema = dbtest.Laid(store.Migrate)

func newJournal(t *testing.T) *journal {
	t.Helper()
	d := schema.Open(t)
	j := &journal{t: t, db: d, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	j.Store = store.New(d, func() time.Time { return j.now })
	return j
}

func (j *journal) write(f func(ctx context.Context, tx db.Tx) error) error {
	return j.db.Write(j.t.Context(), func(tx db.Tx) error { return f(j.t.Context(), tx) })
}

// take takes id under lease shop for ten seconds.
func (j *journal) take(id, holder string) (e ops.Execution, err error) {
	err = j.write(func(ctx context.Context, tx db.Tx) error {
		e, err = j.TakeExecution(ctx, tx, ops.Execution{ID: id, ChangeID: "c", RunID: "r", Lease: "shop", Holder: holder}, j.now.Add(10*time.Second))
		return err
	})
	return e, err
}

func (j *journal) must(e ops.Execution, err error) ops.Execution {
	j.t.Helper()
	if err != nil {
		j.t.Fatal(err)
	}
	return e
}

func (j *journal) conflict(what string, err error) {
	j.t.Helper()
	if !errors.Is(err, ops.ErrConflict) {
		j.t.Errorf("%s: %v; want ErrConflict", what, err)
	}
}

func TestExecutionIsHeldByOne(t *testing.T) {
	j := newJournal(t)
	first := j.must(j.take("apply:a", "one"))
	if first.Phase != ops.ExecutionPlanning || first.Epoch != 1 || !first.StartedAt.Equal(j.now) {
		t.Errorf("began as %+v", first)
	}
	_, err := j.take("apply:a", "two")
	j.conflict("the same work by another holder", err)
	_, err = j.take("apply:b", "one")
	j.conflict("other work on the same resource", err)

	j.now = j.now.Add(10 * time.Second)
	second := j.must(j.take("apply:a", "two"))
	if second.Epoch != 2 || second.Holder != "two" {
		t.Errorf("taken over as %+v", second)
	}
	renew := func(e ops.Execution) error {
		return j.write(func(ctx context.Context, tx db.Tx) error {
			return j.RenewExecution(ctx, tx, e, j.now.Add(10*time.Second))
		})
	}
	end := func(e ops.Execution) error {
		return j.write(func(ctx context.Context, tx db.Tx) error { return j.EndExecution(ctx, tx, e) })
	}
	act := func(e ops.Execution) error {
		e.Plan = &ops.Plan{ID: "p", Digest: "d"}
		return j.write(func(ctx context.Context, tx db.Tx) error {
			return j.ActExecution(ctx, tx, e, j.now.Add(10*time.Second))
		})
	}
	j.conflict("renewed by the fenced holder", renew(first))
	j.conflict("begun by the fenced holder", act(first))
	j.conflict("ended by the fenced holder", end(first))
	if err := errors.Join(renew(second), act(second)); err != nil {
		t.Fatal(err)
	}
	j.conflict("begun to act twice", act(second))

	// The resource stays closed to others until somebody knows what became of it.
	j.now = j.now.Add(time.Hour)
	_, err = j.take("apply:b", "one")
	j.conflict("other work while the outcome is open", err)
	third := j.must(j.take("apply:a", "three"))
	if third.Phase != ops.ExecutionActing || third.Plan == nil || third.Plan.Digest != "d" {
		t.Errorf("taken over as %+v", third)
	}
	third.Output, third.Error = "out", "err"
	if err := end(third); err != nil {
		t.Fatal(err)
	}
	j.conflict("ended twice", end(third))
	_, err = j.take("apply:a", "three")
	j.conflict("begun again after its end", err)
	got, err := j.Execution(t.Context(), "apply:a")
	if err != nil || got.Phase != ops.ExecutionEnded || got.Output != "out" || got.Error != "err" || !got.EndedAt.Equal(j.now) || got.Plan == nil {
		t.Errorf("ended as %+v, %v", got, err)
	}
	if b := j.must(j.take("apply:b", "one")); b.Epoch <= third.Epoch {
		t.Errorf("the epoch went from %d to %d; it must only rise", third.Epoch, b.Epoch)
	}
	if all, err := j.ExecutionsOf(t.Context(), "c"); err != nil || len(all) != 2 {
		t.Errorf("executions of the change: %+v, %v", all, err)
	}
}

func TestReleaseLeavesTheWorkToOthers(t *testing.T) {
	j := newJournal(t)
	e := j.must(j.take("apply:a", "one"))
	release := func(e ops.Execution) {
		t.Helper()
		if err := j.write(func(ctx context.Context, tx db.Tx) error { return j.ReleaseExecution(ctx, tx, e) }); err != nil {
			t.Fatal(err)
		}
	}
	release(e)
	again := j.must(j.take("apply:a", "two"))
	release(e) // late: it is no longer ours to give back
	_, err := j.take("apply:a", "three")
	j.conflict("released by an earlier holder", err)
	if again.Phase != ops.ExecutionPlanning {
		t.Errorf("taken as %+v", again)
	}
}

func TestMarkIsFirstComeFirstServed(t *testing.T) {
	j := newJournal(t)
	m := j.ExecutionMarks("local")
	f := func(token, note, want string, fresh bool) {
		t.Helper()
		got, first, err := m.Mark(t.Context(), token, note)
		if got != want || first != fresh || err != nil {
			t.Errorf("mark %s %s: %q, %v, %v; want %q, %v", token, note, got, first, err, want, fresh)
		}
	}
	f("t1", "a", "a", true)
	f("t1", "b", "a", false)
	if err := m.Note(t.Context(), "t1", "c"); err != nil {
		t.Fatal(err)
	}
	f("t1", "d", "c", false)
	if _, fresh, err := j.ExecutionMarks("other").Mark(t.Context(), "t1", "x"); !fresh || err != nil {
		t.Errorf("another executor's mark: %v, %v; tokens are each executor's own", fresh, err)
	}
	if err := m.Note(t.Context(), "t2", "c"); !errors.Is(err, ops.ErrNotFound) {
		t.Errorf("note without a mark: %v", err)
	}
}

func TestVerificationEndsOnce(t *testing.T) {
	j := newJournal(t)
	v := ops.Verification{RunID: "r1", ChangeID: "c1", IncidentID: "i1", AppliedAt: j.now, Until: j.now.Add(time.Minute)}
	begin := func(v ops.Verification) {
		t.Helper()
		if err := j.write(func(ctx context.Context, tx db.Tx) error { return j.BeginVerification(ctx, tx, v) }); err != nil {
			t.Fatal(err)
		}
	}
	begin(v)
	later := v
	later.Until = j.now.Add(time.Hour)
	begin(later) // a fact heard twice
	v2 := v
	v2.RunID, v2.ChangeID = "r2", "c2"
	begin(v2)
	if got, err := j.Verification(t.Context(), "r1"); err != nil || got != v {
		t.Errorf("got %+v, %v; want %+v", got, err, v)
	}
	note := func(was ops.Severity) error {
		return j.write(func(ctx context.Context, tx db.Tx) error { return j.NoteVerification(ctx, tx, "r1", was) })
	}
	end := func() error {
		return j.write(func(ctx context.Context, tx db.Tx) error { return j.EndVerification(ctx, tx, "r1") })
	}
	if err := errors.Join(note(ops.High), note(ops.Low), end()); err != nil {
		t.Fatal(err)
	}
	j.conflict("ended twice", end())
	if got, _ := j.Verification(t.Context(), "r1"); got.Was != ops.High || !got.EndedAt.Equal(j.now) {
		t.Errorf("ended as %+v", got)
	}
	open := func() (out []ops.Verification) {
		t.Helper()
		err := j.write(func(ctx context.Context, tx db.Tx) (err error) {
			out, err = j.OpenVerifications(ctx, tx, "i1")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := open(); len(got) != 1 || got[0].RunID != "r2" {
		t.Errorf("open are %+v", got)
	}
	if err := j.write(func(ctx context.Context, tx db.Tx) error { return j.EndVerificationsOf(ctx, tx, "c2") }); err != nil {
		t.Fatal(err)
	}
	if got := open(); len(got) != 0 {
		t.Errorf("open are %+v", got)
	}
	if _, err := j.Verification(t.Context(), "r9"); !errors.Is(err, ops.ErrNotFound) {
		t.Errorf("unknown run: %v", err)
	}
}

func TestExecutionTablesGoDownAndUp(t *testing.T) {
	j := newJournal(t)
	if err := errors.Join(store.MigrateDown(t.Context(), j.db), store.Migrate(t.Context(), j.db)); err != nil {
		t.Fatal(err)
	}
	j.must(j.take("apply:a", "one"))
}

func TestHealthLooksAreKeptByCheck(t *testing.T) {
	j := newJournal(t)
	v := ops.Verification{RunID: "r1", ChangeID: "c1", AppliedAt: j.now, Until: j.now.Add(time.Minute)}
	look := func(name string, failures int, text string) ops.HealthLook {
		return ops.HealthLook{RunID: "r1", Check: name, Health: "failing", Failures: failures, Text: text, At: j.now}
	}
	err := j.write(func(ctx context.Context, tx db.Tx) error {
		return errors.Join(j.BeginVerification(ctx, tx, v), j.NoteHealth(ctx, tx, look("b", 1, "x")), j.NoteHealth(ctx, tx, look("a", 1, "x")), j.NoteHealth(ctx, tx, look("b", 2, "y")))
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []ops.HealthLook{look("a", 1, "x"), look("b", 2, "y")}
	if got, err := j.HealthLooks(t.Context(), "r1"); err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if got, err := j.HealthLooks(t.Context(), "another"); err != nil || len(got) != 0 {
		t.Errorf("of another run: %+v, %v", got, err)
	}
}
