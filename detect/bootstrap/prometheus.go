package bootstrap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/httpx"
	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// Options say how a server is asked.
type Options struct {
	// URL is that of the server, without credentials: for Prometheus what is
	// before /api/v1, for remote read the whole.
	URL string
	// Match are series selectors in PromQL, such as {__name__="up",job="node"}.
	// Remote read takes those with = != =~ !~ alone, which are all there are.
	Match []string
	// Labels are added to series that do not have them, such as the external
	// labels that Prometheus keeps to itself when it is asked.
	Labels map[string]string
	// Token is sent as bearer token, or User with Password as basic credentials.
	Token, Password redact.Secret
	User            string
	// Step asks for the value at each step instead of every sample, for servers
	// that keep less. Zero: every sample. Remote read knows no step.
	Step time.Duration
	// Until is the end of the past; it may move on. What it returns is asked for
	// to the last sample before it.
	Until clock.Clock
	// Timeout bounds one question. Defaults to 2 minutes.
	Timeout time.Duration
	Logger  *slog.Logger
	// Transport replaces the network.
	Transport http.RoundTripper
}

// maxAnswer bounds an answer, compressed or not.
const maxAnswer = 128 << 20

// maxPoints is how many points per series Prometheus gives at most by the step.
const maxPoints = 11_000

func (o *Options) client() *httpx.Client {
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Minute
	}
	return httpx.New(httpx.Options{
		Timeout: o.Timeout, Attempts: 5, Backoff: time.Second, MaxBody: maxAnswer, Logger: o.Logger,
		Secrets: []redact.Secret{o.Token, o.Password}, Proxy: http.ProxyFromEnvironment, Transport: o.Transport,
	})
}

// base checks the URL.
func (o *Options) base() (string, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return "", fmt.Errorf("URL is not one: write it like http://127.0.0.1:9090: %w", ops.ErrInvalid)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", fmt.Errorf("URL %q: write it like http://127.0.0.1:9090: %w", u.Redacted(), ops.ErrInvalid)
	case u.User != nil:
		return "", fmt.Errorf("URL %q holds a password: give it by reference, with --user and --password env:NAME: %w", u.Redacted(), ops.ErrInvalid)
	}
	return strings.TrimSuffix(o.URL, "/"), nil
}

func (o *Options) sign(r *http.Request) {
	switch {
	case !o.Token.IsZero():
		r.Header.Set("Authorization", "Bearer "+o.Token.Reveal())
	case o.User != "":
		r.SetBasicAuth(o.User, o.Password.Reveal())
	}
}

// name tells sources of one kind apart.
func (o *Options) name(kind, base string) string {
	parts := append([]string{kind, base}, o.Match...)
	for _, l := range slices.Sorted(maps.Keys(o.Labels)) {
		parts = append(parts, l+"="+o.Labels[l])
	}
	if o.Step > 0 {
		parts = append(parts, o.Step.String())
	}
	return strings.Join(parts, " ")
}

type prometheus struct {
	Options
	base string
	http *httpx.Client
}

// Prometheus reads from the query API of a Prometheus, or of what speaks it:
// every sample as it was scraped, but for the marks that a series has ended.
func Prometheus(o Options) (Source, error) {
	base, err := o.base()
	if err != nil {
		return nil, err
	}
	if o.Step != 0 && (o.Step < time.Second || o.Step%time.Millisecond != 0) {
		return nil, fmt.Errorf("step %s: give at least a second, in whole milliseconds: %w", o.Step, ops.ErrInvalid)
	}
	return &prometheus{Options: o, base: base, http: o.client()}, nil
}

// Name implements Source.
func (p *prometheus) Name() string { return p.name("prometheus", p.base) }

// Parts implements Source.
func (p *prometheus) Parts(ctx context.Context, from time.Time, each func(Part) error) error {
	if p.Step > 0 { // the grid that any start gives
		from = time.UnixMilli((from.UnixMilli() + p.Step.Milliseconds() - 1) / p.Step.Milliseconds() * p.Step.Milliseconds())
	}
	return windows(ctx, from, p.Until, each, func(ctx context.Context, from, to time.Time) ([]Series, error) {
		return askAll(ctx, p.Match, from, to, p.ask)
	})
}

// ask asks for the samples of a selector in [from, to).
func (p *prometheus) ask(ctx context.Context, match string, from, to time.Time) ([]Series, error) {
	q, path := url.Values{}, "/api/v1/query"
	if p.Step > 0 {
		first := (from.UnixMilli() + p.Step.Milliseconds() - 1) / p.Step.Milliseconds() * p.Step.Milliseconds()
		last := (to.UnixMilli() - 1) / p.Step.Milliseconds() * p.Step.Milliseconds()
		if first > last {
			return nil, nil
		}
		if (last-first)/p.Step.Milliseconds() >= maxPoints {
			return nil, errTooMuch
		}
		path = "/api/v1/query_range"
		q.Set("query", match)
		q.Set("start", seconds(first))
		q.Set("end", seconds(last))
		q.Set("step", strconv.FormatFloat(p.Step.Seconds(), 'f', 3, 64))
	} else {
		// A range selector holds what is later than its begin, before Prometheus 3
		// also what is at it, which is left out below.
		q.Set("query", match+"["+strconv.FormatInt(to.Sub(from).Milliseconds(), 10)+"ms]")
		q.Set("time", seconds(to.UnixMilli()-1))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+path, strings.NewReader(q.Encode()))
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w: %w", err, ops.ErrInvalid)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	p.sign(req)
	resp, err := p.http.Do(req, httpx.Safe)
	if err != nil {
		return nil, p.why(err)
	}
	return p.parse(resp.Body, from, to)
}

func seconds(ms int64) string {
	return strconv.FormatInt(ms/1000, 10) + "." + fmt.Sprintf("%03d", ms%1000)
}

// why tells what can be helped by asking for less from what cannot.
func (p *prometheus) why(err error) error {
	var s *httpx.StatusError
	if errors.Is(err, httpx.ErrTooLarge) || errors.As(err, &s) && (strings.Contains(s.Snippet, "too many samples") || strings.Contains(s.Snippet, "query timed out")) {
		return errTooMuch
	}
	return fmt.Errorf("bootstrap: ask Prometheus: %w", err)
}

func (p *prometheus) parse(body []byte, from, to time.Time) ([]Series, error) {
	var answer struct {
		Status string
		Error  string
		Data   struct {
			ResultType string
			Result     []struct {
				Metric map[string]string
				Values points
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("bootstrap: %s answered something that Prometheus does not: %w: %w", p.base, err, ops.ErrUnavailable)
	}
	if answer.Status != "success" || answer.Data.ResultType != "matrix" {
		return nil, fmt.Errorf("bootstrap: %s answered status %q, result %q, error %q: %w", p.base, answer.Status, answer.Data.ResultType, answer.Error, ops.ErrUnavailable)
	}
	var out []Series
	for _, r := range answer.Data.Result {
		if d, ok := named(r.Metric, p.Labels); ok {
			if kept := within(r.Values, from, to); len(kept) > 0 {
				out = append(out, Series{d, kept})
			}
		}
	}
	return out, nil
}

// points are the values of a series in JSON: [[1435781430.781,"1"],...]. They
// are read by hand, because a decoder into any makes four values of each.
type points []series.RawPoint

// UnmarshalJSON reads the values; the decoder has checked that it is JSON.
func (p *points) UnmarshalJSON(b []byte) error {
	wrong := func() error { return errors.New("values are not pairs of a time and a text") }
	b = bytes.TrimSpace(b)
	if len(b) < 2 || b[0] != '[' {
		return wrong()
	}
	for rest := b[1 : len(b)-1]; ; {
		rest = bytes.TrimLeft(rest, " \t\r\n,")
		if len(rest) == 0 {
			return nil
		}
		end := bytes.IndexByte(rest, ']')
		if rest[0] != '[' || end < 0 {
			return wrong()
		}
		at, value, two := bytes.Cut(rest[1:end], []byte(","))
		value = bytes.TrimSpace(value)
		if !two || len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
			return wrong()
		}
		when, err := strconv.ParseFloat(string(bytes.TrimSpace(at)), 64)
		if err != nil || math.Abs(when) > 1e12 {
			return wrong()
		}
		v, err := strconv.ParseFloat(string(value[1:len(value)-1]), 64)
		if err != nil && !math.IsInf(v, 0) {
			return wrong()
		}
		*p = append(*p, series.RawPoint{At: int64(math.Round(when * 1000)), Value: v})
		rest = rest[end+1:]
	}
}
