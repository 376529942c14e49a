package connectortest

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

var changeRules = []Rule{
	{Name: "open a change", Change: true, Why: "an approver decides on what the ticket shows", Test: openChange},
	{Name: "open a change twice", Change: true, Why: "two tickets of one change could be approved and denied at once", Test: openChangeTwice},
	{Name: "risk round trip", Change: true, Why: "a risk that reads back as another one is written again for ever, or hides a danger", Test: risks},
	{Name: "times round trip", Change: true, Why: "a planned time that shifts runs the change outside its window", Test: times},
	{Name: "plan stands with its time", Change: true, Why: "an approval counts only when it was given after the plan was written, by one clock", Test: planStands},
	{Name: "ask for another plan", Change: true, Why: "people must not be asked about a plan that is not on the ticket", Test: askForAnother},
	{Name: "ask and approve", Change: true, Why: "who decided what and when is what the gate judges", Test: askAndApprove},
	{Name: "ask and deny", Change: true, Why: "a denial that is not seen lets a change run", Test: askAndDeny},
	{Name: "ask twice", Change: true, Why: "after a lost answer we ask again, and nobody may be asked twice or again after deciding", Test: askTwice},
	{Name: "withdraw", Change: true, Why: "nobody may approve a plan that was replaced", Test: withdraw},
	{Name: "withdraw what was approved", Change: true, Why: "a plan that moved after its approval needs a new one", Test: withdrawApproved},
	{Name: "withdraw nothing", Change: true, Why: "a withdrawal may be repeated after a lost answer", Test: withdrawNothing},
	{Name: "walk to the end", Change: true, Why: "a ticket that lags behind its change must catch up, with the outcome", Test: walk},
	{Name: "cancel", Change: true, Why: "nobody may approve a change that has ended", Test: cancelChange},
	{Name: "no close without outcome", Change: true, Why: "a closed change without its outcome says nothing, and some platforms refuse it silently", Test: bareClose},
	{Name: "decision in the feed", Change: true, Why: "a decision nobody hears of holds up the change", Test: decisionInFeed},
	{Name: "person cancels in the feed", Change: true, Why: "a change somebody stopped in the platform must not run", Test: cancelInFeed},
	{Name: "person plans in the feed", Change: true, Why: "cloud operations give the window in the ticket", Test: windowInFeed},
	{Name: "attach", Change: true, Why: "a file attached twice makes people compare two reports", Test: attach},
}

// planned is the day changes of the suite are planned for.
var planned = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

// Mark returns the mark of a plan with this revision.
func Mark(revision int) string {
	sum := sha256.Sum256([]byte{byte(revision)})
	return ops.PlanMark(hex.EncodeToString(sum[:]), revision)
}

func (s *Suite) changeFields() ops.TicketFields {
	f := s.Change
	if f.Title == "" {
		f.Title, f.Description = "CHG-1 scale web-1", "Current: 2\nRecommended: 3\nÜmlaut <b>"
		f.Group, f.Resource = s.Fields.Group, s.Fields.Resource
	}
	if f.Type == "" {
		f.Type = ops.ChangeNormal
	}
	f.State, f.Risk, f.Plan = string(ops.ChangeAssess), ops.RiskModerate, Mark(1)
	f.PlanText, f.Rollback = "~ web-1: 2 -> 3", "~ web-1: 3 -> 2"
	return f
}

func (s *Suite) change() connector.Copy {
	s.Helper()
	return s.changeKey(s.key())
}

func (s *Suite) changeKey(key string) connector.Copy {
	s.Helper()
	c, err := s.conn.Create(s.Context(), key, ops.TicketChangeRequest, s.changeFields())
	if err != nil {
		s.Fatalf("create a change request: %v", err)
	}
	return c
}

func (s *Suite) ask(ref string, revision int) connector.Copy {
	s.Helper()
	c, err := s.conn.RequestApproval(s.Context(), ref, Mark(revision))
	if err != nil {
		s.Fatalf("request approval of %s: %v", ref, err)
	}
	return c
}

func (s *Suite) takeBack(ref string) connector.Copy {
	s.Helper()
	c, err := s.conn.WithdrawApproval(s.Context(), ref, "the plan is made anew")
	if err != nil {
		s.Fatalf("withdraw approval of %s: %v", ref, err)
	}
	return c
}

// pass lets enough time pass that no two writes carry the same time.
func (s *Suite) pass() { s.Wait(2 * time.Second) }

func (s *Suite) decide(ref string, person int, d ops.Decision, comment string) {
	s.Helper()
	s.pass()
	s.Decide(s.t, ref, s.People[person], d, comment)
	s.pass()
}

// isIn fails unless a change request shows a state, in the platform's own words.
func (s *Suite) isIn(c connector.Copy, state ops.ChangeState) {
	s.Helper()
	f := s.changeFields()
	f.State = string(state)
	s.shows(c, f, connector.State)
}

func openChange(s *Suite) {
	made := s.change()
	got := s.get(made.Ref)
	if got.Kind != ops.TicketChangeRequest || got.Ref != made.Ref || got.Key != made.Key {
		s.Errorf("opened %+v", got)
	}
	s.shows(got, s.changeFields(), connector.Fields...)
	if got.Fields.Plan != Mark(1) {
		s.Errorf("plan %q", got.Fields.Plan)
	}
	if got.Asked || len(got.Decisions) > 0 {
		s.Errorf("nobody was asked, and it shows asked %v, decisions %v", got.Asked, got.Decisions)
	}
}

func openChangeTwice(s *Suite) {
	key := s.key()
	one := s.changeKey(key)
	s.settle()
	two := s.changeKey(key)
	again, err := s.open(s.Settings, s.Secrets).Create(s.Context(), key, ops.TicketChangeRequest, s.changeFields())
	if err != nil || two.Ref != one.Ref || again.Ref != one.Ref {
		s.Errorf("created %s, %s, %s, %v under one key", one.Ref, two.Ref, again.Ref, err)
	}
	found, err := s.conn.Find(s.Context(), key)
	if err != nil || len(found) != 1 || found[0].Ref != one.Ref {
		s.Errorf("found %+v, %v; want %s", found, err, one.Ref)
	}
	if n := s.Count(s.t, key); n != 1 {
		s.Errorf("%d tickets under one key", n)
	}
}

func risks(s *Suite) {
	made := s.change()
	for _, want := range ops.RiskWords {
		f := s.changeFields()
		f.Risk = want
		s.shows(s.update(made.Ref, f, connector.Risk), f, connector.Risk)
		s.shows(s.get(made.Ref), f, connector.Risk)
	}
}

func times(s *Suite) {
	made := s.change()
	f := s.changeFields()
	f.PlannedStart, f.PlannedEnd = planned, planned.Add(2*time.Hour)
	s.update(made.Ref, f, connector.PlannedStart, connector.PlannedEnd)
	f.ActualStart, f.ActualEnd = planned.Add(time.Minute), planned.Add(time.Hour)
	s.update(made.Ref, f, connector.ActualStart, connector.ActualEnd)
	got := s.get(made.Ref)
	s.shows(got, f, connector.PlannedStart, connector.PlannedEnd, connector.ActualStart, connector.ActualEnd)
	if !got.Fields.PlannedStart.Equal(planned) || !got.Fields.PlannedEnd.Equal(planned.Add(2*time.Hour)) {
		s.Errorf("planned for %s to %s", got.Fields.PlannedStart, got.Fields.PlannedEnd)
	}
}

func planStands(s *Suite) {
	made := s.change()
	one := s.get(made.Ref)
	if one.PlanAt.IsZero() || one.PlanAt.After(s.Now().Add(time.Minute)) {
		s.Fatalf("the plan of a new ticket was written at %s", one.PlanAt)
	}
	s.pass()
	f := s.changeFields()
	f.Risk = ops.RiskLow
	s.update(made.Ref, f, connector.Risk)
	if got := s.get(made.Ref); !got.PlanAt.Equal(one.PlanAt) {
		s.Errorf("a write of the risk moved the plan's time from %s to %s", one.PlanAt, got.PlanAt)
	}
	s.pass()
	f.Plan, f.PlanText = Mark(2), "~ web-1: 2 -> 4"
	s.update(made.Ref, f, connector.Plan, connector.PlanText)
	two := s.get(made.Ref)
	s.shows(two, f, connector.PlanText)
	if two.Fields.Plan != Mark(2) || !two.PlanAt.After(one.PlanAt) {
		s.Errorf("plan %s at %s, the one before was written at %s", two.Fields.Plan, two.PlanAt, one.PlanAt)
	}
}

func askForAnother(s *Suite) {
	made := s.change()
	_, err := s.conn.RequestApproval(s.Context(), made.Ref, Mark(2))
	s.fails("ask about a plan that does not stand", err, ops.ErrConflict)
	if got := s.get(made.Ref); got.Asked {
		s.Errorf("people were asked")
	}
}

func askAndApprove(s *Suite) {
	made := s.change()
	s.pass()
	asked := s.ask(made.Ref, 1)
	if !asked.Asked {
		s.Errorf("nobody can decide after approval was asked")
	}
	s.isIn(asked, ops.ChangeAuthorize)
	s.decide(made.Ref, 0, ops.Approved, "fits")
	got := s.get(made.Ref)
	if len(got.Decisions) != 1 {
		s.Fatalf("%d decisions: %+v", len(got.Decisions), got.Decisions)
	}
	d := got.Decisions[0]
	if d.ID == "" || d.User != s.People[0] || d.Decision != ops.Approved || !d.At.After(got.PlanAt) {
		s.Errorf("read %+v, the plan was written at %s", d, got.PlanAt)
	}
	if d.Comment != "" && !strings.Contains(d.Comment, "fits") {
		s.Errorf("comment %q", d.Comment)
	}
	s.pass()
	if again := s.get(made.Ref); len(again.Decisions) != 1 || again.Decisions[0] != d {
		s.Errorf("read again as %+v, first as %+v", again.Decisions, d)
	}
}

func askAndDeny(s *Suite) {
	made := s.change()
	s.pass()
	s.ask(made.Ref, 1)
	s.decide(made.Ref, 1, ops.Refused, "not this week")
	got := s.get(made.Ref)
	if got.Asked {
		s.Errorf("one can still decide after a denial")
	}
	if len(got.Decisions) != 1 || got.Decisions[0].Decision != ops.Refused || got.Decisions[0].User != s.People[1] ||
		!strings.Contains(got.Decisions[0].Comment, "not this week") {
		s.Errorf("read %+v", got.Decisions)
	}
}

func askTwice(s *Suite) {
	made := s.change()
	s.pass()
	s.ask(made.Ref, 1)
	before := s.writes()
	s.ask(made.Ref, 1)
	if n := s.writes() - before; n != 0 {
		s.Errorf("asking again wrote %d times", n)
	}
	s.decide(made.Ref, 0, ops.Refused, "no")
	s.ask(made.Ref, 1)
	got := s.get(made.Ref)
	if got.Asked || len(got.Decisions) != 1 {
		s.Errorf("asked again after a decision: asked %v, decisions %+v", got.Asked, got.Decisions)
	}
}

func withdraw(s *Suite) {
	made := s.change()
	s.pass()
	s.ask(made.Ref, 1)
	s.pass()
	back := s.takeBack(made.Ref)
	s.isIn(back, ops.ChangeAssess)
	if got := s.get(made.Ref); got.Asked || len(got.Decisions) != 0 {
		s.Errorf("after the withdrawal: asked %v, decisions %+v", got.Asked, got.Decisions)
	}
	s.askAnew(made.Ref, 0)
}

func withdrawApproved(s *Suite) {
	made := s.change()
	s.pass()
	s.ask(made.Ref, 1)
	s.decide(made.Ref, 0, ops.Approved, "")
	s.isIn(s.takeBack(made.Ref), ops.ChangeAssess)
	s.askAnew(made.Ref, 1)
}

// askAnew replaces the plan of a ticket whose request was withdrawn, and has
// the second person approve. Earlier decisions must look older than the plan.
func (s *Suite) askAnew(ref string, earlier int) {
	s.Helper()
	s.pass()
	f := s.changeFields()
	f.Plan, f.PlanText = Mark(2), "~ web-1: 2 -> 4"
	s.update(ref, f, connector.Plan, connector.PlanText)
	if got := s.get(ref); got.Asked || len(got.Decisions) != earlier {
		s.Errorf("before it is asked anew: asked %v, decisions %+v", got.Asked, got.Decisions)
	}
	s.pass()
	if !s.ask(ref, 2).Asked {
		s.Errorf("nobody can decide on the new plan")
	}
	s.decide(ref, 1, ops.Approved, "")
	got := s.get(ref)
	if len(got.Decisions) != earlier+1 {
		s.Fatalf("decisions %+v", got.Decisions)
	}
	for i, d := range got.Decisions {
		if old := !d.At.After(got.PlanAt); old != (i < earlier) {
			s.Errorf("decision %d was made at %s, the plan that stands was written at %s", i, d.At, got.PlanAt)
		}
	}
	if last := got.Decisions[earlier]; last.User != s.People[1] || slices.ContainsFunc(got.Decisions[:earlier], func(d connector.Decision) bool { return d.ID == last.ID }) {
		s.Errorf("decisions %+v", got.Decisions)
	}
}

func withdrawNothing(s *Suite) {
	made := s.change()
	before := s.writes()
	got := s.takeBack(made.Ref)
	if n := s.writes() - before; n != 0 || got.Version != made.Version {
		s.Errorf("%d writes, version %s after %s", n, got.Version, made.Version)
	}
}

var ending = []connector.Field{connector.State, connector.ResolveCode, connector.ResolveNote}

func (s *Suite) ended(state ops.ChangeState, outcome ops.Outcome) ops.TicketFields {
	f := s.changeFields()
	f.State, f.ResolveCode, f.ResolveNote = string(state), string(outcome), "It is done."
	return f
}

func walk(s *Suite) {
	for _, outcome := range []ops.Outcome{ops.Successful, ops.SuccessfulWithIssues, ops.Unsuccessful} {
		made := s.change()
		s.pass()
		s.ask(made.Ref, 1)
		s.decide(made.Ref, 0, ops.Approved, "")
		if outcome == ops.Successful { // step by step; the others catch up at once
			for _, state := range []ops.ChangeState{ops.ChangeScheduled, ops.ChangeImplement, ops.ChangeReview} {
				f := s.changeFields()
				f.State = string(state)
				s.isIn(s.update(made.Ref, f, connector.State), state)
			}
		}
		s.update(made.Ref, s.ended(ops.ChangeClosed, outcome), ending...)
		got := s.get(made.Ref)
		s.shows(got, s.ended(ops.ChangeClosed, outcome), ending...)
		if got.Fields.State != string(ops.ChangeClosed) {
			s.Errorf("%s ended as %s", outcome, got.Fields.State)
		}
	}
}

func cancelChange(s *Suite) {
	made := s.change()
	s.pass()
	s.ask(made.Ref, 1)
	s.update(made.Ref, s.ended(ops.ChangeCancelled, ops.Expired), ending...)
	got := s.get(made.Ref)
	if got.Fields.State != string(ops.ChangeCancelled) || got.Asked {
		s.Errorf("cancelled as %s, asked %v", got.Fields.State, got.Asked)
	}
}

func bareClose(s *Suite) {
	made := s.change()
	s.pass()
	s.ask(made.Ref, 1)
	s.decide(made.Ref, 0, ops.Approved, "")
	f := s.changeFields()
	f.State = string(ops.ChangeClosed)
	_, err := s.conn.Update(s.Context(), made.Ref, connector.Edit{Want: f, Changed: []connector.Field{connector.State}, Version: s.get(made.Ref).Version})
	s.fails("close without outcome", err, ops.ErrInvalid)
	if got := s.get(made.Ref); got.Fields.State == string(ops.ChangeClosed) {
		s.Errorf("closed without an outcome")
	}
}

// came returns the last copy of a ticket that the feed brings after cursor.
func (s *Suite) came(cursor, ref string) connector.Copy {
	s.Helper()
	all, _ := s.drain(s.conn, cursor)
	for _, c := range slices.Backward(all) {
		if c.Ref == ref {
			return c
		}
	}
	s.Fatalf("%s did not come", ref)
	return connector.Copy{}
}

func (s *Suite) cursorNow() string {
	s.Helper()
	_, cursor := s.drain(s.conn, "")
	_, cursor = s.drain(s.conn, cursor)
	return cursor
}

func decisionInFeed(s *Suite) {
	made := s.change()
	s.pass()
	s.ask(made.Ref, 1)
	s.pass()
	cursor := s.cursorNow()
	s.decide(made.Ref, 0, ops.Approved, "")
	if c := s.came(cursor, made.Ref); c.Kind != ops.TicketChangeRequest || c.Key != made.Key {
		s.Errorf("came as %+v", c)
	}
}

func cancelInFeed(s *Suite) {
	made := s.change()
	s.pass()
	cursor := s.cursorNow()
	s.Edit(s.t, made.Ref, s.People[0], []connector.Field{connector.State}, s.ended(ops.ChangeCancelled, ops.Withdrawn), "")
	c := s.came(cursor, made.Ref)
	if c.Fields.State != string(ops.ChangeCancelled) || c.Own || c.UpdatedBy != s.People[0] {
		s.Errorf("came as %s by %s, own %v", c.Fields.State, c.UpdatedBy, c.Own)
	}
}

func windowInFeed(s *Suite) {
	made := s.change()
	s.pass()
	cursor := s.cursorNow()
	f := s.changeFields()
	f.PlannedStart, f.PlannedEnd = planned, planned.Add(time.Hour)
	s.Edit(s.t, made.Ref, s.People[1], []connector.Field{connector.PlannedStart, connector.PlannedEnd}, f, "")
	c := s.came(cursor, made.Ref)
	if !c.Fields.PlannedStart.Equal(planned) || !c.Fields.PlannedEnd.Equal(f.PlannedEnd) || c.UpdatedBy != s.People[1] {
		s.Errorf("came with %s to %s by %s", c.Fields.PlannedStart, c.Fields.PlannedEnd, c.UpdatedBy)
	}
}

func attach(s *Suite) {
	if !s.conn.KeepsFiles() {
		s.Skip("the platform keeps no files")
	}
	made := s.change()
	file := connector.File{Name: "plan-r1.json", Type: "application/json", Content: []byte(`{"revision":1}`)}
	for range 2 {
		if err := s.conn.Attach(s.Context(), made.Ref, file); err != nil {
			s.Fatal(err)
		}
	}
	file.Name = "report.pdf"
	file.Type, file.Content = "application/pdf", []byte("%PDF-1.4")
	if err := s.conn.Attach(s.Context(), made.Ref, file); err != nil {
		s.Fatal(err)
	}
	names, err := s.conn.Files(s.Context(), made.Ref)
	if err != nil || !slices.Equal(names, []string{"plan-r1.json", "report.pdf"}) {
		s.Errorf("files %v, %v", names, err)
	}
}
