package crash

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/test/house"
)

func TestAFullDiskMakesSendersWaitAndNothingIsLost(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); errors.Is(err, syscall.EPERM) {
		t.Skip("only root may mount a disk that is small enough to fill")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	h, f := halfway(t, house.Options{Detect: watchFleet, Dir: dir})
	ballast := filepath.Join(dir, "ballast")
	w, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(w, rand.Reader) // until nothing fits any more
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filled the disk: %v", err)
	}
	_ = w.Close()
	f.allowed.Store(faultSteps)
	for limit := time.Now().Add(time.Minute); f.tally.Refused.Load() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("no delivery was refused within a minute of a full disk")
		}
	}
	time.Sleep(3 * time.Second) // snapshots come due and fail too
	select {
	case <-h.Ended():
		t.Fatalf("the server ended on a full disk:\n%s", h.Tail(10))
	default:
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	got := rest(t, h, f)
	t.Logf("%d deliveries refused while the disk was full", f.tally.Refused.Load())
	compare(t, got, undisturbed(t, faultSteps), faultSteps)
}
