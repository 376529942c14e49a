package execute_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/dryrun"
	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

const typeKey = "/densify/iaas/ec2/i-1/instanceType"

// oneRepository is the same everywhere, and may refuse to be written.
type oneRepository struct {
	parameter.Repository
	refuse error
}

func (o *oneRepository) At(context.Context, string, string) (parameter.Repository, error) {
	return o, nil
}

func (o *oneRepository) Put(ctx context.Context, e parameter.Edit) (parameter.Parameter, error) {
	if o.refuse != nil {
		return parameter.Parameter{}, o.refuse
	}
	return o.Repository.Put(ctx, e)
}

// watching is a tool that looks at the parameter while it works.
type watching struct {
	execute.Executor
	keys   parameter.Repository
	saw    []string
	undone []string
	fail   error
}

func (w *watching) value() string {
	p, err := w.keys.Get(context.Background(), typeKey)
	if err != nil {
		return err.Error()
	}
	return p.Value + " " + string(p.Label)
}

func (w *watching) Apply(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	w.saw = append(w.saw, w.value())
	if w.fail != nil {
		return execute.Result{}, w.fail
	}
	return w.Executor.Apply(ctx, token, p, out)
}

func (w *watching) RollBack(ctx context.Context, token execute.Token, p ops.Plan, out io.Writer) (execute.Result, error) {
	w.undone = append(w.undone, w.value())
	return w.Executor.RollBack(ctx, token, p, out)
}

// shelf is the house with parameters.
type shelf struct {
	*house
	keys *oneRepository
	tool *watching
}

// openShelf has value under the key; none when it is empty.
func openShelf(t *testing.T, value string) *shelf {
	t.Helper()
	h := newHouse(t, dryrun.Config{})
	s := &shelf{house: h, keys: &oneRepository{Repository: parameter.NewRecords(new(record.Memory), time.Now)}}
	s.tool = &watching{Executor: h.opts.Executors["rehearsal"], keys: s.keys}
	h.opts.Executors["rehearsal"] = s.tool
	h.opts.Parameters, h.opts.Queue = s.keys, h.queue
	h.reopen()
	if value != "" {
		if _, err := s.keys.Put(t.Context(), parameter.Edit{Key: typeKey, Value: value, Token: "before"}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// advise puts a change in front of the room that carries a value.
func (s *shelf) advise() ops.Change {
	s.t.Helper()
	c := ops.Change{
		ID: "c1", Number: 1, Type: ops.ChangeStandard, State: ops.ChangeAssess, Executor: "rehearsal", Action: "resize", Resource: "shop", ResourceID: "r1", Revision: 1,
		Analysis: &ops.Analysis{Account: "123456789012", Region: "eu-central-1", Parameter: typeKey, Current: ops.Values{Type: "m5.large"}, Recommended: ops.Values{Type: "m5.xlarge"}},
	}
	s.gate.changes[c.ID] = c
	s.queue.Add(ops.NewCommand(ops.MakePlan, c.Subject(), ops.MakePlanBody{ChangeID: c.ID, Revision: 1}))
	s.run(time.Minute, s.idle)
	p := last[ops.PlanMadeBody](s.house, c.Subject()).Plan
	s.gate.plans[p.ID] = p
	c.PlanID, c.PlanDigest = p.ID, p.Digest
	s.gate.changes[c.ID] = c
	return c
}

func (s *shelf) want(value string, l parameter.Label) {
	s.t.Helper()
	p, err := s.keys.Get(s.t.Context(), typeKey)
	if err != nil || p.Value != value || p.Label != l {
		s.t.Errorf("the parameter is %q with the label %q, want %q with %q (%v)", p.Value, p.Label, value, l, err)
	}
}

// tell tells of the change as it stands, as the room change does.
func (s *shelf) tell(b ops.FactBody) {
	s.t.Helper()
	err := s.db.Write(s.t.Context(), func(tx db.Tx) error {
		_, err := s.store.Tell(s.t.Context(), tx, ops.NewFact(ops.ChangeSubject("c1"), time.Now(), ops.SystemPrincipal, "", b))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	heard := false // facts are delivered after the first look
	s.run(time.Minute, func() bool { was := heard; heard = true; return was && s.idle() })
}

// inShelf plays one change up to its order.
func inShelf(t *testing.T, value string, play func(t *testing.T, s *shelf, c ops.Change)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := openShelf(t, value)
		defer s.close()
		play(t, s, s.advise())
	})
}

func TestAValueIsReadableInTheRunOnly(t *testing.T) {
	inShelf(t, "m5.large", func(t *testing.T, s *shelf, c ops.Change) {
		p := s.gate.plans[c.PlanID]
		if !strings.Contains(p.Text, "publish parameter "+typeKey) || len(p.Actions) != 2 || len(p.Rollback) != 2 {
			t.Errorf("the plan does not say what becomes readable: %+v", p)
		}
		s.want("m5.large", "")
		s.order(s.approve(c))
		s.run(time.Minute, s.idle)
		last[ops.RunAppliedBody](s.house, c.Subject())
		if len(s.tool.saw) != 1 || s.tool.saw[0] != "m5.xlarge Published" {
			t.Errorf("the tool saw %q", s.tool.saw)
		}
		s.want("m5.xlarge", parameter.Published)
	})
}

func TestAKeyThatIsNotThereIsMade(t *testing.T) {
	inShelf(t, "", func(t *testing.T, s *shelf, c ops.Change) {
		s.tool.fail = errors.New("broken")
		s.order(s.approve(c))
		s.run(time.Minute, s.idle)
		s.want("m5.large", parameter.Failed)
		if len(s.tool.saw) != 1 || s.tool.saw[0] != "m5.xlarge Published" {
			t.Errorf("the tool saw %q", s.tool.saw)
		}
	})
}

func TestTheOldValueIsBackWhenTheToolFails(t *testing.T) {
	inShelf(t, "m5.large", func(t *testing.T, s *shelf, c ops.Change) {
		s.tool.fail = errors.New("broken")
		s.order(s.approve(c))
		s.run(time.Minute, s.idle)
		if b := last[ops.RunFailedBody](s.house, c.Subject()); b.Unknown || !strings.Contains(b.Run.Output, "m5.large again") {
			t.Errorf("told %+v", b)
		}
		s.want("m5.large", parameter.Failed)
	})
}

// Nobody knows what the tool did, so nobody knows which value is in force.
func TestTheValueStaysWhileTheOutcomeIsUnknown(t *testing.T) {
	inShelf(t, "m5.large", func(t *testing.T, s *shelf, c ops.Change) {
		s.tool.fail = &ops.UnknownOutcome{Err: errors.New("gone")}
		c = s.approve(c)
		s.order(c)
		s.run(time.Minute, s.idle)
		s.want("m5.xlarge", parameter.Published)
		// A person says that it failed.
		c.State, c.Outcome, c.Run.State = ops.ChangeClosed, ops.Unsuccessful, ops.RunFailed
		s.gate.changes[c.ID] = c
		s.tell(ops.ChangeEndedBody{Change: c})
		s.want("m5.large", parameter.Failed)
	})
}

func TestTheOldValueIsBackBeforeTheToolUndoes(t *testing.T) {
	inShelf(t, "m5.large", func(t *testing.T, s *shelf, c ops.Change) {
		c = s.approve(c)
		s.order(c)
		s.run(time.Minute, s.idle)
		c.Run.State = ops.RunRollingBack
		s.queue.Add(ops.NewCommand(ops.RollBackRun, c.Subject(), ops.RollBackRunBody{ChangeID: c.ID, RunID: c.Run.ID}))
		s.run(time.Minute, s.idle)
		if b := last[ops.RunRolledBackBody](s.house, c.Subject()); b.Error != "" {
			t.Error(b.Error)
		}
		if len(s.tool.undone) != 1 || s.tool.undone[0] != "m5.large RolledBack" {
			t.Errorf("the tool saw %q", s.tool.undone)
		}
		s.want("m5.large", parameter.RolledBack)
	})
}

func TestAValueOfSomebodyElseStays(t *testing.T) {
	meddle := func(s *shelf) {
		is, err := s.keys.Get(s.t.Context(), typeKey)
		if err == nil {
			_, err = s.keys.Put(s.t.Context(), parameter.Edit{Key: typeKey, Value: "c5.large", Version: is.Version, Token: "somebody"})
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	inShelf(t, "m5.large", func(t *testing.T, s *shelf, c ops.Change) {
		meddle(s)
		s.order(s.approve(c))
		s.run(time.Minute, s.idle)
		if b := last[ops.PlanMovedBody](s.house, c.Subject()); !strings.Contains(b.Moved, "c5.large") {
			t.Errorf("moved: %s", b.Moved)
		}
		s.want("c5.large", "")
	})
	inShelf(t, "m5.large", func(t *testing.T, s *shelf, c ops.Change) {
		c = s.approve(c)
		s.order(c)
		s.run(time.Minute, s.idle)
		meddle(s)
		c.Run.State = ops.RunRollingBack
		s.queue.Add(ops.NewCommand(ops.RollBackRun, c.Subject(), ops.RollBackRunBody{ChangeID: c.ID, RunID: c.Run.ID}))
		s.run(time.Minute, s.idle)
		if b := last[ops.RunRolledBackBody](s.house, c.Subject()); !strings.Contains(b.Error, "somebody else") {
			t.Errorf("rolled back with %q", b.Error)
		}
		s.want("c5.large", "")
	})
}

func TestNothingRunsWhoseValueCannotBeWritten(t *testing.T) {
	inShelf(t, "m5.large", func(t *testing.T, s *shelf, c ops.Change) {
		s.keys.refuse = ops.ErrDenied
		s.order(s.approve(c))
		s.run(time.Minute, s.idle)
		if b := last[ops.RunFailedBody](s.house, c.Subject()); b.Unknown || !strings.Contains(b.Error, "publish "+typeKey) {
			t.Errorf("told %+v", b)
		}
		if n := len(s.effects().Runs); n != 0 {
			t.Errorf("the tool did %d things", n)
		}
	})
}

func TestAKilledRunPublishesOnce(t *testing.T) {
	inShelf(t, "m5.large", func(t *testing.T, s *shelf, c ops.Change) {
		c = s.approve(c)
		s.died(c)
		if _, err := s.keys.Put(t.Context(), parameter.Edit{Key: typeKey, Value: "m5.xlarge", Version: 1, Token: c.Run.Token + "/publish"}); err != nil {
			t.Fatal(err)
		}
		s.order(c)
		s.run(time.Hour, s.idle)
		last[ops.RunAppliedBody](s.house, c.Subject())
		if p, err := s.keys.Get(t.Context(), typeKey); err != nil || p.Version != 2 || p.Value != "m5.xlarge" {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// The label follows the change, and an order that comes late says what is true
// now.
func TestTheLabelFollowsTheChange(t *testing.T) {
	inShelf(t, "", func(t *testing.T, s *shelf, c ops.Change) {
		f := func(edit func(c *ops.Change), told func(c ops.Change) ops.FactBody, value string, want parameter.Label) {
			t.Helper()
			edit(&c)
			s.gate.changes[c.ID] = c
			s.tell(told(c))
			s.want(value, want)
		}
		f(func(*ops.Change) {}, func(c ops.Change) ops.FactBody { return ops.ChangeRaisedBody{Change: c} }, "m5.large", parameter.Initialize)
		given := func(c ops.Change) ops.FactBody { return ops.ApprovalGivenBody{Approval: c.Approvals[0]} }
		f(func(c *ops.Change) {
			c.State, c.Approvals = ops.ChangeAuthorize, []ops.Approval{{ChangeID: c.ID, Decision: ops.Approved, Digest: c.PlanDigest}}
		}, given, "m5.large", parameter.Approved)
		f(func(c *ops.Change) { c.Approvals[0].Void = "the plan moved" }, func(c ops.Change) ops.FactBody { return ops.ApprovalVoidedBody{ChangeID: c.ID} }, "m5.large", parameter.Initialize)
		f(func(c *ops.Change) { c.State, c.Window = ops.ChangeScheduled, &ops.Occurrence{Window: "night"} }, func(c ops.Change) ops.FactBody { return ops.ChangeScheduledBody{Change: c} }, "m5.large", parameter.Scheduled)
		f(func(c *ops.Change) { c.State, c.Run = ops.ChangeImplement, &ops.Run{ID: "r", State: ops.RunVerifying} }, func(c ops.Change) ops.FactBody { return ops.RunMovedBody{Change: c} }, "m5.large", parameter.Executed)
		f(func(c *ops.Change) {
			c.State, c.Outcome, c.Run = ops.ChangeClosed, ops.Successful, &ops.Run{ID: "r", State: ops.RunSucceeded}
		}, func(c ops.Change) ops.FactBody { return ops.ChangeEndedBody{Change: c} }, "m5.large", parameter.Closed)
		for o, l := range map[ops.Outcome]parameter.Label{
			ops.Denied: parameter.Denied, ops.Withdrawn: parameter.Withdrawn, ops.Expired: parameter.Expired, ops.Superseded: parameter.Superseded, ops.MissedWindow: parameter.MissedWindow,
		} {
			f(func(c *ops.Change) { c.State, c.Outcome, c.Run = ops.ChangeCancelled, o, nil }, func(c ops.Change) ops.FactBody { return ops.ChangeEndedBody{Change: c} }, "m5.large", l)
		}
	})
}
