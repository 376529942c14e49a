package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

const whyPlan = "the first screen of the repository is the floor plan: a new room is a decision (an ADR and a row in internal/archtest/rooms.go)"

// checkFolders finds top-level folders and packages that have no row.
func checkFolders(t *tree, rooms []Room) []Violation {
	var found []Violation
	for _, top := range t.tops {
		known := slices.ContainsFunc(rooms, func(r Room) bool {
			head, _, _ := strings.Cut(r.Path, "/")
			return head == top
		})
		if !known {
			found = append(found, Violation{"folder", top, "top-level folder is not in the floor plan", whyPlan})
		}
	}
	dirs, byDir := t.packages()
	for _, dir := range dirs {
		if _, ok := locate(rooms, dir); ok {
			continue
		}
		top, _, _ := strings.Cut(dir, "/")
		if dir == "." || slices.ContainsFunc(rooms, func(r Room) bool { return strings.HasPrefix(r.Path, top+"/") }) {
			found = append(found, Violation{"row", byDir[dir][0].name, "package " + dir + " is in no row of the floor plan", whyPlan})
		}
	}
	return found
}

// checkImports holds every import against the importing file's row.
func checkImports(t *tree, rooms []Room) []Violation {
	var found []Violation
	for _, f := range t.files {
		from, ok := locate(rooms, f.dir)
		if !ok {
			continue // checkFolders has said so
		}
		for _, spec := range f.ast.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the parser refuses such a file
			}
			v, bad := judge(rooms, f, from, t.module, target)
			if bad {
				v.Pos = t.pos(spec.Pos())
				found = append(found, v)
			}
		}
	}
	return found
}

func judge(rooms []Room, f file, from place, module, target string) (Violation, bool) {
	if target == module {
		return Violation{Rule: "row", What: "imports the module's root, which holds no package", Why: whyPlan}, true
	}
	if ours, ok := strings.CutPrefix(target, module+"/"); ok {
		return judgeOurs(rooms, f, from, ours)
	}
	return judgeForeign(f, from, target)
}

// judgeOurs decides about an import of one of our packages.
func judgeOurs(rooms []Room, f file, from place, dir string) (Violation, bool) {
	testing := f.test || isKit(f.dir)
	if !testing && !from.room.Bench {
		if isKit(dir) {
			return Violation{
				Rule: "kit", What: fmt.Sprintf("%s imports test kit %s outside a test", f.dir, dir),
				Why: "a test kit in production code would link testing into the product",
			}, true
		}
		if isSimulator(dir) && !isSimulator(f.dir) && !simulatorHost(from.room) {
			return Violation{
				Rule: "simulator", What: fmt.Sprintf("%s imports simulator %s outside a test", f.dir, dir),
				Why: "only app, cli, tests and benchmarks start a simulator; a driver that carries one could talk to it in production",
			}, true
		}
	}
	if to, ok := locate(rooms, dir); ok && to.room.Path == from.room.Path && to.bound == from.bound {
		return Violation{}, false
	}
	if matchAny(from.room.May, dir) {
		return Violation{}, false
	}
	if testing {
		if mayInTest(from, dir) {
			return Violation{}, false
		}
		return Violation{
			Rule: "test-arrow", What: fmt.Sprintf("test of %s imports %s", f.dir, dir), Why: from.room.Why +
				"; its tests may add " + strings.Join(testExtras(from.room), " ") + " and the test kits",
		}, true
	}
	return Violation{Rule: "arrow", What: fmt.Sprintf("%s imports %s", f.dir, dir), Why: from.room.Why}, true
}

// simulatorHost reports whether the row's May opens simulators to it.
func simulatorHost(r Room) bool {
	return slices.ContainsFunc(r.May, func(p string) bool {
		return p == "..." || strings.Contains(p, "/simulator")
	})
}

func testExtras(r Room) []string {
	if r.Leaf {
		return []string{"internal/..."}
	}
	return slices.Concat(testMay, r.Tests)
}

// mayInTest widens a row for its tests and kits.
func mayInTest(from place, dir string) bool {
	if isKit(dir) || matchAny(testExtras(from.room), dir) {
		return true
	}
	// A package and its tests know what lies below it: a driver its
	// simulator, a room its parts, but not a socket its drivers.
	return strings.HasPrefix(dir, from.bound+"/") && strings.HasSuffix(from.room.Path, "/...")
}

// judgeForeign decides about the standard library and third parties.
func judgeForeign(f file, from place, target string) (Violation, bool) {
	if target == "C" {
		return Violation{
			Rule: "cgo", What: f.dir + " imports C", Why: "the product is one static binary built with CGO_ENABLED=0",
		}, true
	}
	if f.test {
		return Violation{}, false
	}
	for _, d := range from.room.Deny {
		if below(d, target) {
			return Violation{Rule: "deny", What: f.dir + " imports " + target, Why: from.room.Why}, true
		}
	}
	first, _, _ := strings.Cut(target, "/")
	if from.room.StdlibOnly && strings.Contains(first, ".") {
		return Violation{Rule: "stdlib", What: f.dir + " imports third-party " + target, Why: from.room.Why}, true
	}
	for _, r := range reserved {
		if _, home := match(r.home, f.dir); !home && below(r.prefix, target) {
			return Violation{Rule: "reserved", What: fmt.Sprintf("%s imports %s, which belongs to %s", f.dir, target, r.home), Why: r.why}, true
		}
	}
	return Violation{}, false
}

func below(prefix, target string) bool {
	return target == prefix || strings.HasPrefix(target, prefix+"/")
}

// checkDriverNames finds platform names in packages that may know none. Only
// connectors are looked for: names of sources and tools (host, command) are
// everyday words too.
func checkDriverNames(t *tree, _ []Room) []Violation {
	drivers := make(map[string]bool)
	for _, f := range t.files {
		if bound, ok := match("connector/*/...", f.dir); ok && !isKit(bound) && bound != "connector/all" {
			drivers[strings.TrimPrefix(bound, "connector/")] = true
		}
	}
	var found []Violation
	for _, f := range t.files {
		if f.test || isKit(f.dir) || !matchAny(anonymous, f.dir) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			if s, err := strconv.Unquote(lit.Value); err == nil && drivers[s] && s != alwaysThere {
				found = append(found, Violation{
					"driver-name", t.pos(lit.Pos()), fmt.Sprintf("%s names driver %q", f.dir, s),
					"configuration and store know no driver by name, or each new platform would be an edit in them",
				})
			}
			return true
		})
	}
	return found
}

// alwaysThere is the platform every installation has, which makes its name a
// word of the configuration and not only of a driver.
const alwaysThere = "desk"

// checkComments finds packages without a package comment.
func checkComments(t *tree, _ []Room) []Violation {
	const why = "the package comment is the sign on the room's door: what it promises and where that ends"
	var found []Violation
	dirs, byDir := t.packages()
	for _, dir := range dirs {
		files := byDir[dir]
		text := ""
		for _, f := range files {
			if text = strings.TrimSpace(f.ast.Doc.Text()); text != "" {
				break
			}
		}
		name := files[0].ast.Name.Name
		switch {
		case text == "":
			found = append(found, Violation{"comment", files[0].name, "package " + name + " has no package comment", why})
		case name != "main" && !strings.HasPrefix(text, "Package "+name+" "):
			found = append(found, Violation{"comment", files[0].name, "package comment does not begin with \"Package " + name + "\"", why})
		case !strings.HasSuffix(text, "."):
			found = append(found, Violation{"comment", files[0].name, "package comment does not end in a full stop", why})
		}
	}
	return found
}
