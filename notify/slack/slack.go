// Package slack posts to Slack, through an incoming webhook or as an app
// through chat.postMessage.
package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
)

// Driver posts to Slack. Slack knows no id of a message, so one that may have
// arrived is not sent again.
var Driver = notify.Define("slack", notify.Traits{PerHour: 20}, Open)

// Config says where it posts: an incoming webhook, or a channel as an app.
type Config struct {
	Webhook secret.Ref `yaml:"webhook"` // address of an incoming webhook, which is a secret in whole
	Token   secret.Ref `yaml:"token"`   // of an app with the scope chat:write; default: none
	Channel string     `yaml:"channel"` // where the app posts, an id such as C024BE91L or a name; default: none
	API     string     `yaml:"api"`     // default https://slack.com/api
	Allow   []string   `yaml:"allow"`   // private networks that may be posted to, such as 10.0.0.0/8; default: none
}

// SetReference reads the short form: the webhook alone.
func (c *Config) SetReference(r secret.Ref) { c.Webhook = r }

// Validate fills in the default and returns the first fault.
func (c *Config) Validate() error {
	if c.API == "" {
		c.API = "https://slack.com/api"
	}
	u, err := url.Parse(c.API)
	switch {
	case c.Webhook.IsZero() == c.Token.IsZero():
		return errors.New("write either webhook, or token and channel")
	case c.Token.IsZero() != (c.Channel == ""):
		return errors.New("token and channel belong together")
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "":
		return errors.New("api: write an address such as https://slack.com/api")
	}
	_, err = notify.ParseAllow(c.Allow)
	return err
}

type channel struct {
	c    Config
	env  notify.Env
	post *notify.Poster
}

// Open returns the channel. It calls nobody.
func Open(_ context.Context, c Config, env notify.Env) (notify.Channel, error) {
	allow, err := notify.ParseAllow(c.Allow)
	if err != nil {
		return nil, err
	}
	return &channel{c: c, env: env, post: notify.NewPoster(env, allow)}, nil
}

// Send implements notify.Channel.
func (ch *channel) Send(ctx context.Context, m notify.Message) error {
	ref := ch.c.Webhook
	if ref.IsZero() {
		ref = ch.c.Token
	}
	value, err := ch.env.Secret(ctx, ref)
	if err != nil {
		return fmt.Errorf("slack: %w: %w", err, ops.ErrUnavailable)
	}
	if ch.c.Webhook.IsZero() {
		return ch.asApp(ctx, value, m)
	}
	body, err := json.Marshal(render(m))
	if err != nil {
		return fmt.Errorf("slack: %w: %w", err, ops.ErrInternal)
	}
	a, err := ch.post.Post(ctx, value, http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return fmt.Errorf("slack: %w", err)
	}
	if said := strings.TrimSpace(string(a.Body)); said != "ok" {
		return fmt.Errorf("slack: the webhook did not answer ok: %w", ops.ErrUnavailable)
	}
	return nil
}

// asApp posts through chat.postMessage, which answers its refusals with 200.
func (ch *channel) asApp(ctx context.Context, token redact.Secret, m notify.Message) error {
	p := render(m)
	p.Channel = ch.c.Channel
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("slack: %w: %w", err, ops.ErrInternal)
	}
	header := http.Header{"Content-Type": {"application/json; charset=utf-8"}, "Authorization": {"Bearer " + token.Reveal()}}
	a, err := ch.post.Post(ctx, redact.New(ch.c.API+"/chat.postMessage"), header, body, token)
	if err != nil {
		return fmt.Errorf("slack: %w", err)
	}
	var said struct {
		OK    *bool  `json:"ok"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal(a.Body, &said); err != nil || said.OK == nil {
		return fmt.Errorf("slack: the answer is none of Slack's: %w", ops.ErrUnavailable)
	}
	if *said.OK {
		return nil
	}
	return fmt.Errorf("slack: chat.postMessage: %s: %w", redact.Text(notify.Cut(notify.OneLine(said.Error), 100), token), class(said.Error))
}

// class sorts the errors of chat.postMessage.
func class(word string) error {
	switch word {
	case "ratelimited", "rate_limited", "message_limit_exceeded":
		return ops.ErrThrottled
	case "internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org":
		return ops.ErrUnavailable
	case "not_authed", "invalid_auth", "account_inactive", "token_revoked", "token_expired", "no_permission", "missing_scope", "not_allowed_token_type", "not_in_channel", "restricted_action":
		return ops.ErrDenied
	case "channel_not_found", "is_archived":
		return ops.ErrNotFound
	}
	return ops.ErrInvalid
}

// Limits of Block Kit, in characters, and of the blocks of a message.
const (
	maxHeader  = 150
	maxSection = 3000
	maxField   = 2000
	maxFields  = 10
	maxText    = 4000
)

type payload struct {
	Channel string  `json:"channel,omitempty"`
	Text    string  `json:"text"` // for notifications, and where blocks cannot be shown
	Blocks  []block `json:"blocks"`
	// Slack would fetch the pages that are linked, and show what it finds.
	UnfurlLinks bool `json:"unfurl_links"`
	UnfurlMedia bool `json:"unfurl_media"`
}

type block struct {
	Type   string `json:"type"`
	Text   *text  `json:"text,omitempty"`
	Fields []text `json:"fields,omitempty"`
}

type text struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func render(m notify.Message) payload {
	p := payload{Text: escape(notify.OneLine(m.Title), maxText), Blocks: []block{{Type: "header", Text: &text{"plain_text", notify.CutRunes(notify.OneLine(m.Title), maxHeader)}}}}
	section := func(s string) {
		if s = strings.TrimSpace(s); s != "" {
			p.Blocks = append(p.Blocks, block{Type: "section", Text: &text{"mrkdwn", escape(s, maxSection)}})
		}
	}
	section(m.What)
	section(m.Why)
	section(notify.Lines(m, maxSection*2/3))
	var fields []text
	for _, d := range notify.Details(m) {
		if len(fields) < maxFields {
			fields = append(fields, text{"mrkdwn", "*" + d[0] + "*\n" + escape(d[1], maxField-50)})
		}
	}
	p.Blocks = append(p.Blocks, block{Type: "section", Fields: fields})
	var links []string
	if m.Link != "" {
		links = append(links, link(m.Link, "Open in Fettle"))
	}
	for _, t := range m.Tickets {
		if t.URL != "" && len(links) < 6 {
			links = append(links, link(t.URL, notify.CutRunes(t.Display, 50)))
		}
	}
	if len(links) > 0 {
		p.Blocks = append(p.Blocks, block{Type: "section", Text: &text{"mrkdwn", strings.Join(links, "  ")}})
	}
	return p
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escape makes text of others harmless, so that it mentions nobody and links
// nowhere, and cuts it to so many characters as Slack counts them.
func escape(s string, limit int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "?")
	for n := limit; ; n = n * 3 / 4 {
		if out := escaper.Replace(notify.CutRunes(s, n)); len([]rune(out)) <= limit {
			return out
		}
	}
}

func link(to, words string) string {
	return "<" + strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", "&", "&amp;").Replace(notify.Cut(to, 400)) + "|" + escape(strings.ReplaceAll(words, "|", "/"), 80) + ">"
}
