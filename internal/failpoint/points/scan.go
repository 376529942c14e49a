package points

import (
	"errors"
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

// Source is what reading the source found.
type Source struct {
	Points []string // the names of all failpoints, sorted
	Calls  []Call   // every call that leaves the process
}

// Call is a call that leaves the process.
type Call struct {
	File     string
	Line     int
	Function string // as failpoints name it
	What     string // such as exec.Command
	Guarded  bool   // the same function passes a failpoint before and after it
}

// Scan reads the Go source of the program below root, without its tests, test
// kits and benchmarks. An error names what it cannot tell a name for.
func Scan(root fs.FS) (Source, error) {
	s := scanner{operations: map[string][]string{}, commits: map[string]int{}}
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && (skipped(p) || d.Name()[0] == '.'):
			return fs.SkipDir
		case d.IsDir(), path.Ext(p) != ".go", strings.HasSuffix(p, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(s.fset(), p, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s.files = append(s.files, source{f, p})
		s.findOperations(path.Dir(p), f)
		return nil
	})
	if err != nil {
		return Source{}, err
	}
	for _, f := range s.files {
		s.read(f)
	}
	for _, name := range sortedKeys(s.commits) {
		for n := range s.commits[name] {
			suffix := ""
			if n > 0 {
				suffix = "#" + strconv.Itoa(n+1)
			}
			s.found.Points = append(s.found.Points, "commit.before:"+name+suffix, "commit.after:"+name+suffix)
		}
	}
	slices.Sort(s.found.Points)
	s.found.Points = slices.Compact(s.found.Points)
	return s.found, errors.Join(s.faults...)
}

// skipped are folders whose code is never part of a running server: test kits,
// peers of tests, programs of their own.
func skipped(dir string) bool {
	base := path.Base(dir)
	return slices.Contains([]string{"test", "bench", "docs", "tools", "internal/peer", "internal/archtest", "internal/failpoint"}, dir) ||
		base == "testdata" || base == "simulator" || strings.HasSuffix(base, "test") && dir != "test"
}

type source struct {
	file *ast.File
	path string
}

type scanner struct {
	set        *token.FileSet
	files      []source
	operations map[string][]string // by folder
	commits    map[string]int      // how many calls of Write each function makes
	found      Source
	faults     []error
}

func (s *scanner) fset() *token.FileSet {
	if s.set == nil {
		s.set = token.NewFileSet()
	}
	return s.set
}

// findOperations remembers the variable Operations of a package, over which
// its failpoints are spread.
func (s *scanner) findOperations(dir string, f *ast.File) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			if len(v.Names) != 1 || v.Names[0].Name != "Operations" || len(v.Values) != 1 {
				continue
			}
			if lit, ok := v.Values[0].(*ast.CompositeLit); ok {
				for _, e := range lit.Elts {
					if name, ok := text(e); ok {
						s.operations[dir] = append(s.operations[dir], name)
					}
				}
			}
		}
	}
}

func (s *scanner) read(f source) {
	dir := path.Dir(f.path)
	for _, d := range f.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			s.function(dir, f.path, name(dir, d), d)
		case *ast.GenDecl:
			s.function(dir, f.path, dir+".init", d)
		}
	}
}

// name is how the runtime names a function, without the module's path.
func name(dir string, d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return dir + "." + d.Name.Name
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		return fmt.Sprintf("%s.(*%s).%s", dir, receiver(star.X), d.Name.Name)
	}
	return fmt.Sprintf("%s.%s.%s", dir, receiver(t), d.Name.Name)
}

func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.IndexExpr:
		return receiver(t.X) + "[...]"
	case *ast.IndexListExpr:
		return receiver(t.X) + "[...]"
	}
	return "?"
}

func (s *scanner) function(dir, file, fn string, d ast.Decl) {
	var hits []token.Pos
	var calls []Call
	var at []token.Pos
	ast.Inspect(d, func(n ast.Node) bool {
		if lit, ok := n.(*ast.CompositeLit); ok {
			if on, typ := selector(lit.Type); on == "exec" && typ == "Cmd" {
				calls = append(calls, Call{File: file, Line: s.set.Position(lit.Pos()).Line, Function: fn, What: "exec.Cmd"})
				at = append(at, lit.Pos())
			}
		}
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		on, method := selector(call.Fun)
		switch {
		case on == "failpoint" && method == "Hit" && len(call.Args) == 1:
			hits = append(hits, call.Pos())
			s.hit(dir, call)
		case on == "awsx": // Write names an error there
		case method == "Write" && len(call.Args) == 2 && call.Ellipsis == token.NoPos:
			s.write(fn, call)
		}
		if what := leaves(on, method, call); what != "" {
			calls = append(calls, Call{File: file, Line: s.set.Position(call.Pos()).Line, Function: fn, What: what})
			at = append(at, call.Pos())
		}
		return true
	})
	for i, c := range calls {
		before := slices.ContainsFunc(hits, func(p token.Pos) bool { return p < at[i] })
		after := slices.ContainsFunc(hits, func(p token.Pos) bool { return p > at[i] })
		c.Guarded = before && after
		s.found.Calls = append(s.found.Calls, c)
	}
}

func selector(f ast.Expr) (on, method string) {
	sel, ok := f.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	if x, ok := sel.X.(*ast.Ident); ok {
		on = x.Name
	}
	return on, sel.Sel.Name
}

// write counts a write transaction. Which function it belongs to is only told
// by where its body stands, so the body must stand there.
func (s *scanner) write(fn string, call *ast.CallExpr) {
	switch call.Args[1].(type) {
	case *ast.FuncLit:
		s.commits[fn]++
	case *ast.CompositeLit, *ast.CallExpr, *ast.BasicLit: // a record, not a transaction
	default:
		s.fault(call, "cannot tell whether this Write is a commit; write its function in place")
	}
}

func (s *scanner) hit(dir string, call *ast.CallExpr) {
	if name, ok := text(call.Args[0]); ok {
		s.found.Points = append(s.found.Points, name)
		return
	}
	if dir == "internal/db" {
		return // commits are named after the callers of Write
	}
	// "connector." + op + ".before"
	outer, ok := call.Args[0].(*ast.BinaryExpr)
	if !ok {
		s.fault(call, "the name of a failpoint is a literal, or one with an operation in the middle")
		return
	}
	inner, ok := outer.X.(*ast.BinaryExpr)
	if !ok || len(s.operations[dir]) == 0 {
		s.fault(call, "the name of a failpoint is a literal, or one with an operation in the middle and the variable Operations beside it")
		return
	}
	before, ok1 := text(inner.X)
	after, ok2 := text(outer.Y)
	if !ok1 || !ok2 {
		s.fault(call, "the name of a failpoint has one operation in the middle")
		return
	}
	for _, op := range s.operations[dir] {
		s.found.Points = append(s.found.Points, before+op+after)
	}
}

// leaves names a call that leaves the process: to the network or to another
// program. It goes by names, because types would need the whole program built.
func leaves(on, method string, call *ast.CallExpr) string {
	full := on + "." + method
	switch {
	case slices.Contains([]string{
		"exec.Command", "exec.CommandContext", "os.StartProcess", "syscall.ForkExec", "syscall.StartProcess",
		"http.Get", "http.Head", "http.Post", "http.PostForm", "smtp.SendMail", "net.Dial", "net.DialTimeout", "tls.Dial",
	}, full):
		return full
	case method == "RoundTrip":
		return method
	case method == "Do" && len(call.Args) > 0:
		if _, once := call.Args[0].(*ast.FuncLit); !once {
			return method
		}
	}
	return ""
}

func (s *scanner) fault(n ast.Node, why string) {
	s.faults = append(s.faults, fmt.Errorf("%s: %s", s.set.Position(n.Pos()), why))
}

func text(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	v, err := strconv.Unquote(lit.Value)
	return v, err == nil
}

func sortedKeys(m map[string]int) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
