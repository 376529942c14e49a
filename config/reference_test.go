package config_test

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/internal/strictyaml"
)

//go:generate go test -run ^(TestSchema|TestReferenceIsCurrent)$ -update .

// TestReferenceIsCurrent compares docs/configuration.md with the types and
// their comments, by way of the schema.
func TestReferenceIsCurrent(t *testing.T) {
	const name = "../docs/configuration.md"
	want := reference(t)
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the types say; run make generate", name)
	}
}

func reference(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`<!-- Code generated from the types of config by "make generate"; DO NOT EDIT. -->
# Configuration reference

One strict YAML file: unknown keys, duplicate keys and wrong units are errors that name file, line, column and the nearest
known key. Every key may be left out unless it is marked required. Durations are written ` + "`5m`, `72h`, `30d`" + `; secrets only as
references, ` + "`env:NAME` or `file:PATH`" + `. What the table calls "the driver's keys" is in the driver's own page, see
[drivers](drivers.md). ` + "`fettle config init`" + ` writes a commented file, ` + "`fettle config check`" + ` validates one, ` + "`fettle config explain`" + `
prints every value in force with where it came from, ` + "`fettle config schema`" + ` the JSON Schema for editors.
`)
	s := describe(t, reflect.TypeFor[config.Config](), reflect.ValueOf(*config.Default()), comments(t))
	typ := reflect.TypeFor[config.Config]()
	for _, f := range strictyaml.Fields(typ) {
		p := s["properties"].(map[string]any)[f.Name].(map[string]any)
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", f.Name, p["description"])
		keys(&b, f.Name, typ.FieldByIndex(f.Index).Type, p)
	}
	return b.String()
}

// keys writes a row for each key below path, in the order of the types.
func keys(b *strings.Builder, path string, typ reflect.Type, s map[string]any) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		if typ.Kind() == reflect.Slice {
			path += "[]"
			if either, ok := s["anyOf"].([]any); ok {
				s = either[1].(map[string]any)
			}
			s = s["items"].(map[string]any)
		}
		typ = typ.Elem()
	}
	required, _ := s["required"].([]string)
	for _, f := range strictyaml.Fields(typ) {
		sf := typ.FieldByIndex(f.Index)
		if f.Rest {
			fmt.Fprintf(b, "| `%s.*` | the driver's keys | | All other keys belong to the driver. |\n", path)
			continue
		}
		p := s["properties"].(map[string]any)[f.Name].(map[string]any)
		form, fallback := value(p, sf.Type), ""
		for _, r := range required {
			if r == f.Name {
				fallback = "required"
			}
		}
		text := strings.TrimSpace(fmt.Sprint(p["description"]))
		meaning, named, ok := strings.Cut(text, " Default: ")
		if ok {
			fallback = strings.TrimSuffix(named, ".")
		}
		if d, ok := p["default"]; ok && fallback == "" {
			fallback = fmt.Sprint(d)
		}
		fmt.Fprintf(b, "| `%s.%s` | %s | %s | %s |\n", path, f.Name, form, cell(fallback), cell(meaning))
		if nested(sf.Type) {
			keys(b, path+"."+f.Name, sf.Type, p)
		}
	}
}

// nested reports whether a type has keys of its own.
func nested(typ reflect.Type) bool {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	_, written := patterns[typ]
	return typ.Kind() == reflect.Struct && !written
}

// value says how a value is written.
func value(p map[string]any, typ reflect.Type) string {
	quoted := func(list []string) string { return "`" + strings.Join(list, "`, `") + "`" }
	if enum, ok := p["enum"].([]string); ok {
		return quoted(enum)
	}
	if examples, ok := p["examples"].([]string); ok {
		return "such as " + quoted(examples)
	}
	switch {
	case typ == reflect.TypeFor[config.Raw]():
		return "the driver's keys"
	case typ == reflect.TypeFor[config.Percent]():
		return "such as `5%`"
	case p["anyOf"] != nil:
		return "text or list"
	case p["type"] == "array":
		return "list"
	case p["type"] == "object":
		return "map"
	}
	return fmt.Sprint(p["type"])
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
