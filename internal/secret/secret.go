// Package secret reads secrets where they live. A configuration file holds only
// references to them: env:NAME or file:PATH.
package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/fettleops/fettle/internal/redact"
)

// ErrPlain reports a value where a reference belongs. Its text carries the fix and
// never the value: errors are logged.
var ErrPlain = errors.New("a plain secret; write env:NAME or file:PATH")

// maxFile bounds a secret file: keys and certificate chains are far smaller.
const maxFile = 1 << 20

// later are the schemes of the configuration language that this version cannot read.
var later = map[string]string{"awssm": "AWS Secrets Manager", "azurekv": "Azure Key Vault", "vault": "HashiCorp Vault"}

// Ref says where a secret lives. The zero Ref is "none given".
type Ref struct {
	// Scheme is "env" or "file".
	Scheme string
	// Name is the environment variable or the path.
	Name string
	// Source is where the reference was written, "file:line:col"; empty when unknown.
	Source string
	// Public marks a value that anybody may read, a certificate: the mode of its
	// file is not checked.
	Public bool
}

// Parse reads "env:NAME" or "file:PATH". Anything else is ErrPlain, except a scheme
// that is known but not yet available, which is refused by name.
func Parse(s string) (Ref, error) {
	scheme, name, ok := strings.Cut(s, ":")
	if what, isLater := later[scheme]; ok && isLater {
		return Ref{}, fmt.Errorf("%s: (%s) is not available in this version; write env:NAME or file:PATH", scheme, what)
	}
	if !ok || scheme != "env" && scheme != "file" {
		return Ref{}, ErrPlain
	}
	if name == "" || strings.ContainsRune(name, 0) {
		return Ref{}, fmt.Errorf("%s: names nothing; write env:NAME or file:PATH", scheme)
	}
	if scheme == "env" && strings.ContainsAny(name, "= \t\n") {
		return Ref{}, errors.New("env: wants the name of an environment variable, without blanks or =")
	}
	return Ref{Scheme: scheme, Name: name}, nil
}

// IsZero reports whether no reference was given.
func (r Ref) IsZero() bool { return r.Scheme == "" && r.Name == "" }

// String returns the reference as it is written. It holds no secret.
func (r Ref) String() string {
	if r.IsZero() {
		return ""
	}
	return r.Scheme + ":" + r.Name
}

// MarshalText returns the reference as it is written.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what Parse reads and keeps Source and Public as they are.
func (r *Ref) UnmarshalText(b []byte) error {
	p, err := Parse(string(b))
	if err != nil {
		return err
	}
	r.Scheme, r.Name = p.Scheme, p.Name
	return nil
}

// SetSource is called by the decoder with the place of the value.
func (r *Ref) SetSource(source string) { r.Source = source }

// Resolver returns the secret a reference points to. An empty secret is an error.
// Implementations read again on every call, so that a rotated secret is picked up,
// and are safe for concurrent use.
type Resolver interface {
	Resolve(ctx context.Context, r Ref) (redact.Secret, error)
}

// Local resolves env and file references on this machine.
//
// A file loses one trailing newline, must be a regular file of at most 1 MiB, and is
// refused when everybody on the machine may read it, unless the reference is Public.
type Local struct {
	// LookupEnvFunc reads the environment. Default: os.LookupEnv.
	LookupEnvFunc func(string) (string, bool)
}

// Resolve implements Resolver. Errors name the reference and the fix, never the value.
func (l Local) Resolve(_ context.Context, r Ref) (redact.Secret, error) {
	var value string
	var err error
	switch r.Scheme {
	case "env":
		value, err = l.env(r.Name)
	case "file":
		value, err = readFile(r)
	case "":
		err = errors.New("no reference given")
	default:
		err = fmt.Errorf("scheme %q is not available in this version", r.Scheme)
	}
	if err != nil {
		if r.Source != "" {
			return redact.Secret{}, fmt.Errorf("%s: secret %s: %w", r.Source, r, err)
		}
		return redact.Secret{}, fmt.Errorf("secret %s: %w", r, err)
	}
	return redact.New(value), nil
}

func (l Local) env(name string) (string, error) {
	lookup := l.LookupEnvFunc
	if lookup == nil {
		lookup = os.LookupEnv
	}
	v, ok := lookup(name)
	switch {
	case !ok:
		return "", errors.New("the environment variable is not set; set it for the process that runs fettle")
	case v == "":
		return "", errors.New("the environment variable is empty")
	}
	return v, nil
}

func readFile(r Ref) (string, error) {
	f, err := os.Open(r.Name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	// Stat of the open file, not of the name: the name may point elsewhere by now.
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	if mode := info.Mode().Perm(); worldReadable(mode) && !r.Public {
		return "", fmt.Errorf("mode %04o lets everybody read it; run chmod o-rwx %s", mode, r.Name)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxFile {
		return "", fmt.Errorf("larger than %d bytes", maxFile)
	}
	s := strings.TrimSuffix(string(b), "\n")
	s = strings.TrimSuffix(s, "\r")
	if s == "" {
		return "", errors.New("the file is empty")
	}
	return s, nil
}
