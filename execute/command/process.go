package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fettleops/fettle/execute"
)

// tailEvery is how often output and orphans are looked at.
const tailEvery = 50 * time.Millisecond

// process is a command at work in a process group of its own.
type process struct {
	cmd  *exec.Cmd
	done chan error
}

// spawn starts argv from file with a clean environment and no input.
func (x *Executor) spawn(file string, argv []string, token execute.Token, out *os.File) (*process, error) {
	cmd := &exec.Cmd{
		Path: file, Args: argv, Dir: x.cfg.Dir, Env: x.cfg.environment(token),
		Stdout: out, Stderr: out,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan error, 1)}
	go func() { p.done <- cmd.Wait() }()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// wait follows the process to its end and returns its exit code. The error
// says why it had to be ended, or which signal ended it.
func (p *process) wait(ctx context.Context, timeout, grace time.Duration, t *tail) (int, error) {
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	tick := time.NewTicker(tailEvery)
	defer tick.Stop()
	var why error
	for {
		select {
		case err := <-p.done:
			return exitCode(err)
		case <-tick.C:
			if t != nil {
				t.copy()
			}
			continue
		case <-limit.C:
			why = fmt.Errorf("timed out after %s and was ended with all its children", timeout)
		case <-ctx.Done():
			why = fmt.Errorf("was ended with all its children: %w", context.Cause(ctx))
		}
		var err error
		reaped := false
		endGroup(p.pid(), grace, func() bool {
			if !reaped {
				select {
				case err = <-p.done:
					reaped = true
				default:
				}
			}
			return reaped
		})
		if !reaped {
			err = <-p.done
		}
		code, _ := exitCode(err)
		return code, why
	}
}

func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &exit):
		return -1, err
	}
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return -1, fmt.Errorf("was ended by signal %d (%s)", s.Signal(), s.Signal())
	}
	return exit.ExitCode(), nil
}

// endGroup asks a process group to end, waits until gone reports true or the
// grace is over, and kills what is left of it.
func endGroup(pid int, grace time.Duration, gone func() bool) {
	_ = syscall.Kill(-pid, syscall.SIGTERM)
	limit := time.NewTimer(grace)
	defer limit.Stop()
	tick := time.NewTicker(tailEvery / 5)
	defer tick.Stop()
	for waiting := true; waiting && !gone(); {
		select {
		case <-tick.C:
		case <-limit.C:
			waiting = false
		}
	}
	// Children that ignored the first signal share the group with it still.
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	for range 100 {
		if gone() {
			return
		}
		<-tick.C
	}
}

// endMarked kills what carries the token in its environment, having left its
// process group on purpose.
func endMarked(token execute.Token) {
	for _, pid := range marked(token) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// orphans returns the processes of an earlier server's run that are alive: the
// recorded one, or whatever carries the token when none was recorded in time.
func orphans(m mark, token execute.Token) []int {
	if m.Pid == 0 {
		return marked(token)
	}
	if s := startTime(m.Pid); s != "" && s == m.Start {
		return []int{m.Pid}
	}
	return nil
}

// marked returns the live processes whose environment carries the token. It
// sees those of our own user, which is who commands run as.
func marked(token execute.Token) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	want := []byte(tokenVariable + "=" + string(token))
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil || startTime(pid) == "" {
			continue
		}
		for _, v := range bytes.Split(env, []byte{0}) {
			if bytes.Equal(v, want) {
				out = append(out, pid)
				break
			}
		}
	}
	return out
}

// startTime returns the kernel's start time of a live process (proc(5), stat,
// field 22), empty for one that is gone or only waits to be reaped.
func startTime(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	// The second field, the name, may hold anything up to the last ")".
	s := string(b)
	fields := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19]
}

// maxFile bounds the file a command writes to. Beyond it the file is emptied:
// what was written between the last copy and then is lost, from the middle of
// an output of which only head and tail are kept anyway.
const maxFile = 8 << 20

// tail copies what a command writes to its file to out.
type tail struct {
	path string
	out  io.Writer
	at   int64
}

// copy hands on what is new. A file that is gone or unreadable has nothing new.
func (t *tail) copy() {
	f, err := os.Open(t.path)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	n, _ := io.Copy(t.out, io.NewSectionReader(f, t.at, maxFile*4))
	t.at += n
	if t.at > maxFile && os.Truncate(t.path, 0) == nil {
		t.at = 0
	}
}

func (t *tail) remove() { _ = os.Remove(t.path) }
