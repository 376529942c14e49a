package redact_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/internal/redact"
)

func TestSecretNeverPrints(t *testing.T) {
	s := redact.New("hunter2")
	type holder struct {
		S redact.Secret
		P *redact.Secret
		M map[string]redact.Secret
	}
	h := holder{s, &s, map[string]redact.Secret{"k": s}}

	var out []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%T"} {
		out = append(out, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, h), fmt.Sprintf(verb, []redact.Secret{s}))
	}
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&buf, nil), slog.NewJSONHandler(&buf, nil)} {
		slog.New(handler).LogAttrs(t.Context(), slog.LevelInfo, "m", slog.Any("s", s), slog.Any("h", h), slog.Any("p", &s))
	}
	out = append(out, string(j), string(y), buf.String(), s.String(), s.GoString(), fmt.Sprint(s), fmt.Errorf("x %v", s).Error())
	for _, o := range out {
		for _, leak := range []string{"hunter2", "68756e74657232", "68756E74657232"} {
			if strings.Contains(o, leak) {
				t.Errorf("leaks in %q", o)
			}
		}
	}
	for _, o := range []string{strings.ReplaceAll(strings.ReplaceAll(string(j), `\u003c`, "<"), `\u003e`, ">"), string(y)} {
		if !strings.Contains(o, redact.Mask) {
			t.Errorf("%q does not show the mask", o)
		}
	}
	if s.Reveal() != "hunter2" {
		t.Error("Reveal lost the value")
	}
}

func TestEqual(t *testing.T) {
	f := func(a, b string, want bool) {
		t.Helper()
		if got := redact.New(a).Equal(b); got != want {
			t.Errorf("Equal(%q, %q) = %v", a, b, got)
		}
	}
	f("abc", "abc", true)
	f("abc", "abd", false)
	f("abc", "abcd", false)
	f("", "", true)
	f("", "a", false)
}

func TestURL(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := redact.URL(in); got != want {
			t.Errorf("URL(%q) = %q, want %q", in, got, want)
		}
	}
	f("https://acme.example.com/api/now?sysparm_limit=1&k=v", "https://acme.example.com/api/now?sysparm_limit=x&k=x")
	f("https://user:pw@acme.example.com/x", "https://acme.example.com/x")
	f("postgres://u:p@db:5432/fettle?sslmode=require&password=p", "postgres://db:5432/fettle?sslmode=x&password=x")
	f("https://h/x?T0KEN", "https://h/x?x")
	f("https://h/x#access_token=abc", "https://h/x")
	f("https://h/%zz?token=abc", "https://h/%zz")
	f("https://u:p@w@h/%zz", "https://h/%zz")
	f("u:p@h/%zz", "h/%zz")
	f("/relative?a=b", "/relative?a=x")
}

func TestText(t *testing.T) {
	f := func(in, want string, secrets ...string) {
		t.Helper()
		var ss []redact.Secret
		for _, s := range secrets {
			ss = append(ss, redact.New(s))
		}
		if got := redact.Text(in, ss...); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
	f("login hunter2 failed", "login <redacted> failed", "hunter2")
	f("hunter2hunter2 hunter2", "<redacted> <redacted>", "hunter2", "hunter2hunter2")
	f("q=a%26b%3Dcd", "q=<redacted>", "a&b=cd")
	f("Authorization: Basic dXNlcjpodW50ZXIy", "Authorization: Basic <redacted>")
	f("got bearer abcdefgh.ijk-l", "got bearer <redacted>")
	f("value aHVudGVyMg==", "value <redacted>", "hunter2")
	f(`Get "https://u:p@h/x?token=abc": refused`, `Get "https://h/x?token=x": refused`)
	f("a cat", "a cat", "a", "")
	f("nothing to hide", "nothing to hide")
}
