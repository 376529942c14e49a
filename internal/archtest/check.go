package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Violation is one broken rule at one place.
type Violation struct {
	Rule string // name of the rule, for example "arrow"
	Pos  string // file, or file:line
	What string // what was found
	Why  string // why the rule stands
}

// String prints the violation with its reason, the way a test should show it.
func (v Violation) String() string {
	return fmt.Sprintf("%s: %s [%s]\n\twhy: %s", v.Pos, v.What, v.Rule, v.Why)
}

// Rules lists the names of all rules that Check applies.
func Rules() []string {
	return []string{
		"folder", "row", "arrow", "test-arrow", "kit", "simulator", "stdlib", "deny", "reserved", "cgo",
		"driver-name", "comment", "fact",
	}
}

// file is one parsed source file.
type file struct {
	name string // slash-separated, relative to the root
	dir  string
	ast  *ast.File
	test bool
}

// tree is the source of one module.
type tree struct {
	module string
	fset   *token.FileSet
	files  []file
	tops   []string // top-level folders
}

// Check reads the module rooted at fsys and returns every violation, ordered
// by place. Nested modules, testdata, vendor and folders that start with "." or
// "_" are no part of the module and are not read. Build constraints are
// ignored, so a violation cannot hide behind a tag. A file that does not parse
// is an error.
func Check(fsys fs.FS, module string) ([]Violation, error) {
	t, err := read(fsys, module)
	if err != nil {
		return nil, err
	}
	rooms := Rooms()
	var all []Violation
	// A new kind of rule is one more function here and a name in Rules.
	for _, check := range []func(*tree, []Room) []Violation{
		checkFolders, checkImports, checkDriverNames, checkComments, checkFacts,
	} {
		all = append(all, check(t, rooms)...)
	}
	slices.SortStableFunc(all, func(a, b Violation) int {
		return strings.Compare(a.Pos+a.Rule, b.Pos+b.Rule)
	})
	return all, nil
}

// ignored are top-level folders that git does not keep.
var ignored = []string{"bin", "dist"}

func read(fsys fs.FS, module string) (*tree, error) {
	t := &tree{module: module, fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("archtest: read %s: %w", name, err)
		}
		if d.IsDir() {
			return t.enter(fsys, name)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		return t.parse(fsys, name)
	})
	return t, err
}

func (t *tree) enter(fsys fs.FS, dir string) error {
	if dir == "." {
		return nil
	}
	base := path.Base(dir)
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "vendor" {
		return fs.SkipDir
	}
	if !strings.Contains(dir, "/") {
		if slices.Contains(ignored, dir) {
			return fs.SkipDir
		}
		t.tops = append(t.tops, dir)
	}
	if _, err := fs.Stat(fsys, dir+"/go.mod"); err == nil {
		return fs.SkipDir
	}
	return nil
}

func (t *tree) parse(fsys fs.FS, name string) error {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return fmt.Errorf("archtest: read %s: %w", name, err)
	}
	f, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("archtest: parse: %w", err)
	}
	t.files = append(t.files, file{
		name: name, dir: path.Dir(name), ast: f, test: strings.HasSuffix(name, "_test.go"),
	})
	return nil
}

// pos prints where a node stands.
func (t *tree) pos(p token.Pos) string {
	at := t.fset.Position(p)
	return at.Filename + ":" + strconv.Itoa(at.Line)
}

// packages returns the folders that hold non-test Go files, with those files.
func (t *tree) packages() (dirs []string, byDir map[string][]file) {
	byDir = make(map[string][]file)
	for _, f := range t.files {
		if f.test {
			continue
		}
		if byDir[f.dir] == nil {
			dirs = append(dirs, f.dir)
		}
		byDir[f.dir] = append(byDir[f.dir], f)
	}
	return dirs, byDir
}
