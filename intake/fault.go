package intake

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
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

// refusal is a class of bodies that are not decoded.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ops.ErrInvalid }

// The classes of bodies that are not decoded. Each is also an ops.ErrInvalid.
const (
	ErrTooLarge  = refusal("larger than the limit")
	ErrCoding    = refusal("not an accepted content encoding")
	ErrMediaType = refusal("not an accepted media type")
)

// unsupported says which header is not accepted, and what would be.
type unsupported struct {
	class             refusal
	field, value, fix string
}

func (u *unsupported) Error() string { return u.field + ": " + u.fix }
func (u *unsupported) Unwrap() error { return u.class }

// WrongMediaType is an error of class ErrMediaType about the Content-Type the
// sender gave.
func WrongMediaType(got, fix string) error {
	return &unsupported{ErrMediaType, "Content-Type", got, fix}
}

// WrongCoding is an error of class ErrCoding about the Content-Encoding the
// sender gave.
func WrongCoding(got, fix string) error {
	return &unsupported{ErrCoding, "Content-Encoding", got, fix}
}

// Seconds is a Retry-After: whole seconds, rounded up.
func Seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }

// Problem is the answer to a delivery that was not taken the way senders
// without terms of their own get it, an RFC 9457 document: 413, 415 or 400 for
// what no retry can mend, and otherwise, or when err is nil, 503 with
// Retry-After.
func Problem(err error, retryAfter time.Duration) Answer {
	p, h := problem{}, map[string]string{}
	var fault *Fault
	var unsupported *unsupported
	switch {
	case errors.Is(err, ErrTooLarge):
		p = problem{Status: http.StatusRequestEntityTooLarge, Field: "body", Fix: "send less at a time, or raise the limit of this integration"}
	case errors.As(err, &unsupported):
		p = problem{Status: http.StatusUnsupportedMediaType, Field: unsupported.field, Value: unsupported.value, Fix: unsupported.fix}
	case errors.As(err, &fault):
		p = problem{Status: http.StatusBadRequest, Detail: fault.Error(), Field: fault.Field, Value: fault.Value, Fix: fault.Fix}
	default:
		h["Retry-After"] = Seconds(retryAfter)
		p = problem{Status: http.StatusServiceUnavailable, Fix: "send the same again after " + h["Retry-After"] + " seconds; nothing was stored"}
	}
	h["Content-Type"], h["X-Content-Type-Options"] = "application/problem+json", "nosniff"
	return Answer{Status: p.Status, Header: h, Body: p.render()}
}

// write sends the answer. It cannot fail in a way anybody could be told of.
func (a Answer) write(w http.ResponseWriter) {
	h := w.Header()
	for k, v := range a.Header {
		h.Set(k, v)
	}
	if a.Status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
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

func (p problem) render() []byte {
	p.Type, p.Title, p.Value = "about:blank", http.StatusText(p.Status), shorten(p.Value)
	body, err := json.Marshal(p)
	if err != nil { // strings and an int always encode
		body = []byte("{}")
	}
	return body
}

// write sends the problem.
func (p problem) write(w http.ResponseWriter) {
	Answer{Status: p.Status, Body: p.render(), Header: map[string]string{
		"Content-Type": "application/problem+json", "X-Content-Type-Options": "nosniff",
	}}.write(w)
}
