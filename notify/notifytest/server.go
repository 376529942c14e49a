package notifytest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Reply is what a server answers.
type Reply struct {
	Status int
	Header http.Header
	Body   string
}

// Server is a receiver over HTTP. The functions play the platform.
type Server struct {
	URL string
	// Taken answers a message that is in order. It returns what is kept of it,
	// nil to refuse it with the reply.
	Taken func(r *http.Request, body []byte) (kept []byte, reply Reply)
	// Fail is how the platform answers Throttle, Broken, Refuse, Deny and Empty;
	// quote is what it has got, to be quoted.
	Fail func(f Fault, quote string) Reply
	// YAML is the configuration; every %s stands for the address.
	YAML string
	// Hidden are the secrets of it; every %s stands for the address.
	Hidden map[string]string

	mu        sync.Mutex
	fault     Fault
	got       [][]byte
	elsewhere int
	srv       *httptest.Server
	other     *httptest.Server
	release   chan struct{}
	once      sync.Once
}

var _ Receiver = (*Server)(nil)

// StartServer starts s and ends it with the test.
func StartServer(t testing.TB, s *Server) *Server {
	t.Helper()
	s.release = make(chan struct{})
	s.other = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.elsewhere++
	}))
	s.srv = httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = s.srv.URL
	t.Cleanup(s.Close)
	t.Cleanup(s.other.Close)
	return s
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	quote := fmt.Sprintf("wrong_thing in http://%s%s %v", r.Host, r.RequestURI, r.Header)
	reply := Reply{Status: http.StatusOK, Header: http.Header{}}
	switch fault {
	case Cut:
		panic(http.ErrAbortHandler)
	case Mute:
		<-s.release
		return
	case Page:
		reply.Header.Set("Content-Type", "text/html; charset=utf-8")
		reply.Body = "<!DOCTYPE html><html><body>Please sign in. " + quote + "</body></html>"
	case Redirect:
		reply = Reply{Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {s.other.URL + r.RequestURI}}}
	case None:
		var kept []byte
		if kept, reply = s.Taken(r, body); kept != nil {
			s.mu.Lock()
			s.got = append(s.got, kept)
			s.mu.Unlock()
		}
	default:
		reply = s.Fail(fault, quote)
	}
	for k, v := range reply.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(reply.Status)
	_, _ = io.WriteString(w, reply.Body)
}

// Statuses fails as most platforms do, by status, with a text.
func Statuses(f Fault, quote string) Reply {
	switch f {
	case Throttle:
		return Reply{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"7"}}, Body: quote}
	case Broken:
		return Reply{Status: http.StatusInternalServerError, Body: quote}
	case Refuse:
		return Reply{Status: http.StatusBadRequest, Body: quote}
	case Deny:
		return Reply{Status: http.StatusForbidden, Body: quote}
	}
	return Reply{Status: http.StatusOK}
}

// Config implements Receiver.
func (s *Server) Config() string { return strings.ReplaceAll(s.YAML, "%s", s.URL) }

// Secrets implements Receiver.
func (s *Server) Secrets() map[string]string {
	out := map[string]string{}
	for k, v := range s.Hidden {
		out[k] = strings.ReplaceAll(v, "%s", s.URL)
	}
	return out
}

// Do implements Receiver.
func (s *Server) Do(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Got implements Receiver.
func (s *Server) Got() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte(nil), s.got...)
}

// Elsewhere implements Receiver.
func (s *Server) Elsewhere() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.elsewhere
}

// Close implements Receiver. It may be called twice.
func (s *Server) Close() {
	s.once.Do(func() {
		close(s.release)
		s.srv.CloseClientConnections()
		s.srv.Close()
	})
}
