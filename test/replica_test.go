package test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/app"
	"github.com/fettleops/fettle/cli"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// asFettle makes this test binary be fettle, so that replicas are processes
// that can be killed.
const asFettle = "FETTLE_TEST_REPLICA"

func TestMain(m *testing.M) {
	if os.Getenv(asFettle) != "" {
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	awsxtest.CredentialsForAll()
	os.Exit(peer.Waiting(m))
}

// replica is a server process.
type replica struct {
	cmd  *exec.Cmd
	base string
}

// replica starts a server on the configuration, with a data directory of its own.
func (h *House) replica(conf, dir string) *replica {
	h.t.Helper()
	exe, err := os.Executable()
	h.must(err)
	cmd := exec.Command(exe, "serve", "--config", conf, "--data-dir", dir, "--listen", "127.0.0.1:0", "--log-format", "json")
	cmd.Env = append(os.Environ(), asFettle+"=1")
	cmd.Stdout, cmd.Stderr = h.logs, h.logs
	h.must(cmd.Start())
	r := &replica{cmd: cmd}
	h.t.Cleanup(r.kill)
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(filepath.Join(dir, app.AddressFile))
		if r.base = strings.TrimSpace(string(b)); err == nil && h.answers(r.base) {
			return r
		}
		if time.Since(began) > patience {
			h.fatalf("a replica did not start")
		}
	}
}

func (h *House) answers(base string) bool {
	resp, err := h.wire.RoundTrip(httptest.NewRequest(http.MethodGet, base+"/healthz", nil))
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// kill ends the process as a power cut does.
func (r *replica) kill() {
	if r.cmd.ProcessState == nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	}
}

// to makes the story go on at a replica.
func to(r *replica) Act {
	return func(h *House) error { h.base = r.base; return nil }
}

// Two replicas work on one PostgreSQL and both take alerts. Each in its turn
// is killed in the middle of a run: the other takes over, and nothing happens
// twice.
func TestReplicas(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	for victim := range 2 {
		t.Run(fmt.Sprintf("kill %d", victim+1), func(t *testing.T) {
			t.Parallel()
			dir := dbtest.Dir(t)
			h := build(t, dir)
			h.wire = &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * sec}).DialContext}
			defer h.wire.CloseIdleConnections()
			snow := httptest.NewServer(h.snow)
			defer snow.Close()
			conf := filepath.Join(dir, "fettle.yaml")
			text := strings.Replace(onPostgres(t, dir), "http://"+snowHost, snow.URL, 1) + strings.Replace(quickGate, "takes: 1s", "takes: 10s", 1) + always + byRule
			h.must(os.WriteFile(conf, []byte(text), 0o600))
			h.must(os.MkdirAll(filepath.Join(h.dir, "executors"), 0o700))
			other := filepath.Join(dir, "other")
			h.must(os.MkdirAll(other, 0o700))
			h.must(os.Symlink(filepath.Join(h.dir, "executors"), filepath.Join(other, "executors"))) // both act on the same machines
			both := []*replica{h.replica(conf, h.dir), h.replica(conf, other)}
			secret, err := os.ReadFile(filepath.Join(h.dir, app.AdminTokenFile))
			h.must(err)
			h.tokens["admin"] = strings.TrimSpace(string(secret))

			for i, host := range hosts(40) {
				h.now(to(both[i%2]), Fire("HighCPU", host))
			}
			h.soon(WantIncident(ops.IncidentNew, 40), WantDesk(ops.IncidentNew), WantSnow(Fields{"state": "1"}), WantChange(ops.ChangeAuthorize, ""))
			h.now(to(both[1]), Approve("ann"))
			h.soon(WantRun(ops.RunQueued))
			time.Sleep(3 * sec) // the tool is at work for ten seconds

			both[victim].kill()
			h.now(to(both[1-victim]), Fire("HighCPU", "web900"))
			t.Logf("correlation taken over after %s", h.soon(WantIncident(ops.IncidentNew, 41)))
			t.Logf("execution taken over after %s", h.soon(WantRun(ops.RunVerifying)))
			h.now(WantRuns(1, 0), Resolve("HighCPU", append(hosts(40), "web900")...))
			t.Logf("resolved after %s", h.soon(WantIncident(ops.IncidentResolved, 0), WantSnow(Fields{"state": "6"}), WantDesk(ops.IncidentResolved)))
			t.Logf("closed after %s", h.soon(WantChange(ops.ChangeClosed, ops.Successful)))
			h.soon(WantNotes("raised (standard)", "approved by ann (api)", "run started", "applied; now being verified", "verdict: better"))
			h.now(WantIncidents(1), WantSnowTickets(1), WantRuns(1, 0))
			h.checkTrails()
			h.checkSecrets()
		})
	}
}
