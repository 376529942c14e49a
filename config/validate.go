package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/internal/strictyaml"
)

// Checks are the checks that need another room. A nil function is skipped.
type Checks struct {
	// Schedule checks the schedule of a window.
	Schedule func(schedule string) error
	// Expression checks CEL. where is the key without indices, one of detect.rules.when,
	// detect.rules.clear, routes.match, routes.change.match (of a route for changes),
	// windows.applies, freezes.applies, policies.approval.match, runbooks.trigger,
	// runbooks.steps.when, recommendations.rules.match, verify.metrics.match,
	// verify.checks.match, verify.checks.metric and notify.when.
	Expression func(where, expression string) error
	// Fetches reports whether a source fetches, so that its integrations have no
	// senders to authenticate.
	Fetches func(source string) bool
	// Group checks a group of series. The paths of what it finds begin in the group.
	Group func(g Group) Faults
}

// Validate returns every fault that decoding alone does not find: duplicate names,
// references to what does not exist, values out of range, secrets written plainly, and
// what the given checks find. The error is a Faults.
func (c *Config) Validate(k Checks) error { return c.check(k).Err() }

func (c *Config) check(k Checks) Faults {
	v := &validator{c: c, k: k}
	v.server()
	v.owners()
	v.senses()
	v.tickets()
	v.gate()
	v.runbooks()
	v.verification()
	v.recommendations()
	v.notifications()
	return v.faults
}

type validator struct {
	c      *Config
	k      Checks
	faults Faults
}

// add reports a fault at path, or at the nearest part above it that was written.
func (v *validator) add(path, format string, args ...any) {
	at := strictyaml.Position{File: v.c.file}
	for p := path; ; {
		if place, ok := v.c.places[p]; ok {
			at = place
			break
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			break
		}
		p = p[:i]
	}
	v.faults = append(v.faults, &Fault{At: at, Path: path, Text: fmt.Sprintf(format, args...)})
}

// names checks that names are given and unique, and returns them.
func (v *validator) names(section, field string, names []string) []string {
	for i, n := range names {
		path := at(section, i) + "." + field
		if strings.TrimSpace(n) == "" {
			v.add(path, "is empty; write a name")
			continue
		}
		if first := slices.Index(names, n); first < i {
			v.add(path, "%q is already the %s of %s", n, field, at(section, first))
		}
	}
	return names
}

func names[T any](list []T, of func(T) string) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = of(x)
	}
	return out
}

func at(section string, i int) string { return section + "[" + strconv.Itoa(i) + "]" }

// known checks that name is one of the names of a section.
func (v *validator) known(path, what, name string, names []string) {
	if slices.Contains(names, name) {
		return
	}
	if near := strictyaml.Nearest(name, names); near != "" {
		v.add(path, "there is no %s %q; did you mean %q?", what, name, near)
		return
	}
	if len(names) == 0 {
		v.add(path, "there is no %s %q; none is defined", what, name)
		return
	}
	v.add(path, "there is no %s %q; defined: %s", what, name, strings.Join(names, ", "))
}

func (v *validator) positive(path string, d Duration) {
	if d.D <= 0 {
		v.add(path, "must be longer than 0s")
	}
}

func (v *validator) expression(where, path, expr string, required bool) {
	if strings.TrimSpace(expr) == "" {
		if required || expr != "" {
			v.add(path, "is empty; write an expression, for example 'true'")
		}
		return
	}
	if v.k.Expression == nil {
		return
	}
	if err := v.k.Expression(where, expr); err != nil {
		v.add(path, "%s", err)
	}
}

func (v *validator) secrets(r Raw) { v.faults = append(v.faults, r.PlainSecrets()...) }

func (v *validator) server() {
	s := v.c.Server
	v.address("server.listen", s.Listen, "127.0.0.1:8420")
	if s.ListenGRPC != "" {
		v.address("server.listen_grpc", s.ListenGRPC, "0.0.0.0:4317")
		if _, port, _ := net.SplitHostPort(s.Listen); s.ListenGRPC == s.Listen && port != "0" {
			v.add("server.listen_grpc", "is the address of server.listen; give gRPC a port of its own, for example 4317")
		}
	}
	if s.QueueDepth < 1 {
		v.add("server.queue_depth", "must be 1 or more; 200000 is about 20 seconds of the fastest storm")
	}
	if s.PublicURL != "" {
		v.url("server.public_url", s.PublicURL)
	}
	if !v.c.Store.Postgres.IsZero() && s.DataKey.IsZero() {
		v.add("store.postgres", "needs server.data_key; write env:NAME or file:PATH there")
	}
}

func (v *validator) address(path, s, example string) {
	if _, port, err := net.SplitHostPort(s); err != nil {
		v.add(path, "%q is no address; write host:port, for example %s", s, example)
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		v.add(path, "%q is no port; write a number from 0 to 65535", port)
	}
}

// url checks that s is an address to which paths can be added. A fault does not
// repeat an address that holds a password.
func (v *validator) url(path, s string) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		v.add(path, "is no address; write https:// and a host")
	case u.User != nil:
		v.add(path, "holds a user or password; remove it and use auth with env:NAME or file:PATH")
	case u.RawQuery != "" || u.Fragment != "":
		v.add(path, "holds a query or fragment; remove what follows the path")
	}
}

func (v *validator) owners() {
	teams := v.names("teams", "name", names(v.c.Teams, func(t Team) string { return t.Name }))
	people := v.names("people", "name", names(v.c.People, func(p Person) string { return p.Name }))
	users := map[[2]string]string{}
	for i, p := range v.c.People {
		for j, team := range p.Teams {
			v.known(at(at("people", i)+".teams", j), "team", team, teams)
		}
		for _, platform := range slices.Sorted(maps.Keys(p.Platforms)) {
			user := p.Platforms[platform]
			path := at("people", i) + ".platforms." + platform
			v.known(path, "platform", platform, v.platforms())
			if user == "" {
				v.add(path, "is empty; write the user name")
				continue
			}
			// An approval is counted for one person; a shared user would count for two.
			if other, taken := users[[2]string{platform, user}]; taken && other != p.Name {
				v.add(path, "%q is already the user of %s; each person needs an own one", user, other)
			}
			users[[2]string{platform, user}] = p.Name
		}
		if d := p.Delegate; d != nil {
			path := at("people", i) + ".delegate"
			v.known(path+".to", "person", d.To, people)
			if d.To == p.Name {
				v.add(path+".to", "is %q themselves; name another person", d.To)
			}
			if !d.Until.UTC().After(d.From.UTC()) {
				v.add(path+".until", "%s is not after from (%s)", d.Until, d.From)
			}
		}
	}
	ids := v.names("resources", "id", names(v.c.Resources, func(r Resource) string { return r.ID }))
	aliases := map[string]string{}
	for i, r := range v.c.Resources {
		for j, alias := range r.Aliases {
			if other, taken := aliases[alias]; taken {
				v.add(at(at("resources", i)+".aliases", j), "%q is already an alias of %s", alias, other)
			}
			aliases[alias] = r.ID
		}
		for j, id := range r.DependsOn {
			path := at(at("resources", i)+".depends_on", j)
			if id == r.ID {
				v.add(path, "the resource depends on itself")
				continue
			}
			v.known(path, "resource", id, ids)
		}
	}
	t := v.c.Retention
	v.positive("retention.raw", t.Raw)
	v.positive("retention.alerts", t.Alerts)
	v.positive("retention.series_1m", t.Series1m)
	v.positive("retention.series_1h", t.Series1h)
}

var integrationName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

func (v *validator) senses() {
	v.names("integrations", "name", names(v.c.Integrations, func(x Integration) string { return x.Name }))
	for i, x := range v.c.Integrations {
		if x.Name != "" && !integrationName.MatchString(x.Name) {
			v.add(at("integrations", i)+".name", "%q cannot stand in a URL; use at most 64 lower-case letters, digits, - and _", x.Name)
		}
		if x.Auth.IsZero() && v.k.Fetches != nil && !v.k.Fetches(x.Source) {
			v.add(at("integrations", i)+".auth", "is missing; nothing comes in without authentication, write for example {bearer: env:NAME}")
		}
		v.secrets(x.Auth)
		v.secrets(x.Options)
	}
	if v.c.Detect.Host.Enabled {
		v.positive("detect.host.every", v.c.Detect.Host.Every)
	}
	v.names("detect.rules", "name", names(v.c.Detect.Rules, func(r Rule) string { return r.Name }))
	for i, r := range v.c.Detect.Rules {
		path := at("detect.rules", i)
		v.expression("detect.rules.when", path+".when", r.When, r.Enabled)
		v.expression("detect.rules.clear", path+".clear", r.Clear, false)
	}
	v.groups()
	v.positive("detect.checkpoint_interval", v.c.Detect.CheckpointInterval)
	v.positive("detect.log_keep", v.c.Detect.LogKeep)
	v.positive("detect.hold_at_most", v.c.Detect.HoldAtMost)
	if v.c.Detect.MaxModels < 1 {
		v.add("detect.max_models", "must be 1 or more; a small model takes about 0.3 MB, a full one 7.5 MB")
	}
	if len(v.c.Correlate.GroupBy) == 0 {
		v.add("correlate.group_by", "is empty; name at least one label, or everything becomes one incident")
	}
	v.positive("correlate.within", v.c.Correlate.Within)
	v.positive("correlate.reopen_within", v.c.Correlate.ReopenWithin)
	v.positive("correlate.stateless_after", v.c.Correlate.StatelessAfter)
	if v.c.Correlate.Flap.Changes < 0 {
		v.add("correlate.flap.changes", "must be 0 (off) or more")
	}
	v.positive("correlate.flap.within", v.c.Correlate.Flap.Within)
}

func (v *validator) platforms() []string {
	return names(v.c.Platforms, func(p Platform) string { return p.Name })
}

func (v *validator) tickets() {
	v.names("platforms", "name", v.platforms())
	for i, p := range v.c.Platforms {
		path := at("platforms", i)
		if p.Name == DeskPlatform && p.Connector != DeskPlatform {
			v.add(path+".connector", "the platform desk is Fettle's own; write connector: desk or choose another name")
		}
		if p.URL != "" {
			v.url(path+".url", p.URL)
		}
		v.positive(path+".sync.every", p.Sync.Every)
		v.secrets(p.Auth)
		v.secrets(p.Options)
	}
	teams := names(v.c.Teams, func(t Team) string { return t.Name })
	for i, r := range v.c.Routes {
		path := at("routes", i)
		where := "routes.match"
		if r.OfChange() {
			where = "routes.change.match"
		}
		v.expression(where, path+".match", r.Match, true)
		v.known(path+".platform", "platform", r.Platform, v.platforms())
		if r.Team != "" {
			v.known(path+".team", "team", r.Team, teams)
		}
	}
}

func (v *validator) runbooks() {
	executors := v.names("executors", "name", names(v.c.Executors, func(e Executor) string { return e.Name }))
	for i, e := range v.c.Executors {
		if e.Tool == "" {
			v.add(at("executors", i)+".tool", "is empty; write the name of a tool")
		}
		v.secrets(e.Options)
	}
	v.names("runbooks", "name", names(v.c.Runbooks, func(r Runbook) string { return r.Name }))
	for i, r := range v.c.Runbooks {
		path := at("runbooks", i)
		v.expression("runbooks.trigger", path+".trigger", r.Trigger, true)
		if r.Window != "" {
			v.known(path+".window", "window", r.Window, v.windows())
		}
		v.positive(path+".verify.within", r.Verify.Within)
		if len(r.Steps) == 0 {
			v.add(path+".steps", "is empty; write at least one step")
		}
		for j, s := range r.Steps {
			sp := at(path+".steps", j)
			v.expression("runbooks.steps.when", sp+".when", s.When, false)
			v.known(sp+".executor", "executor", s.Executor, executors)
			if s.Action == "" {
				v.add(sp+".action", "is empty; write what the executor does")
			}
		}
	}
}

func (v *validator) recommendations() {
	c := v.c.Recommendations
	teams := names(v.c.Teams, func(t Team) string { return t.Name })
	executors := names(v.c.Executors, func(e Executor) string { return e.Name })
	v.positive("recommendations.cancellation_threshold", c.CancellationThreshold)
	v.positive("recommendations.rest", c.Rest)
	v.names("recommendations.rules", "name", names(c.Rules, func(r RecommendationRule) string { return r.Name }))
	for i, r := range c.Rules {
		path := at("recommendations.rules", i)
		v.expression("recommendations.rules.match", path+".match", r.Match, true)
		v.known(path+".executor", "executor", r.Executor, executors)
		if r.Action == "" {
			v.add(path+".action", "is empty; write what the executor does")
		}
		if r.Team != "" {
			v.known(path+".team", "team", r.Team, teams)
		}
		v.positive(path+".verify_within", r.VerifyWithin)
		if r.Risk != nil && !(*r.Risk >= 0 && *r.Risk <= 1) {
			v.add(path+".risk", "must be from 0 to 1")
		}
	}
	for i, p := range v.c.Prices {
		path := at("prices", i)
		if p.Type == "" {
			v.add(path+".type", "is empty; write an instance type or class")
		}
		if !(p.PerHour >= 0) {
			v.add(path+".per_hour", "must be 0 or more")
		}
		if len(p.Currency) != 3 {
			v.add(path+".currency", "%q is no currency; write three letters such as USD", p.Currency)
		}
	}
}
