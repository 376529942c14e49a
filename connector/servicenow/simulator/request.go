package simulator

import (
	"sync"
	"time"
)

// Request is one line of the request log.
type Request struct {
	// Seq counts from 1.
	Seq int
	At  time.Time
	// User is empty when the request never got past the credentials.
	User   string
	Method string
	Path   string
	Query  string
	// Body is the JSON of a write to a table; the body of a token request is
	// never kept.
	Body string
	// Status is 0 when the connection was cut.
	Status int
	// Changed reports whether a table changed, also when the answer was lost.
	Changed bool
}

// Counts are totals since New; they are not bounded as the log is.
type Counts struct {
	Requests int
	// Writes are requests to a table with another method than GET.
	Writes int
	// Changes are writes that changed a table.
	Changes int
}

// requestLog remembers the latest requests.
type requestLog struct {
	mu     sync.Mutex
	limit  int
	latest []Request
	counts Counts
}

func newRequestLog(limit int) *requestLog { return &requestLog{limit: limit} }

func (l *requestLog) add(r Request, write bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Requests++
	if write {
		l.counts.Writes++
	}
	if r.Changed {
		l.counts.Changes++
	}
	r.Seq = l.counts.Requests
	if len(l.latest) >= 2*l.limit {
		l.latest = append(l.latest[:0], l.latest[len(l.latest)-l.limit:]...)
	}
	l.latest = append(l.latest, r)
}

// Requests returns the latest requests, oldest first, at most Config.RequestLog.
func (s *Server) Requests() []Request {
	l := s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Request(nil), l.latest[max(0, len(l.latest)-l.limit):]...)
}

// Counts returns how much was asked and how much changed.
func (s *Server) Counts() Counts {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.log.counts
}
