package cli_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fettleops/fettle/cli"
	"github.com/fettleops/fettle/internal/peer"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"fettle": func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScript runs the command line as its users do. Besides testscript's own
// commands the scripts know:
//
//	exits CODE PROGRAM [ARG...]   run a program, which must end with this code
//	ready DIR                     wait until the server on a data directory answers
//	waitfor PATTERN PROGRAM ...   run a program until its output matches; what a
//	                              named group of the pattern matched is a variable
//	sigterm DIR                   ask the server on a data directory to end
//	token FILE                    use the token in a file from now on
func TestScript(t *testing.T) {
	run(t, "testdata/script")
}

// TestLongScript runs the scripts that take long.
func TestLongScript(t *testing.T) {
	peer.Long(t)
	run(t, "testdata/long")
}

func run(t *testing.T, dir string) {
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "ready": ready, "waitfor": waitfor, "token": token, "sigterm": sigterm,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var ended *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &ended):
		got = ended.ExitCode()
	default:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s ended with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// startup bounds how long a server may take to answer on a loaded machine.
const startup = 60 * time.Second

func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready DIR")
	}
	last := errors.New("no address yet")
	for deadline := time.Now().Add(startup); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(filepath.Join(ts.MkAbs(args[0]), "address"))
		if err != nil {
			continue
		}
		if last = healthy(strings.TrimSpace(string(b))); last == nil {
			return
		}
	}
	ts.Fatalf("the server does not answer: %v", last)
}

func waitfor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: waitfor PATTERN PROGRAM [ARG...]")
	}
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	for deadline := time.Now().Add(startup); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if found := pattern.FindStringSubmatch(ts.ReadFile("stdout")); found != nil {
			for i, name := range pattern.SubexpNames() {
				if name != "" {
					ts.Setenv(name, found[i])
				}
			}
			return
		}
	}
	ts.Fatalf("%s never showed %s", strings.Join(args[1:], " "), args[0])
}

// sigterm finds the server by the lock it holds on its database.
func sigterm(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sigterm DIR")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(filepath.Join(args[0], "fettle.db.lock"))))
	ts.Check(err)
	server, err := os.FindProcess(pid)
	ts.Check(err)
	ts.Check(server.Signal(syscall.SIGTERM))
}

func token(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: token FILE")
	}
	ts.Setenv("FETTLE_TOKEN", strings.TrimSpace(ts.ReadFile(args[0])))
}

func healthy(base string) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(base + "/healthz")
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s/healthz answered %s", base, resp.Status)
	}
	return nil
}
