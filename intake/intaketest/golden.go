package intaketest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

var update = flag.Bool("update", false, "write the golden files anew")

// outcome is a delivery as golden files show it.
type outcome struct {
	Fault   *intake.Fault  `json:"fault,omitempty"`
	Outcome intake.Outcome `json:"outcome,omitempty"`
	Dedupe  string         `json:"dedupe,omitempty"`
	Note    string         `json:"note,omitempty"`
	Then    bool           `json:"then,omitempty"` // asks for a side conversation
	Signals []ops.Signal   `json:"signals,omitempty"`
}

// source opens a driver as its decoder tests need it.
func source(t testing.TB, driver intake.Driver, options string) intake.Source {
	t.Helper()
	s, err := driver.Open(YAML(options), intake.Env{Integration: Name, Clock: func() time.Time { return Now }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Golden decodes testdata/<case>/in.json with the headers in
// testdata/<case>/headers ("Name: value" lines, optional) and the options in
// options.yaml (optional), and compares with out.json. The flag -update writes
// out.json. What comes of a case that is spoiled in one place is sound too, a
// long test.
func Golden(t *testing.T, driver intake.Driver) {
	cases, err := filepath.Glob(filepath.Join("testdata", "*", "in.json"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no case in testdata (%v)", err)
	}
	for _, in := range cases {
		dir := filepath.Dir(in)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			r := &intake.Request{Integration: Name, Header: headers(t, filepath.Join(dir, "headers")), Body: read(t, in), ReceivedAt: Now, Passed: []string{"sns"}}
			s := source(t, driver, string(optional(t, filepath.Join(dir, "options.yaml"))))
			got := decode(t, s, r)
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			if err := e.Encode(got); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "out.json")
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := read(t, file); !bytes.Equal(b.Bytes(), want) {
				t.Errorf("decoded\n%s\nwant\n%s", &b, want)
			}
			if json.Valid(r.Body) {
				t.Run("spoiled", func(t *testing.T) {
					peer.Long(t)
					spoiled(t, s, r.Header, r.Body)
				})
			}
		})
	}
}

func decode(t testing.TB, s intake.Source, r *intake.Request) outcome {
	t.Helper()
	out, err := decoded(s, r)
	if err != nil {
		t.Error(err)
	}
	return out
}

// decoded returns what a source makes of a request, and what is wrong with it.
func decoded(s intake.Source, r *intake.Request) (outcome, error) {
	d, err := s.Decode(r)
	var f *intake.Fault
	switch {
	case errors.As(err, &f):
		return outcome{Fault: f}, nil
	case err != nil:
		return outcome{}, fmt.Errorf("an error of a decoder is a *intake.Fault, got %T: %w", err, err)
	}
	var wrong []error
	for _, s := range d.Signals {
		if err := Sound(s); err != nil {
			wrong = append(wrong, fmt.Errorf("unsound signal: %w", err))
		}
	}
	return outcome{Outcome: d.Outcome, Dedupe: d.Dedupe, Note: d.Note, Then: d.Then != nil, Signals: d.Signals}, errors.Join(wrong...)
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func optional(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return b
}

func headers(t testing.TB, file string) http.Header {
	t.Helper()
	h := http.Header{}
	for line := range strings.Lines(string(optional(t, file))) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			h.Set(k, v)
		}
	}
	return h
}

// Fuzz feeds a decoder with mutations of every golden input. Whatever comes
// in, it does not panic, refuses with a *intake.Fault or gives sound signals
// that survive the log, and decodes the same body the same way again.
func Fuzz(f *testing.F, driver intake.Driver, options string) {
	cases, err := filepath.Glob(filepath.Join("testdata", "*", "in.json"))
	if err != nil || len(cases) == 0 {
		f.Fatalf("no seed in testdata (%v)", err)
	}
	for _, in := range cases {
		f.Add(read(f, in))
	}
	s := source(f, driver, options)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := func() *intake.Request {
			return &intake.Request{Integration: Name, Header: http.Header{}, Body: bytes.Clone(body), ReceivedAt: Now, Passed: []string{"sns"}}
		}
		got := decode(t, s, r())
		if again := decode(t, s, r()); !reflect.DeepEqual(got, again) {
			t.Errorf("decoded twice:\n%+v\n%+v", got, again)
		}
		if _, err := json.Marshal(ops.Message{Signals: got.Signals}); err != nil {
			t.Errorf("does not survive the log: %v", err)
		}
	})
}
