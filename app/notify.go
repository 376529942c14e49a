package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/notify"
	channels "github.com/fettleops/fettle/notify/all"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
	"github.com/fettleops/fettle/store"
)

// decodeChannel reads what stands under a kind of channel: its keys, or one
// secret reference for channels that need nothing else. A secret written
// plainly is refused and not repeated.
func decodeChannel(raw config.Raw) notify.Decode {
	return func(into any) error {
		text, scalar := raw.Text()
		if !scalar {
			return raw.Decode(into)
		}
		ref, err := secret.Parse(text)
		if err != nil {
			return raw.Fault("", "%s", err)
		}
		short, ok := into.(interface{ SetReference(r secret.Ref) })
		if !ok {
			return raw.Fault("", "wants a mapping: one reference does not say enough")
		}
		ref.Source = raw.Position().String()
		short.SetReference(ref)
		return nil
	}
}

// notifyRoutes turns the configuration into the room's, without its channels.
func notifyRoutes(c *config.Config) ([]notify.Route, error) {
	var out []notify.Route
	var faults []error
	for i, n := range c.Notify {
		fault := func(err error) { faults = append(faults, fmt.Errorf("notify[%d] (%s): %w", i, n.Name, err)) }
		kind, raw := n.Kind()
		d, err := notify.Find(channels.Drivers(), kind)
		if err != nil {
			fault(err)
			continue
		}
		if err := d.Check(decodeChannel(raw)); err != nil {
			fault(err)
		}
		r := notify.Route{Name: n.Name, Driver: kind, Traits: d.Traits, GiveUpAfter: n.GiveUpAfter.D}
		if n.PerHour != nil {
			r.Traits.PerHour = *n.PerHour
		}
		for _, k := range n.On {
			r.On = append(r.On, ops.FactKind(k))
		}
		if n.When != "" {
			if r.When, err = policy.Compile(policy.Notice, n.When); err != nil {
				fault(err)
			}
		}
		out = append(out, r)
	}
	return out, errors.Join(faults...)
}

func (a *App) buildNotify(ctx context.Context) error {
	routes, err := notifyRoutes(a.Config)
	if err != nil {
		return err
	}
	installation, err := a.Store.Installation(ctx)
	if err != nil {
		return err
	}
	for i := range routes {
		kind, raw := a.Config.Notify[i].Kind()
		d, err := notify.Find(channels.Drivers(), kind)
		if err != nil {
			return err
		}
		routes[i].Channel, err = d.Open(ctx, decodeChannel(raw), notify.Env{
			Name: routes[i].Name, Source: cmp.Or(a.Config.Server.PublicURL, "urn:fettle:"+installation), UserAgent: "fettle/" + a.Version, Clock: a.Clock,
			Log: a.Logger.With(slog.String("channel", routes[i].Name)), Transport: a.Transport, Secret: resolve,
		})
		if err != nil {
			return fmt.Errorf("notify[%d] (%s): %w", i, routes[i].Name, err)
		}
	}
	a.Notify, err = notify.New(notify.Options{
		DB: a.DB, Journal: a.Store, Ask: told{a.Store}, Queue: a.Queue, Routes: routes, PublicURL: a.publicURL(), Clock: a.Clock, Log: a.Logger, Registry: a.metrics,
	})
	if err != nil {
		return err
	}
	if err := a.Notify.Begin(ctx); err != nil {
		return err
	}
	a.Notify.Register(a.Queue)
	return nil
}

// told answers what the notify room asks.
type told struct{ store *store.Store }

// Change returns a change.
func (t told) Change(ctx context.Context, id string) (ops.Change, error) {
	return t.store.Change(ctx, id)
}

// Incident returns an incident.
func (t told) Incident(ctx context.Context, id string) (ops.Incident, error) {
	return t.store.Incident(ctx, id)
}

// Resource returns a resource.
func (t told) Resource(ctx context.Context, id string) (ops.Resource, error) {
	return t.store.Resource(ctx, id)
}

// TicketsAbout returns the tickets of an incident or a change.
func (t told) TicketsAbout(ctx context.Context, subject string) ([]ops.Ticket, error) {
	return t.store.TicketsAbout(ctx, subject)
}
