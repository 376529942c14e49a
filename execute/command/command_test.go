package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettleops/fettle/execute/command"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

const secret = "s3cr3t-value"

// The scripts are the world's tools. Each writes one line to begun when it
// begins, so that a second run shows.
var scripts = map[string]string{
	"restart": `echo x >> "$W/begun"; touch "$W/standing"`,
	"undo":    `rm -f "$W/standing"`,
	"check":   `[ -d "$W" ] || exit 7; [ -x "$W/blind" ] && exit 7; test -e "$W/standing"`,
	"slow":    `echo x >> "$W/begun"; echo $$ >> "$W/pids"; echo working; sleep 1.5 & echo $! >> "$W/pids"; wait`,
	"slower":  `echo x >> "$W/begun"; echo $$ >> "$W/pids"; echo working; sleep 5 & echo $! >> "$W/pids"; wait`, // what it says takes its time to come over a network
	"loud":    `echo "password=` + secret + `"; i=0; while [ $i -lt 9000 ]; do echo "line $i of many, long enough to fill what is kept"; i=$((i+1)); done; echo "the end"`,
	"fails":   `echo x >> "$W/begun"; echo "` + secret + `"; exit 3`,
	"endless": `trap "" TERM; echo x >> "$W/begun"; echo $$ >> "$W/pids"; (trap "" TERM; sleep 60) & echo $! >> "$W/pids"; setsid sleep 60 & echo $! >> "$W/pids"; sleep 60`,
}

func prepare(t *testing.T, dir string) {
	t.Helper()
	for name, body := range scripts {
		write(t, dir, name, body)
	}
}

func write(t *testing.T, dir, name, body string) {
	t.Helper()
	text := "#!/bin/sh\nW='" + dir + "'\n" + body + "\n"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
		t.Fatal(err)
	}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

// one is the case of one script. host is the part of the configuration that
// says where it runs.
func one(host, name, extra string) executetest.Case {
	return executetest.Case{
		Config: func(dir string) string {
			return fmt.Sprintf("%sgrace: 100ms\nallow:\n- name: %s\n  command: %s/%s\n%s", strings.ReplaceAll(host, "$W", dir), name, dir, name, strings.ReplaceAll(extra, "$W", dir))
		},
		Change: ops.Change{ID: "c1", Resource: "shop", Action: name},
	}
}

func harness(host string, crashes ...string) executetest.Harness {
	exists := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	slow := "slow"
	if host != "" {
		slow = "slower"
	}
	return executetest.Harness{
		Prepare: prepare,
		Quick:   one(host, "restart", "  rollback: $W/undo\n  check: $W/check\n"),
		Slow:    one(host, slow, ""),
		Loud:    one(host, "loud", ""),
		Fails:   one(host, "fails", ""),
		Endless: one(host, "endless", "  timeout: 300ms\n"),
		Secret:  secret,
		Begun:   func(t *testing.T, dir string) int { return len(lines(t, filepath.Join(dir, "begun"))) },
		Stands:  func(_ *testing.T, dir string) bool { return exists(filepath.Join(dir, "standing")) },
		Disturb: func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "standing")); err != nil {
				t.Fatal(err)
			}
		},
		Blind: func(t *testing.T, dir string) { write(t, dir, "blind", "exit 0") },
		Alter: func(t *testing.T, dir string) { write(t, dir, "restart", "rm -rf /") },
		Alive: func(t *testing.T, dir string) []string {
			var alive []string
			for _, pid := range lines(t, filepath.Join(dir, "pids")) {
				stat, err := os.ReadFile("/proc/" + pid + "/stat")
				if err == nil && !strings.Contains(string(stat), ") Z ") {
					alive = append(alive, pid)
				}
			}
			return alive
		},
		Crashes: crashes,
	}
}

func TestMain(m *testing.M) { os.Exit(peer.Waiting(m)) }

func TestCommand(t *testing.T) {
	t.Parallel()
	executetest.Run(t, command.Driver, harness("", "execute.command.start.before", "execute.command.start.after"))
}

const sshdVariable = "FETTLE_COMMAND_TEST_SSH"

// sshHost returns the configuration of a real SSH server's host. A test binary
// that a rule starts again is given its parent's server.
func sshHost(t *testing.T) string {
	t.Helper()
	if host := os.Getenv(sshdVariable); host != "" {
		return host
	}
	s := peer.SSHD(t)
	host := fmt.Sprintf("ssh: {host: 127.0.0.1, port: %d, user: %s, key: 'file:%s', host_key: %s, dir: '$W/runs'}\n", s.Port, s.User, s.KeyFile, s.HostKey)
	t.Setenv(sshdVariable, host)
	return host
}

func TestCommandOverSSH(t *testing.T) {
	peer.Long(t)
	executetest.Run(t, command.Driver, harness(sshHost(t),
		"execute.command.dial.before", "execute.command.dial.after", "execute.command.script.before", "execute.command.script.after",
		"execute.command.script.after#2", "execute.command.script.before#3"))
}
