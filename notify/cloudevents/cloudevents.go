// Package cloudevents posts events by CloudEvents 1.0 over HTTP, in the
// structured or the binary content mode.
package cloudevents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
)

// Driver posts CloudEvents. A receiver knows an event it has by source and id.
var Driver = notify.Define("cloudevents", notify.Traits{Repeats: true}, Open)

// Type is what the types of events begin with.
const Type = "com.github.fettleops.fettle."

// Config says where it posts and how.
type Config struct {
	URL    secret.Ref `yaml:"url"`                           // address of the receiver
	Mode   string     `yaml:"mode" enum:"structured,binary"` // default structured
	Token  secret.Ref `yaml:"token"`                         // sent as Authorization: Bearer; default: none
	Source string     `yaml:"source"`                        // default: the address of this Fettle
	Allow  []string   `yaml:"allow"`                         // private networks that may be posted to, such as 10.0.0.0/8; default: none
}

// SetReference reads the short form: the address alone.
func (c *Config) SetReference(r secret.Ref) { c.URL = r }

// Validate fills in the default and returns the first fault.
func (c *Config) Validate() error {
	if c.Mode == "" {
		c.Mode = "structured"
	}
	if c.URL.IsZero() {
		return errors.New("url is missing; write env:NAME or file:PATH")
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
	if c.Source == "" {
		c.Source = env.Source
	}
	return &channel{c: c, env: env, post: notify.NewPoster(env, allow)}, nil
}

// maxBody is the size that every intermediary must forward, 64 KiB, with room
// for the attributes.
const maxBody = 60 << 10

type event struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Time        string          `json:"time"`
	Subject     string          `json:"subject,omitempty"`
	ContentType string          `json:"datacontenttype"`
	Data        json.RawMessage `json:"data"`
}

// Send implements notify.Channel. Any 2xx is success.
func (ch *channel) Send(ctx context.Context, m notify.Message) error {
	address, err := ch.env.Secret(ctx, ch.c.URL)
	if err != nil {
		return fmt.Errorf("cloudevents: %w: %w", err, ops.ErrUnavailable)
	}
	e := event{
		SpecVersion: "1.0", ID: m.ID, Source: ch.c.Source, Type: Type + m.Event, Time: m.At.UTC().Format(time.RFC3339Nano), Subject: m.Key, ContentType: "application/json",
	}
	data, err := notify.Fit(m, maxBody, func(m notify.Message) ([]byte, error) { return json.Marshal(m) })
	if err != nil {
		return fmt.Errorf("cloudevents: %w", err)
	}
	e.Data = data
	header, body := binary(e), data
	if ch.c.Mode != "binary" {
		header = http.Header{"Content-Type": {"application/cloudevents+json; charset=utf-8"}}
		if body, err = json.Marshal(e); err != nil {
			return fmt.Errorf("cloudevents: %w: %w", err, ops.ErrInternal)
		}
	}
	var secrets []redact.Secret
	if !ch.c.Token.IsZero() {
		token, err := ch.env.Secret(ctx, ch.c.Token)
		if err != nil {
			return fmt.Errorf("cloudevents: %w: %w", err, ops.ErrUnavailable)
		}
		header.Set("Authorization", "Bearer "+token.Reveal())
		secrets = append(secrets, token)
	}
	if _, err := ch.post.Post(ctx, address, header, body, secrets...); err != nil {
		return fmt.Errorf("cloudevents: %w", err)
	}
	return nil
}

// binary carries the attributes in headers.
func binary(e event) http.Header {
	h := http.Header{"Content-Type": {e.ContentType}}
	for name, v := range map[string]string{"specversion": e.SpecVersion, "id": e.ID, "source": e.Source, "type": e.Type, "time": e.Time, "subject": e.Subject} {
		if v != "" {
			h.Set("ce-"+name, encode(v))
		}
	}
	return h
}

// encode writes an attribute's value for a header, section 3.1.3.2 of the HTTP
// binding: a space, ", % and all that is not printable ASCII percent-encoded.
func encode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > 0x20 && c < 0x7f && c != '"' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
