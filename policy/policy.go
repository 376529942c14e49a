// Package policy evaluates conditions written in CEL, the Common Expression
// Language, over the words of ops.
//
// Fields go by their JSON names: incident.severity in ["critical", "high"],
// change.type == "standard" && change.risk < 0.2, resource.labels.env == "prod".
// An expression is checked and compiled once, when the configuration is
// loaded; a compiled Program is immutable and safe for concurrent use. A
// Condition is the same for the metrics of a resource, and a Formula computes a
// number from named numbers.
//
// Three things differ from what a CEL reader may expect, on purpose:
//
//   - A key that a map lacks reads as the empty string, as a missing label
//     does in Prometheus. alert.labels.env != "prod" therefore holds where
//     there is no env at all. has(alert.labels.env) and "env" in alert.labels
//     still tell absence from emptiness.
//   - Numbers of different types are ordered: value > 90 needs no 90.0.
//     Equality does: change.risk == 0.0.
//   - There are no side effects, no clock and a cost limit: an expression that
//     could cost more than MaxCost is refused when it is compiled.
package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"github.com/fettleops/fettle/ops"
)

// Word names what an expression is about, and so which variables it may use.
type Word string

// The words and their variables.
const (
	Alert    Word = "alert"    // alert, incident
	Incident Word = "incident" // incident
	Change   Word = "change"   // change (whose resource is the resource itself), resource
	Resource Word = "resource" // resource
	Step     Word = "step"     // value (a number), alert
	Metric   Word = "metric"   // metric
	Effect   Word = "effect"   // metric, change, resource

	Recommendation Word = "recommendation" // recommendation, resource
)

// Words lists all words.
var Words = []Word{Alert, Incident, Change, Resource, Step, Metric, Recommendation, Effect}

var variables = map[Word][]string{
	Alert:    {"alert", "incident"},
	Incident: {"incident"},
	Change:   {"change", "resource"},
	Resource: {"resource"},
	Step:     {"value", "alert"},
	Metric:   {"metric"},
	Effect:   {"metric", "change", "resource"},

	Recommendation: {"recommendation", "resource"},
}

// Limits of an expression.
const (
	// MaxCost bounds the work of one evaluation, in CEL cost units. A typical
	// condition costs under 100.
	MaxCost = 100_000
	// MaxLength bounds the text of an expression, in code points.
	MaxLength = 4096
	// assumed sizes of what a variable holds, for the static estimate
	assumedString = 256
	assumedItems  = 64
)

// Vars are the values an expression is evaluated on. Those its word does not
// name are ignored; those its word names and that are left nil read as empty.
type Vars struct {
	Alert    *ops.Alert
	Incident *ops.Incident
	Change   *ops.Change
	Resource *ops.Resource
	Metric   *Series
	// Recommendation is what a rule for recommendations looks at.
	Recommendation *ops.Recommendation
	Value          float64
}

// Series is what an expression about a metric sees of one of its series.
type Series struct {
	// Name is the metric, as its sender spells it.
	Name string `json:"name"`
	// Unit is the unit, as its sender says it; empty where it does not.
	Unit string `json:"unit"`
	// Labels tell the series of one metric apart.
	Labels map[string]string `json:"labels"`
}

// Program is a compiled expression.
type Program struct {
	word Word
	text string
	prog cel.Program

	labels []labelled
}

// String returns the expression as it was written.
func (p *Program) String() string { return p.text }

// environment builds the environment of a word the first time it is needed.
// It is a constant that is costly to make, about a millisecond.
var environment = func() map[Word]func() (*cel.Env, error) {
	out := map[Word]func() (*cel.Env, error){}
	for _, w := range Words {
		out[w] = sync.OnceValues(func() (*cel.Env, error) { return newEnvironment(w) })
	}
	return out
}()

func newEnvironment(w Word) (*cel.Env, error) {
	base, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	n := nouns{Registry: base}
	opts := []cel.EnvOption{
		cel.StdLib(),
		cel.CustomTypeAdapter(n),
		cel.CustomTypeProvider(n),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(MaxLength),
		cel.ParserRecursionLimit(64),
	}
	for _, v := range variables[w] {
		opts = append(opts, cel.Variable(v, variableTypes[v]))
	}
	return cel.NewCustomEnv(opts...)
}

// Compile checks and compiles an expression that must yield true or false.
// The error wraps ops.ErrInvalid and names the expression, the position and,
// for a name that does not exist, the nearest one that does.
func Compile(word Word, text string) (*Program, error) {
	build, ok := environment[word]
	if !ok {
		return nil, fmt.Errorf("policy: no expressions are about %q, only about %v: %w", word, Words, ops.ErrInternal)
	}
	env, err := build()
	if err != nil {
		return nil, fmt.Errorf("policy: build the environment of %s: %w: %w", word, err, ops.ErrInternal)
	}
	if strings.TrimSpace(text) == "" {
		return nil, fmt.Errorf("policy: an expression about %s is empty; write true if it always holds: %w", word, ops.ErrInvalid)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, explain(word, text, issues)
	}
	if ast.OutputType() != types.BoolType {
		return nil, fmt.Errorf("policy: %q gives %s, not true or false: %w", text, ast.OutputType(), ops.ErrInvalid)
	}
	estimate, err := env.EstimateCost(ast, sizes{})
	if err != nil {
		return nil, fmt.Errorf("policy: estimate the cost of %q: %w: %w", text, err, ops.ErrInvalid)
	}
	if estimate.Max > MaxCost {
		return nil, fmt.Errorf("policy: %q may cost %d units, the limit is %d; nest fewer loops: %w", text, estimate.Max, MaxCost, ops.ErrInvalid)
	}
	prog, err := env.Program(ast, cel.CostLimit(MaxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("policy: compile %q: %w: %w", text, err, ops.ErrInvalid)
	}
	return &Program{word: word, text: text, prog: prog, labels: decisive(ast.NativeRep().Expr())}, nil
}

// Match evaluates the program. An error (a division by zero, a list index out
// of range, a comparison with a value that is not there) wraps ops.ErrInvalid
// and is the configuration's fault; callers treat it as the safe answer of
// their question and say so.
func (p *Program) Match(v Vars) (bool, error) {
	if p.refused(or(v.Resource, noResource)) {
		return false, nil
	}
	out, _, err := p.prog.Eval(activation{v})
	if err != nil {
		return false, fmt.Errorf("policy: evaluate %q: %w: %w", p.text, err, ops.ErrInvalid)
	}
	b, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("policy: %q gave %v, not true or false: %w", p.text, out.Value(), ops.ErrInvalid)
	}
	return b, nil
}

// activation hands the variables to CEL without a map.
type activation struct{ v Vars }

var _ interpreter.Activation = activation{}

var (
	noAlert    = &ops.Alert{}
	noIncident = &ops.Incident{}
	noResource = &ops.Resource{}
	noChange   = &ops.Change{}
	noSeries   = &Series{}

	noRecommendation = &ops.Recommendation{}
)

func (a activation) ResolveName(name string) (any, bool) {
	switch name {
	case "alert":
		return or(a.v.Alert, noAlert), true
	case "incident":
		return or(a.v.Incident, noIncident), true
	case "resource":
		return or(a.v.Resource, noResource), true
	case "change":
		return &changeView{Change: or(a.v.Change, noChange), Resource: or(a.v.Resource, noResource)}, true
	case "metric":
		return or(a.v.Metric, noSeries), true
	case "recommendation":
		return or(a.v.Recommendation, noRecommendation), true
	case "value":
		return a.v.Value, true
	}
	return nil, false
}

func (activation) Parent() interpreter.Activation { return nil }

func or[T any](p, q *T) *T {
	if p == nil {
		return q
	}
	return p
}

// explain turns the compiler's findings into one error.
func explain(word Word, text string, issues *cel.Issues) error {
	var faults []error
	for _, e := range issues.Errors() {
		message := e.Message
		if name, ok := quoted(message, "undefined field '"); ok {
			message = fmt.Sprintf("there is no field %q", name)
			if near := nearest(name, fieldNames(word)); near != "" {
				message += fmt.Sprintf(", did you mean %q", near)
			}
		} else if name, ok := quoted(message, "undeclared reference to '"); ok {
			message = fmt.Sprintf("there is no %q here", name)
			if near := nearest(name, variables[word]); near != "" {
				message += fmt.Sprintf(", did you mean %q", near)
			} else {
				message += fmt.Sprintf(", only %s", strings.Join(variables[word], ", "))
			}
		}
		faults = append(faults, fmt.Errorf("policy: %q at %d:%d: %s", text, e.Location.Line(), e.Location.Column()+1, message))
	}
	return fmt.Errorf("%w: %w", errors.Join(faults...), ops.ErrInvalid)
}

func quoted(message, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(message, prefix)
	if !ok {
		return "", false
	}
	name, _, ok := strings.Cut(rest, "'")
	return name, ok
}

// nearest returns the known name that is fewest edits away, at most a third of
// the name's length, empty when none is that near.
func nearest(name string, known []string) string {
	best, least := "", max(1, len(name)/3)+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is the number of single-letter edits between two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

// sizes bounds what the static cost estimate assumes of the variables.
type sizes struct{}

func (sizes) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	if s := node.ComputedSize(); s != nil {
		return s
	}
	switch node.Type().Kind() {
	case types.StringKind, types.BytesKind:
		return &cost.SizeEstimate{Max: assumedString}
	case types.ListKind, types.MapKind:
		return &cost.SizeEstimate{Max: assumedItems}
	}
	return nil
}

func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}
