package ticket

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// news is what a fact means for tickets.
type news struct {
	incident   *ops.Incident // set by facts about incidents that ask for fields
	incidentID string        // set by all others
	why        string
	via        string // the platform it came from, which needs no echo
	notes      []ops.Note
	change     *changeNews // set by facts about changes
}

// read turns a fact into news.
func (r *Room) read(ctx context.Context, f ops.Fact) (news, error) {
	switch f.Kind {
	case ops.IncidentOpened:
		return told(f, func(b ops.IncidentOpenedBody) news { return news{incident: &b.Incident, why: b.Why} })
	case ops.IncidentGrew:
		return told(f, func(b ops.IncidentGrewBody) news {
			head := fmt.Sprintf("%s joined; %d of %d fire.", count(b.Count, "alert"), b.Incident.Firing, b.Incident.Total)
			if b.Count == 0 {
				head = ""
			}
			return news{incident: &b.Incident, why: b.Why, notes: texts(lines(head, severityLine(b.Was, b.Incident.Severity), alertLines(b.Alerts, b.Count), b.Why))}
		})
	case ops.IncidentShrank:
		return told(f, func(b ops.IncidentShrankBody) news {
			head := fmt.Sprintf("%s resolved; %d of %d still fire.", count(b.Count, "alert"), b.Incident.Firing, b.Incident.Total)
			return news{incident: &b.Incident, why: b.Why, notes: texts(lines(head, severityLine(b.Was, b.Incident.Severity), b.Why))}
		})
	case ops.IncidentResolvedFact:
		return told(f, func(b ops.IncidentResolvedBody) news {
			return news{incident: &b.Incident, why: b.Why, notes: texts(lines("Resolved.", b.Why))}
		})
	case ops.IncidentReopenedFact:
		return told(f, func(b ops.IncidentReopenedBody) news {
			return news{incident: &b.Incident, why: b.Why, notes: texts(lines("Reopened: it fires again.", alertLines(b.Alerts, b.Count), b.Why))}
		})
	case ops.IncidentMoved:
		return told(f, func(b ops.IncidentMovedBody) news {
			text := fmt.Sprintf("%s moved the incident from %s to %s (%s).", f.Principal, b.From, b.Incident.State, b.Via)
			return news{incident: &b.Incident, why: b.Why, via: b.Via, notes: texts(lines(text, b.Why))}
		})
	case ops.IncidentCommented:
		n, err := told(f, func(b ops.IncidentCommentedBody) news {
			note := b.Note
			note.Text = fmt.Sprintf("%s (%s): %s", note.Author, b.Via, note.Text)
			return news{via: b.Via, notes: []ops.Note{note}}
		})
		n.incidentID = strings.TrimPrefix(f.Subject, "incident/")
		return n, err
	}
	return r.readChange(ctx, f)
}

// readChange turns a fact about a change into what its own tickets should show
// and a work note, also for its incident.
func (r *Room) readChange(ctx context.Context, f ops.Fact) (news, error) {
	var n changeNews
	text := ""
	about := func(s string, err error) error { text = s; return err }
	var err error
	switch f.Kind {
	case ops.ChangeRaised:
		err = about(said(f, func(b ops.ChangeRaisedBody) string {
			n.change, n.state = b.Change, b.Change.State
			return lines(fmt.Sprintf("raised (%s): %s", b.Change.Type, b.Change.Title), b.Change.Reason, b.Why)
		}))
	case ops.ApprovalRequested:
		err = about(said(f, func(b ops.ApprovalRequestedBody) string {
			n.change, n.plan, n.people = b.Change, orElse(b.Text, "no text"), len(b.Change.Approvers) > 0
			return lines("waits for approval of plan "+b.Digest, b.Why, r.changeLink(b.Change), "Plan:", b.Text)
		}))
	case ops.ApprovalGiven:
		err = about(said(f, func(b ops.ApprovalGivenBody) string {
			a := b.Approval
			return lines(fmt.Sprintf("%s by %s (%s) for plan %s", a.Decision, a.Name, a.Via, a.Digest), a.Comment)
		}))
	case ops.ApprovalVoided:
		err = about(said(f, func(b ops.ApprovalVoidedBody) string {
			n.again = true
			return lines("approval of plan "+b.Digest+" no longer counts", b.Why)
		}))
	case ops.ChangeEdited:
		err = about(said(f, func(b ops.ChangeEditedBody) string {
			n.change, n.again = b.Change, true
			return lines(fmt.Sprintf("is planned anew (revision %d)", b.Change.Revision), b.Why)
		}))
	case ops.PlatformWordVoid:
		err = about(said(f, func(b ops.PlatformWordVoidBody) string {
			return lines(fmt.Sprintf("the %s by %s in %s does not count", b.What, b.User, b.Platform), b.Why)
		}))
	case ops.WindowTaken:
		err = about(said(f, func(b ops.WindowTakenBody) string {
			return lines("will run"+windowText(b.Change.Offered), b.Why)
		}))
	case ops.BreakGlassAsked:
		err = about(said(f, func(b ops.BreakGlassAskedBody) string {
			return lines(fmt.Sprintf("%s wants the freeze %s overridden; a second person must confirm it", b.Glass.ByName, b.Glass.Freeze), b.Glass.Reason)
		}))
	case ops.GlassBroken:
		err = about(said(f, func(b ops.GlassBrokenBody) string {
			return lines(fmt.Sprintf("the freeze %s is overridden by %s and %s; its review must be signed", b.Glass.Freeze, b.Glass.ByName, b.Glass.SecondName), b.Glass.Reason)
		}))
	case ops.ChangeScheduledAt:
		err = about(said(f, func(b ops.ChangeScheduledBody) string {
			n.change, n.state, n.window = b.Change, ops.ChangeScheduled, b.Change.Window
			n.homeless = b.Change.Window == nil || b.Change.Window.Start.IsZero()
			return lines("scheduled"+windowText(b.Change.Window), b.Why)
		}))
	case ops.ChangeWaiting:
		err = about(said(f, func(b ops.ChangeWaitingBody) string { return "waits: " + b.Why }))
	case ops.RunStarted:
		err = about(said(f, func(b ops.RunStartedBody) string {
			n.window = &b.Window
			return lines("run started with plan "+b.Run.Digest+windowText(&b.Window), b.Why)
		}))
	default:
		text, err = r.readRun(f, &n)
	}
	if err != nil {
		return news{}, err
	}
	if n.change.ID == "" {
		if n.change, err = r.changeKnown(ctx, changeOf(f.Subject)); err != nil || n.change.ID == "" {
			return news{}, err
		}
	}
	return news{incidentID: n.change.IncidentID, change: &n, notes: texts("Change " + n.change.Key() + " " + text)}, nil
}

// readRun is readChange for what happens from the run on.
func (r *Room) readRun(f ops.Fact, n *changeNews) (string, error) {
	switch f.Kind {
	case ops.RunBegan:
		// Only now: a platform has no way back from here to asking anew, which is
		// what follows when the plan has moved.
		return said(f, func(b ops.RunBeganBody) string {
			n.change, n.state, n.run = b.Change, ops.ChangeImplement, &b.Run
			n.tasks = ran(ops.TaskInProgress, "")
			return "the plan is still the approved one; applying it"
		})
	case ops.RunApplied:
		return said(f, func(b ops.RunAppliedBody) string {
			n.change, n.state = b.Change, ops.ChangeImplement
			n.tasks = ran(ops.TaskComplete, "Applied.")
			n.tasks[ops.TaskVerify] = taskNews{state: ops.TaskInProgress}
			return lines("applied; now being verified", output(b.Run.Output))
		})
	case ops.RunBroke:
		return said(f, func(b ops.RunFailedBody) string {
			head := "run failed"
			if b.Unknown {
				head = "run ended with an unknown outcome: a person must look"
			} else {
				n.tasks = ran(ops.TaskIncomplete, lines("Failed.", b.Error))
			}
			return lines(head, b.Error, output(b.Run.Output))
		})
	case ops.RunUndone:
		return said(f, func(b ops.RunRolledBackBody) string {
			if b.Error != "" {
				return lines("rollback failed: a person must look", b.Error)
			}
			n.tasks = ran(ops.TaskIncomplete, "Rolled back.")
			return "rolled back"
		})
	case ops.VerdictGiven:
		return said(f, func(b ops.VerdictGivenBody) string {
			v := b.Verdict
			n.tasks = judged(v)
			return lines(fmt.Sprintf("verdict: %s, %s after the run", v.Word, v.Waited), v.Why, titled("Before", v.Before), titled("After", v.After))
		})
	case ops.ChangeReviewed:
		return said(f, func(b ops.ChangeReviewedBody) string {
			n.change, n.state, n.run = b.Change, ops.ChangeReview, b.Change.Run
			n.tasks = concluded(b.Change, b.Why)
			return lines("in review", b.Why)
		})
	case ops.ChangeEnded:
		return said(f, func(b ops.ChangeEndedBody) string {
			n.change, n.state, n.run = b.Change, b.Change.State, b.Change.Run
			n.why, n.tasks = b.Why, concluded(b.Change, b.Why)
			return lines(fmt.Sprintf("%s: %s", b.Change.State, b.Change.Outcome), b.Why)
		})
	}
	return "", fmt.Errorf("ticket: hears %s and does not know it: %w", f.Kind, ops.ErrInternal)
}

// said decodes a fact and makes a text of it.
func said[T ops.FactBody](f ops.Fact, make func(T) string) (string, error) {
	b, err := ops.Body[T](f)
	if err != nil {
		return "", fmt.Errorf("ticket: %w", err)
	}
	return make(b), nil
}

// told decodes a fact and makes news of it.
func told[T ops.FactBody](f ops.Fact, make func(T) news) (news, error) {
	b, err := ops.Body[T](f)
	if err != nil {
		return news{}, fmt.Errorf("ticket: %w", err)
	}
	return make(b), nil
}

func texts(text string) []ops.Note {
	if text == "" {
		return nil
	}
	return []ops.Note{{Text: text}}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func severityLine(was, is ops.Severity) string {
	if was == is || was == "" {
		return ""
	}
	return fmt.Sprintf("Severity went from %s to %s.", was, is)
}

// shownAlerts bounds the alerts a note lists.
const shownAlerts = 5

func alertLines(alerts []ops.Alert, total int) string {
	var out []string
	for i, a := range alerts {
		if i == shownAlerts {
			break
		}
		out = append(out, "- "+condition(a))
	}
	if more := total - len(out); len(out) > 0 && more > 0 {
		out = append(out, fmt.Sprintf("- and %d more", more))
	}
	return strings.Join(out, "\n")
}

func windowText(w *ops.Occurrence) string {
	if w == nil || w.Start.IsZero() && w.Window == "" {
		return ""
	}
	if start, _ := planned(*w); start.IsZero() {
		return " in window " + w.Window
	}
	return fmt.Sprintf(" in window %s, %s to %s", w.Window, stamp(w.Start), stamp(w.End))
}

func titled(title, text string) string {
	if text == "" {
		return ""
	}
	return title + ": " + text
}

// shownOutput bounds the output of a tool in a note.
const shownOutput = 2000

func output(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	if len(text) > shownOutput {
		text = "... " + strings.ToValidUTF8(text[len(text)-shownOutput:], "")
	}
	return "Output:\n" + text
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func (r *Room) changeLink(c ops.Change) string { return r.link("changes", c.Key()) }

// link returns the address of a page, empty when nobody knows where Fettle is.
func (r *Room) link(page, key string) string {
	if r.PublicURL == "" {
		return ""
	}
	return r.PublicURL + "/" + page + "/" + key
}
