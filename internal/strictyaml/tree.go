// Package strictyaml decodes YAML that people write. It is stricter than YAML:
// unknown keys, duplicate keys, anchors, aliases, tags and second documents are
// faults, as is text where a number belongs and the reverse. It reports every fault
// with file, line, column and path, and keeps subtrees undecoded (Raw) for those who
// know their shape.
package strictyaml

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// MaxBytes bounds a document.
	MaxBytes = 8 << 20
	// maxDepth bounds nesting: the parser recurses.
	maxDepth = 64
)

type kind int

const (
	kindNull kind = iota
	kindText
	kindNumber
	kindBool
	kindMap
	kindList
	// kindBroken was reported when the tree was built; decoding it adds nothing.
	kindBroken
)

func (k kind) String() string {
	return [...]string{"nothing", "text", "a number", "true or false", "a mapping", "a list", "what cannot be read"}[k]
}

// node is the part of the YAML tree that strict files may use.
type node struct {
	kind kind
	// text is the scalar as decoded; quoted tells "1" from 1.
	text      string
	line, col int
	// keys and items run in parallel in a map; a list has items only.
	keys  []key
	items []*node
}

type key struct {
	name      string
	line, col int
}

// Position is a place in a file. Line and Col count from 1; Line 0 is unknown.
type Position struct {
	File      string
	Line, Col int
}

// String returns file:line:col, or the file alone when the line is unknown.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Col)
}

// Parse reads one document. An empty one gives an empty Raw. The faults are those of
// the notation, all that could be found; on a fault the Raw still holds what could be
// read, so that a caller may go on to report more.
func Parse(file string, data []byte) (Raw, Faults) {
	b := &builder{file: file}
	root := b.parse(data)
	return Raw{file: file, node: root}, b.faults
}

type builder struct {
	file   string
	faults Faults
}

func (b *builder) fault(path string, line, col int, format string, args ...any) {
	b.faults = append(b.faults, &Fault{Position{b.file, line, col}, path, fmt.Sprintf(format, args...)})
}

func (b *builder) parse(data []byte) (root *node) {
	if len(data) > MaxBytes {
		b.fault("", 0, 0, "the file has %d bytes; at most %d are read", len(data), MaxBytes)
		return nil
	}
	// The library is bounded by what was found when it was fuzzed, not by a promise.
	defer func() {
		if r := recover(); r != nil {
			b.fault("", 0, 0, "cannot be parsed as YAML")
			root = nil
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if line, col, ok := tooDeep(tokens); ok {
		b.fault("", line, col, "nested deeper than %d", maxDepth)
		return nil
	}
	f, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) && syntax.Token != nil {
			at := syntax.Token.Position
			b.fault("", at.Line, max(at.Column, 1), "%s", syntax.Message)
		} else {
			b.fault("", 0, 0, "%s", err)
		}
		return nil
	}
	for _, d := range f.Docs {
		if d.Body == nil {
			continue
		}
		if root != nil {
			at := (&builder{}).build(d.Body, "", 0)
			b.fault("", at.line, at.col, "a second document; a file holds one, remove the --- before it")
			break
		}
		root = b.build(d.Body, "", 0)
	}
	return root
}

// tooDeep finds nesting by the tokens alone, before anything recurses. Block nesting
// needs indentation, so only flow brackets and "- - -" on one line can be abused.
func tooDeep(tokens token.Tokens) (line, col int, found bool) {
	depth, entries, last := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			if t.Position.Line != last {
				entries, last = 0, t.Position.Line
			}
			entries++
		}
		if depth > maxDepth || entries > maxDepth {
			return t.Position.Line, t.Position.Column, true
		}
	}
	return 0, 0, false
}

func (b *builder) build(n ast.Node, path string, depth int) *node {
	tok := n.GetToken()
	out := &node{line: tok.Position.Line, col: max(tok.Position.Column, 1), text: tok.Value}
	if depth > maxDepth {
		out.kind = kindBroken
		b.fault(path, out.line, out.col, "nested deeper than %d", maxDepth)
		return out
	}
	switch n := n.(type) {
	case *ast.NullNode:
		out.kind = kindNull
	case *ast.StringNode:
		out.kind, out.text = kindText, n.Value
	case *ast.LiteralNode:
		out.kind, out.text = kindText, n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.kind = kindNumber
	case *ast.BoolNode:
		out.kind = kindBool
	case *ast.MappingNode:
		out.kind = kindMap
		if n.IsFlowStyle {
			out.line, out.col = n.Start.Position.Line, n.Start.Position.Column
		}
		b.mapping(out, n.Values, path, depth)
	case *ast.MappingValueNode:
		out.kind = kindMap
		b.mapping(out, []*ast.MappingValueNode{n}, path, depth)
	case *ast.SequenceNode:
		out.kind = kindList
		for i, v := range n.Values {
			out.items = append(out.items, b.build(v, path+"["+strconv.Itoa(i)+"]", depth+1))
		}
	case *ast.AnchorNode, *ast.AliasNode:
		out.kind = kindBroken
		b.fault(path, out.line, out.col, "anchors and aliases are not read; write the value out")
	case *ast.TagNode:
		out.kind = kindBroken
		b.fault(path, out.line, out.col, "the tag %s is not read; remove it", tok.Value)
	default:
		out.kind = kindBroken
		b.fault(path, out.line, out.col, "%q is not read here", tok.Value)
	}
	return out
}

func (b *builder) mapping(out *node, values []*ast.MappingValueNode, path string, depth int) {
	seen := map[string]int{}
	for i, v := range values {
		kt := v.Key.GetToken()
		line, col := kt.Position.Line, max(kt.Position.Column, 1)
		if i == 0 && (out.line > line || out.line == line && out.col > col) {
			// A block mapping's token is its first colon; people look at the key.
			out.line, out.col = line, col
		}
		var name string
		switch k := v.Key.(type) {
		case *ast.StringNode:
			name = k.Value
		case *ast.MergeKeyNode:
			b.fault(path, line, col, "the merge key << is not read; write the keys out")
			continue
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
			// A label may be called 1 or on; as a key it can only be text.
			name = kt.Value
		default:
			b.fault(path, line, col, "this key is not read; write plain text before the colon")
			continue
		}
		if first, dup := seen[name]; dup {
			b.fault(Join(path, name), line, col, "duplicate key %q; it is first given in line %d", name, first)
			continue
		}
		seen[name] = line
		child := b.build(v.Value, Join(path, name), depth+1)
		if child.kind == kindNull && child.text == "null" && child.line == line && child.col < col+len(name) {
			child.col = col
		}
		out.keys = append(out.keys, key{name, line, col})
		out.items = append(out.items, child)
	}
}

// get returns the value under name, or nil.
func (n *node) get(name string) (*node, key) {
	if n != nil && n.kind == kindMap {
		for i, k := range n.keys {
			if k.name == name {
				return n.items[i], k
			}
		}
	}
	return nil, key{}
}

// Join appends a key to a path: a.b, or a["b.c"] when the key is not a plain word.
func Join(path, name string) string {
	plain := name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && r != '/' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	switch {
	case !plain:
		return path + "[" + strconv.Quote(name) + "]"
	case path == "":
		return name
	}
	return path + "." + name
}
