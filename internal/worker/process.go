// Package worker starts programs that outlive us, finds them again after we
// were killed, and ends them with all their children.
//
// A worker has a session and a process group of its own, no input, and writes
// to files, so that neither a closed terminal nor a killed parent ends it. It
// is known by its process id together with the kernel's start time, or by an
// environment variable it was given. Finding workers needs Linux's /proc.
package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// RunVariable is the environment variable by which the processes of a run are
// recognised, also by a server that was started after them.
const RunVariable = "FETTLE_RUN"

// Run is its value: the absolute directory in which the run is kept, and the
// run's token. A copy of the server on the same machine knows the same tokens.
func Run(dir, token string) string { return dir + "#" + token }

// Every is how often output and workers are looked at.
const Every = 50 * time.Millisecond

// Spec is what to start. Args includes the name in place 0; Env is all the
// environment there is.
type Spec struct {
	File           string
	Args           []string
	Dir            string
	Env            []string
	Stdout, Stderr *os.File
}

// Process is a worker we started ourselves.
type Process struct {
	cmd  *exec.Cmd
	done chan error
}

// Start starts a worker.
func Start(s Spec) (*Process, error) {
	cmd := &exec.Cmd{
		Path: s.File, Args: s.Args, Dir: s.Dir, Env: s.Env, Stdout: s.Stdout, Stderr: s.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, done: make(chan error, 1)}
	go func() { p.done <- cmd.Wait() }()
	return p, nil
}

// ID returns what the worker is recognised by after a crash of ours.
func (p *Process) ID() ID {
	return ID{Pid: p.cmd.Process.Pid, Start: startTime(p.cmd.Process.Pid)}
}

// Manner says how a worker is ended.
type Manner struct {
	Signal  syscall.Signal // what asks its process group to end
	Grace   time.Duration  // between that and SIGKILL
	Timeout time.Duration  // how long it may run
	// Early reports that the worker has not come so far yet that it would heed
	// the signal, which then waits: for half of the grace at most. Optional.
	Early func() bool
}

// Wait follows the worker to its end and returns its exit code, -1 for a
// signal. It calls each, when there is one, while it waits. The error says why
// the worker had to be ended, or which signal ended it.
func (p *Process) Wait(ctx context.Context, m Manner, each func()) (int, error) {
	limit := time.NewTimer(m.Timeout)
	defer limit.Stop()
	tick := time.NewTicker(Every)
	defer tick.Stop()
	var why error
	for {
		select {
		case err := <-p.done:
			return exitCode(err)
		case <-tick.C:
			if each != nil {
				each()
			}
			continue
		case <-limit.C:
			why = fmt.Errorf("timed out after %s and was ended with all its children", m.Timeout)
		case <-ctx.Done():
			why = fmt.Errorf("was ended with all its children: %w", context.Cause(ctx))
		}
		var err error
		reaped := false
		gone := func() bool {
			if !reaped {
				select {
				case err = <-p.done:
					reaped = true
				default:
				}
			}
			return reaped
		}
		m.patience(gone)
		EndGroup(p.cmd.Process.Pid, m.Signal, m.Grace, gone)
		if !reaped {
			err = <-p.done
		}
		code, _ := exitCode(err)
		return code, why
	}
}

// patience lets a worker come as far as it must be to heed the signal.
func (m Manner) patience(gone func() bool) {
	if m.Early == nil {
		return
	}
	limit := time.NewTimer(m.Grace / 2)
	defer limit.Stop()
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for !gone() && m.Early() {
		select {
		case <-tick.C:
		case <-limit.C:
			return
		}
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

// EndGroup asks a process group to end, waits until gone reports true or the
// grace is over, and kills what is left of it.
func EndGroup(pid int, signal syscall.Signal, grace time.Duration, gone func() bool) {
	_ = syscall.Kill(-pid, signal)
	limit := time.NewTimer(grace)
	defer limit.Stop()
	tick := time.NewTicker(Every / 5)
	defer tick.Stop()
	for waiting := true; waiting && !gone(); {
		select {
		case <-tick.C:
		case <-limit.C:
			waiting = false
		}
	}
	// Children that ignored the first signal share the group with it still, and
	// what is killed takes a moment to be gone.
	for range 100 {
		if err := syscall.Kill(-pid, syscall.SIGKILL); gone() && errors.Is(err, syscall.ESRCH) {
			return
		}
		<-tick.C
	}
}

// ID recognises a worker: the start time tells it from a later process that
// was given the same number.
type ID struct {
	Pid   int    `json:"pid,omitempty"`
	Start string `json:"start,omitempty"`
}

// Alive reports whether the worker runs.
func (id ID) Alive() bool {
	s := startTime(id.Pid)
	return id.Pid != 0 && s != "" && s == id.Start
}

// KillMarked kills what carries the variable in its environment, having left
// its process group on purpose.
func KillMarked(variable, value string) {
	for _, pid := range Marked(variable, value) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// Marked returns the live processes, other than this one, whose environment
// carries the variable with the value. It sees those of our own user, which is
// who workers run as.
func Marked(variable, value string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	want := []byte(variable + "=" + value)
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

// Orphans returns the processes of a worker that an earlier server started and
// that are alive: the recorded one, or whatever carries the variable when none
// was recorded in time.
func Orphans(id ID, variable, value string) []int {
	if id.Pid == 0 {
		return Marked(variable, value)
	}
	if id.Alive() {
		return []int{id.Pid}
	}
	return nil
}

// Await waits for the orphans of a worker, ending them when the manner's
// timeout is over or ctx ends. It returns what could not be ended, and why they
// had to be ended, nil when they ended by themselves.
func Await(ctx context.Context, id ID, variable, value string, m Manner, each func()) (still []int, why error) {
	limit := time.NewTimer(m.Timeout)
	defer limit.Stop()
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		pids := Orphans(id, variable, value)
		if len(pids) == 0 {
			return nil, nil
		}
		if each != nil {
			each()
		}
		select {
		case <-tick.C:
			continue
		case <-limit.C:
			why = errors.New("timed out and was ended with all its children")
		case <-ctx.Done():
			why = fmt.Errorf("was ended with all its children: %w", context.Cause(ctx))
		}
		m.patience(func() bool { return len(Orphans(id, variable, value)) == 0 })
		for _, pid := range pids {
			EndGroup(pid, m.Signal, m.Grace, func() bool { return !slices.Contains(Orphans(id, variable, value), pid) })
		}
		KillMarked(variable, value)
		return Orphans(id, variable, value), why
	}
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
