package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fettleops/fettle/ops"
)

// left is how long the lock of a process that is no more is waited for. A child
// it was starting when it was killed has its files until it runs what it is to
// run, which takes a while on a busy machine.
const left = 5 * time.Second

// acquire takes the lock or says who has it: the proof that one process alone
// has the database open. The operating system drops it when the process ends,
// however it ends; the file itself stays, because removing it would let two
// processes lock two files of one name. Release may be called twice.
func acquire(ctx context.Context, path string) (release func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	f, err := openLocked(path)
	for errors.Is(err, errLocked) && ctx.Err() == nil && ended(holder(path)) {
		time.Sleep(10 * time.Millisecond)
		f, err = openLocked(path)
	}
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

// ended reports whether there is no process of this number any more.
func ended(pid string) bool {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return false
	}
	p, err := os.FindProcess(n)
	if err != nil {
		return true
	}
	defer func() { _ = p.Release() }() // it may hold a file descriptor
	return errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}
