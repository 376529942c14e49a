// Package redact keeps secrets out of everything that is printed: a type that
// never shows its value, and helpers that clean messages and URLs of others.
package redact

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"strconv"
)

// Mask is printed in place of every secret.
const Mask = "<redacted>"

// Secret holds a value that every printing path shows as Mask: fmt with any verb,
// slog, JSON, text and YAML. Only Reveal returns it. The zero Secret is empty.
//
// Decoding into a Secret is not offered: values come from package secret.
type Secret struct{ value string }

// New wraps value.
func New(value string) Secret { return Secret{value} }

// Reveal returns the value. Call it where the value leaves the process and
// nowhere else.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.value == "" }

// Equal compares in a time that depends neither on the content nor on the lengths.
func (s Secret) Equal(other string) bool {
	a, b := sha256.Sum256([]byte(s.value)), sha256.Sum256([]byte(other))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// String returns Mask.
func (Secret) String() string { return Mask }

// GoString returns Mask for %#v.
func (Secret) GoString() string { return Mask }

// Format writes Mask for every verb, so that %x and %d do not reach the field.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Mask) }

// LogValue returns Mask.
func (Secret) LogValue() slog.Value { return slog.StringValue(Mask) }

// MarshalJSON returns Mask as a JSON string.
func (Secret) MarshalJSON() ([]byte, error) { return strconv.AppendQuote(nil, Mask), nil }

// MarshalText returns Mask.
func (Secret) MarshalText() ([]byte, error) { return []byte(Mask), nil }

// MarshalYAML returns Mask.
func (Secret) MarshalYAML() (any, error) { return Mask, nil }
