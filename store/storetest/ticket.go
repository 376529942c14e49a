package storetest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

var ticketRules = []rule{
	{
		name:  "record/transact",
		why:   "many who count up one number at once must not refuse each other",
		check: recordsTransact,
	},
	{
		name:  "record/compare-and-set",
		why:   "drivers keep tickets here: a write over a neighbour's, or half a write, loses somebody's edit",
		check: recordsCompareAndSet,
	},
	{
		name:  "record/owners",
		why:   "one platform's records are nobody else's business",
		check: recordsHaveOwners,
	},
	{
		name:  "ticket/one per key",
		why:   "at most one ticket per incident and platform, whatever fails",
		check: ticketsAreSavedOnce,
	},
	{
		name:  "ticket/notes in order",
		why:   "work notes tell a story: each once, in its order",
		check: notesKeepTheirOrder,
	},
}

func recordsCompareAndSet(t *testing.T, h *house) {
	// Both kinds of table keep the same rules.
	for name, table := range map[string]record.Table{"store": h.store.Records("a"), "memory": &record.Memory{}} {
		t.Run(name, func(t *testing.T) { compareAndSet(t, h, table) })
	}
}

func compareAndSet(t *testing.T, h *house, table record.Table) {
	ctx := h.ctx
	write := func(want error, edits ...record.Edit) {
		t.Helper()
		if err := table.Write(ctx, edits...); !errors.Is(err, want) {
			t.Errorf("write %v: %v, want %v", edits, err, want)
		}
	}
	version := func(key string) int64 {
		t.Helper()
		r, err := table.Get(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		return r.Version
	}
	write(nil, record.Edit{Key: "k/1", Value: []byte("one")})
	write(record.ErrMoved, record.Edit{Key: "k/1", Value: []byte("again")})
	first := version("k/1")
	write(nil, record.Edit{Key: "k/1", Value: []byte("two"), Version: first})
	write(record.ErrMoved, record.Edit{Key: "k/1", Value: []byte("stale"), Version: first})

	// One stale edit holds back its neighbours.
	write(record.ErrMoved, record.Edit{Key: "k/2", Value: []byte("x")}, record.Edit{Key: "k/1", Value: []byte("x"), Version: first})
	if _, err := table.Get(ctx, "k/2"); !errors.Is(err, record.ErrMissing) {
		t.Errorf("half a write stayed: %v", err)
	}

	// A key that comes back does not come back under an old version.
	second := version("k/1")
	write(nil, record.Edit{Key: "k/1", Version: second})
	if _, err := table.Get(ctx, "k/1"); !errors.Is(err, record.ErrMissing) {
		t.Errorf("a deleted key is there: %v", err)
	}
	write(record.ErrMoved, record.Edit{Key: "k/1", Value: []byte("x"), Version: second})
	write(nil, record.Edit{Key: "k/1", Value: []byte("three")})
	if v := version("k/1"); v <= second {
		t.Errorf("version %d was used before (%d)", v, second)
	}

	write(nil, record.Edit{Key: "k/3", Value: []byte("x"), Version: record.Any}, record.Edit{Key: "k0", Value: []byte("x")}, record.Edit{Key: "k/é", Value: []byte("x")})
	list := func(prefix, after string, limit int, want ...string) {
		t.Helper()
		got, err := table.List(ctx, prefix, after, limit)
		if err != nil || len(got) != len(want) {
			t.Fatalf("list %q after %q: %v, %v, want %v", prefix, after, got, err, want)
		}
		for i, r := range got {
			if r.Key != want[i] {
				t.Errorf("list %q after %q: entry %d is %s, want %s", prefix, after, i, r.Key, want[i])
			}
		}
	}
	list("k/", "", 10, "k/1", "k/3", "k/é")
	list("k/", "k/1", 1, "k/3")
	list("", "k/3", 10, "k/é", "k0")
}

func recordsTransact(t *testing.T, h *house) {
	for name, table := range map[string]record.Table{"store": h.store.Records("a"), "memory": &record.Memory{}} {
		t.Run(name, func(t *testing.T) { transact(t, h, table) })
	}
}

// transact counts up one record from many sides; a decision that fails, and
// edits that fail, leave nothing.
func transact(t *testing.T, h *house, table record.Table) {
	const sides, each = 8, 5
	count := func(ctx context.Context, now record.Reader) (n int, version int64, err error) {
		r, err := now.Get(ctx, "count")
		if errors.Is(err, record.ErrMissing) {
			return 0, 0, nil
		}
		if err != nil {
			return 0, 0, err
		}
		n, err = strconv.Atoi(string(r.Value))
		return n, r.Version, err
	}
	up := func(ctx context.Context, now record.Reader) ([]record.Edit, error) {
		n, version, err := count(ctx, now)
		return []record.Edit{{Key: "count", Value: strconv.AppendInt(nil, int64(n)+1, 10), Version: version}}, err
	}
	var wg sync.WaitGroup
	for range sides {
		wg.Go(func() {
			for range each {
				if err := table.Transact(h.ctx, up); err != nil {
					t.Errorf("counting up: %v", err)
				}
			}
		})
	}
	wg.Wait()
	boom := errors.New("boom")
	fails := func(want error, edits []record.Edit, err error) {
		t.Helper()
		got := table.Transact(h.ctx, func(context.Context, record.Reader) ([]record.Edit, error) { return edits, err })
		if !errors.Is(got, want) {
			t.Errorf("transact: %v, want %v", got, want)
		}
	}
	fails(boom, []record.Edit{{Key: "count", Value: []byte("0"), Version: record.Any}}, boom)
	fails(record.ErrMoved, []record.Edit{{Key: "other", Value: []byte("0")}, {Key: "count", Value: []byte("0")}}, nil)
	fails(record.ErrUnfit, []record.Edit{{Key: "other", Value: []byte("0")}, {Value: []byte("0")}}, nil)
	fails(nil, nil, nil)
	if n, _, err := count(h.ctx, table); err != nil || n != sides*each {
		t.Errorf("counted %d, %v, want %d", n, err, sides*each)
	}
	if _, err := table.Get(h.ctx, "other"); !errors.Is(err, record.ErrMissing) {
		t.Errorf("half a transaction stayed: %v", err)
	}
}

func recordsHaveOwners(t *testing.T, h *house) {
	must(t, h.store.Records("a").Write(h.ctx, record.Edit{Key: "k", Value: []byte("x")}))
	if got, err := h.store.Records("b").List(h.ctx, "", "", 10); err != nil || len(got) != 0 {
		t.Errorf("another owner sees %v, %v", got, err)
	}
	_, err := h.store.Records("b").Get(h.ctx, "k")
	wantClass(t, "another owner's key", err, ops.ErrNotFound)
	must(t, h.store.Records("b").Write(h.ctx, record.Edit{Key: "k", Value: []byte("y")}))
}

func aTicket() ops.Ticket {
	return ops.Ticket{
		Platform: "snow", Key: "k1", Kind: ops.TicketIncident, Subject: "incident/1", Sync: ops.SyncPending,
		Want: ops.TicketFields{Title: "t", Extra: map[string]string{"category": "x"}}, Work: ops.TicketWork{Dirty: true, Turn: 3},
	}
}

// saveTicket saves a copy: a write may run twice.
func (h *house) saveTicket(x ops.Ticket) (saved ops.Ticket, err error) {
	err = h.db.Write(h.ctx, func(tx db.Tx) error {
		saved = x
		return h.store.SaveTicket(h.ctx, tx, &saved)
	})
	return saved, err
}

func ticketsAreSavedOnce(t *testing.T, h *house) {
	made, err := h.saveTicket(aTicket())
	must(t, err)
	_, err = h.saveTicket(aTicket())
	wantClass(t, "a second ticket of one key", err, ops.ErrConflict)

	got, err := h.store.TicketsAbout(h.ctx, "incident/1")
	if err != nil || len(got) != 1 || got[0].ID != made.ID || got[0].Want.Extra["category"] != "x" || !got[0].Work.Dirty || got[0].Work.Turn != 3 {
		t.Fatalf("read back %+v, %v", got, err)
	}
	byKey, err := h.store.TicketByKey(h.ctx, "snow", "k1")
	if err != nil || byKey.ID != made.ID {
		t.Errorf("by its key comes %s, %v", byKey.ID, err)
	}
	stale := got[0]
	clean := got[0]
	clean.Work.Dirty = false
	if _, err := h.saveTicket(clean); err != nil {
		t.Fatal(err)
	}
	_, err = h.saveTicket(stale)
	wantClass(t, "a stale save", err, ops.ErrConflict)
	list := func(dirty bool, want int) {
		t.Helper()
		if got, err := h.store.TicketsOn(h.ctx, "snow", "", 10, dirty); err != nil || len(got) != want {
			t.Errorf("%d tickets (dirty only: %v), %v; want %d", len(got), dirty, err, want)
		}
	}
	list(false, 1)
	list(true, 0)
	_, err = h.store.Ticket(h.ctx, "nobody")
	wantClass(t, "an unknown id", err, ops.ErrNotFound)
}

func notesKeepTheirOrder(t *testing.T, h *house) {
	made, err := h.saveTicket(aTicket())
	must(t, err)
	note := func(id string, state ops.NoteState, want bool) {
		t.Helper()
		var fresh bool
		h.write(func(tx db.Tx) (err error) {
			fresh, err = h.store.AddNote(h.ctx, tx, ops.TicketNote{TicketID: made.ID, State: state, Note: ops.Note{ID: id, At: h.clock(), Text: id}})
			return err
		})
		if fresh != want {
			t.Errorf("note %s new: %v, want %v", id, fresh, want)
		}
	}
	note("b", ops.NoteWaiting, true)
	note("theirs", ops.NoteRead, true)
	note("a", ops.NoteWaiting, true)
	note("b", ops.NoteWaiting, false)
	out := func(want ...string) {
		t.Helper()
		got, err := h.store.NotesOut(h.ctx, made.ID)
		if err != nil || len(got) != len(want) {
			t.Fatalf("on their way out: %+v, %v; want %v", got, err, want)
		}
		for i, n := range got {
			if n.ID != want[i] {
				t.Errorf("note %d is %s, want %s", i, n.ID, want[i])
			}
		}
	}
	out("b", "a")
	move := func(was ops.TicketNote, state ops.NoteState) (ops.TicketNote, error) {
		to := was
		to.State, to.SentAt = state, h.clock()
		return to, h.db.Write(h.ctx, func(tx db.Tx) error { return h.store.MoveNote(h.ctx, tx, was, to) })
	}
	waiting := ops.TicketNote{TicketID: made.ID, State: ops.NoteWaiting, Note: ops.Note{ID: "b"}}
	sending, err := move(waiting, ops.NoteSending)
	must(t, err)
	out("b", "a") // no answer yet, so it is still on its way
	_, err = move(waiting, ops.NoteSending)
	wantClass(t, "a note another one is sending", err, ops.ErrConflict)
	_, err = move(sending, ops.NoteDelivered)
	must(t, err)
	out("a")
	_, err = move(sending, ops.NoteWaiting)
	wantClass(t, "a note another one delivered", err, ops.ErrConflict)
	_, err = move(ops.TicketNote{TicketID: made.ID, State: ops.NoteWaiting, Note: ops.Note{ID: "x"}}, ops.NoteDelivered)
	wantClass(t, "a note nobody queued", err, ops.ErrConflict)
	all, err := h.store.TicketNotes(h.ctx, made.ID)
	if err != nil || len(all) != 3 {
		t.Errorf("all notes: %+v, %v", all, err)
	}
}
