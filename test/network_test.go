package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
)

// network connects hosts by name with pipes. A real socket would hang a bubble
// of virtual time, which cannot tell waiting for the kernel from working.
type network struct {
	mu    sync.Mutex
	hosts map[string]*wire
}

func newNetwork() *network { return &network{hosts: map[string]*wire{}} }

// listen makes a host answer until the listener is closed.
func (n *network) listen(host string) net.Listener {
	w := &wire{host: host, calls: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[host] = w
	return w
}

// transport reaches the hosts of the network and nothing else.
func (n *network) transport() *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		w := n.hosts[host]
		n.mu.Unlock()
		if w == nil {
			return nil, &net.OpError{Op: "dial", Net: "pipe", Err: fmt.Errorf("no host %s", host)}
		}
		return w.dial(ctx)
	}}
}

// wire is one listening host.
type wire struct {
	host   string
	calls  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (w *wire) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case w.calls <- there:
		return here, nil
	case <-w.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Addr: w.Addr(), Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.calls:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

func (w *wire) Addr() net.Addr { return address(w.host + ":80") }

type address string

func (address) Network() string  { return "pipe" }
func (a address) String() string { return string(a) }

// buffered sends bodies out of memory. A pipe hands a request over whole, so
// that the answer may be back before the client has looked for the end of its
// body; libraries that close the body by then would break the connection.
type buffered struct{ *http.Transport }

func (b buffered) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return b.Transport.RoundTrip(req)
	}
	body, err := io.ReadAll(req.Body)
	_ = req.Body.Close()
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Body = io.NopCloser(bytes.NewReader(body))
	return b.Transport.RoundTrip(req)
}
