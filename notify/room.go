package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

// Journal keeps notifications; *store.Store satisfies it and documents it.
type Journal interface {
	NewID() string
	AddNotification(ctx context.Context, tx db.Tx, n ops.Notification) (bool, error)
	NotificationIn(ctx context.Context, tx db.Tx, id string) (ops.Notification, error)
	SaveNotification(ctx context.Context, tx db.Tx, n ops.Notification) error
	NotificationTries(ctx context.Context, from db.Reader, channel string, after time.Time) ([]time.Time, error)
	WaitingDigest(ctx context.Context, from db.Reader, channel string) (ops.Notification, error)
	EarlierNotification(ctx context.Context, tx db.Tx, channel, subject string, number int64) (bool, error)
	HoldsNotifications(ctx context.Context, tx db.Tx, channel string) (bool, error)
	ListInDigest(ctx context.Context, tx db.Tx, channel, digestID string, limit int) ([]ops.Notification, int, error)
	KeepChannels(ctx context.Context, tx db.Tx, names []string, now time.Time) (map[string]time.Time, error)
	NotificationCounts(ctx context.Context) (map[string]map[ops.NotificationState]int, error)
	NotificationsEnded(ctx context.Context, after time.Time, states ...ops.NotificationState) (map[string]map[ops.NotificationState]int, error)
	Tell(ctx context.Context, tx db.Tx, facts ...ops.Fact) ([]ops.Fact, error)
}

// Ask answers what the room does not hear, from committed state.
type Ask interface {
	Change(ctx context.Context, id string) (ops.Change, error)
	Incident(ctx context.Context, id string) (ops.Incident, error)
	Resource(ctx context.Context, id string) (ops.Resource, error)
	TicketsAbout(ctx context.Context, subject string) ([]ops.Ticket, error)
}

// Route is a configured channel and what it is told.
type Route struct {
	Name    string
	Driver  string // for people
	Channel Channel
	Traits  Traits // with the configured limit
	// On names the facts it hears of; empty is all that are news.
	On []ops.FactKind
	// When must hold; nil always does.
	When *policy.Program
	// GiveUpAfter is how long a notification is tried; default 24 h.
	GiveUpAfter time.Duration
}

// Options are what a Room is made of.
type Options struct {
	DB        *db.DB
	Journal   Journal
	Ask       Ask
	Queue     job.Enqueuer
	Routes    []Route
	PublicURL string // where people reach Fettle, without a slash at the end; empty: no links
	Clock     clock.Clock
	Log       *slog.Logger
	Registry  prometheus.Registerer // nil: no metrics
	// TicketWait is how long a notification waits for its ticket to have a
	// number; default 5 s, negative: not at all.
	TicketWait time.Duration
}

// Room is the notify room. Make it with New and register it.
type Room struct {
	Options
	log    *slog.Logger
	routes map[string]*Route
	since  map[string]time.Time
	metric *metrics
}

// defaultGiveUp is how long a notification is tried: a day later it is no news.
const defaultGiveUp = 24 * time.Hour

// New returns the room.
func New(o Options) (*Room, error) {
	if o.TicketWait == 0 {
		o.TicketWait = 5 * time.Second
	}
	r := &Room{Options: o, log: o.Log.With(slog.String("room", "notify")), routes: map[string]*Route{}}
	r.Routes = slices.Clone(o.Routes)
	for i := range r.Routes {
		x := &r.Routes[i]
		if x.GiveUpAfter <= 0 {
			x.GiveUpAfter = defaultGiveUp
		}
		for _, kind := range x.On {
			if !slices.Contains(ops.Heard("notify"), kind) {
				return nil, fmt.Errorf("notify: channel %s: on %q is none of %v: %w", x.Name, kind, ops.Heard("notify"), ops.ErrInvalid)
			}
		}
		r.routes[x.Name] = x
	}
	var err error
	r.metric, err = newMetrics(o.Registry, r.Journal)
	return r, err
}

// Begin makes the channels known. A channel is told nothing that happened
// before it was there.
func (r *Room) Begin(ctx context.Context) error {
	names := make([]string, len(r.Routes))
	for i, x := range r.Routes {
		names[i] = x.Name
	}
	err := r.DB.Write(ctx, func(tx db.Tx) (err error) {
		r.since, err = r.Journal.KeepChannels(ctx, tx, names, r.now())
		return err
	})
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// Register names the room's work to the queue. It hears all the time, so that
// a channel that comes later finds no old facts in its way.
func (r *Room) Register(q job.Registrar) {
	q.Handle(ops.SendNotice, r.send)
	for _, kind := range ops.Heard("notify") {
		q.Hear("notify", kind, r.hear)
	}
}

func (r *Room) now() time.Time { return r.Clock().UTC().Truncate(time.Millisecond) }

// hear makes the notifications of a fact.
func (r *Room) hear(ctx context.Context, tx db.Tx, f ops.Fact) error {
	var told []*Route
	for i := range r.Routes {
		if x := &r.Routes[i]; !f.RecordedAt.Before(r.since[x.Name]) {
			told = append(told, x)
		}
	}
	if len(told) == 0 {
		return nil
	}
	n, err := r.read(ctx, f)
	if err != nil || n == nil {
		return err
	}
	for _, x := range told {
		if len(x.On) > 0 && !slices.Contains(x.On, n.kind) {
			continue
		}
		concerned, err := r.concerns(ctx, x, f, n)
		if err != nil {
			return err
		}
		if !concerned {
			continue
		}
		if err := r.add(ctx, tx, x, f, *n); err != nil {
			return err
		}
	}
	return nil
}

// concerns reports whether a route's condition holds. One that fails is told:
// a message too many is seen, one too few is not.
func (r *Room) concerns(ctx context.Context, x *Route, f ops.Fact, n *news) (bool, error) {
	if x.When == nil {
		return true, nil
	}
	v := policy.Vars{Notice: &n.notice, Fact: &f, Incident: n.incident, Change: n.change}
	resource := ""
	if n.incident != nil {
		resource = n.incident.ResourceID
	}
	if n.change != nil {
		resource = n.change.ResourceID
		if n.change.IncidentID != "" {
			i, err := r.Ask.Incident(ctx, n.change.IncidentID)
			if err != nil && !errors.Is(err, ops.ErrNotFound) {
				return false, fmt.Errorf("notify: incident of %s: %w", n.change.Key(), err)
			}
			if err == nil {
				v.Incident = &i
			}
		}
	}
	if resource != "" {
		known, err := r.Ask.Resource(ctx, resource)
		if err != nil && !errors.Is(err, ops.ErrNotFound) {
			return false, fmt.Errorf("notify: resource %s: %w", resource, err)
		}
		if err == nil {
			v.Resource = &known
		}
	}
	ok, err := x.When.Match(v)
	if err != nil {
		r.log.LogAttrs(ctx, slog.LevelError, "condition of a channel failed, it is told", slog.String("channel", x.Name), slog.String("fact", f.ID), slog.Any("error", err))
		return true, nil
	}
	return ok, nil
}

func (r *Room) add(ctx context.Context, tx db.Tx, x *Route, f ops.Fact, n news) error {
	out := ops.Notification{ID: r.Journal.NewID(), Channel: x.Name, State: ops.NotificationWaiting, Notice: n.notice, Says: n.says, MadeAt: r.now()}
	_, err := r.Journal.WaitingDigest(ctx, tx, x.Name)
	switch {
	case err == nil:
		out.State = ops.NotificationHeld // behind what is held already
	case !errors.Is(err, ops.ErrNotFound):
		return err
	}
	added, err := r.Journal.AddNotification(ctx, tx, out)
	if err != nil || !added {
		return err
	}
	if out.State == ops.NotificationHeld {
		tx.AfterCommit(func() { r.metric.ended(x.Name, ops.NotificationHeld) })
		return nil
	}
	return r.order(ctx, tx, out, f.ID, time.Time{})
}

func (r *Room) order(ctx context.Context, tx db.Tx, n ops.Notification, cause string, at time.Time) error {
	c := ops.NewCommand(ops.SendNotice, "notification/"+n.ID, ops.SendNoticeBody{NotificationID: n.ID})
	c.Cause, c.At = cause, at
	return r.Queue.Enqueue(ctx, tx, c)
}
