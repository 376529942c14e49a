package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/internal/httpx"
	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/ops"
)

// HTTP asks an address with GET.
type HTTP struct {
	URL    string
	Status int    // expected; 0: any from 200 to 299
	Body   string // that the answer must contain; empty: any
	// Timeout bounds one look. Default: 5 s.
	Timeout time.Duration
	// Allow lists networks that may be asked besides the internet: this machine
	// and private networks are refused else, after names are resolved.
	Allow []netip.Prefix
	// Transport replaces the network and the refusals; nil is the network.
	Transport http.RoundTripper
	Logger    *slog.Logger
}

// maxBody bounds the answer that is read.
const maxBody = 1 << 20

// OpenHTTP returns the check, or ops.ErrInvalid with the field that is wrong.
func OpenHTTP(h HTTP) (Check, error) {
	u, err := url.Parse(h.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("url %q: write an address such as https://shop.example/health: %w", redact.URL(h.URL), ops.ErrInvalid)
	case u.User != nil:
		return nil, fmt.Errorf("url %q: holds credentials, which a check cannot keep secret: %w", redact.URL(h.URL), ops.ErrInvalid)
	case h.Status != 0 && (h.Status < 100 || h.Status > 599):
		return nil, fmt.Errorf("expect_status %d: write one from 100 to 599: %w", h.Status, ops.ErrInvalid)
	}
	if h.Timeout <= 0 {
		h.Timeout = 5 * time.Second
	}
	guard := &httpx.Guard{Allow: h.Allow}
	return &httpCheck{HTTP: h, client: httpx.New(httpx.Options{
		Timeout: h.Timeout, Attempts: 1, MaxBody: maxBody, Dial: guard.DialContext, Transport: h.Transport, Logger: h.Logger,
	})}, nil
}

type httpCheck struct {
	HTTP
	client *httpx.Client
}

// Look implements Check.
func (h *httpCheck) Look(ctx context.Context, _ Subject) (Health, string) {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL, http.NoBody)
	if err != nil {
		return Unknown, "the request cannot be made"
	}
	failpoint.Hit("check.http.before")
	resp, err := h.client.Do(req, httpx.Safe)
	failpoint.Hit("check.http.after")
	if resp == nil {
		if errors.Is(err, httpx.ErrTooLarge) {
			return Failing, fmt.Sprintf("the answer is longer than %d bytes", maxBody)
		}
		return Unknown, fmt.Sprintf("no answer: %v", err)
	}
	ok, want := resp.Status == h.Status, fmt.Sprint(h.Status)
	if h.Status == 0 {
		ok, want = resp.Status >= 200 && resp.Status < 300, "200 to 299"
	}
	switch {
	case !ok:
		return Failing, fmt.Sprintf("status %d, expected %s", resp.Status, want)
	case !bytes.Contains(resp.Body, []byte(h.Body)):
		return Failing, fmt.Sprintf("status %d, and the answer does not contain %q", resp.Status, h.Body)
	}
	return Passing, fmt.Sprintf("status %d", resp.Status)
}
