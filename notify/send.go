package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
)

const (
	// hour is the span of the limit.
	hour = time.Hour
	// behind is how often a notification looks whether the one before it, about
	// the same thing, has gone.
	behind = time.Second
	// gather is how long a digest of what may have arrived waits for more.
	gather = time.Minute
	// maxListed bounds the lines a digest keeps; the others are counted.
	maxListed = 200
	// maxPatience bounds the wait a receiver may ask for.
	maxPatience = time.Hour
	// maxReason bounds the error that is kept of an attempt, in bytes.
	maxReason = 1000
)

// claim is what was decided about a notification before it is sent.
type claim struct {
	route *Route // nil: there is nothing to send now
	n     ops.Notification
	wait  error // a snooze
}

// send carries out SendNotice: it claims the notification, hands it to its
// channel and settles what became of it.
func (r *Room) send(ctx context.Context, c ops.Command) error {
	b, err := ops.CommandBody[ops.SendNoticeBody](c)
	if err != nil {
		return err
	}
	var d claim
	err = r.DB.Write(ctx, func(tx db.Tx) (err error) {
		d, err = r.claim(ctx, tx, b.NotificationID)
		return err
	})
	if err != nil {
		return fmt.Errorf("notify: claim %s: %w", b.NotificationID, err)
	}
	if d.route == nil {
		return d.wait
	}
	failure := r.hand(ctx, d.route, Message{ID: d.n.ID, Notice: d.n.Notice})
	return r.settle(context.WithoutCancel(ctx), d.n, d.route, failure)
}

// hand gives a message to a channel.
func (r *Room) hand(ctx context.Context, x *Route, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, 2*timeout)
	defer cancel()
	began := r.Clock()
	failpoint.Hit("notify.send.before")
	err := x.Channel.Send(ctx, m)
	failpoint.Hit("notify.send.after")
	r.metric.tried(x.Name, r.Clock().Sub(began), err)
	if err != nil {
		return fmt.Errorf("notify: channel %s: %w", x.Name, err)
	}
	return nil
}

// claim decides what happens to a notification now: nothing any more, later,
// held back, or to be sent. In the last case it is marked as being sent, which
// is durable before the channel sees it.
func (r *Room) claim(ctx context.Context, tx db.Tx, id string) (claim, error) {
	n, err := r.Journal.NotificationIn(ctx, tx, id)
	if err != nil {
		return claim{}, err
	}
	x := r.routes[n.Channel]
	now := r.now()
	switch {
	case n.State != ops.NotificationWaiting && n.State != ops.NotificationSending:
		return claim{}, nil // settled before
	case x == nil:
		return claim{}, r.end(ctx, tx, &n, ops.NotificationGivenUp, "the channel is no longer configured")
	case n.State == ops.NotificationSending && !x.Traits.Repeats:
		return claim{}, r.doubt(ctx, tx, x, &n, "the server ended while it was being sent")
	case overdue(n, x, now):
		return claim{}, r.end(ctx, tx, &n, ops.NotificationGivenUp, lines("not taken within "+x.GiveUpAfter.String(), n.Error))
	}
	if !n.Digest {
		earlier, err := r.Journal.EarlierNotification(ctx, tx, n.Channel, n.Notice.Subject, n.Number)
		if err != nil {
			return claim{}, err
		}
		if earlier {
			return claim{wait: job.Snooze(behind, "an earlier notification about the same is on its way")}, nil
		}
		wait, err := r.tickets(ctx, &n, now)
		if err != nil || wait != nil {
			return claim{wait: wait}, err
		}
	}
	free, err := r.free(ctx, tx, x, n, now)
	if err != nil {
		return claim{}, err
	}
	switch {
	case n.Digest && free.After(now):
		return claim{wait: job.Snooze(free.Sub(now), "the channel has had its messages of this hour")}, nil
	case !n.Digest:
		held, err := r.digestWaits(ctx, tx, n.Channel)
		if err != nil {
			return claim{}, err
		}
		if held || free.After(now) {
			return claim{}, r.hold(ctx, tx, x, &n, ops.NotificationHeld, "", free)
		}
	case n.Attempts == 0:
		if err := r.compose(ctx, tx, &n); err != nil {
			return claim{}, err
		}
	}
	n.State, n.TriedAt = ops.NotificationSending, now
	n.Attempts++
	if err := r.save(ctx, tx, &n); err != nil {
		return claim{}, err
	}
	return claim{route: x, n: n}, nil
}

// overdue reports whether a notification was tried for long enough. A digest
// waits for its hour first, which is no failure of its channel; it is composed
// when that ends.
func overdue(n ops.Notification, x *Route, now time.Time) bool {
	began := later(n.MadeAt, n.ResentAt)
	if n.Digest {
		began = later(began, n.Notice.At)
	}
	return now.Sub(began) > x.GiveUpAfter && (!n.Digest || n.Attempts > 0)
}

func (r *Room) save(ctx context.Context, tx db.Tx, n *ops.Notification) error {
	if err := r.Journal.SaveNotification(ctx, tx, *n); err != nil {
		return err
	}
	n.Version++
	return nil
}

// tickets adds the tickets of what the notification is about, or returns a
// snooze while one has no number yet and it is early.
func (r *Room) tickets(ctx context.Context, n *ops.Notification, now time.Time) (wait, err error) {
	if n.Attempts > 0 || n.Notice.Key == "" {
		return nil, nil // an attempt says what the one before it said
	}
	found, err := r.Ask.TicketsAbout(ctx, n.Notice.Subject)
	if err != nil {
		return nil, fmt.Errorf("notify: tickets of %s: %w", n.Notice.Key, err)
	}
	n.Notice.Tickets = nil
	for _, t := range found {
		if t.Ref != "" {
			n.Notice.Tickets = append(n.Notice.Tickets, ops.NoticeTicket{Platform: t.Platform, Display: t.Display, URL: t.URL})
		}
	}
	if left := r.TicketWait - now.Sub(n.MadeAt); left > 0 && (len(found) == 0 || len(n.Notice.Tickets) < len(found)) {
		return job.Snooze(min(left, behind), "its ticket has no number yet"), nil
	}
	return nil, nil
}

// free returns when a channel may get its next message, now or earlier when it
// may at once.
func (r *Room) free(ctx context.Context, from db.Reader, x *Route, n ops.Notification, now time.Time) (time.Time, error) {
	if x.Traits.PerHour <= 0 {
		return now, nil
	}
	tries, err := r.Journal.NotificationTries(ctx, from, x.Name, now.Add(-hour))
	if err != nil {
		return now, err
	}
	most := x.Traits.PerHour
	if n.TriedAt.After(now.Add(-hour)) {
		most++ // it has its place already
	}
	if len(tries) < most {
		return now, nil
	}
	return tries[len(tries)-most].Add(hour), nil
}

func (r *Room) digestWaits(ctx context.Context, tx db.Tx, channel string) (bool, error) {
	_, err := r.Journal.WaitingDigest(ctx, tx, channel)
	if errors.Is(err, ops.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// hold keeps a notification for the digest of its channel, and makes one to be
// sent at a time unless one waits.
func (r *Room) hold(ctx context.Context, tx db.Tx, x *Route, n *ops.Notification, as ops.NotificationState, why string, at time.Time) error {
	n.State, n.Error = as, why
	if err := r.save(ctx, tx, n); err != nil {
		return err
	}
	tx.AfterCommit(func() { r.metric.ended(x.Name, as) })
	waits, err := r.digestWaits(ctx, tx, x.Name)
	if err != nil || waits {
		return err
	}
	return r.digest(ctx, tx, x, n.Notice.Fact, at)
}

// digest makes the digest of what a channel holds back, to be sent at a time.
func (r *Room) digest(ctx context.Context, tx db.Tx, x *Route, cause string, at time.Time) error {
	id := r.Journal.NewID()
	d := ops.Notification{
		ID: id, Channel: x.Name, State: ops.NotificationWaiting, Digest: true, Says: "digest " + id, MadeAt: r.now(),
		Notice: ops.Notice{Event: "digest", Severity: ops.Info, At: r.now(), Subject: ops.SystemSubject, Title: "Notifications were held back", Link: r.PublicURL},
	}
	if _, err := r.Journal.AddNotification(ctx, tx, d); err != nil {
		return err
	}
	return r.order(ctx, tx, d, cause, at)
}

// doubt keeps a notification of which nobody knows whether it arrived: people
// are told of it in the next digest, since sending it again could tell it
// twice. A digest in doubt is given up, or digests would follow digests.
func (r *Room) doubt(ctx context.Context, tx db.Tx, x *Route, n *ops.Notification, why string) error {
	if n.Digest {
		return r.end(ctx, tx, n, ops.NotificationGivenUp, "nobody knows whether it arrived: "+why)
	}
	now := r.now()
	free, err := r.free(ctx, tx, x, ops.Notification{}, now)
	if err != nil {
		return err
	}
	if soon := now.Add(gather); free.Before(soon) {
		free = soon
	}
	return r.hold(ctx, tx, x, n, ops.NotificationUnsure, why, free)
}

// compose writes into a digest what it lists.
func (r *Room) compose(ctx context.Context, tx db.Tx, n *ops.Notification) error {
	held, count, err := r.Journal.ListInDigest(ctx, tx, n.Channel, n.ID, maxListed)
	if err != nil {
		return err
	}
	n.Notice.Title = fmt.Sprintf("%d notifications were held back", count)
	if count == 1 {
		n.Notice.Title = "1 notification was held back"
	}
	n.Notice.At, n.Notice.More, n.Notice.Held = r.now(), count-len(held), nil
	for _, h := range held {
		n.Notice.Held = append(n.Notice.Held, ops.HeldNotice{Event: h.Notice.Event, At: h.Notice.At, Title: h.Notice.Title, Unsure: h.State == ops.NotificationUnsure})
		if h.Notice.Severity.Worse(n.Notice.Severity) {
			n.Notice.Severity = h.Notice.Severity
		}
	}
	return nil
}

// end settles a notification for good. What was held back while a digest was
// tried again is in none, so it gets the next one.
func (r *Room) end(ctx context.Context, tx db.Tx, n *ops.Notification, as ops.NotificationState, why string) error {
	n.State, n.Error, n.DoneAt = as, reason(why), r.now()
	if err := r.save(ctx, tx, n); err != nil {
		return err
	}
	if x := r.routes[n.Channel]; x != nil && n.Digest {
		if err := r.follow(ctx, tx, x); err != nil {
			return err
		}
	}
	ended := *n
	tx.AfterCommit(func() {
		r.metric.ended(ended.Channel, as)
		if as == ops.NotificationGivenUp {
			r.log.LogAttrs(ctx, slog.LevelError, "notification given up", slog.String("channel", ended.Channel), slog.String("notification_id", ended.ID),
				slog.String("event", ended.Notice.Event), slog.Int("attempt", ended.Attempts), slog.String("error", ended.Error))
		}
	})
	return nil
}

// follow makes the next digest of a channel, if it holds something back.
func (r *Room) follow(ctx context.Context, tx db.Tx, x *Route) error {
	holds, err := r.Journal.HoldsNotifications(ctx, tx, x.Name)
	if err != nil || !holds {
		return err
	}
	free, err := r.free(ctx, tx, x, ops.Notification{}, r.now())
	if err != nil {
		return err
	}
	return r.digest(ctx, tx, x, "", free)
}

// settle records what became of an attempt. The error it returns is the
// attempt's when it is to be made again.
func (r *Room) settle(ctx context.Context, n ops.Notification, x *Route, failure error) error {
	again := false
	err := r.DB.Write(ctx, func(tx db.Tx) error {
		again = false
		n := n // the transaction may run twice
		var unknown *ops.UnknownOutcome
		switch {
		case failure == nil:
			return r.end(ctx, tx, &n, ops.NotificationSent, "")
		case errors.As(failure, &unknown) && !x.Traits.Repeats:
			return r.doubt(ctx, tx, x, &n, reason(failure.Error()))
		case !errors.Is(failure, ops.ErrUnavailable) && !errors.Is(failure, ops.ErrThrottled):
			return r.end(ctx, tx, &n, ops.NotificationGivenUp, failure.Error())
		}
		again = true
		n.State, n.Error = ops.NotificationWaiting, reason(failure.Error())
		return r.save(ctx, tx, &n)
	})
	switch {
	case err != nil:
		return fmt.Errorf("notify: settle %s: %w", n.ID, err)
	case !again:
		return nil
	case ops.RetryAfter(failure) > maxPatience:
		return &ops.Throttled{After: maxPatience, Err: failure}
	}
	return failure
}

// reason is what is kept of an error.
func reason(s string) string { return Cut(redact.Text(OneLine(s)), maxReason) }
