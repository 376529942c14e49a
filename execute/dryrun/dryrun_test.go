package dryrun_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/fettleops/fettle/internal/peer"

	"github.com/fettleops/fettle/execute/dryrun"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/ops"
)

const secret = "s3cr3t-value"

func TestMain(m *testing.M) { os.Exit(peer.Waiting(m)) }

func TestDryrun(t *testing.T) {
	change := ops.Change{ID: "c1", Resource: "shop", Action: "restart"}
	read := func(t *testing.T, dir string) dryrun.Effects {
		t.Helper()
		e, err := dryrun.Read(executetest.Own(dir))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	put := func(t *testing.T, dir, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(executetest.Own(dir), "effects.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := func(s string) func(string) string { return func(string) string { return s } }
	loud, err := json.Marshal(secret + "\n" + string(lines(400<<10)) + "\nthe end")
	if err != nil {
		t.Fatal(err)
	}
	executetest.Run(t, dryrun.Driver, executetest.Harness{
		Quick:  executetest.Case{Config: config("actions: [restart]"), Change: change},
		Slow:   executetest.Case{Config: config("{actions: [restart], takes: 1s}"), Change: change},
		Loud:   executetest.Case{Config: config("says: " + string(loud)), Change: change},
		Fails:  executetest.Case{Config: config("{says: " + secret + ", fail: [restart]}"), Change: change},
		Secret: secret,
		Begun: func(t *testing.T, dir string) int {
			n := 0
			for token := range read(t, dir).Runs {
				if filepath.Base(token) != "rollback" {
					n++
				}
			}
			return n
		},
		Stands: func(t *testing.T, dir string) bool { return read(t, dir).State["shop"] == "restart" },
		Disturb: func(t *testing.T, dir string) {
			e := read(t, dir)
			e.State["shop"] = "burning"
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			put(t, dir, string(b))
		},
		Blind: func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(executetest.Own(dir), "effects.json")); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(executetest.Own(dir), "effects.json"), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		Alter: func(t *testing.T, dir string) { put(t, dir, `{"state":{"shop":"stopped"},"runs":{}}`) },
	})
}

// lines returns n bytes of text in lines.
func lines(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'x'
		if i%80 == 79 {
			b[i] = '\n'
		}
	}
	return b
}
