package policy

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"

	"github.com/fettleops/fettle/ops"
)

// Condition is a compiled expression over the metrics of one resource, such as
//
//	cpu_utilization > 0.80
//	memory_utilization > 0.85 && trend.memory_utilization > 0.0
//
// A metric's name stands for its newest value, trend.NAME for its change per
// hour over the last quarter of an hour. Conditions are safe for concurrent use.
type Condition struct {
	text    string
	program cel.Program
	metrics []string
	trends  []string
}

// CompileCondition checks an expression over metrics. Every name that is not a
// function or trend is a metric, whether or not anybody measures it: a
// condition on a metric that never comes never holds.
func CompileCondition(text string) (*Condition, error) {
	fail := func(format string, args ...any) (*Condition, error) {
		return nil, fmt.Errorf("condition %q: %s: %w", text, fmt.Sprintf(format, args...), ops.ErrInvalid)
	}
	if strings.TrimSpace(text) == "" {
		return fail("is empty; write something like cpu_utilization > 0.80")
	}
	bare, err := cel.NewEnv()
	if err != nil {
		return nil, fmt.Errorf("condition environment: %w: %w", err, ops.ErrInternal)
	}
	parsed, issues := bare.Parse(text)
	if issues.Err() != nil {
		return fail("%s", firstLine(issues.Err()))
	}
	c := &Condition{text: text}
	ast.PreOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			if name := e.AsIdent(); name != "trend" && !slices.Contains(c.metrics, name) {
				c.metrics = append(c.metrics, name)
			}
		case ast.SelectKind:
			s := e.AsSelect()
			if s.Operand().Kind() == ast.IdentKind && s.Operand().AsIdent() == "trend" && !slices.Contains(c.trends, s.FieldName()) {
				c.trends = append(c.trends, s.FieldName())
			}
		}
	}))
	if len(c.metrics)+len(c.trends) == 0 {
		return fail("names no metric")
	}
	opts := []cel.EnvOption{cel.Variable("trend", cel.MapType(cel.StringType, cel.DoubleType))}
	for _, m := range c.metrics {
		opts = append(opts, cel.Variable(m, cel.DoubleType))
	}
	env, err := cel.NewEnv(opts...)
	if err != nil {
		return fail("%v", err)
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return fail("%s (numbers need a point: 80.0, not 80)", firstLine(issues.Err()))
	}
	if checked.OutputType() != cel.BoolType {
		return fail("gives %s, not true or false", checked.OutputType())
	}
	if c.program, err = env.Program(checked, cel.CostLimit(1000)); err != nil {
		return fail("%v", err)
	}
	return c, nil
}

func firstLine(err error) string {
	s, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "ERROR: "), "\n")
	return s
}

// String returns the expression as it was written.
func (c *Condition) String() string { return c.text }

// Metrics returns the names whose newest value the condition reads.
func (c *Condition) Metrics() []string { return c.metrics }

// Trends returns the names whose trend the condition reads.
func (c *Condition) Trends() []string { return c.trends }

// Holds reports whether the condition is true of these values and trends (by
// name, per hour). known is false when one it needs is missing.
func (c *Condition) Holds(values, trends map[string]float64) (holds, known bool, err error) {
	vars := make(map[string]any, len(c.metrics)+1)
	for _, m := range c.metrics {
		v, ok := values[m]
		if !ok {
			return false, false, nil
		}
		vars[m] = v
	}
	for _, m := range c.trends {
		if _, ok := trends[m]; !ok {
			return false, false, nil
		}
	}
	if trends == nil {
		trends = map[string]float64{}
	}
	vars["trend"] = trends
	out, _, err := c.program.Eval(vars)
	if err != nil {
		return false, false, fmt.Errorf("condition %q: %w: %w", c.text, err, ops.ErrInternal)
	}
	b, ok := out.Value().(bool)
	return ok && b, ok, nil
}
