package story

import (
	"fmt"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// told holds how each kind of fact is told. TestEveryFactIsTold fails when a
// kind is missing.
var told = map[ops.FactKind]func(ops.Fact, *Line){
	ops.IncidentOpened: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.IncidentOpenedBody) {
			l.Mark, l.Icon, l.Weight, l.Chart = Signal, "incident", 3, true
			l.Text = fmt.Sprintf("Incident %s opened, severity %s, %s", b.Incident.Key(), b.Incident.Severity, plural(b.Count, "alert", "alerts"))
			l.Why = by(f, b.Why)
		})
	},
	ops.IncidentGrew: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.IncidentGrewBody) {
			l.Mark, l.Icon = Signal, "incident"
			l.Text = plural(b.Count, "alert", "alerts") + " joined"
			if b.Was != b.Incident.Severity {
				l.Text, l.Weight = fmt.Sprintf("Severity %s, was %s", b.Incident.Severity, b.Was), 1
			}
			l.Why = by(f, b.Why)
		})
	},
	ops.IncidentShrank: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.IncidentShrankBody) {
			l.Mark, l.Icon = Signal, "signal"
			l.Text = fmt.Sprintf("%s cleared, %d still firing", plural(b.Count, "alert", "alerts"), b.Incident.Firing)
			l.Why = by(f, b.Why)
		})
	},
	ops.IncidentResolvedFact: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.IncidentResolvedBody) {
			l.Mark, l.Icon, l.Weight, l.Chart = Good, "st-resolved", 3, true
			l.Text, l.Why = b.Incident.Key()+" resolved", by(f, b.Why)
		})
	},
	ops.IncidentReopenedFact: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.IncidentReopenedBody) {
			l.Mark, l.Icon, l.Weight, l.Chart = Signal, "undo", 3, true
			l.Text, l.Why = b.Incident.Key()+" reopened: it fires again", by(f, b.Why)
		})
	},
	ops.IncidentMoved: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.IncidentMovedBody) {
			l.Mark, l.Icon, l.Weight = Person, "user", 2
			l.Text = "Moved from " + Words(string(b.From)) + " to " + Words(string(b.Incident.State))
			l.Why = by(f, join(Via(b.Via), b.Why))
		})
	},
	ops.RecommendationMoved: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.RecommendationMovedBody) {
			r := b.Recommendation
			l.Mark, l.Icon, l.Weight = Signal, "signal", 2
			l.Text = fmt.Sprintf("%s is %s", r.Key(), r.State)
			if b.From == "" {
				l.Text = fmt.Sprintf("%s came: %s to %s", r.Key(), orDash(r.Current.String()), orDash(r.Recommended.String()))
			}
			l.Why = by(f, join(Via(b.Via), b.Why))
		})
	},
	ops.IncidentCommented: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.IncidentCommentedBody) {
			l.Mark, l.Icon, l.Weight = Person, "user", 1
			l.Text, l.Why = b.Note.Text, join(b.Note.Author, Via(b.Via))
		})
	},
	ops.TicketOpened: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.TicketOpenedBody) {
			l.Icon, l.Weight = "ticket", 2
			l.Text = "Ticket " + b.Display + " opened in " + b.Platform
			if b.Found {
				l.Why = "its answer had been lost; the ticket was found by its key, no second one opened"
			}
		})
	},
	ops.TicketUpdated: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.TicketUpdatedBody) {
			l.Icon = "ticket"
			what := strings.Join(b.Fields, ", ")
			if b.Notes > 0 {
				what = join(what, plural(b.Notes, "work note", "work notes"))
			}
			l.Text, l.Why = b.Display+" brought up to date in "+b.Platform, Words(what)
		})
	},
	ops.TicketEdited: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.TicketEditedBody) {
			l.Mark, l.Icon, l.Weight = Person, "ticket", 1
			who := b.By
			if b.Person != "" {
				who = b.Person
			}
			var edits []string
			for _, e := range b.Edits {
				edits = append(edits, fmt.Sprintf("%s %s → %s", Words(e.Field), blank(e.From), blank(e.To)))
			}
			for _, n := range b.Notes {
				edits = append(edits, "“"+n.Text+"”")
			}
			l.Text, l.Why = fmt.Sprintf("%s edited %s in %s", who, b.Display, b.Platform), strings.Join(edits, " · ")
		})
	},
	ops.TicketTroubled: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.TicketTroubledBody) {
			l.Mark, l.Icon, l.Weight = Bad, "sync-conflict", 2
			l.Text, l.Why = b.Platform+" did not take our edit: "+b.Class, b.Error
		})
	},
	ops.TicketDuplicate: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.TicketDuplicateBody) {
			l.Icon, l.Weight = "ticket", 1
			l.Text, l.Why = fmt.Sprintf("%s closed as a duplicate of %s", b.Closed, b.Kept), "found by the audit of "+b.Platform
		})
	},

	ops.ChangeRaised: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.ChangeRaisedBody) {
			l.Icon, l.Weight = "change", 3
			l.Text, l.Why = fmt.Sprintf("%s change raised: %s", Sentence(string(b.Change.Type)), b.Change.Title), by(f, b.Why)
			l.lead(b.Change)
		})
	},
	ops.PlanMade: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.PlanMadeBody) {
			l.Icon, l.Digest = "policy", b.Plan.Digest
			l.Text, l.Why = fmt.Sprintf("Plan %d made by %s", b.Plan.Revision, b.Plan.Tool), b.Plan.Target
		})
	},
	ops.PlanFailed: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.PlanFailedBody) {
			l.Mark, l.Icon, l.Weight = Bad, "warn", 3
			l.Text, l.Why = "No plan could be made", b.Error
		})
	},
	ops.PlanMoved: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.PlanMovedBody) {
			l.Mark, l.Icon, l.Digest, l.Weight = Bad, "warn", b.Plan.Digest, 3
			l.Text, l.Why = "The plan moved: what would be done now is not what was approved", b.Moved
		})
	},
	ops.ApprovalRequested: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.ApprovalRequestedBody) {
			l.Icon, l.Digest, l.Weight = "st-authorize", b.Digest, 1
			l.Text, l.Why = "Approval asked for", b.Why
			l.lead(b.Change)
		})
	},
	ops.ApprovalGiven: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.ApprovalGivenBody) {
			a := b.Approval
			l.Mark, l.Icon, l.Digest, l.Weight = Person, "approve", a.Digest, 3
			l.Text = fmt.Sprintf("%s by %s", Sentence(string(a.Decision)), a.Name)
			if a.Decision == ops.Refused {
				l.Mark, l.Icon = Bad, "x"
			}
			l.Why = join(fmt.Sprintf("plan %d", a.Revision), Via(a.Via), a.Comment)
		})
	},
	ops.ApprovalVoided: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.ApprovalVoidedBody) {
			l.Mark, l.Icon, l.Digest, l.Weight = Bad, "warn", b.Digest, 2
			l.Text, l.Why = "Approval void", b.Why
		})
	},
	ops.ChangeScheduledAt: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.ChangeScheduledBody) {
			l.Icon, l.Weight, l.Text = "st-scheduled", 1, "Scheduled"
			if w := b.Change.Window; w != nil {
				l.Text = "Scheduled in window " + w.Window
				if !w.Always() {
					l.Text += w.Start.UTC().Format(", 2 Jan 15:04 UTC")
				}
			}
			l.Why = by(f, b.Why)
			l.lead(b.Change)
		})
	},
	ops.ChangeWaiting: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.ChangeWaitingBody) { l.Icon, l.Weight, l.Text, l.Why = "clock", 1, "Waits", b.Why })
	},
	ops.ApprovalSeen: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.ApprovalSeenBody) {
			l.Icon, l.Digest, l.Weight = "ticket", b.Digest, 1
			l.Text, l.Why = fmt.Sprintf("%s seen in %s, by %s", Sentence(string(b.Decision)), b.Platform, someone(b.Person, b.User)), b.Comment
		})
	},
	ops.WithdrawalSeen: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.WithdrawalSeenBody) {
			l.Icon, l.Weight = "ticket", 1
			l.Text, l.Why = fmt.Sprintf("Ticket cancelled in %s, by %s", b.Platform, someone(b.Person, b.User)), b.Why
		})
	},
	ops.WindowOffered: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.WindowOfferedBody) {
			l.Icon, l.Weight = "ticket", 1
			l.Text = fmt.Sprintf("Window offered in %s, by %s", b.Platform, someone(b.Person, b.User))
			l.Why = fmt.Sprintf("%s to %s UTC", b.Start.UTC().Format("2 Jan 15:04"), b.End.UTC().Format("2 Jan 15:04"))
		})
	},
	ops.PlatformWordVoid: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.PlatformWordVoidBody) {
			l.Mark, l.Icon, l.Weight = Bad, "warn", 2
			l.Text, l.Why = fmt.Sprintf("%s by %s in %s does not count", Sentence(b.What), someone(b.Person, b.User), b.Platform), b.Why
			if b.Approval != nil {
				l.Digest = b.Approval.Digest
			}
		})
	},
	ops.WindowTaken: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.WindowTakenBody) {
			l.Mark, l.Icon, l.Weight, l.Text, l.Why = Person, "st-scheduled", 2, "Window given", b.Why
			if o := b.Change.Offered; o != nil {
				l.Text = fmt.Sprintf("Window given, %s to %s UTC", o.Start.UTC().Format("2 Jan 15:04"), o.End.UTC().Format("2 Jan 15:04"))
			}
		})
	},
	ops.BreakGlassAsked: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.BreakGlassAskedBody) {
			l.Mark, l.Icon, l.Weight = Person, "warn", 3
			l.Text, l.Why = fmt.Sprintf("%s wants the freeze %s overridden; a second person must confirm", b.Glass.ByName, b.Glass.Freeze), b.Glass.Reason
		})
	},
	ops.GlassBroken: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.GlassBrokenBody) {
			l.Mark, l.Icon, l.Weight = Person, "warn", 3
			l.Text, l.Why = fmt.Sprintf("Freeze %s overridden by %s and %s", b.Glass.Freeze, b.Glass.ByName, b.Glass.SecondName), b.Glass.SecondWords
		})
	},
	ops.RunBegan: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.RunBeganBody) {
			l.Icon, l.Digest, l.Text = "st-implement", b.Run.Digest, "The plan is still the approved one; applying it"
		})
	},
	ops.RunStarted: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.RunStartedBody) {
			l.Icon, l.Digest, l.Weight, l.Chart = "st-implement", b.Run.Digest, 2, true
			l.Text, l.Why = "Run started in window "+b.Window.Window, b.Why
		})
	},
	ops.RunMoved: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.RunMovedBody) {
			l.Icon, l.Text, l.Why = "st-implement", "Run was "+Words(string(b.From)), by(f, b.Why)
			if r := b.Change.Run; r != nil {
				l.Text = fmt.Sprintf("Run went from %s to %s", Words(string(b.From)), Words(string(r.State)))
				if r.State == b.From {
					l.Text = "Run is " + Words(string(r.State))
				}
				if r.State == ops.RunHeld {
					l.Mark, l.Icon, l.Weight = Bad, "st-hold", 3
				}
			}
			l.lead(b.Change)
		})
	},
	ops.ChangeEdited: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.ChangeEditedBody) {
			l.Mark, l.Icon, l.Weight, l.Text, l.Why = Person, "policy", 1, "What it does is decided anew", by(f, b.Why)
			if f.Principal == ops.SystemPrincipal.Name {
				l.Mark = Plain
			}
			l.lead(b.Change)
		})
	},
	ops.RunApplied: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.RunAppliedBody) {
			l.Icon, l.Weight = "st-implement", 2
			l.Text = "Run applied"
			if !b.Run.StartedAt.IsZero() && !b.Run.AppliedAt.IsZero() {
				l.Why = "took " + Age(b.Run.AppliedAt.Sub(b.Run.StartedAt))
			}
			l.lead(b.Change)
		})
	},
	ops.RunBroke: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.RunFailedBody) {
			l.Mark, l.Icon, l.Weight, l.Chart = Bad, "warn", 3, true
			l.Text, l.Why = "Run failed", b.Error
			if b.Unknown {
				l.Text = "Run cut off: nobody knows whether it took effect"
			}
		})
	},
	ops.RunUndone: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.RunRolledBackBody) {
			l.Icon, l.Weight, l.Chart, l.Text = "undo", 3, true, "Rolled back"
			if b.Error != "" {
				l.Mark, l.Text, l.Why = Bad, "Rolling back failed", b.Error
			}
		})
	},
	ops.VerdictGiven: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.VerdictGivenBody) {
			l.Icon, l.Weight = "vd-"+string(b.Verdict.Word), 3
			l.Text, l.Why = "Verdict "+string(b.Verdict.Word), b.Verdict.Why
			switch b.Verdict.Word {
			case ops.Better:
				l.Mark = Good
			case ops.Worse:
				l.Mark = Bad
			}
		})
	},
	ops.ChangeReviewed: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.ChangeReviewedBody) {
			l.Icon, l.Text, l.Why = "st-review", "In review", by(f, b.Why)
			l.lead(b.Change)
		})
	},
	ops.ChangeEnded: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.ChangeEndedBody) {
			l.Icon, l.Weight = "st-closed", 3
			l.Text = fmt.Sprintf("%s: %s", Sentence(string(b.Change.State)), Words(string(b.Change.Outcome)))
			l.Why = by(f, b.Why)
			switch b.Change.Outcome {
			case ops.Successful:
				l.Mark = Good
			case ops.Unsuccessful, ops.Denied:
				l.Mark = Bad
			}
			l.lead(b.Change)
		})
	},

	ops.ResourceMerged: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.ResourceMergedBody) {
			l.Icon, l.Text, l.Why = "component", fmt.Sprintf("Resource %s is %s", b.Merged, b.Kept), by(f, b.Rule)
		})
	},
	ops.TokenCreated: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.TokenBody) {
			l.Mark, l.Icon, l.Text, l.Why = Person, "lock", "Token made for "+b.Principal, by(f, "")
		})
	},
	ops.TokenRevoked: func(f ops.Fact, l *Line) {
		l.Mark, l.Icon, l.Text, l.Why = Person, "lock", "Token revoked", by(f, "")
	},
	ops.ConfigLoaded: func(_ ops.Fact, l *Line) { l.Icon, l.Text = "policy", "Configuration loaded" },
	ops.ExecutionStopped: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.ExecutionSwitchBody) {
			l.Mark, l.Icon, l.Weight, l.Text, l.Why = Bad, "power", 3, "All execution stopped", by(f, b.Reason)
		})
	},
	ops.ExecutionResumed: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.ExecutionResumedBody) {
			l.Mark, l.Icon, l.Weight, l.Text, l.Why = Good, "power", 3, "Execution resumed", by(f, b.Reason)
		})
	},
	ops.NotificationResent: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.NotificationResentBody) {
			l.Mark, l.Icon, l.Weight = Person, "signal", 1
			l.Text = fmt.Sprintf("“%s” is sent to %s again", b.Title, b.Channel)
			l.Why = by(f, join(Via(b.Via), "it was given up: "+b.Error))
		})
	},
	ops.BacklogCounted: func(f ops.Fact, l *Line) {
		decode(f, l, func(b ops.BacklogCountedBody) {
			l.Icon, l.Text = "backlog", fmt.Sprintf("Backlog of %s on %s: %d", b.Team, b.Day, b.Count)
		})
	},
}

// lead points the line at the change it speaks of.
func (l *Line) lead(c ops.Change) { l.Key, l.URL = c.Key(), "/changes/"+c.Key() }

func join(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, " · ")
}

func blank(s string) string {
	if s == "" {
		return "nothing"
	}
	return Words(s)
}

// someone names a person or, where none is mapped, the platform's user.
func someone(person, user string) string {
	if person != "" {
		return person
	}
	return "the unmapped user " + user
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
