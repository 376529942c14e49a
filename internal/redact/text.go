package redact

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// minSecret is the length below which a secret is not searched for: replacing
// every "a" would hide the message and not the secret.
const minSecret = 4

var (
	// urlPattern ends a URL at white space, quotes and brackets, as messages put
	// them there.
	urlPattern = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>` + "`" + `{}|\\^\[\]]+`)
	// authPattern finds credentials that a peer's answer quotes back.
	authPattern = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`)
)

// Text returns s without the given secrets (plain, URL-escaped or base64), without
// bearer and basic credentials, and with every URL in it cleaned by URL.
// Secrets shorter than four bytes are left alone.
func Text(s string, secrets ...Secret) string {
	var forms []string
	for _, sec := range secrets {
		v := sec.value
		if len(v) < minSecret {
			continue
		}
		forms = append(forms, v, url.QueryEscape(v), url.PathEscape(v),
			base64.StdEncoding.EncodeToString([]byte(v)), base64.URLEncoding.EncodeToString([]byte(v)))
	}
	// Longest first, or the tail of a secret that contains another would remain.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	for _, f := range forms {
		s = strings.ReplaceAll(s, f, Mask)
	}
	s = urlPattern.ReplaceAllStringFunc(s, URL)
	return authPattern.ReplaceAllString(s, "$1 "+Mask)
}

// URL returns raw without user and password, without fragment, and with every query
// value replaced by "x": the names stay, as they help to find a fault. What cannot be
// parsed is cut at the first "?" and loses everything up to the last "@".
func URL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		scheme, rest, ok := strings.Cut(raw, "://")
		if !ok {
			scheme, rest = "", raw
		}
		rest, _, _ = strings.Cut(rest, "?")
		rest, _, _ = strings.Cut(rest, "#")
		if i := strings.LastIndexByte(rest, '@'); i >= 0 {
			rest = rest[i+1:]
		}
		if !ok {
			return rest
		}
		return scheme + "://" + rest
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	if i := strings.LastIndexByte(u.Opaque, '@'); i >= 0 {
		// "user:password@host" without a scheme parses as scheme "user".
		return u.Opaque[i+1:]
	}
	if u.RawQuery != "" {
		pairs := strings.Split(u.RawQuery, "&")
		for i, p := range pairs {
			name, _, found := strings.Cut(p, "=")
			if !found {
				// A lone word may be a token by itself.
				pairs[i] = "x"
				continue
			}
			pairs[i] = name + "=x"
		}
		u.RawQuery = strings.Join(pairs, "&")
	}
	return u.String()
}
