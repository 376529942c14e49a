package test

import (
	"testing"

	"github.com/fettleops/fettle/execute/cloudformation/cloudformationtest"
	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// The states of a change request in ServiceNow.
const (
	snowAuthorize = "-4" // the simulator asks in Assess
	snowScheduled = "-2"
	snowImplement = "-1"
	snowClosed    = "3"
	snowCanceled  = "4"
)

// loop plays a story about the fleet, from a recommendation on.
func loop(t *testing.T, config string, events ...Event) {
	t.Helper()
	Play(t, Story{Base: gatedBase, Config: rightSizing + config, World: shop, Events: events})
}

// asked is the part all of them begin with: the recommendation stands in
// ServiceNow with its whole analysis, and nobody but a planner has read more
// than the current value.
func asked() []Event {
	return []Event{
		At(0, AdviseFleet("m5.xlarge")),
		Between(0, 40*sec,
			WantRecommendation("REC-1", ops.RecommendationPlaced, "rule fleet"), WantChange(ops.ChangeAuthorize, ""), WantValue("m5.large", parameter.Initialize), WantSizes("2", "6"), WantNoPreview,
			WantRequest(Fields{"state": snowAuthorize, "approval": "requested", "type": "normal", "description": "*m5.xlarge, 1 to 4", "backout_plan": "*m5.large", "implementation_plan": "*m5.xlarge"}),
			WantFleet("m5.large", "2", "6", 0)),
	}
}

// untouched is what a change leaves that never ran.
func untouched(l parameter.Label) []Act {
	return []Act{WantValue("m5.large", l), WantSizes("2", "6"), WantFleet("m5.large", "2", "6", 0), WantNoPreview}
}

// The whole way: recommended, approved in ServiceNow, run in the window,
// verified, closed. The value is readable in the window and no sooner.
func TestTheLoopCloses(t *testing.T) {
	loop(t, nightly, append(asked(),
		At(1*minute, SnowDecides("beth.anglin", "approved")),
		Between(1*minute, 2*minute, WantChange(ops.ChangeScheduled, ""), WantValue("m5.large", parameter.Scheduled), WantRequest(Fields{"state": snowScheduled})),
		Throughout(2*minute, 30*minute-2*sec, untouched(parameter.Scheduled)...),
		Between(30*minute, 32*minute, WantRun(ops.RunVerifying), WantFleet("m5.xlarge", "1", "4", 1), WantSizes("1", "4"), WantValue("m5.xlarge", parameter.Executed), WantRequest(Fields{"state": snowImplement})),
		Between(32*minute, 39*minute, WantChange(ops.ChangeClosed, ops.Successful), WantValue("m5.xlarge", parameter.Closed), WantRequest(Fields{"state": snowClosed, "close_code": "successful"}),
			WantDone(ops.RecommendationDone, ops.Successful)),
		At(40*minute, WantFleet("m5.xlarge", "1", "4", 1), WantNoPreview),
	)...)
}

func TestTheLoopIsDenied(t *testing.T) {
	peer.Long(t)
	loop(t, nightly, append(asked(),
		At(1*minute, SnowDecides("beth.anglin", "rejected")),
		Between(1*minute, 3*minute, WantChange(ops.ChangeCancelled, ops.Denied), WantValue("m5.large", parameter.Denied), WantRequest(Fields{"state": snowCanceled}), WantDone(ops.RecommendationWithdrawn, ops.Denied)),
		Throughout(3*minute, 50*minute, untouched(parameter.Denied)...),
	)...)
}

// The tasks of the change request go the way of the run: open until the window,
// in progress while the stack is updated, closed by what it did.
func TestTheTasksFollowTheLoop(t *testing.T) {
	loop(t, nightly, append(asked(),
		Between(0, 1*minute-sec, WantTasks(taskOpen, taskOpen)),
		At(1*minute, SnowDecides("beth.anglin", "approved")),
		Between(1*minute, 2*minute, WantRequest(Fields{"state": snowScheduled, "start_date": "2026-06-01 06:30:00"}), WantTasks(taskOpen, taskOpen)),
		Throughout(2*minute, 30*minute-2*sec, WantTasks(taskOpen, taskOpen)),
		Between(30*minute, 31*minute, WantTasks(taskWorking, taskOpen)),
		Between(30*minute, 32*minute, WantRun(ops.RunVerifying), WantTasks(taskClosed, taskWorking)),
		Between(32*minute, 39*minute, WantRequest(Fields{"state": snowClosed, "close_code": "successful"}), WantTasks(taskClosed, taskClosed)),
	)...)
}

// Somebody denies it in ServiceNow: nobody begins a step of it any more.
func TestTheTasksEndWithADenial(t *testing.T) {
	peer.Long(t)
	loop(t, nightly, append(asked(),
		Between(0, 1*minute-sec, WantTasks(taskOpen, taskOpen)),
		At(1*minute, SnowDecides("beth.anglin", "rejected")),
		Between(1*minute, 3*minute, WantChange(ops.ChangeCancelled, ops.Denied), WantTasks(taskCanceled, taskCanceled), WantRequest(Fields{"state": snowCanceled})),
		Throughout(3*minute, 50*minute, WantTasks(taskCanceled, taskCanceled)),
	)...)
}

// Somebody has changed by hand what the stack made: it is not updated over that.
func TestTheLoopFindsDrift(t *testing.T) {
	peer.Long(t)
	loop(t, nightly, append(asked(),
		At(1*minute, SnowDecides("beth.anglin", "approved")),
		At(5*minute, Stacked(func(s *cloudformationtest.Stack) { s.Live["Template"]["ImageId"] = "ami-by-hand" })),
		Between(30*minute, 35*minute, WantChange(ops.ChangeClosed, ops.Unsuccessful), WantTold("rift"), WantRequest(Fields{"state": snowClosed, "close_code": "unsuccessful"})),
		Between(30*minute, 40*minute, WantSizes("2", "6"), WantFleet("m5.large", "2", "6", 0), WantValue("m5.large", parameter.RolledBack), WantNoPreview),
	)...)
}

// The key has another value in the window: what was approved is no longer what
// would happen, so somebody must approve anew, and the ticket says why.
func TestTheLoopPlansAgainWhenTheValueMoved(t *testing.T) {
	peer.Long(t)
	loop(t, nightly, append(asked(),
		At(1*minute, SnowDecides("beth.anglin", "approved")),
		At(5*minute, SetKey(typeKey, "m5.2xlarge")),
		Between(30*minute, 32*minute, WantChange(ops.ChangeAuthorize, ""), WantTold("no longer counts"), WantRequest(Fields{"state": snowAuthorize, "approval": "requested"})),
		Throughout(32*minute, 35*minute, WantFleet("m5.large", "2", "6", 0), WantSizes("2", "6")),
		At(36*minute, SnowDecides("beth.anglin", "approved")),
		Between(36*minute, 39*minute, WantRun(ops.RunVerifying), WantFleet("m5.xlarge", "1", "4", 1)),
	)...)
}

// The plan changes between display and approve: ServiceNow takes the old
// request back, and what a person says about the new plan is about the new one.
func TestTheLoopPlanChangesBetweenDisplayAndApprove(t *testing.T) {
	peer.Long(t)
	loop(t, nightly, append(asked(),
		At(1*minute, Edit("mia", "update-stack", stack, typeKey+"=m5.2xlarge"),
			SnowDecides("beth.anglin", "approved")), // of what still stands there
		Between(1*minute, 3*minute, WantChange(ops.ChangeAuthorize, ""), WantTold("does not count"), WantRequest(Fields{"state": snowAuthorize, "approval": "requested", "implementation_plan": "*m5.2xlarge"})),
		Throughout(3*minute, 29*minute, WantChange(ops.ChangeAuthorize, ""), WantFleet("m5.large", "2", "6", 0)),
	)...)
}

// CloudFormation cannot do it and takes the stack back; so does Fettle the values.
func TestTheLoopFailsAndRollsBack(t *testing.T) {
	peer.Long(t)
	loop(t, nightly, append(asked(),
		At(1*minute, SnowDecides("beth.anglin", "approved"), Stacked(func(s *cloudformationtest.Stack) { s.Refuse = "m5.xlarge" })),
		Between(30*minute, 35*minute, WantChange(ops.ChangeClosed, ops.Unsuccessful), WantSizes("2", "6"), WantFleet("m5.large", "2", "6", 1), WantValue("m5.large", parameter.RolledBack),
			WantRequest(Fields{"state": snowClosed, "close_code": "unsuccessful"}), WantDone(ops.RecommendationDone, ops.Unsuccessful)),
	)...)
}

// Nothing was there to run it in the only window it had.
func TestTheLoopMissesItsWindow(t *testing.T) {
	peer.Long(t)
	loop(t, "windows: [{name: once, schedule: \"at(2026-06-01T08:30:00)\", duration: 1h, time_zone: Europe/Berlin}]\n", append(asked(),
		At(1*minute, SnowDecides("beth.anglin", "approved")),
		At(10*minute, WantChange(ops.ChangeScheduled, ""), Off),
		At(120*minute, On),
		Between(120*minute, 125*minute, WantChange(ops.ChangeCancelled, ops.MissedWindow), WantValue("m5.large", parameter.MissedWindow), WantRequest(Fields{"state": snowCanceled})),
		At(130*minute, untouched(parameter.MissedWindow)...),
	)...)
}

func TestTheLoopWaitsForAFreeze(t *testing.T) {
	peer.Long(t)
	loop(t, nightly+"freezes: [{name: sale, from: 2026-06-01T08:00, to: 2026-06-01T09:00, time_zone: Europe/Berlin}]\n", append(asked(),
		At(1*minute, SnowDecides("beth.anglin", "approved")),
		Between(1*minute, 3*minute, WantTold("after the freeze sale")),
		Throughout(3*minute, 60*minute-2*sec, untouched(parameter.Scheduled)...),
		Between(60*minute, 62*minute, WantRun(ops.RunVerifying), WantFleet("m5.xlarge", "1", "4", 1)),
	)...)
}

// The shop does not answer after the change: stack and values go back.
func TestTheLoopMakesItWorse(t *testing.T) {
	peer.Long(t)
	loop(t, nightly, append(asked(),
		At(1*minute, SnowDecides("beth.anglin", "approved")),
		Between(30*minute, 32*minute, WantRun(ops.RunVerifying), WantFleet("m5.xlarge", "1", "4", 1)),
		At(32*minute, Sicken),
		Between(32*minute, 38*minute, WantVerdict(ops.Worse), WantChange(ops.ChangeClosed, ops.Unsuccessful), WantFleet("m5.large", "2", "6", 2), WantSizes("2", "6"), WantValue("m5.large", parameter.RolledBack),
			WantTold("shop answers"), WantRequest(Fields{"state": snowClosed, "close_code": "unsuccessful"})),
	)...)
}

// Who edited the plan does not approve it, not in ServiceNow either.
func TestTheLoopHasTwoPersons(t *testing.T) {
	peer.Long(t)
	loop(t, nightly, append(asked(),
		At(1*minute, Edit("mia", "update-stack", stack, typeKey+"=m5.2xlarge")),
		Between(1*minute, 3*minute, WantRequest(Fields{"state": snowAuthorize, "approval": "requested", "implementation_plan": "*m5.2xlarge"})),
		At(4*minute, SnowDecides("abel.tuter", "approved")),
		Between(4*minute, 6*minute, WantTold("does not count")),
		Throughout(6*minute, 29*minute, WantFleet("m5.large", "2", "6", 0)),
	)...)
}
