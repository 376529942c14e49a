package connector

import (
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// AnswerError returns the error an HTTP answer stands for, nil for 2xx and 304
// with a content type out of accept (none: any). detail is what the platform
// said, already decoded by the driver and free of secrets. A redirect, an HTML
// page and every 5xx after a request that is not a Read leave the outcome
// unknown. 429, and 503 with a Retry-After, are ErrThrottled with that wait:
// the request was not carried out.
func AnswerError(resp *http.Response, e Effect, now time.Time, detail string, accept ...string) error {
	code := resp.StatusCode
	said := fmt.Sprintf("answered %d", code)
	if detail != "" {
		said += ": " + detail
	}
	unknown := func() error {
		err := fmt.Errorf("%s: %w", said, ops.ErrUnavailable)
		if e == Read {
			return err
		}
		return &ops.UnknownOutcome{Err: err}
	}
	retry := RetryAfter(resp.Header, now)
	switch {
	case code >= 200 && code < 300 || code == http.StatusNotModified:
		if kind := mediaType(resp); len(accept) > 0 && kind != "" && !accepted(kind, accept) {
			said = fmt.Sprintf("answered %d with %s, not %s", code, kind, strings.Join(accept, " or "))
			return unknown()
		}
		return nil
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable && retry > 0:
		return &ops.Throttled{After: retry, Err: fmt.Errorf("%s", said)}
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("%s: %w", said, ops.ErrDenied)
	case code == http.StatusNotFound, code == http.StatusGone:
		return fmt.Errorf("%s: %w", said, ops.ErrNotFound)
	case code == http.StatusConflict, code == http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w", said, ops.ErrConflict)
	case code == http.StatusRequestTimeout, code >= 500, code < 400:
		return unknown()
	default:
		return fmt.Errorf("%s: %w", said, ops.ErrInvalid)
	}
}

func mediaType(resp *http.Response) string {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return kind
}

func accepted(kind string, accept []string) bool {
	for _, a := range accept {
		if kind == a {
			return true
		}
	}
	return false
}

// RetryAfter returns the wait a Retry-After header asks for, in seconds or as
// a date, zero when there is none or it is nonsense, and at most a day.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	var d time.Duration
	if secs, err := strconv.ParseInt(v, 10, 32); err == nil {
		d = time.Duration(secs) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), 24*time.Hour)
}
