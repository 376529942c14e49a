// Package executetest is the conformance suite of executors. Every executor
// passes it; each rule says why it is one.
package executetest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/ops"
)

// Case is a change with the configuration that allows it.
type Case struct {
	// Config returns the executor's part of the configuration, in YAML. dir is
	// the world of this test: an empty directory, prepared once.
	Config func(dir string) string
	Change ops.Change
}

// Harness is what the suite must know about a tool.
type Harness struct {
	// Prepare sets up a fresh world in dir. Optional.
	Prepare func(t *testing.T, dir string)

	Quick Case // works at once, can be rolled back, its drift can be checked
	Slow  Case // says something, then works for one to five seconds before it ends by itself
	Loud  Case // says Secret in a line, then more than execute.OutputLimit bytes, then "the end"
	Fails Case // says Secret and fails
	// Endless is ended by the tool's own timeout, well below five seconds.
	// Optional: for a tool without one, leave it out.
	Endless Case

	Secret string // known to Env.Redact

	// Begun counts how often an effect of any of these changes began in dir.
	Begun func(t *testing.T, dir string) int
	// Stands reports whether the effect of Quick stands now.
	Stands func(t *testing.T, dir string) bool
	// Disturb undoes the effect of Quick behind the executor's back.
	Disturb func(t *testing.T, dir string)
	// Blind makes it impossible to find out how Quick stands.
	Blind func(t *testing.T, dir string)
	// Alter changes the world so that Quick would do something else than before.
	Alter func(t *testing.T, dir string)
	// Alive lists what still runs of Slow or Endless. Optional.
	Alive func(t *testing.T, dir string) []string
	// Crashes are the failpoints inside the executor that an Apply of Quick reaches.
	Crashes []string
}

// child is what the killed process of a rule is told through its environment.
type child struct {
	Dir, Config string
	Plan        ops.Plan
	Token       execute.Token
}

const childVariable = "FETTLE_EXECUTETEST_CHILD"

// Run checks every rule. The test that calls it does nothing else: some rules
// start the test binary again, with only that test, and kill it.
func Run(t *testing.T, d execute.Driver, h Harness) {
	t.Helper()
	if order := os.Getenv(childVariable); order != "" {
		beChild(t, d, h, order)
		return
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel() // each has a world of its own, and mostly waits for its tool
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("This rule exists because %s.", r.why)
				}
			})
			r.check(t, d, h)
		})
	}
}

func beChild(t *testing.T, d execute.Driver, h Harness, order string) {
	var c child
	if err := json.Unmarshal([]byte(order), &c); err != nil {
		t.Fatal(err)
	}
	x := open(t, d, h, c.Dir, c.Config)
	_, err := x.Apply(context.Background(), c.Token, c.Plan, os.Stdout)
	t.Logf("the child was not killed; apply returned %v", err)
}

// world is one prepared directory with an executor on it.
type world struct {
	execute.Executor
	dir    string
	config string
	change ops.Change
}

func newWorld(t *testing.T, d execute.Driver, h Harness, c Case) *world {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, ownDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if h.Prepare != nil {
		h.Prepare(t, dir)
	}
	config := c.Config(dir)
	return &world{Executor: open(t, d, h, dir, config), dir: dir, config: config, change: c.Change}
}

// ownDir is Env.Dir within a world; harnesses that look into it name it so.
const ownDir = "own"

// Own returns the directory the executor is given as Env.Dir in a world.
func Own(dir string) string { return filepath.Join(dir, ownDir) }

func open(t *testing.T, d execute.Driver, h Harness, dir, config string) execute.Executor {
	t.Helper()
	decode := func(into any) error {
		return yaml.NewDecoder(strings.NewReader(config), yaml.Strict()).Decode(into)
	}
	x, err := d.Open(t.Context(), decode, execute.Env{
		Name: "under-test", Host: "here", Dir: Own(dir), Marks: fileMarks{filepath.Join(dir, "marks")},
		Redact: h.redact, Clock: time.Now, Log: slog.New(slog.DiscardHandler), Secret: reveal,
	})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return x
}

// reveal reads secrets as the server does.
func reveal(ctx context.Context, ref string) (string, error) {
	r, err := secret.Parse(ref)
	if err != nil {
		return "", err
	}
	s, err := secret.Local{}.Resolve(ctx, r)
	if err != nil {
		return "", err
	}
	return s.Reveal(), nil
}

func (h Harness) redact(s string) string { return strings.ReplaceAll(s, h.Secret, "<redacted>") }

func (w *world) plan(t *testing.T) ops.Plan {
	t.Helper()
	p, err := w.Plan(t.Context(), execute.Request{Change: w.change})
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	p.Digest = p.ComputeDigest()
	return p
}

// fileMarks keeps marks as files, so that a killed process leaves them behind.
// Creating a file exclusively is what makes a mark the first.
type fileMarks struct{ dir string }

func (m fileMarks) path(token string) string {
	return filepath.Join(m.dir, strings.ReplaceAll(token, "/", "_"))
}

func (m fileMarks) Mark(ctx context.Context, token, note string) (string, bool, error) {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return "", false, err
	}
	f, err := os.OpenFile(m.path(token), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		b, err := os.ReadFile(m.path(token))
		return string(b), false, err
	}
	if err != nil {
		return "", false, err
	}
	_, err = f.WriteString(note)
	return note, true, errors.Join(err, f.Sync(), f.Close(), ctx.Err())
}

func (m fileMarks) Note(ctx context.Context, token, note string) error {
	if _, err := os.Stat(m.path(token)); err != nil {
		return err
	}
	tmp := m.path(token) + ".new"
	return errors.Join(os.WriteFile(tmp, []byte(note), 0o600), os.Rename(tmp, m.path(token)), ctx.Err())
}

// watched is an output that tells when something was said.
type watched struct {
	*execute.Output
	once sync.Once
	said chan struct{}
}

func newWatched(h Harness) *watched {
	return &watched{Output: execute.NewOutput(execute.OutputLimit, h.redact), said: make(chan struct{})}
}

func (w *watched) Write(p []byte) (int, error) {
	if len(p) > 0 {
		w.once.Do(func() { close(w.said) })
	}
	return w.Output.Write(p)
}

// patience bounds every wait of the suite; reaching it is a failure.
const patience = 30 * time.Second
