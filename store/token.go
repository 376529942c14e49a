package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// tokenPrefix marks a secret of ours, so that scanners of leaked secrets know it.
const tokenPrefix = "ftl_"

// usedEvery is how often, at most, the last use of a token is written.
const usedEvery = time.Minute

// TokenOf is a token with the principal it belongs to.
type TokenOf struct {
	ops.Token
	Principal ops.Principal
}

// Session is a browser that signed in with a token.
type Session struct {
	Principal ops.Principal
	TokenID   string
	CSRF      string // what a form must send back
	ExpiresAt time.Time
}

// CreateToken makes a token for a principal that exists and returns its
// secret, ftl_<id>_<43 characters>, which cannot be had again. A zero expiry
// means never.
func (s *Store) CreateToken(ctx context.Context, tx db.Tx, by, owner ops.Principal, name string, expires time.Time) (string, ops.Token, error) {
	now := s.clock().UTC().Truncate(time.Millisecond)
	t := ops.Token{ID: hex.EncodeToString(random(8)), PrincipalID: owner.ID, Name: name, CreatedAt: now, ExpiresAt: fromMillis(millis(expires))}
	if !expires.IsZero() && !expires.After(now) {
		return "", t, fmt.Errorf("store: token %q would expire at %s, which has passed; choose a later time: %w", name, expires.Format(time.RFC3339), ops.ErrInvalid)
	}
	secret := tokenPrefix + t.ID + "_" + newSecret()
	_, err := tx.Exec(ctx, `INSERT INTO token (id, principal_id, name, hash, created_at, expires_at, revoked_at, last_used_at) VALUES ($1, $2, $3, $4, $5, $6, 0, 0)`,
		t.ID, owner.ID, name, digest(secret), millis(now), millis(expires))
	if err != nil {
		return "", t, fmt.Errorf("store: create a token of %s: %w", owner.Name, err)
	}
	_, err = s.Tell(ctx, tx, ops.NewFact(ops.SystemSubject, now, by, "", ops.TokenBody{TokenID: t.ID, Principal: owner.Name, Roles: owner.Roles}))
	return secret, t, err
}

// RevokeToken makes a token and its sessions open nothing from now on. A token
// that is revoked already stays as it is.
func (s *Store) RevokeToken(ctx context.Context, tx db.Tx, by ops.Principal, id string) error {
	var owner string
	var roles []ops.Role
	var revoked int64
	err := tx.QueryRow(ctx, "SELECT p.name, p.roles, t.revoked_at FROM token t JOIN principal p ON p.id = t.principal_id WHERE t.id = $1", id).Scan(&owner, inJSON{&roles}, &revoked)
	switch {
	case errors.Is(err, db.ErrNoRows):
		return fmt.Errorf("store: token %q: %w", id, ops.ErrNotFound)
	case err != nil:
		return fmt.Errorf("store: read token %q: %w", id, err)
	case revoked != 0:
		return nil
	}
	now := s.clock()
	if _, err := tx.Exec(ctx, "UPDATE token SET revoked_at = $2 WHERE id = $1", id, millis(now)); err != nil {
		return fmt.Errorf("store: revoke token %q: %w", id, err)
	}
	if _, err := tx.Exec(ctx, "DELETE FROM session WHERE token_id = $1", id); err != nil {
		return fmt.Errorf("store: end the sessions of token %q: %w", id, err)
	}
	_, err = s.Tell(ctx, tx, ops.NewFact(ops.SystemSubject, now, by, "", ops.TokenRevokedBody{TokenID: id, Principal: owner, Roles: roles}))
	return err
}

const tokenColumns = "t.id, t.principal_id, t.name, t.created_at, t.expires_at, t.revoked_at, t.last_used_at"

// Tokens returns every token, also those that open nothing any more, newest first.
func (s *Store) Tokens(ctx context.Context) ([]TokenOf, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT "+tokenColumns+", "+principalColumns+" FROM token t JOIN principal p ON p.id = t.principal_id ORDER BY t.created_at DESC, t.id")
	return db.Collect(rows, err, func(r db.Row) (TokenOf, error) { return scanToken(r) })
}

// scanToken reads tokenColumns, principalColumns and then more.
func scanToken(r db.Row, more ...any) (TokenOf, error) {
	var t TokenOf
	var created, expires, revoked, used int64
	dest := append([]any{&t.ID, &t.PrincipalID, &t.Name, &created, &expires, &revoked, &used}, principalFields(&t.Principal)...)
	err := r.Scan(append(dest, more...)...)
	t.CreatedAt, t.ExpiresAt, t.RevokedAt, t.LastUsedAt = fromMillis(created), fromMillis(expires), fromMillis(revoked), fromMillis(used)
	return t, err
}

// errCredential says the same whatever is wrong, so that trying teaches nothing.
var errCredential = fmt.Errorf("store: the credential is unknown, expired or revoked: %w", ops.ErrDenied)

func (t TokenOf) opens(now time.Time) bool {
	return t.RevokedAt.IsZero() && (t.ExpiresAt.IsZero() || t.ExpiresAt.After(now))
}

// PrincipalBySecret returns whose token a secret is. Anything that does not
// open gives ops.ErrDenied. It writes the time of use, at most once a minute,
// so it must not be called inside a write.
func (s *Store) PrincipalBySecret(ctx context.Context, secret string) (TokenOf, error) {
	rest, ours := strings.CutPrefix(secret, tokenPrefix)
	id, _, whole := strings.Cut(rest, "_")
	if !ours || !whole {
		return TokenOf{}, errCredential
	}
	var hash string
	t, err := scanToken(s.db.Read().QueryRow(ctx, "SELECT "+tokenColumns+", "+principalColumns+", t.hash FROM token t JOIN principal p ON p.id = t.principal_id WHERE t.id = $1", id), &hash)
	if errors.Is(err, db.ErrNoRows) {
		return TokenOf{}, errCredential
	}
	if err != nil {
		return TokenOf{}, fmt.Errorf("store: read a token: %w", err)
	}
	now := s.clock()
	if subtle.ConstantTimeCompare([]byte(digest(secret)), []byte(hash)) != 1 || !t.opens(now) {
		return TokenOf{}, errCredential
	}
	if now.Sub(t.LastUsedAt) < usedEvery {
		return t, nil
	}
	t.LastUsedAt = fromMillis(millis(now))
	err = s.db.Write(ctx, func(tx db.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE token SET last_used_at = $2 WHERE id = $1 AND last_used_at <= $3", id, millis(now), millis(now.Add(-usedEvery)))
		return err
	})
	if err != nil {
		return TokenOf{}, fmt.Errorf("store: write the use of token %s: %w", id, err)
	}
	return t, nil
}

// CreateSession signs a browser in with a token and returns the id its cookie
// carries. The session ends with its token at the latest.
func (s *Store) CreateSession(ctx context.Context, tx db.Tx, t TokenOf, lasts time.Duration) (string, Session, error) {
	now := s.clock()
	session := Session{Principal: t.Principal, TokenID: t.ID, CSRF: newSecret(), ExpiresAt: fromMillis(millis(now.Add(lasts)))}
	id := newSecret()
	_, err := tx.Exec(ctx, "INSERT INTO session (hash, token_id, csrf, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
		digest(id), t.ID, session.CSRF, millis(now), millis(session.ExpiresAt))
	if err != nil {
		return "", Session{}, fmt.Errorf("store: create a session of %s: %w", t.Principal.Name, err)
	}
	return id, session, nil
}

// SessionByID returns the session a cookie names, with the principal as it is
// now, or ops.ErrDenied.
func (s *Store) SessionByID(ctx context.Context, id string) (Session, error) {
	var session Session
	var expires int64
	t, err := scanToken(s.db.Read().QueryRow(ctx, "SELECT "+tokenColumns+", "+principalColumns+`, s.csrf, s.expires_at FROM session s
		JOIN token t ON t.id = s.token_id JOIN principal p ON p.id = t.principal_id WHERE s.hash = $1`, digest(id)), &session.CSRF, &expires)
	if errors.Is(err, db.ErrNoRows) {
		return Session{}, errCredential
	}
	if err != nil {
		return Session{}, fmt.Errorf("store: read a session: %w", err)
	}
	session.Principal, session.TokenID, session.ExpiresAt = t.Principal, t.ID, fromMillis(expires)
	if now := s.clock(); !t.opens(now) || !session.ExpiresAt.After(now) {
		return Session{}, errCredential
	}
	return session, nil
}

// EndSession signs a browser out. An unknown session is signed out already.
func (s *Store) EndSession(ctx context.Context, tx db.Tx, id string) error {
	if _, err := tx.Exec(ctx, "DELETE FROM session WHERE hash = $1", digest(id)); err != nil {
		return fmt.Errorf("store: end a session: %w", err)
	}
	return nil
}

// newSecret returns 32 random bytes as 43 characters.
func newSecret() string { return base64.RawURLEncoding.EncodeToString(random(32)) }

// digest is what is kept of a secret. Secrets are random, so a fast hash is
// enough: there is nothing to guess.
func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: it crashes the program instead
	return b
}
