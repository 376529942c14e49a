package servicenow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/ops"
)

const (
	tokenPath = "/oauth_token.do"
	// early is how long before its end a token is renewed.
	early = time.Minute
	// bearer begins the header of a request with a token.
	bearer = "Bearer "
)

// credentials puts who we are on a request. A token is kept in memory only; a
// new process asks for a new one.
type credentials struct {
	auth    Auth
	secrets connector.Secrets

	turn    chan struct{} // held by whoever uses or renews the token
	token   string
	refresh string
	until   time.Time
}

func newCredentials(a Auth, s connector.Secrets) *credentials {
	return &credentials{auth: a, secrets: s, turn: make(chan struct{}, 1)}
}

func (c *credentials) resolve(ctx context.Context, r secret.Ref) (redact.Secret, error) {
	v, err := c.secrets.Resolve(ctx, r.String())
	return redact.New(v), err
}

// apply adds the credentials and returns what of them must not be repeated.
func (c *credentials) apply(ctx context.Context, cl *client, req *http.Request) ([]redact.Secret, error) {
	switch {
	case c.auth.Basic != nil:
		password, err := c.resolve(ctx, c.auth.Basic.Password)
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth(c.auth.Basic.Username, password.Reveal())
		return []redact.Secret{password, redact.New(c.auth.Basic.Username + ":" + password.Reveal())}, nil
	case c.auth.OAuth != nil:
		token, err := c.bearer(ctx, cl)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", bearer+token)
		return []redact.Secret{redact.New(token)}, nil
	}
	key, err := c.resolve(ctx, c.auth.APIKey)
	if err != nil {
		return nil, err
	}
	req.Header.Set("x-sn-apikey", key.Reveal())
	return []redact.Secret{key}, nil
}

// renew forgets the token a refused request carried, and tells whether asking
// again makes sense.
func (c *credentials) renew(req *http.Request) bool {
	if c.auth.OAuth == nil {
		return false
	}
	select {
	case c.turn <- struct{}{}:
	case <-req.Context().Done():
		return false
	}
	defer func() { <-c.turn }()
	// Another request may have renewed it in the meantime.
	if req.Header.Get("Authorization") == bearer+c.token {
		c.token = ""
	}
	return true
}

// bearer returns a token that is good for a minute at least.
func (c *credentials) bearer(ctx context.Context, cl *client) (string, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for a token: %w: %w", ctx.Err(), ops.ErrUnavailable)
	}
	defer func() { <-c.turn }()
	if c.token != "" && cl.clock().Before(c.until) {
		return c.token, nil
	}
	o := c.auth.OAuth
	if c.refresh != "" {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.refresh}}
		err := c.ask(ctx, cl, form, redact.New(c.refresh))
		if !errors.Is(err, ops.ErrDenied) {
			return c.token, err
		}
		c.refresh = "" // revoked or too old: begin anew
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	var secrets []redact.Secret
	switch {
	case !o.RefreshToken.IsZero():
		token, err := c.resolve(ctx, o.RefreshToken)
		if err != nil {
			return "", err
		}
		form = url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.Reveal()}}
		secrets = append(secrets, token)
	case o.Username != "":
		password, err := c.resolve(ctx, o.Password)
		if err != nil {
			return "", err
		}
		form = url.Values{"grant_type": {"password"}, "username": {o.Username}, "password": {password.Reveal()}}
		secrets = append(secrets, password)
	}
	if o.Scope != "" {
		form.Set("scope", o.Scope)
	}
	err := c.ask(ctx, cl, form, secrets...)
	return c.token, err
}

// ask gets a token. Everything goes in the body: a query ends up in logs.
func (c *credentials) ask(ctx context.Context, cl *client, form url.Values, secrets ...redact.Secret) error {
	c.token = ""
	id, err := c.resolve(ctx, c.auth.OAuth.ClientID)
	if err != nil {
		return err
	}
	key, err := c.resolve(ctx, c.auth.OAuth.ClientSecret)
	if err != nil {
		return err
	}
	form.Set("client_id", id.Reveal())
	form.Set("client_secret", key.Reveal())
	req, err := newRequest(ctx, http.MethodPost, cl.base+tokenPath, []byte(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Accept", jsonType)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	// Two tokens are as good as one: asking for one changes nothing.
	a, err := cl.roundTrip(req, connector.Read)
	if err != nil {
		return err
	}
	a.secrets = append(secrets, id, key)
	switch code := a.resp.StatusCode; {
	case code == http.StatusBadRequest, code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("%s answered %d to grant %s%s: %w", tokenPath, code, form.Get("grant_type"), grantHint(form.Get("grant_type")), ops.ErrDenied)
	default:
		if err := cl.failure(a, connector.Read, http.StatusOK); err != nil {
			return fmt.Errorf("%s: %w", tokenPath, err)
		}
	}
	return c.keep(a, cl.clock())
}

func grantHint(grant string) string {
	switch grant {
	case "client_credentials":
		return "; check client_id and client_secret, that glide.oauth.inbound.client.credential.grant_type.enabled is true and that the client has an OAuth Application User"
	case "password":
		return "; check client_id, client_secret, username and password, and that the password grant is not hardened off"
	}
	return "; check client_id and client_secret; the refresh token may have ended (100 days), then get a new one"
}

func (c *credentials) keep(a answer, now time.Time) error {
	var got struct {
		Access  string          `json:"access_token"`
		Refresh string          `json:"refresh_token"`
		Expires json.RawMessage `json:"expires_in"`
	}
	if err := json.Unmarshal(a.body, &got); err != nil || got.Access == "" {
		return fmt.Errorf("%s answered %d without a token: %w", tokenPath, a.resp.StatusCode, ops.ErrUnavailable)
	}
	secs, err := strconv.ParseInt(string(bytes.Trim(got.Expires, `"`)), 10, 32)
	if err != nil || secs <= 0 {
		secs = 2 * int64(early/time.Second) // unknown: use it for a minute
	}
	life := time.Duration(secs) * time.Second
	c.token, c.until = got.Access, now.Add(max(life-early, life/2))
	if got.Refresh != "" {
		c.refresh = got.Refresh
	}
	return nil
}
