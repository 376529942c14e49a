package rt_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A recording is a list of exchanges: "> METHOD path" with the body below, then
// "< status" with the headers that matter and the body. Hosts are rt.test.

const anywhere = "http://rt.test"

// recorder passes requests on and writes them down with their answers.
type recorder struct {
	url string
	log bytes.Buffer
}

var kept = []string{"If-Match", "Content-Type", "Location", "ETag", "Date"}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		sent, _ = io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(got))
	put := func(sign, line string, h http.Header, body []byte) {
		fmt.Fprintf(&r.log, "%s %s\n", sign, line)
		for _, name := range kept {
			if v := h.Get(name); v != "" {
				fmt.Fprintf(&r.log, "%s: %s\n", name, v)
			}
		}
		fmt.Fprintf(&r.log, "\n%s\n\n", strings.TrimSpace(strings.ReplaceAll(string(body), r.url, anywhere)))
	}
	put(">", req.Method+" "+req.URL.RequestURI(), req.Header, sent)
	put("<", strconv.Itoa(resp.StatusCode), resp.Header, got)
	return resp, nil
}

type part struct {
	line, body string
	header     http.Header
}

// replayer answers what was recorded, in order, and nothing else.
type replayer struct {
	url string

	mu    sync.Mutex
	parts []part // request, answer, request, ...
	wrong []string
}

func replay(t *testing.T, file string) *replayer {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := &replayer{}
	for _, block := range strings.Split("\n"+string(b), "\n> ")[1:] {
		request, answer, ok := strings.Cut(block, "\n< ")
		if !ok {
			t.Fatalf("%s: a request without an answer: %.100s", file, block)
		}
		r.parts = append(r.parts, parse(request), parse(answer))
	}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func parse(s string) part {
	head, body, _ := strings.Cut(s, "\n\n")
	lines := strings.Split(head, "\n")
	p := part{line: lines[0], header: http.Header{}, body: strings.TrimSpace(body)}
	for _, l := range lines[1:] {
		name, v, _ := strings.Cut(l, ": ")
		p.header.Set(name, v)
	}
	return p
}

func (r *replayer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent, _ := io.ReadAll(req.Body)
	fail := func(format string, args ...any) {
		r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
		http.Error(w, "not in the recording", http.StatusTeapot)
	}
	user, password, _ := req.BasicAuth()
	got := part{line: req.Method + " " + req.URL.RequestURI(), body: strings.TrimSpace(string(sent))}
	switch {
	case len(r.parts) == 0:
		fail("%s was sent after the end", got.line)
		return
	case password != "secret-"+user || req.Header.Get("Cookie") != "" || strings.Contains(req.UserAgent(), "Mozilla"):
		fail("%s came with wrong credentials, a cookie or as %q", got.line, req.UserAgent())
		return
	}
	want, answer := r.parts[0], r.parts[1]
	if got.line != want.line || got.body != want.body || req.Header.Get("If-Match") != want.header.Get("If-Match") ||
		req.Header.Get("Content-Type") != want.header.Get("Content-Type") {
		fail("sent\n%s\n%s\nwant\n%s\n%s", got.line, got.body, want.line, want.body)
		return
	}
	r.parts = r.parts[2:]
	for name := range answer.header {
		w.Header().Set(name, answer.header.Get(name))
	}
	status, _ := strconv.Atoi(answer.line)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, strings.ReplaceAll(answer.body, anywhere, r.url))
}

// done fails when requests were wrong, or missing.
func (r *replayer) done(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.wrong {
		t.Error(w)
	}
	if len(r.parts) > 0 {
		t.Errorf("%d recorded requests were not sent, first %s", len(r.parts)/2, r.parts[0].line)
	}
}
