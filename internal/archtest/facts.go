package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

const whyFacts = "rooms meet by facts, and ops/facts.go is the map of who meets whom: a fact that is told or heard beside it is a hidden dependency, and a row nobody keeps is a wrong map"

// route is one row of the table ops.Facts, as it stands in the source.
type route struct {
	kind         string // name of the constant, without the package
	pos          string
	tells, hears []string
}

// meeting is one place where a room tells or hears a kind of fact.
type meeting struct{ room, kind, pos string }

// factTable is what ops says about facts.
type factTable struct {
	rows   []route
	bodies map[string]string // name of a body's type to the constant of its kind
}

// row returns the row of a kind.
func (f factTable) row(kind string) (route, bool) {
	i := slices.IndexFunc(f.rows, func(r route) bool { return r.kind == kind })
	if i < 0 {
		return route{}, false
	}
	return f.rows[i], true
}

// checkFacts holds who tells and who hears each fact against the table in
// ops/facts.go. A tree without such a table is not checked.
//
// A room tells a fact where its production code builds the fact's body, as a
// literal or by a conversion. It hears one where it calls Hear with its own
// name and the kind, or with each kind of ops.Heard for its own name; then the
// table registers it, and what is checked is that the room reads each kind.
func checkFacts(t *tree, rooms []Room) []Violation {
	table := readFactTable(t)
	if len(table.rows) == 0 {
		return nil
	}
	var found []Violation
	bad := func(pos, format string, args ...any) {
		found = append(found, Violation{"fact", pos, fmt.Sprintf(format, args...), whyFacts})
	}
	var tells, hears []meeting
	for _, f := range t.files {
		from, ok := locate(rooms, f.dir)
		if f.test || !ok || isKit(f.dir) || from.room.Bench || topOf(f.dir) == "ops" {
			continue
		}
		alias := importName(f.ast, t.module+"/ops")
		tells = append(tells, told(t, f, alias, table)...)
		heard, unclear := heardIn(t, f, alias, table)
		hears = append(hears, heard...)
		for _, u := range unclear {
			bad(u.pos, "%s", u.kind)
		}
	}
	reads := readKinds(t, table)
	for _, m := range tells {
		if r, ok := table.row(m.kind); !ok || !slices.Contains(r.tells, m.room) {
			bad(m.pos, "%s tells %s, which ops.Facts does not list", m.room, m.kind)
		}
	}
	for _, m := range hears {
		r, ok := table.row(m.kind)
		switch {
		case !ok || !slices.Contains(r.hears, m.room):
			bad(m.pos, "%s hears %s, which ops.Facts does not list", m.room, m.kind)
		case !slices.Contains(reads[m.room], m.kind):
			bad(m.pos, "%s hears %s and reads nothing of it", m.room, m.kind)
		}
	}
	has := func(all []meeting, room, kind string) bool {
		return slices.ContainsFunc(all, func(m meeting) bool { return m.room == room && m.kind == kind })
	}
	for _, r := range table.rows {
		if len(r.tells) == 0 {
			bad(r.pos, "ops.Facts says that nobody tells %s", r.kind)
		}
		for _, room := range r.tells {
			if !has(tells, room, r.kind) {
				bad(r.pos, "ops.Facts says that %s tells %s, and it does not", room, r.kind)
			}
		}
		for _, room := range r.hears {
			if !has(hears, room, r.kind) {
				bad(r.pos, "ops.Facts says that %s hears %s, and it does not", room, r.kind)
			}
		}
	}
	return found
}

func topOf(dir string) string {
	top, _, _ := strings.Cut(dir, "/")
	return top
}

// importName returns the name under which a file knows a package, empty when
// it does not import it.
func importName(f *ast.File, pkg string) string {
	for _, spec := range f.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err != nil || p != pkg {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return pkg[strings.LastIndex(pkg, "/")+1:]
	}
	return ""
}

// selected returns the name n selects from the package known as alias.
func selected(n ast.Expr, alias string) string {
	s, ok := n.(*ast.SelectorExpr)
	if !ok || alias == "" {
		return ""
	}
	if id, ok := s.X.(*ast.Ident); !ok || id.Name != alias {
		return ""
	}
	return s.Sel.Name
}

// told finds the bodies of facts a file builds.
func told(t *tree, f file, ops string, table factTable) []meeting {
	var out []meeting
	ast.Inspect(f.ast, func(n ast.Node) bool {
		name := ""
		switch n := n.(type) {
		case *ast.CompositeLit:
			name = selected(n.Type, ops)
		case *ast.CallExpr:
			name = selected(n.Fun, ops) // a conversion
		}
		if kind, ok := table.bodies[name]; ok {
			out = append(out, meeting{topOf(f.dir), kind, t.pos(n.Pos())})
		}
		return true
	})
	return out
}

// heardIn finds what a file hears, and the calls of Hear this check cannot
// follow, with the reason in place of the kind.
func heardIn(t *tree, f file, ops string, table factTable) (heard, unclear []meeting) {
	room := topOf(f.dir)
	for _, decl := range f.ast.Decls {
		all := false // the function asks the table for this room's kinds
		ast.Inspect(decl, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && selected(call.Fun, ops) == "Heard" && len(call.Args) == 1 && literal(call.Args[0]) == room {
				all = true
			}
			return true
		})
		expanded := false // several calls in one loop register the table once
		ast.Inspect(decl, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 3 {
				return true
			}
			if s, ok := call.Fun.(*ast.SelectorExpr); !ok || s.Sel.Name != "Hear" {
				return true
			}
			pos, as, kind := t.pos(call.Pos()), literal(call.Args[0]), selected(call.Args[1], ops)
			switch {
			case as != room:
				unclear = append(unclear, meeting{room, fmt.Sprintf("%s hears under the name %q, not its own", room, as), pos})
			case kind != "":
				heard = append(heard, meeting{room, kind, pos})
			case !all:
				unclear = append(unclear, meeting{room, room + " hears a kind that is neither a constant of ops nor from ops.Heard", pos})
			case !expanded:
				expanded = true
				for _, r := range table.rows {
					if slices.Contains(r.hears, room) {
						heard = append(heard, meeting{room, r.kind, pos})
					}
				}
			}
			return true
		})
	}
	return heard, unclear
}

func literal(n ast.Expr) string {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return s
}

// readKinds returns, by room, the kinds of fact whose constant or body its
// production code names.
func readKinds(t *tree, table factTable) map[string][]string {
	out := make(map[string][]string)
	for _, f := range t.files {
		ops := importName(f.ast, t.module+"/ops")
		if f.test || isKit(f.dir) || ops == "" {
			continue
		}
		room := topOf(f.dir)
		ast.Inspect(f.ast, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			name := selected(e, ops)
			if kind, ok := table.bodies[name]; ok {
				name = kind
			}
			if _, ok := table.row(name); ok {
				out[room] = append(out[room], name)
			}
			return true
		})
	}
	return out
}

// readFactTable reads the variable Facts and the FactKind methods of ops.
func readFactTable(t *tree) factTable {
	table := factTable{bodies: make(map[string]string)}
	for _, f := range t.files {
		if f.dir != "ops" || f.test {
			continue
		}
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if body, kind := bodyOf(d); body != "" {
					table.bodies[body] = kind
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && len(v.Names) == 1 && v.Names[0].Name == "Facts" && len(v.Values) == 1 {
						table.rows = append(table.rows, t.routes(v.Values[0])...)
					}
				}
			}
		}
	}
	return table
}

// bodyOf reads func (XBody) FactKind() FactKind { return X }.
func bodyOf(d *ast.FuncDecl) (body, kind string) {
	if d.Name.Name != "FactKind" || d.Recv == nil || len(d.Recv.List) != 1 || d.Body == nil || len(d.Body.List) != 1 {
		return "", ""
	}
	recv, ok := d.Recv.List[0].Type.(*ast.Ident)
	if !ok {
		return "", ""
	}
	ret, ok := d.Body.List[0].(*ast.ReturnStmt)
	if !ok || len(ret.Results) != 1 {
		return "", ""
	}
	id, ok := ret.Results[0].(*ast.Ident)
	if !ok {
		return "", ""
	}
	return recv.Name, id.Name
}

// routes reads the rows {Kind, []string{...}, []string{...}}.
func (t *tree) routes(table ast.Expr) []route {
	list, ok := table.(*ast.CompositeLit)
	if !ok {
		return nil
	}
	var out []route
	for _, e := range list.Elts {
		row, ok := e.(*ast.CompositeLit)
		if !ok || len(row.Elts) != 3 {
			continue
		}
		kind, ok := row.Elts[0].(*ast.Ident)
		if !ok {
			continue
		}
		out = append(out, route{kind.Name, t.pos(row.Pos()), literals(row.Elts[1]), literals(row.Elts[2])})
	}
	return out
}

func literals(n ast.Expr) []string {
	list, ok := n.(*ast.CompositeLit)
	if !ok {
		return nil // nil: nobody
	}
	var out []string
	for _, e := range list.Elts {
		if s := literal(e); s != "" {
			out = append(out, s)
		}
	}
	return out
}
