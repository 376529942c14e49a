package config

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/internal/strictyaml"
)

// Setting is one value of the configuration in force.
type Setting struct {
	// Path is the key, for example platforms[0].sync.every.
	Path string `json:"path"`
	// Value is what is in force, as it is written in the file.
	Value string `json:"value"`
	// Source is "default" or file:line.
	Source string `json:"source"`
}

// Explain returns every setting in force, sorted by section as in the file's
// reference, with where it came from. It shows references to secrets, never secrets.
func (c *Config) Explain() []Setting {
	var out []Setting
	c.walk(func(path string, v reflect.Value, _ string) {
		out = append(out, Setting{path, display(v), c.source(path)})
	}, func(l strictyaml.Leaf) {
		out = append(out, Setting{l.Path, l.Value, l.At.File + ":" + strconv.Itoa(l.At.Line)})
	})
	return out
}

// source says where the value at path was written, directly or with what holds it.
func (c *Config) source(path string) string {
	if p, ok := c.places[path]; ok {
		return p.File + ":" + strconv.Itoa(p.Line)
	}
	return "default"
}

// Digest returns the SHA-256, in hexadecimal, over the settings in force. Equal
// settings give equal digests, however the file is laid out and whether a default is
// written out. References to secrets count, secrets do not.
//
// It covers every section but those named by their keys, for example "server".
// It walks the whole configuration: keep what it returns.
func (c *Config) Digest(except ...string) string {
	var lines []Setting
	add := func(path, value string) {
		section, _, _ := strings.Cut(path, ".")
		section, _, _ = strings.Cut(section, "[")
		if !slices.Contains(except, section) {
			lines = append(lines, Setting{Path: path, Value: value})
		}
	}
	c.walk(func(path string, _ reflect.Value, canonical string) { add(path, canonical) },
		func(l strictyaml.Leaf) { add(l.Path, l.Value) })
	slices.SortFunc(lines, func(a, b Setting) int { return cmp.Compare(a.Path, b.Path) })
	h := sha256.New()
	// JSON strings keep "a", "b=c" apart from "a=b", "c"; a hash takes any write.
	_ = json.NewEncoder(h).Encode(lines)
	return hex.EncodeToString(h.Sum(nil))
}

// References returns every secret reference of the file, so that a check can try to
// resolve them all. Those in drivers' subtrees are found by their form.
func (c *Config) References() []secret.Ref {
	var out []secret.Ref
	seen := map[string]bool{}
	add := func(r secret.Ref) {
		if !r.IsZero() && !seen[r.Source+" "+r.String()] {
			seen[r.Source+" "+r.String()] = true
			out = append(out, r)
		}
	}
	c.walk(func(_ string, v reflect.Value, _ string) {
		if r, ok := v.Interface().(secret.Ref); ok {
			add(r)
		}
	}, nil)
	for _, r := range c.raws() {
		for _, ref := range r.References() {
			add(ref)
		}
	}
	return out
}

func (c *Config) raws() []Raw {
	var out []Raw
	for _, x := range c.Integrations {
		out = append(out, x.Auth, x.Options)
	}
	for _, x := range c.Platforms {
		out = append(out, x.Auth, x.Options)
	}
	for _, x := range c.Executors {
		out = append(out, x.Options)
	}
	return out
}

// walk calls leaf for every typed value in force and raw for every value of a
// driver's subtree. canonical is the same text for equal values.
func (c *Config) walk(leaf func(path string, v reflect.Value, canonical string), raw func(strictyaml.Leaf)) {
	var down func(path string, v reflect.Value)
	down = func(path string, v reflect.Value) {
		if v.Kind() == reflect.Pointer {
			if !v.IsNil() {
				down(path, v.Elem())
			}
			return
		}
		if r, ok := v.Interface().(Raw); ok {
			if raw != nil && !r.IsZero() {
				for _, l := range r.Leaves() {
					raw(l)
				}
			}
			return
		}
		if _, ok := v.Interface().(encoding.TextMarshaler); ok {
			leaf(path, v, canonical(v))
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for _, f := range strictyaml.Fields(v.Type()) {
				p := strictyaml.Join(path, f.Name)
				if f.Rest {
					p = path
				}
				down(p, v.FieldByIndex(f.Index))
			}
		case reflect.Slice:
			if v.Len() == 0 {
				leaf(path, v, "[]")
			}
			for i := range v.Len() {
				down(at(path, i), v.Index(i))
			}
		case reflect.Map:
			if v.Len() == 0 {
				leaf(path, v, "{}")
			}
			keys := v.MapKeys()
			slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
			for _, k := range keys {
				down(strictyaml.Join(path, k.String()), v.MapIndex(k))
			}
		default:
			leaf(path, v, canonical(v))
		}
	}
	down("", reflect.ValueOf(*c))
}

func canonical(v reflect.Value) string {
	if d, ok := v.Interface().(Duration); ok {
		return d.Canonical()
	}
	return display(v)
}

func display(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Slice:
		return "[]"
	case reflect.Map:
		return "{}"
	}
	return fmt.Sprint(v.Interface())
}

//go:embed example.yaml
var example []byte

//go:embed schema.json
var schema []byte

// Example returns the commented file that fettle config init writes. It loads,
// validates and names every key.
func Example() []byte { return slices.Clone(example) }

// Schema returns the JSON Schema (2020-12) of the file, for editors. It is generated
// from the types and comments of this package.
func Schema() []byte { return slices.Clone(schema) }
