package opscenter_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/opscenter"
	"github.com/fettleops/fettle/connector/opscenter/opscentertest"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

// desk is a connection to a double whose clock the test moves.
type desk struct {
	*testing.T
	*opscentertest.Service
	now  time.Time
	conn *connector.Conn
}

func start(t *testing.T, more ...any) *desk {
	t.Helper()
	awsxtest.Credentials(t)
	d := &desk{T: t, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	d.Service = opscentertest.New(func() time.Time { return d.now })
	d.conn = d.open(options(more...))
	return d
}

func (d *desk) open(o connectortest.Values) *connector.Conn {
	d.Helper()
	c, err := opscenter.Driver.Open(d.Context(), connector.Settings{Options: o}, connector.Env{
		Name: "opscenter", Installation: "here", Clock: func() time.Time { return d.now }, Records: &record.Memory{}, HTTP: sender{d.Service},
	})
	if err != nil {
		d.Fatal(err)
	}
	return c
}

func (d *desk) create(key string, kind ops.TicketKind, f ops.TicketFields) connector.Copy {
	d.Helper()
	c, err := d.conn.Create(d.Context(), key, kind, f)
	if err != nil {
		d.Fatal(err)
	}
	return c
}

func (d *desk) get(ref string) connector.Copy {
	d.Helper()
	c, err := d.conn.Get(d.Context(), ref)
	if err != nil {
		d.Fatal(err)
	}
	return c
}

func (d *desk) update(c connector.Copy, f ops.TicketFields, changed ...connector.Field) connector.Copy {
	d.Helper()
	got, err := d.conn.Update(d.Context(), c.Ref, connector.Edit{Want: f, Changed: changed, Version: d.get(c.Ref).Version})
	if err != nil {
		d.Fatal(err)
	}
	return got
}

func fields() ops.TicketFields {
	return ops.TicketFields{Title: "Window for CHG-7", Description: "Please give it a window.", State: "new", Resource: "web-1"}
}

// A change that a recommendation asked for fills the fields that ICCO fills.
func TestFieldsOfICCO(t *testing.T) {
	d := start(t, "runbooks", []string{"ScheduleMaintenanceWindow"}, "notify", []string{"arn:aws:sns:eu-central-1:111122223333:ops"}, "tags", map[string]string{"team": "shop"})
	const stack = "arn:aws:cloudformation:eu-central-1:111122223333:stack/web/8f3c"
	f := func(name string, a *ops.Analysis, severity, category string, want map[string]string) {
		t.Helper()
		c := ops.Change{Number: 7, Analysis: a}
		w := fields()
		w.Extra = d.conn.Extra(ops.TicketWorkOrder, c)
		d.create("key of "+name, ops.TicketWorkOrder, w)
		all := d.Items()
		i := all[len(all)-1]
		if i.Severity != severity || i.Category != category || i.Source != "Fettle" || i.OpsItemType != "/aws/issue" || i.Status != "Open" {
			t.Errorf("%s: %+v", name, i)
		}
		got := map[string]string{}
		for k, v := range i.OperationalData {
			if !strings.HasPrefix(k, "fettle") && k != "/aws/dedup" && k != "/aws/automations" {
				got[k] = v.Type + " " + v.Value
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: operational data\n%v, want\n%v", name, got, want)
		}
		if i.OperationalData["/aws/automations"].Value != `[{"automationId":"ScheduleMaintenanceWindow","automationType":"AWS::SSM::Automation"}]` ||
			i.OperationalData["/aws/dedup"].Value != `{"dedupString":"key of `+name+`"}` || i.Notifications[0]["Arn"] == "" || i.Tags["team"] != "shop" {
			t.Errorf("%s: %+v", name, i)
		}
	}
	f("a plain change", nil, "", "Performance", map[string]string{"changeId": "SearchableString CHG-7", "name": "String web-1"})
	a := ops.Analysis{
		Account: "111122223333", Region: "eu-central-1", Service: ops.ServiceEC2, ResourceKey: "i-0abc", Stack: stack, LogicalID: "Web",
		Current: ops.Values{Type: "m5.xlarge"}, Recommended: ops.Values{Type: "m5.large"}, Saving: &ops.Saving{Amount: 40.5}, Effort: "Low",
		Parameter: "/densify/iaas/ec2/i-0abc/instanceType",
	}
	want := map[string]string{
		"changeId": "SearchableString CHG-7", "name": "String web-1", "resourceId": "SearchableString i-0abc", "cloudformation:stack-name": "SearchableString web",
		"cloudformation:stack-id": "SearchableString " + stack, "cloudformation:logical-id": "SearchableString Web", "parameterKey": "SearchableString /densify/iaas/ec2/i-0abc/instanceType",
		"serviceType": "String EC2", "currentType": "String m5.xlarge", "recommendedType": "String m5.large", "savingsEstimate": "String 40.5", "effortEstimate": "String Low",
		"/aws/resources": `SearchableString [{"arn":"` + stack + `"},{"arn":"arn:aws:ec2:eu-central-1:111122223333:instance/i-0abc"}]`,
	}
	f("one that saves", &a, "2", "Cost", want)
	costs := a
	costs.Saving = &ops.Saving{Amount: -3}
	want["savingsEstimate"] = "String -3"
	f("one that costs", &costs, "1", "Performance", want)
	if x := d.conn.Extra(ops.TicketIncident, ops.Change{Number: 7, Analysis: &a}); len(x) != 0 {
		t.Errorf("an incident has %v", x)
	}
}

// What stands in a work order is a window, or is shown to people as it is.
func TestWindows(t *testing.T) {
	const ny, plain, berlin = "mw-00000000000000001", "mw-00000000000000002", "mw-00000000000000003"
	f := func(zone string, data map[string]string, start, end string, unread ...string) {
		t.Helper()
		d := start2(t, zone)
		d.Put(opscentertest.Window{WindowId: ny, ScheduleTimezone: "America/New_York"})
		d.Put(opscentertest.Window{WindowId: plain})
		d.Put(opscentertest.Window{WindowId: berlin, ScheduleTimezone: "Europe/Berlin"})
		c := d.create("k", ops.TicketWorkOrder, fields())
		d.Edit(t, "anna", c.Ref, nil, data)
		got := d.get(c.Ref)
		if s, e := connector.Stamp(got.Fields.PlannedStart), connector.Stamp(got.Fields.PlannedEnd); s != start || e != end {
			t.Errorf("%q %v: %s to %s, want %s to %s", zone, data, s, e, start, end)
		}
		if shown := slices.Sorted(maps.Keys(got.Fields.Extra)); !slices.Equal(shown, unread) {
			t.Errorf("%q %v: shown as they are: %v, want %v", zone, data, shown, unread)
		}
	}
	own := func(start, end string) map[string]string {
		return map[string]string{"plannedStart": start, "plannedEnd": end}
	}
	icco := func(lines ...string) map[string]string {
		return map[string]string{"scheduledMaintenanceWindowDetails": strings.Join(lines, "\n")}
	}
	f("", own("2026-12-01T10:00:00Z", "2026-12-01T11:00:00+00:00"), "2026-12-01T10:00:00Z", "2026-12-01T11:00:00Z")
	f("", own("2026-12-01T10:00:00+01:00", ""), "2026-12-01T09:00:00Z", "") // half a window is none
	f("", own("2026-12-01T10:00", "2026-12-01T11:00"), "", "", "plannedEnd", "plannedStart")
	f("Europe/Berlin", own("2026-12-01T10:00", "2026-12-01 11:30:15"), "2026-12-01T09:00:00Z", "2026-12-01T10:30:15Z")
	f("Europe/Berlin", own("tomorrow", "2026-12-01 11:30"), "", "2026-12-01T10:30:00Z", "plannedStart")
	f("Europe/Berlin", own("2027-03-28T02:30", "2027-03-28T04:00"), "", "2027-03-28T02:00:00Z", "plannedStart")       // the clocks skip it
	f("Europe/Berlin", own("2027-10-31T02:30", "2027-10-31T04:00"), "", "2027-10-31T03:00:00Z", "plannedStart")       // they show it twice
	f("Australia/Lord_Howe", own("2027-04-04T01:45", "2027-04-04T03:00"), "", "2027-04-03T16:30:00Z", "plannedStart") // by half an hour

	at := "CronExpression=at(2026-12-01T10:00:00)"
	f("", icco("WindowId="+ny, at, "Duration=2"), "2026-12-01T15:00:00Z", "2026-12-01T17:00:00Z")
	f("", icco("WindowId="+berlin, at, "Duration=24"), "2026-12-01T09:00:00Z", "2026-12-02T09:00:00Z")
	f("", icco("WindowId="+plain, at, "Duration=2"), "2026-12-01T10:00:00Z", "2026-12-01T12:00:00Z") // UTC, as the service has it
	f("Europe/Berlin", icco("WindowId="+ny, at, "Duration=2"), "2026-12-01T09:00:00Z", "2026-12-01T11:00:00Z")
	f("", icco(at, "Duration=2", "TimeZone=Europe/Berlin"), "2026-12-01T09:00:00Z", "2026-12-01T11:00:00Z")
	const details = "scheduledMaintenanceWindowDetails"
	f("", icco(at, "Duration=2"), "", "", details)
	f("", icco("WindowId=mw-0000000000000000f", at, "Duration=2"), "", "", details) // it is gone
	f("", icco("WindowId="+ny, at), "", "", details)
	f("", icco("WindowId="+ny, at, "Duration=25"), "", "", details)
	f("", icco("WindowId="+ny, at, "Duration=two"), "", "", details)
	f("", icco("WindowId="+ny, "CronExpression=cron(0 10 ? * SUN *)", "Duration=2"), "", "", details)
	f("", icco(at, "Duration=2", "TimeZone=Mars/Olympus"), "", "", details)
	f("", icco(at, "Duration=2", "TimeZone=Local"), "", "", details)
	both := own("2026-12-05T10:00:00Z", "2026-12-05T11:00:00Z")
	maps.Copy(both, icco("WindowId="+ny, at, "Duration=2"))
	f("", both, "2026-12-05T10:00:00Z", "2026-12-05T11:00:00Z")
}

func start2(t *testing.T, zone string) *desk {
	t.Helper()
	if zone == "" {
		return start(t)
	}
	return start(t, "window", map[string]any{"details": "scheduledMaintenanceWindowDetails", "start": "plannedStart", "end": "plannedEnd", "time_zone": zone})
}

// A platform that does not say the zone of a window now says it later: the
// window is not taken for one of another zone, and nothing is lost.
func TestZoneThatCannotBeRead(t *testing.T) {
	d := start(t)
	d.Put(opscentertest.Window{WindowId: "mw-00000000000000001", ScheduleTimezone: "America/New_York"})
	c := d.create("k", ops.TicketWorkOrder, fields())
	d.Edit(t, "anna", c.Ref, nil, map[string]string{"scheduledMaintenanceWindowDetails": "WindowId=mw-00000000000000001\nCronExpression=at(2026-12-01T10:00:00)\nDuration=1"})
	d.Deny("GetMaintenanceWindow", true)
	if got := d.get(c.Ref); !got.Fields.PlannedStart.IsZero() || got.Fields.Extra["scheduledMaintenanceWindowDetails"] == "" {
		t.Errorf("without the right: %+v", got.Fields)
	}
	d.Deny("GetMaintenanceWindow", false)
	if got := d.get(c.Ref); got.Fields.PlannedStart.IsZero() || len(got.Fields.Extra) != 0 {
		t.Errorf("with the right: %+v", got.Fields)
	}
}

// Ours are six states and an OpsItem has three: what a person sets counts.
func TestStates(t *testing.T) {
	d := start(t)
	c := d.create("k", ops.TicketIncident, fields())
	want := func(state, status string) {
		t.Helper()
		if got := d.get(c.Ref).Fields.State; got != state || d.Items()[0].Status != status {
			t.Errorf("%s (%s), want %s (%s)", got, d.Items()[0].Status, state, status)
		}
	}
	ours := func(state, status string) {
		t.Helper()
		f := d.get(c.Ref).Fields
		f.State, f.ResolveCode, f.ResolveNote = state, "resolved", "done"
		d.update(c, f, connector.State)
		want(state, status)
	}
	theirs := func(status, state string) {
		t.Helper()
		d.Edit(t, "anna", c.Ref, map[string]any{"Status": status}, nil)
		want(state, status)
	}
	want("new", "Open")
	ours("on_hold", "InProgress")
	theirs("Open", "new")
	ours("in_progress", "InProgress")
	theirs("Resolved", "resolved")
	ours("in_progress", "InProgress")
	ours("cancelled", "Resolved")
	theirs("InProgress", "in_progress")
	ours("closed", "Resolved")
}

// A description longer than an OpsItem holds is kept whole beside it, until
// somebody writes another.
func TestLongDescription(t *testing.T) {
	d := start(t)
	f := fields()
	f.Description = strings.Repeat("Übersicht ", 500)
	c := d.create("k", ops.TicketWorkOrder, f)
	f.Description = strings.TrimSpace(f.Description)
	if diff := connector.Diff(d.conn.Normal(f, c.Fields), c.Fields); len(diff) != 0 {
		t.Errorf("differs in %v", diff)
	}
	if shown := d.Items()[0].Description; !strings.Contains(shown, "the whole is in the operational data fettleDescription") {
		t.Errorf("shows ...%s", shown[len(shown)-100:])
	}
	d.Edit(t, "anna", c.Ref, map[string]any{"Description": "mine"}, nil)
	if got := d.get(c.Ref).Fields.Description; got != "mine" {
		t.Errorf("reads %.40q", got)
	}
	f.Description = "short again"
	if got := d.update(c, f, connector.Description); got.Fields.Description != "short again" {
		t.Errorf("reads %.40q", got.Fields.Description)
	}
	if v := d.Items()[0].OperationalData["fettleDescription"].Value; v != "" {
		t.Errorf("the long one is still there: %.40q", v)
	}
	f.Title = strings.Repeat("a\n", 1500)
	if got := d.update(c, f, connector.Title); len(got.Fields.Title) > 1024 || strings.Contains(got.Fields.Title, "\n") {
		t.Errorf("title %d long", len(got.Fields.Title))
	}
}

// Of our notes the last stay; people's are theirs.
func TestNotesKept(t *testing.T) {
	d := start(t, "keep_notes", 3)
	c := d.create("k", ops.TicketWorkOrder, fields())
	d.Edit(t, "anna", c.Ref, nil, map[string]string{"comment 1": "who asks?"})
	for n := range 6 {
		note := ops.Note{ID: fmt.Sprintf("n%d", n), Author: "fettle", Text: fmt.Sprintf("step %d\nand more", n)}
		for range 2 { // asked again after a lost answer
			if err := d.conn.AddNote(t.Context(), c.Ref, note); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got []string
	for _, n := range d.get(c.Ref).Notes {
		got = append(got, fmt.Sprintf("%s %v", n.Text, n.Own))
	}
	if want := []string{"step 3\nand more true", "step 4\nand more true", "step 5\nand more true", "who asks? false"}; !slices.Equal(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
	if n := d.Served("UpdateOpsItem"); n != 7 {
		t.Errorf("%d writes", n)
	}
	long := ops.Note{ID: "long", Author: "fettle", Text: strings.Repeat("x", 30_000)}
	if err := d.conn.AddNote(t.Context(), c.Ref, long); err != nil {
		t.Error(err)
	}
}

// The same role in another session is us: replicas run beside each other.
func TestOwnIsTheRole(t *testing.T) {
	d := start(t)
	c := d.create("k", ops.TicketWorkOrder, fields())
	f := func(by string, own bool) {
		t.Helper()
		d.Edit(t, by, c.Ref, map[string]any{"Title": by}, nil)
		if got := d.get(c.Ref); got.Own != own || got.UpdatedBy != opscentertest.ARN(by) {
			t.Errorf("%s: %s, own %v", by, got.UpdatedBy, got.Own)
		}
	}
	f("anna", false)
	f("fettle", true) // the test's own key is "test"
	f("ben", false)
	f("test", true)
}

// A create whose answer was lost is met by its dedup string before lists show
// it, and by its key when it was resolved.
func TestCreateAgain(t *testing.T) {
	d := start(t)
	d.Lag = time.Minute
	one := d.create("k", ops.TicketWorkOrder, fields())
	if two := d.create("k", ops.TicketWorkOrder, fields()); two.Ref != one.Ref || d.Served("CreateOpsItem") != 2 {
		t.Errorf("%s and %s, %d creates", one.Ref, two.Ref, d.Served("CreateOpsItem"))
	}
	d.Edit(t, "anna", one.Ref, map[string]any{"Status": "Resolved"}, nil)
	d.now = d.now.Add(time.Minute)
	if two := d.create("k", ops.TicketWorkOrder, fields()); two.Ref != one.Ref || d.Served("CreateOpsItem") != 2 {
		t.Errorf("%s and %s, %d creates", one.Ref, two.Ref, d.Served("CreateOpsItem"))
	}
	// Somebody took the key off an item that is still open.
	other := d.create("other", ops.TicketWorkOrder, fields())
	d.now = d.now.Add(time.Minute)
	d.Edit(t, "anna", other.Ref, nil, map[string]string{"fettleKey": ""})
	d.now = d.now.Add(time.Minute)
	if _, err := d.conn.Create(t.Context(), "other", ops.TicketWorkOrder, fields()); !errors.Is(err, ops.ErrConflict) || !strings.Contains(err.Error(), other.Ref) {
		t.Errorf("met a stranger: %v", err)
	}
}

// What the service refuses has its class, and nobody wonders whether it was done.
func TestRefused(t *testing.T) {
	d := start(t)
	c := d.create("k", ops.TicketWorkOrder, fields())
	f := func(name string, want error, says string, do func() error) {
		t.Helper()
		err := do()
		if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), says) || errors.As(err, new(*ops.UnknownOutcome)) {
			t.Errorf("%s: %v, want %v with %q", name, err, want, says)
		}
	}
	create := func(kind ops.TicketKind, t ops.TicketFields) func() error {
		return func() error { _, err := d.conn.Create(d.Context(), "new", kind, t); return err }
	}
	update := func(f ops.TicketFields, changed ...connector.Field) func() error {
		return func() error {
			_, err := d.conn.Update(d.Context(), c.Ref, connector.Edit{Want: f, Changed: changed, Version: d.get(c.Ref).Version})
			return err
		}
	}
	f("a change request", ops.ErrInvalid, "send change requests to another platform", create(ops.TicketChangeRequest, fields()))
	bad := fields()
	bad.Extra = map[string]string{"ssm-x": "v"}
	f("a reserved name", ops.ErrInvalid, "extra.ssm-x", update(bad, connector.ExtraField("ssm-x")))
	bad.Severity = "urgent"
	f("a severity", ops.ErrInvalid, "urgent", update(bad, connector.Severity))
	bad.Title = " "
	f("no title", ops.ErrInvalid, "title", update(bad, connector.Title))
	f("a foreign ref", ops.ErrNotFound, "INC1", func() error { _, err := d.conn.Get(t.Context(), "INC1"); return err })
	f("a cursor", ops.ErrInvalid, "cursor", func() error { _, _, err := d.conn.Changes(t.Context(), "7"); return err })
	d.Throttle(1)
	f("throttled", ops.ErrThrottled, "Rate exceeded", create(ops.TicketWorkOrder, fields()))
	d.Deny("CreateOpsItem", true)
	f("no right", ops.ErrDenied, "ssm:CreateOpsItem", create(ops.TicketWorkOrder, fields()))
	d.Deny("CreateOpsItem", false)
	d.Limit = 1
	f("the quota", ops.ErrInvalid, "OpsItemLimitExceeded", create(ops.TicketWorkOrder, fields()))
}

// A check says which right is missing, and writes nothing.
func TestCheck(t *testing.T) {
	f := func(operation, says string) {
		t.Helper()
		d := start(t)
		d.Deny(operation, true)
		err := d.conn.Check(t.Context())
		if says == "" && err != nil || says != "" && (!errors.Is(err, ops.ErrDenied) || !strings.Contains(err.Error(), says)) {
			t.Errorf("without %s: %v", operation, err)
		}
		if n := d.Served("UpdateOpsItem") + d.Served("CreateOpsItem"); n != 0 {
			t.Errorf("%d writes", n)
		}
	}
	f("", "")
	f("DescribeOpsItems", "give the role the right ssm:DescribeOpsItems")
	f("GetOpsItem", "give the role the right ssm:GetOpsItem")
}

func TestOptions(t *testing.T) {
	f := func(o connectortest.Values, says string) {
		t.Helper()
		err := opscenter.Driver.Validate(connector.Settings{Options: o})
		if says == "" && err != nil || says != "" && (!errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%v: %v, want %q", o, err, says)
		}
	}
	f(options(), "")
	f(options("categories", map[string]string{"work_order": "Cost"}), "")
	f(options("categories", map[string]string{"change_request": "Cost"}), "no kind of OpsItem")
	f(options("categories", map[string]string{"incident": ""}), "categories.incident")
	f(options("source", "AWS Fettle"), "without aws")
	f(options("keys", map[string]any{"group": "awsGroup"}), "keys.group")
	f(options("keys", map[string]any{"group": "name", "resource": "name"}), "already")
	f(options("keys", map[string]any{"comment": "a"}), "taken for a comment")
	f(options("window", map[string]any{"start": ""}), "window.start")
	f(options("window", map[string]any{"time_zone": "Berlin"}), "no time zone")
	f(options("window", map[string]any{"time_zone": "Local"}), "no time zone")
	f(options("notify", []string{"ops@example.com"}), "ARN")
	f(options("runbooks", []string{""}), "runbooks")
	f(options("keep_notes", 0), "keep_notes")
	f(options("overlap", -1), "overlap")
	f(options("link", "https://example.com"), "{id}")
	f(options("role", "fettle"), "role")
	if err := opscenter.Driver.Validate(connector.Settings{}); err != nil {
		t.Errorf("nothing set: %v", err)
	}
	_, err := opscenter.Driver.Open(t.Context(), connector.Settings{URL: "https://example.com", Options: options()}, connector.Env{})
	if !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), "leave it out") {
		t.Errorf("with a url: %v", err)
	}
	for _, key := range []string{"region", "plannedStart", "scheduledMaintenanceWindowDetails", "ssm:UpdateOpsItem", "comment"} {
		if !strings.Contains(opscenter.README, key) {
			t.Errorf("the README does not tell of %s", key)
		}
	}
}

// asJSON shows a value in a failure.
func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
