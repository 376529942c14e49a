package ticket_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/rt"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

const rtStaff = `
@Users = (map { { Name => $_, Password => $_, Privileged => 1, EmailAddress => "$_\@fettle.test" } } qw(fettle anna.s));
push @Queues, { Name => 'Change requests', Lifecycle => 'fettle_change' };
push @CustomFields, { Name => 'FettlePlan', Type => 'FreeformSingle', LookupType => 'RT::Queue-RT::Ticket', ApplyTo => ['Change requests'] };
$CustomFields[0]{ApplyTo} = ['General', 'Change requests'];
@ACL = (map { my $u = $_; map { { UserId => $u, Right => $_ } } qw(SeeQueue ShowTicket ShowTicketComments CreateTicket CommentOnTicket ReplyToTicket ModifyTicket OwnTicket SeeCustomField ModifyCustomField) } qw(fettle anna.s));
`

const rtLifecycle = `
Set(%Lifecycles, fettle_change => {
  initial => ['planning'], active => [qw(approval approved implement review denied)], inactive => [qw(done stopped deleted)],
  defaults => { on_create => 'planning' },
  transitions => {
    '' => ['planning'], planning => [qw(approval stopped)], approval => [qw(approved denied planning stopped)], denied => [qw(planning stopped)],
    approved => [qw(implement planning stopped)], implement => ['review'], review => ['done'], done => [], stopped => [], deleted => [],
  },
});
`

// overHTTP is a client as small as a driver allows. Starman closes idle
// connections, so that each request has its own.
type overHTTP struct{ http.Transport }

func (o *overHTTP) Do(req *http.Request, e connector.Effect) (*http.Response, error) {
	resp, err := o.RoundTrip(req)
	if err == nil {
		return resp, nil
	}
	err = errors.Join(err, ops.ErrUnavailable)
	if e != connector.Read {
		err = &ops.UnknownOutcome{Err: err}
	}
	return nil, err
}

// The same story on a real Request Tracker, in real time.
func TestChangeOnRequestTracker(t *testing.T) {
	peer.Long(t)
	tracker := peer.RequestTrackerWith(t, peer.RTConfig{InitialData: rtStaff, SiteConfig: rtLifecycle})
	client := &overHTTP{http.Transport{DisableKeepAlives: true}}
	h := open(t, setup{routes: changesToSnow, snow: func(env connector.Env) (connector.Platform, error) {
		env.HTTP, env.Secrets = client, plainSecret{}
		c, err := rt.Driver.Open(t.Context(), connector.Settings{
			URL:  tracker.URL,
			Auth: connectortest.Values{"basic": map[string]any{"username": "fettle", "password": "env:fettle"}},
			Options: connectortest.Values{"settle": 1000, "changes": map[string]any{
				"queue": "Change requests", "approved": "approved", "denied": "denied",
				"statuses": map[string]any{"assess": "planning", "authorize": "approval", "implement": "implement", "review": "review", "closed": "done", "cancelled": "stopped"},
			}},
		}, env)
		if err != nil {
			return nil, err
		}
		return c.Inner(), nil
	}})
	as := func(id, method, path string, body map[string]any) {
		t.Helper()
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		ref := h.ofChange("snow", id, ops.TicketChangeRequest).Ref
		req, err := http.NewRequestWithContext(t.Context(), method, tracker.URL+"/REST/2.0/ticket/"+ref+path, bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("anna.s", "anna.s")
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if said, _ := io.ReadAll(resp.Body); resp.StatusCode >= 300 {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, said)
		}
	}
	// work lets the room do what is due, and pull.
	work := func() {
		t.Helper()
		h.run(1100 * time.Millisecond) // its times are whole seconds
		if err := h.room.Pull(t.Context(), "snow"); err != nil {
			t.Fatal(err)
		}
		h.run(1100 * time.Millisecond)
	}
	asked := func(c ops.Change) {
		t.Helper()
		row := h.ofChange("snow", c.ID, ops.TicketChangeRequest)
		if row.Seen.State != "authorize" || row.Seen.Plan != ops.PlanMark(c.PlanDigest, c.Revision) || row.Sync != ops.SyncOK {
			t.Fatalf("asked with %+v", row)
		}
	}

	c := h.raise(ops.Change{})
	work()
	one := h.planned(c.ID, owner)
	work()
	asked(one)
	// The plan is revised between display and approve.
	h.snow.Break(connectortest.Unavailable())
	h.edited(c.ID)
	two := h.planned(c.ID, owner)
	h.run(100 * time.Millisecond)
	as(c.ID, http.MethodPost, "/comment", map[string]any{"Content": "fits", "ContentType": "text/plain", "Status": "approved"})
	h.snow.Mend()
	h.run(3 * time.Second) // the pause after the failure
	work()
	seen := bodies[ops.ApprovalSeenBody](h, c.Subject())
	if len(seen) != 1 || seen[0].Revision != 1 || seen[0].Digest != one.PlanDigest || seen[0].Person != "anna" || seen[0].Comment != "fits" {
		t.Fatalf("told %+v", seen)
	}
	asked(two)
	as(c.ID, http.MethodPut, "", map[string]any{"Status": "approved"})
	work()
	seen = bodies[ops.ApprovalSeenBody](h, c.Subject())
	if len(seen) != 2 || seen[1].Revision != 2 || seen[1].Digest != two.PlanDigest || !seen[1].DecidedAt.After(seen[1].WrittenAt) {
		t.Fatalf("told %+v", seen)
	}
	h.ends(c.ID, ops.ChangeClosed, ops.Successful, "better")
	work()
	if row := h.ofChange("snow", c.ID, ops.TicketChangeRequest); row.Seen.State != "closed" || row.Sync != ops.SyncOK {
		t.Errorf("closed as %+v", row)
	}

	c = h.raise(ops.Change{})
	c = h.planned(c.ID, owner)
	work()
	asked(c)
	as(c.ID, http.MethodPost, "/comment", map[string]any{"Content": "not this week", "ContentType": "text/plain", "Status": "denied"})
	work()
	seen = bodies[ops.ApprovalSeenBody](h, c.Subject())
	if len(seen) != 1 || seen[0].Decision != ops.Refused || seen[0].Comment != "not this week" || seen[0].Digest != c.PlanDigest {
		t.Errorf("told %+v", seen)
	}
	h.ends(c.ID, ops.ChangeCancelled, ops.Denied, "denied by anna")
	work()
	if row := h.ofChange("snow", c.ID, ops.TicketChangeRequest); row.Seen.State != "cancelled" || row.Sync != ops.SyncOK {
		t.Errorf("ended as %+v", row)
	}

	c = h.raise(ops.Change{})
	h.planned(c.ID, owner)
	work()
	as(c.ID, http.MethodPut, "", map[string]any{"Status": "stopped"})
	work()
	if seen := bodies[ops.WithdrawalSeenBody](h, c.Subject()); len(seen) != 1 || seen[0].Person != "anna" {
		t.Errorf("told %+v", seen)
	}
}
