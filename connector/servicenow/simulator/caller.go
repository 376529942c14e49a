package simulator

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
	"time"
)

// caller is the account a request acts as.
type caller struct {
	name  string
	sysID string
	roles []string
	zone  *time.Location
}

// may reports whether the account has one of the roles; nil asks for none, an
// empty list is a door that nobody passes.
func (c *caller) may(roles []string) bool {
	return roles == nil || slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(c.roles, r) })
}

// local shows a stored time in the account's zone.
func (c *caller) local(stamp string) string {
	t, ok := parseStamp(stamp)
	if !ok {
		return stamp
	}
	return t.In(c.zone).Format(timeLayout)
}

// universal reads a time given in the account's zone.
func (c *caller) universal(stamp string) string {
	t, err := time.ParseInLocation(timeLayout, stamp, c.zone)
	if err != nil {
		return stamp
	}
	return t.UTC().Format(timeLayout)
}

// unauthenticated is the one answer to every wrong credential.
func unauthenticated() *refusal {
	r := refuse(http.StatusUnauthorized, "User Not Authenticated", "Required to provide Auth information")
	r.header = http.Header{"Www-Authenticate": {`BASIC realm="Service-now"`}}
	return r
}

// authenticate finds the account by bearer token, Basic or API key.
func (s *Server) authenticate(r *http.Request) (*caller, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, ok := "", false
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch user, password, basic := r.BasicAuth(); {
	case basic:
		name, ok = user, s.passwordFits(user, password)
		if ok && s.cfg.Profiles[user].MFA {
			refused := unauthenticated()
			refused.header.Set("X-MFA_TOKEN", "invalid")
			return nil, refused
		}
	case strings.EqualFold(scheme, "Bearer"):
		t, valid := s.tokens.access(token, s.now())
		if valid && t.scope != defaultScope {
			return nil, refuse(http.StatusForbidden, "Access to unscoped api is not allowed", "")
		}
		name, ok = t.user, valid
	case r.Header.Get("x-sn-apikey") != "":
		name, ok = s.cfg.APIKeys[r.Header.Get("x-sn-apikey")]
	}
	if !ok {
		return nil, unauthenticated()
	}
	who := s.account(name)
	if who == nil {
		return nil, unauthenticated()
	}
	return who, nil
}

func (s *Server) passwordFits(user, password string) bool {
	want, known := s.cfg.Users[user]
	return known && subtle.ConstantTimeCompare([]byte(want), []byte(password)) == 1
}

// account is the caller behind a user name, nil when the row is gone or inactive.
func (s *Server) account(name string) *caller {
	r := s.tables["sys_user"].find("user_name", name)
	if r == nil || r.values["active"] != "true" {
		return nil
	}
	roles := []string{"itil"}
	if p, known := s.cfg.Profiles[name]; known {
		roles = p.Roles
	}
	zone, err := time.LoadLocation(r.values["time_zone"])
	if err != nil {
		// Without a time zone database GMT is the only zone there is.
		zone = time.UTC
	}
	return &caller{name: name, sysID: r.values["sys_id"], roles: roles, zone: zone}
}
