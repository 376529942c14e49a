package intake

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fettleops/fettle/ops"
)

// Fault is a payload or a setting that cannot be taken as it is. It is an
// ops.ErrInvalid that names the field, the value and the fix.
type Fault struct {
	Field string // where, in the sender's words: alerts[0].status
	Value string // what stands there; shown to the sender, never logged
	Fix   string // what to do, in the imperative
}

// Error names the field and the fix. It leaves the value out: errors are
// logged and a payload may hold what must not be.
func (f *Fault) Error() string {
	if f.Field == "" {
		return f.Fix
	}
	return f.Field + ": " + f.Fix
}

// Is reports that every Fault is an ops.ErrInvalid.
func (f *Fault) Is(target error) bool { return target == ops.ErrInvalid }

// NotJSON turns an error of encoding/json about a body into a Fault.
func NotJSON(err error, expect string) *Fault {
	var typ *json.UnmarshalTypeError
	var syn *json.SyntaxError
	switch {
	case errors.As(err, &typ):
		return &Fault{Field: typ.Field, Value: typ.Value, Fix: "send " + expect + "; a " + typ.Value + " stands where a " + typ.Type.String() + " belongs"}
	case errors.As(err, &syn):
		return &Fault{Field: "body", Value: "byte " + strconv.FormatInt(syn.Offset, 10), Fix: "send " + expect + " as JSON; the body is not valid JSON or was cut off"}
	}
	return &Fault{Field: "body", Fix: "send " + expect + " as JSON"}
}

// problem is an RFC 9457 answer.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Field  string `json:"field,omitempty"`
	Value  string `json:"value,omitempty"`
	Fix    string `json:"fix,omitempty"`
}

const maxShown = 80

// shorten cuts a value to what helps to find it.
func shorten(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if utf8.RuneCountInString(s) <= maxShown {
		return s
	}
	return string([]rune(s)[:maxShown]) + "..."
}

// write sends the problem. It cannot fail in a way anybody could be told of.
func (p problem) write(w http.ResponseWriter) {
	p.Type, p.Title, p.Value = "about:blank", http.StatusText(p.Status), shorten(p.Value)
	body, err := json.Marshal(p)
	if err != nil { // strings and an int always encode
		body = []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}
