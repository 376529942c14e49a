package httpx

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/redact"
)

// maxSnippet bounds the part of an answer that an error shows.
const maxSnippet = 300

// StatusError is an answer that is no success. Its text holds no secret.
type StatusError struct {
	// Method and URL are the request; the URL is redacted.
	Method, URL string
	// Code is the HTTP status.
	Code int
	// RetryAfter is how long the peer asked to wait; 0 when it did not.
	RetryAfter time.Duration
	// Snippet is the beginning of the body on one line, redacted.
	Snippet string
}

// Error returns the request, the status and the snippet.
func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s %s: status %d %s", e.Method, e.URL, e.Code, http.StatusText(e.Code))
	if e.RetryAfter > 0 {
		s += ", retry after " + e.RetryAfter.String()
	}
	if e.Snippet != "" {
		s += ": " + e.Snippet
	}
	return s
}

// Unanswered is a request without a whole answer. Its text holds no secret.
type Unanswered struct {
	// Method and URL are the request; the URL is redacted.
	Method, URL string
	// MayHaveArrived is false only when no attempt had a connection. When true, the
	// peer may have acted on the request: look before asking again.
	MayHaveArrived bool
	cause          error
	text           string
}

// Error returns the request and why there is no answer.
func (e *Unanswered) Error() string {
	arrived := "was not sent"
	if e.MayHaveArrived {
		arrived = "may have arrived"
	}
	return fmt.Sprintf("%s %s: no answer, the request %s: %s", e.Method, e.URL, arrived, e.text)
}

// Is reports whether the cause is target. The cause itself is not handed out: its
// text may hold what was cut from this one.
func (e *Unanswered) Is(target error) bool { return errors.Is(e.cause, target) }

// Timeout reports whether time ran out, as net.Error does.
func (e *Unanswered) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.cause, &t) && t.Timeout()
}

func (c *Client) unanswered(req *http.Request, err error, arrived bool, secrets []redact.Secret) error {
	err = unwrapURL(err)
	return &Unanswered{
		Method: req.Method, URL: redact.Text(redact.URL(req.URL.String()), secrets...),
		MayHaveArrived: arrived, cause: err, text: redact.Text(err.Error(), secrets...),
	}
}

func (c *Client) statusError(req *http.Request, resp *Response, secrets []redact.Secret) error {
	return &StatusError{
		Method: req.Method, URL: redact.Text(redact.URL(req.URL.String()), secrets...),
		Code: resp.Status, RetryAfter: retryAfter(resp.Header, c.o.Clock),
		Snippet: snippet(resp.Body, secrets),
	}
}

// snippet redacts before it cuts: half a secret is not found any more.
func snippet(body []byte, secrets []redact.Secret) string {
	const scan = 64 << 10
	if len(body) > scan {
		body = body[:scan]
	}
	s := redact.Text(strings.ToValidUTF8(string(body), "?"), secrets...)
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > maxSnippet {
		return string(r[:maxSnippet]) + "..."
	}
	return s
}

// unwrapURL drops the *url.Error around err: its text repeats the URL in full.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// retryAfter reads seconds or a date; 0 when there is none, or one in the past. A
// date is measured against the peer's own Date, so that skewed clocks do not matter.
func retryAfter(h http.Header, c clock.Clock) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		if c == nil {
			return 0
		}
		now = c()
	}
	return max(0, at.Sub(now))
}
