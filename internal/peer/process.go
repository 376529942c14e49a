package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	readyWithin = 3 * time.Minute // generous: a loaded machine starts Perl and Python slowly
	stopWithin  = 10 * time.Second
	logKept     = 64 << 10
)

// process is one running peer.
type process struct {
	name string
	cmd  *exec.Cmd
	out  tail
	done chan struct{} // closed when the process has ended and was reaped
}

// start runs cmd as the leader of its own process group. The kernel sends it
// onDeath should this process die without cleaning up, as it does when a test
// runs into its time limit.
func start(name string, cmd *exec.Cmd, onDeath syscall.Signal) (*process, error) {
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	isolate(cmd, onDeath)
	started := make(chan error)
	go func() {
		// The death signal is bound to the thread that forked: the thread
		// must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in ProcessState
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("peer: start %s: %w", name, err)
	}
	return p, nil
}

// ended reports whether the process is gone.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop asks the process to end and, when it does not listen, kills its group.
func (p *process) stop() {
	if p.ended() {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
	select {
	case <-p.done:
	case <-time.After(stopWithin):
		killGroup(p.cmd.Process.Pid)
		<-p.done
	}
}

// await polls ready until it returns nil, the process ends or time is up. The
// error carries the end of the process's output.
func (p *process) await(ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("peer: %s ended before it was ready: %v; its output:\n%s", p.name, p.cmd.ProcessState, p.out.String())
		case <-ctx.Done():
			return fmt.Errorf("peer: %s is not ready after %v: %w; its output:\n%s", p.name, readyWithin, err, p.out.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// serve starts a server for the length of a test. command is called with a
// free port, again with another one when the server ended before it was ready,
// as happens when somebody else took the port.
func serve(t testing.TB, name, readyPath string, command func(port int) *exec.Cmd) (url string) {
	t.Helper()
	port := listen(t, name, command, func(ctx context.Context, port int) error {
		return get(ctx, "http://"+loopback(port)+readyPath)
	})
	return "http://" + loopback(port)
}

// listen starts a server as serve does, for any protocol, and returns its port.
func listen(t testing.TB, name string, command func(port int) *exec.Cmd, ready func(ctx context.Context, port int) error) (port int) {
	t.Helper()
	const tries = 3
	var last error
	for range tries {
		port, err := freePort()
		if err != nil {
			t.Fatalf("peer: no free port for %s: %v", name, err)
		}
		p, err := start(name, command(port), syscall.SIGTERM)
		if err != nil {
			t.Fatal(err)
		}
		if last = p.await(func(ctx context.Context) error { return ready(ctx, port) }); last == nil {
			t.Cleanup(func() {
				p.stop()
				if t.Failed() {
					t.Logf("output of %s:\n%s", name, p.out.String())
				}
			})
			return port
		}
		if !p.ended() {
			p.stop() // it runs but does not answer: another port would not help
			break
		}
	}
	t.Fatal(last)
	return 0
}

// get succeeds when url answers with 2xx.
func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status)
	}
	return nil
}

// client keeps no connection, so that a goroutine leak test of the caller sees
// none of ours.
var client = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true},
	Timeout:   10 * time.Second,
}

// tail keeps the last logKept bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer; it never fails.
func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf, p...)
	if over := len(w.buf) - logKept; over > 0 {
		w.buf = append(w.buf[:0], w.buf[over:]...)
	}
	return len(p), nil
}

// String returns what is kept.
func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.buf)
}
