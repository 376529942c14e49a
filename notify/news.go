package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// news is what a fact means for people.
type news struct {
	// kind is the fact that routes name for it: an incident that is first told
	// when its maintenance is over was opened for whoever hears of it.
	kind ops.FactKind
	// says is the same for the same state told twice.
	says     string
	notice   ops.Notice
	incident *ops.Incident
	change   *ops.Change
}

// read turns a fact into news, nil when it is none for people.
func (r *Room) read(ctx context.Context, f ops.Fact) (*news, error) {
	var n *news
	var err error
	if strings.HasPrefix(f.Subject, ops.IncidentSubject("")) {
		n, err = r.ofIncident(f)
	} else {
		n, err = r.ofChange(ctx, f)
	}
	if err != nil || n == nil {
		return nil, err
	}
	n.kind = cmp.Or(n.kind, f.Kind)
	n.notice.At, n.notice.Subject, n.notice.Fact, n.notice.Kind = f.At, f.Subject, f.ID, f.Kind
	if i := n.incident; i != nil {
		n.notice.Key, n.notice.Resource, n.notice.Team, n.notice.Link = i.Key(), i.Resource, i.Team, r.link("incidents", i.Key())
	}
	if c := n.change; c != nil {
		n.notice.Key, n.notice.Resource, n.notice.Team, n.notice.Link = c.Key(), c.Resource, c.Team, r.link("changes", c.Key())
	}
	n.notice.Title = OneLine(n.notice.Title)
	return n, nil
}

func (r *Room) link(page, key string) string {
	if r.PublicURL == "" {
		return ""
	}
	return r.PublicURL + "/" + page + "/" + key
}

// told decodes a fact and makes news of it.
func told[T ops.FactBody](f ops.Fact, make func(T) *news) (*news, error) {
	b, err := ops.Body[T](f)
	if err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	return make(b), nil
}

// ofIncident reads facts about incidents. What a maintenance window mutes
// disturbs nobody.
func (r *Room) ofIncident(f ops.Fact) (*news, error) {
	say := func(i ops.Incident, event, verb, state, what, why string) *news {
		if i.Muted != "" {
			return nil
		}
		return &news{
			says: fmt.Sprintf("%s %s %d", i.Subject(), state, i.Reopened), incident: &i,
			notice: ops.Notice{Event: "incident." + event, Severity: i.Severity, Title: fmt.Sprintf("%s %s: %s", i.Key(), verb, i.Title), What: what, Why: why},
		}
	}
	switch f.Kind {
	case ops.IncidentOpened:
		return told(f, func(b ops.IncidentOpenedBody) *news {
			return say(b.Incident, "opened", "opened", "open", firing(b.Incident), b.Why)
		})
	case ops.IncidentGrew:
		return told(f, func(b ops.IncidentGrewBody) *news {
			i := b.Incident
			if b.Was != "" && i.Severity.Worse(b.Was) {
				return say(i, "escalated", "is "+string(i.Severity)+" now", "open "+string(i.Severity), fmt.Sprintf("It was %s. %s", b.Was, firing(i)), b.Why)
			}
			n := say(i, "opened", "opened", "open", firing(i), b.Why) // nothing new unless it was muted until now
			if n != nil {
				n.kind = ops.IncidentOpened
			}
			return n
		})
	case ops.IncidentReopenedFact:
		return told(f, func(b ops.IncidentReopenedBody) *news {
			return say(b.Incident, "reopened", "fires again", "open", firing(b.Incident), b.Why)
		})
	case ops.IncidentResolvedFact:
		return told(f, func(b ops.IncidentResolvedBody) *news {
			return say(b.Incident, "resolved", "resolved", "resolved", "", b.Why)
		})
	case ops.IncidentMoved:
		return told(f, func(b ops.IncidentMovedBody) *news {
			if b.Incident.State.Open() {
				return nil
			}
			return say(b.Incident, "resolved", string(b.Incident.State), "resolved", "By "+f.Principal+" ("+b.Via+").", b.Why)
		})
	}
	return nil, fmt.Errorf("notify: hears %s and does not know it: %w", f.Kind, ops.ErrInternal)
}

func firing(i ops.Incident) string {
	if i.Total <= 1 {
		return ""
	}
	return fmt.Sprintf("%d of %d alerts fire.", i.Firing, i.Total)
}

// approveIn says where a change is approved when it is not anywhere.
func approveIn(c ops.Change) string {
	switch c.ApproveIn {
	case "":
		return ""
	case ops.DeskPlatform:
		return "It is approved in Fettle only."
	}
	return "It is approved in " + c.ApproveIn + " only."
}

// ofChange reads facts about changes and about execution as a whole.
func (r *Room) ofChange(ctx context.Context, f ops.Fact) (*news, error) {
	of := func(c ops.Change, event string, severity ops.Severity, verb, says, what, why string) *news {
		return &news{
			says: c.Subject() + " " + says, change: &c,
			notice: ops.Notice{Event: "change." + event, Severity: severity, Title: fmt.Sprintf("%s %s: %s", c.Key(), verb, c.Title), What: what, Why: why},
		}
	}
	switch f.Kind {
	case ops.ApprovalRequested:
		return told(f, func(b ops.ApprovalRequestedBody) *news {
			if len(b.Change.Approvers) == 0 {
				return nil // nobody is asked
			}
			return of(b.Change, "approval_asked", ops.Medium, "waits for approval", fmt.Sprintf("approval %s %d", b.Digest, b.Change.Revision),
				lines(b.Change.Reason, approveIn(b.Change), fmt.Sprintf("Plan %s, revision %d:", short(b.Digest), b.Change.Revision), b.Text), b.Why)
		})
	case ops.RunStarted:
		b, err := ops.Body[ops.RunStartedBody](f)
		if err != nil {
			return nil, fmt.Errorf("notify: %w", err)
		}
		return r.about(ctx, b.Run.ChangeID, func(c ops.Change) *news {
			return of(c, "started", ops.Info, "starts", "started "+b.Run.ID,
				opening(b.Window), b.Why)
		})
	case ops.RunMoved:
		return told(f, func(b ops.RunMovedBody) *news {
			if b.Change.Run == nil || b.Change.Run.State != ops.RunHeld || b.From == ops.RunHeld {
				return nil
			}
			return of(b.Change, "held", ops.Critical, "is held, a person must decide", "held "+f.ID, b.Change.Waiting, b.Why)
		})
	case ops.RunBroke:
		b, err := ops.Body[ops.RunFailedBody](f)
		if err != nil {
			return nil, fmt.Errorf("notify: %w", err)
		}
		return r.about(ctx, b.Run.ChangeID, func(c ops.Change) *news {
			verb := "failed"
			if b.Unknown {
				verb = "ended, and nobody knows how"
			}
			return of(c, "failed", ops.High, verb, "failed "+b.Run.ID, "", b.Error)
		})
	case ops.RunUndone:
		b, err := ops.Body[ops.RunRolledBackBody](f)
		if err != nil {
			return nil, fmt.Errorf("notify: %w", err)
		}
		return r.about(ctx, b.Run.ChangeID, func(c ops.Change) *news {
			if b.Error != "" {
				return of(c, "rollback_failed", ops.Critical, "could not be rolled back", "rolled back "+f.ID, "", b.Error)
			}
			return of(c, "rolled_back", ops.High, "was rolled back", "rolled back "+b.Run.ID, "", "")
		})
	case ops.VerdictGiven:
		b, err := ops.Body[ops.VerdictGivenBody](f)
		if err != nil {
			return nil, fmt.Errorf("notify: %w", err)
		}
		v := b.Verdict
		severity, verb := ops.High, "made things worse"
		switch v.Word {
		case ops.Worse:
		case ops.Inconclusive:
			severity, verb = ops.Medium, "cannot be judged, a person must look"
		default:
			return nil, nil
		}
		return r.about(ctx, v.ChangeID, func(c ops.Change) *news {
			return of(c, "verdict_"+string(v.Word), severity, verb, "verdict "+v.RunID, lines(titled("Before", v.Before), titled("After", v.After)), v.Why)
		})
	case ops.ChangeEnded:
		return told(f, func(b ops.ChangeEndedBody) *news {
			severity := ops.Info
			if b.Change.Outcome == ops.Unsuccessful || b.Change.Outcome == ops.SuccessfulWithIssues || b.Change.Outcome == ops.MissedWindow {
				severity = ops.Medium
			}
			return of(b.Change, "ended", severity, fmt.Sprintf("is %s, %s", b.Change.State, words(string(b.Change.Outcome))), "ended", "", b.Why)
		})
	}
	return r.ofControl(f, of)
}

// ofControl reads what people do to the gate itself.
func (r *Room) ofControl(f ops.Fact, of func(c ops.Change, event string, severity ops.Severity, verb, says, what, why string) *news) (*news, error) {
	execution := func(word, title, reason string) *news {
		return &news{says: f.ID, notice: ops.Notice{
			Event: "execution." + word, Severity: ops.High, Title: title, What: "By " + f.Principal + ".", Why: reason, Link: r.link("changes", ""),
		}}
	}
	switch f.Kind {
	case ops.BreakGlassAsked:
		return told(f, func(b ops.BreakGlassAskedBody) *news {
			roles := make([]string, len(b.Roles))
			for i, role := range b.Roles {
				roles[i] = string(role)
			}
			return of(b.Change, "break_glass_asked", ops.High, "asks to override the freeze "+b.Glass.Freeze, "glass asked "+f.ID,
				fmt.Sprintf("%s asks; a second person must confirm it: %s.", b.Glass.ByName, strings.Join(roles, ", ")), b.Glass.Reason)
		})
	case ops.GlassBroken:
		return told(f, func(b ops.GlassBrokenBody) *news {
			return of(b.Change, "glass_broken", ops.Critical, "overrides the freeze "+b.Glass.Freeze, "glass broken "+f.ID,
				fmt.Sprintf("By %s and %s; its review must be signed.", b.Glass.ByName, b.Glass.SecondName), b.Glass.Reason)
		})
	case ops.ExecutionStopped:
		return told(f, func(b ops.ExecutionSwitchBody) *news {
			return execution("stopped", "All execution is stopped", b.Reason)
		})
	case ops.ExecutionResumed:
		return told(f, func(b ops.ExecutionResumedBody) *news { return execution("resumed", "Execution goes on", b.Reason) })
	}
	return nil, fmt.Errorf("notify: hears %s and does not know it: %w", f.Kind, ops.ErrInternal)
}

// about makes news of a change that a fact only names, nil when it is gone.
func (r *Room) about(ctx context.Context, id string, make func(c ops.Change) *news) (*news, error) {
	c, err := r.Ask.Change(ctx, id)
	if errors.Is(err, ops.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("notify: ask for change %s: %w", id, err)
	}
	return make(c), nil
}

func lines(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, "\n")
}

func opening(o ops.Occurrence) string {
	if o.Always() {
		return fmt.Sprintf("Window %s, always open.", o.Window)
	}
	return fmt.Sprintf("Window %s, %s to %s.", o.Window, Stamp(o.Start), Stamp(o.End))
}

func titled(title, text string) string {
	if text == "" {
		return ""
	}
	return title + ": " + text
}

func words(s string) string { return strings.ReplaceAll(s, "_", " ") }

// short is the part of a digest that people compare.
func short(digest string) string { return digest[:min(len(digest), 12)] }
