package connectortest

import (
	"reflect"
	"strings"
)

// byFieldName renames the keys of v from yaml tags to the names of the fields
// of the struct that into points to, for encoding/json to read.
func byFieldName(v map[string]any, into any) map[string]any {
	t := reflect.TypeOf(into)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return v
	}
	out := make(map[string]any, len(v))
	for k, val := range v {
		name, ft := k, reflect.Type(nil)
		for i := range t.NumField() {
			f := t.Field(i)
			tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if tag == k {
				name, ft = f.Name, f.Type
				if j, _, _ := strings.Cut(f.Tag.Get("json"), ","); j != "" {
					name = j
				}
			}
		}
		if m, ok := val.(map[string]any); ok && ft != nil {
			val = byFieldName(m, reflect.New(ft).Interface())
		}
		out[name] = val
	}
	return out
}
