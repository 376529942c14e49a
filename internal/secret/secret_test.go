package secret_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/internal/secret"
)

func TestParse(t *testing.T) {
	good := func(in, scheme, name string) {
		t.Helper()
		r, err := secret.Parse(in)
		if err != nil || r.Scheme != scheme || r.Name != name || r.String() != in {
			t.Errorf("Parse(%q) = %+v, %v", in, r, err)
		}
	}
	good("env:PW", "env", "PW")
	good("file:/etc/fettle/data.key", "file", "/etc/fettle/data.key")
	good("file:C:/x:y", "file", "C:/x:y")

	bad := func(in, want string) {
		t.Helper()
		r, err := secret.Parse(in)
		if err == nil || !strings.Contains(err.Error(), want) || !r.IsZero() {
			t.Errorf("Parse(%q) = %+v, %v, want %q", in, r, err, want)
		}
	}
	bad("hunter2", "a plain secret; write env:NAME or file:PATH")
	bad("", "a plain secret")
	bad("pass:word", "a plain secret")
	bad("env:", "names nothing")
	bad("file:", "names nothing")
	bad("env:A B", "name of an environment variable")
	bad("awssm:prod/x", "not available in this version")
	bad("azurekv:v/x", "not available in this version")
	bad("vault:kv/x", "not available in this version")

	_, err := secret.Parse("hunter2")
	if !errors.Is(err, secret.ErrPlain) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v: wants ErrPlain without the value", err)
	}
}

func TestRefIsText(t *testing.T) {
	var v struct{ P secret.Ref }
	if err := yaml.Unmarshal([]byte("p: env:PW"), &v); err != nil || v.P.Name != "PW" {
		t.Errorf("yaml: %+v, %v", v, err)
	}
	if b, err := json.Marshal(v); err != nil || string(b) != `{"P":"env:PW"}` {
		t.Errorf("json: %s, %v", b, err)
	}
	if (secret.Ref{}).String() != "" {
		t.Error("the zero Ref prints something")
	}
	p := secret.Ref{Public: true, Source: "here"}
	if err := p.UnmarshalText([]byte("file:/x")); err != nil || !p.Public || p.Source != "here" {
		t.Errorf("UnmarshalText forgot: %+v, %v", p, err)
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	env := map[string]string{"PW": "hunter2", "EMPTY": ""}
	l := secret.Local{LookupEnvFunc: func(k string) (string, bool) { v, ok := env[k]; return v, ok }}

	good := func(r secret.Ref, want string) {
		t.Helper()
		s, err := l.Resolve(t.Context(), r)
		if err != nil || s.Reveal() != want {
			t.Errorf("Resolve(%s) = %q, %v, want %q", r, s.Reveal(), err, want)
		}
	}
	file := func(p string) secret.Ref { return secret.Ref{Scheme: "file", Name: p} }
	good(secret.Ref{Scheme: "env", Name: "PW"}, "hunter2")
	good(file(write("nl", "a b\n", 0o600)), "a b")
	good(file(write("crlf", "a\r\n", 0o640)), "a")
	good(file(write("two", "a\n\n", 0o600)), "a\n")
	open := write("open", "cert", 0o644)
	good(secret.Ref{Scheme: "file", Name: open, Public: true}, "cert")

	bad := func(r secret.Ref, want string) {
		t.Helper()
		_, err := l.Resolve(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Resolve(%s) = %v, want %q", r, err, want)
		}
	}
	bad(secret.Ref{Scheme: "env", Name: "NONE"}, "is not set")
	bad(secret.Ref{Scheme: "env", Name: "EMPTY"}, "is empty")
	bad(secret.Ref{Scheme: "env", Name: "NONE", Source: "fettle.yaml:3:4"}, "fettle.yaml:3:4: secret env:NONE: ")
	bad(file(open), "mode 0644 lets everybody read it; run chmod o-rwx "+open)
	bad(file(write("world", "hunter2", 0o604)), "run chmod")
	bad(file(write("empty", "\n", 0o600)), "empty")
	bad(file(write("big", strings.Repeat("x", 1<<20+1), 0o600)), "larger than")
	bad(file(dir), "not a regular file")
	bad(file(filepath.Join(dir, "none")), "no such file")
	bad(secret.Ref{Scheme: "vault", Name: "x"}, "not available")
	bad(secret.Ref{}, "no reference given")
}
