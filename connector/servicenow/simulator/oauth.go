package simulator

import (
	"crypto/subtle"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const defaultScope = "useraccount"

// maxTokenForm bounds the body of a token request.
const maxTokenForm = 64 << 10

type token struct {
	user, scope, client string
	expires             time.Time
}

// tokenStore holds what was issued. The Server's lock guards it.
type tokenStore struct {
	accesses  map[string]token
	refreshes map[string]token
}

func newTokenStore() *tokenStore {
	return &tokenStore{accesses: map[string]token{}, refreshes: map[string]token{}}
}

func (t *tokenStore) access(value string, now time.Time) (token, bool) {
	got, ok := t.accesses[value]
	return got, ok && now.Before(got.expires)
}

// expire forgets what no longer opens anything.
func (t *tokenStore) expire(now time.Time) {
	for _, m := range []map[string]token{t.accesses, t.refreshes} {
		for value, tok := range m {
			if !now.Before(tok.expires) {
				delete(m, value)
			}
		}
	}
}

// RevokeTokens makes every access token invalid, as an administrator can; what
// refresh tokens there are stay good.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens.accesses)
}

// serveToken answers /oauth_token.do. Parameters count in the body only, as
// with glide.oauth.allow.parameters.in.post.body.only.
func (s *Server) serveToken(r *http.Request) answer {
	if r.Method != http.MethodPost {
		return refuse(http.StatusMethodNotAllowed, "Method not supported", "").answer()
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return accessDenied()
	}
	raw, refused := readBody(r, maxTokenForm)
	if refused {
		return accessDenied()
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return accessDenied()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	client, ok := s.oauthClient(form.Get("client_id"), form.Get("client_secret"))
	if !ok {
		return accessDenied()
	}
	now := s.now()
	s.tokens.expire(now)
	grant := token{client: client.ID, scope: client.Scope}
	if grant.scope == "" {
		grant.scope = defaultScope
	}
	if asked := form.Get("scope"); asked != "" {
		grant.scope = asked
	}
	refresh := ""
	switch form.Get("grant_type") {
	case "password":
		user := form.Get("username")
		if s.cfg.NoPasswordGrant || !s.passwordFits(user, form.Get("password")) {
			return accessDenied()
		}
		grant.user = user
		refresh = s.issue(s.tokens.refreshes, grant, now.Add(s.cfg.RefreshTokenLife))
	case "client_credentials":
		if !s.cfg.ClientCredentials || client.User == "" {
			return accessDenied()
		}
		grant.user = client.User
	case "refresh_token":
		refresh = form.Get("refresh_token")
		old, known := s.tokens.refreshes[refresh]
		if !known || old.client != client.ID {
			return accessDenied()
		}
		grant = old
	default:
		return accessDenied()
	}
	if s.account(grant.user) == nil {
		return accessDenied()
	}
	body := map[string]any{
		"access_token": s.issue(s.tokens.accesses, grant, now.Add(s.cfg.AccessTokenLife)),
		"token_type":   "Bearer",
		"scope":        grant.scope,
		// The recorded answer to a life of 30 minutes says 1799.
		"expires_in": int(s.cfg.AccessTokenLife/time.Second) - 1,
	}
	if refresh != "" {
		body["refresh_token"] = refresh
	}
	return jsonAnswer(http.StatusOK, body)
}

func (s *Server) oauthClient(id, secret string) (OAuthClient, bool) {
	for _, c := range s.cfg.OAuth {
		if c.ID == id && id != "" {
			return c, subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) == 1
		}
	}
	return OAuthClient{}, false
}

// issue stores a grant under a fresh value. The value follows from the seed: a
// simulator guards nothing, and a test wants to repeat itself.
func (s *Server) issue(into map[string]token, grant token, expires time.Time) string {
	s.idSeq++
	n := strconv.FormatUint(s.idSeq, 10)
	value := s.derivedID("token", n) + s.derivedID("token tail", n)
	grant.expires = expires
	into[value] = grant
	return value
}

// accessDenied is the one body the endpoint gives for whatever is wrong.
func accessDenied() answer {
	return jsonAnswer(http.StatusUnauthorized, map[string]any{
		"error_description": "access_denied", "error": "server_error",
	})
}
