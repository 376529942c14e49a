package bootstrap

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// matcher is one condition of a selector.
type matcher struct{ label, op, value string }

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*`)
	condition  = regexp.MustCompile("^\\s*([a-zA-Z_][a-zA-Z0-9_.]*|\"(?:[^\"\\\\]|\\\\.)*\")\\s*(=~|!~|!=|=)\\s*(\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`|'(?:[^'\\\\]|\\\\.)*')\\s*(,|$)")
)

// Selector returns the series selector of a metric, whatever its name is.
func Selector(metric string) string { return "{__name__=" + strconv.Quote(metric) + "}" }

// parseSelector reads a series selector as PromQL has it: a metric name,
// conditions in braces, or both.
func parseSelector(s string) ([]matcher, error) {
	wrong := func() ([]matcher, error) {
		return nil, fmt.Errorf("selector %q: write it like node_load1{job=\"node\"}: %w", s, ops.ErrInvalid)
	}
	var out []matcher
	rest := strings.TrimSpace(s)
	if name := metricName.FindString(rest); name != "" {
		out = append(out, matcher{"__name__", "=", name})
		rest = strings.TrimSpace(rest[len(name):])
	}
	if rest == "" && len(out) > 0 {
		return out, nil
	}
	if len(rest) < 2 || rest[0] != '{' || rest[len(rest)-1] != '}' {
		return wrong()
	}
	rest = strings.TrimSpace(rest[1 : len(rest)-1])
	for rest != "" {
		m := condition.FindStringSubmatch(rest)
		if m == nil {
			return wrong()
		}
		label, value := m[1], m[3]
		var err error
		if label[0] == '"' {
			if label, err = strconv.Unquote(label); err != nil {
				return wrong()
			}
		}
		if value[0] == '\'' { // Go's quotes of this kind hold one character
			value = `"` + strings.ReplaceAll(strings.ReplaceAll(value[1:len(value)-1], `\'`, `'`), `"`, `\"`) + `"`
		}
		if value, err = strconv.Unquote(value); err != nil {
			return wrong()
		}
		out = append(out, matcher{label, m[2], value})
		rest = rest[len(m[0]):]
	}
	if len(out) == 0 {
		return wrong()
	}
	return out, nil
}
