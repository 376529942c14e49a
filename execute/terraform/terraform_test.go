package terraform_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/execute/terraform"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

const secret = "s3cr3t-value"

// The provisioners are what happens in the world. Each writes one line to begun
// when it begins, so that a second apply shows.
var provisioners = map[string]string{
	"quick":   `echo x >> $W/begun`,
	"slow":    `echo x >> $W/begun; echo $$ >> $W/pids; echo working; sleep 1.5`,
	"loud":    `echo password=` + secret + `; i=0; while [ $i -lt 6000 ]; do echo "line $i of many, long enough to fill what is kept of it"; i=$((i+1)); done; echo "the end"`,
	"fails":   `echo x >> $W/begun; echo ` + secret + `; exit 3`,
	"endless": `trap "" INT; echo x >> $W/begun; echo $$ >> $W/pids; (trap "" INT; sleep 60) & echo $! >> $W/pids; setsid sleep 60 & echo $! >> $W/pids; sleep 60`,
}

const configuration = `
resource "terraform_data" "standing" {
  input = "it stands"
  provisioner "local-exec" {
    command = %q
  }
}
`

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// byHand runs Terraform as somebody would who does not know of us.
func byHand(t *testing.T, dir string, args ...string) {
	t.Helper()
	for _, a := range [][]string{{"init", "-input=false"}, args} {
		cmd := exec.Command("terraform", a...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CHECKPOINT_DISABLE=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("terraform %v: %v\n%s", a, err, out)
		}
	}
}

// stateResources are the addresses a state file holds. A state that is no whole
// JSON fails the test.
func stateResources(t *testing.T, dir string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "terraform.tfstate"))
	if os.IsNotExist(err) || (err == nil && len(b) == 0) { // Terraform makes an empty file to lock it, and takes that for no state
		return nil
	}
	var s struct {
		Version   int
		Resources []struct{ Type, Name string }
	}
	if err != nil || json.Unmarshal(b, &s) != nil || s.Version != 4 {
		t.Fatalf("the state is not whole: %v\n%s", err, b)
	}
	var out []string
	for _, r := range s.Resources {
		out = append(out, r.Type+"."+r.Name)
	}
	return out
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

func TestMain(m *testing.M) { os.Exit(peer.Waiting(m)) }

func TestTerraform(t *testing.T) {
	peer.Long(t)
	peer.Terraform(t)
	one := func(name, extra string) executetest.Case {
		return executetest.Case{
			Config: func(dir string) string {
				return fmt.Sprintf("dir: %s/%s\ngrace: 10s\nallow: [%s]\n%s", dir, name, name, extra)
			},
			Change: ops.Change{ID: "c1", Resource: "shop", Action: name},
		}
	}
	executetest.Run(t, terraform.Driver, executetest.Harness{
		Prepare: func(t *testing.T, dir string) {
			for name, script := range provisioners {
				write(t, filepath.Join(dir, name, "main.tf"), fmt.Sprintf(configuration, strings.ReplaceAll(script, "$W", dir)))
			}
		},
		Quick:   one("quick", ""),
		Slow:    one("slow", ""),
		Loud:    one("loud", ""),
		Fails:   one("fails", ""),
		Endless: one("endless", "timeout: 300ms\n"+"lock_timeout: 1s\n"),
		Secret:  secret,
		Begun:   func(t *testing.T, dir string) int { return len(lines(t, filepath.Join(dir, "begun"))) },
		Stands:  func(t *testing.T, dir string) bool { return len(stateResources(t, filepath.Join(dir, "quick"))) == 1 },
		Disturb: func(t *testing.T, dir string) {
			byHand(t, filepath.Join(dir, "quick"), "apply", "-destroy", "-auto-approve")
		},
		Blind: func(t *testing.T, dir string) { write(t, filepath.Join(dir, "quick", "terraform.tfstate"), "garbage") },
		Alter: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "quick", "main.tf"), strings.ReplaceAll(fmt.Sprintf(configuration, "true"), "it stands", "it stands aside"))
		},
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
		Crashes: []string{
			"execute.terraform.call.before", "execute.terraform.call.after", "execute.terraform.call.after#4",
			"execute.terraform.apply.before", "execute.terraform.apply.after",
		},
	})
}
