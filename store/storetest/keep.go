package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
	"github.com/fettleops/fettle/store/blob"
)

var keepRules = []rule{
	{
		name:  "retention/commands",
		why:   "old work must go, but never work that waits, and never the newest row of a numbered table: SQLite would give its number out again",
		check: retainsCommands,
	},
	{
		name:  "retention/signals-and-alerts",
		why:   "raw payloads hold what people sent us and must go in time, but never before correlation has seen them; an alert that fires stays",
		check: retainsSignals,
	},
	{
		name:  "retention/facts",
		why:   "facts are the audit trail and stay for ever",
		check: retainsFacts,
	},
	{
		name:  "blob/keep",
		why:   "an approval is bound to an artefact, so what comes back is what was put, or nothing",
		check: keepsBlobs,
	},
	{
		name:  "blob/tampering",
		why:   "whoever can write to the database must not be able to swap the plan that was approved",
		check: blobTampering,
	},
}

const year = 365 * 24 * time.Hour

func retainsCommands(t *testing.T, h *house) {
	h.write(func(tx db.Tx) error {
		for i := range 1203 { // more than two batches
			state, finished := "done", h.clock().UnixMilli()
			if i == 7 {
				state, finished = "waiting", 0
			}
			_, err := tx.Exec(h.ctx, `INSERT INTO command (subject, kind, body, cause, at, queued_at, run_at, finished_at, attempts, error, state)
				VALUES ('x', 'K', '', '', 0, 0, 0, $1, 1, '', $2)`, finished, state)
			if err != nil {
				return err
			}
		}
		return nil
	})
	retain := func(want int64) {
		t.Helper()
		if n, err := h.store.Retain(h.ctx, store.DefaultRetention, h.clock()); n != want || err != nil {
			t.Errorf("deleted %d, %v; want %d", n, err, want)
		}
	}
	retain(0)
	h.pass(2 * year)
	retain(1201)
	retain(0)
	if n := h.count("SELECT COUNT(*) FROM command WHERE state = 'waiting'"); n != 1 {
		t.Error("a waiting command was deleted")
	}
	if n := h.count("SELECT MAX(seq) FROM command"); n != 1203 {
		t.Errorf("the newest command is %d", n)
	}
	_, err := h.store.Retain(h.ctx, store.Retention{Raw: time.Hour}, h.clock())
	wantClass(t, "a period of zero", err, ops.ErrInvalid)
}

func retainsSignals(t *testing.T, h *house) {
	h.write(func(tx db.Tx) error {
		for i := range 1203 {
			if _, err := h.store.AppendSignals(h.ctx, tx, ops.Message{Integration: "a", Source: "test", Dedupe: fmt.Sprint(i)}); err != nil {
				return err
			}
		}
		return nil
	})
	for i, state := range []string{"resolved", "firing", "resolved"} {
		h.exec("INSERT INTO alert (fingerprint, incident_id, state, starts_at, last_seen, body) VALUES ($1, 'i', $2, 0, $3, '{}')",
			fmt.Sprint(i), state, h.clock().Add(time.Duration(i)*year).UnixMilli())
	}
	h.pass(year)
	retain := func(want int64) {
		t.Helper()
		if n, err := h.store.Retain(h.ctx, store.DefaultRetention, h.clock()); n != want || err != nil {
			t.Errorf("deleted %d, %v; want %d", n, err, want)
		}
	}
	retain(0) // correlation has seen nothing
	h.write(func(tx db.Tx) error { return h.store.MoveCursor(h.ctx, tx, store.CorrelateCursor, 0, 1100) })
	retain(1100)
	h.write(func(tx db.Tx) error { return h.store.MoveCursor(h.ctx, tx, store.CorrelateCursor, 1100, 1203) })
	retain(102) // not the newest
	h.pass(year / 2)
	retain(1) // the resolved alert of the first year
	if n := h.count("SELECT COUNT(*) FROM alert"); n != 2 {
		t.Errorf("%d alerts are left", n)
	}
}

func retainsFacts(t *testing.T, h *house) {
	h.tell(h.fact("a", "1"), h.fact("a", "2"))
	h.pass(10 * year)
	if _, err := h.store.Retain(h.ctx, store.DefaultRetention, h.clock()); err != nil {
		t.Error(err)
	}
	must(t, h.store.VerifyChain(h.ctx, ""))
	if last, err := h.store.LastFact(h.ctx); last != 2 || err != nil {
		t.Errorf("the last fact is %d, %v", last, err)
	}
}

func (h *house) put(data []byte, keep time.Duration) string {
	h.t.Helper()
	var digest string
	h.write(func(tx db.Tx) (err error) {
		digest, err = h.blobs.PutFor(h.ctx, tx, data, keep)
		return err
	})
	return digest
}

func keepsBlobs(t *testing.T, h *house) {
	for _, data := range [][]byte{{}, []byte("plan"), bytes.Repeat([]byte{0, 255}, 1<<20)} {
		got, err := h.blobs.Get(h.ctx, h.put(data, time.Hour))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back as %d, %v", len(data), len(got), err)
		}
	}
	digest := h.put([]byte("plan"), 3*time.Hour) // longer now
	h.put([]byte("plan"), time.Minute)           // never shorter
	if n := h.count("SELECT COUNT(*) FROM blob"); n != 3 {
		t.Errorf("%d rows for three artefacts", n)
	}
	err := h.db.Write(h.ctx, func(tx db.Tx) error {
		_, err := h.blobs.Put(h.ctx, tx, make([]byte, blob.MaxSize+1))
		return err
	})
	wantClass(t, "an artefact that is too large", err, ops.ErrInvalid)
	h.pass(2 * time.Hour)
	if n, err := h.store.Retain(h.ctx, store.DefaultRetention, h.clock()); n != 2 || err != nil {
		t.Errorf("deleted %d, %v; want 2", n, err)
	}
	if got, err := h.blobs.Get(h.ctx, digest); string(got) != "plan" || err != nil {
		t.Errorf("what is kept came back as %q, %v", got, err)
	}
	_, err = h.blobs.Get(h.ctx, strings.Repeat("0", 64))
	wantClass(t, "an unknown artefact", err, ops.ErrNotFound)
}

func blobTampering(t *testing.T, h *house) {
	a, b := h.put([]byte("harmless plan"), time.Hour), h.put([]byte("wicked plan"), time.Hour)
	var box []byte
	must(t, h.db.Read().QueryRow(h.ctx, "SELECT box FROM blob WHERE digest = $1", a).Scan(&box))
	if bytes.Contains(box, []byte("plan")) {
		t.Error("the database shows what is in an artefact")
	}
	for i := range box {
		changed := bytes.Clone(box)
		changed[i] ^= 1
		h.exec("UPDATE blob SET box = $2 WHERE digest = $1", a, changed)
		if _, err := h.blobs.Get(h.ctx, a); err == nil {
			t.Fatalf("a flipped bit in byte %d went unseen", i)
		}
	}
	h.exec("UPDATE blob SET box = (SELECT o.box FROM blob o WHERE o.digest = $2) WHERE digest = $1", a, b)
	_, err := h.blobs.Get(h.ctx, a)
	wantClass(t, "a swapped artefact", err, ops.ErrInternal)
	other, err := blob.New(h.db, h.clock, bytes.Repeat([]byte{1}, blob.KeySize))
	must(t, err)
	_, err = other.Get(h.ctx, b)
	wantClass(t, "another data key", err, ops.ErrInternal)
	if other.Digest([]byte("x")) == h.blobs.Digest([]byte("x")) {
		t.Error("digests do not depend on the key")
	}
}
