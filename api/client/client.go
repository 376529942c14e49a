// Package client is a typed client of the JSON API. It sees no more than any
// program on the network with the same token.
package client

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
	"time"

	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/ops"
)

// Client talks to one server. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New returns a client of the server at base, such as http://127.0.0.1:8420.
func New(base, token string) *Client {
	return &Client{base: strings.TrimSuffix(base, "/"), token: token, http: &http.Client{Timeout: 60 * time.Second}}
}

// Through returns a client that reaches the same server over another transport,
// such as a socket of its own or a test's network.
func (c *Client) Through(rt http.RoundTripper) *Client {
	other := *c
	other.http = &http.Client{Timeout: c.http.Timeout, Transport: rt}
	return &other
}

// maxAnswer bounds what one answer may hold.
const maxAnswer = 64 << 20

// classes gives an answer's status the class of error it stands for.
var classes = map[int]error{
	http.StatusUnauthorized: ops.ErrDenied, http.StatusForbidden: ops.ErrDenied, http.StatusNotFound: ops.ErrNotFound,
	http.StatusConflict: ops.ErrConflict, http.StatusBadRequest: ops.ErrInvalid, http.StatusUnprocessableEntity: ops.ErrInvalid,
	http.StatusTooManyRequests: ops.ErrThrottled, http.StatusServiceUnavailable: ops.ErrUnavailable,
}

// problem is an RFC 9457 answer.
type problem struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, contentType string, in []byte, out any) error {
	header := http.Header{}
	if in != nil {
		header.Set("Content-Type", contentType)
	}
	return c.call(ctx, method, path, query, header, in, out)
}

func (c *Client) call(ctx context.Context, method, path string, query url.Values, header http.Header, in []byte, out any) error {
	u := c.base + "/api/v1" + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(in))
	if err != nil {
		return fmt.Errorf("%s: %w: %w", c.base, err, ops.ErrInvalid)
	}
	req.Header = header
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("no server answers at %s (is fettle serve running?): %w: %w", c.base, err, ops.ErrUnavailable)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w: %w", c.base, err, ops.ErrUnavailable)
	}
	if resp.StatusCode/100 != 2 {
		return refusal(resp, b)
	}
	if out == nil {
		return nil
	}
	if whole, ok := out.(*raw); ok {
		*whole = b
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s answered %s with something that is no JSON (is it Fettle?): %w", c.base, resp.Status, ops.ErrUnavailable)
	}
	return nil
}

func refusal(resp *http.Response, b []byte) error {
	var p problem
	text := resp.Status
	if json.Unmarshal(b, &p) == nil && p.Detail != "" {
		text = p.Detail
		for _, e := range p.Errors {
			text += "; " + strings.TrimSpace(e.Location+" "+e.Message)
		}
	}
	class, ok := classes[resp.StatusCode]
	if !ok {
		class = ops.ErrInternal
	}
	return &answer{text: text, class: class}
}

// answer is what the server said, without our class's word in its text.
type answer struct {
	text  string
	class error
}

func (a *answer) Error() string        { return a.text }
func (a *answer) Is(target error) bool { return errors.Is(a.class, target) }

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var out T
	return out, c.do(ctx, http.MethodGet, path, query, "", nil, &out)
}

func send[T any](ctx context.Context, c *Client, method, path string, in any) (T, error) {
	return sendWith[T](ctx, c, http.Header{}, method, path, in)
}

func sendWith[T any](ctx context.Context, c *Client, header http.Header, method, path string, in any) (T, error) {
	var out T
	b, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("encode the request: %w", err)
	}
	header.Set("Content-Type", "application/json")
	return out, c.call(ctx, method, path, nil, header, b, &out)
}

// Incidents lists incidents; see the API for the query.
func (c *Client) Incidents(ctx context.Context, query url.Values) (api.List[api.IncidentSummary], error) {
	return get[api.List[api.IncidentSummary]](ctx, c, "/incidents", query)
}

// Incident shows one, by id or number.
func (c *Client) Incident(ctx context.Context, id string) (api.IncidentView, error) {
	return get[api.IncidentView](ctx, c, "/incidents/"+url.PathEscape(id), nil)
}

// MoveIncident takes an incident to another state.
func (c *Client) MoveIncident(ctx context.Context, id, state, why string) (ops.Incident, error) {
	return send[ops.Incident](ctx, c, http.MethodPost, "/incidents/"+url.PathEscape(id)+"/move", map[string]string{"state": state, "why": why})
}

// Recommendations lists recommendations; see the API for the query.
func (c *Client) Recommendations(ctx context.Context, query url.Values) (RecommendationList, error) {
	return get[RecommendationList](ctx, c, "/recommendations", query)
}

// Recommendation shows one, by id or number.
func (c *Client) Recommendation(ctx context.Context, id string) (RecommendationView, error) {
	return get[RecommendationView](ctx, c, "/recommendations/"+url.PathEscape(id), nil)
}

// DismissRecommendation withdraws one for a reason.
func (c *Client) DismissRecommendation(ctx context.Context, id, reason, via string) (RecommendationView, error) {
	return send[RecommendationView](ctx, c, http.MethodPost, "/recommendations/"+url.PathEscape(id)+"/dismiss", map[string]string{"reason": reason, "via": via})
}

// Savings sums what recommendations promised and brought.
func (c *Client) Savings(ctx context.Context) (SavingsList, error) {
	return get[SavingsList](ctx, c, "/analytics/savings", nil)
}

// Channels lists the channels that are told.
func (c *Client) Channels(ctx context.Context) (ChannelList, error) {
	return get[ChannelList](ctx, c, "/channels", nil)
}

// TestChannel sends a test message to a channel.
func (c *Client) TestChannel(ctx context.Context, name string) (api.Checked, error) {
	return send[api.Checked](ctx, c, http.MethodPost, "/channels/"+url.PathEscape(name)+"/test", map[string]string{})
}

// Notifications lists what was told to whom; see the API for the query.
func (c *Client) Notifications(ctx context.Context, query url.Values) (NotificationList, error) {
	return get[NotificationList](ctx, c, "/notifications", query)
}

// ResendNotification has a notification sent again that was given up.
func (c *Client) ResendNotification(ctx context.Context, id, via string) (ops.Notification, error) {
	return send[ops.Notification](ctx, c, http.MethodPost, "/notifications/"+url.PathEscape(id)+"/resend?via="+url.QueryEscape(via), nil)
}

// Changes lists changes; see the API for the query.
func (c *Client) Changes(ctx context.Context, query url.Values) (api.List[api.ChangeView], error) {
	return get[api.List[api.ChangeView]](ctx, c, "/changes", query)
}

// Change shows one with its plan, by id or number.
func (c *Client) Change(ctx context.Context, id string) (api.ChangeView, error) {
	return get[api.ChangeView](ctx, c, "/changes/"+url.PathEscape(id), nil)
}

// RaiseChange raises a change by hand. Called again with the same key, unless
// that is empty, it returns the change that was raised.
func (c *Client) RaiseChange(ctx context.Context, key string, n api.NewChange) (ops.Change, error) {
	header := http.Header{}
	if key != "" {
		header.Set("Idempotency-Key", key)
	}
	return sendWith[ops.Change](ctx, c, header, http.MethodPost, "/changes", n)
}

// Decide approves or denies exactly the plan with this digest.
func (c *Client) Decide(ctx context.Context, id string, d ops.Decision, digest, comment, via string) (ops.Change, error) {
	return send[ops.Change](ctx, c, http.MethodPost, "/changes/"+url.PathEscape(id)+"/decisions",
		map[string]string{"decision": string(d), "digest": digest, "comment": comment, "via": via})
}

// CancelChange withdraws a change.
func (c *Client) CancelChange(ctx context.Context, id, why string) (ops.Change, error) {
	return send[ops.Change](ctx, c, http.MethodPost, "/changes/"+url.PathEscape(id)+"/cancel", map[string]string{"why": why})
}

// BreakGlass overrides a freeze for one change, or confirms it.
func (c *Client) BreakGlass(ctx context.Context, id, freeze, reason string) (ops.Change, error) {
	return send[ops.Change](ctx, c, http.MethodPost, "/changes/"+url.PathEscape(id)+"/break-glass", map[string]string{"freeze": freeze, "reason": reason})
}

// SettleChange says what became of a held run.
func (c *Client) SettleChange(ctx context.Context, id, word, why string) (ops.Change, error) {
	return send[ops.Change](ctx, c, http.MethodPost, "/changes/"+url.PathEscape(id)+"/held", map[string]string{"word": word, "why": why})
}

// SignReview signs the review of a change and closes it.
func (c *Client) SignReview(ctx context.Context, id, note string) (ops.Change, error) {
	return send[ops.Change](ctx, c, http.MethodPost, "/changes/"+url.PathEscape(id)+"/review", map[string]string{"note": note})
}

// Trail returns the story of an incident or a change.
func (c *Client) Trail(ctx context.Context, id string, verify bool) (api.TrailView, error) {
	q := url.Values{}
	if verify {
		q.Set("verify", "true")
	}
	return get[api.TrailView](ctx, c, "/trail/"+url.PathEscape(id), q)
}

// SetExecution stops or resumes all execution.
func (c *Client) SetExecution(ctx context.Context, stopped bool, reason string) (api.Execution, error) {
	return send[api.Execution](ctx, c, http.MethodPut, "/execution", api.Execution{Stopped: stopped, Reason: reason})
}

// Series lists watched series; see the API for the query.
func (c *Client) Series(ctx context.Context, query url.Values) (SeriesList, error) {
	return get[SeriesList](ctx, c, "/series", query)
}

// OneSeries shows a watched series over a span; see the API for the query.
func (c *Client) OneSeries(ctx context.Context, id string, query url.Values) (SeriesView, error) {
	return get[SeriesView](ctx, c, "/series/"+url.PathEscape(id), query)
}

// Group shows a group of features.
func (c *Client) Group(ctx context.Context, name string) (GroupView, error) {
	return get[GroupView](ctx, c, "/groups/"+url.PathEscape(name), nil)
}

// BeginBootstrap begins to teach a group its past, or goes on with it.
func (c *Client) BeginBootstrap(ctx context.Context, group, source string, replace bool) (BootstrapView, error) {
	return send[BootstrapView](ctx, c, http.MethodPost, "/groups/"+url.PathEscape(group)+"/bootstraps", map[string]any{"source": source, "replace": replace})
}

// TeachBootstrap teaches a part of a past; sending it twice changes nothing.
func (c *Client) TeachBootstrap(ctx context.Context, id string, from, to time.Time, batch []byte) (Taken, error) {
	var out Taken
	q := url.Values{"from": {from.Format(time.RFC3339Nano)}, "to": {to.Format(time.RFC3339Nano)}}
	return out, c.do(ctx, http.MethodPut, "/bootstraps/"+url.PathEscape(id)+"/parts", q, "application/vnd.fettle.samples", batch, &out)
}

// EndBootstrap says that a past is complete.
func (c *Client) EndBootstrap(ctx context.Context, id string) (BootstrapView, error) {
	return send[BootstrapView](ctx, c, http.MethodPost, "/bootstraps/"+url.PathEscape(id)+"/end", nil)
}

// Anomalies lists anomalies; see the API for the query.
func (c *Client) Anomalies(ctx context.Context, query url.Values) (AnomalyList, error) {
	return get[AnomalyList](ctx, c, "/anomalies", query)
}

// Anomaly shows one, by id.
func (c *Client) Anomaly(ctx context.Context, id string) (AnomalyView, error) {
	return get[AnomalyView](ctx, c, "/anomalies/"+url.PathEscape(id), nil)
}

// BacklogSnapshots lists the daily counts.
func (c *Client) BacklogSnapshots(ctx context.Context, query url.Values) (api.List[ops.BacklogSnapshot], error) {
	return get[api.List[ops.BacklogSnapshot]](ctx, c, "/analytics/backlog-snapshots", query)
}

// Tokens lists tokens.
func (c *Client) Tokens(ctx context.Context) (api.List[api.TokenView], error) {
	return get[api.List[api.TokenView]](ctx, c, "/tokens", nil)
}

// CreateToken makes a token.
func (c *Client) CreateToken(ctx context.Context, r api.NewToken) (api.CreatedToken, error) {
	return send[api.CreatedToken](ctx, c, http.MethodPost, "/tokens", r)
}

// RevokeToken makes a token open nothing.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/tokens/"+url.PathEscape(id), nil, "", nil, nil)
}

// Integrations lists integrations with what is wrong with each.
func (c *Client) Integrations(ctx context.Context) (api.List[api.IntegrationView], error) {
	return get[api.List[api.IntegrationView]](ctx, c, "/integrations", nil)
}

// Platforms lists how each ticket platform is doing.
func (c *Client) Platforms(ctx context.Context) (PlatformList, error) {
	return get[PlatformList](ctx, c, "/platforms", nil)
}

// CheckPlatform tries the connection to a platform.
func (c *Client) CheckPlatform(ctx context.Context, name string) (api.Checked, error) {
	return send[api.Checked](ctx, c, http.MethodPost, "/platforms/"+url.PathEscape(name)+"/test", nil)
}

// SyncPlatform fetches what people did in a platform now.
func (c *Client) SyncPlatform(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodPost, "/platforms/"+url.PathEscape(name)+"/sync", nil, "", nil, nil)
}

// AuditPlatform merges work items that slipped through twice.
func (c *Client) AuditPlatform(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodPost, "/platforms/"+url.PathEscape(name)+"/audit", nil, "", nil, nil)
}

// Send delivers a payload to an integration and returns what became of it.
func (c *Client) Send(ctx context.Context, name, contentType string, payload []byte) (string, error) {
	var out struct {
		Outcome string `json:"outcome"`
	}
	return out.Outcome, c.do(ctx, http.MethodPost, "/integrations/"+url.PathEscape(name)+"/send", nil, contentType, payload, &out)
}

// Windows lists windows and freezes.
func (c *Client) Windows(ctx context.Context) (api.List[api.WindowView], error) {
	return get[api.List[api.WindowView]](ctx, c, "/windows", nil)
}

// Occurrences lists the next openings of a window or freeze; see the API for the query.
func (c *Client) Occurrences(ctx context.Context, name string, query url.Values) (api.List[ops.Occurrence], error) {
	return get[api.List[ops.Occurrence]](ctx, c, "/windows/"+url.PathEscape(name)+"/occurrences", query)
}

// Calendar returns windows and freezes as iCalendar: the one of that name, or all.
func (c *Client) Calendar(ctx context.Context, name string) ([]byte, error) {
	query := url.Values{}
	if name != "" {
		query.Set("name", name)
	}
	var b raw
	err := c.do(ctx, http.MethodGet, "/windows.ics", query, "", nil, &b)
	return b, err
}

// raw takes an answer as it is.
type raw []byte

// Conflicts lists which changes are in the way of one; see the API for the query.
func (c *Client) Conflicts(ctx context.Context, id string, query url.Values) (api.List[api.Conflict], error) {
	return get[api.List[api.Conflict]](ctx, c, "/changes/"+url.PathEscape(id)+"/conflicts", query)
}

// Graph shows what a resource needs and what needs it; see the API for the query.
func (c *Client) Graph(ctx context.Context, id string, query url.Values) (api.GraphView, error) {
	return get[api.GraphView](ctx, c, "/resources/"+url.PathEscape(id)+"/graph", query)
}
