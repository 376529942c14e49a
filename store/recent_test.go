package store_test

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

// TestFollowingFromMemoryIsFollowingTheLog compares what the appending store
// says with what one that remembers nothing reads.
func TestFollowingFromMemoryIsFollowingTheLog(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 0, 2, 999_999, time.UTC)
	d, s := openSignals(t, filepath.Join(dbtest.Dir(t), "f.db"), func() time.Time { return at })
	fresh := func() *store.Store { return store.New(d, time.Now) }
	f := func(after int64, limit int, want ...int64) {
		t.Helper()
		got, err := s.FollowSignals(t.Context(), after, limit)
		read, errRead := fresh().FollowSignals(t.Context(), after, limit)
		if err := errors.Join(err, errRead); err != nil {
			t.Fatal(err)
		}
		if len(got) < len(read) && len(got) > 0 {
			read = read[:len(got)] // a gap ends what memory gives at a time
		}
		if len(got) != len(read) || len(got) > 0 && !reflect.DeepEqual(got, read) {
			t.Errorf("after %d: memory gives %+v\nthe log gives %+v", after, got, read)
		}
		var seqs []int64
		for _, m := range got {
			seqs = append(seqs, m.Seq)
		}
		if !reflect.DeepEqual(seqs, want) {
			t.Errorf("after %d, limit %d: got %v want %v", after, limit, seqs, want)
		}
	}
	f(0, 10)
	for range 3 {
		appendSignals(t, d, s, message("a", ""))
	}
	f(0, 10, 1, 2, 3)
	f(0, 2, 1, 2)
	f(1, 10, 2, 3)
	f(0, 10, 1, 2, 3) // a follower that has to go back reads the log again
	appendSignals(t, d, fresh(), message("another process", ""))
	f(3, 10, 4)
	appendSignals(t, d, s, message("a", "m"))
	f(3, 10, 4, 5)
	f(4, 10, 5)
	appendSignals(t, d, s, message("a", "m")) // a repeat leaves no row
	boom := errors.New("boom")
	err := d.Write(t.Context(), func(tx db.Tx) error {
		if _, err := s.AppendSignals(t.Context(), tx, message("rolled back", "")); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	f(5, 10)
	appendSignals(t, d, s, message("a", ""))
	f(5, 10, 6)
}

func TestFollowingIsBounded(t *testing.T) {
	d, s := openSignals(t, filepath.Join(dbtest.Dir(t), "f.db"), time.Now)
	const n = 9000 // more than memory keeps
	err := d.Write(t.Context(), func(tx db.Tx) error {
		for range n {
			if _, err := s.AppendSignals(t.Context(), tx, ops.Message{Integration: "a"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	for {
		got, err := s.FollowSignals(t.Context(), at, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			break
		}
		for _, m := range got {
			if m.Seq != at+1 {
				t.Fatalf("%d follows %d", m.Seq, at)
			}
			at = m.Seq
		}
	}
	if at != n {
		t.Errorf("followed %d of %d", at, n)
	}
}
