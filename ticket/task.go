package ticket

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// maxSteps bounds the tasks that a plan's steps become; the last one stands for
// the rest.
const maxSteps = 20

// maxWhy bounds what an ended task says, in bytes; the whole is in the notes.
const maxWhy = 500

// taskNews is where the tasks of a kind go that have not ended, and why where
// they end.
type taskNews struct {
	state ops.TaskState
	why   string
}

// ran is what a run means for the tasks of the plan it ran.
func ran(state ops.TaskState, why string) map[ops.TaskKind]taskNews {
	return map[ops.TaskKind]taskNews{ops.TaskImplement: {state, why}}
}

// judged is what a verdict means for them. An inconclusive one leaves it to a
// person.
func judged(v ops.Verdict) map[ops.TaskKind]taskNews {
	switch v.Word {
	case ops.Better, ops.Unchanged:
		return map[ops.TaskKind]taskNews{ops.TaskVerify: {ops.TaskComplete, lines(string(v.Word), v.Why)}}
	case ops.Worse:
		return map[ops.TaskKind]taskNews{ops.TaskVerify: {ops.TaskIncomplete, lines(string(v.Word), v.Why)}}
	}
	return nil
}

// concluded is what is left to say when a change is over, or its verdict final.
func concluded(c ops.Change, why string) map[ops.TaskKind]taskNews {
	why = lines(string(c.Outcome), why)
	skipped := taskNews{ops.TaskSkipped, why}
	out := map[ops.TaskKind]taskNews{ops.TaskImplement: skipped, ops.TaskVerify: skipped}
	if c.State == ops.ChangeCancelled || c.Run == nil {
		return out
	}
	good := c.Run.State == ops.RunSucceeded
	for kind := range out {
		switch {
		case kind == ops.TaskVerify && c.Verdict == nil: // there was nothing to look at
		case good:
			out[kind] = taskNews{ops.TaskComplete, why}
		default:
			out[kind] = taskNews{ops.TaskIncomplete, why}
		}
	}
	return out
}

// askTasks lays what a change asks for anew over the tasks of its request. The
// plan that stands makes them; those of an earlier one end.
func askTasks(t *ops.Ticket, n changeNews, plan ops.Plan) {
	w := &t.Work
	if mark := ops.PlanMark(plan.Digest, plan.Revision); mark != "" && !slices.ContainsFunc(w.Tasks, func(x ops.TicketTask) bool { return x.Plan == mark }) {
		for i := range w.Tasks {
			moveTask(&w.Tasks[i], taskNews{ops.TaskSkipped, fmt.Sprintf("Replaced by the plan of revision %d.", plan.Revision)})
		}
		w.Tasks = slices.DeleteFunc(w.Tasks, settledTask)
		for step := range min(max(len(plan.Actions), 1), maxSteps) {
			w.Tasks = append(w.Tasks, ops.TicketTask{Plan: mark, Step: step + 1, State: ops.TaskOpen})
		}
		w.Tasks = append(w.Tasks, ops.TicketTask{Plan: mark, State: ops.TaskOpen})
	}
	for i := range w.Tasks {
		if news, ok := n.tasks[w.Tasks[i].Kind()]; ok {
			moveTask(&w.Tasks[i], news)
		}
	}
}

// moveTask moves a task on; there is no way back from its end.
func moveTask(t *ops.TicketTask, n taskNews) {
	if t.State.Ended() {
		return
	}
	t.State = n.state
	if n.state.Ended() {
		t.Why = strings.ToValidUTF8(n.why[:min(len(n.why), maxWhy)], "")
		t.Why = orElse(strings.TrimSpace(t.Why), string(n.state))
	}
}

// settledTask tells tasks about which nothing is left to do.
func settledTask(t ops.TicketTask) bool {
	return t.Shown.State.Ended() || t.State == ops.TaskSkipped && t.SentAt.IsZero() && t.Shown == (ops.TaskShown{})
}

// shows is what a task should show while the ticket shows seen. Its times are
// those that stand in the platform: many refuse a task outside its change.
func shows(t ops.TicketTask, seen ops.TicketFields) ops.TaskShown {
	if t.State.Ended() {
		return ops.TaskShown{State: t.State}
	}
	return ops.TaskShown{State: t.State, Window: window(seen)}
}

// dueTasks returns which tasks the platform does not show as they are: those
// that end, or the others. A ticket that ends is refused while one is open.
func (p *platform) dueTasks(t ops.Ticket, ending bool) []int {
	if t.Kind != ops.TicketChangeRequest || len(t.Work.Tasks) == 0 || !p.Conn.KeepsTasks() {
		return nil
	}
	var out []int
	for i, task := range t.Work.Tasks {
		if task.State.Ended() == ending && !settledTask(task) && (shows(task, t.Seen) != task.Shown || !task.SentAt.IsZero()) {
			out = append(out, i)
		}
	}
	return out
}

// mustTask tells that tasks wait to be put.
func (p *platform) mustTask(t ops.Ticket) bool {
	return len(p.dueTasks(t, true)) > 0 || len(p.dueTasks(t, false)) > 0
}

// sentTask is what became of a task that was put.
type sentTask struct {
	done bool  // it was answered, or refused with err
	lost bool  // nobody knows
	err  error // why it was refused
}

// tasks puts what waits of a ticket's tasks. That they may be there is in the
// database before they are sent.
func (r *Room) tasks(ctx context.Context, p *platform, t ops.Ticket, due []int) error {
	plans, err := r.Ask.Plans(ctx, changeOf(t.Subject))
	if err != nil {
		return fmt.Errorf("ticket: ask for the plans of %s: %w", t.Subject, err)
	}
	settle, careful := p.Conn.SettleTime(t.Kind)
	for _, i := range due {
		sent := t.Work.Tasks[i].SentAt
		if wait := sent.Add(settle).Sub(r.now()); careful && !sent.IsZero() && wait > 0 {
			return &later{wait, "a task was not answered; looking for it when it must be visible"}
		}
	}
	at := r.now()
	if err := r.eachTask(ctx, t, due, func(_ int, task *ops.TicketTask) string { task.SentAt = at; return "" }); err != nil {
		return err
	}
	t.Work.Turn++
	sent := make([]sentTask, len(due))
	for n, i := range due {
		err = r.call(ctx, p, func(ctx context.Context) error {
			_, err := p.Conn.PutTask(ctx, t.Ref, taskOf(t, i, plans))
			return err
		})
		// Many platforms let nobody edit the tasks of what is over.
		if !unknown(err) && (errors.Is(err, ops.ErrInvalid) || errors.Is(err, ops.ErrDenied) && ended(t.Seen.State)) {
			// People go on without the task, and are told.
			sent[n].err, err = err, nil
			r.Log.LogAttrs(ctx, slog.LevelWarn, "task is refused", slog.String("platform", p.name), slog.String("ref", t.Ref), slog.Any("error", sent[n].err))
		}
		sent[n].done, sent[n].lost = err == nil, unknown(err)
		if err != nil {
			break
		}
	}
	return errors.Join(err, r.eachTask(ctx, t, due, func(n int, task *ops.TicketTask) string {
		if sent[n].lost {
			return ""
		}
		task.SentAt = time.Time{}
		if sent[n].done {
			task.Shown = shows(t.Work.Tasks[due[n]], t.Seen)
		}
		if sent[n].err == nil || ended(t.Seen.State) {
			return ""
		}
		return fmt.Sprintf("The task %q could not be shown as %s: %v", taskOf(t, due[n], plans).Title, task.Shown.State, sent[n].err)
	}))
}

// eachTask keeps what f makes of each of some tasks, and the note it returns
// unless it is empty. f is told the place among them.
func (r *Room) eachTask(ctx context.Context, t ops.Ticket, some []int, f func(n int, task *ops.TicketTask) string) error {
	return r.turn(ctx, t.ID, t.Work.Turn, func(tx db.Tx, row *ops.Ticket) error {
		for n, i := range some {
			was := t.Work.Tasks[i]
			at := slices.IndexFunc(row.Work.Tasks, func(x ops.TicketTask) bool { return x.Plan == was.Plan && x.Step == was.Step })
			if at < 0 {
				continue // it was never sent, and its plan was replaced
			}
			text := f(n, &row.Work.Tasks[at])
			if text == "" {
				continue
			}
			note := ops.Note{
				ID: fmt.Sprintf("task-%s-%s", taskKey(t, was)[:12], row.Work.Tasks[at].Shown.State), At: r.now(), Author: ops.SystemPrincipal.Name, Text: text,
			}
			if _, err := r.Store.AddNote(ctx, tx, ops.TicketNote{Note: note, TicketID: t.ID, State: ops.NoteWaiting}); err != nil {
				return err
			}
		}
		return nil
	})
}

// taskKey is the identity of a task: the same for ever, and another one for
// another plan.
func taskKey(t ops.Ticket, task ops.TicketTask) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", t.Key, task.Plan, task.Step))
	return hex.EncodeToString(sum[:16])
}

// taskOf returns a task of a ticket as it is shown.
func taskOf(t ops.Ticket, i int, plans []ops.Plan) connector.Task {
	task := t.Work.Tasks[i]
	out := connector.Task{Key: taskKey(t, task), Kind: task.Kind(), State: task.State, Note: task.Why}
	if shows(task, t.Seen).Window != "" {
		out.PlannedStart, out.PlannedEnd = t.Seen.PlannedStart, t.Seen.PlannedEnd
	}
	var plan ops.Plan
	for _, x := range plans {
		if ops.PlanMark(x.Digest, x.Revision) == task.Plan {
			plan = x
		}
	}
	n := max(len(plan.Actions), 1)
	foot := fmt.Sprintf("Estimate of the whole plan: %s\nPlan: revision %d, digest %s", effort(plan), plan.Revision, plan.Digest)
	if task.Step == 0 {
		out.Order, out.Title = min(n, maxSteps)+1, "Verify "+t.Work.Asked.Title
		out.Text = "Look at what the change did: the executor's word, health checks, and metrics before and after.\n\n" + foot
		return out
	}
	out.Order, out.Title = task.Step, fmt.Sprintf("Step %d of %d: apply the plan", task.Step, n)
	text := []string{fmt.Sprintf("Executor: %s\nTarget: %s", plan.Executor, plan.Target)}
	for k := task.Step - 1; k < len(plan.Actions) && (k == task.Step-1 || task.Step == maxSteps && k < task.Step-1+shownAffected); k++ {
		a := plan.Actions[k]
		if k == task.Step-1 {
			out.Title = fmt.Sprintf("Step %d of %d: %s %s", task.Step, n, a.Verb, orElse(a.Resource, plan.Target))
		}
		text = append(text, actionText(a))
	}
	if task.Step == maxSteps && n > maxSteps {
		out.Title += fmt.Sprintf(", and %d more", n-maxSteps)
	}
	out.Text = strings.Join(append(text, foot), "\n\n")
	return out
}
