package servicenow

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/internal/strictyaml"
	"github.com/fettleops/fettle/ops"
)

// Config is an entry of platforms with this driver. Its URL is the instance,
// https://example.service-now.com, and the only host that is ever asked.
type Config = connector.Config[Auth, Options]

// Auth says who Fettle is at the instance. Exactly one of the three is given.
type Auth struct {
	// Basic is a user name and password. Default: none.
	Basic *Basic `yaml:"basic"`
	// OAuth is a client of the instance's application registry. Default: none.
	OAuth *OAuth `yaml:"oauth"`
	// APIKey is the key of a REST API key of the instance. Default: none.
	APIKey secret.Ref `yaml:"api_key"`
}

// Basic is HTTP Basic authentication.
type Basic struct {
	// Username is the user_name of the integration's own user. Required.
	Username string `yaml:"username,required"`
	// Password is its password. Required.
	Password secret.Ref `yaml:"password,required"`
}

// OAuth gets tokens from /oauth_token.do. A refresh token makes it the grant
// refresh_token, a user name the grant password, neither client_credentials.
type OAuth struct {
	// ClientID is the client's id, as a reference. Required.
	ClientID secret.Ref `yaml:"client_id,required"`
	// ClientSecret is its secret. Required.
	ClientSecret secret.Ref `yaml:"client_secret,required"`
	// Username is the user_name for the grant password. Default: none.
	Username string `yaml:"username"`
	// Password is its password. Default: none.
	Password secret.Ref `yaml:"password"`
	// RefreshToken is a refresh token somebody got by hand. Default: none.
	RefreshToken secret.Ref `yaml:"refresh_token"`
	// Scope is asked for with the token. Default: none, which is useraccount.
	Scope string `yaml:"scope"`
}

// Validate says what is wrong with the section auth.
func (a *Auth) Validate() error {
	n := 0
	for _, given := range []bool{a.Basic != nil, a.OAuth != nil, !a.APIKey.IsZero()} {
		if given {
			n++
		}
	}
	if n != 1 {
		return invalid("", "give exactly one of basic, oauth and api_key, not %d", n)
	}
	var errs []error
	if b := a.Basic; b != nil && (b.Username == "" || b.Password.IsZero()) {
		errs = append(errs, invalid("basic", "username and password are both needed"))
	}
	if o := a.OAuth; o != nil {
		if o.ClientID.IsZero() || o.ClientSecret.IsZero() {
			errs = append(errs, invalid("oauth", "client_id and client_secret are both needed"))
		}
		if (o.Username == "") != o.Password.IsZero() {
			errs = append(errs, invalid("oauth", "username and password go together, for the grant password"))
		}
	}
	return errors.Join(errs...)
}

// invalid is a fault at a key of a section.
func invalid(path, format string, args ...any) error {
	return fmt.Errorf("%w: %w", &strictyaml.Fault{Path: path, Text: fmt.Sprintf(format, args...)}, ops.ErrInvalid)
}

// username returns the user name the configuration tells, empty when the
// instance has to be asked.
func (a *Auth) username() string {
	switch {
	case a.Basic != nil:
		return a.Basic.Username
	case a.OAuth != nil && a.OAuth.RefreshToken.IsZero():
		return a.OAuth.Username
	}
	return ""
}

// Options say how Fettle's words are written at the instance.
type Options struct {
	// Severity maps severities to urgency and impact, of which the instance
	// makes the priority. Default: see Severities.
	Severity Severities `yaml:"severity"`
	// CloseCode is what "resolved" is at the instance. Default: Solution provided.
	CloseCode string `yaml:"close_code"`
	// CloseCodes maps further resolve codes of ours to the instance's; others
	// go as they are. Default: none.
	CloseCodes map[string]string `yaml:"close_codes"`
	// HoldReason goes with on_hold: 1 caller, 3 problem, 4 vendor, 5 change. Default: 5.
	HoldReason int `yaml:"hold_reason"`
	// Fields are written to every new incident, by their names at the instance;
	// a field of the field map with the same name wins.
	// Default: category Cloud Infrastructure, subcategory Monitoring Alert.
	Fields map[string]string `yaml:"fields"`
	// CIFilter narrows the search for configuration items, as an encoded query
	// such as operational_status=1. Default: none.
	CIFilter string `yaml:"ci_filter"`
	// LookupTTL is how long the sys_id of a name, or that there is none, is
	// remembered. Default: 10m.
	LookupTTL time.Duration `yaml:"lookup_ttl"`
	// Changes lets this platform hold change requests. Without it only incidents
	// are, and nothing else is asked for. Default: none.
	Changes *Changes `yaml:"changes"`
	// Overlap is how far behind the last seen change a pull begins, for writes
	// that were stamped before and committed after it. Default: 1m.
	Overlap time.Duration `yaml:"overlap"`
}

// Severities maps each severity to a Level. As shipped they give the priorities
// 1 to 5 under the lookup rules of a fresh instance.
type Severities struct {
	// Critical defaults to urgency 1, impact 1.
	Critical Level `yaml:"critical"`
	// High defaults to urgency 1, impact 2.
	High Level `yaml:"high"`
	// Medium defaults to urgency 2, impact 2.
	Medium Level `yaml:"medium"`
	// Low defaults to urgency 3, impact 2.
	Low Level `yaml:"low"`
	// Info defaults to urgency 3, impact 3.
	Info Level `yaml:"info"`
}

// Level is urgency and impact: 1 high, 2 medium, 3 low.
type Level struct {
	// Urgency is 1, 2 or 3.
	Urgency int `yaml:"urgency,required"`
	// Impact is 1, 2 or 3.
	Impact int `yaml:"impact,required"`
}

// Defaults sets the defaults.
func (o *Options) Defaults() {
	*o = Options{
		Severity:  Severities{Critical: Level{1, 1}, High: Level{1, 2}, Medium: Level{2, 2}, Low: Level{3, 2}, Info: Level{3, 3}},
		CloseCode: "Solution provided", HoldReason: 5, LookupTTL: 10 * time.Minute, Overlap: time.Minute,
		Fields: defaultFields(),
	}
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,79}$`)

// Validate says what is wrong with the section options.
func (o *Options) Validate() error {
	var errs []error
	fault := func(path, format string, args ...any) { errs = append(errs, invalid(path, format, args...)) }
	for _, v := range ops.Severities {
		l := o.Severity.level(v)
		if l.Urgency < 1 || l.Urgency > 3 || l.Impact < 1 || l.Impact > 3 {
			fault("severity."+string(v), "urgency %d and impact %d, each must be 1 (high), 2 (medium) or 3 (low)", l.Urgency, l.Impact)
		}
	}
	if o.CloseCode == "" {
		fault("close_code", "is empty; name a resolution code of the instance, such as Solution provided")
	}
	for _, ours := range slices.Sorted(maps.Keys(o.CloseCodes)) {
		if o.CloseCodes[ours] == "" {
			fault("close_codes."+ours, "is empty; name a resolution code of the instance")
		}
	}
	if o.HoldReason < 1 {
		fault("hold_reason", "%d; write 1 (caller), 3 (problem), 4 (vendor) or 5 (change)", o.HoldReason)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Fields)) {
		if err := checkExtra(name); err != nil {
			fault("fields", "%v", err)
		}
	}
	if o.Changes != nil {
		errs = append(errs, o.Changes.validate()...)
	}
	if o.LookupTTL <= 0 {
		fault("lookup_ttl", "%s; write a duration such as 10m", o.LookupTTL)
	}
	if o.Overlap < 0 || o.Overlap > time.Hour {
		fault("overlap", "%s; write a duration from 0s to 1h", o.Overlap)
	}
	return errors.Join(errs...)
}

func (s Severities) level(v ops.Severity) Level {
	switch v {
	case ops.Critical:
		return s.Critical
	case ops.High:
		return s.High
	case ops.Medium:
		return s.Medium
	case ops.Low:
		return s.Low
	}
	return s.Info
}
