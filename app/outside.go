package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/otlp"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

// tokens makes credentials for the API.
type tokens struct{ app *App }

func tokenView(t store.TokenOf) api.TokenView {
	return api.TokenView{
		ID: t.ID, For: t.Principal.Name, Roles: t.Principal.Roles, Name: t.Name,
		CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, RevokedAt: t.RevokedAt, LastUsedAt: t.LastUsedAt,
	}
}

// CreateToken makes a token, and its principal where nobody has that name.
// Roles of an existing principal are not changed by making it a token.
func (t tokens) CreateToken(ctx context.Context, by ops.Principal, r api.NewToken) (api.CreatedToken, error) {
	var roles []ops.Role
	for _, s := range r.Roles {
		role, err := ops.ParseRole(s)
		if err != nil {
			return api.CreatedToken{}, err
		}
		roles = append(roles, role)
	}
	owner, err := t.app.Store.Principal(ctx, r.For)
	exists := err == nil
	switch {
	case err != nil && !errors.Is(err, ops.ErrNotFound):
		return api.CreatedToken{}, err
	case exists && len(roles) > 0 && !sameRoles(owner.Roles, roles):
		return api.CreatedToken{}, fmt.Errorf("%s has the roles %v already; leave roles out, or choose another name: %w", owner.Name, owner.Roles, ops.ErrConflict)
	case !exists && len(roles) == 0:
		return api.CreatedToken{}, fmt.Errorf("roles is empty and %s is new; name at least one role: %w", r.For, ops.ErrInvalid)
	case !exists:
		owner = ops.Principal{Name: r.For, Kind: ops.Person, Roles: roles}
		if r.Kind == string(ops.Service) {
			owner.Kind = ops.Service
		}
	}
	var out api.CreatedToken
	err = t.app.DB.Write(ctx, func(tx db.Tx) error {
		p := owner
		if !exists {
			var err error
			if p, err = t.app.Store.UpsertPrincipal(ctx, tx, owner); err != nil {
				return err
			}
		}
		var expires time.Time
		if r.Days > 0 {
			expires = t.app.Clock().AddDate(0, 0, r.Days)
		}
		secret, made, err := t.app.Store.CreateToken(ctx, tx, by, p, r.Name, expires)
		out = api.CreatedToken{TokenView: tokenView(store.TokenOf{Token: made, Principal: p}), Token: secret}
		return err
	})
	return out, err
}

func sameRoles(a, b []ops.Role) bool {
	have := map[ops.Role]bool{}
	for _, r := range a {
		have[r] = true
	}
	for _, r := range b {
		if !have[r] {
			return false
		}
	}
	return len(b) == len(a)
}

// RevokeToken makes a token open nothing.
func (t tokens) RevokeToken(ctx context.Context, by ops.Principal, id string) error {
	return t.app.DB.Write(ctx, func(tx db.Tx) error { return t.app.Store.RevokeToken(ctx, tx, by, id) })
}

// ListTokens lists tokens without their secrets.
func (t tokens) ListTokens(ctx context.Context) ([]api.TokenView, error) {
	list, err := t.app.Store.Tokens(ctx)
	out := make([]api.TokenView, len(list))
	for i, x := range list {
		out[i] = tokenView(x)
	}
	return out, err
}

// frontDoor serves set-up tests of integrations.
type frontDoor struct{ app *App }

// Send delivers a payload to an integration, or to the one integration of a source.
func (f frontDoor) Send(ctx context.Context, name, contentType string, body []byte) (string, error) {
	var match []string
	for _, i := range f.app.Config.Integrations {
		if i.Name == name {
			match = []string{name}
			break
		}
		if i.Source == name {
			match = append(match, i.Name)
		}
	}
	switch len(match) {
	case 0:
		return "", fmt.Errorf("there is no integration or source %q; configure it under integrations: %w", name, ops.ErrNotFound)
	case 1:
	default:
		return "", fmt.Errorf("the integrations %v all have the source %q; name one of them: %w", match, name, ops.ErrInvalid)
	}
	outcome, err := f.app.Door.Deliver(ctx, match[0], http.Header{"Content-Type": {contentType}}, body)
	return string(outcome), err
}

// Integrations says of each integration what is wrong with it.
func (f frontDoor) Integrations(ctx context.Context) ([]api.IntegrationView, error) {
	server := f.app.Config.Server
	near, err := loopback(f.app.address())
	if err != nil {
		return nil, err
	}
	found := intake.Diagnose(ctx, f.app.doorOptions, intake.Listener{Loopback: near, TLS: server.TLS != nil, PublicURL: server.PublicURL})
	if server.ListenGRPC != "" && server.TLS == nil {
		if near, err = loopback(server.ListenGRPC); err != nil {
			return nil, err
		}
		for _, i := range f.app.Config.Integrations {
			if i.Source == otlp.Driver.Name && !near {
				found = append(found, intake.Finding{Integration: i.Name, What: "credentials cross the network in the clear to server.listen_grpc", Fix: "set server.tls, or listen on loopback behind a proxy that speaks TLS"})
			}
		}
	}
	var out []api.IntegrationView
	for _, i := range f.app.Config.Integrations {
		v := api.IntegrationView{Name: i.Name, Source: i.Source, Findings: []api.Finding{}}
		if !fetches(i.Source) {
			v.URL = f.app.publicURL() + "/in/" + i.Name
		}
		for _, x := range found {
			if x.Integration == i.Name {
				v.Findings = append(v.Findings, api.Finding{What: x.What, Fix: x.Fix})
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// loopback reports whether only this machine reaches an address.
func loopback(address string) (bool, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false, fmt.Errorf("listen address %q: %w: %w", address, err, ops.ErrInternal)
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback()), nil
}

// Platforms says of each platform how it stands.
func (f frontDoor) Platforms(context.Context) ([]api.PlatformView, error) {
	var out []api.PlatformView
	for _, s := range f.app.Ticket.Platforms() {
		out = append(out, api.PlatformView{Name: s.Name, Connector: s.Driver, Up: s.Up, Since: s.Since, Error: s.Error, Conflict: string(s.Conflict)})
	}
	return out, nil
}

// CheckPlatform tries the connection to a platform and says what is wrong.
func (f frontDoor) CheckPlatform(ctx context.Context, name string) error {
	conn, ok := f.app.Platforms[name]
	if !ok {
		return fmt.Errorf("there is no platform %q: %w", name, ops.ErrNotFound)
	}
	return conn.Check(ctx)
}

// SyncPlatform fetches what people did in a platform now.
func (f frontDoor) SyncPlatform(ctx context.Context, name string) error {
	if _, ok := f.app.Platforms[name]; !ok {
		return fmt.Errorf("there is no platform %q: %w", name, ops.ErrNotFound)
	}
	return f.app.Ticket.Pull(ctx, name)
}

// AuditPlatform looks for work items that slipped through twice and merges them.
func (f frontDoor) AuditPlatform(ctx context.Context, name string) error {
	if _, ok := f.app.Platforms[name]; !ok {
		return fmt.Errorf("there is no platform %q: %w", name, ops.ErrNotFound)
	}
	return f.app.Ticket.Audit(ctx, name)
}
