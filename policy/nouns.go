package policy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/fettleops/fettle/ops"
)

// changeView is a change as expressions see it: change.resource is the
// resource, not its name.
type changeView struct {
	*ops.Change
	Resource *ops.Resource `json:"resource"`
}

var variableTypes = map[string]*cel.Type{
	"alert":    objectType(reflect.TypeFor[ops.Alert]()),
	"incident": objectType(reflect.TypeFor[ops.Incident]()),
	"resource": objectType(reflect.TypeFor[ops.Resource]()),
	"change":   objectType(reflect.TypeFor[changeView]()),
	"metric":   objectType(reflect.TypeFor[Series]()),
	"value":    cel.DoubleType,

	"recommendation": objectType(reflect.TypeFor[ops.Recommendation]()),
	"notice":         objectType(reflect.TypeFor[ops.Notice]()),
	"fact":           objectType(reflect.TypeFor[ops.Fact]()),
}

func objectType(t reflect.Type) *cel.Type { return cel.ObjectType(typeName(t)) }

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[changeView]():
		return "ops.Change"
	case reflect.TypeFor[Series]():
		return "policy.Series" // ops has a Series of its own
	}
	return "ops." + t.Name()
}

// noun is what expressions may read of one struct.
type noun struct {
	typ    *types.Type
	fields map[string]*types.FieldType
}

// structs describes every struct reachable from the variables, by CEL name. It
// is made once from the Go types and never changes.
var structs = sync.OnceValue(func() map[string]noun {
	out := map[string]noun{}
	for _, t := range []reflect.Type{
		reflect.TypeFor[changeView](), reflect.TypeFor[ops.Alert](), reflect.TypeFor[ops.Incident](), reflect.TypeFor[ops.Resource](),
		reflect.TypeFor[Series](), reflect.TypeFor[ops.Recommendation](), reflect.TypeFor[ops.Notice](), reflect.TypeFor[ops.Fact](),
	} {
		describe(t, out)
	}
	return out
})

func describe(t reflect.Type, out map[string]noun) {
	name := typeName(t)
	if _, done := out[name]; done {
		return
	}
	n := noun{typ: cel.ObjectType(name), fields: map[string]*types.FieldType{}}
	out[name] = n
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || tag == "" || tag == "-" {
			continue
		}
		ft := fieldType(f.Type, out)
		if ft == nil {
			continue
		}
		if _, outer := n.fields[tag]; outer && len(f.Index) > 1 {
			continue // as in encoding/json, the shallower field wins
		}
		index := f.Index
		n.fields[tag] = &types.FieldType{
			Type:    ft,
			IsSet:   func(target any) bool { v, err := field(target, index); return err == nil && !v.IsZero() },
			GetFrom: func(target any) (any, error) { return get(target, index) },
		}
	}
}

// fieldType returns the CEL type of a Go type, nil for one that expressions
// cannot read.
func fieldType(t reflect.Type, out map[string]noun) *types.Type {
	switch t {
	case reflect.TypeFor[time.Time]():
		return types.TimestampType
	case reflect.TypeFor[time.Duration]():
		return types.DurationType
	case reflect.TypeFor[json.RawMessage]():
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return types.StringType
	case reflect.Bool:
		return types.BoolType
	case reflect.Int, reflect.Int32, reflect.Int64:
		return types.IntType
	case reflect.Float64:
		return types.DoubleType
	case reflect.Map:
		if t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.String {
			return types.NewMapType(types.StringType, types.StringType)
		}
	case reflect.Slice:
		if e := fieldType(t.Elem(), out); e != nil {
			return types.NewListType(e)
		}
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Float64 {
			return types.NewNullableType(types.DoubleType)
		}
		if t.Elem().Kind() == reflect.Struct {
			describe(t.Elem(), out)
			return objectType(t.Elem())
		}
	case reflect.Struct:
		describe(t, out)
		return objectType(t)
	}
	return nil
}

func field(target any, index []int) (reflect.Value, error) {
	v := reflect.Indirect(reflect.ValueOf(target))
	if v.Kind() != reflect.Struct {
		return v, fmt.Errorf("%T has no fields", target)
	}
	for _, i := range index {
		v = reflect.Indirect(v).Field(i)
	}
	return v, nil
}

func get(target any, index []int) (any, error) {
	v, err := field(target, index)
	if err != nil {
		return nil, err
	}
	switch v.Kind() {
	case reflect.String:
		return types.String(v.String()), nil
	case reflect.Float64:
		return types.Double(v.Float()), nil
	case reflect.Map:
		m, _ := v.Interface().(map[string]string)
		return newLabels(m), nil
	case reflect.Pointer:
		if v.IsNil() && v.Type().Elem().Kind() == reflect.Struct {
			return reflect.New(v.Type().Elem()).Interface(), nil // nil reads as empty
		}
		if v.IsNil() {
			return types.NullValue, nil
		}
		if v.Type().Elem().Kind() == reflect.Float64 {
			return types.Double(v.Elem().Float()), nil
		}
	case reflect.Struct:
		if v.CanAddr() && v.Type() != reflect.TypeFor[time.Time]() {
			return v.Addr().Interface(), nil
		}
	}
	return v.Interface(), nil
}

// fieldNames lists every field an expression about word may come across.
func fieldNames(word Word) []string {
	var out []string
	seen := map[string]bool{}
	var walk func(t *types.Type)
	walk = func(t *types.Type) {
		for _, p := range t.Parameters() {
			walk(p)
		}
		n, ok := structs()[t.TypeName()]
		if !ok || seen[t.TypeName()] {
			return
		}
		seen[t.TypeName()] = true
		for name, f := range n.fields {
			out = append(out, name)
			walk(f.Type)
		}
	}
	for _, v := range variables[word] {
		walk(variableTypes[v])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// nouns tells CEL about the structs of ops, and turns their values into CEL's.
type nouns struct{ *types.Registry }

func (n nouns) FindStructType(name string) (*types.Type, bool) {
	if s, ok := structs()[name]; ok {
		return types.NewTypeTypeWithParam(s.typ), true
	}
	return n.Registry.FindStructType(name)
}

func (n nouns) FindStructFieldNames(name string) ([]string, bool) {
	s, ok := structs()[name]
	if !ok {
		return n.Registry.FindStructFieldNames(name)
	}
	var out []string
	for f := range s.fields {
		out = append(out, f)
	}
	slices.Sort(out)
	return out, true
}

func (n nouns) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	s, ok := structs()[name]
	if !ok {
		return n.Registry.FindStructFieldType(name, field)
	}
	f, ok := s.fields[field]
	return f, ok
}

// NewValue refuses to make nouns: expressions look, they do not build.
func (n nouns) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if _, ok := structs()[name]; ok {
		return types.NewErr("an expression cannot make a %s", name)
	}
	return n.Registry.NewValue(name, fields)
}

func (n nouns) NativeToValue(v any) ref.Val {
	if m, ok := v.(map[string]string); ok {
		return newLabels(m)
	}
	t := reflect.TypeOf(v)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t != nil && t.Kind() == reflect.Struct {
		if s, ok := structs()[typeName(t)]; ok {
			return object{value: v, typ: s.typ}
		}
	}
	return n.Registry.NativeToValue(v)
}

// labels is a map whose missing keys read as empty. It is an Indexer and not a
// Mapper, because CEL asks a Mapper itself whether a key is there.
type labels struct {
	inner traits.Mapper
	m     map[string]string
}

func newLabels(m map[string]string) labels {
	return labels{types.NewStringStringMap(types.DefaultTypeAdapter, m), m}
}

var (
	_ traits.Indexer     = labels{}
	_ traits.FieldTester = labels{}
	_ traits.Container   = labels{}
	_ traits.Iterable    = labels{}
	_ traits.Sizer       = labels{}
)

func (l labels) Get(key ref.Val) ref.Val {
	k, ok := key.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(key)
	}
	return types.String(l.m[string(k)])
}

func (l labels) IsSet(key ref.Val) ref.Val                   { return l.inner.Contains(key) }
func (l labels) Contains(key ref.Val) ref.Val                { return l.inner.Contains(key) }
func (l labels) Iterator() traits.Iterator                   { return l.inner.Iterator() }
func (l labels) Size() ref.Val                               { return l.inner.Size() }
func (l labels) ConvertToNative(t reflect.Type) (any, error) { return l.inner.ConvertToNative(t) }
func (l labels) ConvertToType(t ref.Type) ref.Val            { return l.inner.ConvertToType(t) }
func (l labels) Equal(other ref.Val) ref.Val                 { return equalLabels(l, other) }
func (l labels) Type() ref.Type                              { return l.inner.Type() }
func (l labels) Value() any                                  { return l.m }

func equalLabels(l labels, other ref.Val) ref.Val {
	if o, ok := other.(labels); ok {
		return l.inner.Equal(o.inner)
	}
	return l.inner.Equal(other)
}

// object is a struct of ops as a value of its own, as when a list of them is
// looped over.
type object struct {
	value any
	typ   *types.Type
}

func (o object) ConvertToNative(t reflect.Type) (any, error) {
	if v := reflect.ValueOf(o.value); v.Type().AssignableTo(t) {
		return o.value, nil
	}
	return nil, fmt.Errorf("%s is not a %s", o.typ, t)
}

func (o object) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return o.typ
	}
	return types.NewErr("%s is not a %s", o.typ, t.TypeName())
}

func (o object) Equal(other ref.Val) ref.Val {
	p, ok := other.(object)
	return types.Bool(ok && reflect.DeepEqual(reflect.Indirect(reflect.ValueOf(o.value)).Interface(), reflect.Indirect(reflect.ValueOf(p.value)).Interface()))
}

func (o object) Type() ref.Type { return o.typ }
func (o object) Value() any     { return o.value }
