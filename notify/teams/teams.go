// Package teams posts to Microsoft Teams through a Workflows webhook, as an
// Adaptive Card.
package teams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
)

// Driver posts to Teams. A workflow knows no id of a message, so one that may
// have arrived is not sent again.
var Driver = notify.Define("teams", notify.Traits{PerHour: 20}, Open)

// Config says which workflow posts.
type Config struct {
	Webhook secret.Ref `yaml:"webhook"` // address of the workflow, which is a secret in whole
	Allow   []string   `yaml:"allow"`   // private networks that may be posted to, such as 10.0.0.0/8; default: none
}

// SetReference reads the short form: the webhook alone.
func (c *Config) SetReference(r secret.Ref) { c.Webhook = r }

// Validate returns the first fault.
func (c *Config) Validate() error {
	if c.Webhook.IsZero() {
		return errors.New("webhook is missing; write the address that Workflows gave, as env:NAME or file:PATH")
	}
	_, err := notify.ParseAllow(c.Allow)
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

// Send implements notify.Channel. A workflow answers 202 and says nothing: it
// posts the card afterwards.
func (ch *channel) Send(ctx context.Context, m notify.Message) error {
	address, err := ch.env.Secret(ctx, ch.c.Webhook)
	if err != nil {
		return fmt.Errorf("teams: %w: %w", err, ops.ErrUnavailable)
	}
	body, err := render(m)
	if err != nil {
		return fmt.Errorf("teams: %w: %w", err, ops.ErrInternal)
	}
	if _, err := ch.post.Post(ctx, address, http.Header{"Content-Type": {"application/json"}}, body); err != nil {
		return fmt.Errorf("teams: %w", err)
	}
	return nil
}

// maxBody is what Teams takes of a message, 28 KB, with room for what the
// workflow adds.
const maxBody = 24 << 10

type envelope struct {
	Type        string       `json:"type"`
	Attachments []attachment `json:"attachments"`
}

type attachment struct {
	ContentType string  `json:"contentType"`
	ContentURL  *string `json:"contentUrl"`
	Content     card    `json:"content"`
}

type card struct {
	Schema  string    `json:"$schema"`
	Type    string    `json:"type"`
	Version string    `json:"version"`
	Body    []element `json:"body"`
	Actions []action  `json:"actions,omitempty"`
	MSTeams msteams   `json:"msteams"`
}

type msteams struct {
	Width string `json:"width"`
}

type element struct {
	Type   string `json:"type"`
	Text   string `json:"text,omitempty"`
	Size   string `json:"size,omitempty"`
	Weight string `json:"weight,omitempty"`
	Color  string `json:"color,omitempty"`
	Wrap   bool   `json:"wrap,omitempty"`
	Facts  []fact `json:"facts,omitempty"`
}

type fact struct {
	Title string `json:"title"`
	Value string `json:"value"`
}

type action struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

// colors are the card's own words for the severities.
var colors = map[ops.Severity]string{ops.Critical: "Attention", ops.High: "Attention", ops.Medium: "Warning", ops.Low: "Accent", ops.Info: "Default"}

// render makes the card, and makes its texts shorter until it fits.
func render(m notify.Message) ([]byte, error) {
	for limit := maxBody / 3; ; limit /= 2 {
		body, err := json.Marshal(shape(m, limit))
		if err != nil || len(body) <= maxBody || limit < 64 {
			return body, err
		}
	}
}

func shape(m notify.Message, limit int) envelope {
	c := card{
		Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4", MSTeams: msteams{"Full"},
		Body: []element{{Type: "TextBlock", Text: plain(notify.CutRunes(notify.OneLine(m.Title), min(limit, 300))), Size: "Large", Weight: "Bolder", Color: colors[m.Severity], Wrap: true}},
	}
	for _, s := range []string{m.What, m.Why, notify.Lines(m, limit)} {
		if s = notify.Cut(strings.TrimSpace(strings.ToValidUTF8(s, "?")), limit); s != "" {
			c.Body = append(c.Body, element{Type: "TextBlock", Text: plain(s), Wrap: true})
		}
	}
	facts := element{Type: "FactSet"}
	for _, d := range notify.Details(m) {
		if len(facts.Facts) < 12 {
			facts.Facts = append(facts.Facts, fact{d[0], plain(notify.CutRunes(d[1], min(limit, 200)))})
		}
	}
	c.Body = append(c.Body, facts)
	open := func(title, to string) {
		if to != "" && len(to) <= 2000 && len(c.Actions) < 6 {
			c.Actions = append(c.Actions, action{"Action.OpenUrl", notify.CutRunes(title, 50), to})
		}
	}
	open("Open in Fettle", m.Link)
	for _, t := range m.Tickets {
		open(notify.OneLine(t.Display), t.URL)
	}
	return envelope{Type: "message", Attachments: []attachment{{ContentType: "application/vnd.microsoft.card.adaptive", Content: c}}}
}

// plain takes the meaning out of the Markdown that a card renders, and keeps
// line breaks, which it shows only when doubled.
func plain(s string) string {
	s = strings.NewReplacer("\\", "\\\\", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "`", "\\`", "#", "\\#", "\r", "").Replace(s)
	return strings.ReplaceAll(s, "\n", "\n\n")
}
