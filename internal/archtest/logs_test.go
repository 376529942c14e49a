package archtest

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

//go:generate go test -run ^TestLogPageIsCurrent$ -update .

// logged reads a call that takes a level, a fixed message and attributes:
// LogAttrs itself, or a function that passes them on to it.
func logged(call *ast.CallExpr) (level, message string, attrs []ast.Expr) {
	for i := 0; i+1 < len(call.Args); i++ {
		if name, ok := strings.CutPrefix(selected(call.Args[i], "slog"), "Level"); ok && name != "" {
			return name, literal(call.Args[i+1]), call.Args[i+2:]
		}
	}
	if s, ok := call.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "LogAttrs" && len(call.Args) > 2 {
		return "varies", literal(call.Args[2]), call.Args[3:] // the level is computed
	}
	return "", "", nil
}

var snake = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// TestLogPageIsCurrent compares docs/logs.md with the calls of LogAttrs in the
// product's code, and wants fixed messages and keys in snake case.
func TestLogPageIsCurrent(t *testing.T) {
	house, err := read(os.DirFS(root), Module)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]map[string]bool{} // level, room and message to keys
	for _, f := range house.files {
		place, ok := locate(Rooms(), f.dir)
		if f.test || !ok || isKit(f.dir) || place.room.Bench || isSimulator(f.dir) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			level, message, attrs := logged(call)
			if message == "" {
				return true // no logging, or it passes on what it is given
			}
			row := fmt.Sprintf("| %s | %s | %s |", strings.ToLower(level), f.dir, message)
			if rows[row] == nil {
				rows[row] = map[string]bool{}
			}
			for _, arg := range attrs {
				attr, ok := arg.(*ast.CallExpr)
				if !ok || len(attr.Args) == 0 || selected(attr.Fun, "slog") == "" {
					continue
				}
				if key := literal(attr.Args[0]); key != "" {
					rows[row]["`"+key+"`"] = true
					if !snake.MatchString(key) {
						t.Errorf("%s: log key %q is not snake_case", house.pos(attr.Pos()), key)
					}
				}
			}
			return true
		})
	}
	var lines []string
	for row, keys := range rows {
		var list []string
		for k := range keys {
			list = append(list, k)
		}
		slices.Sort(list)
		lines = append(lines, row+" "+strings.Join(list, " ")+" |\n")
	}
	if len(lines) < 20 {
		t.Fatalf("%d log messages found, which this test does not believe", len(lines))
	}
	slices.Sort(lines)
	want := `<!-- Code generated from the calls of slog by "make generate"; DO NOT EDIT. -->
# Log messages

Messages are fixed and values stand in keys, so that a log can be searched and counted. Rooms add ` + "`room`" + `, the front door
` + "`integration` and `source`" + `, connectors ` + "`connector`" + `. Secrets are redacted; payloads are never logged.

| level | where | message | keys |
|---|---|---|---|
` + strings.Join(lines, "")
	name := filepath.Join(root, "docs", "logs.md")
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the code logs; run make generate", name)
	}
}
