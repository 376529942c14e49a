package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// day is the span of what a channel was sent of late.
const day = 24 * time.Hour

// ErrNoChannel says that no channel of a name is configured.
var ErrNoChannel = fmt.Errorf("there is no such channel: %w", ops.ErrNotFound)

// Test sends a message to a channel that says it is one, and returns what the
// channel said. It counts for no limit.
func (r *Room) Test(ctx context.Context, by ops.Principal, name string) error {
	x := r.routes[name]
	if x == nil {
		return fmt.Errorf("%q: %w", name, ErrNoChannel)
	}
	return r.hand(ctx, x, Message{ID: r.Journal.NewID(), Notice: ops.Notice{
		Event: "test", Severity: ops.Info, At: r.now(), Subject: ops.SystemSubject, Title: "Fettle reaches the channel " + name,
		What: "This is a test. Nothing has happened.", Why: by.Name + " asked for it.", Link: r.PublicURL,
	}})
}

// Resend has a notification sent again that was given up, and tells who asked
// for it. Its receiver sees it under the same id as before; the limit of its
// channel counts it, and it is tried for as long as a new one. Asked for twice
// it is queued once: one that is on its way again is returned as it is. Any
// other that was not given up is ops.ErrConflict, and so is a digest while
// another one of its channel waits; one of a channel that is no longer
// configured is ops.ErrStalled.
func (r *Room) Resend(ctx context.Context, by ops.Principal, id, via string) (ops.Notification, error) {
	if err := by.Require(ops.MayManageChanges); err != nil {
		return ops.Notification{}, err
	}
	var out ops.Notification
	err := r.DB.Write(ctx, func(tx db.Tx) (err error) {
		out, err = r.resend(ctx, tx, by, id, via)
		return err
	})
	if err != nil {
		return ops.Notification{}, fmt.Errorf("notify: send again: %w", err)
	}
	return out, nil
}

func (r *Room) resend(ctx context.Context, tx db.Tx, by ops.Principal, id, via string) (ops.Notification, error) {
	n, err := r.Journal.NotificationIn(ctx, tx, id)
	if err != nil {
		return n, err
	}
	underWay := n.State == ops.NotificationWaiting || n.State == ops.NotificationSending
	switch {
	case underWay && !n.ResentAt.IsZero():
		return n, nil
	case n.State != ops.NotificationGivenUp:
		return n, fmt.Errorf("notification %s is %s; only one that was given up is sent again: %w", id, strings.ReplaceAll(string(n.State), "_", " "), ops.ErrConflict)
	case r.routes[n.Channel] == nil:
		return n, fmt.Errorf("channel %s of notification %s is no longer configured; configure it first: %w", n.Channel, id, ops.ErrStalled)
	}
	if n.Digest {
		waits, err := r.digestWaits(ctx, tx, n.Channel)
		if err != nil {
			return n, err
		}
		if waits {
			return n, fmt.Errorf("another digest of channel %s waits to be sent; send this one again once it has gone: %w", n.Channel, ops.ErrConflict)
		}
	}
	now := r.now()
	told, err := r.Journal.Tell(ctx, tx, ops.NewFact(n.Notice.Subject, now, by, "", ops.NotificationResentBody{
		NotificationID: n.ID, Channel: n.Channel, Title: n.Notice.Title, Error: n.Error, Attempts: n.Attempts, Via: via,
	}))
	if err != nil {
		return n, err
	}
	n.State, n.DoneAt, n.ResentAt, n.ResentBy = ops.NotificationWaiting, time.Time{}, now, by.Name
	if err := r.save(ctx, tx, &n); err != nil {
		return n, err
	}
	resent := n
	tx.AfterCommit(func() {
		r.log.LogAttrs(ctx, slog.LevelInfo, "notification is sent again", slog.String("channel", resent.Channel), slog.String("notification_id", resent.ID), slog.String("principal", resent.ResentBy))
	})
	return n, r.order(ctx, tx, n, told[0].ID, time.Time{})
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// ChannelView is a channel as people see it.
type ChannelView struct {
	Name    string         `json:"name"`
	Driver  string         `json:"driver"`
	On      []ops.FactKind `json:"on,omitempty"`   // empty: all
	When    string         `json:"when,omitempty"` // empty: always
	PerHour int            `json:"per_hour"`       // 0: any number
	Since   time.Time      `json:"since"`          // nothing from before is told
	Waiting int            `json:"waiting"`
	Held    int            `json:"held"` // for the next digest
	// NextDigest is when the next digest may go, the past for now; zero: none waits.
	NextDigest time.Time `json:"next_digest,omitzero"`
	ThisHour   int       `json:"this_hour"`    // messages it was handed, which the limit counts
	SentDay    int       `json:"sent_day"`     // in the last 24 hours
	GivenUpDay int       `json:"given_up_day"` // in the last 24 hours, and not sent again
	GivenUp    int       `json:"given_up"`     // of all that are kept
}

// Channels returns the configured channels, in the order of the configuration.
func (r *Room) Channels(ctx context.Context) ([]ChannelView, error) {
	now := r.now()
	open, err := r.Journal.NotificationCounts(ctx)
	if err != nil {
		return nil, err
	}
	today, err := r.Journal.NotificationsEnded(ctx, now.Add(-day), ops.NotificationSent, ops.NotificationGivenUp)
	if err != nil {
		return nil, err
	}
	ever, err := r.Journal.NotificationsEnded(ctx, time.Time{}, ops.NotificationGivenUp)
	if err != nil {
		return nil, err
	}
	out := make([]ChannelView, 0, len(r.Routes))
	for i := range r.Routes {
		x := &r.Routes[i]
		c := open[x.Name]
		v := ChannelView{
			Name: x.Name, Driver: x.Driver, On: x.On, PerHour: x.Traits.PerHour, Since: r.since[x.Name],
			Waiting: c[ops.NotificationWaiting] + c[ops.NotificationSending], Held: c[ops.NotificationHeld] + c[ops.NotificationUnsure],
			SentDay: today[x.Name][ops.NotificationSent], GivenUpDay: today[x.Name][ops.NotificationGivenUp], GivenUp: ever[x.Name][ops.NotificationGivenUp],
		}
		if x.When != nil {
			v.When = x.When.String()
		}
		tries, err := r.Journal.NotificationTries(ctx, r.DB.Read(), x.Name, now.Add(-hour))
		if err != nil {
			return nil, err
		}
		v.ThisHour = len(tries)
		if v.NextDigest, err = r.nextDigest(ctx, x, c[ops.NotificationUnsure] > 0, now); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// nextDigest returns when the digest of a channel may go, zero when none waits.
func (r *Room) nextDigest(ctx context.Context, x *Route, unsure bool, now time.Time) (time.Time, error) {
	d, err := r.Journal.WaitingDigest(ctx, r.DB.Read(), x.Name)
	if errors.Is(err, ops.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	at, err := r.free(ctx, r.DB.Read(), x, d, now)
	if unsure {
		at = later(at, d.MadeAt.Add(gather))
	}
	return at, err
}
