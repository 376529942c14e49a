package simulator

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Mode is a way to be broken.
type Mode string

// The modes. Off is a healthy instance.
const (
	Off Mode = "off"
	// Hibernating answers 200 and an HTML page to everything, as a sleeping
	// developer instance does.
	Hibernating Mode = "hibernating"
	// Unavailable answers 503.
	Unavailable Mode = "unavailable"
	// RateLimited answers 429 with Retry-After.
	RateLimited Mode = "ratelimited"
	// Hang takes the request and never answers; lifting the fault cuts the connection.
	Hang Mode = "hang"
	// DropAnswer does what a write asks for and cuts the connection instead of
	// answering. Reads are answered.
	DropAnswer Mode = "drop-answer"
	// Broken answers 500 and an HTML page.
	Broken Mode = "error"
	// Slow waits for Delay and then answers.
	Slow Mode = "slow"
)

var modes = []Mode{Off, Hibernating, Unavailable, RateLimited, Hang, DropAnswer, Broken, Slow}

// Fault is what is wrong with the instance.
type Fault struct {
	Mode Mode
	// Times is how many requests it strikes before it heals by itself; 0 is
	// until it is changed.
	Times int
	// Writes spares requests that only read.
	Writes bool
	// RetryAfter goes with RateLimited. Defaults to 60 seconds.
	RetryAfter time.Duration
	// Delay goes with Slow. Defaults to one second.
	Delay time.Duration
}

// faultGate holds the current fault.
type faultGate struct {
	mu     sync.Mutex
	fault  Fault
	lifted chan struct{}
}

func newFaultGate() *faultGate {
	return &faultGate{fault: Fault{Mode: Off}, lifted: make(chan struct{})}
}

// SetDown puts the instance in a mode until further notice; Off heals it.
func (s *Server) SetDown(m Mode) { s.SetFault(Fault{Mode: m}) }

// SetFault replaces the current fault. Requests that hang in the old one are cut.
func (s *Server) SetFault(f Fault) {
	setDefault(&f.Mode, Off)
	setDefault(&f.RetryAfter, time.Minute)
	setDefault(&f.Delay, time.Second)
	g := s.faults
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault = f
	close(g.lifted)
	g.lifted = make(chan struct{})
}

// Fault returns what is wrong now.
func (s *Server) Fault() Fault {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return s.faults.fault
}

// take says what strikes this request, and when that is over.
func (g *faultGate) take(r *http.Request) (Fault, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.fault
	if (f.Writes || f.Mode == DropAnswer) && !isWrite(r) {
		return Fault{Mode: Off}, g.lifted
	}
	if f.Times > 0 {
		g.fault.Times--
		if g.fault.Times == 0 {
			g.fault = Fault{Mode: Off}
		}
	}
	return f, g.lifted
}

// isWrite reports whether a request changes a table. Asking for a token does not.
func isWrite(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/api/") && r.Method != http.MethodGet
}

// faultAnswer is the answer of the modes that have one of their own.
func (s *Server) faultAnswer(f Fault) (answer, bool) {
	switch f.Mode {
	case Hibernating:
		return htmlAnswer(http.StatusOK, hibernatingPage), true
	case Unavailable:
		return htmlAnswer(http.StatusServiceUnavailable, "<html><body><h1>503 Service Unavailable</h1></body></html>"), true
	case Broken:
		return htmlAnswer(http.StatusInternalServerError, "<html><body><h1>500 Internal Server Error</h1></body></html>"), true
	case RateLimited:
		seconds := int64(f.RetryAfter / time.Second)
		return rateLimited(faultLimit).answer().with(http.Header{
			"Retry-After": {strconv.FormatInt(seconds, 10)},
			// The names are canonical already; an instance's spelling differs only in case.
			"X-Ratelimit-Limit": {strconv.Itoa(faultLimit)},
			"X-Ratelimit-Reset": {strconv.FormatInt(s.now().Unix()+seconds, 10)},
			"X-Ratelimit-Rule":  {s.derivedID("sys_rate_limit_rules", "fault")},
		}), true
	}
	return answer{}, false
}

// faultLimit is the limit that the RateLimited mode claims.
const faultLimit = 100

const hibernatingPage = `<!DOCTYPE html>
<html><head><title>Instance Hibernating page</title></head>
<body><h1>Your instance is hibernating.</h1><p>Want to find out why instances hibernate?</p></body></html>
`

// pause waits and reports whether the client waited too.
func pause(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// validate names what is wrong with a fault that came in from outside.
func (f Fault) validate() error {
	known := make([]string, 0, len(modes))
	for _, m := range modes {
		if f.Mode == m {
			known = nil
			break
		}
		known = append(known, string(m))
	}
	switch {
	case known != nil:
		return fmt.Errorf("mode %q is unknown, use one of %s", f.Mode, strings.Join(known, ", "))
	case f.Times < 0:
		return fmt.Errorf("times %d is negative, use 0 for until changed", f.Times)
	case f.RetryAfter < 0:
		return fmt.Errorf("retry_after_seconds %d is negative, use 0 for the default", int64(f.RetryAfter/time.Second))
	case f.Delay < 0:
		return fmt.Errorf("delay_ms %d is negative, use 0 for the default", f.Delay.Milliseconds())
	}
	return nil
}
