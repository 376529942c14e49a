package points

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const root = "../../.."

func scanned(t *testing.T) Source {
	t.Helper()
	s, err := Scan(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheListIsWhatTheSourceSays(t *testing.T) {
	want := scanned(t).Points
	if got := All(); !slices.Equal(got, want) {
		t.Errorf("points.txt is not current, run go generate ./internal/failpoint/points\nlisted: %v\nin the source: %v", got, want)
	}
}

// behind are the functions whose calls leave the process under a failpoint of
// somebody else, or in a process that has nothing to lose, with the reason. A
// name that ends with / is a folder.
var behind = map[string]string{
	"connector/":                         "drivers, which only Conn.call calls",
	"connector.over.Do":                  "what drivers are given",
	"internal/httpx.(*Client).attempt":   "the client behind both",
	"internal/awsx.whole.Do":             "below the SDK, whose callers have pairs of their own",
	"internal/worker.Start":              "under execute.command.start or execute.terraform.apply, or a drift check, which changes nothing",
	"execute/terraform.(*Executor).call": "has a pair of its own, and changes nothing",
	"api/client.(*Client).call":          "the command line, which keeps nothing",
	"detect/bootstrap.(*prometheus).ask": "the command line reads a past; what was learned of it stays, and the same command goes on",
	"detect/bootstrap.(*remoteRead).ask": "the same",
	"app/demo.(*witness).get":            "the demo looks at its simulator from outside",
}

func excuse(fn string) string {
	for name := range behind {
		if fn == name || strings.HasSuffix(name, "/") && strings.HasPrefix(fn, name) {
			return name
		}
	}
	return ""
}

func TestNoCallLeavesTheProcessWithoutAFailpoint(t *testing.T) {
	used := map[string]bool{}
	for _, c := range scanned(t).Calls {
		if c.Guarded {
			continue
		}
		name := excuse(c.Function)
		if name == "" {
			t.Errorf("%s:%d: %s in %s has no failpoint before and after it: add failpoint.Hit(\"call.before:%s\") and after, or say in this test which one it is behind", c.File, c.Line, c.What, c.Function, c.Function)
		}
		used[name] = true
	}
	for fn := range behind {
		if !used[fn] {
			t.Errorf("%s is excused and calls nothing: take it out", fn)
		}
	}
}

func TestScan(t *testing.T) {
	f := func(name, body, want string) {
		t.Helper()
		s, err := Scan(fstest.MapFS{"room/room.go": {Data: []byte("package room\n" + body)}})
		got := strings.Join(s.Points, " ")
		for _, c := range s.Calls {
			got += fmt.Sprintf(" %s:%s:%v", c.Function, c.What, c.Guarded)
		}
		if err != nil {
			got = err.Error()
		}
		if strings.TrimSpace(got) != want {
			t.Errorf("%s: got %q, want %q", name, strings.TrimSpace(got), want)
		}
	}
	f("a commit", `func F() { d.Write(ctx, func(tx db.Tx) error { return nil }) }`, "commit.after:room.F commit.before:room.F")
	f("a method", `func (r *Room[T]) F() { d.Write(ctx, func(tx db.Tx) error { return nil }) }`, "commit.after:room.(*Room[...]).F commit.before:room.(*Room[...]).F")
	f("twice, once in a closure", `func (r room) F() { go func() { d.Write(ctx, func(tx db.Tx) error { return nil }) }(); d.Write(ctx, func(tx db.Tx) error { return nil }) }`,
		"commit.after:room.room.F commit.after:room.room.F#2 commit.before:room.room.F commit.before:room.room.F#2")
	f("of unknown body", `func F() { d.Write(ctx, f) }`, "room/room.go:2:12: cannot tell whether this Write is a commit; write its function in place")
	f("records", `func F() { r.Write(ctx, record.Edit{}); r.Write(ctx, edits...) ; w.Write(b) }`, "")
	f("an error of AWS", `func F() error { return awsx.Write("ask", err) }`, "")
	f("operations", `var Operations = []string{"get"}; func F(op string) { failpoint.Hit("x." + op + ".before") }`, "x.get.before")
	f("no operations", `func F(op string) { failpoint.Hit("x." + op + ".before") }`,
		"room/room.go:2:21: the name of a failpoint is a literal, or one with an operation in the middle and the variable Operations beside it")
	f("a naked call", `func F() { exec.Command("x"); c.Do(req); once.Do(func() {}) }`, "room.F:exec.Command:false room.F:Do:false")
	f("a guarded call", `func F() { failpoint.Hit("a"); c.Do(req); failpoint.Hit("b") }`, "a b room.F:Do:true")
	f("too late", `func F() { c.Do(req); failpoint.Hit("b") }`, "b room.F:Do:false")
}
