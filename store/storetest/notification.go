package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

var notificationRules = []rule{
	{
		name:  "notification/once",
		why:   "a fact told twice in a channel, or the same thing for two facts, makes people stop reading",
		check: notifiesOnce,
	},
	{
		name:  "notification/version",
		why:   "two workers that settle one notification would send it twice",
		check: settlesOnce,
	},
	{
		name:  "notification/limit",
		why:   "the hourly limit counts attempts by when they were made, and what is on its way keeps its order",
		check: countsTries,
	},
	{
		name:  "notification/digest",
		why:   "what is held back and in no digest is dropped, and in two it is told twice",
		check: listsOnce,
	},
	{
		name:  "notification/resent",
		why:   "who had it sent again, and since when it is tried, is what people and the room go by",
		check: resends,
	},
	{
		name:  "notification/ended",
		why:   "how a channel did of late is counted by when its notifications came to an end",
		check: countsEnds,
	},
	{
		name:  "notification/channels",
		why:   "a channel that is told what was before it begins with a flood",
		check: keepsChannels,
	},
}

func (h *house) notification(id, channel, fact, says string) ops.Notification {
	return ops.Notification{
		ID: id, Channel: channel, State: ops.NotificationWaiting, Says: says, MadeAt: h.clock(),
		Notice: ops.Notice{Event: "incident.opened", Severity: ops.High, At: h.clock(), Subject: "incident/i", Key: "INC-1", Title: "disk", Fact: fact},
	}
}

func (h *house) addNotification(n ops.Notification) (added bool) {
	h.t.Helper()
	h.write(func(tx db.Tx) (err error) {
		added, err = h.store.AddNotification(h.ctx, tx, n)
		return err
	})
	return added
}

func (h *house) saveNotification(id string, shape func(n *ops.Notification)) error {
	return h.db.Write(h.ctx, func(tx db.Tx) error {
		n, err := h.store.NotificationIn(h.ctx, tx, id)
		if err != nil {
			return err
		}
		shape(&n)
		return h.store.SaveNotification(h.ctx, tx, n)
	})
}

func notifiesOnce(t *testing.T, h *house) {
	f := func(id, channel, fact, says string, want bool) {
		t.Helper()
		if got := h.addNotification(h.notification(id, channel, fact, says)); got != want {
			t.Errorf("%s of %s in %s: added %v, want %v", says, fact, channel, got, want)
		}
	}
	f("n1", "chat", "f1", "open", true)
	f("n2", "chat", "f1", "other", false) // the same fact
	f("n3", "chat", "f2", "open", false)  // the same thing
	f("n4", "mail", "f1", "open", true)
	f("n5", "chat", "f3", "closed", true)
	got, err := h.store.Notification(h.ctx, "n1")
	if err != nil || got.Number != 1 || got.Version != 1 || got.Notice.Title != "disk" || !got.MadeAt.Equal(h.clock()) {
		t.Errorf("n1: %+v, %v", got, err)
	}
	_, err = h.store.Notification(h.ctx, "n2")
	wantClass(t, "n2", err, ops.ErrNotFound)
	// The indexes refuse what does not come this way, too.
	err = h.db.Write(h.ctx, func(tx db.Tx) error {
		_, err := tx.Exec(h.ctx, "UPDATE notification SET says = 'open' WHERE id = 'n5'")
		return err
	})
	if err == nil {
		t.Error("two that say the same stand in one channel")
	}
	all, err := h.store.Notifications(h.ctx, ops.NotificationFilter{Channel: "chat", States: []ops.NotificationState{ops.NotificationWaiting}, Before: 3})
	if err != nil || len(all) != 1 || all[0].ID != "n1" {
		t.Errorf("listed: %+v, %v", all, err)
	}
}

func settlesOnce(t *testing.T, h *house) {
	h.addNotification(h.notification("n1", "chat", "f1", "open"))
	must(t, h.saveNotification("n1", func(n *ops.Notification) {
		n.State, n.Attempts, n.Error, n.TriedAt = ops.NotificationSending, 1, "e", h.clock()
	}))
	wantClass(t, "an older version", h.saveNotification("n1", func(n *ops.Notification) { n.Version-- }), ops.ErrConflict)
	got, err := h.store.Notification(h.ctx, "n1")
	if err != nil || got.State != ops.NotificationSending || got.Attempts != 1 || got.Error != "e" || got.Version != 2 || !got.TriedAt.Equal(h.clock()) {
		t.Errorf("n1: %+v, %v", got, err)
	}
	counts, err := h.store.NotificationCounts(h.ctx)
	if err != nil || counts["chat"][ops.NotificationSending] != 1 {
		t.Errorf("counts: %v, %v", counts, err)
	}
}

func countsTries(t *testing.T, h *house) {
	for i := range 3 {
		id := fmt.Sprint("n", i)
		h.addNotification(h.notification(id, "chat", id, id))
		must(t, h.saveNotification(id, func(n *ops.Notification) { n.State, n.TriedAt = ops.NotificationSent, h.clock() }))
		h.pass(20 * time.Minute)
	}
	h.addNotification(h.notification("n4", "chat", "n4", "n4"))
	h.write(func(tx db.Tx) error {
		tries, err := h.store.NotificationTries(h.ctx, tx, "chat", h.clock().Add(-time.Hour))
		if err == nil && (len(tries) != 2 || !tries[1].After(tries[0])) {
			t.Errorf("tries: %v", tries)
		}
		for number, want := range map[int64]bool{4: false, 5: true} {
			if got, err := h.store.EarlierNotification(h.ctx, tx, "chat", "incident/i", number); err != nil || got != want {
				t.Errorf("earlier than %d: %v, %v", number, got, err)
			}
		}
		return err
	})
}

func listsOnce(t *testing.T, h *house) {
	for i, state := range []ops.NotificationState{ops.NotificationHeld, ops.NotificationUnsure, ops.NotificationWaiting} {
		id := fmt.Sprint("n", i)
		n := h.notification(id, "chat", id, id)
		n.State = state
		h.addNotification(n)
	}
	other := h.notification("m", "mail", "m", "m")
	other.State = ops.NotificationHeld
	h.addNotification(other)
	d := h.notification("d", "chat", "", "digest d")
	d.Digest = true
	h.addNotification(d)
	h.write(func(tx db.Tx) error {
		if got, err := h.store.WaitingDigest(h.ctx, tx, "chat"); err != nil || got.ID != "d" || !got.Digest {
			t.Errorf("the digest that waits: %+v, %v", got, err)
		}
		_, err := h.store.WaitingDigest(h.ctx, tx, "mail")
		wantClass(t, "no digest waits", err, ops.ErrNotFound)
		held, n, err := h.store.ListInDigest(h.ctx, tx, "chat", "d", 1)
		if err == nil && (n != 2 || len(held) != 1 || held[0].ID != "n0" || held[0].State != ops.NotificationHeld) {
			t.Errorf("listed %d: %+v", n, held)
		}
		if held, n, err := h.store.ListInDigest(h.ctx, tx, "chat", "d2", 9); err != nil || n != 0 || len(held) != 0 {
			t.Errorf("listed again: %d, %v, %v", n, held, err)
		}
		return err
	})
	all, err := h.store.Notifications(h.ctx, ops.NotificationFilter{Digest: "d"})
	if err != nil || len(all) != 2 || all[0].State != ops.NotificationListed {
		t.Errorf("in the digest: %+v, %v", all, err)
	}
}

func resends(t *testing.T, h *house) {
	h.addNotification(h.notification("n1", "chat", "f1", "open"))
	must(t, h.saveNotification("n1", func(n *ops.Notification) { n.State, n.DoneAt = ops.NotificationGivenUp, h.clock() }))
	h.pass(time.Hour)
	must(t, h.saveNotification("n1", func(n *ops.Notification) {
		n.State, n.DoneAt, n.ResentAt, n.ResentBy = ops.NotificationWaiting, time.Time{}, h.clock(), "mia"
	}))
	got, err := h.store.Notification(h.ctx, "n1")
	if err != nil || !got.ResentAt.Equal(h.clock()) || got.ResentBy != "mia" || !got.DoneAt.IsZero() {
		t.Errorf("n1: %+v, %v", got, err)
	}
}

func countsEnds(t *testing.T, h *house) {
	end := func(id, channel string, state ops.NotificationState) {
		h.addNotification(h.notification(id, channel, id, id))
		must(t, h.saveNotification(id, func(n *ops.Notification) { n.State, n.DoneAt = state, h.clock() }))
	}
	end("old", "chat", ops.NotificationGivenUp)
	h.pass(25 * time.Hour)
	end("n1", "chat", ops.NotificationGivenUp)
	end("n2", "chat", ops.NotificationSent)
	end("n3", "chat", ops.NotificationSent)
	end("n4", "mail", ops.NotificationSent)
	end("n5", "chat", ops.NotificationListed)
	held := h.notification("n6", "chat", "n6", "n6")
	held.State = ops.NotificationHeld
	h.addNotification(held)
	f := func(after time.Time, want string, states ...ops.NotificationState) {
		t.Helper()
		got, err := h.store.NotificationsEnded(h.ctx, after, states...)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("ended after %s: %v, %v, want %s", after, got, err, want)
		}
	}
	f(h.clock().Add(-24*time.Hour), "map[chat:map[given_up:1 sent:2] mail:map[sent:1]]", ops.NotificationSent, ops.NotificationGivenUp)
	f(time.Time{}, "map[chat:map[given_up:2]]", ops.NotificationGivenUp)
	f(h.clock(), "map[]", ops.NotificationSent)
	h.write(func(tx db.Tx) error {
		for channel, want := range map[string]bool{"chat": true, "mail": false} {
			if got, err := h.store.HoldsNotifications(h.ctx, tx, channel); err != nil || got != want {
				t.Errorf("%s holds something back: %v, %v", channel, got, err)
			}
		}
		return nil
	})
}

func keepsChannels(t *testing.T, h *house) {
	began := h.clock()
	keep := func(names ...string) (out map[string]time.Time) {
		h.write(func(tx db.Tx) (err error) {
			out, err = h.store.KeepChannels(h.ctx, tx, names, h.clock())
			return err
		})
		return out
	}
	keep("a", "b")
	h.pass(time.Hour)
	if got := keep("a", "c"); len(got) != 2 || !got["a"].Equal(began) || !got["c"].Equal(h.clock()) {
		t.Errorf("known since %v", got)
	}
	h.pass(time.Hour)
	if got := keep("b"); len(got) != 1 || !got["b"].Equal(h.clock()) {
		t.Errorf("one that comes back is known since %v", got)
	}
}
