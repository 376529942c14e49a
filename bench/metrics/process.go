package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // reads the database files of the server
)

// process is a server under measurement, stopped by its pid.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	log  string
}

func (p *process) run(log, path string, args, env []string) error {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	p.log, p.done = log, make(chan struct{})
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // how it ended does not matter
		close(done)
	}(p.cmd, p.done)
	return nil
}

func (p *process) stop() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.kill()
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) tail() string {
	b, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// await waits until a URL answers 200.
func (p *process) await(ctx context.Context, url string) error {
	for {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.done:
			return fmt.Errorf("the server ended:\n%s", p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer:\n%s", url, p.tail())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// memory is the resident set in MiB, and the greatest it was, from /proc.
func (p *process) memory() (now, peak float64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			now = kb / 1024
		case "VmHWM:":
			peak = kb / 1024
		}
	}
	return now, peak
}

// tick is the unit of /proc/PID/stat, which Linux fixes at a hundredth of a second.
const tick = 10 * time.Millisecond

// cpu is the processor time so far, user and system, from /proc.
func (p *process) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name before it may hold anything
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * tick
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// fettle is the server we make.
type fettle struct {
	process
	dir, binary, address string
}

const token = "bench-token-0123456789abcdef"

// newFettle prepares a server with the groups of a YAML list, indented by four.
func newFettle(o options, groups string) (*fettle, error) {
	dir, err := os.MkdirTemp("", "fettle-bench-")
	if err != nil {
		return nil, err
	}
	f := &fettle{dir: dir, binary: o.fettle}
	if f.address, err = freeAddress(); err != nil {
		return nil, err
	}
	config := `integrations:
  - {name: metrics, source: remotewrite, auth: {bearer: env:BENCH_TOKEN}}
detect:
  host: {enabled: false}
  groups:
` + groups + `
correlate: {group_by: [rule], within: 1h}
`
	return f, os.WriteFile(f.config(), []byte(config), 0o600)
}

func (f *fettle) config() string { return filepath.Join(f.dir, "fettle.yaml") }

func (f *fettle) start(ctx context.Context) error {
	err := f.run(filepath.Join(f.dir, "log"), f.binary, []string{"serve", "--config", f.config(), "--data-dir", f.dir, "--listen", f.address}, []string{"BENCH_TOKEN=" + token})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return f.await(ctx, "http://"+f.address+"/healthz")
}

func (f *fettle) url() string { return "http://" + f.address + "/in/metrics" }

func (f *fettle) remove() { _ = os.RemoveAll(f.dir) }

// place reads how far the log and detection are; the server may run or not.
type place struct {
	samples, core *sql.DB
}

func (f *fettle) place() (*place, error) {
	open := func(name string) (*sql.DB, error) {
		return sql.Open("sqlite", "file:"+filepath.Join(f.dir, name)+"?_pragma=query_only(1)&_pragma=busy_timeout(10000)")
	}
	a, err1 := open("samples.db")
	b, err2 := open("fettle.db")
	return &place{a, b}, errors.Join(err1, err2)
}

func (p *place) close() { _ = errors.Join(p.samples.Close(), p.core.Close()) }

// read returns the newest record, up to where it is committed, from where a
// restart reads, and the bytes kept.
func (p *place) read() (last, committed, replay, bytes int64, err error) {
	err = errors.Join(
		p.samples.QueryRow("SELECT last, bytes FROM sample_head WHERE part = 0").Scan(&last, &bytes),
		p.core.QueryRow("SELECT committed, replay_from FROM detection WHERE part = 0").Scan(&committed, &replay))
	return last, committed, replay, bytes, err
}

// caughtUp waits until at most so many records are not committed.
func (p *place) caughtUp(ctx context.Context, within int64) error {
	for {
		last, committed, _, _, err := p.read()
		if err == nil && last-committed <= within {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("detection is at %d of %d: %w", committed, last, errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// prometheus is the rival.
type prometheus struct {
	process
	address string
}

func (p *prometheus) start(ctx context.Context, path, dir string) (err error) {
	if p.address, err = freeAddress(); err != nil {
		return err
	}
	cfg := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(cfg, []byte("global: {}\n"), 0o600); err != nil {
		return err
	}
	err = p.run(filepath.Join(dir, "log"), path, []string{
		"--config.file=" + cfg, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + p.address,
		"--web.enable-remote-write-receiver", "--log.level=error",
	}, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return p.await(ctx, "http://"+p.address+"/-/ready")
}
