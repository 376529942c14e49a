package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
)

// root is the repository, seen from this package.
const root = "../.."

func TestHouseKeepsItsFloorPlan(t *testing.T) {
	found, err := Check(os.DirFS(root), Module)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}

// TestCheckReadsTheHouse guards the test above: were the root wrong, it would
// find nothing and pass.
func TestCheckReadsTheHouse(t *testing.T) {
	house, err := read(os.DirFS(root), Module)
	if err != nil {
		t.Fatal(err)
	}
	dirs, _ := house.packages()
	if !slices.Contains(dirs, "internal/archtest") {
		t.Errorf("packages read from %s = %v, want internal/archtest among them", root, dirs)
	}
	if table := readFactTable(house); len(table.rows) < 30 || len(table.bodies) != len(table.rows) {
		t.Errorf("read %d rows and %d bodies of facts from ops, want one body for each row", len(table.rows), len(table.bodies))
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if first, _, _ := strings.Cut(string(mod), "\n"); first != "module "+Module {
		t.Errorf("go.mod begins %q, the rules speak about %q", first, Module)
	}
}

// fixture reads a tree with its expected findings, one per line:
// "<rule> <place>: <what>".
func fixture(t *testing.T, name string) (tree fs.FS, want []string) {
	t.Helper()
	a, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	m := make(fstest.MapFS)
	for _, f := range a.Files {
		if f.Name == "want" {
			want = strings.FieldsFunc(string(f.Data), func(r rune) bool { return r == '\n' })
			continue
		}
		m[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return m, want
}

func fixtures(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no fixture matches %s (%v)", pattern, err)
	}
	return names
}

func findings(t *testing.T, tree fs.FS) (got []string, rules []string) {
	t.Helper()
	found, err := Check(tree, Module)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		if v.Why == "" {
			t.Errorf("%v does not say why the rule stands", v)
		}
		got = append(got, fmt.Sprintf("%s %s: %s", v.Rule, v.Pos, v.What))
		rules = append(rules, v.Rule)
	}
	return got, rules
}

// TestRulesBite shows each rule a tree with exactly one violation.
func TestRulesBite(t *testing.T) {
	bitten := make(map[string]bool)
	for _, name := range fixtures(t, "violation/*.txtar") {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			tree, want := fixture(t, name)
			if len(want) != 1 {
				t.Fatalf("fixture expects %d findings, a fixture holds one violation", len(want))
			}
			got, rules := findings(t, tree)
			if !slices.Equal(got, want) {
				t.Errorf("found\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), want[0])
			}
			for _, r := range rules {
				bitten[r] = true
			}
		})
	}
	for _, r := range Rules() {
		if !bitten[r] {
			t.Errorf("rule %q has no fixture that breaks it", r)
		}
	}
	for r := range bitten {
		if !slices.Contains(Rules(), r) {
			t.Errorf("rule %q is not listed by Rules", r)
		}
	}
}

// TestRulesAllow shows trees that keep every rule, so that a rule which
// refuses everything is noticed.
func TestRulesAllow(t *testing.T) {
	for _, name := range fixtures(t, "clean/*.txtar") {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			tree, _ := fixture(t, name)
			if got, _ := findings(t, tree); len(got) > 0 {
				t.Errorf("found\n\t%s\nwant nothing", strings.Join(got, "\n\t"))
			}
		})
	}
}

// TestEveryRowBites breaks each row that limits its imports, so that a row
// added with a pattern that matches nothing is noticed.
func TestEveryRowBites(t *testing.T) {
	for _, r := range Rooms() {
		if slices.Contains(r.May, "...") {
			continue
		}
		dir := strings.TrimSuffix(strings.ReplaceAll(r.Path, "*", "sample"), "/...")
		target := "app"
		src := fmt.Sprintf("// Package p is a fixture.\npackage p\n\nimport _ %q\n", Module+"/"+target)
		got, _ := findings(t, fstest.MapFS{dir + "/a.go": &fstest.MapFile{Data: []byte(src)}})
		want := []string{fmt.Sprintf("arrow %s/a.go:4: %s imports %s", dir, dir, target)}
		if dir == "cli" {
			want = nil // the one row that may
		}
		if !slices.Equal(got, want) {
			t.Errorf("row %s importing %s: found %q, want %q", r.Path, target, got, want)
		}
		if r.Why == "" || r.Purpose == "" {
			t.Errorf("row %s needs a purpose and a reason", r.Path)
		}
	}
}

func TestCheckRefusesWhatItCannotRead(t *testing.T) {
	_, err := Check(fstest.MapFS{"ops/a.go": &fstest.MapFile{Data: []byte("package ops\nimport \"unclosed\n")}}, Module)
	if err == nil || !strings.Contains(err.Error(), "ops/a.go:2") {
		t.Errorf("error = %v, want the place of the broken file", err)
	}
}

func TestMatch(t *testing.T) {
	f := func(pattern, dir, bound string, ok bool) {
		t.Helper()
		if b, o := match(pattern, dir); b != bound || o != ok {
			t.Errorf("match(%q, %q) = %q, %v, want %q, %v", pattern, dir, b, o, bound, ok)
		}
	}
	f("ops", "ops", "ops", true)
	f("ops", "ops/graph", "", false)
	f("ops/...", "ops", "ops", true)
	f("ops/...", "ops/graph", "ops", true)
	f("ops/...", "opsx", "", false)
	f("connector/*/...", "connector", "", false)
	f("connector/*/...", "connector/rt", "connector/rt", true)
	f("connector/*/...", "connector/rt/a/b", "connector/rt", true)
	f("connector/*/simulator/...", "connector/rt/simulator", "connector/rt/simulator", true)
	f("...", "anything/at/all", "", true)
}

func TestLocatePrefersTheMostSpecificRow(t *testing.T) {
	f := func(dir, want string) {
		t.Helper()
		if p, _ := locate(Rooms(), dir); p.room.Path != want {
			t.Errorf("locate(%q) = %q, want %q", dir, p.room.Path, want)
		}
	}
	f("internal/db", "internal/db/...")
	f("internal/dbx", "internal/...")
	f("connector", "connector")
	f("connector/all", "connector/all")
	f("connector/rt", "connector/*/...")
	f("connector/rt/simulator", "connector/*/simulator/...")
	f("execute/parameter", "execute/parameter/...")
	f("web/page/trail", "web/page/*/...")
	f("web/page", "web/...")
	f("detect/kernel/rcf", "detect/kernel/...")
	f("nowhere", "")
}
