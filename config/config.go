// Package config reads Fettle's one configuration file: strict YAML whose every fault
// is reported at once, with file, line, column, path and the nearest known key.
//
// It knows the sections of the file and none of the drivers: what belongs to a driver
// (auth, options, the keys of an executor) stays a Raw, which the driver decodes. A
// section appears here when the room that obeys it exists; until then it is an unknown
// key, so that nothing is silently ignored.
//
// The comments on the fields are the reference: the JSON Schema is generated from them
// (go test ./config -run TestSchema -update).
package config

import (
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/internal/strictyaml"
	"github.com/fettleops/fettle/internal/unit"
)

// The types of the values, under the names this package's users know.
type (
	// Raw is a driver's subtree, not yet decoded.
	Raw = strictyaml.Raw
	// Fault is one thing wrong in the file.
	Fault = strictyaml.Fault
	// Faults is the error of Load and Validate: every fault.
	Faults = strictyaml.Faults
	// Duration is written 5m, 72h or 30d.
	Duration = unit.Duration
	// Size is written 64MiB.
	Size = unit.Size
	// Rate is written 10/h.
	Rate = unit.Rate
	// Percent is written 5%.
	Percent = unit.Percent
	// Clock is written "19:00".
	Clock = unit.Clock
	// Civil is written 2026-12-20T00:00.
	Civil = unit.Civil
	// Zone is written Europe/Berlin.
	Zone = unit.Zone
)

// DeskPlatform is the platform that always exists: the ticket desk inside Fettle.
const DeskPlatform = "desk"

// Config is the whole file. It is not changed after Load and may be shared.
type Config struct {
	// Where Fettle listens and what it needs to do so.
	Server Server `yaml:"server"`
	// Where Fettle keeps its data. Default: SQLite in the data directory.
	Store Store `yaml:"store"`
	// The teams that own tickets. Default: none.
	Teams []Team `yaml:"teams"`
	// Who may approve, and who they are in each platform. Default: none.
	People []Person `yaml:"people"`
	// Names, aliases and dependencies beyond what is discovered. Default: none.
	Resources []Resource `yaml:"resources"`
	// How long data is kept.
	Retention Retention `yaml:"retention"`
	// The front door: each is POST /in/<name>. Default: none.
	Integrations []Integration `yaml:"integrations"`
	// Fettle's own senses and rules.
	Detect Detect `yaml:"detect"`
	// How alerts become incidents.
	Correlate Correlate `yaml:"correlate"`
	// Where tickets live. The platform desk is always there. Default: desk alone.
	Platforms []Platform `yaml:"platforms"`
	// Which incident gets a ticket where; of each platform the first route that matches counts. Default: every incident to desk.
	Routes []Route `yaml:"routes"`
	// When changes may run. A change that matches no window waits. Default: none.
	Windows []Window `yaml:"windows"`
	// When changes may not run, whatever the windows say. Default: none.
	Freezes []Freeze `yaml:"freezes"`
	// Who approves, and how much may happen without a person.
	Policies Policies `yaml:"policies"`
	// What carries out a change. Default: none.
	Executors []Executor `yaml:"executors"`
	// Where recommended values become readable, in the window of their change.
	Parameters Parameters `yaml:"parameters"`
	// What to do about which alert. Default: none.
	Runbooks []Runbook `yaml:"runbooks"`
	// How it is judged whether a change helped.
	Verify Verification `yaml:"verify"`
	// Which recommendations become changes.
	Recommendations Recommendations `yaml:"recommendations"`
	// What resources cost an hour, for the realised saving. Default: none, and it stays unknown.
	Prices []Price `yaml:"prices"`
	// Who is told what. Default: nobody.
	Notify []NotifyChannel `yaml:"notify"`

	file   string
	places map[string]strictyaml.Position
}

// Server is the section server.
type Server struct {
	// Address of the API, the pages and the front door. Default: 127.0.0.1:8420.
	Listen string `yaml:"listen"`
	// Address of OTLP metrics over gRPC, usually port 4317; under server.tls where that is set. Default: none, gRPC is off.
	ListenGRPC string `yaml:"listen_grpc"`
	// Key that encrypts stored artefacts, as a secret reference. Required with PostgreSQL. Default: made in the data directory.
	DataKey secret.Ref `yaml:"data_key"`
	// URL under which people and platforms reach Fettle; links in tickets begin with it. Default: http:// and the listen address.
	PublicURL string `yaml:"public_url"`
	// Certificate and key of the listeners. Default: none, plain HTTP.
	TLS *TLS `yaml:"tls"`
	// Deliveries that may wait to be correlated; beyond that the front door answers 503 with Retry-After. Default: 200000.
	QueueDepth int `yaml:"queue_depth"`
}

// TLS is the section server.tls.
type TLS struct {
	// Certificate chain in PEM, as a reference; the file may be readable by everyone.
	Cert secret.Ref `yaml:"cert,required"`
	// Private key in PEM, as a secret reference.
	Key secret.Ref `yaml:"key,required"`
}

// Defaults marks the certificate as no secret.
func (t *TLS) Defaults() { t.Cert.Public = true }

// Store is the section store.
type Store struct {
	// URL of a PostgreSQL database, as a secret reference. Default: none, SQLite in the data directory.
	Postgres secret.Ref `yaml:"postgres"`
}

// Team is an entry of teams.
type Team struct {
	// Name, unique.
	Name string `yaml:"name,required"`
	// IANA time zone in which the team's days begin. Default: UTC.
	TimeZone Zone `yaml:"time_zone"`
	// Name of the team's group in the platforms. Default: the name.
	AssignmentGroup string `yaml:"assignment_group"`
	// Local time at which the backlog is counted each day. Default: 19:00.
	BacklogSnapshot Clock `yaml:"backlog_snapshot"`
}

// Defaults sets the snapshot time.
func (t *Team) Defaults() { t.BacklogSnapshot = Clock{Hour: 19} }

// Person is an entry of people.
type Person struct {
	// Name, unique; tokens are made for it.
	Name string `yaml:"name,required"`
	// Roles the person holds, for example application-owner. Default: none.
	Roles []string `yaml:"roles"`
	// Teams the person belongs to. Default: none.
	Teams []string `yaml:"teams"`
	// User name of the person by platform; an approval by any other user does not count. Default: none.
	Platforms map[string]string `yaml:"platforms"`
	// Who decides in this person's name while they are away. Default: nobody.
	Delegate *Delegate `yaml:"delegate"`
}

// Delegate is the section delegate of a person. The delegate decides with the
// rights of the absent person, and never about what either of them requested.
type Delegate struct {
	// Name of the person who decides.
	To string `yaml:"to,required"`
	// Local date and time it begins.
	From Civil `yaml:"from,required"`
	// Local date and time it ends.
	Until Civil `yaml:"until,required"`
	// IANA time zone of both. Default: UTC.
	TimeZone Zone `yaml:"time_zone"`
}

// Resource is an entry of resources.
type Resource struct {
	// Identifier, unique.
	ID string `yaml:"id,required"`
	// Kind, for example database or host. Default: none.
	Kind string `yaml:"kind"`
	// Other names of the same thing, for example an ARN, unique over all resources. Default: none.
	Aliases []string `yaml:"aliases"`
	// Labels that rules, windows and policies match on. Default: none.
	Labels map[string]string `yaml:"labels"`
	// Identifiers of resources this one needs. Default: none.
	DependsOn []string `yaml:"depends_on"`
}

// Retention is the section retention. Facts are kept for ever.
type Retention struct {
	// Raw payloads. Default: 30d.
	Raw Duration `yaml:"raw"`
	// Alerts. Default: 400d.
	Alerts Duration `yaml:"alerts"`
	// Series at one-minute resolution. Default: 30d.
	Series1m Duration `yaml:"series_1m"`
	// Series at one-hour resolution. Default: 400d.
	Series1h Duration `yaml:"series_1h"`
}

// Defaults sets all four spans.
func (r *Retention) Defaults() {
	r.Raw, r.Series1m = unit.MustDuration("30d"), unit.MustDuration("30d")
	r.Alerts, r.Series1h = unit.MustDuration("400d"), unit.MustDuration("400d")
}

// Integration is an entry of integrations.
type Integration struct {
	// Name, unique; the last part of the URL: lower-case letters, digits, - and _.
	Name string `yaml:"name,required"`
	// Kind of sender, for example alertmanager.
	Source string `yaml:"source,required"`
	// How the sender proves who it is; the keys depend on the method. Required unless the source fetches.
	Auth Raw `yaml:"auth"`
	// What the source needs beyond that. Default: none.
	Options Raw `yaml:"options"`
	// JSON pointers to personal fields in payloads, which are not stored. Default: none.
	Redact []string `yaml:"redact"`
}

// Platform is an entry of platforms.
type Platform struct {
	// Name, unique.
	Name string `yaml:"name,required"`
	// Driver, for example servicenow.
	Connector string `yaml:"connector,required"`
	// Address of the platform. Default: none.
	URL string `yaml:"url"`
	// How Fettle signs in; the keys depend on the connector. Default: none.
	Auth Raw `yaml:"auth"`
	// How the two sides are kept equal.
	Sync Sync `yaml:"sync"`
	// What the connector needs beyond that. Default: none.
	Options Raw `yaml:"options"`
}

// Sync is the section sync of a platform.
type Sync struct {
	// How often changes are fetched. Default: 30s.
	Every Duration `yaml:"every"`
	// Whose value stands when both sides changed a field; ask leaves both until a person decides. Default: platform_wins.
	Conflict string `yaml:"conflict" enum:"platform_wins,fettle_wins,newest_wins,ask"`
}

// Defaults sets the interval and the policy.
func (s *Sync) Defaults() {
	s.Every, s.Conflict = unit.MustDuration("30s"), "platform_wins"
}

// Route is an entry of routes.
type Route struct {
	// CEL over incident; over change and resource for the kinds of changes.
	Match string `yaml:"match,required"`
	// Platform that gets the ticket.
	Platform string `yaml:"platform,required"`
	// Kind of ticket. The first three are for incidents. A change_request is the
	// ticket of a change: without such a route it is opened at the desk, and a
	// standard change of an incident has none. A work_order asks for the window
	// of an approved change that has none. Default: incident.
	Kind string `yaml:"kind" enum:"event,alert,incident,change_request,work_order"`
	// Team that gets it. Default: none.
	Team string `yaml:"team"`
}

// OfChange tells whether the route is for changes.
func (r Route) OfChange() bool { return r.Kind == "change_request" || r.Kind == "work_order" }

// Defaults sets the kind.
func (r *Route) Defaults() { r.Kind = "incident" }

// Default returns what an empty file means.
func Default() *Config {
	c := &Config{}
	strictyaml.SetDefaults(c)
	return c
}

// Defaults sets what is not a default of a section's own.
func (c *Config) Defaults() {
	c.Server.Listen, c.Server.QueueDepth = "127.0.0.1:8420", 200_000
	c.Platforms = []Platform{desk()}
	c.Routes = []Route{{Match: "true", Platform: DeskPlatform, Kind: "incident"}}
}

func desk() Platform {
	p := Platform{Name: DeskPlatform, Connector: DeskPlatform}
	p.Sync.Defaults()
	return p
}
