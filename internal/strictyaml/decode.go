package strictyaml

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/internal/unit"
)

// Defaulter is implemented by structs that set their defaults before they are
// decoded over.
type Defaulter interface{ Defaults() }

// Validator is implemented by structs that check themselves after they were decoded
// without a fault. Its error is reported at the place of the struct; a *Fault whose
// Path is a key of the struct is reported at the place of that key.
type Validator interface{ Validate() error }

// Single is implemented by lists that may be written as one text, such as
// entity: instance for entity: [instance], and by structs that may be written as
// the text of their most important key.
type Single interface{ SetSingle(text string) }

// Sourcer is implemented by values that want to know where they were written.
type Sourcer interface{ SetSource(source string) }

var (
	rawType      = reflect.TypeFor[Raw]()
	durationType = reflect.TypeFor[time.Duration]()
)

// Field is how a struct field appears in a file: `yaml:"name"`, with the options
// required (the key must be given) and rest (a Raw that takes all keys no other field
// knows), and `enum:"a,b"`, the only texts allowed. The keys of a struct marked
// `yaml:",inline"` appear beside those of the struct around it.
type Field struct {
	// Name is the key.
	Name string
	// Required, Rest and Enum are the options.
	Required, Rest bool
	Enum           []string
	// Index finds the field in the struct, as reflect.Value.FieldByIndex takes it.
	Index []int
}

// Fields returns the fields of struct type t that have a yaml tag.
func Fields(t reflect.Type) []Field {
	var out []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, ok := sf.Tag.Lookup("yaml")
		if !ok || tag == "-" || !sf.IsExported() {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if opts == "inline" && sf.Type.Kind() == reflect.Struct {
			for _, f := range Fields(sf.Type) {
				f.Index = append([]int{i}, f.Index...)
				out = append(out, f)
			}
			continue
		}
		f := Field{Name: name, Index: []int{i}}
		for o := range strings.SplitSeq(opts, ",") {
			f.Required = f.Required || o == "required"
			f.Rest = f.Rest || o == "rest"
		}
		if e := sf.Tag.Get("enum"); e != "" {
			f.Enum = strings.Split(e, ",")
		}
		out = append(out, f)
	}
	return out
}

type decoder struct {
	file   string
	faults Faults
	// places maps each path that was set to its place.
	places map[string]Position
}

func (d *decoder) fault(n *node, path, format string, args ...any) {
	d.faults = append(d.faults, &Fault{Position{d.file, n.line, n.col}, path, fmt.Sprintf(format, args...)})
}

// wants reports n as the wrong kind of thing. Scalars are quoted, as they are short
// and the reader looks for them; long ones are cut.
func (d *decoder) wants(n *node, path, what string) {
	got := n.kind.String()
	switch n.kind {
	case kindNumber, kindBool:
		got += " (" + shorten(n.text) + ")"
	case kindText:
		got += " " + strconv.Quote(shorten(n.text))
	}
	d.fault(n, path, "wants %s, got %s", what, got)
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "..."
	}
	return s
}

func (d *decoder) value(n *node, v reflect.Value, path string, enum []string) {
	d.places[path] = Position{d.file, n.line, n.col}
	if n.kind == kindBroken {
		return
	}
	if v.Type() == rawType {
		v.Set(reflect.ValueOf(Raw{file: d.file, path: path, node: n}))
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
			defaults(v)
		}
		d.value(n, v.Elem(), path, enum)
		return
	}
	if v.CanAddr() {
		if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
			d.text(n, u, path)
			return
		}
	}
	if n.kind == kindNull {
		d.fault(n, path, "has no value; write one or remove the key")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if one, ok := v.Addr().Interface().(Single); ok && n.kind == kindText {
			one.SetSingle(n.text)
			return
		}
		d.object(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.Slice:
		if one, ok := v.Addr().Interface().(Single); ok && n.kind != kindList {
			if n.kind != kindText {
				d.wants(n, path, "text or a list")
				return
			}
			one.SetSingle(n.text)
			d.whole(n, v.Index(0), path+"[0]")
			return
		}
		if n.kind != kindList {
			d.wants(n, path, "a list")
			return
		}
		s := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
		for i, item := range n.items {
			defaults(s.Index(i).Addr())
			d.value(item, s.Index(i), path+"["+strconv.Itoa(i)+"]", enum)
		}
		v.Set(s)
	default:
		d.scalar(n, v, path, enum)
	}
}

// whole marks everything that is set in v as written at n.
func (d *decoder) whole(n *node, v reflect.Value, path string) {
	d.places[path] = Position{d.file, n.line, n.col}
	if v.Kind() != reflect.Struct {
		return
	}
	for _, f := range Fields(v.Type()) {
		if !v.FieldByIndex(f.Index).IsZero() {
			d.whole(n, v.FieldByIndex(f.Index), Join(path, f.Name))
		}
	}
}

func (d *decoder) text(n *node, u encoding.TextUnmarshaler, path string) {
	switch n.kind {
	case kindMap, kindList, kindNull:
		if _, ok := u.(*secret.Ref); ok {
			d.wants(n, path, "a secret reference, env:NAME or file:PATH")
			return
		}
		d.wants(n, path, "text")
		return
	}
	if s, ok := u.(Sourcer); ok {
		s.SetSource(Position{d.file, n.line, n.col}.String())
	}
	if err := u.UnmarshalText([]byte(n.text)); err != nil {
		d.fault(n, path, "%s", err)
	}
}

func (d *decoder) object(n *node, v reflect.Value, path string) {
	if n.kind != kindMap {
		d.wants(n, path, "a mapping")
		return
	}
	fields := Fields(v.Type())
	var known []string
	byName := map[string]Field{}
	var rest []int
	for _, f := range fields {
		if f.Rest {
			rest = f.Index
			continue
		}
		known = append(known, f.Name)
		byName[f.Name] = f
	}
	before := len(d.faults)
	others := &node{kind: kindMap, line: n.line, col: n.col}
	given := map[string]bool{}
	for i, k := range n.keys {
		f, ok := byName[k.name]
		switch {
		case ok:
			given[k.name] = true
			d.value(n.items[i], v.FieldByIndex(f.Index), Join(path, k.name), f.Enum)
		case rest != nil:
			others.keys, others.items = append(others.keys, k), append(others.items, n.items[i])
		default:
			d.unknown(k, path, known)
		}
	}
	if rest != nil {
		v.FieldByIndex(rest).Set(reflect.ValueOf(Raw{file: d.file, path: path, node: others}))
	}
	for _, f := range fields {
		if f.Required && !given[f.Name] {
			d.fault(n, Join(path, f.Name), "is missing")
		}
	}
	if len(d.faults) > before || !v.CanAddr() {
		return
	}
	if val, ok := v.Addr().Interface().(Validator); ok {
		d.validate(n, val, path)
	}
}

func (d *decoder) unknown(k key, path string, known []string) {
	f := &Fault{Position{d.file, k.line, k.col}, Join(path, shorten(k.name)), ""}
	if near := Nearest(k.name, known); near != "" {
		f.Text = fmt.Sprintf("unknown key %q; did you mean %q?", shorten(k.name), near)
	} else {
		f.Text = fmt.Sprintf("unknown key %q; known here: %s", shorten(k.name), strings.Join(known, ", "))
	}
	d.faults = append(d.faults, f)
}

// validate reports what a struct finds wrong with itself.
func (d *decoder) validate(n *node, v Validator, path string) {
	err := v.Validate()
	if err == nil {
		return
	}
	errs := []error{err}
	if multi, ok := err.(interface{ Unwrap() []error }); ok {
		errs = multi.Unwrap()
	}
	for _, err := range errs {
		at := Raw{file: d.file, path: path, node: n}
		var f *Fault
		if errors.As(err, &f) && f.At == (Position{}) {
			d.faults = append(d.faults, at.Fault(f.Path, "%s", f.Text))
			continue
		}
		d.fault(n, path, "%s", err)
	}
}

func (d *decoder) mapping(n *node, v reflect.Value, path string) {
	if n.kind != kindMap {
		d.wants(n, path, "a mapping")
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(n.keys))
	for i, k := range n.keys {
		item := reflect.New(v.Type().Elem()).Elem()
		defaults(item.Addr())
		d.value(n.items[i], item, Join(path, k.name), nil)
		m.SetMapIndex(reflect.ValueOf(k.name).Convert(v.Type().Key()), item)
	}
	v.Set(m)
}

func (d *decoder) scalar(n *node, v reflect.Value, path string, enum []string) {
	if v.Type() == durationType {
		if n.kind == kindMap || n.kind == kindList {
			d.wants(n, path, "a duration such as 5m")
			return
		}
		span, err := unit.ParseDuration(n.text)
		if err != nil {
			d.fault(n, path, "%s", err)
			return
		}
		v.SetInt(int64(span))
		return
	}
	switch v.Kind() {
	case reflect.String:
		if n.kind == kindNumber || n.kind == kindBool {
			d.fault(n, path, "wants text, got %s; write it in quotes: %q", n.kind, n.text)
			return
		}
		if n.kind != kindText {
			d.wants(n, path, "text")
			return
		}
		if len(enum) > 0 && !slices.Contains(enum, n.text) {
			if near := Nearest(n.text, enum); near != "" {
				d.fault(n, path, "unknown value %q; did you mean %q?", shorten(n.text), near)
			} else {
				d.fault(n, path, "unknown value %q; known: %s", shorten(n.text), strings.Join(enum, ", "))
			}
			return
		}
		v.SetString(n.text)
	case reflect.Bool:
		if n.kind != kindBool {
			d.wants(n, path, "true or false")
			return
		}
		v.SetBool(strings.EqualFold(n.text, "true"))
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8:
		i, err := strconv.ParseInt(n.text, 10, v.Type().Bits())
		if n.kind != kindNumber || err != nil {
			d.wants(n, path, "a whole number")
			return
		}
		v.SetInt(i)
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		i, err := strconv.ParseUint(n.text, 10, v.Type().Bits())
		if n.kind != kindNumber || err != nil {
			d.wants(n, path, "a whole number, not negative")
			return
		}
		v.SetUint(i)
	case reflect.Float64, reflect.Float32:
		f, err := strconv.ParseFloat(n.text, v.Type().Bits())
		if n.kind != kindNumber || err != nil || f-f != 0 {
			d.wants(n, path, "a finite number")
			return
		}
		v.SetFloat(f)
	case reflect.Interface:
		x, err := n.plain()
		if err != nil {
			d.fault(n, path, "%s", err)
			return
		}
		if v.NumMethod() == 0 && x != nil {
			v.Set(reflect.ValueOf(x))
		}
	default:
		// A mistake of the programmer, found by the first test that decodes the type.
		panic(fmt.Sprintf("strictyaml: %s: cannot decode into %s", path, v.Type()))
	}
}

// defaults calls Defaults on the structs in what p points to, then on p itself, so
// that the outer struct has the last word.
func defaults(p reflect.Value) {
	v := p.Elem()
	if v.Kind() == reflect.Struct {
		for _, f := range Fields(v.Type()) {
			if v.FieldByIndex(f.Index).Kind() == reflect.Struct {
				defaults(v.FieldByIndex(f.Index).Addr())
			}
		}
	}
	if d, ok := p.Interface().(Defaulter); ok {
		d.Defaults()
	}
}

// SetDefaults calls Defaults on the structs in the struct v points to, then on v
// itself. Structs behind nil pointers and in lists get theirs when they are decoded.
func SetDefaults(v any) { defaults(reflect.ValueOf(v)) }

// plain returns n as text, float64, int64, bool, []any, map[string]any or nil.
func (n *node) plain() (any, error) {
	switch n.kind {
	case kindNull:
		return nil, nil
	case kindText:
		return n.text, nil
	case kindBool:
		return strings.EqualFold(n.text, "true"), nil
	case kindNumber:
		if i, err := strconv.ParseInt(n.text, 10, 64); err == nil {
			return i, nil
		}
		f, err := strconv.ParseFloat(n.text, 64)
		if err != nil || f-f != 0 {
			return nil, fmt.Errorf("wants a decimal number, got %s", shorten(n.text))
		}
		return f, nil
	case kindList:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			x, err := item.plain()
			if err != nil {
				return nil, err
			}
			out[i] = x
		}
		return out, nil
	}
	out := make(map[string]any, len(n.keys))
	for i, k := range n.keys {
		x, err := n.items[i].plain()
		if err != nil {
			return nil, err
		}
		out[k.name] = x
	}
	return out, nil
}

// Decode fills the struct v points to, over what it holds, and returns the place of
// every path that the file sets and every fault. It does not set defaults on v itself.
func Decode(r Raw, v any) (map[string]Position, Faults) {
	d := &decoder{file: r.file, places: map[string]Position{}}
	if r.node != nil {
		d.value(r.node, reflect.ValueOf(v).Elem(), r.path, nil)
	}
	return d.places, d.faults
}
