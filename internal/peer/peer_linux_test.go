package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// recorder is a test that notes how it was ended.
type recorder struct {
	testing.TB
	how, said string
}

func (r *recorder) end(how, said string) {
	if r.how == "" { // the real ones do not return
		r.how, r.said = how, said
	}
}

func (r *recorder) Helper()                      {}
func (r *recorder) Fatalf(f string, args ...any) { r.end("fail", fmt.Sprintf(f, args...)) }
func (r *recorder) Skipf(f string, args ...any)  { r.end("skip", fmt.Sprintf(f, args...)) }
func (r *recorder) Skip(args ...any)             { r.end("skip", fmt.Sprint(args...)) }

func TestMissingPeerSkipsOrFails(t *testing.T) {
	f := func(env, want string) {
		t.Helper()
		t.Setenv("FETTLE_PEERS", env)
		r := &recorder{TB: t}
		program(r, "no-such-program", "some-package")
		if r.how != want || !strings.Contains(r.said, "apt-get install some-package") {
			t.Errorf("FETTLE_PEERS=%q: %s: %s, want %s and the package", env, r.how, r.said, want)
		}
	}
	f("", "skip")
	f("required", "fail")
}

func TestLongTestsAndProofsNeedToBeAskedFor(t *testing.T) {
	f := func(ask func(testing.TB), name, value, want string) {
		t.Helper()
		t.Setenv(name, value)
		r := &recorder{TB: t}
		if ask(r); r.how != want {
			t.Errorf("%s=%q: %q, want %q", name, value, r.how, want)
		}
	}
	for name, ask := range map[string]func(testing.TB){"FETTLE_LONG": Long, "FETTLE_PROVE": Prove} {
		f(ask, name, "", "skip")
		f(ask, name, "0", "skip")
		f(ask, name, "1", "")
	}
}

// TestAbandonedPeersEnd runs the next test in a process that exits without any
// clean-up, as a test does that runs into its time limit.
func TestAbandonedPeersEnd(t *testing.T) {
	if postgresBin() == "" {
		missing(t, "PostgreSQL's initdb", "postgresql")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestAbandonPeers$")
	cmd.Env = append(os.Environ(), "FETTLE_ABANDON=1")
	out, err := cmd.CombinedOutput()
	var pid int
	var dir string
	if _, scanErr := fmt.Sscanf(string(out), "%d %s", &pid, &dir); err != nil || scanErr != nil {
		t.Fatalf("%v, %v; output:\n%s", err, scanErr, out)
	}
	deadline := time.Now().Add(readyWithin)
	for {
		_, gone := os.Stat(dir)
		alive := running(pid)
		if os.IsNotExist(gone) && !alive {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d alive: %v, folder %s: %v", pid, alive, dir, gone)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// running reports whether pid is a process that has not ended. One that
// nobody has reaped yet has.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestAbandonPeers(t *testing.T) {
	if os.Getenv("FETTLE_ABANDON") != "1" {
		t.Skip("the other half of TestAbandonedPeersEnd")
	}
	p, err := start("sleep", exec.Command("sleep", "600"), syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	Postgres(t)
	fmt.Println(p.cmd.Process.Pid, cluster.socket)
	os.Exit(0)
}

func TestAwaitReportsAPeerThatEnded(t *testing.T) {
	p, err := start("false", exec.Command("sh", "-c", "echo no config; exit 3"), syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	err = p.await(func(context.Context) error { return errors.New("refused") })
	if err == nil || !strings.Contains(err.Error(), "no config") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error = %v, want the exit status and the output", err)
	}
}
