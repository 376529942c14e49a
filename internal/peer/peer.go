// Package peer finds real programs that Fettle talks to, starts them for a
// test on free loopback ports and stops them by process id. Only tests and test
// kits import it.
//
// A peer that is not installed skips the test and names the Debian package, or
// the command, that brings it; with FETTLE_PEERS=required, as in .ci/run, it
// fails instead, unless FETTLE_WITHOUT names it, among others with commas in
// between: .ci/run says there what could not be installed.
// Nothing outside temporary folders and the user's cache folder is written, and
// no peer listens on anything but 127.0.0.1.
package peer

import (
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Long skips a test that takes more than a few seconds unless FETTLE_LONG=1,
// so that plain `go test ./...` stays quick. .ci/run runs the long ones too.
func Long(t testing.TB) {
	t.Helper()
	if os.Getenv("FETTLE_LONG") != "1" {
		t.Skip("long test: set FETTLE_LONG=1 to run it")
	}
}

// Proving tells whether FETTLE_PROVE=1 asks tests that judge by numbers, drawn or
// labelled, for as many as rule chance out; otherwise they take what a few
// seconds bear. .ci/run proves too.
func Proving() bool { return os.Getenv("FETTLE_PROVE") == "1" }

// Prove skips a test that has no smaller form, unless Proving.
func Prove(t testing.TB) {
	t.Helper()
	if !Proving() {
		t.Skip("proof: set FETTLE_PROVE=1 to run it")
	}
}

// Waiting runs the tests of a package, at least four parallel ones beside each
// other unless -parallel says otherwise. It is meant for the TestMain of packages
// whose tests mostly wait: for a tool, a server or a clock.
func Waiting(m *testing.M) int {
	// Go's own flag, registered before TestMain and not parsed yet.
	if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	return m.Run()
}

// missing ends a test whose peer is not installed.
func missing(t testing.TB, what, debianPackage string) {
	t.Helper()
	absent(t, what, "apt-get install "+debianPackage)
}

// absent ends a test without what the command would bring.
func absent(t testing.TB, what, command string) {
	t.Helper()
	if os.Getenv("FETTLE_PEERS") == "required" && !slices.Contains(strings.Split(os.Getenv("FETTLE_WITHOUT"), ","), what) {
		t.Fatalf("%s is missing and FETTLE_PEERS=required: %s", what, command)
	}
	t.Skipf("%s is missing: %s", what, command)
}

// program finds an executable on the PATH or among the system's own, which
// are not on every user's PATH.
func program(t testing.TB, name, debianPackage string) string {
	t.Helper()
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	if p, err := exec.LookPath(filepath.Join("/usr/sbin", name)); err == nil {
		return p
	}
	missing(t, name, debianPackage)
	return ""
}

// freePort returns a loopback port that nobody listened on a moment ago.
// Another process may take it first, so starters try more than one.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
