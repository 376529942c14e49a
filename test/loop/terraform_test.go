package loop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/app"
	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/test/house"
)

// machines is a configuration that needs no provider. Its apply leaves a line
// when it begins and one when it ends, and is held in between while there is a
// file that says so.
const machines = `
variable "size" { default = "m5.large" }
resource "terraform_data" "machine" {
  input            = var.size
  triggers_replace = [var.size]
  provisioner "local-exec" {
    command     = "echo $SIZE begun >> $W/lines; while test -e $W/held-$SIZE; do sleep 0.1; done; test ! -e $W/broken-$SIZE && echo $SIZE done >> $W/lines"
    environment = { W = %q, SIZE = var.size }
  }
}
`

// tower is a configuration of Terraform.
type tower struct {
	t   *testing.T
	dir string // the configuration and its state
	out string // what its applies read and write
}

// towers makes a configuration for each executor, and an installation that
// right-sizes through them. Those of waiting have no window of their own.
func towers(t *testing.T, extra string, waiting []string, executors ...string) (*installation, map[string]*tower) {
	t.Helper()
	peer.Long(t)
	peer.Terraform(t)
	house.Binary(t)
	all, entries, rules := map[string]*tower{}, "", ""
	for _, name := range append(executors, waiting...) {
		w := &tower{t: t, dir: t.TempDir(), out: t.TempDir()}
		all[name] = w
		w.write("main.tf", fmt.Sprintf(machines, w.out))
		entries += `{name: ` + name + `, tool: terraform, dir: "` + w.dir + `", grace: 2s, timeout: 5m, allow: [{name: resize, variables: {size: '[a-z0-9.]+'}, estimate: 1s}]}` + "\n"
		key := `parameter: "${icco_key}", `
		if slices.Contains(waiting, name) {
			key = "" // publishing it needs 20 s of a window
		}
		rules += `
    - {name: ` + name + `, match: 'recommendation.name == "i-` + name + `"', executor: ` + name + `, action: resize, args: ["size=${recommended}"], ` + key + `verify_within: 2s, risk: 0.3}`
	}
	return install(t, house.Options{}, entries, "\nrecommendations:\n  rules:"+rules+"\n"+extra, closed(waiting...)...), all
}

// closed keeps the window that is always open from the changes of executors.
func closed(executors ...string) []string {
	list := strings.ReplaceAll(fmt.Sprintf("%q", executors), " ", ", ")
	return []string{"schedule: always, time_zone: UTC}", "schedule: always, time_zone: UTC, applies: '!(change.executor in " + list + ")'}"}
}

func (w *tower) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// mark makes a file that tells applies of a size what to do, unmark takes it away.
func (w *tower) mark(what, size string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.out, what+"-"+size), nil, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *tower) unmark(what, size string) {
	w.t.Helper()
	if err := os.Remove(filepath.Join(w.out, what+"-"+size)); err != nil {
		w.t.Fatal(err)
	}
}

// byHand applies what the directory says behind everybody's back.
func (w *tower) byHand(size string) {
	w.t.Helper()
	for _, args := range [][]string{{"init", "-input=false"}, {"apply", "-input=false", "-auto-approve", "-var", "size=" + size}} {
		cmd := exec.CommandContext(w.t.Context(), "terraform", args...)
		cmd.Dir = w.dir
		cmd.Env = append(os.Environ(), "TF_DATA_DIR="+filepath.Join(w.out, "data"), "CHECKPOINT_DISABLE=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			w.t.Fatalf("terraform %v: %v\n%s", args, err, out)
		}
	}
}

// said wants the applies to have said exactly this.
func (w *tower) said(want ...string) func() error {
	return func() error {
		b, err := os.ReadFile(filepath.Join(w.out, "lines"))
		if err != nil && !errors.Is(err, os.ErrNotExist) { // none before the first apply
			return err
		}
		if got := strings.Fields(strings.ReplaceAll(string(b), " ", "-")); fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("the applies said %v, want %v", got, want)
		}
		return nil
	}
}

// stands wants the state to hold one machine of a size and none of the others.
func (w *tower) stands(size string, not ...string) {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "terraform.tfstate"))
	state := string(b)
	if err != nil || strings.Count(state, `"name": "machine"`) != 1 || !strings.Contains(state, `"`+size+`"`) {
		w.t.Errorf("the state is not whole (%v), want one machine of %s:\n%s", err, size, state)
	}
	for _, n := range not {
		if strings.Contains(state, `"`+n+`"`) {
			w.t.Errorf("the state has %s, want only %s:\n%s", n, size, state)
		}
	}
}

// The same loop through Terraform, twice; the server is killed in the middle of
// the second apply. Terraform goes on, the next server adopts it, and nothing
// is applied twice.
func TestTerraformLoopClosesThoughTheServerIsKilled(t *testing.T) {
	t.Parallel()
	i, all := towers(t, "", nil, "machines")
	w := all["machines"]
	i.Start("")
	i.Ready(patience)
	s := &story{installation: i, t: t, executor: "machines", board: inSnow}
	s.advise("EC2", "i-machines", "m5.large", "m5.xlarge")
	s.decided(ops.Approved)
	s.closes(ops.ChangeClosed, ops.Successful)
	s.until("applied", w.said("m5.xlarge-begun", "m5.xlarge-done"))

	w.mark("held", "m5.2xlarge")
	s.advise("EC2", "i-machines", "m5.xlarge", "m5.2xlarge")
	s.decided(ops.Approved)
	s.until("in the middle", w.said("m5.xlarge-begun", "m5.xlarge-done", "m5.2xlarge-begun"))
	i.Kill()
	if !i.Killed() {
		t.Fatal("the server ended by itself")
	}
	i.Start("")
	i.Ready(patience)
	w.unmark("held", "m5.2xlarge")
	s.closes(ops.ChangeClosed, ops.Successful)
	s.until("applied once", w.said("m5.xlarge-begun", "m5.xlarge-done", "m5.2xlarge-begun", "m5.2xlarge-done"))
	w.stands("m5.2xlarge", "m5.xlarge")
	i.Stop()
}

// What goes wrong on the way, each in a configuration of its own and all at the
// same time. Nothing is applied but what a person has approved as it stands, in
// its window, and what fails or makes it worse is taken back.
func TestTerraformLoopInUnhappyWays(t *testing.T) {
	t.Parallel()
	today := time.Now().UTC()
	i, all := towers(t, `
freezes: [{name: sale, from: `+today.AddDate(0, 0, -1).Format("2006-01-02T15:04")+`, to: `+today.AddDate(0, 0, 1).Format("2006-01-02T15:04")+`, time_zone: UTC, applies: 'change.executor == "frozen"', break_glass: [change-manager]}]
resources:
  - {id: network, aliases: ["arn:aws:ec2:eu-central-1:123456789012:instance/i-busy"]}
  - {id: server, aliases: ["arn:aws:ec2:eu-central-1:123456789012:instance/i-missed"], depends_on: [network]}
`, []string{"drifted", "stale", "missed"}, "denied", "broken", "worse", "busy", "frozen", "asker")
	for _, name := range []string{"drifted", "stale", "worse"} {
		all[name].byHand("m5.large")
	}
	raise(t, i, "mia", change.Request{Title: "More for the shop", Executor: "asker", Action: "resize", Args: []string{"size=m5.xlarge"}, Risk: new(0.3), VerifyWithin: 2 * time.Second})
	i.Start("")
	i.Ready(patience)
	running := make(chan struct{}) // closed while the apply of busy is held
	ended := make(chan struct{})   // closed when missed has ended

	i.play(inSnow, map[string]func(*story){
		"denied": func(s *story) {
			s.advise("EC2", "i-denied", "m5.large", "m5.xlarge")
			s.decided(ops.Refused)
			s.closes(ops.ChangeCancelled, ops.Denied)
			s.until("nothing", all["denied"].said())
		},

		// Somebody has resized it by hand between approval and window: what was
		// approved would now do something else.
		"drifted": func(s *story) {
			w := all["drifted"]
			s.advise("EC2", "i-drifted", "m5.large", "m5.xlarge")
			s.decided(ops.Approved)
			s.until("scheduled", s.wants(ops.ChangeScheduled, ""))
			w.byHand("m5.8xlarge")
			s.given()
			s.until("told", s.told("no longer counts"))
			s.until("asked anew", s.wants(ops.ChangeAuthorize, ""))
			s.decided(ops.Refused)
			s.closes(ops.ChangeCancelled, ops.Denied)
			s.until("nothing but by hand", w.said("m5.large-begun", "m5.large-done", "m5.8xlarge-begun", "m5.8xlarge-done"))
			w.stands("m5.8xlarge", "m5.large", "m5.xlarge")
		},

		// The configuration has changed between approval and window. Approved anew
		// it runs in the window that was given.
		"stale": func(s *story) {
			w := all["stale"]
			s.advise("EC2", "i-stale", "m5.large", "m5.xlarge")
			s.decided(ops.Approved)
			s.until("scheduled", s.wants(ops.ChangeScheduled, ""))
			w.write("disk.tf", `resource "terraform_data" "disk" { input = "100 GiB" }`)
			s.given()
			s.until("told", s.told("no longer counts"))
			s.until("nothing", w.said("m5.large-begun", "m5.large-done"))
			s.decided(ops.Approved)
			s.closes(ops.ChangeClosed, ops.Successful)
			s.inWindow()
			s.until("applied", w.said("m5.large-begun", "m5.large-done", "m5.xlarge-begun", "m5.xlarge-done"))
			w.stands("m5.xlarge", "m5.large")
			w.stands("100 GiB")
		},

		// What fails in the middle is taken back to what the last change made.
		"broken": func(s *story) {
			w := all["broken"]
			s.advise("EC2", "i-broken", "m5.large", "m5.xlarge")
			s.decided(ops.Approved)
			s.closes(ops.ChangeClosed, ops.Successful)
			w.mark("broken", "m5.2xlarge")
			s.advise("EC2", "i-broken", "m5.xlarge", "m5.2xlarge")
			s.decided(ops.Approved)
			s.closes(ops.ChangeClosed, ops.Unsuccessful)
			s.until("taken back", w.said("m5.xlarge-begun", "m5.xlarge-done", "m5.2xlarge-begun", "m5.xlarge-begun", "m5.xlarge-done"))
			w.stands("m5.xlarge", "m5.2xlarge")
		},

		// So is what makes the shop sick; with no change before it, to what the
		// directory says.
		"worse": func(s *story) {
			w := all["worse"]
			w.mark("held", "m5.xlarge")
			s.advise("EC2", "i-worse", "m5.large", "m5.xlarge")
			s.decided(ops.Approved)
			s.until("in the middle", w.said("m5.large-begun", "m5.large-done", "m5.xlarge-begun"))
			s.sick.Store(s.executor, true)
			w.unmark("held", "m5.xlarge")
			s.closes(ops.ChangeClosed, ops.Unsuccessful)
			s.until("told", s.told("shop answers worse"))
			s.until("taken back", w.said("m5.large-begun", "m5.large-done", "m5.xlarge-begun", "m5.xlarge-done", "m5.large-begun", "m5.large-done"))
			w.stands("m5.large", "m5.xlarge")
			if c, err := s.change(); err != nil || c.Verdict == nil || c.Verdict.Word != ops.Worse {
				t.Errorf("the verdict is %+v (%v), want worse", c.Verdict, err)
			}
		},

		// Nothing begins on what depends on busy while that is at work.
		"busy": func(s *story) {
			w := all["busy"]
			w.mark("held", "m5.xlarge")
			s.advise("EC2", "i-busy", "m5.large", "m5.xlarge")
			s.decided(ops.Approved)
			s.until("in the middle", w.said("m5.xlarge-begun"))
			close(running)
			select {
			case <-ended:
			case <-time.After(patience):
			}
			w.unmark("held", "m5.xlarge")
			s.closes(ops.ChangeClosed, ops.Successful)
			s.until("applied", w.said("m5.xlarge-begun", "m5.xlarge-done"))
			w.stands("m5.xlarge")
		},
		"missed": func(s *story) {
			defer close(ended)
			s.advise("EC2", "i-missed", "m5.large", "m5.xlarge")
			s.decided(ops.Approved)
			s.until("scheduled", s.wants(ops.ChangeScheduled, ""))
			select {
			case <-running:
			case <-time.After(patience):
				s.t.Fatal("busy does not run")
			}
			// It has to fit when the server reads it. On a machine too loaded for that
			// the window counts as none, and another one is offered.
			s.offered(10*time.Second, 45*time.Second, func(c api.ChangeView) bool { return c.Outcome == ops.MissedWindow })
			s.closes(ops.ChangeCancelled, ops.MissedWindow)
			s.until("told", s.told("which this depends on"))
			s.until("nothing", all["missed"].said())
		},

		// In a freeze it runs only once two persons have taken that upon them, and
		// a third one looks at it afterwards.
		"frozen": func(s *story) {
			w := all["frozen"]
			s.advise("EC2", "i-frozen", "m5.large", "m5.xlarge")
			s.decided(ops.Approved)
			s.until("told", s.told("after the freeze sale"))
			s.until("scheduled", s.wants(ops.ChangeScheduled, ""))
			why := map[string]string{"freeze": "sale", "reason": "it burns"}
			s.until("the first", func() error { return s.as("ann", "/break-glass", why) })
			if err := s.as("ann", "/break-glass", why); err == nil || !strings.Contains(err.Error(), "a second person") {
				s.t.Errorf("ann confirms herself: %v", err)
			}
			s.until("still scheduled", s.wants(ops.ChangeScheduled, ""))
			s.until("nothing", w.said())
			s.until("the second", func() error { return s.as("mia", "/break-glass", why) })
			s.until("reviewed", s.wants(ops.ChangeReview, ops.Successful))
			s.until("signed", func() error { return s.as("zoe", "/review", map[string]string{"note": "it was right"}) })
			s.closes(ops.ChangeClosed, ops.Successful)
			s.until("applied", w.said("m5.xlarge-begun", "m5.xlarge-done"))
			w.stands("m5.xlarge")
		},

		// Who asked for it does not approve it, not in ServiceNow either.
		"asker": func(s *story) {
			w := all["asker"]
			s.made = 1
			s.until("asked", s.wants(ops.ChangeAuthorize, ""))
			s.until("approved by mia", func() error { return s.snowDecides("abel.tuter", ops.Approved) })
			s.until("told", s.told("mia requested it"))
			s.until("still asked", s.wants(ops.ChangeAuthorize, ""))
			s.until("nothing", w.said())
			s.until("approved by ann", func() error {
				c, err := s.change()
				if err != nil {
					return err
				}
				return s.as("ann", "/decisions", map[string]string{"decision": "approved", "digest": c.PlanDigest})
			})
			s.closes(ops.ChangeClosed, ops.Successful)
			s.until("applied", w.said("m5.xlarge-begun", "m5.xlarge-done"))
			w.stands("m5.xlarge")
		},
	})
	i.Stop()
}

// raise has a person ask for a change before the server runs. No door of the
// server takes one from a person yet; the room behind it does.
func raise(t *testing.T, i *installation, who string, q change.Request) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(i.Dir, "fettle.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(i.Dir, "webhook") // only the server has it in its environment
	if err := os.WriteFile(secret, []byte(house.WebhookToken), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load("fettle.yaml", bytes.ReplaceAll(text, []byte("env:HOUSE_WEBHOOK"), []byte("file:"+secret)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), app.Options{Config: c, DataDir: i.Dir, Listener: l, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	by, err := a.Store.Principal(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Change.Raise(t.Context(), by, q, "test"); err != nil {
		t.Fatal(err)
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	if err := a.Run(over); err != nil {
		t.Fatal(err)
	}
}
