package intake

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// AuthConfig says how the senders of an integration prove who they are. Every
// method that is given must pass. Secrets are references: env:NAME, file:PATH.
type AuthConfig struct {
	// None lets everybody in. Only for a demo that listens on loopback. Default: false.
	None bool `yaml:"none"`
	// Bearer is the token of "Authorization: Bearer". Default: not asked.
	Bearer string `yaml:"bearer"`
	// Basic is a user and password. Default: not asked.
	Basic *BasicAuth `yaml:"basic"`
	// Accounts are users and passwords of which one must be sent, each with the
	// cloud accounts it speaks for. Default: not asked.
	Accounts []AccountAuth `yaml:"accounts"`
	// Header is a header that must hold a key. Default: not asked.
	Header *HeaderAuth `yaml:"header"`
	// HMAC is a signature over the body. Default: not asked.
	HMAC *HMACAuth `yaml:"hmac"`
	// SNS checks the signature of Amazon SNS. Default: not asked.
	SNS *SNSAuth `yaml:"sns"`
	// Entra checks the token of Azure's secure webhook. Default: not asked.
	Entra *EntraAuth `yaml:"entra"`
}

// BasicAuth is HTTP basic authentication. The user name is plain text or a reference.
type BasicAuth struct {
	Username string `yaml:"username"`
	Password string `yaml:"password"`
}

// AccountAuth is HTTP basic authentication of the sender of some accounts.
type AccountAuth struct {
	Accounts []string `yaml:"accounts"`
	Username string   `yaml:"username"`
	Password string   `yaml:"password"`
}

// HeaderAuth is a key in a header of its own.
type HeaderAuth struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

// HMACAuth is an HMAC-SHA256 over the body as transmitted.
type HMACAuth struct {
	Secret string `yaml:"secret"`
	// Header holds the signature. Default: X-Hub-Signature-256.
	Header string `yaml:"header"`
	// Prefix stands before the signature. Default: sha256= for the default header, else none.
	Prefix string `yaml:"prefix"`
	// Encoding is hex or base64. Default: hex.
	Encoding string `yaml:"encoding" enum:"hex,base64"`
}

// SecretFunc reads a secret reference such as env:NAME or file:PATH. Its
// errors name the reference, never the value.
type SecretFunc func(ctx context.Context, ref string) (string, error)

// proof checks one method of authentication.
type proof struct {
	name string
	// head decides from the headers alone, before the body is read; nil when
	// the method needs the body.
	head func(ctx context.Context, h http.Header) error
	// body decides from the headers and the body as transmitted (wire) and
	// decompressed (plain).
	body func(ctx context.Context, h http.Header, wire, plain []byte) error
	// accounts returns what a credential that passed speaks for; nil where
	// credentials are not told apart.
	accounts func(h http.Header) []string
	// challenge is the WWW-Authenticate answer to a request that lacks the
	// credential; SNS sends its password only after one.
	challenge string
}

// denied is a credential that is missing or wrong. The reason is logged; the
// sender learns only which method failed.
type denied struct{ method, why string }

func (d *denied) Error() string        { return d.method + ": " + d.why }
func (d *denied) Is(target error) bool { return target == ops.ErrDenied }

func deny(method, format string, args ...any) error {
	return &denied{method, fmt.Sprintf(format, args...)}
}

// proofs builds what the configuration asks for.
func (b *builder) proofs(ctx context.Context, c AuthConfig) ([]proof, error) {
	var out []proof
	var errs []error
	add := func(p proof, err error) {
		if err != nil {
			errs = append(errs, err)
			return
		}
		out = append(out, p)
	}
	if c.Bearer != "" {
		add(b.bearer(ctx, c.Bearer))
	}
	if c.Basic != nil {
		add(b.basic(ctx, *c.Basic))
	}
	if len(c.Accounts) > 0 {
		add(b.accounts(ctx, c.Accounts))
	}
	if c.Header != nil {
		add(b.header(ctx, *c.Header))
	}
	if c.HMAC != nil {
		add(b.hmac(ctx, *c.HMAC))
	}
	if c.SNS != nil {
		add(b.sns(*c.SNS))
	}
	if c.Entra != nil {
		add(b.entra(ctx, *c.Entra))
	}
	switch {
	case c.Basic != nil && len(c.Accounts) > 0:
		return nil, &Fault{Field: "auth.accounts", Fix: "remove auth.basic, or add its user to auth.accounts: a sender has one user and password"}
	case len(errs) > 0:
		return nil, errors.Join(errs...)
	case len(out) == 0 && !c.None:
		return nil, &Fault{Field: "auth", Fix: "nothing comes in without authentication; write for example {bearer: env:NAME}"}
	case c.None && len(out) > 0:
		return nil, &Fault{Field: "auth.none", Fix: "remove it, or remove the other methods: they contradict each other"}
	case c.None && !b.LoopbackDemo:
		return nil, &Fault{Field: "auth.none", Fix: "use a real method such as {bearer: env:NAME}; none works only in a demo that listens on loopback"}
	}
	return out, nil
}

// secret resolves a reference that must not be a plain value.
func (b *builder) secret(ctx context.Context, field, ref string) (string, error) {
	if ref == "" {
		return "", &Fault{Field: field, Fix: "is missing; write a reference such as env:NAME or file:PATH"}
	}
	if !isReference(ref) {
		return "", &Fault{Field: field, Fix: "a secret stands in the configuration; put it into a file or the environment and write file:PATH or env:NAME"}
	}
	v, err := b.Secret(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("%s: %w", field, err)
	}
	if v == "" {
		return "", &Fault{Field: field, Value: ref, Fix: "the secret is empty; an empty one would let everybody in"}
	}
	return v, nil
}

// setting resolves a value that may be plain.
func (b *builder) setting(ctx context.Context, field, v string) (string, error) {
	if !isReference(v) {
		return v, nil
	}
	return b.secret(ctx, field, v)
}

func isReference(s string) bool {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" {
		return false
	}
	switch scheme {
	case "env", "file", "awssm", "azurekv", "vault":
		return true
	}
	return false
}

// digest makes secrets comparable in a time that does not depend on how much
// of them is right or how long they are.
func digest(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }

func same(want *[sha256.Size]byte, got string) bool {
	have := digest(got)
	return subtle.ConstantTimeCompare(want[:], have[:]) == 1
}

// credential returns what follows a scheme in the Authorization header.
func credential(h http.Header, scheme string) (string, bool) {
	v := h.Get("Authorization")
	if len(v) <= len(scheme) || v[len(scheme)] != ' ' || !strings.EqualFold(v[:len(scheme)], scheme) {
		return "", false
	}
	return strings.TrimLeft(v[len(scheme)+1:], " "), true
}

func (b *builder) bearer(ctx context.Context, ref string) (proof, error) {
	token, err := b.secret(ctx, "auth.bearer", ref)
	if err != nil {
		return proof{}, err
	}
	want := digest(token)
	return proof{name: "bearer", challenge: `Bearer realm="fettle"`, head: func(_ context.Context, h http.Header) error {
		got, ok := credential(h, "Bearer")
		if !ok {
			return deny("bearer", "no bearer token")
		}
		if !same(&want, got) {
			return deny("bearer", "another token than the configured one")
		}
		return nil
	}}, nil
}

// userPassword resolves a user and password to the digest of what is sent.
func (b *builder) userPassword(ctx context.Context, field, user, password string) ([sha256.Size]byte, error) {
	name, err := b.setting(ctx, field+".username", user)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	if name == "" || strings.Contains(name, ":") {
		return [sha256.Size]byte{}, &Fault{Field: field + ".username", Value: user, Fix: "write a user name without a colon"}
	}
	word, err := b.secret(ctx, field+".password", password)
	return digest(name + ":" + word), err
}

// sentBasic returns what a sender sent as user:password. A password may hold
// colons.
func sentBasic(method string, h http.Header) (string, error) {
	coded, ok := credential(h, "Basic")
	if !ok {
		return "", deny(method, "no user and password")
	}
	got, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return "", deny(method, "user and password are not base64")
	}
	return string(got), nil
}

const basicChallenge = `Basic realm="fettle", charset="UTF-8"`

func (b *builder) basic(ctx context.Context, c BasicAuth) (proof, error) {
	want, err := b.userPassword(ctx, "auth.basic", c.Username, c.Password)
	if err != nil {
		return proof{}, err
	}
	return proof{name: "basic", challenge: basicChallenge, head: func(_ context.Context, h http.Header) error {
		got, err := sentBasic("basic", h)
		if err != nil {
			return err
		}
		if !same(&want, got) {
			return deny("basic", "wrong user or password")
		}
		return nil
	}}, nil
}

// accounts lets in whoever sends one of several credentials. All are compared,
// so that the time taken does not tell which was close.
func (b *builder) accounts(ctx context.Context, list []AccountAuth) (proof, error) {
	want := make([][sha256.Size]byte, len(list))
	for i, a := range list {
		field := fmt.Sprintf("auth.accounts[%d]", i)
		if len(a.Accounts) == 0 || slices.Contains(a.Accounts, "") {
			return proof{}, &Fault{Field: field + ".accounts", Fix: "write the ids of the cloud accounts this sender speaks for"}
		}
		var err error
		if want[i], err = b.userPassword(ctx, field, a.Username, a.Password); err != nil {
			return proof{}, err
		}
	}
	speaks := func(h http.Header) (out []string, err error) {
		got, err := sentBasic("accounts", h)
		if err != nil {
			return nil, err
		}
		for i := range want {
			if same(&want[i], got) {
				out = append(out, list[i].Accounts...)
			}
		}
		return out, nil
	}
	return proof{
		name: "accounts", challenge: basicChallenge,
		head: func(_ context.Context, h http.Header) error {
			if out, err := speaks(h); err != nil {
				return err
			} else if len(out) == 0 {
				return deny("accounts", "wrong user or password")
			}
			return nil
		},
		accounts: func(h http.Header) []string {
			out, _ := speaks(h) // it has passed
			return out
		},
	}, nil
}

func (b *builder) header(ctx context.Context, c HeaderAuth) (proof, error) {
	if c.Name == "" || strings.ContainsAny(c.Name, " :\r\n") {
		return proof{}, &Fault{Field: "auth.header.name", Value: c.Name, Fix: "write the name of the header that holds the key, for example X-Api-Key"}
	}
	value, err := b.secret(ctx, "auth.header.value", c.Value)
	if err != nil {
		return proof{}, err
	}
	key, want := textproto.CanonicalMIMEHeaderKey(c.Name), digest(value)
	return proof{name: "header", head: func(_ context.Context, h http.Header) error {
		got := h[key]
		if len(got) != 1 {
			return deny("header", "%d headers %s, want one", len(got), key)
		}
		if !same(&want, got[0]) {
			return deny("header", "%s holds another key than the configured one", key)
		}
		return nil
	}}, nil
}

func (b *builder) hmac(ctx context.Context, c HMACAuth) (proof, error) {
	if c.Header == "" {
		c.Header = "X-Hub-Signature-256"
		if c.Prefix == "" {
			c.Prefix = "sha256="
		}
	}
	decode := hex.DecodeString
	switch c.Encoding {
	case "", "hex":
	case "base64":
		decode = base64.StdEncoding.DecodeString
	default:
		return proof{}, &Fault{Field: "auth.hmac.encoding", Value: c.Encoding, Fix: "write hex or base64"}
	}
	secret, err := b.secret(ctx, "auth.hmac.secret", c.Secret)
	if err != nil {
		return proof{}, err
	}
	name, key := textproto.CanonicalMIMEHeaderKey(c.Header), []byte(secret)
	return proof{name: "hmac", body: func(_ context.Context, h http.Header, wire, _ []byte) error {
		coded, ok := strings.CutPrefix(h.Get(name), c.Prefix)
		if !ok || coded == "" {
			return deny("hmac", "no signature in %s", name)
		}
		got, err := decode(coded)
		if err != nil {
			return deny("hmac", "the signature in %s is not in the configured encoding", name)
		}
		mac := hmac.New(sha256.New, key)
		mac.Write(wire)
		if !hmac.Equal(got, mac.Sum(nil)) {
			return deny("hmac", "the signature in %s belongs to another body or secret", name)
		}
		return nil
	}}, nil
}
