// Package api is the JSON API under /api/v1: what the command line and other
// tools use. Its OpenAPI description is served at /api/openapi.yaml and made
// from the same types that decode the requests, so it cannot drift from them.
//
// Every request needs a bearer token or the session of the web pages. Errors
// are RFC 9457 problems whose status follows the class of the error.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fettleops/fettle/analytics"
	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/ops"
)

// Incidents answers about incidents.
type Incidents interface {
	Incidents(ctx context.Context, f ops.IncidentFilter) ([]ops.Incident, error)
	Incident(ctx context.Context, idOrKey string) (ops.Incident, error)
	FirstMembers(ctx context.Context, incidentID string, most int) ([]ops.Member, error)
	MembersAfter(ctx context.Context, incidentID, fingerprint string, most int) ([]ops.Member, error)
	TicketsAbout(ctx context.Context, subject string) ([]ops.Ticket, error)
}

// Changes answers about changes.
type Changes interface {
	Changes(ctx context.Context, f ops.ChangeFilter) ([]ops.Change, error)
	Change(ctx context.Context, idOrKey string) (ops.Change, error)
	Plan(ctx context.Context, id string) (ops.Plan, error)
	ExecutionStopped(ctx context.Context) (reason string, stopped bool, err error)
}

// Story answers what happened.
type Story interface {
	Trail(ctx context.Context, subject string) ([]ops.TrailEntry, error)
	VerifyChain(ctx context.Context, subject string) error
	FactsAfter(ctx context.Context, after int64, limit int, kinds ...ops.FactKind) ([]ops.Fact, error)
	LastFact(ctx context.Context) (int64, error)
}

// Desk is what people do to incidents.
type Desk interface {
	Move(ctx context.Context, by ops.Principal, idOrKey string, to ops.IncidentState, why, via string) (ops.Incident, error)
	Comment(ctx context.Context, by ops.Principal, idOrKey, text, via string) error
}

// Gate is what people do to changes.
type Gate interface {
	Raise(ctx context.Context, by ops.Principal, q change.Request, via string) (ops.Change, error)
	Decide(ctx context.Context, by ops.Principal, idOrKey string, d ops.Decision, digest, comment, via string) (ops.Change, error)
	Cancel(ctx context.Context, by ops.Principal, idOrKey, why, via string) (ops.Change, error)
	DecideHeld(ctx context.Context, by ops.Principal, idOrKey string, word change.Resolution, why string) (ops.Change, error)
	BreakGlass(ctx context.Context, by ops.Principal, idOrKey, freeze, reason string) (ops.Change, error)
	SignReview(ctx context.Context, by ops.Principal, idOrKey, note string) (ops.Change, error)
	StopExecution(ctx context.Context, by ops.Principal, reason string) error
	ResumeExecution(ctx context.Context, by ops.Principal, reason string) error
}

// Numbers answers how well it goes.
type Numbers interface {
	Backlog(ctx context.Context, team string, from, to time.Time, step time.Duration) ([]analytics.BacklogPoint, error)
	MTTR(ctx context.Context, team string, from, to time.Time) (analytics.Resolution, error)
}

// Snapshots are the daily counts.
type Snapshots interface {
	Snapshots(ctx context.Context, team string, from, to time.Time) ([]ops.BacklogSnapshot, error)
}

// Tokens makes and revokes credentials.
type Tokens interface {
	CreateToken(ctx context.Context, by ops.Principal, r NewToken) (CreatedToken, error)
	RevokeToken(ctx context.Context, by ops.Principal, id string) error
	ListTokens(ctx context.Context) ([]TokenView, error)
}

// Door is the front door, for set-up tests.
type Door interface {
	// Send delivers a payload as if its sender had been authenticated. name is
	// an integration or, where only one has it, a source.
	Send(ctx context.Context, name, contentType string, body []byte) (outcome string, err error)
	// Integrations says of each integration what is wrong with it.
	Integrations(ctx context.Context) ([]IntegrationView, error)
}

// Platforms answers about ticket platforms and works on them at once.
type Platforms interface {
	Platforms(ctx context.Context) ([]PlatformView, error)
	// CheckPlatform tries the connection; its error says what is wrong.
	CheckPlatform(ctx context.Context, name string) error
	// SyncPlatform fetches what people did there.
	SyncPlatform(ctx context.Context, name string) error
	// AuditPlatform merges work items that slipped through twice.
	AuditPlatform(ctx context.Context, name string) error
}

// Deps is what the API is plugged into.
type Deps struct {
	Incidents  Incidents
	Changes    Changes
	Story      Story
	Desk       Desk
	Gate       Gate
	Numbers    Numbers
	Snapshots  Snapshots
	Tokens     Tokens
	Door       Door
	Platforms  Platforms
	Senses     Senses
	Bootstraps Bootstraps

	Recommendations Recommendations
	Dismisser       Dismisser

	Notifications Notifications
	Channels      Channels

	Windows   Windows
	Conflicts Conflicts
	Resources Resources
	// Bearer returns the principal a token belongs to, ErrDenied for none.
	Bearer func(ctx context.Context, token string) (ops.Principal, error)
	// Session returns the principal of the web pages' session, if there is one.
	// Unsafe methods through it must come from the same origin.
	Session func(r *http.Request) (ops.Principal, bool)
	Clock   clock.Clock
	Logger  *slog.Logger
	Version string
}

// API serves the requests.
type API struct {
	Deps
	huma   huma.API
	mux    *http.ServeMux
	origin *http.CrossOriginProtection
}

// Prefix is where the API lives.
const Prefix = "/api/"

// New returns the API as a handler of everything below Prefix.
func New(d Deps) *API {
	d.Logger = d.Logger.With(slog.String("room", "api"))
	a := &API{Deps: d, mux: http.NewServeMux(), origin: http.NewCrossOriginProtection()}
	cfg := huma.DefaultConfig("Fettle", d.Version)
	cfg.OpenAPIPath = "/api/openapi"
	cfg.DocsPath = "" // its viewer would load from a CDN
	cfg.SchemasPath = "/api/schemas"
	cfg.CreateHooks = nil // no $schema links: answers hold data only
	cfg.Info.Description = "Close the loop of IT operations."
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	cfg.Security = []map[string][]string{{"token": {}}}
	a.huma = humago.New(a.mux, cfg)
	a.routes()
	a.mux.HandleFunc("GET "+eventsPath, a.events)
	a.huma.OpenAPI().AddOperation(a.eventsOperation())
	return a
}

// OpenAPI returns the description in YAML.
func (a *API) OpenAPI() ([]byte, error) { return a.huma.OpenAPI().YAML() }

// callerKey is where ServeHTTP leaves the authenticated caller for handlers.
type callerKey struct{}

func caller(ctx context.Context) ops.Principal {
	p, _ := ctx.Value(callerKey{}).(ops.Principal)
	return p
}

// ServeHTTP authenticates and serves a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	by, err := a.authenticate(r)
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="fettle"`)
		writeProblem(w, http.StatusUnauthorized, "This needs a credential: send Authorization: Bearer with a token made by fettle tokens create.")
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	a.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, by)))
}

func (a *API) authenticate(r *http.Request) (ops.Principal, error) {
	if token, ok := BearerToken(r); ok {
		return a.Bearer(r.Context(), token)
	}
	if a.Session != nil {
		if by, ok := a.Session(r); ok {
			return by, a.origin.Check(r)
		}
	}
	return ops.Principal{}, ops.ErrDenied
}

// BearerToken returns the token of an Authorization header (RFC 6750).
func BearerToken(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}
