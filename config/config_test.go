package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/config"
)

// TestFaults loads each testdata/*.yaml and compares the whole error with the .err
// beside it.
func TestFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Load("fettle.yaml", data)
		if err == nil || c != nil {
			t.Errorf("%s: loads", name)
			continue
		}
		got := err.Error() + "\n"
		if strings.Contains(got, "hunter2") {
			t.Errorf("%s: the error shows a secret:\n%s", name, got)
		}
		golden := strings.TrimSuffix(name, ".yaml") + ".err"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s:\ngot\n%swant\n%s", name, got, want)
		}
	}
}

func load(t *testing.T, s string) *config.Config {
	t.Helper()
	c, err := config.Load("fettle.yaml", []byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const whole = `
server:
  listen: 0.0.0.0:9000
  data_key: file:/etc/fettle/data.key
  tls: {cert: file:/etc/fettle/tls.crt, key: file:/etc/fettle/tls.key}
store: {postgres: env:FETTLE_POSTGRES_URL}
teams:
  - {name: EUC, time_zone: America/New_York, assignment_group: EUC Support, backlog_snapshot: "07:30"}
  - {name: Cloud operations}
people:
  - {name: owner-shop, roles: [application-owner], teams: [EUC], platforms: {snow: shop.owner, desk: owner-shop}}
resources:
  - {id: shop-db, kind: database, aliases: ["arn:aws:rds:eu-west-1:123456789012:db:shop"], labels: {env: prod}, depends_on: [net]}
  - {id: net}
retention: {raw: 2w}
integrations:
  - {name: azure-prod, source: azuremonitor, auth: {entra: {tenant: env:AZ_TENANT, audience: api://fettle}}}
  - {name: prom, source: alertmanager, auth: {bearer: env:PROM_TOKEN}}
detect:
  rules:
    - {name: high-cpu, when: 'cpu_utilization > 0.80', for: 5m, severity: high, clear: 'cpu_utilization < 0.75'}
correlate: {within: 72h}
platforms:
  - name: snow
    connector: servicenow
    url: https://acme.service-now.com
    auth: {oauth: {client_id: env:SNOW_ID, client_secret: env:SNOW_SECRET}}
    sync: {every: 1m}
routes:
  - {match: 'incident.severity in ["critical", "high"]', platform: snow, team: Cloud operations}
  - {match: 'true', platform: desk, kind: event}
windows:
  - {name: sunday-night, schedule: 'cron(0 2 ? * SUN *)', duration: 4h, cutoff: 1h, time_zone: Europe/Berlin, applies: 'resource.labels.env == "prod"'}
freezes:
  - {name: year-end, from: 2026-12-20T00:00, to: 2027-01-03T00:00, time_zone: Europe/Berlin, break_glass: [incident-commander]}
policies:
  approval:
    - {match: 'change.type == "standard"', approve: automatically}
    - {match: 'true', approvers: {role: application-owner}}
  limits: {automated_changes: 5/30m, blast_radius: 2.5%}
executors:
  - {name: host, tool: command, allow: ["/usr/bin/systemctl restart shop"], env: {TOKEN: env:TOOL_TOKEN}}
runbooks:
  - name: high-cpu
    trigger: 'alert.rule == "high-cpu"'
    window: sunday-night
    steps:
      - {when: 'value > 0.90', executor: host, action: restart, args: [shop]}
verify:
  metrics: [{name: 'queue_*', match: 'change.risk > 0.5', worse: up}]
  checks:
    - {name: shop, match: 'true', http: {url: https://shop.example/}}
    - {name: errors, metric: 'errors < 0.01'}
`

func TestLoad(t *testing.T) {
	c := load(t, whole)
	f := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s = %v, want %v", what, got, want)
		}
	}
	f("listen", c.Server.Listen, "0.0.0.0:9000")
	f("queue depth", load(t, "server: {queue_depth: 5000}").Server.QueueDepth, 5000)
	f("default queue depth", config.Default().Server.QueueDepth, 200_000)
	f("data key", c.Server.DataKey.Source, "fettle.yaml:4:13")
	f("certificate is public", c.Server.TLS.Cert.Public, true)
	f("key is not", c.Server.TLS.Key.Public, false)
	f("zone", c.Teams[0].TimeZone.Location().String(), "America/New_York")
	f("zone by default", c.Teams[1].TimeZone.String(), "UTC")
	f("snapshot", c.Teams[0].BacklogSnapshot, config.Clock{Hour: 7, Minute: 30})
	f("snapshot by default", c.Teams[1].BacklogSnapshot, config.Clock{Hour: 19})
	f("retention", c.Retention.Raw.D, 14*24*time.Hour)
	f("retention by default", c.Retention.Alerts.D, 400*24*time.Hour)
	f("rule", c.Detect.Rules[0].For.D, 5*time.Minute)
	f("rule is on", c.Detect.Rules[0].Enabled, true)
	f("host source", c.Detect.Host, config.Default().Detect.Host)
	f("conflict", c.Platforms[0].Sync.Conflict, "platform_wins")
	f("every", c.Platforms[0].Sync.Every.D, time.Minute)
	f("route kind", c.Routes[0].Kind, "incident")
	f("approvers", c.Policies.Approval[1].Approvers.Count, 1)
	f("expires", c.Policies.Approval[1].Expires.D, 72*time.Hour)
	f("rate", c.Policies.Limits.AutomatedChanges, config.Rate{Count: 5, Per: 30 * time.Minute})
	f("share", c.Policies.Limits.BlastRadius.Fraction(), 0.025)
	f("freeze", c.Freezes[0].To.UTC(), time.Date(2027, 1, 3, 0, 0, 0, 0, time.UTC))
	f("failures in a row", c.Verify.Checks[1].Times, 3)
	f("no answer", c.Verify.Checks[1].NoAnswer, "inconclusive")
	f("timeout", c.Verify.Checks[0].HTTP.Timeout.D, 5*time.Second)
	f("verify", c.Runbooks[0].Verify.Within.D, 10*time.Minute)

	if p, ok := c.Platform("desk"); !ok || p.Connector != "desk" || p.Sync.Every.D != 30*time.Second {
		t.Errorf("desk = %+v, %v", p, ok)
	}
	if _, ok := c.Platform("jira"); ok {
		t.Error("there is a platform jira")
	}
	if e, ok := c.Executor("host"); !ok || e.Tool != "command" {
		t.Errorf("executor = %+v, %v", e, ok)
	}
	if g, ok := c.Team("EUC"); !ok || g.AssignmentGroup != "EUC Support" {
		t.Errorf("team = %+v, %v", g, ok)
	}
}

func TestEmptyFileIsTheDefault(t *testing.T) {
	d := config.Default()
	if err := d.Validate(config.Checks{}); err != nil {
		t.Error(err)
	}
	for _, s := range []string{"", "# nothing\n", "---\n"} {
		c := load(t, s)
		if c.Digest() != d.Digest() || c.Server.Listen != "127.0.0.1:8420" || !c.Detect.Host.Enabled {
			t.Errorf("%q is not the default", s)
		}
	}
}

func TestDriversDecodeTheirPart(t *testing.T) {
	c := load(t, whole)
	var tool struct {
		Allow []string          `yaml:"allow"`
		Env   map[string]string `yaml:"env"`
	}
	e, _ := c.Executor("host")
	if err := e.Options.Decode(&tool); err != nil || len(tool.Allow) != 1 || tool.Env["TOKEN"] != "env:TOOL_TOKEN" {
		t.Errorf("%+v, %v", tool, err)
	}
	var wrong struct {
		Allowed []string `yaml:"allowed"`
		Env     string   `yaml:"env"`
	}
	err := e.Options.Decode(&wrong)
	want := `fettle.yaml:42:33: executors[0].allow: unknown key "allow"; did you mean "allowed"?
fettle.yaml:42:82: executors[0].env: wants text, got a mapping`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestValidateAsksOtherRooms(t *testing.T) {
	c := load(t, whole)
	var asked []string
	err := c.Validate(config.Checks{
		Schedule: func(s string) error { return errors.New("no schedule: " + s) },
		Expression: func(where, expr string) error {
			asked = append(asked, where)
			if where == "routes.match" && expr == "true" {
				return errors.New("no expression")
			}
			return nil
		},
	})
	want := `fettle.yaml:31:13: routes[1].match: no expression
fettle.yaml:33:36: windows[0].schedule: no schedule: cron(0 2 ? * SUN *)`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	slices.Sort(asked)
	asked = slices.Compact(asked)
	if got := strings.Join(asked, " "); got != "detect.rules.clear detect.rules.when policies.approval.match routes.match runbooks.steps.when runbooks.trigger verify.checks.match verify.checks.metric verify.metrics.match windows.applies" {
		t.Errorf("asked for %s", got)
	}
	var fs config.Faults
	var one *config.Fault
	if !errors.As(err, &fs) || len(fs) != 2 || !errors.As(err, &one) || one.At.Line != 31 {
		t.Errorf("the error is no Faults: %T", err)
	}
	c = load(t, "integrations: [{name: pushed, source: pushes}, {name: pulled, source: pulls}]")
	err = c.Validate(config.Checks{Fetches: func(source string) bool { return source == "pulls" }})
	want = `fettle.yaml:1:16: integrations[0].auth: is missing; nothing comes in without authentication, write for example {bearer: env:NAME}`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestReferences(t *testing.T) {
	var got []string
	for _, r := range load(t, whole).References() {
		if !strings.HasPrefix(r.Source, "fettle.yaml:") {
			t.Errorf("%s does not know its place", r)
		}
		got = append(got, r.String())
	}
	slices.Sort(got)
	want := "env:AZ_TENANT env:FETTLE_POSTGRES_URL env:PROM_TOKEN env:SNOW_ID env:SNOW_SECRET env:TOOL_TOKEN " +
		"file:/etc/fettle/data.key file:/etc/fettle/tls.crt file:/etc/fettle/tls.key"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

func TestExplain(t *testing.T) {
	all := map[string]config.Setting{}
	for _, s := range load(t, whole).Explain() {
		if _, twice := all[s.Path]; twice {
			t.Errorf("%s is explained twice", s.Path)
		}
		all[s.Path] = s
	}
	f := func(path, value, source string) {
		t.Helper()
		if got := all[path]; got.Value != value || got.Source != source {
			t.Errorf("%s = %q from %q, want %q from %q", path, got.Value, got.Source, value, source)
		}
	}
	f("server.listen", "0.0.0.0:9000", "fettle.yaml:3")
	f("server.public_url", "", "default")
	f("server.tls.key", "file:/etc/fettle/tls.key", "fettle.yaml:5")
	f("retention.raw", "2w", "fettle.yaml:15")
	f("retention.alerts", "400d", "default")
	f("teams[1].time_zone", "UTC", "default")
	f("correlate.reopen_within", "24h", "default")
	f("correlate.within", "72h", "fettle.yaml:22")
	f("correlate.group_by[0]", "rule", "default")
	f("platforms[0].auth.oauth.client_secret", "env:SNOW_SECRET", "fettle.yaml:27")
	f("platforms[1].name", "desk", "default")
	f("executors[0].allow[0]", "/usr/bin/systemctl restart shop", "fettle.yaml:42")
	f("resources[0].labels.env", "prod", "fettle.yaml:13")
	f("policies.limits.blast_radius", "2.5%", "fettle.yaml:40")
}

func TestDigest(t *testing.T) {
	base := load(t, whole)
	same := func(why, s string) {
		t.Helper()
		if load(t, s).Digest() != base.Digest() {
			t.Errorf("the digest changed: %s", why)
		}
	}
	differs := func(why, old, s string) {
		t.Helper()
		changed := strings.Replace(whole, old, s, 1)
		if changed == whole {
			t.Fatalf("%q is not in the file", old)
		}
		if load(t, changed).Digest() == base.Digest() {
			t.Errorf("the digest stayed: %s", why)
		}
	}
	same("a comment and blank lines", "# c\n\n"+whole)
	same("a default written out", strings.Replace(whole, "retention: {raw: 2w}", "retention: {alerts: 400d, raw: 14d}", 1))
	same("quotes", strings.Replace(whole, "source: alertmanager", `source: "alertmanager"`, 1))
	same("keys in another order", strings.Replace(whole, "{client_id: env:SNOW_ID, client_secret: env:SNOW_SECRET}", "{client_secret: env:SNOW_SECRET, client_id: env:SNOW_ID}", 1))
	differs("a threshold", "0.80", "0.81")
	differs("an allowed command", "restart shop\"", "stop shop\"")
	differs("a reference", "env:SNOW_SECRET", "env:OTHER")
	differs("a person's user", "snow: shop.owner", "snow: somebody")
	differs("the order of routes", "- {match: 'true', platform: desk, kind: event}", "- {match: 'false', platform: desk, kind: event}")

	tighter := load(t, strings.Replace(whole, "5/30m", "4/30m", 1))
	if tighter.Digest("routes") == base.Digest("routes") || tighter.Digest("policies") != base.Digest("policies") {
		t.Error("the digest without a section does not follow the other sections alone")
	}
}

// FuzzLoad wants no panic, no endless run, and of every file that loads that it
// validates again and explains itself.
func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil {
			f.Add(b)
		}
	}
	f.Add([]byte(whole))
	f.Add(config.Example())
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Load("f", data)
		if (c == nil) == (err == nil) {
			t.Fatal("neither a configuration nor an error, or both")
		}
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without words")
			}
			return
		}
		if err := c.Validate(config.Checks{}); err != nil {
			t.Fatalf("loaded and does not validate: %v", err)
		}
		if first := c.Digest(); len(c.Explain()) == 0 || c.Digest() != first {
			t.Fatal("does not explain itself")
		}
		c.References()
	})
}

func TestGroups(t *testing.T) {
	c := load(t, `
detect:
  groups:
    - {name: hosts, features: node_exporter, entity: instance}
    - {name: web, entity: [zone, instance], features: [{set: host}, {name: queue, metric: queue_length}], lateness: 0s, in_order: false}
`)
	hosts, web := c.Detect.Groups[0], c.Detect.Groups[1]
	if len(c.Detect.Groups) != 2 || len(hosts.Features) != 1 || hosts.Features[0].Set != "node_exporter" || !slices.Equal(hosts.Entity, config.Names{"instance"}) {
		t.Errorf("%+v", c.Detect.Groups)
	}
	if hosts.AlarmBudget.String() != "1/w" || hosts.Lateness != nil || hosts.InOrder != nil || hosts.MaxEntities != 10_000 || hosts.Tier != "auto" {
		t.Errorf("defaults of %+v", hosts)
	}
	if web.Lateness == nil || web.Lateness.D != 0 || web.InOrder == nil || *web.InOrder || !slices.Equal(web.Features[1].Metric, config.Names{"queue_length"}) {
		t.Errorf("%+v", web)
	}
	explained := map[string]string{}
	for _, s := range c.Explain() {
		explained[s.Path] = s.Value + " " + s.Source
	}
	f := func(path, want string) {
		t.Helper()
		if got := explained[path]; got != want {
			t.Errorf("%s is explained as %q, want %q", path, got, want)
		}
	}
	f("detect.groups[0].features[0].set", "node_exporter fettle.yaml:4")
	f("detect.groups[0].entity[0]", "instance fettle.yaml:4")
	f("detect.groups[0].lateness", "") // neither written nor a default of its own
	f("detect.groups[1].lateness", "0s fettle.yaml:5")
}
