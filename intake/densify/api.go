package densify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/internal/httpx"
	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/ops"
)

const (
	// askTimeout bounds one attempt of a request.
	askTimeout = 20 * time.Second
	// tokenLasts is how long a token of Densify lasts at most; it is renewed
	// renewBefore earlier.
	tokenLasts  = time.Hour
	renewBefore = 2 * time.Minute
	// maxReport bounds an answer; artefacts are no longer.
	maxReport = 16 << 20
)

// session holds the token of one integration.
type session struct {
	mu    sync.Mutex
	token redact.Secret
	until time.Time
}

func newSession() *session { return &session{} }

// Ask implements intake.Asker.
func (s *source) Ask(ctx context.Context, r ops.Recommendation) (intake.Told, error) {
	if r.Producer == ops.ProducerParameterStore {
		return s.askParameter(ctx, r)
	}
	if s.config.API == nil {
		return intake.Told{}, fmt.Errorf("densify: options.api is no longer configured; add it, or send attributes with the recommendations: %w", ops.ErrStalled)
	}
	if !systemID.MatchString(r.EntityID) {
		return intake.Told{}, fmt.Errorf("densify: entityId %q names no system of Densify: %w", short(r.EntityID), ops.ErrInvalid)
	}
	c, err := s.client(ctx)
	if err != nil {
		return intake.Told{}, err
	}
	answer, err := c.get(ctx, "/systems/"+url.PathEscape(r.EntityID), "application/json")
	if err != nil {
		return intake.Told{}, fmt.Errorf("densify: tags of %s: %w", r.Name, err)
	}
	attributes, err := systemAttributes(answer)
	if err != nil {
		return intake.Told{}, fmt.Errorf("densify: tags of %s: %w", r.Name, err)
	}
	tags := resourceTags(attributes)
	if len(tags) == 0 {
		return intake.Told{}, fmt.Errorf("densify: the system of %s has no tags, so nobody knows what made it; tag it, or wait for Densify to see its tags: %w", r.Name, ops.ErrUnavailable)
	}
	told := intake.Told{Recommendation: r}
	told.Recommendation.Wants = ""
	setTags(&told.Recommendation, tags)
	if !*s.config.API.Report || r.ReportHref == "" {
		return told, nil
	}
	told.Report, err = c.report(ctx, r.ReportHref)
	switch {
	case err == nil:
	case errors.Is(err, ops.ErrUnavailable), errors.Is(err, ops.ErrThrottled):
		return intake.Told{}, fmt.Errorf("densify: report of %s: %w", r.Name, err)
	default:
		told.Note = "there is no analysis report: " + err.Error()
	}
	return told, nil
}

// systemID is what goes into a path: an id of Densify, and nothing that leads
// anywhere else.
var systemID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$`)

// reportPath is the only form of rptHref that is followed: it comes from
// outside, and must not make this server fetch something else.
var reportPath = regexp.MustCompile(`^/systems/[A-Za-z0-9][A-Za-z0-9_-]{0,127}/analysis-report$`)

// systemAttributes reads the attributes of a system: the answer is the system,
// or an array with it.
func systemAttributes(answer []byte) ([]document, error) {
	d, err := open(answer)
	if err != nil {
		var list []document
		if json.Unmarshal(answer, &list) != nil || len(list) == 0 {
			return nil, fmt.Errorf("the answer is neither a system nor an array of one: %w", ops.ErrUnavailable)
		}
		d = list[0]
	}
	if e := d.text("ErrorMessage", "errorMessage"); e != "" {
		return nil, fmt.Errorf("the answer is the error %q: %w", short(e), ops.ErrUnavailable)
	}
	return d.list("attributes"), nil
}

// client is a way to the API for one question.
type client struct {
	s        *source
	http     *httpx.Client
	base     string
	username string
	password redact.Secret
}

func (s *source) client(ctx context.Context) (*client, error) {
	a := s.config.API
	setting := func(field, v string) (string, error) {
		if scheme, _, ok := strings.Cut(v, ":"); !ok || scheme != "env" && scheme != "file" {
			return v, nil
		}
		out, err := s.env.Secret(ctx, v)
		if err != nil {
			return "", fmt.Errorf("densify: options.api.%s: %w: %w", field, err, ops.ErrStalled)
		}
		return out, nil
	}
	username, err := setting("username", a.Username)
	if err != nil {
		return nil, err
	}
	password, err := s.env.Secret(ctx, a.Password)
	if err != nil {
		return nil, fmt.Errorf("densify: options.api.password: %w: %w", err, ops.ErrStalled)
	}
	allow, err := a.prefixes()
	if err != nil {
		return nil, err
	}
	c := &client{s: s, base: strings.TrimSuffix(a.URL, "/") + "/api/v2", username: username, password: redact.New(password)}
	if a.Flavour == flavourBasic {
		c.base = strings.TrimSuffix(a.URL, "/") + "/CIRBA/api/v2"
	}
	log := s.env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c.http = httpx.New(httpx.Options{
		Timeout: askTimeout, Attempts: 2, MaxWait: 5 * time.Second, MaxBody: maxReport, Dial: (&httpx.Guard{Allow: allow}).DialContext,
		Transport: s.env.Transport, Logger: log, Secrets: []redact.Secret{c.password}, Clock: s.env.Clock,
	})
	return c, nil
}

// get returns the body of an answer. A token that is refused is renewed once.
func (c *client) get(ctx context.Context, path, accept string) ([]byte, error) {
	body, err := c.once(ctx, path, accept)
	if c.s.config.API.Flavour == flavourToken && isStatus(err, http.StatusUnauthorized) {
		c.s.session.forget()
		body, err = c.once(ctx, path, accept)
	}
	return body, classify(err)
}

func (c *client) once(ctx context.Context, path, accept string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("request of %s: %w: %w", path, err, ops.ErrInvalid)
	}
	req.Header.Set("Accept", accept)
	if err := c.sign(ctx, req); err != nil {
		return nil, err
	}
	failpoint.Hit("call.before:densify.ask")
	got, err := c.http.Do(req, httpx.Safe)
	failpoint.Hit("call.after:densify.ask")
	if err != nil {
		return nil, err
	}
	return got.Body, nil
}

func (c *client) sign(ctx context.Context, req *http.Request) error {
	if c.s.config.API.Flavour == flavourBasic {
		req.SetBasicAuth(c.username, c.password.Reveal())
		return nil
	}
	token, err := c.authorize(ctx)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	return nil
}

// authorize returns a token that still lasts a while.
func (c *client) authorize(ctx context.Context) (redact.Secret, error) {
	s := c.s.session
	s.mu.Lock()
	defer s.mu.Unlock()
	now := c.s.env.Clock()
	if !s.token.IsZero() && now.Before(s.until) {
		return s.token, nil
	}
	body, err := json.Marshal(map[string]string{"userName": c.username, "pwd": c.password.Reveal()})
	if err != nil {
		return redact.Secret{}, fmt.Errorf("authorize: %w: %w", err, ops.ErrInternal)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/authorize", bytes.NewReader(body))
	if err != nil {
		return redact.Secret{}, fmt.Errorf("authorize: %w: %w", err, ops.ErrInvalid)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	failpoint.Hit("call.before:densify.authorize")
	got, err := c.http.Do(req, httpx.Idempotent)
	failpoint.Hit("call.after:densify.authorize")
	if err != nil {
		return redact.Secret{}, fmt.Errorf("authorize: %w", err)
	}
	d, err := open(got.Body)
	token := d.text("apiToken")
	if err != nil || token == "" || strings.ContainsAny(token, " \r\n") {
		return redact.Secret{}, fmt.Errorf("authorize: the answer holds no apiToken: %w", ops.ErrUnavailable)
	}
	// expires is an instant in milliseconds; what does not look like one is not
	// trusted, and no token is used for longer than tokens last.
	until := now.Add(tokenLasts)
	if e := d.instant("expires"); e.After(now) && e.Before(until) {
		until = e
	}
	s.token, s.until = redact.New(token), until.Add(-renewBefore)
	return s.token, nil
}

func (s *session) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = redact.Secret{}
}

// report fetches the analysis report.
func (c *client) report(ctx context.Context, href string) ([]byte, error) {
	if !reportPath.MatchString(href) {
		return nil, fmt.Errorf("rptHref %q is not /systems/ID/analysis-report and is not followed: %w", short(href), ops.ErrInvalid)
	}
	body, err := c.get(ctx, href, "application/pdf")
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(body, []byte("%PDF-")) {
		return nil, fmt.Errorf("what Densify sent is no PDF: %w", ops.ErrInvalid)
	}
	return body, nil
}

func isStatus(err error, code int) bool {
	var s *httpx.StatusError
	return errors.As(err, &s) && s.Code == code
}

// classify gives an error of the HTTP client its class.
func classify(err error) error {
	var s *httpx.StatusError
	var lost *httpx.Unanswered
	switch {
	case err == nil:
		return nil
	case errors.As(err, &s):
		switch {
		case s.Code == http.StatusTooManyRequests:
			return &ops.Throttled{After: s.RetryAfter, Err: err}
		case s.Code == http.StatusUnauthorized, s.Code == http.StatusForbidden:
			return fmt.Errorf("%w: check the user of options.api: %w", err, ops.ErrStalled)
		case s.Code == http.StatusNotFound:
			return fmt.Errorf("%w: %w", err, ops.ErrNotFound)
		case s.Code >= 500, s.Code == http.StatusRequestTimeout:
			return fmt.Errorf("%w: %w", err, ops.ErrUnavailable)
		}
		return fmt.Errorf("%w: %w", err, ops.ErrStalled)
	case errors.Is(err, httpx.ErrRefusedAddress), errors.Is(err, httpx.ErrRedirect):
		return fmt.Errorf("%w: options.api.url leads where it must not; see options.api.private: %w", err, ops.ErrStalled)
	case errors.Is(err, httpx.ErrTooLarge):
		return fmt.Errorf("%w: %w", err, ops.ErrInvalid)
	case errors.As(err, &lost):
		return fmt.Errorf("%w: %w", err, ops.ErrUnavailable)
	}
	return err
}
