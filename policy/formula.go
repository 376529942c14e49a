package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"github.com/fettleops/fettle/ops"
)

// maxFormulaCost bounds the work of one evaluation of a formula, in CEL cost
// units: it is evaluated for each step of each model.
const maxFormulaCost = 1000

// Formula is a compiled expression that computes a number from named numbers,
// such as
//
//	1.0 - idle / total
//	total > 0.0 ? errors / total : 0.0
//
// It is immutable and safe for concurrent use.
type Formula struct {
	text    string
	program cel.Program
	reads   []int // indices into the names it was compiled with
	names   map[string]int
	inputs  sync.Pool
}

// CompileFormula checks a formula over names. It reads the other formulas'
// and metrics' values only by those names. The error wraps ops.ErrInvalid and
// names the expression and, for a name that does not exist, the nearest one
// that does.
func CompileFormula(text string, names []string) (*Formula, error) {
	fail := func(format string, args ...any) (*Formula, error) {
		return nil, fmt.Errorf("policy: formula %q %s: %w", text, fmt.Sprintf(format, args...), ops.ErrInvalid)
	}
	if strings.TrimSpace(text) == "" {
		return fail("is empty; write something like 1.0 - idle / total")
	}
	f := &Formula{text: text, names: make(map[string]int, len(names))}
	opts := []cel.EnvOption{
		cel.StdLib(), cel.CrossTypeNumericComparisons(true), cel.ParserExpressionSizeLimit(MaxLength), cel.ParserRecursionLimit(64),
	}
	for i, name := range names {
		opts = append(opts, cel.Variable(name, cel.DoubleType))
		f.names[name] = i
	}
	env, err := cel.NewCustomEnv(opts...)
	if err != nil {
		return fail("has names it cannot use: %v", err)
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		for _, e := range issues.Errors() {
			if name, ok := quoted(e.Message, "undeclared reference to '"); ok {
				if near := nearest(name, names); near != "" {
					return fail("reads %q, which is no feature here; did you mean %q", name, near)
				}
				return fail("reads %q, which is no feature here, only %s", name, strings.Join(names, ", "))
			}
		}
		return fail("is wrong: %s (numbers need a point: 1.0, not 1)", firstLine(issues.Err()))
	}
	if checked.OutputType() != types.DoubleType {
		return fail("gives %s, not a number with a point", checked.OutputType())
	}
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.IdentKind {
			return
		}
		if i, ok := f.names[e.AsIdent()]; ok && !slices.Contains(f.reads, i) {
			f.reads = append(f.reads, i)
		}
	}))
	slices.Sort(f.reads)
	if f.program, err = env.Program(checked, cel.CostLimit(maxFormulaCost), cel.EvalOptions(cel.OptOptimize)); err != nil {
		return fail("does not compile: %v", err)
	}
	f.inputs.New = func() any { return &inputs{names: f.names} }
	return f, nil
}

// String returns the expression as it was written.
func (f *Formula) String() string { return f.text }

// Reads returns the indices of the names that the formula reads, in increasing
// order.
func (f *Formula) Reads() []int { return f.reads }

// Value computes the formula; values are in the order of the names it was
// compiled with. It is NaN where a value that the formula reads is NaN, and
// where the result is no finite number or cannot be computed.
func (f *Formula) Value(values []float64) float64 {
	for _, i := range f.reads {
		if math.IsNaN(values[i]) {
			return math.NaN()
		}
	}
	in := f.inputs.Get().(*inputs)
	in.values = values
	out, _, err := f.program.Eval(in)
	in.values = nil
	f.inputs.Put(in)
	if err != nil {
		return math.NaN() // an integer division by zero, the cost limit: no value
	}
	v, ok := out.Value().(float64)
	if !ok || math.IsInf(v, 0) {
		return math.NaN()
	}
	return v
}

// inputs hands the numbers to CEL without a map of them.
type inputs struct {
	names  map[string]int
	values []float64
}

var _ interpreter.Activation = (*inputs)(nil)

func (in *inputs) ResolveName(name string) (any, bool) {
	i, ok := in.names[name]
	if !ok {
		return nil, false
	}
	return types.Double(in.values[i]), true
}

func (*inputs) Parent() interpreter.Activation { return nil }
