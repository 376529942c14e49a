package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/internal/httpx"
	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/ops"
)

const (
	// timeout bounds one attempt to reach a receiver.
	timeout = 20 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 64 << 10
	// shortSecret is the length up to which a part of an address is taken for a
	// word and not for a secret.
	shortSecret = 7
)

// Poster posts to one receiver over HTTP. It follows no redirect, tries once
// and reads a bounded answer; the room decides about another attempt.
type Poster struct {
	env       Env
	transport http.RoundTripper
}

// NewPoster returns a poster. Addresses of this machine and of private
// networks are refused, after names are resolved, unless allow lists them.
func NewPoster(env Env, allow []netip.Prefix) *Poster {
	p := &Poster{env: env, transport: env.Transport}
	if p.transport == nil {
		p.transport = &http.Transport{
			DialContext: (&httpx.Guard{Allow: allow}).DialContext, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2,
			IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return p
}

// ParseAllow reads networks such as 10.0.0.0/8.
func ParseAllow(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for i, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("allow[%d] %q: write a network such as 10.0.0.0/8: %w", i, s, ops.ErrInvalid)
		}
		out = append(out, p)
	}
	return out, nil
}

// Answer is what a receiver answered with success.
type Answer struct {
	Header http.Header
	Body   []byte
}

// HTML reports whether the answer is a page for people, as a proxy or a login
// in between gives, and not the receiver's.
func (a Answer) HTML() bool {
	return strings.Contains(strings.ToLower(a.Header.Get("Content-Type")), "text/html") || bytes.HasPrefix(bytes.TrimSpace(a.Body), []byte("<"))
}

// Post sends a body to an address that is a secret in whole, with further
// secrets in the header. A status of 2xx is success, unless the answer is a
// page. Errors name the host alone; what the receiver said is quoted without
// secrets.
func (p *Poster) Post(ctx context.Context, address redact.Secret, header http.Header, body []byte, secrets ...redact.Secret) (Answer, error) {
	u, err := url.Parse(strings.TrimSpace(address.Reveal()))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return Answer{}, fmt.Errorf("the address is none of http or https: %w", ops.ErrInvalid)
	}
	secrets = append(secrets, partsOf(u)...)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("the request to %s cannot be made: %w", u.Host, ops.ErrInvalid)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if u.User != nil { // a header, so that no error repeats it
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
		req.URL.User = nil
	}
	client := httpx.New(httpx.Options{
		Timeout: timeout, Attempts: 1, MaxBody: maxAnswer, Transport: p.transport, UserAgent: p.env.UserAgent, Secrets: secrets, Clock: p.env.Clock,
	})
	failpoint.Hit("notify.post.before")
	resp, err := client.Do(req, httpx.Once)
	failpoint.Hit("notify.post.after")
	if err != nil {
		return Answer{}, classify(u.Host, resp, err, secrets)
	}
	a := Answer{Header: resp.Header, Body: resp.Body}
	if a.HTML() {
		return a, fmt.Errorf("%s answered %d with a page, which is not what a receiver of messages says: is the address right, is a proxy or a login in between? %w", u.Host, resp.Status, ops.ErrUnavailable)
	}
	return a, nil
}

// partsOf returns what of an address may not be quoted.
func partsOf(u *url.URL) []redact.Secret {
	out := []redact.Secret{redact.New(u.String())}
	add := func(s string) {
		if len(s) > shortSecret {
			out = append(out, redact.New(s))
		}
	}
	add(u.RequestURI())
	add(u.Path)
	add(u.EscapedPath())
	for part := range strings.SplitSeq(u.Path, "/") {
		add(part)
	}
	for _, values := range u.Query() {
		for _, v := range values {
			add(v)
		}
	}
	if u.User != nil {
		add(u.User.String())
		if password, ok := u.User.Password(); ok {
			out = append(out, redact.New(password))
		}
	}
	return out
}

// classify turns the failure of a post into a class of ops.
func classify(host string, resp *httpx.Response, err error, secrets []redact.Secret) error {
	var status *httpx.StatusError
	if !errors.As(err, &status) || resp == nil {
		return unanswered(host, err, secrets)
	}
	said := fmt.Sprintf("%s answered %d %s", host, status.Code, http.StatusText(status.Code))
	if status.Snippet != "" && !(Answer{Header: resp.Header, Body: resp.Body}).HTML() {
		said += ": " + status.Snippet
	}
	switch c := status.Code; {
	case c == http.StatusTooManyRequests:
		return &ops.Throttled{After: status.RetryAfter, Err: fmt.Errorf("%s: %w", said, ops.ErrThrottled)}
	case c == http.StatusServiceUnavailable && status.RetryAfter > 0:
		return &ops.Throttled{After: status.RetryAfter, Err: fmt.Errorf("%s: %w", said, ops.ErrUnavailable)}
	case c >= 500 || c == http.StatusRequestTimeout:
		return fmt.Errorf("%s: %w", said, ops.ErrUnavailable)
	case c == http.StatusUnauthorized || c == http.StatusForbidden:
		return fmt.Errorf("%s: %w", said, ops.ErrDenied)
	case c == http.StatusNotFound || c == http.StatusGone:
		return fmt.Errorf("%s: %w", said, ops.ErrNotFound)
	case c >= 300 && c < 400:
		return fmt.Errorf("%s, and redirects are not followed; write the address it leads to: %w", said, ops.ErrInvalid)
	}
	return fmt.Errorf("%s: %w", said, ops.ErrInvalid)
}

func unanswered(host string, err error, secrets []redact.Secret) error {
	switch {
	case errors.Is(err, httpx.ErrRedirect):
		return fmt.Errorf("%s redirects to another host, and redirects are not followed; write the address it leads to: %w", host, ops.ErrInvalid)
	case errors.Is(err, httpx.ErrRefusedAddress):
		return fmt.Errorf("%s is an address of this machine or of a private network; list its network under allow: %w", host, ops.ErrInvalid)
	}
	var lost *httpx.Unanswered
	arrived := errors.As(err, &lost) && lost.MayHaveArrived
	what := "no whole answer"
	switch {
	case lost != nil && lost.Timeout():
		what = "no answer in time"
	case !arrived:
		what = "no connection"
	}
	out := fmt.Errorf("%s: %s: %w", redact.Text(host, secrets...), what, ops.ErrUnavailable)
	if arrived {
		return &ops.UnknownOutcome{Err: out}
	}
	return out
}
