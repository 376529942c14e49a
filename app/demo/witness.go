package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/ops"
)

// witness reads, from outside, how far the loop has come.
type witness struct {
	demo     *demo
	api      *client.Client
	toldOf   map[string]bool
	incident api.IncidentSummary
	change   api.ChangeView
	facts    []ops.Fact
	intact   bool
	snow     snowIncident
	size     string
	effect   bool // the command's effect was seen
}

// snowIncident is what the simulated ServiceNow shows of the incident.
type snowIncident struct {
	Number    string `json:"number"`
	State     string `json:"state"`
	CloseCode string `json:"close_code"`
	SysID     string `json:"sys_id"`
	Notes     string `json:"work_notes"`
}

// look reads everything anew and narrates what is new.
func (w *witness) look(ctx context.Context) error {
	if w.toldOf == nil {
		w.toldOf = map[string]bool{}
	}
	found, err := w.api.Incidents(ctx, url.Values{"q": {"web-1"}})
	if err != nil || len(found.Items) == 0 {
		return err
	}
	w.incident = found.Items[len(found.Items)-1] // the first: newest come first
	story, err := w.api.Trail(ctx, w.incident.Key, true)
	if err != nil {
		return err
	}
	w.facts, w.intact = factsOf(story), story.Intact
	changes, err := w.api.Changes(ctx, url.Values{"incident": {w.incident.ID}})
	if err != nil {
		return err
	}
	if n := len(changes.Items); n > 0 {
		w.change = changes.Items[n-1]
		story, err := w.api.Trail(ctx, w.change.Key, true)
		if err != nil {
			return err
		}
		w.facts, w.intact = append(w.facts, factsOf(story)...), w.intact && story.Intact
	}
	w.size = w.demo.size()
	w.effect = w.effect || w.size == largeSize
	if err := w.lookAtServiceNow(ctx); err != nil {
		return err
	}
	w.narrate()
	return nil
}

func factsOf(t api.TrailView) []ops.Fact {
	var out []ops.Fact
	for _, e := range t.Entries {
		if e.Fact != nil {
			out = append(out, *e.Fact)
		}
	}
	return out
}

// lookAtServiceNow asks the simulated instance as one of its own people would.
func (w *witness) lookAtServiceNow(ctx context.Context) error {
	q := url.Values{
		"sysparm_query": {"short_descriptionLIKEweb-1^ORDERBYsys_created_on"}, "sysparm_display_value": {"false"},
		"sysparm_fields": {"number,state,close_code,sys_id"}, "sysparm_limit": {"10"},
	}
	var list struct {
		Result []snowIncident `json:"result"`
	}
	if err := w.get(ctx, "/api/now/table/incident?"+q.Encode(), &list); err != nil || len(list.Result) == 0 {
		return err
	}
	got := list.Result[0]
	var notes struct {
		Result []struct {
			Value string `json:"value"`
		} `json:"result"`
	}
	q = url.Values{"sysparm_query": {"element_id=" + got.SysID + "^element=work_notes"}}
	if err := w.get(ctx, "/api/now/table/sys_journal_field?"+q.Encode(), &notes); err != nil {
		return err
	}
	for _, n := range notes.Result {
		got.Notes += n.Value + "\n"
	}
	w.snow = got
	return nil
}

func (w *witness) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.demo.snow+path, nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth("beth.anglin", "beth.anglin")
	req.Header.Set("Accept", "application/json")
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return fmt.Errorf("ask the simulated ServiceNow: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode == http.StatusNotFound {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the simulated ServiceNow answered %s", resp.Status)
	}
	return json.Unmarshal(b, into)
}

// narrate tells each fact once, in a sentence.
func (w *witness) narrate() {
	for _, f := range w.facts {
		if w.toldOf[f.ID] {
			continue
		}
		w.toldOf[f.ID] = true
		if s := w.sentence(f); s != "" {
			w.demo.say("%s", s)
		}
	}
}

func (w *witness) sentence(f ops.Fact) string {
	var b struct {
		Why      string         `json:"why"`
		Display  string         `json:"display"`
		Platform string         `json:"platform"`
		Error    string         `json:"error"`
		Incident ops.Incident   `json:"incident"`
		Change   ops.Change     `json:"change"`
		Alerts   []ops.Alert    `json:"alerts"`
		Approval ops.Approval   `json:"approval"`
		Verdict  ops.Verdict    `json:"verdict"`
		Plan     ops.Plan       `json:"plan"`
		Window   ops.Occurrence `json:"window"`
	}
	if json.Unmarshal(f.Body, &b) != nil {
		return ""
	}
	switch f.Kind {
	case ops.IncidentOpened:
		actual := ""
		if len(b.Alerts) > 0 {
			actual = fmt.Sprintf(" (%s %s %s, was %s)", b.Alerts[0].Context.Metric, b.Alerts[0].Context.Operator, b.Alerts[0].Context.Threshold, b.Alerts[0].Context.Actual)
		}
		return fmt.Sprintf("Incident %s: %s%s.", b.Incident.Key(), b.Incident.Title, actual)
	case ops.IncidentResolvedFact:
		return fmt.Sprintf("%s is resolved: %s.", b.Incident.Key(), b.Why)
	case ops.TicketOpened:
		return fmt.Sprintf("Ticket %s opened in %s.", b.Display, b.Platform)
	case ops.ChangeRaised:
		return fmt.Sprintf("Change %s raised: %s.", b.Change.Key(), b.Change.Title)
	case ops.PlanMade:
		return fmt.Sprintf("Plan made, digest %.12s.", b.Plan.Digest)
	case ops.ApprovalRequested:
		return "Approval requested: " + b.Why + "."
	case ops.ApprovalGiven:
		return fmt.Sprintf("%s by %s.", strings.ToUpper(string(b.Approval.Decision[:1]))+string(b.Approval.Decision[1:]), b.Approval.Name)
	case ops.ChangeScheduledAt:
		return "Scheduled: " + b.Why + "."
	case ops.ChangeWaiting:
		return "Waiting: " + b.Why + "."
	case ops.RunStarted:
		return fmt.Sprintf("The window %s is open; planned again, same digest: running.", b.Window.Window)
	case ops.RunApplied:
		return fmt.Sprintf("The command ran; web-1 is now %s.", w.size)
	case ops.RunBroke:
		return "The run failed: " + b.Error + "."
	case ops.RunUndone:
		if b.Error != "" {
			return "Rolling back failed: " + b.Error + "."
		}
		return fmt.Sprintf("Rolled back; web-1 is %s again.", w.size)
	case ops.VerdictGiven:
		return fmt.Sprintf("Verdict %s: %s.", b.Verdict.Word, b.Verdict.Why)
	case ops.ChangeEnded:
		return fmt.Sprintf("Change %s closed as %s.", b.Change.Key(), b.Change.Outcome)
	}
	return ""
}

func (w *witness) waitsForApproval() bool { return w.change.State == ops.ChangeAuthorize }

// finished reports whether nothing more will happen.
func (w *witness) finished() bool {
	for _, s := range w.stations() {
		if !s.reached {
			return w.ended()
		}
	}
	return true
}

// ended reports whether the change ended without success or waits for a person
// to look, after which the remaining stations cannot come any more.
func (w *witness) ended() bool {
	if w.change.Run != nil && w.change.Run.State == ops.RunHeld {
		return true
	}
	return w.change.State.Terminal() && w.change.Outcome != ops.Successful
}

// station is one stop of the loop, with what proves it.
type station struct {
	name, what string
	reached    bool
}

func (w *witness) stations() []station {
	has := func(k ops.FactKind) (ops.Fact, bool) {
		for _, f := range w.facts {
			if f.Kind == k {
				return f, true
			}
		}
		return ops.Fact{}, false
	}
	var out []station
	add := func(name string, reached bool, what string) { out = append(out, station{name, what, reached}) }

	opened, found := has(ops.IncidentOpened)
	body, _ := ops.Body[ops.IncidentOpenedBody](opened)
	measured := len(body.Alerts) > 0 && body.Alerts[0].Context.Value != nil
	add("observe", found && measured, "the alert carries the value that was measured")
	add("detect", found && measured && *body.Alerts[0].Context.Value > 0.8, "the rule fired above its threshold")
	add("correlate", found, fmt.Sprintf("%s was opened", w.incident.Key))

	desk := false
	for _, f := range w.facts {
		if b, err := ops.Body[ops.TicketOpenedBody](f); err == nil && b.Platform == "desk" {
			desk = true
		}
	}
	add("ticket", desk && w.snow.Number != "", fmt.Sprintf("the desk has a ticket, ServiceNow shows %s", w.snow.Number))

	given, found := has(ops.ApprovalGiven)
	approval, _ := ops.Body[ops.ApprovalGivenBody](given)
	made, _ := has(ops.PlanMade)
	plan, _ := ops.Body[ops.PlanMadeBody](made)
	add("approve", found && approval.Approval.Decision == ops.Approved && approval.Approval.Digest == plan.Plan.Digest && plan.Plan.Digest != "", "ann approved exactly the digest that was planned")

	started, found := has(ops.RunStarted)
	run, _ := ops.Body[ops.RunStartedBody](started)
	inside := !started.At.Before(run.Window.Start) && started.At.Before(run.Window.End)
	add("window", found && inside, "the run started inside its window")

	applied, found := has(ops.RunApplied)
	add("execute", found && w.effect, "the command's effect was seen on disk")

	judged, found := has(ops.VerdictGiven)
	verdict, _ := ops.Body[ops.VerdictGivenBody](judged)
	add("verify", found && verdict.Verdict.Word == ops.Better && !judged.At.Before(applied.At), "the cause went away after the run")

	_, found = has(ops.IncidentResolvedFact)
	add("resolve", found && w.snow.State == "6" && w.snow.CloseCode != "", "the incident and its ServiceNow ticket are resolved")
	add("learn", w.change.Outcome == ops.Successful && strings.Contains(w.snow.Notes, w.change.Key) && w.intact, "the change closed as successful, its steps are in the ticket, the trail's hash chain holds")
	return out
}

// summary prints the table of stations and returns an error that names the
// first one not reached.
func (w *witness) summary() error {
	w.demo.say("")
	t := tabwriter.NewWriter(w.demo.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STATION\tREACHED\tWHAT SHOWS IT")
	var missed string
	for _, s := range w.stations() {
		word := "yes"
		if !s.reached {
			word = "no"
			if missed == "" {
				missed = s.name
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.name, word, s.what)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	w.demo.say("")
	if missed != "" {
		return errors.New("the loop stopped at the station " + missed)
	}
	return nil
}
