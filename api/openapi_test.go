package api

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/ops"
)

//go:generate go test -run ^TestOpenAPIIsCurrent$ -update .

var update = flag.Bool("update", false, "write openapi.yaml instead of comparing it")

// golden is the promise: what it holds, API v1 holds for ever.
const golden = "openapi.yaml"

// described returns the description of an API that is plugged into nothing.
// The version of the build is no part of the promise.
func described(t *testing.T) []byte {
	t.Helper()
	b, err := New(Deps{Logger: slog.New(slog.DiscardHandler), Version: "v1"}).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOpenAPIIsCurrent compares the committed description with the handlers.
// With -update it writes it, unless that would take something away.
func TestOpenAPIIsCurrent(t *testing.T) {
	now := described(t)
	committed, err := os.ReadFile(golden)
	if err != nil && (!*update || !errors.Is(err, os.ErrNotExist)) {
		t.Fatal(err)
	}
	if err == nil {
		for _, loss := range lost(document(t, committed), document(t, now)) {
			t.Errorf("API v1 only grows, and this takes away: %s", loss)
		}
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(golden, now, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(committed, now) {
		t.Errorf("%s is not what the handlers say; run make generate", golden)
	}
}

func document(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var d map[string]any
	if err := yaml.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// lost says what a client of the description was may miss in now: anything
// removed or retyped, a value of an enumeration that is accepted no more, and
// anything newly required of the client.
func lost(was, now map[string]any) []string {
	var out []string
	asked, answered := referenced(now, "requestBody"), referenced(now, "responses")
	demanded := func(path string, was, now any) []string {
		name, inner := "", path
		if rest, ok := strings.CutPrefix(path, schemas); ok {
			name, _, _ = strings.Cut(rest, "/")
			inner = ""
		}
		return demanded(path, was, now, asked[name] || strings.Contains(inner, "/requestBody"), answered[name] || strings.Contains(inner, "/responses/"))
	}
	var walk func(path string, was, now any)
	walk = func(path string, was, now any) {
		switch was := was.(type) {
		case map[string]any:
			now, ok := now.(map[string]any)
			if !ok {
				out = append(out, path+" is of another kind")
				return
			}
			for _, k := range slices.Sorted(maps.Keys(was)) {
				switch {
				case prose[k] && !strings.HasSuffix(path, "/properties"):
				case now[k] == nil && was[k] != nil:
					out = append(out, path+"/"+k)
				case k == "required":
					out = append(out, demanded(path, was[k], now[k])...)
				default:
					walk(path+"/"+k, was[k], now[k])
				}
			}
			if _, had := was["required"]; !had && now["required"] != nil && !strings.HasSuffix(path, "/properties") {
				out = append(out, demanded(path, nil, now["required"])...)
			}
		case []any:
			list, _ := now.([]any)
			for i, item := range was {
				if path == "/servers" {
					return
				}
				if m, ok := item.(map[string]any); ok && m["name"] != nil { // parameters go by name
					walk(fmt.Sprintf("%s/%v", path, m["name"]), item, itemNamed(list, m["name"]))
					continue
				}
				if !slices.ContainsFunc(list, func(x any) bool { return fmt.Sprint(x) == fmt.Sprint(item) }) {
					out = append(out, fmt.Sprintf("%s[%d] %v", path, i, item))
				}
			}
			for _, item := range list {
				m, ok := item.(map[string]any)
				if ok && m["required"] == true && itemNamed(was, m["name"]) == nil {
					out = append(out, fmt.Sprintf("%s demands the new parameter %v", path, m["name"]))
				}
			}
		default:
			if fmt.Sprint(was) != fmt.Sprint(now) {
				out = append(out, fmt.Sprintf("%s was %v and is %v", path, was, now))
			}
		}
	}
	walk("", was, now)
	return out
}

// prose may change: it promises nothing to a program.
var prose = map[string]bool{"description": true, "summary": true, "title": true, "examples": true, "info": true}

const schemas = "/components/schemas/"

// referenced returns the schemas that operations use in their part of that
// name, directly or by way of another schema.
func referenced(doc map[string]any, part string) map[string]bool {
	out := map[string]bool{}
	components, _ := doc["components"].(map[string]any)
	defined, _ := components["schemas"].(map[string]any)
	var collect func(x any, inside bool)
	collect = func(x any, inside bool) {
		switch x := x.(type) {
		case map[string]any:
			for k, v := range x {
				if ref, ok := v.(string); ok && k == "$ref" && inside {
					name := ref[strings.LastIndex(ref, "/")+1:]
					if !out[name] {
						out[name] = true
						collect(defined[name], true)
					}
				}
				collect(v, inside || k == part)
			}
		case []any:
			for _, v := range x {
				collect(v, inside)
			}
		}
	}
	collect(doc["paths"], false)
	return out
}

// demanded finds what is newly required of a caller, and what an answer always
// held and may lack now.
func demanded(path string, was, now any, asked, answered bool) []string {
	if now == true && was != true {
		return []string{path + " is required now"}
	}
	had, _ := was.([]any)
	has, _ := now.([]any)
	var out []string
	for _, name := range has {
		if asked && !slices.Contains(had, name) {
			out = append(out, fmt.Sprintf("%s requires %v now", path, name))
		}
	}
	for _, name := range had {
		if answered && !slices.Contains(has, name) {
			out = append(out, fmt.Sprintf("%s no longer promises %v", path, name))
		}
	}
	return out
}

func itemNamed(list []any, name any) any {
	for _, item := range list {
		if m, ok := item.(map[string]any); ok && m["name"] == name {
			return m
		}
	}
	return nil
}

// TestLostBites shows lost each way of breaking a client.
func TestLostBites(t *testing.T) {
	const base = `
info: {version: v1}
paths:
  /a:
    get:
      summary: A
      parameters: [{name: limit, in: query, schema: {type: integer, enum: [1, 2]}}]
      responses: {"200": {description: OK, schema: {$ref: "#/components/schemas/A"}}, "404": {description: gone}}
    post: {requestBody: {required: false, schema: {$ref: "#/components/schemas/B"}}}
components:
  schemas:
    A: {type: object, required: [id], properties: {id: {type: string}, description: {type: string}}}
    B: {type: object, required: [name], properties: {inner: {$ref: "#/components/schemas/C"}}}
    C: {type: object, properties: {x: {type: string}}}
`
	f := func(old, replacement, want string) {
		t.Helper()
		changed := strings.Replace(base, old, replacement, 1)
		if changed == base {
			t.Fatalf("%q is not in the document", old)
		}
		got := strings.Join(lost(document(t, []byte(base)), document(t, []byte(changed))), "; ")
		if got != want {
			t.Errorf("%s -> %s:\ngot  %s\nwant %s", old, replacement, got, want)
		}
	}
	f("summary: A", "summary: B", "")
	f("description: gone", "description: lost", "")
	f("{version: v1}", "{version: v2}", "")
	f("/a:\n", "/b:\n", "/paths//a")
	f("    post:", "    put:", "/paths//a/post")
	f("{name: limit", "{name: size", "/paths//a/get/parameters/limit is of another kind")
	f("limit, in: query", "limit, required: true, in: query", "/paths//a/get/parameters/limit is required now")
	f("parameters: [", "parameters: [{name: size, required: true}, ", "/paths//a/get/parameters demands the new parameter size")
	f("parameters: [", "parameters: [{name: size}, ", "")
	f("type: integer", "type: string", "/paths//a/get/parameters/limit/schema/type was integer and is string")
	f("enum: [1, 2]", "enum: [1]", "/paths//a/get/parameters/limit/schema/enum[1] 2")
	f("enum: [1, 2]", "enum: [1, 2, 3]", "")
	f(`, "404": {description: gone}`, "", "/paths//a/get/responses/404")
	f("required: false", "required: true", "/paths//a/post/requestBody is required now")
	f("required: [id]", "required: [id, b]", "") // an answer may hold more
	f("required: [name]", "required: []", "")    // a request may hold less
	f("required: [name]", "required: [name, b]", "/components/schemas/B requires b now")
	f("C: {type: object", "C: {required: [x], type: object", "/components/schemas/C requires x now")
	f("required: [id]", "required: []", "/components/schemas/A no longer promises id")
	f("{id: {type: string}, ", "{", "/components/schemas/A/properties/id")
	f(", description: {type: string}", "", "/components/schemas/A/properties/description")
}

// TestOperationsAreDescribed wants of each operation a summary and, for every
// error, the content type of a problem.
func TestOperationsAreDescribed(t *testing.T) {
	paths, _ := document(t, described(t))["paths"].(map[string]any)
	if len(paths) < 15 {
		t.Fatalf("%d paths are described", len(paths))
	}
	for path, p := range paths {
		for method, o := range p.(map[string]any) {
			op := o.(map[string]any)
			what := strings.ToUpper(method) + " " + path
			if s, _ := op["summary"].(string); s == "" || strings.HasSuffix(s, ".") {
				t.Errorf("%s: summary %q, want a few words without a full stop", what, s)
			}
			responses, _ := op["responses"].(map[string]any)
			failures := 0
			for code, r := range responses {
				if code < "400" {
					continue
				}
				failures++
				content, _ := r.(map[string]any)["content"].(map[string]any)
				if len(content) != 1 || content[problemType] == nil {
					t.Errorf("%s: answer %s is %v, want %s", what, code, content, problemType)
				}
			}
			if responses["401"] == nil || responses["403"] == nil || failures < 3 {
				t.Errorf("%s: describes %d errors, want at least 400, 401 and 403", what, failures)
			}
		}
	}
}

func TestStatusFollowsTheClass(t *testing.T) {
	f := func(err error, want int, text string) {
		t.Helper()
		code, got := Status(fmt.Errorf("change: approve CHG-1: %w", err))
		if code != want || !strings.Contains(got, text) {
			t.Errorf("%v = %d %q, want %d and %q", err, code, got, want, text)
		}
	}
	f(ops.ErrNotFound, 404, "approve CHG-1")
	f(ops.ErrInvalid, 422, "approve CHG-1")
	f(ops.ErrDenied, 403, "approve CHG-1")
	f(ops.ErrConflict, 409, "approve CHG-1")
	f(ops.ErrThrottled, 429, "approve CHG-1")
	f(ops.ErrUnavailable, 503, "approve CHG-1")
	f(ops.ErrStalled, 409, "approve CHG-1")
	f(&ops.Throttled{After: time.Minute, Err: errors.New("slow down")}, 429, "slow down")
	f(ops.ErrInternal, 500, "Something is wrong inside Fettle")
	f(errors.New("hunter2"), 500, "Something is wrong inside Fettle")
	if _, text := Status(errors.New("hunter2")); strings.Contains(text, "hunter2") {
		t.Errorf("an unclassified error is shown: %q", text)
	}
}

// TestProblemsAreServed asks a real handler for each way of refusing that is
// decided before any room is asked.
func TestProblemsAreServed(t *testing.T) {
	a := New(Deps{
		Logger: slog.New(slog.DiscardHandler), Clock: time.Now,
		Bearer: func(_ context.Context, token string) (ops.Principal, error) {
			if token != "viewer" {
				return ops.Principal{}, ops.ErrDenied
			}
			return ops.Principal{Name: "vi", Kind: ops.Person, Roles: []ops.Role{ops.Viewer}}, nil
		},
	})
	f := func(token, method, path, body string, want int) {
		t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); w.Code != want || got != problemType {
			t.Errorf("%s %s = %d %s %s, want %d %s", method, path, w.Code, got, w.Body, want, problemType)
		}
	}
	f("", http.MethodGet, "/api/v1/incidents", "", 401)
	f("stolen", http.MethodGet, "/api/v1/incidents", "", 401)
	f("viewer", http.MethodGet, "/api/v1/tokens", "", 403)
	f("viewer", http.MethodPost, "/api/v1/incidents/INC-1/comments", `{"text":"x"}`, 403)
	f("viewer", http.MethodGet, "/api/v1/incidents?limit=0", "", 422)
	f("viewer", http.MethodGet, "/api/v1/incidents?cursor=x", "", 422)
	f("viewer", http.MethodPost, "/api/v1/incidents/INC-1/comments", `{"text":`, 400)
}
