package intaketest

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fettleops/fettle/intake"
)

// awkward stands, as JSON, where a sender's body has something else: what people
// write into fields that nobody checks, and what other versions send there.
var awkward = []string{
	`null`, `true`, `0`, `-1`, `1e308`, `1e999`, `[]`, `[null]`, `[" "]`, `{}`, `{"":""}`, `{" ":" "}`,
	`""`, `" "`, `"\t\n"`, `"\u0000"`, `"\ud800"`, `"0"`, `"-1"`, `"NaN"`, `"null"`, `"{}"`, `"[]"`,
	`"/"`, `":"`, `"["`, `"[ ]:1"`, `"="`, `","`, `"%"`, `"arn:"`, `"arn:::::"`, `"/subscriptions/ "`, `"https://"`,
	`"0000-00-00T00:00:00Z"`, `"9999-12-31T23:59:59Z"`, `"` + strings.Repeat("x", 5000) + `"`,
}

// spoiled decodes the body once with each awkward value in each place, once
// without each place and once with each element of a list twice. Whatever comes
// of it is a *intake.Fault or sound.
func spoiled(t *testing.T, s intake.Source, header http.Header, body []byte) {
	t.Helper()
	var now []byte
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("panic on %s", now)
			panic(v)
		}
	}()
	spoil(body, func(b []byte) {
		now = b
		r := &intake.Request{Integration: Name, Header: header.Clone(), Body: bytes.Clone(b), ReceivedAt: Now, Passed: []string{"sns"}}
		if _, err := decoded(s, r); err != nil && !t.Failed() {
			t.Errorf("%v: %s", err, b)
		}
	})
}

// spoil yields the JSON text with one value replaced, left out or doubled:
// itself, and every one below it, also in a string that holds an object.
func spoil(text []byte, yield func([]byte)) {
	for _, a := range awkward {
		yield([]byte(a))
	}
	var list []json.RawMessage
	var object map[string]json.RawMessage
	var inner string
	switch {
	case json.Unmarshal(text, &list) == nil:
		for i, was := range list {
			yield(encoded(slices.Delete(slices.Clone(list), i, i+1)))
			yield(encoded(slices.Insert(slices.Clone(list), i, was)))
			spoil(was, func(b []byte) {
				list[i] = b
				yield(encoded(list))
			})
			list[i] = was
		}
	case json.Unmarshal(text, &object) == nil:
		for _, key := range slices.Sorted(maps.Keys(object)) {
			was := object[key]
			delete(object, key)
			yield(encoded(object))
			spoil(was, func(b []byte) {
				object[key] = b
				yield(encoded(object))
			})
			object[key] = was
		}
	case json.Unmarshal(text, &inner) == nil && strings.HasPrefix(inner, "{") && json.Valid([]byte(inner)):
		spoil([]byte(inner), func(b []byte) { yield(encoded(string(b))) })
	}
}

func encoded(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // it was JSON before
	}
	return b
}
