package storetest

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

var principalRules = []rule{
	{
		name:  "principal/upsert",
		why:   "the configuration is read at every start and must not make people anew, nor a service a person who may approve",
		check: principals,
	},
	{
		name:  "token/life",
		why:   "a credential opens exactly while it should, and every making and revoking is on record",
		check: tokens,
	},
	{
		name:  "token/last-use",
		why:   "people revoke what is not used; writing every use would make each request a disk flush",
		check: lastUse,
	},
	{
		name:  "session/life",
		why:   "a browser must be signed out with the token it signed in with",
		check: sessions,
	},
}

func (h *house) principal(name string, kind ops.PrincipalKind, roles ...ops.Role) ops.Principal {
	h.t.Helper()
	var p ops.Principal
	h.write(func(tx db.Tx) (err error) {
		p, err = h.store.UpsertPrincipal(h.ctx, tx, ops.Principal{Name: name, Kind: kind, Roles: roles, Teams: []string{"ops"}, Platforms: map[string]string{"servicenow": name + ".sn"}})
		return err
	})
	return p
}

func (h *house) token(owner ops.Principal, expires time.Time) (string, ops.Token) {
	h.t.Helper()
	var secret string
	var token ops.Token
	h.write(func(tx db.Tx) (err error) {
		secret, token, err = h.store.CreateToken(h.ctx, tx, ops.SystemPrincipal, owner, "laptop", expires)
		return err
	})
	return secret, token
}

func principals(t *testing.T, h *house) {
	ada := h.principal("ada", ops.Person, ops.Viewer)
	again := h.principal("ada", ops.Person, ops.Approver, ops.Admin)
	if ada.ID == "" || again.ID != ada.ID {
		t.Errorf("ada was %q and is %q", ada.ID, again.ID)
	}
	for _, key := range []string{"ada", ada.ID} {
		got, err := h.store.Principal(h.ctx, key)
		must(t, err)
		if !slices.Equal(got.Roles, again.Roles) || got.Platforms["servicenow"] != "ada.sn" || !slices.Equal(got.Teams, []string{"ops"}) || got.Kind != ops.Person {
			t.Errorf("principal %s read back as %+v", key, got)
		}
	}
	if got, err := h.store.PrincipalOn(h.ctx, "servicenow", "ada.sn"); got.Name != "ada" || err != nil {
		t.Errorf("mapped to %+v, %v", got, err)
	}
	for _, user := range []string{"", "bob.sn", "ADA.SN"} {
		_, err := h.store.PrincipalOn(h.ctx, "servicenow", user)
		wantClass(t, "unmapped user "+user, err, ops.ErrNotFound)
	}
	h.write(func(tx db.Tx) error {
		_, err := h.store.UpsertPrincipal(h.ctx, tx, ops.Principal{Name: "eve", Kind: ops.Person, Platforms: map[string]string{"servicenow": "ada.sn"}})
		return err
	})
	_, err := h.store.PrincipalOn(h.ctx, "servicenow", "ada.sn")
	wantClass(t, "a user mapped twice", err, ops.ErrConflict)
	refuse := func(p ops.Principal, class error) {
		t.Helper()
		err := h.db.Write(h.ctx, func(tx db.Tx) error {
			_, err := h.store.UpsertPrincipal(h.ctx, tx, p)
			return err
		})
		wantClass(t, "principal "+p.Name+" "+string(p.Kind), err, class)
	}
	refuse(ops.Principal{Name: "ada", Kind: ops.Service}, ops.ErrConflict)
	refuse(ops.Principal{Name: "", Kind: ops.Person}, ops.ErrInvalid)
	refuse(ops.Principal{Name: "fettle", Kind: ops.Service}, ops.ErrInvalid)
	refuse(ops.Principal{Name: "x", Kind: ops.System}, ops.ErrInvalid)
	_, err = h.store.Principal(h.ctx, "nobody")
	wantClass(t, "unknown principal", err, ops.ErrNotFound)
	if all, err := h.store.Principals(h.ctx); len(all) != 2 || err != nil {
		t.Errorf("principals: %v, %v", all, err)
	}
}

func tokens(t *testing.T, h *house) {
	ada := h.principal("ada", ops.Person, ops.Approver)
	secret, token := h.token(ada, h.clock().Add(time.Hour))
	forever, _ := h.token(ada, time.Time{})
	if !regexp.MustCompile(`^ftl_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$`).MatchString(secret) || !strings.HasPrefix(secret, "ftl_"+token.ID+"_") {
		t.Errorf("a secret looks like %q", secret)
	}
	open := func(secret string, want bool) {
		t.Helper()
		got, err := h.store.PrincipalBySecret(h.ctx, secret)
		if want && (err != nil || got.Principal.Name != "ada" || !slices.Equal(got.Principal.Roles, ada.Roles)) {
			t.Errorf("the secret opens %+v, %v", got.Principal, err)
		}
		if !want {
			wantClass(t, "a secret that must not open", err, ops.ErrDenied)
			if err != nil && strings.Contains(err.Error(), secret) && secret != "" {
				t.Errorf("the error repeats the secret: %v", err)
			}
		}
	}
	open(secret, true)
	open(forever, true)
	for _, wrong := range []string{"", "ftl_", "ftl_x", secret[:len(secret)-1], secret + "x", strings.ToUpper(secret), "Bearer " + secret, strings.Replace(secret, token.ID, "0123456789abcdef", 1)} {
		open(wrong, false)
	}
	last := secret[len(secret)-1]
	open(secret[:len(secret)-1]+string([]byte{last ^ 1}), false)
	if n := h.count("SELECT COUNT(*) FROM token WHERE hash LIKE '%' || $1 || '%'", secret[21:]); n != 0 {
		t.Error("the secret itself is in the database")
	}
	h.pass(time.Hour)
	open(secret, false)
	open(forever, true)
	err := h.db.Write(h.ctx, func(tx db.Tx) error {
		_, _, err := h.store.CreateToken(h.ctx, tx, ops.SystemPrincipal, ada, "late", h.clock())
		return err
	})
	wantClass(t, "a token that has expired when made", err, ops.ErrInvalid)

	revoke := func(id string) error {
		return h.db.Write(h.ctx, func(tx db.Tx) error { return h.store.RevokeToken(h.ctx, tx, ada, id) })
	}
	all, err := h.store.Tokens(h.ctx)
	must(t, err)
	for _, tok := range all {
		must(t, revoke(tok.ID))
		must(t, revoke(tok.ID))
	}
	open(forever, false)
	wantClass(t, "revoking an unknown token", revoke("none"), ops.ErrNotFound)
	facts, err := h.store.FactsAbout(h.ctx, ops.SystemSubject)
	must(t, err)
	var kinds []ops.FactKind
	for _, f := range facts {
		kinds = append(kinds, f.Kind)
	}
	if want := []ops.FactKind{ops.TokenCreated, ops.TokenCreated, ops.TokenRevoked, ops.TokenRevoked}; !slices.Equal(kinds, want) {
		t.Errorf("facts %v, want %v", kinds, want)
	}
}

func lastUse(t *testing.T, h *house) {
	secret, token := h.token(h.principal("bot", ops.Service, ops.Viewer), time.Time{})
	used := func() time.Time {
		t.Helper()
		all, err := h.store.Tokens(h.ctx)
		must(t, err)
		return all[slices.IndexFunc(all, func(x store.TokenOf) bool { return x.ID == token.ID })].LastUsedAt
	}
	use := func() {
		t.Helper()
		_, err := h.store.PrincipalBySecret(h.ctx, secret)
		must(t, err)
	}
	if !used().IsZero() {
		t.Errorf("an unused token was used at %s", used())
	}
	first := h.clock()
	use()
	h.pass(59 * time.Second)
	use()
	if !used().Equal(first) {
		t.Errorf("last use %s, want the first within the minute, %s", used(), first)
	}
	h.pass(time.Second)
	use()
	if !used().Equal(h.clock()) {
		t.Errorf("last use %s, want %s", used(), h.clock())
	}
}

func sessions(t *testing.T, h *house) {
	secret, token := h.token(h.principal("ada", ops.Person, ops.Viewer), time.Time{})
	signIn := func() (string, store.Session) {
		t.Helper()
		of, err := h.store.PrincipalBySecret(h.ctx, secret)
		must(t, err)
		var id string
		var session store.Session
		h.write(func(tx db.Tx) (err error) {
			id, session, err = h.store.CreateSession(h.ctx, tx, of, 12*time.Hour)
			return err
		})
		return id, session
	}
	open := func(id string, want bool) {
		t.Helper()
		got, err := h.store.SessionByID(h.ctx, id)
		if want && (err != nil || got.Principal.Name != "ada" || got.CSRF == "" || got.TokenID != token.ID) {
			t.Errorf("the session is %+v, %v", got, err)
		}
		if !want {
			wantClass(t, "a session that must not open", err, ops.ErrDenied)
		}
	}
	id, session := signIn()
	open(id, true)
	open("", false)
	open(session.CSRF, false)
	h.principal("ada", ops.Person, ops.Admin)
	if got, err := h.store.SessionByID(h.ctx, id); err != nil || !got.Principal.Has(ops.Admin) || got.CSRF != session.CSRF {
		t.Errorf("a session does not see its principal's new roles: %+v, %v", got, err)
	}
	out, _ := signIn()
	h.write(func(tx db.Tx) error { return h.store.EndSession(h.ctx, tx, out) })
	open(out, false)
	h.pass(12 * time.Hour)
	open(id, false)
	id, _ = signIn()
	open(id, true)
	h.write(func(tx db.Tx) error { return h.store.RevokeToken(h.ctx, tx, ops.SystemPrincipal, token.ID) })
	open(id, false)
}
