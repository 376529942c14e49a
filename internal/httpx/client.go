// Package httpx is the one HTTP client that goes out: every attempt has a deadline,
// every answer a bound, every repeat a reason, and no log line or error a secret.
//
// How often a request may be sent is decided by its Class, never by its method alone:
// a lost answer to a request that must happen once is reported (Unanswered), not
// repeated.
package httpx

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/redact"
)

// Class says what sending a request again would do.
type Class int

const (
	// Once must not be sent again when it may have arrived: creating without a key.
	// It is repeated only when it certainly was not acted on: no connection was made,
	// or the answer was 429.
	Once Class = iota
	// Idempotent has the same effect however often it arrives: a PUT, a DELETE, a
	// create with a key. It is also repeated after a lost answer and after 502, 503
	// and 504.
	Idempotent
	// Safe changes nothing: a read. It is also repeated after 408 and 500.
	Safe
)

// String returns the name in lower case.
func (c Class) String() string { return [...]string{"once", "idempotent", "safe"}[c] }

// Options set up a Client. The zero value of each field is its default.
type Options struct {
	// Timeout bounds one attempt, from dialling to the last byte. Default: 30 s.
	Timeout time.Duration
	// Attempts bounds how often a request is sent. Default: 3.
	Attempts int
	// Backoff is the pause before the second attempt; it doubles with each further
	// one. Default: 500 ms.
	Backoff time.Duration
	// MaxWait bounds one pause. A peer that asks for a longer one (Retry-After) gets
	// no further attempt now: the StatusError says when. Default: 30 s.
	MaxWait time.Duration
	// MaxBody bounds an answer; a longer one is ErrTooLarge. Default: 16 MiB.
	MaxBody int64
	// Dial makes the connections. Default: a net.Dialer. See Guard.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is the configuration of connections. Default: the system's.
	TLS *tls.Config
	// Proxy chooses a proxy by request. Default: none.
	Proxy func(*http.Request) (*url.URL, error)
	// Transport replaces Dial, TLS and Proxy.
	Transport http.RoundTripper
	// Limiter is waited for before each attempt; *rate.Limiter is one. Default: none.
	Limiter interface{ Wait(context.Context) error }
	// Logger gets one line per attempt at debug level. Default: none.
	Logger *slog.Logger
	// UserAgent is sent unless the request has one. Default: fettle.
	UserAgent string
	// Secrets are cut out of every log line and error, beside the credentials in the
	// request's own headers. Default: none.
	Secrets []redact.Secret
	// Clock is read for a Retry-After date in an answer without a Date of its own.
	// Default: none, such a Retry-After is not obeyed.
	Clock clock.Clock
	// Jitter returns a number in [0, 1) and spreads pauses over their upper half.
	// Default: 0, the pauses are exact.
	Jitter func() float64
}

// Client sends requests. It is safe for concurrent use.
type Client struct {
	o    Options
	http *http.Client
}

// ErrTooLarge reports an answer longer than MaxBody.
var ErrTooLarge = errors.New("answer larger than the limit")

// ErrRedirect reports a redirect that was not followed: to another host, or one of
// too many.
var ErrRedirect = errors.New("redirect refused")

const maxRedirects = 5

// New returns a Client.
func New(o Options) *Client {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.Timeout, 30*time.Second)
	def(&o.Backoff, 500*time.Millisecond)
	def(&o.MaxWait, 30*time.Second)
	if o.Attempts <= 0 {
		o.Attempts = 3
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 16 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.UserAgent == "" {
		o.UserAgent = "fettle"
	}
	if o.Jitter == nil {
		o.Jitter = func() float64 { return 0 }
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	rt := o.Transport
	if rt == nil {
		rt = &http.Transport{
			DialContext:            o.Dial,
			TLSClientConfig:        o.TLS,
			Proxy:                  o.Proxy,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    8,
			IdleConnTimeout:        90 * time.Second,
			TLSHandshakeTimeout:    10 * time.Second,
			MaxResponseHeaderBytes: 256 << 10,
		}
	}
	return &Client{o: o, http: &http.Client{Transport: rt, CheckRedirect: redirect}}
}

// redirect follows reads within one origin. Anything else is handed back as it came:
// a redirected write would lose its body or its method, and another host would get
// the credentials.
func redirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	if req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host {
		return fmt.Errorf("%w: it leads to another host, %s://%s", ErrRedirect, req.URL.Scheme, req.URL.Host)
	}
	if first.Method != http.MethodGet && first.Method != http.MethodHead {
		return http.ErrUseLastResponse
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("%w: more than %d in a row", ErrRedirect, maxRedirects)
	}
	return nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Response is an answer that was read to its end.
type Response struct {
	// Status is the HTTP status code.
	Status int
	// Header is the header of the last answer.
	Header http.Header
	// Body is the whole body, at most MaxBody bytes.
	Body []byte
	// Attempts is how often the request was sent.
	Attempts int
}

// Do sends req as often as class and Options allow and reads the answer.
//
// A status from 200 to 299 gives a Response and no error. Any other status gives the
// Response, so that the caller may read the peer's reason, and a *StatusError. When
// no whole answer came, the Response is nil and the error is an *Unanswered, or a
// plain error when the request could not be made. The request's own context bounds
// all attempts and pauses together. A body without GetBody is sent once only.
func (c *Client) Do(req *http.Request, class Class) (*Response, error) {
	ctx := req.Context()
	attempts := c.o.Attempts
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		attempts = 1
	}
	secrets := append(headerSecrets(req), c.o.Secrets...)
	mayHaveArrived := false
	for n := 1; ; n++ {
		if c.o.Limiter != nil {
			if err := c.o.Limiter.Wait(ctx); err != nil {
				return nil, c.unanswered(req, err, mayHaveArrived, secrets)
			}
		}
		resp, arrived, err := c.attempt(ctx, req, n)
		mayHaveArrived = mayHaveArrived || arrived
		c.log(ctx, req, class, n, resp, err, secrets)

		var wait time.Duration
		again := false
		switch {
		case err != nil:
			final := ctx.Err() != nil || errors.Is(err, ErrTooLarge) || isRefused(err)
			again = !final && (class != Once || !arrived)
			wait = c.pause(n)
		case resp.Status >= 200 && resp.Status < 300:
			return resp, nil
		default:
			asked := retryAfter(resp.Header, c.o.Clock)
			again = repeatable(class, resp.Status) && asked <= c.o.MaxWait
			wait = max(asked, c.pause(n))
		}
		if again && n < attempts {
			deadline, ok := ctx.Deadline()
			if !ok || time.Until(deadline) > wait { //nolint:forbidigo // deadlines and timers share package time's clock, whatever Options.Clock says
				if sleep(ctx, wait) == nil {
					continue
				}
			}
		}
		if err != nil {
			return nil, c.unanswered(req, err, mayHaveArrived, secrets)
		}
		return resp, c.statusError(req, resp, secrets)
	}
}

// repeatable reports whether an answer with status may be asked for again.
func repeatable(class Class, status int) bool {
	switch status {
	case http.StatusTooManyRequests:
		return true
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return class != Once
	case http.StatusRequestTimeout, http.StatusInternalServerError:
		return class == Safe
	}
	return false
}

// attempt sends req once. arrived reports whether the peer may have got it: from the
// moment there is a connection, nothing proves the contrary.
func (c *Client) attempt(parent context.Context, req *http.Request, n int) (_ *Response, arrived bool, _ error) {
	ctx, cancel := context.WithTimeoutCause(parent, c.o.Timeout, fmt.Errorf("no answer within %s", c.o.Timeout))
	defer cancel()
	// The hooks may run in another goroutine that outlives a cancelled attempt.
	var asked, got atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { got.Store(true) },
	})
	r := req.Clone(ctx)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, false, err
		}
		r.Body = body
	}
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", c.o.UserAgent)
	}
	// A Transport that traces nothing may have sent anything.
	sent := func() bool { return got.Load() || !asked.Load() }

	resp, err := c.http.Do(r)
	if err != nil {
		return nil, sent(), because(ctx, err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(resp.Body, c.o.MaxBody+1)); err != nil {
		return nil, true, because(ctx, fmt.Errorf("status %d, then the answer broke off: %w", resp.StatusCode, err))
	}
	if int64(b.Len()) > c.o.MaxBody {
		return nil, true, fmt.Errorf("%w (%d bytes)", ErrTooLarge, c.o.MaxBody)
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: b.Bytes(), Attempts: n}, true, nil
}

// because puts the cause of a cancelled context in place of "context deadline
// exceeded", and keeps the class of the error.
func because(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%w: %w", cause, ctx.Err())
	}
	return ctx.Err()
}

// pause is how long to wait after attempt n: doubling, spread over the upper half.
func (c *Client) pause(n int) time.Duration {
	d := c.o.Backoff << min(n-1, 20)
	if d <= 0 || d > c.o.MaxWait {
		d = c.o.MaxWait
	}
	return d - time.Duration(c.o.Jitter()*float64(d)/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// headerSecrets returns the credentials a request carries, so that a peer that
// quotes them back does not get them into the log.
func headerSecrets(req *http.Request) []redact.Secret {
	var out []redact.Secret
	for name, values := range req.Header {
		switch strings.ToLower(name) {
		case "authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token":
		default:
			continue
		}
		for _, v := range values {
			out = append(out, redact.New(v))
			if _, credential, ok := strings.Cut(v, " "); ok {
				out = append(out, redact.New(credential))
			}
		}
	}
	if _, password, ok := req.BasicAuth(); ok {
		out = append(out, redact.New(password))
	}
	if req.URL.User != nil {
		if p, ok := req.URL.User.Password(); ok {
			out = append(out, redact.New(p))
		}
	}
	return out
}

func (c *Client) log(ctx context.Context, req *http.Request, class Class, n int, resp *Response, err error, secrets []redact.Secret) {
	attrs := []slog.Attr{
		slog.String("method", req.Method), slog.String("url", redact.Text(redact.URL(req.URL.String()), secrets...)),
		slog.String("class", class.String()), slog.Int("attempt", n),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", redact.Text(unwrapURL(err).Error(), secrets...)))
	} else {
		attrs = append(attrs, slog.Int("status", resp.Status), slog.Int("bytes", len(resp.Body)))
	}
	c.o.Logger.LogAttrs(ctx, slog.LevelDebug, "http request sent", attrs...)
}
