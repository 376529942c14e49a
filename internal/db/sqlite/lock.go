package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/fettleops/fettle/ops"
)

// acquire takes the lock at once or says who has it: the proof that one process
// alone has the database open. The operating system drops it when the process
// ends, however it ends; the file itself stays, because removing it would let
// two processes lock two files of one name. Release may be called twice.
func acquire(path string) (release func() error, err error) {
	f, err := openLocked(path)
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("%s: the database is in use by process %s; stop it or use another data directory: %w", path, holder(path), ops.ErrConflict)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	pid := []byte(strconv.Itoa(os.Getpid()) + "\n")
	if err := errors.Join(f.Truncate(0), write(f, pid)); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return sync.OnceValue(f.Close), nil
}

func write(f *os.File, b []byte) error {
	_, err := f.WriteAt(b, 0)
	return err
}

var errLocked = errors.New("locked")

// holder reads who took the lock; it may have gone since.
func holder(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "unknown"
}
