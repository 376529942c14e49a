// Package house runs the real fettle binary for tests that treat it badly: it
// is started, killed and started again on one data directory, beside a
// simulated ServiceNow that survives. What it should hold afterwards is read
// from its database file and from the platforms, never from its own answers.
package house

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/internal/peer"
)

var build = struct {
	once sync.Once
	path string
	err  error
}{}

// Binary builds fettle once for the test binary and returns where it is. With
// FETTLE_BINARY it is that one instead.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("FETTLE_BINARY"); path != "" {
		return path
	}
	build.once.Do(func() {
		dir, err := os.MkdirTemp("", "fettle-house-")
		if err != nil {
			build.err = err
			return
		}
		build.path = filepath.Join(dir, "fettle")
		cmd := exec.Command("go", "build", "-o", build.path, "github.com/fettleops/fettle/cmd/fettle")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			build.err = fmt.Errorf("build fettle: %w\n%s", err, out)
		}
	})
	if build.err != nil {
		t.Fatal(build.err)
	}
	return build.path
}

// Remove deletes the binary that Binary built; TestMain calls it.
func Remove() {
	if build.path != "" {
		_ = os.RemoveAll(filepath.Dir(build.path))
	}
}

// WebhookToken is the credential of the integrations "am" and "metrics".
const WebhookToken = "house-token-0123456789abcdef"

// House is an installation of the real binary.
type House struct {
	T       testing.TB
	Dir     string // data directory, with everything else in it
	Base    string // URL
	Snow    *simulator.Server
	SnowURL string
	RT      *peer.RT // nil without Request Tracker
	Effects string   // file in which every command leaves a line
	Log     string   // file of the server's log, of all its lives

	config string
	listen string
	cmd    *exec.Cmd
	done   chan struct{}
}

// RTRule is the one rule whose incidents get tickets in Request Tracker too,
// which takes about ten writes a second.
const RTRule = "HighLatency"

// Options is what a house may have beside the usual.
type Options struct {
	RT    *peer.RT
	Extra string // appended to the configuration
	Host  bool   // sample this machine every second
	// Rewrite changes the configuration as a whole, at last.
	Rewrite *strings.Replacer
	// Dir is used instead of a new folder.
	Dir string
	// Integration is a further entry of integrations, on one line.
	Integration string
	// Checkpoint is how often models are saved and the sample log is trimmed;
	// empty is 2s.
	Checkpoint string
	// LogKeep is the log_keep; empty is 1s.
	LogKeep string
	// Detect is YAML of the section detect beside host and rules, indented by two.
	Detect string
}

// New makes an installation; nothing runs yet.
func New(t testing.TB, o Options) *House {
	t.Helper()
	dir := o.Dir
	if dir == "" {
		dir = t.TempDir()
	}
	h := &House{T: t, Dir: dir, RT: o.RT, Effects: filepath.Join(dir, "effects"), Log: filepath.Join(dir, "log"), config: filepath.Join(dir, "fettle.yaml")}
	h.Snow = simulator.New(simulator.Config{Clock: time.Now, RequestLog: 200_000})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h.Snow, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	h.SnowURL = "http://" + l.Addr().String()
	h.listen = FreeAddress(t)
	h.Base = "http://" + h.listen
	write(t, filepath.Join(dir, "snow.password"), "fettle\n", 0o600)
	write(t, filepath.Join(dir, "effect.sh"), "#!/bin/sh\necho \"$1 $FETTLE_RUN_TOKEN\" >> "+h.Effects+"\nsleep \"$2\"\n", 0o700)
	write(t, h.config, h.configuration(o), 0o600)
	t.Cleanup(func() {
		h.Kill()
		if t.Failed() {
			keep(t, h)
		}
	})
	return h
}

// keep leaves the files of a failed test where they can be looked at.
func keep(t testing.TB, h *House) {
	dir, err := os.MkdirTemp("", "fettle-failed-")
	if err != nil {
		t.Log(err)
		return
	}
	for _, name := range []string{"fettle.db", "fettle.db-wal", "log", "effects", "fettle.yaml"} {
		if b, err := os.ReadFile(filepath.Join(h.Dir, name)); err == nil {
			_ = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
	}
	t.Logf("the data directory was copied to %s", dir)
}

func (h *House) configuration(o Options) string {
	effect := filepath.Join(h.Dir, "effect.sh")
	host := "{enabled: false}"
	if o.Host {
		host = "{enabled: true, every: 1s}"
	}
	integration := ""
	if o.Integration != "" {
		integration = "  - " + o.Integration
	}
	text := `
server: {public_url: "` + h.Base + `"}
integrations:
  - {name: am, source: alertmanager, auth: {bearer: env:HOUSE_WEBHOOK}}
  - {name: metrics, source: remotewrite, auth: {bearer: env:HOUSE_WEBHOOK}}
` + integration + `
detect:
  checkpoint_interval: ` + cmp.Or(o.Checkpoint, "2s") + `
  log_keep: ` + cmp.Or(o.LogKeep, "1s") + `
  host: ` + host + `
  rules:
    - {name: high-cpu, enabled: false}
    - {name: memory-leak, enabled: false}
    - {name: disk-space, enabled: false}
`
	if o.Host {
		text += "    - {name: Alive, when: 'cpu_utilization >= 0.0', severity: low}\n"
	}
	text += o.Detect + `
correlate: {group_by: [rule, resource], within: 1h, reopen_within: 24h, flap: {changes: 0}}
teams:
  - {name: Ops, time_zone: UTC, backlog_snapshot: "00:00"}
people:
  - {name: ann, roles: [approver], teams: [Ops]}
platforms:
  - name: snow
    connector: servicenow
    url: ` + h.SnowURL + `
    auth: {basic: {username: fettle, password: "file:` + filepath.Join(h.Dir, "snow.password") + `"}}
    sync: {every: 1s}
`
	if h.RT != nil {
		text += `
  - name: rt
    connector: rt
    url: ` + h.RT.URL + `
    auth: {token: env:HOUSE_RT}
    sync: {every: 2s}
    options: {key_field: ` + h.RT.KeyField + `, settle: 2s, overlap: 2s}
`
	}
	text += `
routes:
  - {match: 'true', platform: snow, team: Ops}
  - {match: 'true', platform: desk, team: Ops}
`
	if h.RT != nil {
		text += "  - {match: 'incident.rule == \"" + RTRule + "\"', platform: rt, team: Ops}\n"
	}
	text += `
windows:
  - {name: any-time, schedule: always, time_zone: UTC}
policies:
  approval:
    - {match: 'change.type == "standard" && change.risk < 0.5', approve: automatically}
    - {match: 'true', approvers: {role: approver, count: 1}, expires: 3s}
  limits: {automated_changes: 100000/h, blast_radius: 100%}
executors:
  - name: hand
    tool: command
    allow:
      - {name: touch, command: "` + effect + ` apply {secs:[0-9.]+} {what:[A-Za-z0-9:-]+}", rollback: "` + effect + ` undo 0 {what}", estimate: 1s, rollback_estimate: 1s, timeout: 30s}
runbooks:
  - {name: restart, trigger: 'alert.rule == "Restart"', window: any-time, verify: {within: 2s}, risk: 0.1, steps: [{executor: hand, action: touch, args: ["0", restart]}]}
  - {name: slow, trigger: 'alert.rule == "Slow"', window: any-time, verify: {within: 2s}, risk: 0.1, steps: [{executor: hand, action: touch, args: ["7", slow]}]}
  - {name: ask, trigger: 'alert.rule == "Ask"', window: any-time, verify: {within: 2s}, risk: 0.6, steps: [{executor: hand, action: touch, args: ["0", ask]}]}
`
	if text += o.Extra; o.Rewrite != nil {
		text = o.Rewrite.Replace(text)
	}
	return text
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// FreeAddress returns a loopback address nobody listens on.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Start starts the server, with the failpoint named armed if there is one. It
// does not wait.
func (h *House) Start(point string) {
	h.T.Helper()
	log, err := os.OpenFile(h.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.T.Fatal(err)
	}
	fmt.Fprintf(log, "---- start, failpoint %q\n", point)
	h.cmd = exec.Command(Binary(h.T), "serve", "--config", h.config, "--data-dir", h.Dir, "--listen", h.listen)
	h.cmd.Env = append(os.Environ(), "HOUSE_WEBHOOK="+WebhookToken, failpoint.Env+"="+point)
	if h.RT != nil {
		h.cmd.Env = append(h.cmd.Env, "HOUSE_RT="+h.RT.Token)
	}
	h.cmd.Stdout, h.cmd.Stderr = log, log
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.cmd.Start(); err != nil {
		h.T.Fatal(err)
	}
	_ = log.Close()
	h.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(done)
	}(h.cmd, h.done)
}

// Ended is closed when the server has ended.
func (h *House) Ended() <-chan struct{} { return h.done }

// Killed reports whether the ended server died of SIGKILL.
func (h *House) Killed() bool {
	ws, ok := h.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// Kill sends SIGKILL to the server alone and waits until it is gone.
func (h *House) Kill() {
	if h.cmd == nil || h.cmd.Process == nil {
		return
	}
	_ = h.cmd.Process.Kill()
	<-h.done
}

// Ready waits until the server answers. It returns false when the server ended
// before that.
func (h *House) Ready(within time.Duration) bool {
	h.T.Helper()
	limit := time.After(within)
	for {
		resp, err := client.Get(h.Base + "/healthz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return true
			}
		}
		select {
		case <-h.done:
			return false
		case <-limit:
			h.T.Fatalf("not ready after %v", within)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Tail returns the last lines of the log.
func (h *House) Tail(lines int) string {
	b, err := os.ReadFile(h.Log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Dump ends a server that does not do what it should with SIGQUIT, so that its
// log, which is kept of a failed test, ends with what every goroutine waits for.
func (h *House) Dump() {
	_ = h.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-h.done:
	case <-time.After(5 * time.Second):
		h.Kill()
	}
}

// Terminate sends SIGTERM and does not wait.
func (h *House) Terminate() { _ = h.cmd.Process.Signal(syscall.SIGTERM) }

// Stop drains the server with SIGTERM and fails the test unless it exits with 0.
func (h *House) Stop() {
	h.T.Helper()
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		h.T.Fatal(err)
	}
	select {
	case <-h.done:
	case <-time.After(40 * time.Second):
		h.Dump()
		h.T.Fatal("the server does not end 40 s after SIGTERM")
	}
	if code := h.cmd.ProcessState.ExitCode(); code != 0 {
		h.T.Fatalf("the drained server exited with %d: %v", code, h.cmd.ProcessState)
	}
}

// Fettle runs another command of the binary and returns what it printed.
func (h *House) Fettle(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, Binary(h.T), append(args, "--data-dir", h.Dir)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = errors.Join(err, errors.New(strings.TrimSpace(string(out))))
	}
	return string(out), err
}

// client waits long: a loaded machine lets Request Tracker compile for half a
// minute before its first answer.
var client = &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
