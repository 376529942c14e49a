package story_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/story"
)

var noon = time.Date(2026, 11, 19, 12, 0, 0, 0, time.UTC)

// TestEveryFactIsTold fails for a kind of fact that the story only names.
func TestEveryFactIsTold(t *testing.T) {
	for _, r := range ops.Facts {
		l := story.Of(ops.Fact{Kind: r.Kind, At: noon, Body: []byte("{}"), Principal: "x"})
		if l.Text == string(r.Kind) || l.Icon == "" {
			t.Errorf("%s is told as %q with icon %q", r.Kind, l.Text, l.Icon)
		}
	}
}

func TestAFactThatDoesNotDecodeIsStillThere(t *testing.T) {
	l := story.Of(ops.Fact{Kind: ops.IncidentOpened, At: noon, Body: []byte("[")})
	if l.Text != "IncidentOpened" || !strings.Contains(l.Why, "does not decode") {
		t.Errorf("it is told as %q, %q", l.Text, l.Why)
	}
	if l := story.Of(ops.Fact{Kind: "SomethingNewer", At: noon}); l.Text != "SomethingNewer" {
		t.Errorf("an unknown kind is told as %q", l.Text)
	}
}

func TestAge(t *testing.T) {
	f := func(d time.Duration, want string) {
		t.Helper()
		if got := story.Age(d); got != want {
			t.Errorf("Age(%s) = %q, want %q", d, got, want)
		}
	}
	f(0, "0 s")
	f(59*time.Second, "59 s")
	f(-4*time.Minute, "4 min")
	f(2*time.Minute+11*time.Second, "2 min 11 s")
	f(38*time.Minute+50*time.Second, "38 min")
	f(60*time.Minute, "1 h")
	f(134*time.Minute, "2 h 14 min")
	f(28*time.Hour, "1 d 4 h")
	f(48*time.Hour, "2 d")
	f(300*time.Hour, "12 d")
}

func fact(kind ops.FactBody, at time.Time, seq int64) ops.Fact {
	f := ops.NewFact("incident/x", at, ops.Principal{Name: "Rea"}, "", kind)
	f.Seq = seq
	return f
}

func TestTheDigestKeepsHowItBeganAndWhereItStands(t *testing.T) {
	var facts []ops.Fact
	facts = append(facts, fact(ops.IncidentOpenedBody{Incident: ops.Incident{Number: 4, Severity: ops.High}, Count: 2}, noon, 1))
	for k := range 20 {
		facts = append(facts, fact(ops.IncidentGrewBody{Incident: ops.Incident{Severity: ops.High}, Was: ops.High, Count: 1}, noon.Add(time.Duration(k)*time.Minute), int64(k+2)))
	}
	facts = append(facts,
		fact(ops.VerdictGivenBody{Verdict: ops.Verdict{Word: ops.Worse}}, noon.Add(30*time.Minute), 30),
		fact(ops.IncidentCommentedBody{Note: ops.Note{Text: "bye"}}, noon.Add(40*time.Minute), 31))
	lines := story.Tell(facts)
	short := story.Digest(lines, 5)
	if len(short) != 5 || !strings.HasPrefix(short[0].Text, "Incident INC-4 opened") || short[4].Text != "bye" || short[3].Text != "Verdict worse" {
		t.Errorf("the digest is %v", texts(short))
	}
	if lines[len(lines)-1].Gap != 10*time.Minute || story.Dated(lines) {
		t.Errorf("the last pause is %s, dated %v", lines[len(lines)-1].Gap, story.Dated(lines))
	}
	if got := story.Digest(lines[:2], 5); len(got) != 2 {
		t.Errorf("a short story becomes %v", texts(got))
	}
	if marked := story.Number(lines, 6); len(marked) != 1 || lines[0].Flag != 1 {
		t.Errorf("the chart marks %v", texts(marked))
	}
}

func texts(lines []story.Line) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = l.Text
	}
	return out
}

// TestTheLoopOfAChange walks a change through its states and reads off where
// the loop says it stands.
func TestTheLoopOfAChange(t *testing.T) {
	f := func(c ops.Change, stage, sub string, state story.StageState) {
		t.Helper()
		c.IncidentID, c.CreatedAt = "x", noon
		for _, s := range story.OfChange(c, nil) {
			if s.Name == stage && (s.State != state || s.Sub != sub) {
				t.Errorf("%s: %s is %q, %q; want %q, %q", c.State, stage, s.State, s.Sub, state, sub)
			}
		}
	}
	f(ops.Change{State: ops.ChangeAssess}, "Gate", "being planned", story.Now)
	f(ops.Change{State: ops.ChangeAuthorize}, "Gate", "waits for approval", story.Due)
	f(ops.Change{State: ops.ChangeScheduled, Window: &ops.Occurrence{Start: noon}}, "Execute", "opens 12:00", story.Now)
	f(ops.Change{State: ops.ChangeScheduled, Window: &ops.Occurrence{Start: time.Unix(0, 0), End: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}}, "Execute", "waits for window", story.Now)
	f(ops.Change{State: ops.ChangeImplement, Run: &ops.Run{State: ops.RunRunning}}, "Execute", "running", story.Now)
	f(ops.Change{State: ops.ChangeImplement, Run: &ops.Run{State: ops.RunHeld}}, "Execute", "held", story.Due)
	f(ops.Change{State: ops.ChangeImplement, Run: &ops.Run{State: ops.RunVerifying}}, "Verify", "watching", story.Now)
	f(ops.Change{State: ops.ChangeReview, Run: &ops.Run{State: ops.RunSucceeded}}, "Verify", "no verdict", story.Done)
	f(ops.Change{State: ops.ChangeClosed, Outcome: ops.Successful, Run: &ops.Run{}, Verdict: &ops.Verdict{Word: ops.Better}}, "Verify", "better", story.Done)
	f(ops.Change{State: ops.ChangeCancelled, Outcome: ops.Denied}, "Gate", "denied", story.Done)
	f(ops.Change{State: ops.ChangeCancelled}, "Execute", "", story.Skipped)
}
