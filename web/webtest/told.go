package webtest

import (
	"context"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

// Lost is the title of the notification that was given up last.
const Lost = "CHG-5 waits for approval: " + Own

// taken is a receiver that takes every message.
type taken struct{}

// Send implements notify.Channel.
func (taken) Send(context.Context, notify.Message) error { return nil }

// routes are the channels of the estate.
func routes(t testing.TB) []notify.Route {
	t.Helper()
	severe, err := policy.Compile(policy.Notice, `notice.severity in ["critical", "high"]`)
	if err != nil {
		t.Fatal(err)
	}
	return []notify.Route{
		{Name: "ops-chat", Driver: "slack", Channel: taken{}, Traits: notify.Traits{PerHour: 4}, When: severe, On: []ops.FactKind{ops.IncidentOpened, ops.IncidentGrew, ops.ApprovalRequested, ops.RunBroke}},
		{Name: "owners", Driver: "email", Channel: taken{}, Traits: notify.Traits{PerHour: 20, Repeats: true}, On: []ops.FactKind{ops.ApprovalRequested, ops.ChangeEnded}},
		{Name: "actions", Driver: "cloudwatchlogs", Channel: taken{}},
	}
}

// told is what the channels were told in the last days, in every state that a
// notification comes to.
func (h *House) told() {
	h.t.Helper()
	digest := h.id()
	for i, x := range []struct {
		channel, title, subject, key string
		kind                         ops.FactKind
		state                        ops.NotificationState
		age                          time.Duration
		attempts                     int
		err                          string
	}{
		{"pager", "INC-1 opened: Certificate expires in 13 d", "incident/x", "INC-1", ops.IncidentOpened, ops.NotificationGivenUp, 28 * time.Hour, 0, "the channel is no longer configured"},
		{"ops-chat", "INC-2 opened: Disk will fill in 31 h", "incident/x", "INC-2", ops.IncidentOpened, ops.NotificationListed, 11 * time.Hour, 0, ""},
		{"ops-chat", "INC-3 opened: Queue depth growing on export workers", "incident/x", "INC-3", ops.IncidentOpened, ops.NotificationListed, 9 * time.Hour, 1, "hooks.slack.com: no answer in time"},
		{"ops-chat", "2 notifications were held back", ops.SystemSubject, "", "", ops.NotificationSent, 8 * time.Hour, 1, ""},
		{"actions", "CHG-2 starts: Patch group web-eu, batch 2 of 4", "change/x", "CHG-2", ops.RunStarted, ops.NotificationSent, 8 * time.Minute, 1, ""},
		{"owners", Lost, "change/x", "CHG-5", ops.ApprovalRequested, ops.NotificationGivenUp, 40 * time.Minute, 1, "notify: channel owners: mail.example.com said 550 5.1.1 <owners@example.com>: Recipient address rejected: User unknown"},
		{"ops-chat", "INC-5 opened: Replication lag on ledger-db", "incident/x", "INC-5", ops.IncidentOpened, ops.NotificationSent, 182 * time.Minute, 1, ""},
		{"ops-chat", "INC-6 opened: Unusual traffic at the Sydney edge", "incident/x", "INC-6", ops.IncidentOpened, ops.NotificationSent, 37 * time.Minute, 3, ""},
		{"ops-chat", "INC-6 is critical now: Unusual traffic at the Sydney edge", "incident/x", "INC-6", ops.IncidentGrew, ops.NotificationSent, 20 * time.Minute, 1, ""},
		{"ops-chat", "INC-8 opened: CPU above 90% on checkout", "incident/x", "INC-8", ops.IncidentOpened, ops.NotificationSent, 18 * time.Minute, 1, ""},
		{"ops-chat", "INC-7 opened: Sign-in failures above the threshold", "incident/x", "INC-7", ops.IncidentOpened, ops.NotificationHeld, 4 * time.Minute, 0, ""},
		{"ops-chat", "CHG-6 waits for approval: " + Waiting, "change/x", "CHG-6", ops.ApprovalRequested, ops.NotificationUnsure, 3 * time.Minute, 1, "notify: channel ops-chat: hooks.slack.com: no whole answer"},
		{"ops-chat", "Notifications were held back", ops.SystemSubject, "", "", ops.NotificationWaiting, 4 * time.Minute, 0, ""},
		{"owners", "CHG-6 waits for approval: " + Waiting, "change/x", "CHG-6", ops.ApprovalRequested, ops.NotificationWaiting, 2 * time.Minute, 2, "notify: channel owners: mail.example.com said 451 4.7.1: Greylisted, try again later"},
	} {
		at := start.Add(-x.age)
		n := ops.Notification{
			ID: h.id(), Channel: x.channel, State: x.state, Says: x.title, Digest: x.kind == "", MadeAt: at,
			Notice: ops.Notice{Event: "digest", Severity: ops.High, At: at, Subject: x.subject, Key: x.key, Title: x.title, Fact: h.id(), Kind: x.kind},
		}
		if x.kind != "" {
			n.Notice.Event = map[ops.FactKind]string{
				ops.IncidentOpened: "incident.opened", ops.IncidentGrew: "incident.escalated", ops.ApprovalRequested: "change.approval_asked", ops.RunStarted: "change.started",
			}[x.kind]
		}
		if n.Digest && x.state == ops.NotificationSent {
			n.ID = digest
		}
		h.Write(func(ctx context.Context, tx db.Tx) error {
			added, err := h.Store.AddNotification(ctx, tx, n)
			if err != nil {
				return err
			}
			if !added {
				h.t.Errorf("notification %d is not added: %s", i, x.title)
			}
			if n, err = h.Store.NotificationIn(ctx, tx, n.ID); err != nil {
				return err
			}
			n.Attempts, n.Error = x.attempts, x.err
			if x.attempts > 0 {
				n.TriedAt = at.Add(time.Second)
			}
			switch x.state {
			case ops.NotificationListed:
				n.DigestID, n.DoneAt = digest, start.Add(-8*time.Hour)
			case ops.NotificationSent, ops.NotificationGivenUp:
				n.DoneAt = at.Add(2 * time.Second)
			}
			return h.Store.SaveNotification(ctx, tx, n)
		})
	}
}
