package servicenow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/ops"
)

const (
	jsonType   = "application/json"
	maxAnswer  = 16 << 20
	maxDetail  = 500
	tablePath  = "/api/now/table/"
	asleepHint = "the instance is asleep; wake it at developer.servicenow.com, or wait"
	pageHint   = "a page came in place of data; check that url is the instance itself, with no login page in between"
)

// client speaks HTTP with one instance.
type client struct {
	base  string
	http  connector.HTTP
	clock clock.Clock
	who   *credentials
}

// call is one request to a table.
type call struct {
	method  string
	table   string
	sysID   string
	path    string // in place of table and sysID
	query   url.Values
	body    body
	raw     []byte // in place of body, with its type
	rawType string
	effect  connector.Effect
}

// answer is a whole answer.
type answer struct {
	resp    *http.Response
	body    []byte
	secrets []redact.Secret // of the request, to be kept out of what is said
}

// send makes a call. An error means that no whole answer came, or that there
// were no credentials to ask with. A token that was refused is renewed once:
// what was refused was not carried out.
func (c *client) send(ctx context.Context, k call) (answer, error) {
	target := c.base + tablePath + k.table
	if k.sysID != "" {
		target += "/" + url.PathEscape(k.sysID)
	}
	if k.path != "" {
		target = c.base + k.path
	}
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	payload, kind, err := k.marshalled()
	if err != nil {
		return answer{}, err
	}
	for again := false; ; again = true {
		req, err := newRequest(ctx, k.method, target, payload)
		if err != nil {
			return answer{}, err
		}
		req.Header.Set("Accept", jsonType)
		if k.method != http.MethodGet {
			req.Header.Set("Content-Type", kind)
		}
		secrets, err := c.who.apply(ctx, c, req)
		if err != nil {
			return answer{}, fmt.Errorf("credentials: %w", err)
		}
		a, err := c.roundTrip(req, k.effect)
		a.secrets = secrets
		if err != nil || a.resp.StatusCode != http.StatusUnauthorized || again || !c.who.renew(req) {
			return a, err
		}
	}
}

func newRequest(ctx context.Context, method, target string, payload []byte) (*http.Request, error) {
	var r io.Reader
	if payload != nil {
		r = bytes.NewReader(payload)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, r)
	if err != nil {
		return nil, fmt.Errorf("request: %w: %w", err, ops.ErrInternal)
	}
	return req, nil
}

func (c *client) roundTrip(req *http.Request, e connector.Effect) (answer, error) {
	resp, err := c.http.Do(req, e)
	if err != nil {
		return answer{}, err
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close()
	if err == nil && len(b) > maxAnswer {
		err = fmt.Errorf("answer of more than %d bytes", maxAnswer)
	}
	if err != nil {
		return answer{}, nonsense(e, "answered %d, then the answer broke off: %w", resp.StatusCode, err)
	}
	return answer{resp: resp, body: b}, nil
}

// nonsense is an answer nobody can read: after a write it may have happened.
func nonsense(e connector.Effect, format string, args ...any) error {
	err := fmt.Errorf(format+": %w", append(args, ops.ErrUnavailable)...)
	if e == connector.Read {
		return err
	}
	return &ops.UnknownOutcome{Err: err}
}

// failure returns the error an answer stands for, nil when it has one of the
// wanted status codes and is JSON.
func (c *client) failure(a answer, e connector.Effect, want ...int) error {
	code := a.resp.StatusCode
	if !isJSON(a.resp) && code != http.StatusTooManyRequests && code != http.StatusUnauthorized {
		hint := pageHint
		if bytes.Contains(bytes.ToLower(a.body), []byte("hibernat")) {
			hint = asleepHint
		}
		if retry := connector.RetryAfter(a.resp.Header, c.clock()); code == http.StatusServiceUnavailable && retry > 0 {
			return connector.AnswerError(a.resp, e, c.clock(), hint)
		}
		return nonsense(e, "answered %d with %q: %s", code, a.resp.Header.Get("Content-Type"), hint)
	}
	for _, w := range want {
		if code == w {
			return nil
		}
	}
	if code >= 200 && code < 300 {
		return nonsense(e, "answered %d, not %d", code, want[0])
	}
	detail := a.detail()
	switch {
	case code == http.StatusUnauthorized && strings.EqualFold(a.resp.Header.Get("X-MFA_TOKEN"), "invalid"):
		detail += "; the account wants a second factor: exempt it, or use oauth or api_key"
	case code == http.StatusUnauthorized:
		detail += "; the instance does not accept these credentials: check them, and that the account is active and not locked out"
	case code == http.StatusForbidden && (strings.Contains(detail, "Data Policy") || strings.Contains(detail, "aborted by Business Rule")):
		if strings.Contains(detail, "Resolution code") {
			detail += " (a resolution code that the instance does not know is reported as missing: see options.close_code)"
		}
		return fmt.Errorf("answered %d: %s: %w", code, detail, ops.ErrInvalid)
	case code == http.StatusForbidden && strings.Contains(detail, "unscoped api"):
		detail += "; let the OAuth client have the scope useraccount"
	case code == http.StatusForbidden:
		detail += "; the account lacks a right: it needs the role itil (or sn_incident_write) and the tables named in this driver's notes"
		return noRight{connector.AnswerError(a.resp, e, c.clock(), detail)}
	}
	return connector.AnswerError(a.resp, e, c.clock(), detail)
}

// noRight is a refusal of somebody the instance knows, other than wrong credentials.
type noRight struct{ error }

func (n noRight) Unwrap() error { return n.error }

func lacksRight(err error) bool { return errors.As(err, new(noRight)) }

func isJSON(resp *http.Response) bool {
	v := resp.Header.Get("Content-Type")
	if v == "" {
		return true
	}
	kind, _, err := mime.ParseMediaType(v)
	return err == nil && kind == jsonType
}

// detail is what the instance says in an error, without the secrets of the request.
func (a answer) detail() string {
	var e struct {
		Error struct {
			Message string `json:"message"`
			Detail  string `json:"detail"`
		} `json:"error"`
	}
	if json.Unmarshal(a.body, &e) != nil {
		return ""
	}
	s := redact.Text(e.Error.Message, a.secrets...)
	if d := redact.Text(e.Error.Detail, a.secrets...); d != "" {
		s += ": " + d
	}
	return cut(strings.Join(strings.Fields(s), " "), maxDetail)
}

// result decodes what an answer holds.
func result[T any](a answer, e connector.Effect) (T, error) {
	var envelope struct {
		Result json.RawMessage `json:"result"`
	}
	var out T
	if err := json.Unmarshal(a.body, &envelope); err != nil {
		return out, nonsense(e, "answered %d with %d bytes that are no record: %w", a.resp.StatusCode, len(a.body), err)
	}
	if len(envelope.Result) == 0 || string(envelope.Result) == "null" {
		return out, nonsense(e, "answered %d without a result", a.resp.StatusCode)
	}
	if err := json.Unmarshal(envelope.Result, &out); err != nil {
		return out, nonsense(e, "answered %d with a result of another form: %w", a.resp.StatusCode, err)
	}
	return out, nil
}

// record reads the one row of an answer.
func (c *client) record(a answer, e connector.Effect, want int) (row, error) {
	if err := c.failure(a, e, want); err != nil {
		return nil, err
	}
	r, err := result[row](a, e)
	if err == nil && r.get("sys_id") == "" {
		return nil, nonsense(e, "answered %d with a record without sys_id", a.resp.StatusCode)
	}
	return r, err
}

// view asks for fields as they are stored, references as bare sys_ids.
func view(fields []string) url.Values {
	return url.Values{"sysparm_fields": {strings.Join(fields, ",")}, "sysparm_exclude_reference_link": {"true"}}
}

// page is one page of a list.
type page struct {
	rows []row
	// more tells that rows come after this page, also when it is short:
	// the instance cuts pages before its access rules remove rows.
	more bool
	// hidden tells that access rules took rows out of it.
	hidden bool
}

// list reads one page.
func (c *client) list(ctx context.Context, table, query string, params url.Values, offset, limit int) (page, error) {
	params.Set("sysparm_query", query)
	params.Set("sysparm_limit", strconv.Itoa(limit))
	params.Set("sysparm_offset", strconv.Itoa(offset))
	a, err := c.send(ctx, call{method: http.MethodGet, table: table, query: params})
	if err != nil {
		return page{}, err
	}
	if err := c.failure(a, connector.Read, http.StatusOK); err != nil {
		return page{}, fmt.Errorf("table %s: %w", table, err)
	}
	rows, err := result[[]row](a, connector.Read)
	if err != nil {
		return page{}, err
	}
	p := page{rows: rows, more: len(rows) >= limit}
	if total, err := strconv.Atoi(a.resp.Header.Get("X-Total-Count")); err == nil {
		p.more = offset+limit < total
		p.hidden = len(rows) < min(limit, total-offset)
	}
	return p, nil
}
