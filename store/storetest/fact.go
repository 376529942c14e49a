package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

var factRules = []rule{
	{
		name:  "fact/order",
		why:   "a follower that reads above the last number it saw must never miss a fact",
		check: factOrder,
	},
	{
		name:  "fact/chain",
		why:   "the chain is the audit trail; it must hold whatever is told at once",
		check: factChain,
	},
	{
		name:  "fact/tampering",
		why:   "whoever edits history in the database must be found out, in whatever column",
		check: tampering,
	},
	{
		name:  "cursor/fenced",
		why:   "two replicas that follow one log must not both act on a fact",
		check: cursorFenced,
	},
	{
		name:  "trail/order",
		why:   "a story told out of order explains nothing",
		check: trailOrder,
	},
}

func factOrder(t *testing.T, h *house) {
	ctx, stop := context.WithCancel(h.ctx)
	followed := make(chan int64, 1)
	go func() { // a follower, while the facts are told
		var at, seen int64
		for finished := false; ; {
			facts, err := h.store.FactsAfter(context.WithoutCancel(ctx), at, 7)
			if err != nil {
				break
			}
			for _, f := range facts {
				seen++
				at = f.Seq
			}
			if len(facts) == 0 && finished {
				break
			}
			finished = ctx.Err() != nil
		}
		followed <- seen
	}()
	together(func(i int) {
		for j := range 5 {
			err := h.db.Write(h.ctx, func(tx db.Tx) error {
				_, err := h.store.Tell(h.ctx, tx, h.fact(fmt.Sprint(i), fmt.Sprint(j)))
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	stop()
	if seen := <-followed; seen != crowd*5 {
		t.Errorf("the follower saw %d of %d facts", seen, crowd*5)
	}
	if last, err := h.store.LastFact(h.ctx); last != crowd*5 || err != nil {
		t.Errorf("the last fact has number %d, %v", last, err)
	}
	stopped, err := h.store.FactsAfter(h.ctx, 0, 1000, ops.ExecutionStopped, ops.ConfigLoaded)
	if len(stopped) != crowd*5 || err != nil {
		t.Errorf("%d facts of the kind, %v", len(stopped), err)
	}
	if none, err := h.store.FactsAfter(h.ctx, 0, 1000, ops.ConfigLoaded); len(none) != 0 || err != nil {
		t.Errorf("%d facts of another kind, %v", len(none), err)
	}
}

func factChain(t *testing.T, h *house) {
	together(func(i int) {
		for range 5 {
			_ = h.db.Write(h.ctx, func(tx db.Tx) error { // is told and taken back
				_, err := h.store.Tell(h.ctx, tx, h.fact("shared", "never"))
				return errors.Join(err, ops.ErrConflict)
			})
			err := h.db.Write(h.ctx, func(tx db.Tx) error {
				_, err := h.store.Tell(h.ctx, tx, h.fact("shared", "a"), h.fact(fmt.Sprint(i), "b"), h.fact("shared", "c"))
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	must(t, h.store.VerifyChain(h.ctx, ""))
	must(t, h.store.VerifyChain(h.ctx, "shared"))
	facts, err := h.store.FactsAbout(h.ctx, "shared")
	must(t, err)
	if len(facts) != crowd*10 {
		t.Errorf("%d facts about the shared subject, want %d", len(facts), crowd*10)
	}
}

func tampering(t *testing.T, h *house) {
	long := make([]ops.Fact, 2100) // more than one batch of VerifyChain
	for i := range long {
		long[i] = h.fact("other", fmt.Sprint(i))
	}
	h.tell(long...)
	victim := h.tell(h.fact("a", "1"), h.fact("a", "2"), h.fact("a", "3"))[1]
	must(t, h.store.VerifyChain(h.ctx, ""))

	number := func(column string, value int64) {
		t.Helper()
		h.exec("UPDATE fact SET "+column+" = $1 WHERE id = $2", value+1, victim.ID)
		wantBroken(t, h, column, "a")
		h.exec("UPDATE fact SET "+column+" = $1 WHERE id = $2", value, victim.ID)
	}
	number("version", int64(victim.Version))
	number("at", victim.At.UnixMilli())
	number("recorded_at", victim.RecordedAt.UnixMilli())
	text := func(column, value string) {
		t.Helper()
		for _, at := range []int{0, len(value) / 2, len(value) - 1} {
			changed := "x"
			if value != "" {
				b := []byte(value)
				b[at] ^= 1
				changed = string(b)
			}
			h.exec("UPDATE fact SET "+column+" = $1 WHERE seq = $2", changed, victim.Seq)
			subject := "a"
			if column == "subject" {
				subject = ""
			}
			wantBroken(t, h, column, subject)
			h.exec("UPDATE fact SET "+column+" = $1 WHERE seq = $2", value, victim.Seq)
			if value == "" {
				return
			}
		}
	}
	text("id", victim.ID)
	text("subject", victim.Subject)
	text("kind", string(victim.Kind))
	text("principal", victim.Principal)
	text("cause", victim.Cause)
	text("body", string(victim.Body))
	text("prev", victim.Prev)
	text("hash", victim.Hash)
	must(t, h.store.VerifyChain(h.ctx, ""))

	h.exec("UPDATE fact SET seq = 99999 WHERE seq = $1", victim.Seq)
	wantBroken(t, h, "seq", "a")
	h.exec("UPDATE fact SET seq = $1 WHERE seq = 99999", victim.Seq)
	must(t, h.store.VerifyChain(h.ctx, ""))
	h.exec("DELETE FROM fact WHERE seq = $1", victim.Seq)
	wantBroken(t, h, "the whole fact", "a")
}

// wantBroken wants the chain of a subject, and of all, to be found broken.
func wantBroken(t *testing.T, h *house, what, subject string) {
	t.Helper()
	for _, s := range []string{subject, ""} {
		err := h.store.VerifyChain(h.ctx, s)
		wantClass(t, "tampering with "+what, err, store.ErrBroken)
		if err != nil && !strings.Contains(err.Error(), "21") { // numbers 2101 to 2103
			t.Errorf("tampering with %s: the error names no fact: %v", what, err)
		}
	}
}

func cursorFenced(t *testing.T, h *house) {
	move := func(from, to int64) error {
		return h.db.Write(h.ctx, func(tx db.Tx) error { return h.store.MoveCursor(h.ctx, tx, "room/ticket", from, to) })
	}
	wantClass(t, "a move from where it never was", move(5, 6), ops.ErrConflict)
	must(t, move(0, 3))
	wantClass(t, "the same move again", move(0, 3), ops.ErrConflict)
	must(t, move(3, 4))
	results := make([]error, crowd)
	together(func(i int) { results[i] = move(4, int64(100+i)) })
	won := -1
	for i, err := range results {
		if err == nil {
			if won >= 0 {
				t.Errorf("%d and %d both moved the cursor", won, i)
			}
			won = i
			continue
		}
		wantClass(t, "a losing move", err, ops.ErrConflict)
	}
	if at, err := h.store.Cursor(h.ctx, "room/ticket"); at != int64(100+won) || err != nil {
		t.Errorf("the cursor is at %d, %v; %d won", at, err, won)
	}
}

func trailOrder(t *testing.T, h *house) {
	queue := func(kind string) {
		h.exec(`INSERT INTO command (subject, kind, body, cause, at, queued_at, run_at, finished_at, attempts, error, state)
			VALUES ('change/1', $1, '{}', '', 0, $2, $2, 0, 2, 'odd', 'waiting')`, kind, h.clock().UnixMilli())
	}
	queue("C1")
	h.tell(h.fact("change/1", "F1"), h.fact("change/2", "other")) // same millisecond: facts first
	h.pass(time.Second)
	queue("C2")
	h.pass(time.Second)
	h.tell(h.fact("change/1", "F2"))
	entries, err := h.store.Trail(h.ctx, "change/1")
	must(t, err)
	var got []string
	for _, e := range entries {
		if e.Command != nil {
			got = append(got, string(e.Command.Command.Kind))
			continue
		}
		body, err := ops.Body[ops.ExecutionSwitchBody](*e.Fact)
		must(t, err)
		got = append(got, body.Reason)
	}
	if want := "F1 C1 C2 F2"; strings.Join(got, " ") != want {
		t.Errorf("trail %q, want %q", got, want)
	}
	if c := entries[1].Command; c.Attempts != 2 || c.Error != "odd" || c.State != "waiting" || !c.FinishedAt.IsZero() || c.Command.Subject != "change/1" {
		t.Errorf("command read back as %+v", c)
	}
}
