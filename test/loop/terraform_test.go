package loop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/test/house"
)

// machines is a configuration that needs no provider. Its apply leaves a line
// when it begins and one when it ends, and takes its time in between.
const machines = `
variable "size" { default = "m5.large" }
resource "terraform_data" "machine" {
  input            = var.size
  triggers_replace = [var.size]
  provisioner "local-exec" {
    command     = "echo $SIZE begun >> $W/lines; sleep 4 && test ! -e $W/broken-$SIZE && echo $SIZE done >> $W/lines"
    environment = { W = %q, SIZE = var.size }
  }
}
`

// stack is an installation that right-sizes through Terraform.
type tower struct {
	*installation
	dir string
}

func build(t *testing.T) *tower {
	t.Helper()
	peer.Long(t)
	peer.Terraform(t)
	house.Binary(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.tf"), fmt.Sprintf(machines, dir))
	return &tower{install(t, house.Options{}, `{name: machines, tool: terraform, dir: "`+dir+`", grace: 10s, timeout: 1m, allow: [{name: resize, variables: {size: '[a-z0-9.]+'}, estimate: 10s}]}`, `
recommendations:
  rules: [{name: machine, match: 'true', executor: machines, action: resize, args: ["size=${recommended}"], parameter: "${icco_key}", verify_within: 2s, risk: 0.3}]
`), dir}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// lines are what the applies have said.
func (w *tower) lines() []string {
	b, _ := os.ReadFile(filepath.Join(w.dir, "lines")) // none before the first apply
	return strings.Fields(strings.ReplaceAll(string(b), " ", "-"))
}

func (w *tower) said(want ...string) func() error {
	return func() error {
		if got := w.lines(); fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("the applies said %v, want %v", got, want)
		}
		return nil
	}
}

// resize recommends the n-th size and has it approved in ServiceNow.
func (w *tower) resize(n int, from, to string) {
	w.t.Helper()
	w.advise("EC2", "i-1", from, to)
	w.until("asked", w.wants(n, ops.ChangeAuthorize, ""))
	w.until("approved", func() error { return w.decide("approved") })
}

// The same loop through Terraform, twice; the server is killed in the middle of
// the second apply. Terraform goes on, the next server adopts it, and nothing
// is applied twice.
func TestTerraformLoopClosesThoughTheServerIsKilled(t *testing.T) {
	w := build(t)
	w.Start("")
	w.Ready(patience)
	w.resize(1, "m5.large", "m5.xlarge")
	w.until("closed", w.wants(1, ops.ChangeClosed, ops.Successful))
	w.until("the request is closed", w.wantsRequests(1, "3"))
	w.until("applied", w.said("m5.xlarge-begun", "m5.xlarge-done"))

	w.resize(2, "m5.xlarge", "m5.2xlarge")
	w.until("in the middle", w.said("m5.xlarge-begun", "m5.xlarge-done", "m5.2xlarge-begun"))
	w.Kill()
	if !w.Killed() {
		t.Fatal("the server ended by itself")
	}
	time.Sleep(time.Second)
	w.Start("")
	w.Ready(patience)
	w.until("closed", w.wants(2, ops.ChangeClosed, ops.Successful))
	w.until("the request is closed", w.wantsRequests(2, "3"))
	w.until("applied once", w.said("m5.xlarge-begun", "m5.xlarge-done", "m5.2xlarge-begun", "m5.2xlarge-done"))
	state, err := os.ReadFile(filepath.Join(w.dir, "terraform.tfstate"))
	if err != nil || strings.Count(string(state), `"name": "machine"`) != 1 || !strings.Contains(string(state), "m5.2xlarge") {
		t.Errorf("the state is not whole (%v):\n%s", err, state)
	}
	w.Stop()
}

// What fails in the middle is taken back to what stood before.
func TestTerraformLoopRollsBack(t *testing.T) {
	w := build(t)
	w.Start("")
	w.Ready(patience)
	w.resize(1, "m5.large", "m5.xlarge")
	w.until("closed", w.wants(1, ops.ChangeClosed, ops.Successful))

	write(t, filepath.Join(w.dir, "broken-m5.2xlarge"), "")
	w.resize(2, "m5.xlarge", "m5.2xlarge")
	w.until("closed", w.wants(2, ops.ChangeClosed, ops.Unsuccessful))
	w.until("the request is closed", w.wantsRequests(2, "3"))
	w.until("taken back", w.said("m5.xlarge-begun", "m5.xlarge-done", "m5.2xlarge-begun", "m5.xlarge-begun", "m5.xlarge-done"))

	// Worse is taken back as well.
	w.resize(3, "m5.xlarge", "m5.4xlarge")
	w.until("applied", func() error {
		w.sick.Store(strings.Contains(fmt.Sprint(w.lines()), "m5.4xlarge-begun"))
		return w.wants(3, ops.ChangeClosed, ops.Unsuccessful)()
	})
	state, err := os.ReadFile(filepath.Join(w.dir, "terraform.tfstate"))
	if err != nil || !strings.Contains(string(state), `"m5.xlarge"`) || strings.Contains(string(state), "m5.4xlarge") {
		t.Errorf("the state is not that before (%v):\n%s", err, state)
	}
	w.Stop()
}

// Denied in ServiceNow, nothing is applied.
func TestTerraformLoopIsDenied(t *testing.T) {
	w := build(t)
	w.Start("")
	w.Ready(patience)
	w.advise("EC2", "i-1", "m5.large", "m5.xlarge")
	w.until("asked", w.wants(1, ops.ChangeAuthorize, ""))
	w.until("denied", func() error { return w.decide("rejected") })
	w.until("cancelled", w.wants(1, ops.ChangeCancelled, ops.Denied))
	w.until("the request is cancelled", w.wantsRequests(1, "4"))
	w.until("nothing", w.said())
	w.Stop()
}
