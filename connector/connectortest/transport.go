package connectortest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// wire is the transport between driver and peer. It injects faults and counts.
type wire struct {
	peer    http.RoundTripper
	isWrite func(*http.Request) bool

	mu     sync.Mutex
	fault  fault
	on     func(*http.Request) bool // which requests the fault hits; nil for all
	writes int
	sent   int
}

// fault answers a request in place of the peer, or after it.
type fault func(w *wire, req *http.Request) (*http.Response, error)

var _ connector.HTTP = (*wire)(nil)

// Do implements connector.HTTP: one attempt, so that the rules see each.
func (w *wire) Do(req *http.Request, e connector.Effect) (*http.Response, error) {
	resp, err := w.trip(req)
	if err == nil {
		return resp, nil
	}
	err = fmt.Errorf("%s %s: %w: %w", req.Method, req.URL.Path, err, ops.ErrUnavailable)
	var refused *net.OpError
	if e == connector.Read || errors.As(err, &refused) && refused.Op == "dial" {
		return nil, err
	}
	return nil, &ops.UnknownOutcome{Err: err}
}

func (w *wire) trip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.sent++
	if w.isWrite(req) {
		w.writes++
	}
	f := w.fault
	if w.on != nil && !w.on(req) {
		f = nil
	}
	w.mu.Unlock()
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if f != nil {
		return f(w, req)
	}
	return w.peer.RoundTrip(req)
}

// inject makes every request that on picks meet f; nil mends the wire.
func (w *wire) inject(f fault, on func(*http.Request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault, w.on = f, on
}

func (w *wire) counts() (sent, writes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent, w.writes
}

func answer(req *http.Request, status int, kind, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {kind}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

func drain(req *http.Request) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
}

// says answers with a status and a body instead of the peer. Every secret the
// request carried is in the body, as an indiscreet proxy would put it.
func says(status int, kind, body string, header ...string) fault {
	return func(_ *wire, req *http.Request) (*http.Response, error) {
		sent := ""
		if req.Body != nil {
			b, _ := io.ReadAll(req.Body)
			_ = req.Body.Close()
			sent = string(b)
		}
		user, password, _ := req.BasicAuth()
		echo := strings.NewReplacer("ECHO", strings.NewReplacer(`"`, "'", "\n", " ").Replace(
			strings.Join([]string{req.Header.Get("Authorization"), user, password, req.URL.RawQuery, sent}, " ")))
		return answer(req, status, kind, echo.Replace(body), header...), nil
	}
}

// losesAnswer lets the peer do its work and cuts the connection before the answer.
func losesAnswer(w *wire, req *http.Request) (*http.Response, error) {
	resp, err := w.peer.RoundTrip(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	return nil, io.ErrUnexpectedEOF
}

// cutsBody answers what the peer does, without its second half.
func cutsBody(w *wire, req *http.Request) (*http.Response, error) {
	resp, err := w.peer.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(string(b[:len(b)/2])), broken{}))
	return resp, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// hangs never answers.
func hangs(_ *wire, req *http.Request) (*http.Response, error) {
	drain(req)
	<-req.Context().Done()
	return nil, context.Cause(req.Context())
}

// refuses is a port nobody listens on.
func refuses(_ *wire, req *http.Request) (*http.Response, error) {
	drain(req)
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}
