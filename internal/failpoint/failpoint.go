// Package failpoint lets a test kill the process at a named point, to prove
// that nothing is lost whenever the power goes.
//
// A point costs one atomic load unless FETTLE_FAILPOINT is set when the
// process starts. Its value is NAME or NAME#N: the process kills itself with
// SIGKILL, running no deferred code, the N-th time it reaches NAME. With
// >FILE it kills nothing and appends the name of every point to FILE when it is
// reached for the first time, which tells a test what it can reach.
package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Env is the environment variable that arms a point.
const Env = "FETTLE_FAILPOINT"

type target struct {
	name string
	left atomic.Int64
	seen *seen // instead of a name
}

var armed = parse(os.Getenv(Env))

func parse(v string) *target {
	if v == "" {
		return nil
	}
	if file, ok := strings.CutPrefix(v, ">"); ok {
		return &target{seen: &seen{file: file}}
	}
	name, count, counted := strings.Cut(v, "#")
	t := &target{name: name}
	t.left.Store(1)
	if counted {
		if n, err := strconv.ParseInt(count, 10, 64); err == nil && n > 0 {
			t.left.Store(n)
		}
	}
	return t
}

// Armed reports whether any point is armed, for callers whose names are dear
// to compute.
func Armed() bool { return armed != nil }

// Hit kills the process if name is armed and its turn has come.
func Hit(name string) {
	if armed == nil {
		return
	}
	if armed.seen != nil {
		armed.seen.note(name)
		return
	}
	if armed.name != name || armed.left.Add(-1) != 0 {
		return
	}
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		_ = p.Kill()
	}
	select {} // the signal is on its way; nothing after this point may run
}

// seen writes down which points were reached.
type seen struct {
	file  string
	names sync.Map
}

func (s *seen) note(name string) {
	if _, known := s.names.LoadOrStore(name, true); known {
		return
	}
	f, err := os.OpenFile(s.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return // the test finds the name missing and says so
	}
	_, _ = f.WriteString(name + "\n")
	_ = f.Close()
}
