package policy

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/fettleops/fettle/ops"
)

// labelled is a condition resource.labels.key == "want" that an expression
// cannot hold without. Thousands of windows and rules, each about one service,
// are told apart by it in nanoseconds, without evaluating any.
type labelled struct{ key, want string }

// decisive returns the conditions of this form among those that an expression
// joins by &&.
func decisive(e ast.Expr) []labelled {
	if e.Kind() != ast.CallKind {
		return nil
	}
	call := e.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case operators.LogicalAnd:
		var out []labelled
		for _, a := range args {
			out = append(out, decisive(a)...)
		}
		return out
	case operators.Equals:
		key, ok1 := label(args[0])
		want, ok2 := text(args[1])
		if !ok1 {
			key, ok1 = label(args[1])
			want, ok2 = text(args[0])
		}
		if ok1 && ok2 {
			return []labelled{{key, want}}
		}
	}
	return nil
}

// label returns KEY of resource.labels.KEY and resource.labels["KEY"].
func label(e ast.Expr) (key string, ok bool) {
	var of ast.Expr
	switch e.Kind() {
	case ast.SelectKind:
		if e.AsSelect().IsTestOnly() {
			return "", false
		}
		of, key = e.AsSelect().Operand(), e.AsSelect().FieldName()
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() != operators.Index {
			return "", false
		}
		if key, ok = text(call.Args()[1]); !ok {
			return "", false
		}
		of = call.Args()[0]
	default:
		return "", false
	}
	if of.Kind() != ast.SelectKind || of.AsSelect().FieldName() != "labels" {
		return "", false
	}
	root := of.AsSelect().Operand()
	return key, root.Kind() == ast.IdentKind && root.AsIdent() == "resource"
}

func text(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().Value().(string)
	return s, ok
}

// refused reports that one of the labels is not what the expression needs.
// Then it is false whatever else it says, because in CEL false && x is false
// also where x is an error.
func (p *Program) refused(r *ops.Resource) bool {
	for _, l := range p.labels {
		if r.Labels[l.key] != l.want {
			return true
		}
	}
	return false
}
