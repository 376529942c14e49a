package config_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/internal/strictyaml"
)

var update = flag.Bool("update", false, "write the golden files")

// comments returns the text over each field, by "Struct.Field", from the sources.
func comments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					for _, id := range field.Names {
						out[spec.Name.Name+"."+id.Name] = strings.TrimSpace(field.Doc.Text())
					}
				}
			}
			return true
		})
	}
	return out
}

// patterns describe the values that are written as text with a form of their own.
var patterns = map[reflect.Type]map[string]any{
	reflect.TypeFor[config.Duration](): {"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(w|d|h|m|s|ms|us|µs|ns))+$`, "examples": []string{"30s", "5m", "72h", "30d"}},
	reflect.TypeFor[config.Size]():     {"type": "string", "pattern": `^[0-9]+(GiB|MiB|KiB|GB|MB|kB|B)$`, "examples": []string{"64MiB"}},
	reflect.TypeFor[config.Rate]():     {"type": "string", "pattern": `^[0-9]+/.+$`, "examples": []string{"10/h"}},
	reflect.TypeFor[config.Percent]():  {"type": "string", "pattern": `^[0-9.]+%$`, "examples": []string{"5%"}},
	reflect.TypeFor[config.Zone]():     {"type": "string", "examples": []string{"UTC", "Europe/Berlin"}},
	reflect.TypeFor[config.Clock]():    {"type": "string", "pattern": `^([01][0-9]|2[0-3]):[0-5][0-9]$`, "examples": []string{"19:00"}},
	reflect.TypeFor[config.Civil]():    {"type": "string", "pattern": `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?$`, "examples": []string{"2026-12-20T00:00"}},
	reflect.TypeFor[secret.Ref]():      {"type": "string", "pattern": `^(env|file):.+$`, "examples": []string{"env:NAME", "file:/path"}},
	reflect.TypeFor[config.Raw]():      {},
}

func describe(t *testing.T, typ reflect.Type, def reflect.Value, docs map[string]string) map[string]any {
	if p, ok := patterns[typ]; ok {
		out := map[string]any{}
		for k, v := range p {
			out[k] = v
		}
		if text, ok := def.Interface().(fmt.Stringer); ok && !def.IsZero() {
			out["default"] = text.String()
		}
		return out
	}
	if reflect.PointerTo(typ).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		t.Fatalf("%s: patterns does not know how this text is written", typ)
	}
	scalar := func(kind string) map[string]any {
		out := map[string]any{"type": kind}
		if !def.IsZero() {
			out["default"] = def.Interface()
		}
		return out
	}
	switch typ.Kind() {
	case reflect.String:
		return scalar("string")
	case reflect.Bool:
		return scalar("boolean")
	case reflect.Int:
		return scalar("integer")
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Pointer:
		v := reflect.New(typ.Elem())
		strictyaml.SetDefaults(v.Interface())
		return describe(t, typ.Elem(), v.Elem(), docs)
	case reflect.Slice:
		v := reflect.New(typ.Elem())
		strictyaml.SetDefaults(v.Interface())
		list := map[string]any{"type": "array", "items": describe(t, typ.Elem(), v.Elem(), docs)}
		if reflect.PointerTo(typ).Implements(reflect.TypeFor[strictyaml.Single]()) {
			return map[string]any{"anyOf": []any{map[string]any{"type": "string"}, list}}
		}
		return list
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": describe(t, typ.Elem(), reflect.Zero(typ.Elem()), docs)}
	case reflect.Struct:
		props, open := map[string]any{}, false
		var required []string
		for _, f := range strictyaml.Fields(typ) {
			sf := typ.FieldByIndex(f.Index)
			if f.Rest {
				open = true
				continue
			}
			p := describe(t, sf.Type, def.FieldByIndex(f.Index), docs)
			doc := docs[typ.Name()+"."+sf.Name]
			if !strings.HasSuffix(doc, ".") {
				t.Errorf("%s.%s: the comment is missing or does not end in a full stop", typ.Name(), sf.Name)
			}
			if !f.Required && p["default"] == nil && sf.Type.Kind() != reflect.Struct && !strings.Contains(doc, "Default: ") && !strings.Contains(doc, "Needed unless") && !strings.Contains(doc, "Required unless") && typ.Name()+"."+sf.Name != "Integration.Auth" {
				t.Errorf("%s.%s: the comment does not name the default", typ.Name(), sf.Name)
			}
			p["description"] = strings.ReplaceAll(doc, "\n", " ")
			if len(f.Enum) > 0 {
				p["enum"] = f.Enum
			}
			if f.Required {
				required = append(required, f.Name)
			}
			props[f.Name] = p
		}
		out := map[string]any{"type": "object", "properties": props, "additionalProperties": open}
		if required != nil {
			out["required"] = required
		}
		return out
	}
	t.Fatalf("%s: cannot be described", typ)
	return nil
}

func TestSchema(t *testing.T) {
	s := describe(t, reflect.TypeFor[config.Config](), reflect.ValueOf(*config.Default()), comments(t))
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Fettle configuration"
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema.json", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(b.Bytes(), config.Schema()) {
		t.Error("schema.json is not what the types say; run go test ./config -run TestSchema -update")
	}
}

// TestExampleNamesEveryKey loads the file as it is, and again with every comment that
// shows a form turned into a setting, and wants each key of every type in it.
func TestExampleNamesEveryKey(t *testing.T) {
	if _, err := config.Load("example.yaml", config.Example()); err != nil {
		t.Errorf("as written:\n%v", err)
	}
	full := uncomment(string(config.Example()))
	c, err := config.Load("example.yaml", []byte(full))
	if err != nil {
		t.Fatalf("with everything in:\n%v\n%s", err, full)
	}
	if len(c.Runbooks) != 1 || len(c.Freezes) == 0 || len(c.Detect.Rules) != 1 || c.Server.TLS == nil {
		t.Fatal("uncommenting lost something")
	}
	var check func(path string, typ reflect.Type)
	check = func(path string, typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		for _, f := range strictyaml.Fields(typ) {
			if f.Rest {
				continue
			}
			p := strictyaml.Join(path, f.Name)
			if !config.Sets(c, p) {
				t.Errorf("example.yaml does not show %s", p)
			}
			check(p, typ.FieldByIndex(f.Index).Type)
		}
	}
	check("", reflect.TypeFor[config.Config]())
}

// uncomment turns "# key:" and "#   - key" lines into settings and leaves prose alone:
// the file's head is prose and ends at the first empty line.
func uncomment(s string) string {
	head, body, _ := strings.Cut(s, "\n\n")
	var out []string
	for line := range strings.Lines(body) {
		trimmed := strings.TrimLeft(line, " ")
		indent := line[:len(line)-len(trimmed)]
		if rest, ok := strings.CutPrefix(trimmed, "# "); ok {
			line = indent + rest
		}
		out = append(out, line)
	}
	return head + "\n\n" + strings.Join(out, "")
}
