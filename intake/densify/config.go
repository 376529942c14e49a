package densify

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/fettleops/fettle/intake"
)

// Config are the options of an integration.
type Config struct {
	// Currency of savingsEstimate, such as USD; Densify does not say. Default: unknown.
	Currency string `yaml:"currency"`
	// Per is the span of savingsEstimate; Densify does not say. Without it no
	// saving is compared with what it was predicted to be. Default: unknown.
	Per string `yaml:"per" enum:"hour,month,year"`
	// API is Densify's own, asked for the tags and the analysis report of each
	// recommendation. Default: nothing is asked, and stacks are known only where
	// the webhook sends attributes.
	API *API `yaml:"api"`
}

// API is how Densify is asked.
type API struct {
	// URL of the instance, https.
	URL string `yaml:"url"`
	// Flavour is basic (/CIRBA/api/v2 with basic authentication) or token (/api/v2
	// with a token of /authorize). Default: token.
	Flavour string `yaml:"flavour" enum:"basic,token"`
	// Username is plain or a reference.
	Username string `yaml:"username"`
	// Password is a reference.
	Password string `yaml:"password"`
	// Report says whether the analysis report is fetched. Default: true.
	Report *bool `yaml:"report"`
	// Private lists networks such as 10.1.0.0/16 in which the instance may stand;
	// any other address inside the network is refused. Default: none.
	Private []string `yaml:"private"`
}

// The flavours of Densify's API.
const (
	flavourBasic = "basic"
	flavourToken = "token"
)

// Defaults sets what was not written.
func (c *Config) Defaults() {
	c.Currency = strings.ToUpper(c.Currency)
	if c.API == nil {
		return
	}
	if c.API.Flavour == "" {
		c.API.Flavour = flavourToken
	}
	if c.API.Report == nil {
		yes := true
		c.API.Report = &yes
	}
}

// check returns the fault of the first option that is wrong.
func (c *Config) check() error {
	switch c.Per {
	case "", "hour", "month", "year":
	default:
		return &intake.Fault{Field: "per", Value: c.Per, Fix: "write hour, month or year"}
	}
	if c.API == nil {
		return nil
	}
	u, err := url.Parse(c.API.URL)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return &intake.Fault{Field: "api.url", Fix: "write https:// and the host of the instance"}
	case c.API.Flavour != flavourBasic && c.API.Flavour != flavourToken:
		return &intake.Fault{Field: "api.flavour", Value: c.API.Flavour, Fix: "write basic or token"}
	case c.API.Username == "":
		return &intake.Fault{Field: "api.username", Fix: "is missing; write the user name, or a reference such as env:NAME"}
	case !strings.Contains(c.API.Password, ":"):
		return &intake.Fault{Field: "api.password", Fix: "write a reference such as env:NAME or file:PATH"}
	}
	_, err = c.API.prefixes()
	return err
}

func (a *API) prefixes() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range a.Private {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, &intake.Fault{Field: "api.private", Value: s, Fix: "write networks such as 10.1.0.0/16"}
		}
		out = append(out, p)
	}
	return out, nil
}
