package main

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"
)

func TestReadFindsWhatMustNotBe(t *testing.T) {
	opened := time.Unix(100, 0)
	f := func(log string, starts, twice, early int) {
		t.Helper()
		got, err := read([]byte(log), opened)
		if err != nil || len(got.starts) != starts || got.twice != twice || got.early != early {
			t.Errorf("%q: %d started, %d twice, %d early (%v); want %d, %d, %d", log, len(got.starts), got.twice, got.early, err, starts, twice, early)
		}
	}
	f("i-10 101000000000\ni-11 102000000000\n", 2, 0, 0)
	f("i-11 101000000000\ni-10 102000000000\n", 2, 0, 1)
	f("i-11 101000000000\n", 1, 0, 1)
	f("i-12 101000000000\ni-12 102000000000\n", 1, 1, 0)
	if _, err := read([]byte("nonsense\n"), opened); err == nil {
		t.Error("a line that is none of the command's was read")
	}
}

// Three replicas on one database start every change of an opening once, and
// none before what it depends on.
func TestGateAtABusyOpening(t *testing.T) {
	peer.Long(t)
	database := peer.Postgres(t)
	binary := filepath.Join(t.TempDir(), "fettle")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/fettle").CombinedOutput(); err != nil {
		t.Fatalf("build fettle: %v\n%s", err, out)
	}
	o := options{fettle: binary, changes: 60, windows: 6, lead: time.Minute, patience: 5 * time.Minute}
	f, err := measure(o, 3, database)
	if err != nil || len(f.starts) != o.changes || f.twice+f.early > 0 || f.starts[0] < 0 {
		t.Errorf("%d of %d started, the first %s after the opening, %d twice, %d early: %v", len(f.starts), o.changes, f.starts[:min(1, len(f.starts))], f.twice, f.early, err)
	}
}
