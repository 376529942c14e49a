package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/execute/dryrun"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// executor is the name of the stories' executor, which rehearses.
const executor = "rehearsal"

// gate is a configuration with a runbook that scales a machine up, an approver
// and whatever windows a story adds.
const gate = `
executors: [{name: rehearsal, tool: dryrun, takes: 2s}]
runbooks:
  - {name: high-cpu, trigger: 'alert.rule == "HighCPU"', verify: {within: 4m}, risk: 0.6, steps: [{executor: rehearsal, action: scale_up, args: [large]}]}
policies: {approval: [{match: "true", approvers: {role: approver, count: 1}, expires: 30m}]}
`

const always = "windows: [{name: any-time, schedule: always, time_zone: Europe/Berlin}]\n"

// change returns the only change, with its plan.
func (h *House) change() (api.ChangeView, error) {
	all, err := h.as("admin").Changes(h.t.Context(), nil)
	if err == nil && len(all.Items) != 1 {
		err = fmt.Errorf("there are %d changes, want one", len(all.Items))
	}
	if err != nil {
		return api.ChangeView{}, err
	}
	return h.as("admin").Change(h.t.Context(), all.Items[0].Key)
}

// WantChange wants the change in a state, with an outcome where it has ended.
func WantChange(state ops.ChangeState, outcome ops.Outcome) Act {
	return func(h *House) error {
		c, err := h.change()
		if err == nil && (c.State != state || c.Outcome != outcome) {
			err = fmt.Errorf("%s is %s %s, want %s %s (%s)", c.Key, c.State, c.Outcome, state, outcome, c.Waiting)
		}
		return err
	}
}

// WantWaiting wants the change to say that it waits for something.
func WantWaiting(text string) Act {
	return func(h *House) error {
		c, err := h.change()
		if err == nil && !strings.Contains(c.Waiting, text) {
			err = fmt.Errorf("%s (%s) waits because %q, want %q", c.Key, c.State, c.Waiting, text)
		}
		return err
	}
}

// WantRun wants the change's run in a state.
func WantRun(state ops.RunState) Act {
	return func(h *House) error {
		c, err := h.change()
		switch {
		case err != nil:
			return err
		case c.Run == nil:
			return fmt.Errorf("%s (%s) has no run, want one that is %s (%s)", c.Key, c.State, state, c.Waiting)
		case c.Run.State != state:
			return fmt.Errorf("the run of %s is %s, want %s: %s", c.Key, c.Run.State, state, c.Run.Error)
		}
		return nil
	}
}

// WantVerdict wants the change to have been judged.
func WantVerdict(word ops.VerdictWord) Act {
	return func(h *House) error {
		c, err := h.change()
		switch {
		case err != nil:
			return err
		case c.Verdict == nil:
			return fmt.Errorf("%s has no verdict, want %s", c.Key, word)
		case c.Verdict.Word != word:
			return fmt.Errorf("the verdict on %s is %s (%s), want %s", c.Key, c.Verdict.Word, c.Verdict.Why, word)
		}
		return nil
	}
}

// Approve approves the plan that the API shows to a person.
func Approve(who string) Act { return decide(who, ops.Approved, "") }

// Deny denies it.
func Deny(who string) Act { return decide(who, ops.Refused, "") }

// ApproveDigest approves the plan with a digest a person claims to have seen.
func ApproveDigest(who, digest string) Act { return decide(who, ops.Approved, digest) }

func decide(who string, d ops.Decision, digest string) Act {
	return func(h *House) error {
		c, err := h.change()
		if err != nil {
			return err
		}
		if digest == "" {
			digest = c.PlanDigest
		}
		return h.call(who, http.MethodPost, "/api/v1/changes/"+c.Key+"/decisions", map[string]string{"decision": string(d), "digest": digest}, nil)
	}
}

// Edit changes what the change does, as a person.
func Edit(who, action string, args ...string) Act {
	return func(h *House) error {
		c, err := h.change()
		if err != nil {
			return err
		}
		by, err := h.app.Store.Principal(h.t.Context(), who)
		if err != nil {
			return err
		}
		_, err = h.app.Change.Edit(h.t.Context(), by, c.Key, action, args, "more is needed")
		return err
	}
}

// See remembers the change as the API shows it now.
func See() Act {
	return func(h *House) error {
		c, err := h.change()
		h.shown = c.Change
		return err
	}
}

// ApproveSeen approves what was seen earlier.
func ApproveSeen(who string) Act {
	return func(h *House) error { return ApproveDigest(who, h.shown.PlanDigest)(h) }
}

// ApprovedInPlatform tells that somebody approved in a platform what was seen
// earlier.
func ApprovedInPlatform(who string) Act {
	return func(h *House) error {
		now, shown := h.app.Clock(), h.shown
		body := ops.ApprovalSeenBody{
			ChangeID: shown.ID, Platform: "snow", Approval: "by-" + who, User: who, Person: who, Decision: ops.Approved,
			Digest: shown.PlanDigest, Revision: shown.Revision, WrittenAt: now.Add(-time.Hour), DecidedAt: now,
		}
		return h.app.DB.Write(h.t.Context(), func(tx db.Tx) error {
			_, err := h.app.Store.Tell(h.t.Context(), tx, ops.NewFact(shown.Subject(), now, ops.SystemPrincipal, "", body))
			return err
		})
	}
}

// BreakGlass overrides a freeze, or confirms it, as a person.
func BreakGlass(who, freeze, reason string) Act {
	return func(h *House) error {
		c, err := h.change()
		if err != nil {
			return err
		}
		return h.call(who, http.MethodPost, "/api/v1/changes/"+c.Key+"/break-glass", map[string]string{"freeze": freeze, "reason": reason}, nil)
	}
}

// SignReview ends the review, as a person.
func SignReview(who, note string) Act {
	return func(h *House) error {
		c, err := h.change()
		if err != nil {
			return err
		}
		return h.call(who, http.MethodPost, "/api/v1/changes/"+c.Key+"/review", map[string]string{"note": note}, nil)
	}
}

// Refused wants an act to be refused with a status, 0 for any, and a reason.
func Refused(status int, why string, act Act) Act {
	return func(h *House) error {
		err := act(h)
		if err == nil {
			return fmt.Errorf("it was allowed, want %d (%s)", status, why)
		}
		if status != 0 && !strings.Contains(err.Error(), fmt.Sprint(status)) || !strings.Contains(err.Error(), why) {
			return fmt.Errorf("it was refused with %w, want %d and %q", err, status, why)
		}
		return nil
	}
}

// ServiceToken makes a token of a machine, with a role.
func ServiceToken(name, role string) Act {
	return func(h *House) error {
		made, err := h.as("admin").CreateToken(h.t.Context(), api.NewToken{For: name, Roles: []string{role}, Kind: "service"})
		h.tokens[name] = made.Token
		return err
	}
}

// Raise raises a change by hand, as a person.
func Raise(who string) Act {
	return func(h *House) error {
		by, err := h.app.Store.Principal(h.t.Context(), who)
		if err != nil {
			return err
		}
		_, err = h.app.Change.Raise(h.t.Context(), by, change.Request{Title: "Scale up", Executor: executor, Action: "scale_up"}, "page")
		return err
	}
}

// Settle says what became of a held run, as a person.
func Settle(who string, word change.Resolution) Act {
	return func(h *House) error {
		by, err := h.app.Store.Principal(h.t.Context(), who)
		if err != nil {
			return err
		}
		c, err := h.change()
		if err != nil {
			return err
		}
		_, err = h.app.Change.DecideHeld(h.t.Context(), by, c.Key, word, "looked at it")
		return err
	}
}

// Stop stops all execution, Resume lets it go on.
func Stop(who string) Act { return setSwitch(who, true) }

// Resume lets execution go on.
func Resume(who string) Act { return setSwitch(who, false) }

func setSwitch(who string, stop bool) Act {
	return func(h *House) error {
		_, err := h.as(who).SetExecution(h.t.Context(), stop, "drill")
		return err
	}
}

func (h *House) effects() (dryrun.Effects, error) {
	return dryrun.Read(filepath.Join(h.dir, "executors", executor))
}

// WantRuns wants that many effects of the tool, told by its own file:
// applications and rollbacks.
func WantRuns(applied, rolledBack int) Act {
	return func(h *House) error {
		e, err := h.effects()
		if err != nil {
			return err
		}
		undone := 0
		for token := range e.Runs {
			if strings.HasSuffix(token, "/rollback") {
				undone++
			}
		}
		if n := len(e.Runs) - undone; n != applied || undone != rolledBack {
			return fmt.Errorf("the tool applied %d times and rolled back %d times, want %d and %d", n, undone, applied, rolledBack)
		}
		return nil
	}
}

// WantSize wants the machine to be what the tool left it as.
func WantSize(host, size string) Act {
	return func(h *House) error {
		e, err := h.effects()
		if err == nil && e.State[host] != size {
			err = fmt.Errorf("%s is %q, want %q", host, e.State[host], size)
		}
		return err
	}
}

// Meddle changes a machine behind everybody's back.
func Meddle(host, size string) Act {
	return func(h *House) error {
		e, err := h.effects()
		if err != nil {
			return err
		}
		e.State[host] = size
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(h.dir, "executors", executor, "effects.json"), b, 0o600)
	}
}
