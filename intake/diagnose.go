package intake

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Finding is something wrong with the set-up of an integration.
type Finding struct {
	Integration string `json:"integration"`
	What        string `json:"what"`
	Fix         string `json:"fix"`
	// Fatal says that the door does not open with it.
	Fatal bool `json:"fatal"`
}

// Listener is what Diagnose knows of where the door stands.
type Listener struct {
	Loopback bool // only this machine reaches it
	TLS      bool // it speaks TLS itself
	// PublicURL is the address senders are given, with whatever proxy is before
	// the listener; empty when unknown.
	PublicURL string
}

// Diagnoser is implemented by sources that know which settings cannot work
// with their sender.
type Diagnoser interface {
	// Diagnose returns findings without Integration.
	Diagnose(auth AuthConfig) []Finding
}

// minSecret is the length below which a secret can be guessed.
const minSecret = 16

// Diagnose says what is wrong with integrations, without opening a door: what
// Open would refuse, and what it would take and would not work. It resolves
// secrets, asks a tenant for its keys and looks at what is to be fetched. Metrics and DB of the options are
// not used. An empty result means nothing was found wrong.
func Diagnose(ctx context.Context, o Options, l Listener) []Finding {
	o.Limits.defaults()
	b := &builder{o}
	var out []Finding
	if len(o.Integrations) == 0 {
		out = append(out, Finding{What: "no integration is configured", Fix: "add one under integrations; the front door takes nothing without"})
	}
	seen := map[string]bool{}
	for _, c := range o.Integrations {
		found := b.diagnose(ctx, c, l)
		if seen[c.Name] {
			found = append(found, Finding{What: "another integration has the same name", Fix: "give each integration a name of its own", Fatal: true})
		}
		seen[c.Name] = true
		for i := range found {
			found[i].Integration = c.Name
		}
		out = append(out, found...)
	}
	return out
}

// probeWithin bounds how long a puller looks whether fetching would work.
const probeWithin = 10 * time.Second

func (b *builder) diagnose(ctx context.Context, c Integration, l Listener) []Finding {
	if driver, err := b.driver(c); err == nil && driver.Pull != nil {
		p, err := b.pull(c, driver, b.Logger, nil)
		if prober, ok := p.(Prober); ok && err == nil {
			ctx, cancel := context.WithTimeout(ctx, probeWithin)
			defer cancel()
			return prober.Probe(ctx)
		}
		return fatal(err)
	}
	var out []Finding
	source, err := b.source(c, b.Logger)
	out = append(out, fatal(err)...)
	_, err = parsePointers(c.Redact)
	out = append(out, fatal(err)...)
	auth, err := decodeAuth(c.Auth)
	if err != nil {
		return append(out, fatal(err)...)
	}
	_, err = b.proofs(ctx, auth)
	out = append(out, fatal(err)...)
	out = append(out, b.weak(ctx, auth)...)
	out = append(out, reach(auth, l)...)
	if auth.Entra != nil && err == nil {
		out = append(out, b.keys(ctx, *auth.Entra)...)
	}
	if d, ok := source.(Diagnoser); ok {
		out = append(out, d.Diagnose(auth)...)
	}
	return out
}

// fatal turns every error in err into a finding.
func fatal(err error) []Finding {
	if err == nil {
		return nil
	}
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		var out []Finding
		for _, e := range many.Unwrap() {
			out = append(out, fatal(e)...)
		}
		return out
	}
	var f *Fault
	if errors.As(err, &f) {
		what := f.Field + " is wrong or missing"
		if f.Value != "" {
			what = fmt.Sprintf("%s is %q", f.Field, shorten(f.Value))
		}
		return []Finding{{What: what, Fix: f.Fix, Fatal: true}}
	}
	return []Finding{{What: err.Error(), Fix: "correct it; the front door does not open with it", Fatal: true}}
}

// weak finds secrets that can be guessed.
func (b *builder) weak(ctx context.Context, c AuthConfig) []Finding {
	refs := []struct{ field, ref string }{{"auth.bearer", c.Bearer}}
	if c.Basic != nil {
		refs = append(refs, struct{ field, ref string }{"auth.basic.password", c.Basic.Password})
	}
	for i, a := range c.Accounts {
		refs = append(refs, struct{ field, ref string }{fmt.Sprintf("auth.accounts[%d].password", i), a.Password})
	}
	if c.Header != nil {
		refs = append(refs, struct{ field, ref string }{"auth.header.value", c.Header.Value})
	}
	if c.HMAC != nil {
		refs = append(refs, struct{ field, ref string }{"auth.hmac.secret", c.HMAC.Secret})
	}
	var out []Finding
	for _, r := range refs {
		if v, err := b.secret(ctx, r.field, r.ref); err == nil && len(v) < minSecret {
			out = append(out, Finding{
				What: fmt.Sprintf("%s is shorter than %d characters and can be guessed", r.field, minSecret),
				Fix:  "make a new one, for example with: openssl rand -base64 32",
			})
		}
	}
	return out
}

// reach finds listeners that the sender cannot reach or should not use.
func reach(c AuthConfig, l Listener) []Finding {
	var out []Finding
	u, err := url.Parse(l.PublicURL)
	public := l.PublicURL != "" && err == nil && u.Scheme == "https"
	if c.None && !l.Loopback {
		out = append(out, Finding{What: "everybody who reaches the listener may send alerts, and alerts can start changes", Fix: "set auth, for example {bearer: env:NAME}", Fatal: true})
	}
	secret := c.Bearer != "" || c.Basic != nil || len(c.Accounts) > 0 || c.Header != nil || c.Entra != nil
	if secret && !l.Loopback && !l.TLS && !public {
		out = append(out, Finding{What: "credentials cross the network in the clear", Fix: "set server.tls, or server.public_url to the https address of the proxy before it"})
	}
	if (c.SNS != nil || c.Entra != nil) && !public {
		out = append(out, Finding{What: "the sender is a cloud service and reaches public https addresses only", Fix: "set server.public_url to the https address under which the sender reaches this server"})
	}
	return out
}

// keys asks the tenant for its keys, which the first delivery would do.
func (b *builder) keys(ctx context.Context, c EntraAuth) []Finding {
	tenant, err := b.setting(ctx, "auth.entra.tenant", c.Tenant)
	if err != nil {
		return nil // found already
	}
	c.Tenant = tenant
	c.defaults()
	var out []Finding
	if c.ClientID == "" {
		out = append(out, Finding{What: "tokens of version 2 will be refused: auth.entra.client_id is not known", Fix: "set auth.entra.client_id to the application id of your app registration, unless it is set to issue version 1"})
	}
	k := &keySet{url: c.Keys, fetch: b.Fetch, clock: b.Clock}
	if _, err := k.ask(ctx); err != nil {
		out = append(out, Finding{What: "the tenant's signing keys cannot be read: " + err.Error(), Fix: "check auth.entra.tenant, and that this server may reach the host of auth.entra.keys"})
	}
	return out
}

// Methods returns the names of the methods of authentication that are asked
// for, in the order in which they stand in the documentation.
func (c AuthConfig) Methods() []string {
	var out []string
	for _, m := range []struct {
		name string
		on   bool
	}{
		{"bearer", c.Bearer != ""},
		{"basic", c.Basic != nil},
		{"accounts", len(c.Accounts) > 0},
		{"header", c.Header != nil},
		{"hmac", c.HMAC != nil},
		{"sns", c.SNS != nil},
		{"entra", c.Entra != nil},
	} {
		if m.on {
			out = append(out, m.name)
		}
	}
	return out
}

// Unsendable is the finding about methods a sender has no way to satisfy, for
// the Diagnose of its source. It returns nothing when every method asked for
// is among those it can send.
func Unsendable(sender string, auth AuthConfig, can ...string) []Finding {
	var out []Finding
	for _, m := range auth.Methods() {
		if !slices.Contains(can, m) {
			out = append(out, Finding{What: fmt.Sprintf("%s cannot send what auth.%s asks for, so every delivery will be denied", sender, m), Fix: "use " + strings.Join(can, " or ")})
		}
	}
	return out
}
