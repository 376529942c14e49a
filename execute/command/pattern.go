package command

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// pattern is an allowed argument vector, word by word.
type pattern []word

// word is literal text, or a named argument with what it may be.
type word struct {
	literal string
	name    string
	allow   *regexp.Regexp // nil for a literal and for a reference
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// parse reads a pattern. With a command given, names refer to its arguments;
// without one, they declare them.
func parse(s string, command pattern) (pattern, error) {
	parts, err := split(s)
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 || !filepath.IsAbs(parts[0]) || filepath.Clean(parts[0]) != parts[0] {
		return nil, errors.New("the first word must be a clean absolute path, like /usr/bin/systemctl")
	}
	var out pattern
	declared := map[string]bool{}
	for _, w := range command {
		declared[w.name] = w.name != ""
	}
	for _, p := range parts {
		if !strings.HasPrefix(p, "{") {
			if strings.ContainsAny(p, "{}*") {
				return nil, fmt.Errorf("word %q: an argument that varies is written {name:regexp} and is a word of its own", p)
			}
			out = append(out, word{literal: p})
			continue
		}
		name, expr, hasExpr := strings.Cut(p[1:len(p)-1], ":")
		if !nameForm.MatchString(name) {
			return nil, fmt.Errorf("word %q: the name must match %s", p, nameForm)
		}
		if command != nil {
			if hasExpr || !declared[name] {
				return nil, fmt.Errorf("word %q: write {name} with a name the command declares", p)
			}
			out = append(out, word{name: name})
			continue
		}
		if !hasExpr || expr == "" {
			return nil, fmt.Errorf("word %q: say what %s may be: {%s:regexp}", p, name, name)
		}
		if declared[name] {
			return nil, fmt.Errorf("word %q: %s is declared twice", p, name)
		}
		declared[name] = true
		re, err := regexp.Compile(`\A(?:` + expr + `)\z`)
		if err != nil {
			return nil, fmt.Errorf("word %q: %w", p, err)
		}
		out = append(out, word{name: name, allow: re})
	}
	return out, nil
}

// split separates words at spaces outside of braces.
func split(s string) ([]string, error) {
	var out []string
	depth, start := 0, -1
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && depth > 0:
			i++
		case c == '{':
			depth++
		case c == '}':
			depth--
		}
		if depth < 0 {
			return nil, errors.New("a } without its {")
		}
		space := i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n') && depth == 0
		switch {
		case space && start >= 0:
			out, start = append(out, s[start:i]), -1
		case !space && start < 0:
			start = i
		}
	}
	if depth != 0 {
		return nil, errors.New("a { without its }")
	}
	if start >= 0 {
		out = append(out, s[start:])
	}
	for _, w := range out {
		if strings.HasPrefix(w, "{") && !strings.HasSuffix(w, "}") {
			return nil, fmt.Errorf("word %q: nothing may follow the } of an argument", w)
		}
	}
	return out, nil
}

// match reports whether argv is allowed, with its named arguments.
func (p pattern) match(argv []string) (map[string]string, bool) {
	if len(argv) != len(p) {
		return nil, false
	}
	values := map[string]string{}
	for i, w := range p {
		switch {
		case w.name == "":
			if argv[i] != w.literal {
				return nil, false
			}
		case w.refuses(argv[i]):
			return nil, false
		default:
			values[w.name] = argv[i]
		}
	}
	return values, true
}

// refuses reports whether v may not stand here. A value with a leading "-"
// would be an option the rule's author did not think of.
func (w word) refuses(v string) bool {
	return strings.HasPrefix(v, "-") || strings.ContainsRune(v, 0) || !w.allow.MatchString(v)
}

// fill puts arguments in the places of the named words, in order.
func (p pattern) fill(args []string) ([]string, map[string]string, error) {
	argv, values := make([]string, 0, len(p)), map[string]string{}
	for _, w := range p {
		if w.name == "" {
			argv = append(argv, w.literal)
			continue
		}
		if len(args) == 0 {
			return nil, nil, fmt.Errorf("argument %s is missing", w.name)
		}
		if w.refuses(args[0]) {
			return nil, nil, fmt.Errorf("argument %s is %q, which is not allowed there", w.name, args[0])
		}
		argv, values[w.name], args = append(argv, args[0]), args[0], args[1:]
	}
	if len(args) > 0 {
		return nil, nil, fmt.Errorf("%d arguments too many", len(args))
	}
	return argv, values, nil
}

// render returns the argument vector of a rollback or check.
func (p pattern) render(values map[string]string) []string {
	argv := make([]string, 0, len(p))
	for _, w := range p {
		if w.name != "" {
			argv = append(argv, values[w.name])
			continue
		}
		argv = append(argv, w.literal)
	}
	return argv
}
