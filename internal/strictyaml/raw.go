package strictyaml

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/internal/secret"
)

// Raw is a subtree that was not decoded. It remembers where it stands, so that
// whoever decodes it reports faults as the rest of the file does. The zero Raw is
// "nothing was written". A Raw is never changed and may be shared.
type Raw struct {
	file, path string
	node       *node
}

// IsZero reports whether nothing was written.
func (r Raw) IsZero() bool {
	return r.node == nil || r.node.kind == kindMap && len(r.node.keys) == 0
}

// Position returns where the subtree stands; the zero Position when it was not written.
func (r Raw) Position() Position {
	if r.node == nil {
		return Position{File: r.file}
	}
	return Position{r.file, r.node.line, r.node.col}
}

// Decode fills the struct v points to. Defaults methods of v and of the structs in it
// run first, Validate methods of each that decoded without a fault run after. Unknown
// keys, missing required keys and wrong types are faults; the error is a Faults with
// all of them. When nothing was written, v gets its defaults and is checked as an
// empty mapping.
func (r Raw) Decode(v any) error {
	SetDefaults(v)
	if r.node == nil {
		r.node = &node{kind: kindMap}
	}
	_, faults := Decode(r, v)
	return faults.Err()
}

// Fault returns a fault at a key below the subtree, for checks that come after
// decoding. A key is a path such as oauth.client_id; the place is that of the
// deepest part of it that was written.
func (r Raw) Fault(path, format string, args ...any) *Fault {
	at, full := r.Position(), r.path
	n := r.node
	for _, part := range strings.FieldsFunc(path, func(c rune) bool { return c == '.' || c == '[' || c == ']' }) {
		if i, err := strconv.Atoi(part); err == nil && n != nil && n.kind == kindList {
			full += "[" + part + "]"
			if n = n.index(i); n != nil {
				at = Position{r.file, n.line, n.col}
			}
			continue
		}
		full = Join(full, part)
		var k key
		if n, k = n.get(part); n != nil {
			at = Position{r.file, k.line, k.col}
		}
	}
	return &Fault{at, full, fmt.Sprintf(format, args...)}
}

func (n *node) index(i int) *node {
	if i < 0 || i >= len(n.items) {
		return nil
	}
	return n.items[i]
}

// Leaf is one value of a file.
type Leaf struct {
	// Path is the full key.
	Path string
	// Value is the value as people read it; a secret written plainly is masked.
	Value string
	// At is where it stands.
	At Position
}

// Leaves returns every scalar below, in the order of the paths; an empty list or
// mapping is a leaf too.
func (r Raw) Leaves() []Leaf {
	var out []Leaf
	r.walk(func(name, path string, n *node) {
		v := n.text
		switch {
		case n.kind == kindMap:
			v = "{}"
		case n.kind == kindList:
			v = "[]"
		case n.kind == kindNull:
			v = "null"
		case n.kind == kindText && secretName(name) && !reference(v):
			v = redact.Mask
		}
		out = append(out, Leaf{path, v, Position{r.file, n.line, n.col}})
	})
	slices.SortFunc(out, func(a, b Leaf) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// References returns the secret references below, as far as they can be told from
// other text: env:NAME and file:/ABSOLUTE in whole.
func (r Raw) References() []secret.Ref {
	var out []secret.Ref
	r.walk(func(_, _ string, n *node) {
		if n.kind == kindText && reference(n.text) {
			if ref, err := secret.Parse(n.text); err == nil {
				ref.Source = Position{r.file, n.line, n.col}.String()
				out = append(out, ref)
			}
		}
	})
	return out
}

// PlainSecrets returns a fault for every key named like a secret (password, token,
// client_secret ...) whose value is text but no reference. It catches what a driver
// would refuse, before the driver is asked.
func (r Raw) PlainSecrets() Faults {
	var out Faults
	r.walk(func(name, path string, n *node) {
		if n.kind == kindText && secretName(name) {
			if _, err := secret.Parse(n.text); err != nil {
				out = append(out, &Fault{Position{r.file, n.line, n.col}, path, err.Error()})
			}
		}
	})
	return out
}

// walk calls f for every scalar and every empty list or mapping below. name is the
// nearest key; the items of a list have that of the list.
func (r Raw) walk(f func(name, path string, n *node)) {
	var down func(name, path string, n *node)
	down = func(name, path string, n *node) {
		switch {
		case n.kind == kindMap && len(n.items) > 0:
			for i, k := range n.keys {
				down(k.name, Join(path, k.name), n.items[i])
			}
		case n.kind == kindList && len(n.items) > 0:
			for i, item := range n.items {
				down(name, path+"["+strconv.Itoa(i)+"]", item)
			}
		default:
			f(name, path, n)
		}
	}
	if r.node != nil {
		down("", r.path, r.node)
	}
}

var (
	referencePattern  = regexp.MustCompile(`^(env:[A-Za-z_][A-Za-z0-9_]*|file:(/[^/\x00]|[A-Za-z]:)[^\x00]*)$`)
	secretNamePattern = regexp.MustCompile(`^(.*_)?(password|passphrase|secret|token|api_key|private_key|access_key|bearer)$`)
)

func reference(s string) bool { return referencePattern.MatchString(s) }

func secretName(name string) bool { return secretNamePattern.MatchString(strings.ToLower(name)) }

// Entry is one key of a mapping with what stands under it.
type Entry struct {
	Name  string
	Value Raw
}

// Entries returns the keys of a mapping in the order of the file; nil when it is
// none.
func (r Raw) Entries() []Entry {
	if r.node == nil || r.node.kind != kindMap {
		return nil
	}
	var out []Entry
	for i, k := range r.node.keys {
		out = append(out, Entry{k.name, Raw{file: r.file, path: Join(r.path, k.name), node: r.node.items[i]}})
	}
	return out
}

// Text returns the text of a scalar that is one, and false for anything else. It
// may be a secret that was written plainly.
func (r Raw) Text() (string, bool) {
	if r.node == nil || r.node.kind != kindText {
		return "", false
	}
	return r.node.text, true
}
