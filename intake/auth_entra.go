package intake

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
)

// EntraAuth checks the token that Azure's secure webhook sends: RS256 by the
// tenant's keys, our tenant, our audience, the caller and its role. It knows
// the v1 and the v2 form of the token. The body is not signed, so the listener
// must speak TLS.
type EntraAuth struct {
	// Tenant is the directory's GUID, plain or a reference.
	Tenant string `yaml:"tenant"`
	// Audience is the Application ID URI of our app registration, which v1
	// tokens carry: api://...
	Audience string `yaml:"audience"`
	// ClientID is the GUID of our app registration, which v2 tokens carry.
	// Default: the GUID in Audience, if it holds one; else v2 tokens are refused.
	ClientID string `yaml:"client_id"`
	// Caller is the app that may call. Default: AzNS AAD Webhook of the public
	// cloud, 461e8683-5575-4561-ac7f-899cc907d62a.
	Caller string `yaml:"caller"`
	// Role is the app role the caller must hold. Microsoft's script creates
	// ActionGroupsSecureWebhook but assigns the app's first role, so an app with
	// older roles needs that one here. Default: ActionGroupsSecureWebhook.
	Role string `yaml:"role"`
	// IssuerV1 and IssuerV2 are who signs; {tenant} is replaced. Default:
	// https://sts.windows.net/{tenant}/ and https://login.microsoftonline.com/{tenant}/v2.0
	IssuerV1 string `yaml:"issuer_v1"`
	IssuerV2 string `yaml:"issuer_v2"`
	// Keys is where the tenant's keys are; {tenant} is replaced. Default:
	// https://login.microsoftonline.com/{tenant}/discovery/v2.0/keys
	Keys string `yaml:"keys"`
}

const azNS = "461e8683-5575-4561-ac7f-899cc907d62a"

var guid = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

func isGUID(s string) bool { return len(s) == 36 && guid.MatchString(s) }

func (c *EntraAuth) defaults() {
	set := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
		*p = strings.ReplaceAll(*p, "{tenant}", c.Tenant)
	}
	set(&c.Caller, azNS)
	set(&c.Role, "ActionGroupsSecureWebhook")
	set(&c.IssuerV1, "https://sts.windows.net/{tenant}/")
	set(&c.IssuerV2, "https://login.microsoftonline.com/{tenant}/v2.0")
	set(&c.Keys, "https://login.microsoftonline.com/{tenant}/discovery/v2.0/keys")
	if c.ClientID == "" {
		c.ClientID = guid.FindString(c.Audience)
	}
}

func (c *EntraAuth) check() error {
	var errs []error
	if !isGUID(c.Tenant) {
		errs = append(errs, &Fault{Field: "auth.entra.tenant", Value: c.Tenant, Fix: "write the directory (tenant) id, a GUID, as Entra's overview page shows it; a domain name does not appear in tokens"})
	}
	if c.Audience == "" && c.ClientID == "" {
		errs = append(errs, &Fault{Field: "auth.entra.audience", Fix: "write the Application ID URI of your app registration, for example api://GUID"})
	}
	if !isGUID(c.Caller) {
		errs = append(errs, &Fault{Field: "auth.entra.caller", Value: c.Caller, Fix: "write the application id of the caller, a GUID, or leave it out for Azure Monitor"})
	}
	if c.ClientID != "" && !isGUID(c.ClientID) {
		errs = append(errs, &Fault{Field: "auth.entra.client_id", Value: c.ClientID, Fix: "write the application (client) id of your app registration, a GUID"})
	}
	if u, err := url.Parse(c.Keys); err != nil || u.Scheme != "https" || u.Host == "" {
		errs = append(errs, &Fault{Field: "auth.entra.keys", Value: c.Keys, Fix: "write an https URL or leave it out"})
	}
	return errors.Join(errs...)
}

// entraClaims are the claims we look at. Unknown ones are ignored.
type entraClaims struct {
	Tenant string   `json:"tid"`
	AppID  string   `json:"appid"` // v1
	AZP    string   `json:"azp"`   // v2
	Roles  []string `json:"roles"`
}

func (b *builder) entra(ctx context.Context, c EntraAuth) (proof, error) {
	tenant, err := b.setting(ctx, "auth.entra.tenant", c.Tenant)
	if err != nil {
		return proof{}, err
	}
	c.Tenant = tenant
	c.defaults()
	if err := c.check(); err != nil {
		return proof{}, err
	}
	keys := &keySet{url: c.Keys, fetch: b.Fetch, clock: b.Clock}
	verifier := oidc.NewVerifier("", keys, &oidc.Config{
		SkipIssuerCheck: true, SkipClientIDCheck: true, // two issuers, each with its audience: checked below
		SupportedSigningAlgs: []string{oidc.RS256}, Now: b.Clock,
	})
	return proof{name: "entra", challenge: `Bearer realm="fettle"`, head: func(ctx context.Context, h http.Header) error {
		token, ok := credential(h, "Bearer")
		if !ok {
			return deny("entra", "no bearer token")
		}
		var unreachable error
		t, err := verifier.Verify(context.WithValue(ctx, unreachableKey{}, &unreachable), token)
		switch {
		case unreachable != nil:
			return fmt.Errorf("entra: the tenant's keys: %w", unreachable)
		case err != nil:
			return deny("entra", "%v", err)
		}
		var claims entraClaims
		if err := t.Claims(&claims); err != nil {
			return deny("entra", "claims: %v", err)
		}
		return c.allow(t, claims)
	}}, nil
}

// allow checks what a validly signed token says. Each of these keeps out a
// token that Entra would give to somebody else.
func (c *EntraAuth) allow(t *oidc.IDToken, claims entraClaims) error {
	audience, caller := c.Audience, claims.AppID
	switch t.Issuer {
	case c.IssuerV1:
	case c.IssuerV2:
		audience, caller = c.ClientID, claims.AZP
	default:
		return deny("entra", "issuer %q is neither %q nor %q", t.Issuer, c.IssuerV1, c.IssuerV2)
	}
	switch {
	case audience == "":
		return deny("entra", "no audience is configured for tokens of issuer %q; set auth.entra.audience and auth.entra.client_id", t.Issuer)
	case !slices.Contains(t.Audience, audience):
		return deny("entra", "audience is %q, want %q", t.Audience, audience)
	case !strings.EqualFold(claims.Tenant, c.Tenant):
		return deny("entra", "tenant is %q, want %q", claims.Tenant, c.Tenant)
	case !strings.EqualFold(caller, c.Caller):
		return deny("entra", "caller is %q, want %q", caller, c.Caller)
	case !slices.Contains(claims.Roles, c.Role):
		return deny("entra", "roles are %q, want %q among them; set auth.entra.role to the role that was assigned", claims.Roles, c.Role)
	}
	return nil
}
