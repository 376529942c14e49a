package otlp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/fettleops/fettle/series"
)

// attribute reads a KeyValue into the attributes at hand, unless a rule is
// given that leaves it out.
func (d *decoder) attribute(b []byte, bad *fault, keep *rule) error {
	key, value, err := keyValue(b)
	switch {
	case err != nil:
		return err
	case len(key) == 0 || keep != nil && !keep.keeps(text(key)):
		return nil
	case len(d.own) > 2*maxLabels:
		*bad = fault{"attributes", "send at most " + strconv.Itoa(maxLabels) + " attributes per series"}
		return nil
	case !utf8.Valid(key):
		*bad = fault{"attributes", "send UTF-8"}
		return nil
	}
	v, err := variantOf(value)
	if err != nil {
		return err
	}
	l := series.Label{Name: text(key)}
	if v.kind == stringValue {
		l.Value = text(v.b)
		if !utf8.Valid(v.b) {
			*bad = fault{"attributes", "send UTF-8"}
		}
	} else {
		from := len(d.scratch)
		if d.scratch, err = v.append(d.scratch, 0); err != nil {
			return note(err, bad)
		}
		l.Value = text(d.scratch[from:])
	}
	d.own = append(d.own, l)
	return nil
}

// note keeps an error about one attribute from refusing the body.
func note(err error, bad *fault) error {
	var f fault
	if errors.As(err, &f) {
		*bad = f
		return nil
	}
	return err
}

// Error makes a fault an error between an attribute and what it is part of.
func (f fault) Error() string { return f.field + ": " + f.fix }

// keyValue takes a KeyValue apart.
func keyValue(b []byte) (key, value []byte, err error) {
	// As every sender writes one: the key, then the value, both short.
	if len(b) > 3 && b[0] == 0x0a && b[1] < 0x80 {
		if rest := 2 + int(b[1]); rest+1 < len(b) && b[rest] == 0x12 && b[rest+1] < 0x80 && rest+2+int(b[rest+1]) == len(b) {
			return b[2:rest], b[rest+2:], nil
		}
	}
	var v merged
	r := reader{rest: b}
	for r.next() {
		switch {
		case r.is(1, protowire.BytesType):
			key = r.v
		case r.is(2, protowire.BytesType):
			v.add(r.v)
		}
	}
	return key, v.b, r.err()
}

// The variants of an AnyValue.
const (
	stringValue = 1
	boolValue   = 2
	intValue    = 3
	doubleValue = 4
	arrayValue  = 5
	mapValue    = 6
	bytesValue  = 7
	indexValue  = 8 // into a table that only profiles have
)

// variant is an AnyValue: the last of its fields, whole.
type variant struct {
	kind protowire.Number
	b    []byte
	n    uint64
}

func variantOf(b []byte) (out variant, err error) {
	if len(b) > 1 && b[0] == 0x0a && b[1] < 0x80 && 2+int(b[1]) == len(b) { // a short string
		return variant{kind: stringValue, b: b[2:]}, nil
	}
	var v merged
	r := reader{rest: b}
	for r.next() {
		want := protowire.BytesType
		switch r.num {
		case boolValue, intValue, indexValue:
			want = protowire.VarintType
		case doubleValue:
			want = protowire.Fixed64Type
		case stringValue, arrayValue, mapValue, bytesValue:
		default:
			continue
		}
		if r.typ != want {
			continue
		}
		if out.kind != r.num || r.num != arrayValue && r.num != mapValue {
			v = merged{}
		}
		out.kind, out.n = r.num, r.n
		v.add(r.v)
	}
	out.b = v.b
	return out, r.err()
}

// append renders a value the way OpenTelemetry does for protocols without
// types: numbers in decimal, bytes in base64, lists and maps as JSON.
func (v variant) append(dst []byte, depth int) ([]byte, error) {
	if depth > maxDepth {
		return dst, fault{"attributes", "send attributes of at most " + strconv.Itoa(maxDepth) + " levels"}
	}
	quoted := depth > 0 // part of JSON
	switch v.kind {
	case stringValue: // one that is no part of JSON is taken as it is
		if !utf8.Valid(v.b) {
			return dst, fault{"attributes", "send UTF-8"}
		}
		return appendText(dst, v.b), nil
	case boolValue:
		return strconv.AppendBool(dst, v.n != 0), nil
	case intValue:
		return strconv.AppendInt(dst, int64(v.n), 10), nil
	case doubleValue:
		f := math.Float64frombits(v.n)
		if quoted && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return append(appendFloat(append(dst, '"'), f), '"'), nil
		}
		return appendFloat(dst, f), nil
	case bytesValue:
		if quoted {
			return append(base64.StdEncoding.AppendEncode(append(dst, '"'), v.b), '"'), nil
		}
		return base64.StdEncoding.AppendEncode(dst, v.b), nil
	case arrayValue:
		return appendList(dst, v.b, depth)
	case mapValue:
		return appendMap(dst, v.b, depth)
	}
	if quoted {
		return append(dst, "null"...), nil
	}
	return dst, nil
}

func appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// appendText renders UTF-8 as a JSON string.
func appendText(dst, s []byte) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(string(s)) // a string into a buffer
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

func appendList(dst, b []byte, depth int) ([]byte, error) {
	dst = append(dst, '[')
	r := reader{rest: b}
	for n := 0; r.next(); {
		if !r.is(1, protowire.BytesType) {
			continue
		}
		if n++; n > 1 {
			dst = append(dst, ',')
		}
		v, err := variantOf(r.v)
		if err != nil {
			return dst, err
		}
		if dst, err = v.append(dst, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), r.err()
}

// appendMap renders a map by its keys, the last of each, so that equal maps
// are equal labels.
func appendMap(dst, b []byte, depth int) ([]byte, error) {
	type entry struct {
		key   string
		value []byte
	}
	var list []entry
	r := reader{rest: b}
	for r.next() {
		if !r.is(1, protowire.BytesType) {
			continue
		}
		key, value, err := keyValue(r.v)
		if err != nil {
			return dst, err
		}
		if !utf8.Valid(key) {
			return dst, fault{"attributes", "send UTF-8"}
		}
		list = append(list, entry{text(key), value})
	}
	if r.broken {
		return dst, broken
	}
	slices.SortStableFunc(list, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	dst = append(dst, '{')
	n := 0
	for i, e := range list {
		if i+1 < len(list) && list[i+1].key == e.key {
			continue
		}
		if n++; n > 1 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, []byte(e.key)), ':')
		v, err := variantOf(e.value)
		if err != nil {
			return dst, err
		}
		if dst, err = v.append(dst, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}
