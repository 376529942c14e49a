package rt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/ops"
)

const (
	restPath = "/REST/2.0"
	maxBody  = 16 << 20
	// pageRows is the most a list gives at once; pageSize is how it is asked for.
	pageRows = 100
	pageSize = "100"
)

// complete is implemented by answers that can tell whether they are one.
type complete interface{ complete() bool }

// answers are the sentences a write is answered with. They are in the user's
// language and come with failures as well: they are quoted, never read.
type answers []string

func (a *answers) complete() bool { return *a != nil }

// refusal is an answer other than 2xx.
type refusal struct {
	status int
	error
}

// Unwrap returns the classed error.
func (r *refusal) Unwrap() error { return r.error }

func isStatus(err error, status int) bool {
	var r *refusal
	return errors.As(err, &r) && r.status == status
}

// call sends one request and reads its answer into out.
func (p *platform) call(ctx context.Context, e connector.Effect, method, path string, query url.Values, in content, out complete, header ...string) (http.Header, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w: %w", method, path, err, ops.ErrInternal)
		}
		body = bytes.NewReader(b)
	}
	address := p.base + restPath + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %w", method, path, err, ops.ErrInternal)
	}
	req.Header.Set("Accept", "application/json")
	// With Mozilla in it, or with a cookie, a refusal is a redirect to a login page.
	req.Header.Set("User-Agent", "fettle")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if err := p.sign(ctx, req); err != nil {
		return nil, err
	}
	h, err := p.answer(req, e, out)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return h, nil
}

// sign adds the credentials.
func (p *platform) sign(ctx context.Context, req *http.Request) error {
	ref := p.auth.Token
	if p.auth.Basic != nil {
		ref = p.auth.Basic.Password
	}
	value, err := p.env.Secrets.Resolve(ctx, ref.String())
	if err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	if p.auth.Basic != nil {
		req.SetBasicAuth(p.auth.Basic.Username, value)
		return nil
	}
	req.Header.Set("Authorization", "token "+value) // Bearer is refused
	return nil
}

func (p *platform) answer(req *http.Request, e connector.Effect, out complete) (http.Header, error) {
	resp, err := p.env.HTTP.Do(req, e)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	unclear := func(err error) error {
		err = fmt.Errorf("answered %d: %w: %w", resp.StatusCode, err, ops.ErrUnavailable)
		if e == connector.Read {
			return err
		}
		return &ops.UnknownOutcome{Err: err}
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, unclear(err)
	}
	if len(b) > maxBody {
		return nil, unclear(fmt.Errorf("more than %d MiB", maxBody>>20))
	}
	isJSON := strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json")
	detail := ""
	if isJSON {
		detail = p.detail(req, b)
	}
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400 && resp.StatusCode != http.StatusNotModified:
		return nil, &refusal{resp.StatusCode, fmt.Errorf("answered %d and sends us elsewhere, as to a login page: "+
			"check auth, and that url is the final address: %w", resp.StatusCode, ops.ErrDenied)}
	case resp.StatusCode == http.StatusNotFound && !isJSON:
		return nil, unclear(errors.New("not Request Tracker's own; check that url is where its pages are and that it is version 5"))
	}
	err = connector.AnswerError(resp, e, p.env.Clock(), detail, "application/json")
	if err != nil {
		if resp.StatusCode == http.StatusUnauthorized {
			err = fmt.Errorf("%w; check the token, or user name and password, and that the user is enabled and privileged", err)
		}
		return nil, &refusal{resp.StatusCode, err}
	}
	if err := json.Unmarshal(b, out); err != nil {
		return nil, unclear(err)
	}
	if !out.complete() {
		return nil, unclear(errors.New("the answer lacks what it should hold"))
	}
	return resp.Header, nil
}

// detail returns the sentence a refusal carries, without credentials that an
// indiscreet proxy put into it.
func (p *platform) detail(req *http.Request, body []byte) string {
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	authorization := req.Header.Get("Authorization")
	_, credential, _ := strings.Cut(authorization, " ")
	return cut(redact.Text(said.Message, redact.New(authorization), redact.New(credential)))
}

// cut shortens what others said to what a person reads.
func cut(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "..."
}

// turns gives each key to one caller at a time.
type turns struct {
	mu   sync.Mutex
	busy map[string]chan struct{}
}

func (t *turns) take(ctx context.Context, key string) (func(), error) {
	for {
		t.mu.Lock()
		before, taken := t.busy[key]
		if !taken {
			if t.busy == nil {
				t.busy = map[string]chan struct{}{}
			}
			mine := make(chan struct{})
			t.busy[key] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.busy, key)
				t.mu.Unlock()
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, fmt.Errorf("another create of this key is under way: %w: %w", ctx.Err(), ops.ErrUnavailable)
		}
	}
}
