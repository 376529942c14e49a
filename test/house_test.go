package test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/app"
	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/connector/opscenter/opscentertest"
	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/execute/cloudformation/cloudformationtest"
	"github.com/fettleops/fettle/ops"
)

// The hosts of the network, and the secrets nobody may ever find in a log or
// in a file.
const (
	fettleHost    = "fettle.test"
	snowHost      = "snow.test"
	opsHost       = "opscenter.test"
	snowPassword  = "snow-password-8c1f"
	senderToken   = "sender-token-41d7"
	payloadMarker = "raw-payload-marker-93b0"
)

// shared is the configuration of every story.
const shared = `
server: {public_url: "http://fettle.test"}
detect: {host: {enabled: false}}
teams: [{name: Shop, time_zone: Europe/Berlin, backlog_snapshot: "19:00", assignment_group: Service Desk}]
people:
  - {name: ann, roles: [approver], platforms: {snow: beth.anglin}}
  - {name: bob, roles: [approver]}
  - {name: mia, roles: [change-manager]}
  - {name: ivo, roles: [incident-commander]}
  - {name: ida, roles: [incident-commander]}
  - {name: rob, roles: [responder]}
  - {name: vic, roles: [viewer]}
integrations:
  - {name: prom, source: alertmanager, auth: {bearer: "file:%[1]s/sender"}}
  - {name: densify, source: densify, auth: {bearer: "file:%[1]s/sender"}, options: {currency: USD, per: month}}
platforms:
  - {name: snow, connector: servicenow, url: "http://snow.test", auth: {basic: {username: fettle, password: "file:%[1]s/snow"}}}
routes:
  - {match: "true", platform: snow, team: Shop}
  - {match: "true", platform: desk, team: Shop}
`

// House is a whole installation with everything around it.
type House struct {
	t    testing.TB
	base string // URL of the server
	dir  string
	conf *config.Config
	net  *network
	wire *http.Transport
	snow *simulator.Server
	// orders is where work orders go, when the story has any.
	orders *opscentertest.Service
	logs   *logBook
	app    *app.App
	aws    *cloudformationtest.Account // where the story has one
	sick   atomic.Bool                 // the shop's health check fails

	firing map[string]time.Time // what the sender believes, by fingerprint
	tokens map[string]string    // by name of the person
	shown  ops.Change           // as somebody saw it last
	chat   Chat                 // where channels of the story post to
	stop   func() error
	stops  []func()
	writes int // of ServiceNow, when last looked at
	off    bool
	tune   app.Tune // stories of real time are in a hurry
}

func open(t *testing.T, dir string, s Story) *House {
	t.Helper()
	begin := parseBegin(t, s.Begin)
	time.Sleep(time.Until(begin)) // a bubble begins in the year 2000
	h := build(t, dir)
	text := fmt.Sprintf(cmp.Or(s.Base, shared), dir) + s.Config
	if s.Orders {
		h.orders = opscentertest.New(time.Now)
		h.serve(opsHost, h.orders)
		text = withOrders(text)
	}
	h.configure(text)
	h.serve(snowHost, h.snow)
	if s.World != nil {
		s.World(h)
	}
	h.start()
	return h
}

// dataDir is the installation's data directory, beside its secrets.
const dataDir = "data"

// build makes everything around an installation, its secrets in dir.
func build(t *testing.T, dir string) *House {
	t.Helper()
	h := &House{
		t: t, base: "http://" + fettleHost, dir: filepath.Join(dir, dataDir), net: newNetwork(), logs: &logBook{},
		firing: map[string]time.Time{}, tokens: map[string]string{},
	}
	h.wire = h.net.transport()
	for name, secret := range map[string]string{"snow": snowPassword, "sender": senderToken} {
		h.must(os.WriteFile(filepath.Join(dir, name), []byte(secret+"\n"), 0o600))
	}
	h.snow = simulator.New(simulator.Config{Clock: time.Now, Users: map[string]string{"fettle": snowPassword, "beth.anglin": "beth.anglin", "abel.tuter": "abel.tuter", "admin": "admin"}})
	return h
}

func (h *House) configure(text string) {
	h.t.Helper()
	var err error
	h.conf, err = config.Load("story.yaml", []byte(text))
	h.must(err)
}

// serve answers a host of the network until the house closes.
func (h *House) serve(host string, handler http.Handler) {
	srv := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	l := h.net.listen(host)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	h.stops = append(h.stops, func() { _ = srv.Close(); <-done })
}

// start opens the application on the data directory and waits until it answers.
func (h *House) start() {
	h.t.Helper()
	ready := make(chan struct{})
	a, err := app.New(h.t.Context(), app.Options{
		Config: h.conf, DataDir: h.dir, Listener: h.net.listen(fettleHost), Clock: time.Now, Version: "test",
		Logger:    slog.New(slog.NewJSONHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Transport: buffered{h.wire}, Ready: func(string) { close(ready) }, Tune: h.tune,
	})
	h.must(err)
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	select {
	case <-ready:
	case err := <-done:
		cancel()
		h.t.Fatalf("the server ended: %v", err)
	}
	h.app = a
	h.stop = func() error { cancel(); return <-done }
	secret, err := os.ReadFile(filepath.Join(h.dir, app.AdminTokenFile))
	h.must(err)
	h.tokens["admin"] = strings.TrimSpace(string(secret))
}

func (h *House) restart() {
	h.t.Helper()
	if h.off {
		return
	}
	h.wire.CloseIdleConnections()
	h.must(h.stop())
	h.start()
}

// Off stops the server, On starts it again.
func Off(h *House) error {
	h.wire.CloseIdleConnections()
	h.off = true
	return h.stop()
}

// On starts a server that was stopped.
func On(h *House) error {
	h.off = false
	h.start()
	return nil
}

// close stops everything and looks for secrets in what is left.
func (h *House) close() {
	h.t.Helper()
	if !h.t.Failed() {
		h.checkTrails()
	}
	h.wire.CloseIdleConnections()
	if err := h.stop(); err != nil {
		h.t.Errorf("the server ended with: %v", err)
	}
	h.wire.CloseIdleConnections()
	for _, f := range h.stops {
		f()
	}
	h.checkSecrets()
}

// as returns a client with a person's token, made when first asked for.
func (h *House) as(who string) *client.Client {
	h.t.Helper()
	if h.tokens[who] == "" {
		made, err := h.as("admin").CreateToken(h.t.Context(), api.NewToken{For: who, Name: "story"})
		h.must(err)
		h.tokens[who] = made.Token
	}
	return client.New(h.base, h.tokens[who]).Through(h.wire)
}

// checkTrails checks every hash chain.
func (h *House) checkTrails() {
	h.t.Helper()
	incidents, err := h.as("admin").Incidents(h.t.Context(), nil)
	h.must(err)
	changes, err := h.as("admin").Changes(h.t.Context(), nil)
	h.must(err)
	var keys []string
	for _, i := range incidents.Items {
		keys = append(keys, i.Key)
	}
	for _, c := range changes.Items {
		keys = append(keys, c.Key)
	}
	for _, k := range keys {
		trail, err := h.as("admin").Trail(h.t.Context(), k, true)
		h.must(err)
		if !trail.Intact || len(trail.Entries) == 0 {
			h.t.Errorf("the trail of %s: %d entries, %s", k, len(trail.Entries), trail.Verified)
		}
	}
}

// checkSecrets looks into the logs and the files of the data directory.
func (h *House) checkSecrets() {
	h.t.Helper()
	secrets := map[string]string{"the password of ServiceNow": snowPassword, "the sender's token": senderToken}
	for who, token := range h.tokens {
		secrets["the token of "+who] = token
	}
	logs := h.logs.bytes()
	for what, secret := range secrets {
		if bytes.Contains(logs, []byte(secret)) {
			h.t.Errorf("%s is in the log", what)
		}
	}
	secrets["a raw payload"] = payloadMarker
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for what, secret := range secrets {
			mine := d.Name() == app.AdminTokenFile && what == "the token of admin"
			if !mine && bytes.Contains(b, []byte(secret)) {
				h.t.Errorf("%s is in clear in %s", what, d.Name())
			}
		}
		return nil
	})
	h.must(err)
}

func (h *House) must(err error) {
	h.t.Helper()
	if err != nil {
		h.fatalf("%v", err)
	}
}

// fatalf ends the test with the last lines of the log.
func (h *House) fatalf(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf(format+"\nthe log's last lines of note:\n%s", append(args, h.logs.tail(20))...)
}

// local is the time in Berlin.
func (h *House) local() string {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		return err.Error()
	}
	return time.Now().In(berlin).Format("Mon 2006-01-02 15:04:05 MST")
}

// logBook keeps everything that was logged.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBook) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.buf.Bytes())
}

// tail returns the last lines above debug level.
func (l *logBook) tail(n int) string {
	var out []string
	for line := range strings.Lines(string(l.bytes())) {
		if !strings.Contains(line, `"level":"DEBUG"`) {
			out = append(out, line)
		}
	}
	return strings.Join(out[max(0, len(out)-n):], "")
}
