package store_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

func openSignals(t *testing.T, path string, now func() time.Time) (*db.DB, *store.Store) {
	t.Helper()
	d := schema.OpenAt(t, path)
	return d, store.New(d, now)
}

func appendSignals(t *testing.T, d *db.DB, s *store.Store, m ops.Message) (seq int64) {
	t.Helper()
	err := d.Write(t.Context(), func(tx db.Tx) (err error) {
		seq, err = s.AppendSignals(t.Context(), tx, m)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func message(integration, dedupe string) ops.Message {
	return ops.Message{Integration: integration, Source: "alertmanager", Dedupe: dedupe, Raw: []byte(`{"a":"<b>"}`), Signals: []ops.Signal{{Alert: &ops.Alert{
		Fingerprint: "f", Rule: "r", Title: "t", Severity: ops.High, State: ops.Firing,
		StartsAt: time.Date(2026, 11, 21, 10, 0, 0, 123e6, time.UTC), ObservedAt: time.Date(2026, 11, 21, 10, 0, 1, 0, time.UTC),
	}}}}
}

func TestSignalLogKeepsOrderAndDropsRepeats(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 0, 2, 0, time.UTC)
	path := filepath.Join(dbtest.Dir(t), "f.db")
	d, s := openSignals(t, path, func() time.Time { return at })
	f := func(integration, dedupe string, stored bool) {
		t.Helper()
		if seq := appendSignals(t, d, s, message(integration, dedupe)); (seq > 0) != stored {
			t.Errorf("append %s/%q returned %d, want stored = %v", integration, dedupe, seq, stored)
		}
	}
	f("a", "", true)
	f("a", "", true) // no message id: repeats are correlation's matter
	f("a", "m1", true)
	f("a", "m1", false)
	f("b", "m1", true) // another sender's m1 is another message
	got, err := s.SignalsAfter(t.Context(), 1, 10)
	if err != nil || len(got) != 3 {
		t.Fatalf("signals after 1: %+v, %v", got, err)
	}
	m := got[1]
	if m.Seq <= got[0].Seq || !m.RecordedAt.Equal(at) || m.Dedupe != "m1" || m.Source != "alertmanager" || len(m.Signals) != 1 || m.Signals[0].Alert.Severity != ops.High {
		t.Errorf("message came back as %+v", m)
	}
	if limited, err := s.SignalsAfter(t.Context(), 0, 2); err != nil || len(limited) != 2 {
		t.Errorf("limit 2 gave %d, %v", len(limited), err)
	}
	if string(m.Raw) != `{"a":"<b>"}` {
		t.Errorf("raw came back as %s", m.Raw)
	}
	// The log outlives the process, and so does what it knows of repeats.
	_ = d.Close()
	d, s = openSignals(t, path, func() time.Time { return at })
	f("a", "m1", false)
}

func TestSignalDepthIsWhatCorrelateHasNotSeen(t *testing.T) {
	d, s := openSignals(t, filepath.Join(dbtest.Dir(t), "f.db"), time.Now)
	f := func(want int64) {
		t.Helper()
		if got, err := s.SignalDepth(t.Context()); err != nil || got != want {
			t.Errorf("depth = %d, %v, want %d", got, err, want)
		}
	}
	f(0)
	var last int64
	for range 3 {
		last = appendSignals(t, d, s, message("a", ""))
	}
	f(3)
	move := func(from, to int64) {
		t.Helper()
		if err := d.Write(t.Context(), func(tx db.Tx) error { return s.MoveCursor(t.Context(), tx, store.CorrelateCursor, from, to) }); err != nil {
			t.Fatal(err)
		}
	}
	move(0, last-1)
	f(1)
	move(last-1, last)
	f(0)
}

func TestTrimSignalsKeepsWhatIsYoungUnseenOrNewest(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	d, s := openSignals(t, filepath.Join(dbtest.Dir(t), "f.db"), func() time.Time { return now })
	for range 4 {
		appendSignals(t, d, s, message("a", ""))
		now = now.Add(24 * time.Hour)
	}
	trim := func(before time.Time, limit int, want int64) {
		t.Helper()
		var n int64
		err := d.Write(t.Context(), func(tx db.Tx) (err error) {
			n, err = s.TrimSignals(t.Context(), tx, before, limit)
			return err
		})
		if err != nil || n != want {
			t.Errorf("trim before %s deleted %d, %v, want %d", before, n, err, want)
		}
	}
	trim(now, 100, 0) // correlation has seen nothing yet
	if err := d.Write(t.Context(), func(tx db.Tx) error { return s.MoveCursor(t.Context(), tx, store.CorrelateCursor, 0, 4) }); err != nil {
		t.Fatal(err)
	}
	trim(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), 100, 1)
	trim(now, 1, 1)
	trim(now, 100, 1)
	trim(now, 100, 0) // the newest stays, or its number would come again
	if seq := appendSignals(t, d, s, message("a", "")); seq != 5 {
		t.Errorf("next number is %d, want 5", seq)
	}
}

// xorSealer is a Sealer whose work a test can see through.
type xorSealer byte

func (x xorSealer) flip(b []byte) []byte {
	out := bytes.Clone(b)
	for i := range out {
		out[i] ^= byte(x)
	}
	return out
}
func (x xorSealer) Seal(b []byte) []byte { return append([]byte{byte(x)}, x.flip(b)...) }
func (x xorSealer) Open(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != byte(x) {
		return nil, errors.New("not sealed with this key")
	}
	return x.flip(b[1:]), nil
}

func TestSealedSignals(t *testing.T) {
	d, s := openSignals(t, filepath.Join(dbtest.Dir(t), "f.db"), time.Now)
	appendSignals(t, d, s, message("plain", ""))
	s.SealSignalsWith(xorSealer(0x5a))
	appendSignals(t, d, s, message("secret", ""))
	var body []byte
	if err := d.Read().QueryRow(t.Context(), "SELECT body FROM signal WHERE seq = 2").Scan(&body); err != nil || bytes.Contains(body, []byte("fingerprint")) {
		t.Errorf("sealed body reads %q, %v", body, err)
	}
	got, err := s.SignalsAfter(context.Background(), 0, 10)
	if err != nil || len(got) != 2 || got[0].Integration != "plain" || got[1].Integration != "secret" {
		t.Errorf("signals = %+v, %v", got, err)
	}
	if _, err := store.New(d, time.Now).SignalsAfter(t.Context(), 0, 10); !errors.Is(err, ops.ErrStalled) {
		t.Errorf("without the key: %v, want ErrStalled", err)
	}
	if string(got[1].Raw) != `{"a":"<b>"}` {
		t.Errorf("raw opened as %s", got[1].Raw)
	}
	s.SealSignalsWith(xorSealer(1))
	if _, err := s.SignalsAfter(t.Context(), 0, 10); err == nil {
		t.Error("a wrong key opened the log")
	}
}

func TestSignalMigrationGoesDownAndUpAgain(t *testing.T) {
	d, s := openSignals(t, filepath.Join(dbtest.Dir(t), "f.db"), time.Now)
	if err := store.MigrateDown(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	appendSignals(t, d, s, message("a", "m"))
}
