// Package simulator answers HTTP the way a ServiceNow instance does, as far as
// the Table API for incidents and what an integration looks up beside them.
// It is strict where an instance is strict and odd where it is odd; README.md
// beside this file lists both, and what is not simulated. It holds everything
// in memory, imports the standard library only and knows nothing of Fettle, so
// that a driver tested against it is tested against the protocol.
package simulator

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Server is one simulated instance. It is safe for concurrent use; every
// request runs alone, so a create either wins or sees the winner.
type Server struct {
	cfg    Config
	schema map[string]*tableDef
	faults *faultGate
	log    *requestLog

	mu      sync.Mutex
	tables  map[string]*rowSet
	journal map[string][]*row
	idSeq   uint64
	listSeq uint64
	tokens  *tokenStore
	limits  map[limitKey]*limitWindow
}

// New builds an instance from c. It panics when c.Clock is nil or c names a
// table or a field that is not simulated: mistakes of the calling program.
func New(c Config) *Server {
	if c.Clock == nil {
		panic("simulator: Config.Clock is nil, hand in time.Now or a test clock")
	}
	c = c.withDefaults()
	s := &Server{
		cfg:     c,
		schema:  newSchema(),
		faults:  newFaultGate(),
		log:     newRequestLog(c.RequestLog),
		tables:  map[string]*rowSet{},
		journal: map[string][]*row{},
		tokens:  newTokenStore(),
		limits:  map[limitKey]*limitWindow{},
	}
	for name, def := range s.schema {
		s.tables[name] = newRowSet(def)
	}
	s.checkRules()
	s.preload()
	return s
}

// ServeHTTP answers one request. In the fault modes that cut the connection it
// panics with http.ErrAbortHandler, which net/http turns into a closed socket.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Control && r.URL.Path == controlPath {
		s.serveControl(w, r)
		return
	}
	entry := Request{At: s.now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery}
	fault, lifted := s.faults.take(r)
	if fault.Mode == Slow || fault.Mode == Hang {
		readAhead(r)
	}
	switch fault.Mode {
	case Slow:
		if !pause(r, fault.Delay) {
			s.log.add(entry, isWrite(r))
			panic(http.ErrAbortHandler)
		}
	case Hang:
		select {
		case <-r.Context().Done():
		case <-lifted:
		}
		s.log.add(entry, isWrite(r))
		panic(http.ErrAbortHandler)
	}
	a, faulty := s.faultAnswer(fault)
	if !faulty {
		a = s.answer(r, &entry)
	}
	if fault.Mode == DropAnswer {
		s.log.add(entry, isWrite(r))
		panic(http.ErrAbortHandler)
	}
	entry.Status = a.status
	s.log.add(entry, isWrite(r))
	a.write(w)
}

// longest bounds what is taken in of a request that waits, in bytes.
const longest = 64 << 20

// readAhead takes in the body of a request that is left waiting: until all of it
// has been read, net/http does not notice that the client has gone.
func readAhead(r *http.Request) {
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, longest))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
}

// answer runs a request through the doors in the order an instance has them:
// token endpoint, credentials, rate limit, headers, body, table.
func (s *Server) answer(r *http.Request, entry *Request) answer {
	if r.URL.Path == "/oauth_token.do" {
		return s.serveToken(r)
	}
	who, refusal := s.authenticate(r)
	if refusal != nil {
		return refusal.answer()
	}
	entry.User = who.name
	limited, refusal := s.limit(who)
	if refusal != nil {
		return refusal.answer().with(limited)
	}
	switch {
	case strings.HasPrefix(r.URL.Path, changePath):
		return s.serveChange(r, who, entry).with(limited)
	case strings.HasPrefix(r.URL.Path, "/api/now/attachment"):
		return s.serveAttachment(r, who, entry).with(limited)
	}
	return s.serveAPI(r, who, entry).with(limited)
}

func (s *Server) serveAPI(r *http.Request, who *caller, entry *Request) answer {
	call, refusal := s.readCall(r)
	if refusal != nil {
		return refusal.answer()
	}
	entry.Body = string(call.raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.autoclose()
	a, refusal := s.serveTable(call, who)
	if refusal != nil {
		return refusal.answer()
	}
	entry.Changed = a.changed
	return a
}

// now is the clock at the platform's resolution: whole seconds, UTC.
func (s *Server) now() time.Time {
	return s.cfg.Clock().UTC().Truncate(time.Second)
}

// baseURL is where links point to: the configured one, or where the client
// says it is talking to.
func (s *Server) baseURL(r *http.Request) string {
	if s.cfg.BaseURL != "" {
		return strings.TrimRight(s.cfg.BaseURL, "/")
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
