package crash

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/test/house"
)

// The steps of these tests: half of them before the fault and half after it.
const faultSteps = 900

// halfway runs a house that has detected the first half of the steps.
func halfway(t *testing.T, o house.Options) (*house.House, *fleet) {
	t.Helper()
	h := house.New(t, o)
	h.Start("")
	h.Ready(ready)
	f := newFleet(t, h, faultSteps)
	f.allowed.Store(faultSteps / 2)
	f.start(t.Context(), 0)
	f.await(faultSteps / 2)
	h.Detected(drained)
	return h, f
}

// await waits until so many steps are acknowledged.
func (f *fleet) await(steps int) {
	f.t.Helper()
	limit := time.After(2 * time.Minute)
	for f.sent.Load() < int64(steps*senders) {
		select {
		case <-f.house.Ended():
			f.t.Fatalf("the server ended by itself:\n%s", f.house.Tail(10))
		case <-limit:
			f.t.Fatalf("%d of %d deliveries acknowledged", f.sent.Load(), steps*senders)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// rest sends and detects the second half, and stops.
func rest(t *testing.T, h *house.House, f *fleet) house.Findings {
	t.Helper()
	f.allowed.Store(faultSteps)
	f.done.Wait()
	h.Detected(drained)
	h.Drain(drained)
	h.Stop()
	return h.Findings(t.Context())
}

// snapshots returns the files of the models by series.
func snapshots(t *testing.T, h *house.House) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(h.Dir, "models", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range files {
		id, _, _ := strings.Cut(filepath.Base(f), ".")
		out[id] = f
	}
	return out
}

func TestATornSnapshotCostsOneModelItsMemory(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	h, f := halfway(t, house.Options{Detect: watchFleet})
	h.Stop()
	files := snapshots(t, h)
	if len(files) != machines {
		t.Fatalf("%d snapshots, want %d: %v", len(files), machines, files)
	}
	var hurt []string
	for id := range files {
		hurt = append(hurt, id)
	}
	slices.Sort(hurt)
	hurt = hurt[:3]
	for i, id := range hurt {
		body, err := os.ReadFile(files[id])
		if err != nil {
			t.Fatal(err)
		}
		switch i {
		case 0:
			body = body[:len(body)/2]
		case 1:
			body[len(body)/3] ^= 1
		case 2:
			body = nil
		}
		if err := os.WriteFile(files[id], body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.Start("")
	h.Ready(ready)
	got := rest(t, h, f)
	want := undisturbed(t, faultSteps)
	for id, readings := range want.Readings {
		if slices.Contains(hurt, id) {
			// What was stored before stays, and what came after is scored.
			if n := len(got.Readings[id]); n == 0 || got.Readings[id][n-1].At != readings[len(readings)-1].At {
				t.Errorf("series %s, whose snapshot was torn, has %d readings and not the newest", id, n)
			}
			continue
		}
		if i := firstDifference(got.Readings[id], readings); i >= 0 {
			t.Errorf("series %s, whose snapshot was not touched: reading %d is %v, want %v", id, i, at(got.Readings[id], i), at(readings, i))
		}
	}
	if n := strings.Count(h.Tail(1<<20), "snapshot of a model set aside"); n != len(hurt) {
		t.Errorf("the log tells %d times that a snapshot was set aside, want %d", n, len(hurt))
	}
	if broken, err := filepath.Glob(filepath.Join(h.Dir, "models", "*", "*.broken")); err != nil || len(broken) != len(hurt) {
		t.Errorf("set aside are %v (%v), want %d", broken, err, len(hurt))
	}
}

func TestModelsThatAreDeletedBeginAnew(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	h, f := halfway(t, house.Options{Detect: watchFleet})
	h.Stop()
	if err := os.RemoveAll(filepath.Join(h.Dir, "models")); err != nil {
		t.Fatal(err)
	}
	h.Start("")
	h.Ready(ready)
	got := rest(t, h, f)
	if len(got.Readings) != machines || len(snapshots(t, h)) != machines {
		t.Errorf("%d series and %d snapshots, want %d", len(got.Readings), len(snapshots(t, h)), machines)
	}
	newest := f.begin.Add((faultSteps - 2) * time.Minute).UnixMilli()
	for id, r := range got.Readings {
		if len(r) == 0 || r[len(r)-1].At != newest {
			t.Errorf("series %s has %d readings and not the newest", id, len(r))
		}
	}
	for _, a := range got.Anomalies {
		if a.Open && a.To.Before(f.begin.Add(faultSteps/2*time.Minute)) {
			t.Errorf("an anomaly of a model that is gone stays open: %+v", a)
		}
	}
}

func TestModelsThatAreDeletedUnderTheServerAreWrittenAgain(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	h, f := halfway(t, house.Options{Detect: watchFleet})
	models := filepath.Join(h.Dir, "models")
	for n := 0; os.RemoveAll(models) != nil; n++ { // the server may write one meanwhile
		if n == 100 {
			t.Fatalf("%s cannot be deleted", models)
		}
	}
	f.allowed.Store(faultSteps * 3 / 4)
	f.await(faultSteps * 3 / 4)
	h.Stop() // which writes what was learned since
	h.Start("")
	h.Ready(ready)
	got := rest(t, h, f)
	compare(t, got, undisturbed(t, faultSteps), faultSteps)
}

func TestAFullLogMakesSendersWaitAndNothingIsLost(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	h, f := halfway(t, house.Options{Detect: watchFleet + "  log_max_bytes: 16KiB\n"})
	got := rest(t, h, f)
	t.Logf("%d deliveries refused", f.tally.Refused.Load())
	if f.tally.Refused.Load() == 0 {
		t.Error("no delivery was refused: the log was never full")
	}
	if !strings.Contains(h.Tail(1<<20), "delivery put off") {
		t.Error("the log does not say that senders wait")
	}
	compare(t, got, undisturbed(t, faultSteps), faultSteps)
}
