package connectortest

import (
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

var taskRules = []Rule{
	{Name: "open a task", Change: true, Task: true, Why: "people work from what the task shows", Test: openTask},
	{Name: "put a task twice", Change: true, Task: true, Why: "of two tasks of one step, one is never ended, and many instances close no change with an open task", Test: putTwice},
	{Name: "put a task at once", Change: true, Task: true, Why: "two workers at one ticket must not open the same task twice", Test: putAtOnce},
	{Name: "lost answer of a task", Change: true, Task: true, HTTP: true, Why: "the task exists though we never heard of it", Test: lostTask},
	{Name: "task follows its step", Change: true, Task: true, Why: "a task that does not say how its step went tells people the wrong thing", Test: taskFollows},
	{Name: "ended task stays", Change: true, Task: true, Why: "platforms have no way back from closed, and a late word must neither fail nor open it", Test: endedTask},
	{Name: "skip what is not there", Change: true, Task: true, Why: "a plan that was replaced before it was shown leaves nothing to cancel", Test: skipNothing},
	{Name: "tasks in order", Change: true, Task: true, Why: "steps are read in the order they are done in", Test: taskOrder},
	{Name: "task moves with the window", Change: true, Task: true, Why: "a task planned outside its change sends people at the wrong time", Test: taskWindow},
	{Name: "close after its tasks", Change: true, Task: true, Why: "a change request whose tasks have ended must not stay open", Test: closeAfterTasks},
	{Name: "cancel after its tasks", Change: true, Task: true, Why: "nobody may begin a step of a change that was cancelled", Test: cancelAfterTasks},
	{Name: "task of nothing", Change: true, Task: true, Why: "a ticket that is gone is for a person, not for another try", Test: taskOfNothing},
}

func (s *Suite) task(order int) connector.Task {
	kind := ops.TaskImplement
	if order == 3 {
		kind = ops.TaskVerify
	}
	return connector.Task{
		Key: s.key(), Kind: kind, Title: "Update web-1", Text: "Executor: aws\nÜmlaut <b>tag</b> & ^caret", Order: order, State: ops.TaskOpen,
	}
}

func (s *Suite) put(ref string, t connector.Task) connector.Task {
	s.Helper()
	got, err := s.conn.PutTask(s.Context(), ref, t)
	if err != nil {
		s.Fatalf("put task %s of %s: %v", t.Key, ref, err)
	}
	return got
}

func (s *Suite) end(ref string, t connector.Task, state ops.TaskState) connector.Task {
	s.Helper()
	t.State, t.Note = state, "It is over."
	return s.put(ref, t)
}

// tasks returns what the platform shows, and fails unless there are n.
func (s *Suite) tasks(ref string, n int) []connector.Task {
	s.Helper()
	all, err := s.conn.Tasks(s.Context(), ref)
	if err != nil {
		s.Fatalf("tasks of %s: %v", ref, err)
	}
	if there := s.Tasks(s.t, ref); len(all) != n || there != n {
		s.Fatalf("%s shows %d tasks and holds %d, want %d: %+v", ref, len(all), there, n, all)
	}
	return all
}

// isTask fails unless got is want, with a number of the platform's.
func (s *Suite) isTask(got, want connector.Task) {
	s.Helper()
	if got.Display == "" {
		s.Errorf("task %s has no number", got.Key)
	}
	want.Display = got.Display
	if got != want {
		s.Errorf("the task is\n%+v, want\n%+v", got, want)
	}
}

func openTask(s *Suite) {
	made := s.change()
	f := s.changeFields()
	f.PlannedStart, f.PlannedEnd = planned, planned.Add(time.Hour)
	s.update(made.Ref, f, connector.PlannedStart, connector.PlannedEnd)
	want := s.task(1)
	want.PlannedStart, want.PlannedEnd = planned, planned.Add(30*time.Minute)
	s.isTask(s.put(made.Ref, want), want)
	s.isTask(s.tasks(made.Ref, 1)[0], want)
	if got := s.get(made.Ref); got.Fields.State != made.Fields.State {
		s.Errorf("a new task moved its change from %s to %s", made.Fields.State, got.Fields.State)
	}
}

func putTwice(s *Suite) {
	made, t := s.change(), s.task(1)
	one := s.put(made.Ref, t)
	before := s.writes()
	two := s.put(made.Ref, t)
	again, err := s.open(s.Settings, s.Secrets).PutTask(s.Context(), made.Ref, t)
	if err != nil || two != one || again != one {
		s.Errorf("put as %+v, %+v, %+v, %v", one, two, again, err)
	}
	if n := s.writes() - before; n != 0 {
		s.Errorf("a task that stood there as wanted was written %d times", n)
	}
	s.tasks(made.Ref, 1)
}

func putAtOnce(s *Suite) {
	made, t := s.change(), s.task(1)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := s.conn.PutTask(s.Context(), made.Ref, t); err != nil {
				s.Errorf("put: %v", err)
			}
		})
	}
	wg.Wait()
	s.tasks(made.Ref, 1)
}

func lostTask(s *Suite) {
	made, t := s.change(), s.task(1)
	for _, state := range []ops.TaskState{ops.TaskOpen, ops.TaskInProgress, ops.TaskComplete} {
		t.State, t.Note = state, ""
		if state.Ended() {
			t.Note = "It is over."
		}
		s.wire.inject(losesAnswer, s.IsWrite)
		_, err := s.conn.PutTask(s.Context(), made.Ref, t)
		s.wire.inject(nil, nil)
		s.fails("put a task with a lost answer", err, ops.ErrUnavailable)
		if !isUnknown(err) {
			s.Errorf("the outcome is unknown, but the error does not say so: %v", err)
		}
		if d, needed := s.conn.SettleTime(ops.TicketChangeRequest); needed {
			s.Wait(d)
		}
		s.put(made.Ref, t)
		s.isTask(s.tasks(made.Ref, 1)[0], t)
	}
}

func taskFollows(s *Suite) {
	for _, last := range []ops.TaskState{ops.TaskComplete, ops.TaskIncomplete, ops.TaskSkipped} {
		made := s.change()
		t := s.task(1)
		s.put(made.Ref, t)
		if last != ops.TaskSkipped {
			t.State = ops.TaskInProgress
			s.isTask(s.put(made.Ref, t), t)
			s.isTask(s.tasks(made.Ref, 1)[0], t)
		}
		t.State, t.Note = last, "It is over."
		s.isTask(s.put(made.Ref, t), t)
		s.isTask(s.tasks(made.Ref, 1)[0], t)
	}
	// What happened while the platform was away is told at once.
	made, t := s.change(), s.task(3)
	t.State, t.Note = ops.TaskIncomplete, "The shop does not answer."
	s.isTask(s.put(made.Ref, t), t)
	s.isTask(s.tasks(made.Ref, 1)[0], t)
}

func endedTask(s *Suite) {
	made, t := s.change(), s.task(1)
	s.put(made.Ref, t)
	ended := s.end(made.Ref, t, ops.TaskIncomplete)
	before := s.writes()
	for _, state := range []ops.TaskState{ops.TaskOpen, ops.TaskInProgress, ops.TaskComplete, ops.TaskSkipped} {
		late := t
		late.State = state
		if state.Ended() {
			late.Note = "Otherwise."
		}
		if got := s.put(made.Ref, late); got != ended {
			s.Errorf("a late %s made it %+v", state, got)
		}
	}
	if n := s.writes() - before; n != 0 {
		s.Errorf("an ended task was written %d times", n)
	}
	s.isTask(s.tasks(made.Ref, 1)[0], ended)
}

func skipNothing(s *Suite) {
	made := s.change()
	before := s.writes()
	if got := s.end(made.Ref, s.task(1), ops.TaskSkipped); got != (connector.Task{}) {
		s.Errorf("it returned %+v", got)
	}
	if n := s.writes() - before; n != 0 {
		s.Errorf("it wrote %d times", n)
	}
	s.tasks(made.Ref, 0)
}

func taskOrder(s *Suite) {
	made := s.change()
	var keys [3]string
	for _, order := range []int{2, 3, 1} {
		t := s.task(order)
		keys[order-1] = t.Key
		s.put(made.Ref, t)
	}
	other := s.change()
	s.put(other.Ref, s.task(1))
	for i, t := range s.tasks(made.Ref, 3) {
		if t.Key != keys[i] || t.Order != i+1 {
			s.Errorf("task %d is %+v", i+1, t)
		}
	}
	s.tasks(other.Ref, 1)
}

func taskWindow(s *Suite) {
	made, t := s.change(), s.task(1)
	s.put(made.Ref, t)
	for _, start := range []time.Time{planned, planned.Add(48 * time.Hour)} {
		f := s.changeFields()
		f.PlannedStart, f.PlannedEnd = start, start.Add(time.Hour)
		s.update(made.Ref, f, connector.PlannedStart, connector.PlannedEnd)
		t.PlannedStart, t.PlannedEnd = f.PlannedStart, f.PlannedEnd
		s.isTask(s.put(made.Ref, t), t)
		s.isTask(s.tasks(made.Ref, 1)[0], t)
	}
}

func closeAfterTasks(s *Suite) {
	made := s.change()
	s.pass()
	s.ask(made.Ref, 1)
	s.decide(made.Ref, 0, ops.Approved, "")
	t := s.task(1)
	t.State = ops.TaskInProgress
	s.put(made.Ref, t)
	s.end(made.Ref, t, ops.TaskComplete)
	s.update(made.Ref, s.ended(ops.ChangeClosed, ops.Successful), ending...)
	if got := s.get(made.Ref); got.Fields.State != string(ops.ChangeClosed) {
		s.Errorf("it stands at %s", got.Fields.State)
	}
	if got := s.tasks(made.Ref, 1)[0]; got.State != ops.TaskComplete {
		s.Errorf("the close made its task %s", got.State)
	}
}

func cancelAfterTasks(s *Suite) {
	made, t := s.change(), s.task(1)
	s.put(made.Ref, t)
	s.end(made.Ref, t, ops.TaskSkipped)
	s.update(made.Ref, s.ended(ops.ChangeCancelled, ops.Expired), ending...)
	if got := s.get(made.Ref); got.Fields.State != string(ops.ChangeCancelled) {
		s.Errorf("it stands at %s", got.Fields.State)
	}
	// What comes late changes nothing.
	if got := s.end(made.Ref, t, ops.TaskComplete); got.State != ops.TaskSkipped {
		s.Errorf("its task is %s", got.State)
	}
}

func taskOfNothing(s *Suite) {
	made := s.change()
	ref := s.Missing
	if i := strings.LastIndex(made.Ref, "/"); i >= 0 {
		ref = made.Ref[:i+1] + ref // refs of change requests may have a form of their own
	}
	_, err := s.conn.PutTask(s.Context(), ref, s.task(1))
	s.fails("put a task of a ticket that is not there", err, ops.ErrNotFound)
	_, err = s.conn.Tasks(s.Context(), ref)
	s.fails("tasks of a ticket that is not there", err, ops.ErrNotFound)
}
