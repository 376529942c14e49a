package archtest

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// longest is how many lines one page may have.
const longest = 60

// TestDecisionsAreOnePageEach wants of each decision its number, its four
// parts in order, one page, and a line in the index.
func TestDecisionsAreOnePageEach(t *testing.T) {
	dir := filepath.Join(root, "docs", "adr")
	names, err := filepath.Glob(filepath.Join(dir, "[0-9]*.md"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	index, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		base := filepath.Base(name)
		if !strings.HasPrefix(base, fmt.Sprintf("%04d-", i+1)) {
			t.Errorf("%s is the %d. decision, its number must be %04d", base, i+1, i+1)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if n := strings.Count(text, "\n") - strings.Count(text, "\n| "); n > longest { // a table is as long as what it lists
			t.Errorf("%s has %d lines, a decision fits on one page of %d", base, n, longest)
		}
		at := 0
		for _, part := range []string{"# ", "**Context.**", "**Decision.**", "**Consequences.**", "**What would change our mind.**"} {
			next := strings.Index(text[at:], part)
			if next < 0 {
				t.Errorf("%s lacks %q, or has it before its turn", base, part)
				break
			}
			at += next
		}
		if !strings.Contains(string(index), "("+base+")") {
			t.Errorf("docs/adr/README.md does not list %s", base)
		}
	}
}

var direct = regexp.MustCompile(`(?m)^\t(\S+) (v\S+)$`)

// TestEachDependencyIsDecided wants a row with the version in use for each
// direct dependency of go.mod, no row for what is no longer one, and the word
// unused in exactly the rows of modules that no code imports.
func TestEachDependencyIsDecided(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "adr", "0007-dependencies-and-why-each.md"))
	if err != nil {
		t.Fatal(err)
	}
	house, err := read(os.DirFS(root), Module)
	if err != nil {
		t.Fatal(err)
	}
	imported := func(module string) bool {
		return slices.ContainsFunc(house.files, func(f file) bool {
			return slices.ContainsFunc(f.ast.Imports, func(s *ast.ImportSpec) bool {
				path, err := strconv.Unquote(s.Path.Value)
				return err == nil && below(module, path)
			})
		})
	}
	inUse := map[string]bool{}
	for _, m := range direct.FindAllStringSubmatch(string(mod), -1) {
		inUse[m[1]] = true
		_, row, ok := strings.Cut(string(page), fmt.Sprintf("\n| `%s` | %s |", m[1], m[2]))
		if !ok {
			t.Errorf("0007 has no row of %s %s", m[1], m[2])
		}
		row, _, _ = strings.Cut(row, "\n")
		if used := imported(m[1]); used == strings.Contains(row, "unused") {
			t.Errorf("0007 says of %s %q, and that code imports it is %v", m[1], row, used)
		}
	}
	if len(inUse) < 10 {
		t.Fatalf("read %d direct dependencies from go.mod, which this test does not believe", len(inUse))
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		if !inUse[row[1]] {
			t.Errorf("0007 has a row of %s, which go.mod does not require", row[1])
		}
	}
}
