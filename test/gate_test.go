package test

import (
	"strings"
	"testing"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// A runbook's change waits for a person. Once approved it runs, the cause goes
// away, and the ticket carries every step.
func TestRunbookChangeWaitsForApproval(t *testing.T) {
	Play(t, Story{Config: gate + always, Events: []Event{
		At(0, Fire("HighCPU", "web1")),
		Between(0, 10*sec, WantChange(ops.ChangeAuthorize, ""), WantNote("waits for approval")),
		Throughout(10*sec, 5*minute, WantChange(ops.ChangeAuthorize, ""), WantRuns(0, 0)),
		At(5*minute, Approve("ann")),
		Between(5*minute, 5*minute+30*sec, WantRun(ops.RunVerifying), WantRuns(1, 0), WantSize("web1", "scale_up large")),
		At(6*minute, Resolve("HighCPU", "web1")),
		Between(6*minute, 8*minute, WantVerdict(ops.Better), WantChange(ops.ChangeClosed, ops.Successful)),
		Between(6*minute, 8*minute, WantNotes("raised (standard)", "waits for approval", "approved by ann (api)", "run started", "applied; now being verified", "verdict: better"),
			WantSnow(Fields{"state": "6"})),
		At(9*minute, WantRuns(1, 0)),
	}})
}

// Nobody approves what they requested or edited, no machine approves anything,
// nobody without the role, and nobody what they did not see.
func TestWhoMayNotApprove(t *testing.T) {
	Play(t, Story{Config: gate + always, Events: []Event{
		At(0, Raise("bob"), ServiceToken("robot", "admin")),
		Between(0, 10*sec, WantChange(ops.ChangeAuthorize, "")),
		At(1*minute, Refused(403, "requested it", Approve("bob"))),
		At(1*minute, Refused(403, "only a person decides", Approve("robot"))),
		At(1*minute, Refused(403, "may not approve", Approve("vic"))),
		At(1*minute, Refused(403, "may not approve", Approve("rob"))),
		At(1*minute, Refused(403, "waits for the role approver", Approve("mia"))),
		At(1*minute, Refused(409, "not the one that stands now", ApproveDigest("ann", "0123456789abcdef"))),
		At(1*minute, Refused(422, "digest", ApproveDigest("ann", "01234"))),
		Throughout(1*minute, 2*minute, WantChange(ops.ChangeAuthorize, ""), WantRuns(0, 0)),
		At(2*minute, Deny("ann")),
		Between(2*minute, 2*minute+10*sec, WantChange(ops.ChangeCancelled, ops.Denied)),
		At(3*minute, Refused(409, "waits for no approval", Approve("ann")), WantRuns(0, 0)),
	}})
}

// Approved outside its window a change waits until the window opens on the
// clocks of Berlin, also in the nights in which they are changed.
func TestWindowOpensByLocalTime(t *testing.T) {
	t.Parallel()
	f := func(name, begin string) {
		t.Run(name, func(t *testing.T) {
			if name != "clocks go forward" {
				peer.Long(t)
			}
			Play(t, Story{
				Begin:  begin,
				Config: gate + "windows: [{name: night, schedule: \"cron(10 3 * * ? *)\", duration: 1h, time_zone: Europe/Berlin}]\n",
				Events: []Event{
					At(0, Fire("HighCPU", "web1")),
					Between(0, 10*sec, WantChange(ops.ChangeAuthorize, "")),
					At(1*minute, Approve("ann")),
					Between(1*minute, 70*sec, WantChange(ops.ChangeScheduled, ""), WantNote("waits for the window night")),
					Throughout(70*sec, 20*minute-2*sec, WantChange(ops.ChangeScheduled, ""), WantRuns(0, 0)),
					Between(20*minute, 20*minute+10*sec, WantRuns(1, 0), WantRun(ops.RunVerifying)),
					At(21*minute, Resolve("HighCPU", "web1")),
					Between(21*minute, 23*minute, WantChange(ops.ChangeClosed, ops.Successful)),
				},
			})
		})
	}
	f("summer", "2026-07-01 02:50 Europe/Berlin")
	f("clocks go forward", "2026-03-29 01:50 Europe/Berlin") // at 02:00 it is 03:00
	f("clocks go back", "2026-10-25 01:50 UTC")              // 02:50 for the second time
}

// Deny beats allow: inside the window, but in a freeze, nothing runs.
func TestFreezeBeatsWindow(t *testing.T) {
	Play(t, Story{
		Begin:  "2026-12-23 11:50 Europe/Berlin",
		Config: gate + always + "freezes: [{name: year-end, from: 2026-12-20T00:00, to: 2026-12-23T12:00, time_zone: Europe/Berlin}]\n",
		Events: []Event{
			At(0, Fire("HighCPU", "web1")),
			Between(0, 10*sec, WantChange(ops.ChangeAuthorize, "")),
			At(1*minute, Approve("ann")),
			Between(1*minute, 70*sec, WantNote("after the freeze year-end")),
			Throughout(70*sec, 10*minute-2*sec, WantChange(ops.ChangeScheduled, ""), WantRuns(0, 0)),
			Between(10*minute, 10*minute+10*sec, WantRuns(1, 0)),
		},
	})
}

// What was approved is a plan and not an intention. When the machine is no
// longer what it was, the approval is void, the ticket says what moved, and
// somebody has to approve anew.
func TestPlanMovesBetweenApprovalAndWindow(t *testing.T) {
	Play(t, Story{
		Begin:  "2026-06-01 02:00 Europe/Berlin",
		Config: gate + "windows: [{name: night, schedule: \"cron(10 2 * * ? *)\", duration: 2h, time_zone: Europe/Berlin}]\n",
		Events: []Event{
			At(0, Fire("HighCPU", "web1")),
			Between(0, 10*sec, WantChange(ops.ChangeAuthorize, "")),
			At(1*minute, Approve("ann")),
			At(5*minute, Meddle("web1", "scaled by hand")),
			Between(10*minute, 10*minute+20*sec, WantChange(ops.ChangeAuthorize, ""), WantNote("no longer counts"), WantNote("scaled by hand")),
			Throughout(10*minute+20*sec, 13*minute, WantChange(ops.ChangeAuthorize, ""), WantRuns(0, 0), WantSize("web1", "scaled by hand")),
			At(13*minute, Approve("bob")),
			Between(13*minute, 13*minute+20*sec, WantRuns(1, 0), WantSize("web1", "scale_up large"), WantRun(ops.RunVerifying)),
		},
	})
}

// The plan changes between display and approve. An approval of what was shown
// comes after, by the API and from a platform, and nothing runs.
func TestPlanChangesBetweenDisplayAndApprove(t *testing.T) {
	Play(t, Story{Config: gate + always, Events: []Event{
		At(0, Fire("HighCPU", "web1")),
		Between(0, 10*sec, WantChange(ops.ChangeAuthorize, "")),
		At(1*minute, See(), Edit("mia", "scale_up", "huge")),
		Between(1*minute, 70*sec, WantChange(ops.ChangeAuthorize, "")),
		At(2*minute, Refused(409, "not the one that stands now", ApproveSeen("ann")), Refused(409, "not the one that stands now", ApproveSeen("bob"))),
		At(2*minute, ApprovedInPlatform("ann"), ApprovedInPlatform("bob")),
		Between(2*minute, 130*sec, WantNote("approval by ann in snow does not count")),
		Throughout(130*sec, 10*minute, WantChange(ops.ChangeAuthorize, ""), WantRuns(0, 0)),
	}})
}

// A freeze is overridden for one change by two persons who did not ask for it.
// The change is then held until a third has signed the review.
func TestBreakGlass(t *testing.T) {
	Play(t, Story{
		Begin:  "2026-12-23 11:50 Europe/Berlin",
		Config: gate + always + "freezes: [{name: year-end, from: 2026-12-20T00:00, to: 2027-01-03T00:00, time_zone: Europe/Berlin, break_glass: [incident-commander]}]\n",
		Events: []Event{
			At(0, Fire("HighCPU", "web1")),
			Between(0, 10*sec, WantChange(ops.ChangeAuthorize, "")),
			At(1*minute, Approve("ann")),
			Throughout(70*sec, 2*minute, WantChange(ops.ChangeScheduled, ""), WantRuns(0, 0)),
			At(2*minute, Refused(403, "needs one of the roles", BreakGlass("mia", "year-end", "it burns"))),
			At(2*minute, BreakGlass("ivo", "year-end", "it burns"), Refused(403, "a second person", BreakGlass("ivo", "year-end", "it burns"))),
			Throughout(2*minute, 3*minute, WantChange(ops.ChangeScheduled, ""), WantRuns(0, 0)),
			At(3*minute, BreakGlass("ida", "year-end", "it does")),
			Between(3*minute, 3*minute+30*sec, WantRuns(1, 0), WantNote("the freeze year-end is overridden by ivo and ida")),
			At(4*minute, Resolve("HighCPU", "web1")),
			Between(4*minute, 6*minute, WantVerdict(ops.Better), WantChange(ops.ChangeReview, ops.Successful)),
			At(7*minute, Refused(403, "somebody else", SignReview("ivo", "fine"))),
			Throughout(7*minute, 30*minute, WantChange(ops.ChangeReview, ops.Successful)),
			At(31*minute, SignReview("mia", "it was right")),
			Between(31*minute, 31*minute+10*sec, WantChange(ops.ChangeClosed, ops.Successful)),
		},
	})
}

// What does not help is taken back.
func TestUnchangedIsRolledBack(t *testing.T) {
	peer.Long(t)
	Play(t, Story{Config: gate + always, Events: []Event{
		At(0, Fire("HighCPU", "web1")),
		Between(0, 10*sec, WantChange(ops.ChangeAuthorize, "")),
		At(1*minute, Approve("ann")),
		Between(1*minute, 70*sec, WantRuns(1, 0), WantRun(ops.RunVerifying)),
		Throughout(70*sec, 4*minute, WantRun(ops.RunVerifying)),
		Between(5*minute, 6*minute, WantVerdict(ops.Unchanged), WantRuns(1, 1), WantSize("web1", "untouched"), WantChange(ops.ChangeClosed, ops.Unsuccessful)),
		Between(5*minute, 6*minute, WantNote("rolled back"), WantSnow(Fields{"state": "1"})),
	}})
}

// What makes things worse is taken back.
func TestWorseIsRolledBack(t *testing.T) {
	Play(t, Story{Config: gate + always, Events: []Event{
		At(0, Fire("HighCPU", "web1")),
		Between(0, 10*sec, WantChange(ops.ChangeAuthorize, "")),
		At(1*minute, Approve("ann")),
		Between(1*minute, 70*sec, WantRun(ops.RunVerifying)),
		At(2*minute, FireAs("critical", "HighCPU", "web1")),
		Between(2*minute, 6*minute, WantVerdict(ops.Worse), WantRuns(1, 1), WantChange(ops.ChangeClosed, ops.Unsuccessful)),
	}})
}

// Nobody answers: the request expires, and an approval that comes too late
// counts for nothing.
func TestApprovalExpires(t *testing.T) {
	Play(t, Story{Config: strings.Replace(gate, "expires: 30m", "expires: 10m", 1) + always, Events: []Event{
		At(0, Fire("HighCPU", "web1")),
		Between(0, 10*sec, WantChange(ops.ChangeAuthorize, "")),
		At(9*minute+30*sec, WantChange(ops.ChangeAuthorize, "")),
		Between(10*minute, 11*minute, WantChange(ops.ChangeCancelled, ops.Expired), WantNote("nobody decided")),
		At(12*minute, Refused(409, "waits for no approval", Approve("ann")), WantRuns(0, 0)),
	}})
}

// One switch stops everything, and says why to those who wait.
func TestKillSwitch(t *testing.T) {
	Play(t, Story{Config: gate + always, Events: []Event{
		At(0, Fire("HighCPU", "web1")),
		Between(0, 10*sec, WantChange(ops.ChangeAuthorize, "")),
		At(30*sec, Refused(0, "manage changes", Stop("ann"))),
		At(1*minute, Stop("mia")),
		At(2*minute, Approve("ann")),
		Between(2*minute, 2*minute+20*sec, WantWaiting("execution is stopped: drill (mia)"), WantNote("execution is stopped")),
		Throughout(2*minute+20*sec, 6*minute, WantChange(ops.ChangeScheduled, ""), WantRuns(0, 0)),
		At(6*minute, Resume("mia")),
		Between(6*minute, 6*minute+20*sec, WantRuns(1, 0)),
	}})
}

// A run that should be rolled back and may not be is held until a change
// manager has looked.
func TestHeldRun(t *testing.T) {
	peer.Long(t)
	Play(t, Story{Config: gate + always, Events: []Event{
		At(0, Fire("HighCPU", "web1")),
		Between(0, 10*sec, WantChange(ops.ChangeAuthorize, "")),
		At(1*minute, Approve("ann")),
		Between(1*minute, 70*sec, WantRun(ops.RunVerifying)),
		At(2*minute, Stop("mia")),
		Between(5*minute, 6*minute, WantRun(ops.RunHeld), WantWaiting("a change manager must say")),
		Throughout(6*minute, 9*minute, WantRun(ops.RunHeld), WantRuns(1, 0)),
		At(9*minute, Resume("mia")),
		At(10*minute, Refused(0, "manage changes", Settle("ann", change.HeldRollBack))),
		At(10*minute, Settle("mia", change.HeldRollBack)),
		Between(10*minute, 10*minute+30*sec, WantRuns(1, 1), WantChange(ops.ChangeClosed, ops.Unsuccessful)),
	}})
}
