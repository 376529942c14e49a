package execute_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fettleops/fettle/execute"
)

func TestOutput(t *testing.T) {
	f := func(name string, limit int, writes []string, want string) {
		t.Helper()
		o := execute.NewOutput(limit, redact)
		for _, w := range writes {
			if n, err := o.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("%s: write returned %d, %v", name, n, err)
			}
		}
		if got := o.Text(); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		if first := o.Text(); o.Text() != first {
			t.Errorf("%s: reading changes it", name)
		}
	}
	f("nothing", 10, nil, "")
	f("a line", 20, []string{"hello\n"}, "hello\n")
	f("an unfinished line is shown", 20, []string{"hel", "lo"}, "hello")
	f("a secret cut by writes", 40, []string{"x s3", "cr", "3t y\n"}, "x <redacted> y\n")
	f("a secret in an unfinished line", 40, []string{"x s3cr3t"}, "x <redacted>")
	f("exactly the limit", 10, []string{"0123456789"}, "0123456789")
	f("one more than the limit", 10, []string{"0123456789a"}, "01234\n... 1 bytes left out ...\n6789a")
	f("head and tail", 10, []string{"12345\n", strings.Repeat("x", 50) + "\n", "6789\n"}, "12345\n... 52 bytes left out ...\n6789\n")
	f("a rune cut in two", 4, []string{"aé\n", "éb\n", "c\n"}, "a\uFFFD\n... 6 bytes left out ...\nc\n")
}

func TestOutputStaysBounded(t *testing.T) {
	o := execute.NewOutput(1000, nil)
	for range 100 {
		if _, err := o.Write([]byte(strings.Repeat("endless ", 1000))); err != nil {
			t.Fatal(err)
		}
		if n := len(o.Text()); n > 1100 {
			t.Fatalf("%d bytes are kept", n)
		}
	}
}

func FuzzOutput(f *testing.F) {
	f.Add("a\nb", "s3cr3t", 8)
	f.Add("\xff\xfe", strings.Repeat("é", 40), 3)
	f.Fuzz(func(t *testing.T, a, b string, limit int) {
		limit = 1 + limit&0xff
		o := execute.NewOutput(limit, redact)
		_, _ = o.Write([]byte(a))
		_, _ = o.Write([]byte(b))
		// A byte that is no text becomes three that are.
		if text := o.Text(); !utf8.ValidString(text) || len(text) > 3*(limit+1)+64 {
			t.Fatalf("%d bytes of %q for a limit of %d", len(text), text, limit)
		}
	})
}
