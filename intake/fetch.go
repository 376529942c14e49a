package intake

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

const (
	fetchTimeout = 4 * time.Second // SNS waits 15 s for its answer
	fetchLimit   = 64 << 10        // certificates and key sets are a few KiB
)

// HTTPFetcher fetches over HTTPS: GET only, no redirects, no cookies, 4 s and
// 64 KiB at most.
type HTTPFetcher struct{ client *http.Client }

// NewHTTPFetcher returns a Fetcher that uses a transport.
func NewHTTPFetcher(rt http.RoundTripper) *HTTPFetcher {
	return &HTTPFetcher{&http.Client{
		Transport:     rt,
		Timeout:       fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Fetch implements Fetcher. Errors name the host only: the URL of a
// subscription holds its token.
func (f *HTTPFetcher) Fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil || req.URL.Scheme != "https" {
		return nil, fmt.Errorf("fetch: not an https URL: %w", ops.ErrInvalid)
	}
	failpoint.Hit("call.before:intake.(*HTTPFetcher).Fetch")
	resp, err := f.client.Do(req)
	failpoint.Hit("call.after:intake.(*HTTPFetcher).Fetch")
	if err != nil {
		return nil, fmt.Errorf("fetch from %s: no answer: %w", req.URL.Host, ops.ErrUnavailable)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch from %s: answer %d: %w", req.URL.Host, resp.StatusCode, ops.ErrUnavailable)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, fetchLimit+1))
	if err != nil || len(body) > fetchLimit {
		return nil, fmt.Errorf("fetch from %s: answer cut off or over %d bytes: %w", req.URL.Host, fetchLimit, ops.ErrUnavailable)
	}
	return body, nil
}
