package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

func open(t *testing.T) (*db.DB, *store.Store) {
	t.Helper()
	ctx := context.Background()
	d, err := db.OpenSQLite(ctx, filepath.Join(t.TempDir(), "f.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := store.Migrate(ctx, d); err != nil {
		t.Fatal(err)
	}
	return d, store.New(d, time.Now)
}

// Both kinds of table keep the same rules.
func TestRecords(t *testing.T) {
	_, s := open(t)
	for name, table := range map[string]record.Table{"store": s.Records("a"), "memory": &record.Memory{}} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
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
			write(ops.ErrConflict, record.Edit{Key: "k/1", Value: []byte("again")})
			first := version("k/1")
			write(nil, record.Edit{Key: "k/1", Value: []byte("two"), Version: first})
			write(ops.ErrConflict, record.Edit{Key: "k/1", Value: []byte("stale"), Version: first})

			// One stale edit holds back its neighbours.
			write(ops.ErrConflict, record.Edit{Key: "k/2", Value: []byte("x")}, record.Edit{Key: "k/1", Value: []byte("x"), Version: first})
			if _, err := table.Get(ctx, "k/2"); !errors.Is(err, ops.ErrNotFound) {
				t.Errorf("half a write stayed: %v", err)
			}

			// A key that comes back does not come back under an old version.
			second := version("k/1")
			write(nil, record.Edit{Key: "k/1", Version: second})
			if _, err := table.Get(ctx, "k/1"); !errors.Is(err, ops.ErrNotFound) {
				t.Errorf("a deleted key is there: %v", err)
			}
			write(ops.ErrConflict, record.Edit{Key: "k/1", Value: []byte("x"), Version: second})
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
		})
	}
	if got, err := s.Records("b").List(context.Background(), "", "", 10); err != nil || len(got) != 0 {
		t.Errorf("another owner sees %v, %v", got, err)
	}
}

func TestTicketRows(t *testing.T) {
	d, s := open(t)
	ctx := context.Background()
	row := ops.Ticket{
		Platform: "snow", Key: "k1", Kind: ops.TicketIncident, Subject: "incident/1", Sync: ops.SyncPending,
		Want: ops.TicketFields{Title: "t", Extra: map[string]string{"category": "x"}}, Work: ops.TicketWork{Dirty: true, Turn: 3},
	}
	err := d.Write(ctx, func(tx db.Tx) error {
		fresh := row // a write may run twice
		if err := s.SaveTicket(ctx, tx, &fresh); err != nil {
			return err
		}
		for _, id := range []string{"n1", "n2", "n1"} {
			if _, err := s.AddNote(ctx, tx, ops.TicketNote{TicketID: fresh.ID, State: ops.NoteWaiting, Note: ops.Note{ID: id, Text: id}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.TicketsAbout(ctx, "incident/1")
	if err != nil || len(got) != 1 || got[0].Want.Extra["category"] != "x" || !got[0].Work.Dirty || got[0].Work.Turn != 3 {
		t.Fatalf("read back %+v, %v", got, err)
	}
	notes, err := s.NotesOut(ctx, got[0].ID)
	if err != nil || len(notes) != 2 || notes[0].ID != "n1" || notes[1].ID != "n2" {
		t.Errorf("notes %+v, %v; want n1, n2, each once", notes, err)
	}
	stale := got[0]
	save := func(x *ops.Ticket) error {
		return d.Write(ctx, func(tx db.Tx) error { fresh := *x; return s.SaveTicket(ctx, tx, &fresh) })
	}
	if err := save(&got[0]); err != nil {
		t.Fatal(err)
	}
	if err := save(&stale); !errors.Is(err, ops.ErrConflict) {
		t.Errorf("a stale save gave %v", err)
	}
	if err := save(&row); !errors.Is(err, ops.ErrConflict) {
		t.Errorf("a second ticket of one key gave %v", err)
	}
}
