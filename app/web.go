package app

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/connector/desk"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
	"github.com/fettleops/fettle/web"
)

// sessionLasts is how long a browser stays signed in.
const sessionLasts = 12 * time.Hour

func (a *App) buildWeb() error {
	d := web.Deps{
		Sessions: sessions{a}, Record: record{a.Store}, Series: a.History, Senses: a.senses(), Incidents: a.Correlate, Gate: gate{a.Change, a.Store}, Advice: a.Recommend, Channels: a.Notify, Analytics: a.Analytics, Windows: a.Windows,
		DeskName: config.DeskPlatform, Pulse: a.pulse, Clock: a.Clock, Logger: a.Logger, Version: a.Version,
		Secure: a.Config.Server.TLS != nil || strings.HasPrefix(a.Config.Server.PublicURL, "https://"),
	}
	if conn, ok := a.Platforms[config.DeskPlatform]; ok {
		if inner, ok := conn.Inner().(*desk.Desk); ok {
			d.Desk = inner
		}
	}
	var err error
	a.Web, err = web.New(d)
	return err
}

// record is the store as the pages read it: a change without a ticket of its
// own is told in the tickets of its incident.
type record struct{ *store.Store }

// TicketsAbout returns the tickets that carry a record's story.
func (r record) TicketsAbout(ctx context.Context, subject string) ([]ops.Ticket, error) {
	own, err := r.Store.TicketsAbout(ctx, subject)
	id, isChange := strings.CutPrefix(subject, "change/")
	if err != nil || len(own) > 0 || !isChange {
		return own, err
	}
	c, err := r.Store.Change(ctx, id)
	if err != nil || c.IncidentID == "" {
		return nil, err
	}
	return r.Store.TicketsAbout(ctx, ops.IncidentSubject(c.IncidentID))
}

// gate is the change room together with what the store knows of the switch.
type gate struct {
	*change.Room
	store *store.Store
}

// ExecutionStopped tells whether all execution is stopped, and why.
func (g gate) ExecutionStopped(ctx context.Context) (reason string, stopped bool, err error) {
	return g.store.ExecutionStopped(ctx)
}

// sessions turns tokens into browser sessions.
type sessions struct{ app *App }

// SignIn opens a session for a token.
func (s sessions) SignIn(ctx context.Context, token string) (cookie, csrf string, err error) {
	t, err := s.app.Store.PrincipalBySecret(ctx, token)
	if err != nil {
		return "", "", err
	}
	err = s.app.DB.Write(ctx, func(tx db.Tx) error {
		id, made, err := s.app.Store.CreateSession(ctx, tx, t, sessionLasts)
		cookie, csrf = id, made.CSRF
		return err
	})
	return cookie, csrf, err
}

// Session returns who a cookie belongs to.
func (s sessions) Session(ctx context.Context, cookie string) (ops.Principal, string, error) {
	found, err := s.app.Store.SessionByID(ctx, cookie)
	return found.Principal, found.CSRF, err
}

// SignOut ends a session.
func (s sessions) SignOut(ctx context.Context, cookie string) error {
	return s.app.DB.Write(ctx, func(tx db.Tx) error { return s.app.Store.EndSession(ctx, tx, cookie) })
}

// pulse counts what came in over the last minute, in buckets of five seconds.
type pulse struct {
	now func() time.Time

	mu      sync.Mutex
	buckets [13]beat // one more than a minute, so that the oldest may be cut off
}

type beat struct {
	slot            int64
	samples, alerts int64
}

const beatLength = 5 * time.Second

func (p *pulse) add(samples, alerts int64) {
	slot := p.now().UnixNano() / int64(beatLength)
	p.mu.Lock()
	defer p.mu.Unlock()
	b := &p.buckets[slot%int64(len(p.buckets))]
	if b.slot != slot {
		*b = beat{slot: slot}
	}
	b.samples += samples
	b.alerts += alerts
}

// Pulse returns the samples and alerts of the last minute.
func (p *pulse) Pulse(context.Context) (samples, alerts int64, err error) {
	slot := p.now().UnixNano() / int64(beatLength)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.buckets {
		if slot-b.slot < int64(len(p.buckets)-1) {
			samples += b.samples
			alerts += b.alerts
		}
	}
	return samples, alerts, nil
}

// redacted takes credentials out of URLs in text that tools print.
func redacted(s string) string { return redact.Text(s) }
