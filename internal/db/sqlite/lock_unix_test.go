//go:build unix && !solaris

package sqlite_test

import (
	"errors"
	"fmt"
	"os"
	process "os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db/sqlite"
	"github.com/fettleops/fettle/ops"
)

// A server that is killed while it starts a tool leaves its files to a child
// that has not become the tool yet. The next server takes the database over when
// the child lets go, and does not when the lock is a living process's.
func TestTheLockOfADeadProcessIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.db")
	first, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()

	dead := process.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".lock", fmt.Appendf(nil, "%d\n", dead.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() { _ = first.Close() })
	second, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatalf("the lock of a dead process: %v", err)
	}
	defer func() { _ = second.Close() }()
	if _, err := sqlite.Open(t.Context(), path); !errors.Is(err, ops.ErrConflict) {
		t.Errorf("the lock of a living process gave %v", err)
	}
}
