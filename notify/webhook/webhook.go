// Package webhook posts signed JSON to any address, by the Standard Webhooks
// specification: the receiver knows who sent it, that it is fresh, and whether
// it has seen it before.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
)

// Driver posts signed JSON. A receiver knows a message it has by webhook-id.
var Driver = notify.Define("webhook", notify.Traits{Repeats: true}, Open)

// Config says where it posts and how it signs.
type Config struct {
	URL     secret.Ref   `yaml:"url,required"`     // address of the receiver
	Secrets []secret.Ref `yaml:"secrets,required"` // keys, whsec_ and 24 to 64 bytes in base64; each signs, so that one can be replaced by another
	Allow   []string     `yaml:"allow"`            // private networks that may be posted to, such as 10.0.0.0/8; default: none
}

// Validate returns the first fault.
func (c *Config) Validate() error {
	if c.URL.IsZero() || len(c.Secrets) == 0 {
		return errors.New("url and secrets are required, as env:NAME or file:PATH")
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

// maxBody is what the specification recommends a payload to stay below.
const maxBody = 20 << 10

type payload struct {
	Type      string         `json:"type"`
	Timestamp string         `json:"timestamp"`
	Data      notify.Message `json:"data"`
}

// Send implements notify.Channel. Any 2xx is success.
func (ch *channel) Send(ctx context.Context, m notify.Message) error {
	address, err := ch.env.Secret(ctx, ch.c.URL)
	if err != nil {
		return fmt.Errorf("webhook: %w: %w", err, ops.ErrUnavailable)
	}
	body, err := notify.Fit(m, maxBody, func(m notify.Message) ([]byte, error) {
		return json.Marshal(payload{Type: m.Event, Timestamp: m.At.UTC().Format("2006-01-02T15:04:05.000Z"), Data: m})
	})
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	at := strconv.FormatInt(ch.env.Clock().Unix(), 10)
	var signatures []string
	var secrets []redact.Secret
	for i, ref := range ch.c.Secrets {
		s, err := ch.env.Secret(ctx, ref)
		if err != nil {
			return fmt.Errorf("webhook: %w: %w", err, ops.ErrUnavailable)
		}
		key, err := ParseKey(s)
		if err != nil {
			return fmt.Errorf("webhook: secrets[%d]: %w", i, err)
		}
		secrets = append(secrets, s)
		signatures = append(signatures, Sign(key, m.ID, at, body))
	}
	header := http.Header{
		"Content-Type": {"application/json"}, "Webhook-Id": {m.ID}, "Webhook-Timestamp": {at}, "Webhook-Signature": {strings.Join(signatures, " ")},
	}
	if _, err := ch.post.Post(ctx, address, header, body, secrets...); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	return nil
}

// ParseKey reads a key as the specification serialises it. Its length must be
// 24 to 64 bytes.
func ParseKey(s redact.Secret) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.TrimSpace(s.Reveal()), "whsec_"))
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, fmt.Errorf("the key is none of whsec_ and 24 to 64 bytes in base64; make one with: echo whsec_$(openssl rand -base64 32): %w", ops.ErrInvalid)
	}
	return key, nil
}

// Sign returns the signature v1 of a message: HMAC-SHA256 over id, timestamp
// and body, joined by full stops.
func Sign(key []byte, id, timestamp string, body []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id + "." + timestamp + "."))
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}
