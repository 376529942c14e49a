package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/intake"
	sources "github.com/fettleops/fettle/intake/all"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/httpx"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

// The files a running server leaves in its data directory for fettle commands
// on the same machine.
const (
	AddressFile    = "address"
	AdminTokenFile = "admin.token"
)

func (a *App) buildDoor(ctx context.Context) error {
	metrics, err := intake.NewMetrics(a.metrics)
	if err != nil {
		return err
	}
	a.doorOptions = a.doorSettings()
	a.doorOptions.Metrics = metrics
	if a.Door, err = intake.Open(ctx, a.doorOptions); err != nil {
		return err
	}
	for _, p := range a.Door.Pulls() {
		a.loops = append(a.loops, loop{"integration " + p.Integration, p.Run})
	}
	return nil
}

func (a *App) doorSettings() intake.Options {
	var integrations []intake.Integration
	for _, i := range a.Config.Integrations {
		integrations = append(integrations, integration(i))
	}
	transport := a.Transport
	if transport == nil {
		// Senders name these URLs: nothing inside the network may be reached through them.
		transport = &http.Transport{DialContext: (&httpx.Guard{}).DialContext, TLSHandshakeTimeout: 5 * time.Second, ForceAttemptHTTP2: true}
	}
	return intake.Options{
		DB: a.DB, Log: wakingLog{a.Store, a.Correlate.Wake, a.Recommend.Wake, a.pulse}, Samples: a.Samples, Drivers: sources.Drivers(), Integrations: integrations, Clock: a.Clock, Logger: a.Logger,
		Limits: intake.Limits{Depth: int64(a.Config.Server.QueueDepth)},
		Secret: references{}.Resolve, Fetch: intake.NewHTTPFetcher(transport), Parameter: a.readParameter, LoopbackDemo: a.LoopbackDemo,
		Leases: a.Store.Leases, Holder: a.Store.NewID(), Transport: a.Transport,
	}
}

// integration is an entry of the configuration in the words of the front door.
func integration(i config.Integration) intake.Integration {
	in := intake.Integration{Name: i.Name, Source: i.Source, Auth: i.Auth, Redact: i.Redact}
	if !i.Options.IsZero() {
		in.Options = i.Options
	}
	return in
}

// wakingLog is the signal log that wakes its followers when it grows.
type wakingLog struct {
	*store.Store
	wake   func()
	advise func()
	pulse  *pulse
}

// AppendEncoded appends a message and, once it is durable, wakes who follows.
func (l wakingLog) AppendEncoded(ctx context.Context, tx db.Tx, m ops.Message, body, raw []byte) (bool, error) {
	tx.AfterCommit(func() {
		l.pulse.add(0, int64(len(m.Signals)))
		l.wake()
		if slices.ContainsFunc(m.Signals, ops.Signal.Advice) {
			l.advise()
		}
	})
	return l.Store.AppendEncoded(ctx, tx, m, body, raw)
}

func (a *App) connectorMetrics() func(platform string) func(op string, took time.Duration, err error) {
	calls := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "fettle_connector_call_duration_seconds", Help: "Calls to platforms by operation and class of outcome.", Buckets: prometheus.ExponentialBuckets(0.005, 3, 9),
	}, []string{"platform", "operation", "outcome"})
	a.metrics.MustRegister(calls)
	return func(platform string) func(string, time.Duration, error) {
		return func(op string, took time.Duration, err error) {
			outcome := "ok"
			if err != nil {
				outcome = ops.Class(err).Error()
			}
			calls.WithLabelValues(platform, op, outcome).Observe(took.Seconds())
		}
	}
}

func (a *App) buildServers(context.Context) error {
	if err := a.buildWeb(); err != nil {
		return err
	}
	a.API = api.New(api.Deps{
		Incidents: a.Store, Changes: a.Store, Story: a.Store, Desk: a.Correlate, Gate: a.Change, Numbers: a.Analytics, Snapshots: a.Store,
		Tokens: tokens{a}, Door: frontDoor{a}, Platforms: frontDoor{a}, Senses: a.senses(), Bootstraps: a.Pipeline, Recommendations: a.Store, Dismisser: a.Recommend, Notifications: a.Store, Channels: a.Notify, Windows: a.Windows, Conflicts: conflicts{a}, Resources: a.Store, Bearer: a.bearer, Session: a.Web.Principal, Clock: a.Clock, Logger: a.Logger, Version: a.Version,
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("GET /readyz", a.guarded(http.HandlerFunc(a.readyz)))
	mux.Handle("GET /metrics", a.guarded(promhttp.HandlerFor(a.metrics, promhttp.HandlerOpts{})))
	mux.Handle("/in/", a.Door)
	mux.Handle(api.Prefix, a.API)
	mux.Handle("/", a.Web)
	a.handler = mux
	return nil
}

// guarded lets through who may read.
func (a *App) guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := api.BearerToken(r)
		by, err := a.bearer(r.Context(), token)
		if err != nil || !by.May(ops.MayRead) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="fettle"`)
			http.Error(w, "this needs a credential", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (a *App) bearer(ctx context.Context, token string) (ops.Principal, error) {
	if token == "" {
		return ops.Principal{}, ops.ErrDenied
	}
	t, err := a.Store.PrincipalBySecret(ctx, token)
	return t.Principal, err
}

func (a *App) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	_, err := a.Store.LastFact(ctx)
	if err := errors.Join(err, a.Queue.Ready(ctx)); err != nil {
		a.Logger.LogAttrs(ctx, slog.LevelWarn, "not ready", slog.Any("error", err))
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

func (a *App) publicURL() string {
	if a.Config.Server.PublicURL != "" {
		return a.Config.Server.PublicURL
	}
	scheme := "http"
	if a.Config.Server.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + a.address()
}

func (a *App) address() string {
	switch {
	case a.Listener != nil:
		return a.Listener.Addr().String()
	case a.Options.Listen != "":
		return a.Options.Listen
	}
	return a.Config.Server.Listen
}

// secure is what the listeners speak TLS with; nil is plain text.
func (a *App) secure(ctx context.Context) (*tls.Config, error) {
	t := a.Config.Server.TLS
	if t == nil {
		return nil, nil
	}
	cert, err := resolve(ctx, t.Cert)
	if err != nil {
		return nil, err
	}
	key, err := resolve(ctx, t.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair([]byte(cert.Reveal()), []byte(key.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("server.tls: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

func (a *App) listen(ctx context.Context, secure *tls.Config) (net.Listener, string, error) {
	l := a.Listener
	if l == nil {
		var err error
		var lc net.ListenConfig
		if l, err = lc.Listen(ctx, "tcp", a.address()); err != nil {
			return nil, "", fmt.Errorf("listen on %s: %w", a.address(), err)
		}
	}
	if secure != nil {
		secure = secure.Clone()
		secure.NextProtos = []string{"h2", "http/1.1"}
		return tls.NewListener(l, secure), "https://" + l.Addr().String(), nil
	}
	return l, "http://" + l.Addr().String(), nil
}

func (a *App) server() *http.Server {
	s := &http.Server{
		Handler: a.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(a.Logger.Handler(), slog.LevelDebug),
	}
	s.RegisterOnShutdown(a.Web.Close) // open pages would hold up the drain
	return s
}

// announce tells people and commands on this machine where the server is.
func (a *App) announce(ctx context.Context, base string) {
	path := filepath.Join(a.DataDir, AddressFile)
	if err := os.WriteFile(path, []byte(base+"\n"), 0o600); err != nil {
		a.Logger.LogAttrs(ctx, slog.LevelWarn, "commands on this machine must be told --server", slog.Any("error", err))
	}
	a.Logger.LogAttrs(ctx, slog.LevelInfo, "ready", slog.String("url", base), slog.String("data_dir", a.DataDir), slog.String("version", a.Version))
	if a.Ready != nil {
		a.Ready(base)
	}
}

// adminMade is set once the first admin token is safely in its file.
const adminMade = "first_admin_token"

// configInForce is the digest of the configuration the newest start brought.
const configInForce = "config_digest"

// executionSwitch stops execution for all, by the switch people have, or for
// this replica alone, when another one has started with another configuration.
type executionSwitch struct{ app *App }

// ExecutionStopped tells whether this replica may execute, and why not.
func (s executionSwitch) ExecutionStopped(ctx context.Context) (reason string, stopped bool, err error) {
	reason, stopped, err = s.app.Store.ExecutionStopped(ctx)
	if err != nil || stopped {
		return reason, stopped, err
	}
	digest, _, err := s.app.Store.Setting(ctx, configInForce)
	if err != nil || digest == s.app.digest {
		return "", false, err
	}
	return "the configuration of this replica is not the one in force; restart it with the newest file", true, nil
}

// settle does what needs the whole house: it takes in the people and resources
// of the configuration, records that it is in force, and makes the first token.
func (a *App) settle(ctx context.Context) error {
	err := a.DB.Write(ctx, func(tx db.Tx) error {
		for _, p := range a.Config.People {
			who := ops.Principal{Name: p.Name, Kind: ops.Person, Teams: p.Teams, Platforms: p.Platforms}
			for _, r := range p.Roles {
				who.Roles = append(who.Roles, ops.Role(r))
			}
			if _, err := a.Store.UpsertPrincipal(ctx, tx, who); err != nil {
				return err
			}
		}
		var declared []ops.Resource
		for _, r := range a.Config.Resources {
			declared = append(declared, ops.Resource{ID: r.ID, Kind: r.Kind, Name: r.ID, Aliases: r.Aliases, Labels: r.Labels, DependsOn: r.DependsOn})
		}
		if err := a.Store.DeclareResources(ctx, tx, ops.SystemPrincipal, declared); err != nil {
			return err
		}
		if err := a.Store.SetSetting(ctx, tx, configInForce, a.digest); err != nil {
			return err
		}
		_, err := a.Store.Tell(ctx, tx, ops.NewFact(ops.SystemSubject, a.Clock(), ops.SystemPrincipal, "", ops.ConfigLoadedBody{Digest: a.digest, Source: "start"}))
		return err
	})
	if err != nil {
		return fmt.Errorf("take in the configuration: %w", err)
	}
	return a.firstToken(ctx)
}

// firstToken makes the admin token of a new installation. A crash between the
// token and its file leaves the setting unset, and the next start makes another.
func (a *App) firstToken(ctx context.Context) error {
	_, made, err := a.Store.Setting(ctx, adminMade)
	if err != nil || made {
		return err
	}
	var secret string
	err = a.DB.Write(ctx, func(tx db.Tx) error {
		admin, err := a.Store.UpsertPrincipal(ctx, tx, ops.Principal{Name: "admin", Kind: ops.Person, Roles: []ops.Role{ops.Admin}})
		if err != nil {
			return err
		}
		secret, _, err = a.Store.CreateToken(ctx, tx, ops.SystemPrincipal, admin, "first start", time.Time{})
		return err
	})
	if err != nil {
		return fmt.Errorf("make the admin token: %w", err)
	}
	path := filepath.Join(a.DataDir, AdminTokenFile)
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the admin token: %w", err)
	}
	a.Logger.LogAttrs(ctx, slog.LevelInfo, "admin token written", slog.String("path", path))
	return a.DB.Write(ctx, func(tx db.Tx) error { return a.Store.SetSetting(ctx, tx, adminMade, "made") })
}
