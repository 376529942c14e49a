package rt_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/rt"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// staff is what the tests need in a real Request Tracker: fettle has the rights
// that README.md asks for and no others, mute may look only, and the queue Bare
// has no custom field.
const staff = `
@Users = (map { { Name => $_, Password => "secret-$_", Privileged => 1, EmailAddress => "$_\@fettle.test" } } qw(fettle anna ben mute blind));
push @Queues, { Name => 'Network' }, { Name => 'Bare' }, { Name => 'Orders' };
push @CustomFields,
  (map { { Name => $_, Type => 'FreeformSingle', LookupType => 'RT::Queue-RT::Ticket', ApplyTo => ['General', 'Network', 'Orders'] } } qw(Resource ResolveCode)),
  (map { { Name => $_, Type => 'Text', LookupType => 'RT::Queue-RT::Ticket', ApplyTo => ['General', 'Network', 'Orders'] } } qw(Context Resolution));
$_->{ApplyTo} = ['General', 'Network', 'Orders'] for @CustomFields[0, 1];
@ACL = (
  (map { { UserId => 'fettle', Right => $_ } } qw(SeeQueue ShowTicket ShowTicketComments CreateTicket CommentOnTicket ReplyToTicket ModifyTicket ReassignTicket SeeCustomField ModifyCustomField)),
  (map { my $u = $_; map { { UserId => $u, Right => $_ } } qw(SeeQueue ShowTicket ShowTicketComments CommentOnTicket ReplyToTicket ModifyTicket OwnTicket ReassignTicket SeeCustomField ModifyCustomField) } qw(anna ben)),
  (map { { UserId => 'mute', Right => $_ } } qw(SeeQueue ShowTicket)),
  (map { { UserId => 'blind', Right => $_ } } qw(SeeQueue ShowTicket ShowTicketComments CreateTicket CommentOnTicket ModifyTicket SeeCustomField)),
);
`

// changes is the queue of change requests and its lifecycle: approval is a
// status that people move on to approved or denied.
const (
	changes = `
push @Queues, { Name => 'Change requests', Lifecycle => 'fettle_change' };
push @CustomFields, (map { { Name => $_, Type => 'FreeformSingle', LookupType => 'RT::Queue-RT::Ticket', ApplyTo => ['Change requests'] } } qw(FettlePlan ChangeType));
$_->{ApplyTo} = [@{ref $_->{ApplyTo} ? $_->{ApplyTo} : [$_->{ApplyTo}]}, 'Change requests'] for grep { $_->{Name} =~ /^(FettleKey|Resource|ResolveCode|Context|Resolution)$/ } @CustomFields;
`
	lifecycle = `
Set(%Lifecycles, fettle_change => {
  initial => ['planning'], active => [qw(approval approved implement review denied)], inactive => [qw(done stopped deleted)],
  defaults => { on_create => 'planning' },
  transitions => {
    '' => [qw(planning)],
    planning => [qw(approval stopped)],
    approval => [qw(approved denied planning stopped)],
    denied => [qw(planning stopped)],
    approved => [qw(implement planning stopped)],
    implement => [qw(review planning)],
    review => [qw(done)],
    done => [], stopped => [], deleted => [],
  },
});
`
)

func changesOptions() map[string]any {
	return map[string]any{
		"queue": "Change requests", "type_field": "ChangeType", "approved": "approved", "denied": "denied",
		"statuses": map[string]any{"assess": "planning", "authorize": "approval", "implement": "implement", "review": "review", "closed": "done", "cancelled": "stopped"},
	}
}

// decide moves a change request on, with a word why, as people do.
func (h hands) decide(t *testing.T, ref, user string, d ops.Decision, comment string) {
	t.Helper()
	status := map[ops.Decision]string{ops.Approved: "approved", ops.Refused: "denied"}[d]
	if comment == "" {
		h.do(t, user, http.MethodPut, "/ticket/"+ref, map[string]any{"Status": status}, nil)
		return
	}
	h.do(t, user, http.MethodPost, "/ticket/"+ref+"/comment", map[string]any{"Content": comment, "ContentType": "text/plain", "Status": status}, nil)
}

// hands are a person's, or an administrator's, in front of Request Tracker.
type hands struct {
	t   testing.TB
	url string
}

func start(t testing.TB) hands {
	t.Helper()
	return hands{t, peer.RequestTrackerWith(t, peer.RTConfig{InitialData: staff + changes, SiteConfig: lifecycle}).URL}
}

// do sends a request as a user and fails on anything but 2xx.
func (h hands) do(t testing.TB, user, method, path string, in, out any) {
	t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, h.url+"/REST/2.0"+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	password := "secret-" + user
	if user == "root" {
		password = "password"
	}
	req.SetBasicAuth(user, password)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s as %s: %s %s, %v", method, path, user, resp.Status, b, err)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, b)
	}
}

// transport opens a connection for each request: starman closes idle ones after
// a second, and a write that meets that is rightly not repeated.
var transport = &http.Transport{DisableKeepAlives: true}

func (h hands) find(t testing.TB, query string) []string {
	t.Helper()
	var found struct{ Items []struct{ ID string } }
	h.do(t, "root", http.MethodGet, "/tickets?per_page=100&query="+url.QueryEscape(query), nil, &found)
	var ids []string
	for _, i := range found.Items {
		ids = append(ids, i.ID)
	}
	return ids
}

func (h hands) edit(t *testing.T, ref, user string, changed []connector.Field, f ops.TicketFields, note string) {
	t.Helper()
	body := map[string]any{}
	custom := map[string]any{}
	for _, c := range changed {
		switch c {
		case connector.Title:
			body["Subject"] = f.Title
		case connector.State:
			body["Status"] = map[string]string{"new": "new", "in_progress": "open", "on_hold": "stalled", "resolved": "resolved", "cancelled": "stopped"}[f.State]
		case connector.PlannedStart:
			body["Starts"] = f.PlannedStart.Format("2006-01-02 15:04:05")
		case connector.PlannedEnd:
			body["Due"] = f.PlannedEnd.Format("2006-01-02 15:04:05")
		case connector.Severity:
			body["Priority"] = map[ops.Severity]int{ops.Critical: 95, ops.High: 80, ops.Medium: 50, ops.Low: 20, ops.Info: 1}[f.Severity]
		case connector.ResolveCode:
			custom["ResolveCode"] = f.ResolveCode
		case connector.ResolveNote:
			custom["Resolution"] = f.ResolveNote
		default:
			t.Fatalf("no person edits %s here", c)
		}
	}
	if len(custom) > 0 {
		body["CustomFields"] = custom
	}
	if len(body) > 0 {
		h.do(t, user, http.MethodPut, "/ticket/"+ref, body, nil)
	}
	if note != "" {
		h.do(t, user, http.MethodPost, "/ticket/"+ref+"/comment", map[string]any{"Content": note, "ContentType": "text/plain"}, nil)
	}
}

func settings(address, user string, options connector.Section) (connector.Settings, map[string]string) {
	ref := "env:RT_PASSWORD_OF_" + user
	return connector.Settings{
		URL: address, Options: options,
		Auth: connectortest.Values{"basic": map[string]any{"username": user, "password": ref}},
	}, map[string]string{ref: "secret-" + user}
}

func options(more ...any) connectortest.Values {
	v := connectortest.Values{
		"resource_field": "Resource", "description_field": "Context", "resolve_code_field": "ResolveCode", "resolve_note_field": "Resolution",
		"groups": map[string]any{"Cloud operations": "General", "Network team": "Network"}, "settle": 1000,
	}
	for i := 0; i+1 < len(more); i += 2 {
		v[more[i].(string)] = more[i+1]
	}
	return v
}

func TestDriverOnRequestTracker(t *testing.T) {
	peer.Long(t)
	rtHands := start(t)
	// A ticket everywhere, so that rights can be checked.
	for _, q := range []string{"General", "Network"} {
		rtHands.do(t, "root", http.MethodPost, "/ticket", map[string]any{"Queue": q, "Subject": "somebody else's"}, nil)
	}
	_, secrets := settings(rtHands.url, "fettle", options())
	withChanges, _ := settings(rtHands.url, "fettle", options("changes", changesOptions(), "queues", map[string]any{"work_order": "Orders"}))
	broken := func(name, says, user string, o connectortest.Values) connectortest.Broken {
		s, sec := settings(rtHands.url, user, o)
		return connectortest.Broken{Name: name, Settings: s, Secrets: sec, Says: says}
	}
	wrong := broken("password", "401", "fettle", options())
	wrong.Secrets = map[string]string{"env:RT_PASSWORD_OF_fettle": "not-the-password"}
	connectortest.Run(t, rt.Driver, func(*testing.T) connectortest.Harness {
		return connectortest.Harness{
			Settings: withChanges, Secrets: secrets, User: "fettle", Transport: transport, Missing: "999999", People: [2]string{"anna", "ben"},
			Fields: ops.TicketFields{Group: "Cloud operations", Resource: "web-1", Extra: map[string]string{"Severity": "High", "Due": "2027-01-02T03:04:05Z"}},
			Edit:   rtHands.edit, Decide: rtHands.decide,
			Offer: func(t *testing.T, ref, user string, start, end time.Time) {
				t.Helper()
				rtHands.edit(t, ref, user, []connector.Field{connector.PlannedStart, connector.PlannedEnd}, ops.TicketFields{PlannedStart: start, PlannedEnd: end}, "")
			},
			// Only the times of plans and decisions go by the second: versions and the
			// feed count transactions.
			Wait: func(d time.Duration) {
				if d != 2*time.Second {
					d = min(d, 10*time.Millisecond)
				}
				time.Sleep(min(d, 1100*time.Millisecond))
			},
			Count: func(t *testing.T, key string) int {
				t.Helper()
				return len(rtHands.find(t, fmt.Sprintf("'CF.{FettleKey}' = '%s'", key)))
			},
			Broken: []connectortest.Broken{
				wrong,
				broken("queue", `queue "Nowhere" does not exist`, "fettle", options("queue", "Nowhere")),
				broken("field not applied", `queue "Bare": shows no custom field FettleKey`, "fettle", options("queue", "Bare")),
				broken("no right to create", "CreateTicket", "mute", options()),
				broken("no right to comment", "CommentOnTicket", "mute", options()),
				broken("no right to modify", "ModifyTicket", "mute", options()),
				broken("no right to see fields", "SeeCustomField", "mute", options()),
			},
		}
	})
	t.Run("flows", func(t *testing.T) {
		for _, f := range flows {
			t.Run(f.name, func(t *testing.T) { f.run(t, &stage{hands: rtHands, live: true, transport: transport}) })
		}
	})
}

func sortedFields(c connector.Copy, f ops.TicketFields) []connector.Field {
	d := connector.Diff(c.Fields, f)
	slices.Sort(d)
	return d
}
