package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/ops"
)

// The states of a command.
const (
	waiting = "waiting"
	done    = "done"
	ended   = "ended"
)

// work is what River keeps of a command. The body travels as a string, because
// PostgreSQL's jsonb would reorder it and refuses some of what JSON allows.
type work struct {
	Seq     int64  `json:"seq"` // of the row in table command
	Subject string `json:"subject"`
	Command string `json:"kind"`
	Body    string `json:"body,omitempty"`
	Cause   string `json:"cause,omitempty"`
	At      int64  `json:"at,omitempty"`     // milliseconds
	Tried   int    `json:"tried,omitempty"`  // attempts before this job, those included that a crash ended
	Failed  int    `json:"failed,omitempty"` // how many of all attempts failed
}

// Kind names the one kind of River job.
func (work) Kind() string { return "command" }

func (w work) command() ops.Command {
	c := ops.Command{Kind: ops.CommandKind(w.Command), Subject: w.Subject, Cause: w.Cause}
	if w.Body != "" {
		c.Body = json.RawMessage(w.Body)
	}
	if w.At != 0 {
		c.At = time.UnixMilli(w.At).UTC()
	}
	return c
}

// Enqueue queues commands in the caller's transaction. A command whose time
// has not come waits for it, to about a second.
func (q *Queue) Enqueue(ctx context.Context, tx db.Tx, commands ...ops.Command) error {
	if len(commands) == 0 {
		return nil
	}
	now := q.clock()
	jobs := make([]queued, 0, len(commands))
	for _, c := range commands {
		if c.Kind == "" || c.Subject == "" {
			return fmt.Errorf("job: a command needs kind and subject, got %q and %q: %w", c.Kind, c.Subject, ops.ErrInternal)
		}
		w := work{Subject: c.Subject, Command: string(c.Kind), Body: string(c.Body), Cause: c.Cause}
		due := now
		if !c.At.IsZero() {
			w.At = c.At.UnixMilli()
			if c.At.After(now) {
				due = c.At
			}
		}
		err := tx.QueryRow(ctx, `INSERT INTO command (subject, kind, body, cause, at, queued_at, run_at, finished_at, attempts, error, state)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, '', 'waiting') RETURNING seq`,
			w.Subject, w.Command, w.Body, w.Cause, w.At, now.UnixMilli(), due.UnixMilli()).Scan(&w.Seq)
		if err != nil {
			return fmt.Errorf("job: queue %s about %s: %w", c.Kind, c.Subject, err)
		}
		jobs = append(jobs, queued{w, due})
	}
	return q.insert(ctx, tx, now, jobs)
}

type queued struct {
	work work
	due  time.Time
}

// insert gives jobs to River and rings when they are due.
func (q *Queue) insert(ctx context.Context, tx db.Tx, now time.Time, jobs []queued) error {
	params := make([]river.InsertManyParams, len(jobs))
	for i, j := range jobs {
		params[i].Args, params[i].InsertOpts = j.work, &river.InsertOpts{Priority: 2}
		if ops.CommandKind(j.work.Command).Urgent() {
			params[i].InsertOpts.Priority = 1 // River's first
		}
		if j.due.After(now) {
			params[i].InsertOpts.ScheduledAt = j.due
		}
	}
	inserted, err := q.river.insert(ctx, tx, params)
	if err != nil {
		return fmt.Errorf("job: queue %d commands: %w", len(jobs), err)
	}
	var due []time.Time
	for i, j := range jobs {
		wait := j.due.Sub(now)
		if wait > dueSoon {
			continue
		}
		due = append(due, j.due)
		if wait <= 0 {
			continue
		}
		// River itself keeps a short snooze this way: available, with its time.
		tx.Send(ctx, "UPDATE river_job SET state = 'available' WHERE id = $1 AND state = 'scheduled'", inserted[i].Job.ID)
	}
	tx.AfterCommit(func() { q.bell.ringAt(now, due) })
	return nil
}

type worker struct {
	river.WorkerDefaults[work]
	queue *Queue
}

// Work carries out one command and records how it went in the transaction that
// ends River's job. What has to run again is a new job in that transaction, so
// that no crash can lose it and River counts nothing.
func (w *worker) Work(ctx context.Context, j *river.Job[work]) error {
	q, c := w.queue, j.Args.command()
	ctxRecord := context.WithoutCancel(ctx)
	if j.Attempt > 1 {
		finished, err := q.finished(ctxRecord, j.Args.Seq)
		if err != nil {
			return err
		}
		if finished { // by a worker that was taken for dead
			return q.db.Write(ctxRecord, func(tx db.Tx) error { q.complete(ctxRecord, tx, j); return nil })
		}
	}
	began := q.clock()
	failure := q.carryOut(ctx, c)
	attempts := j.Args.Tried + j.Attempt
	o := q.judge(failure, j.Args.Seq, j.Args.Failed+1)
	q.metric.command(c.Kind, o.word, q.clock().Sub(began))
	if failure != nil {
		q.log.LogAttrs(ctx, o.level, "command did not finish",
			slog.String("command", string(c.Kind)), slog.String("subject", c.Subject), slog.Int64("command_seq", j.Args.Seq),
			slog.String("outcome", o.word), slog.Int("attempt", attempts), slog.Duration("again_after", o.again), slog.String("error", text(failure)))
	}
	err := q.db.Write(ctxRecord, func(tx db.Tx) error { return q.record(ctxRecord, tx, j, o, attempts, failure) })
	if err != nil {
		return fmt.Errorf("job: record how %s about %s went: %w", c.Kind, c.Subject, err)
	}
	return nil
}

func (q *Queue) finished(ctx context.Context, seq int64) (bool, error) {
	var state string
	err := q.db.Read().QueryRow(ctx, "SELECT state FROM command WHERE seq = $1", seq).Scan(&state)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return false, fmt.Errorf("job: read command %d: %w", seq, err)
	}
	return state != waiting, nil // retention removes only what has finished
}

func (q *Queue) carryOut(ctx context.Context, c ops.Command) (err error) {
	h, ok := q.handlers[c.Kind]
	if !ok {
		return fmt.Errorf("no handler for %s in this process: %w", c.Kind, ops.ErrInternal)
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s: %w", p, debug.Stack(), ops.ErrInternal)
		}
	}()
	return h(ctx, c)
}

// outcome is what follows from how a command went.
type outcome struct {
	word   string // done, retry, snooze, ended or stopped
	state  string
	again  time.Duration // when waiting
	failed bool          // counts as a failure
	level  slog.Level
}

// judge is the table from class of error to what happens next, if this is the
// command's failure of that number.
func (q *Queue) judge(err error, seq int64, failures int) outcome {
	var s *snooze
	switch {
	case err == nil:
		return outcome{word: "done", state: done}
	case errors.As(err, &s):
		return outcome{word: "snooze", state: waiting, again: s.after, level: slog.LevelDebug}
	case errors.Is(err, context.Canceled) && q.halted():
		return outcome{word: "stopped", state: waiting, level: slog.LevelInfo}
	}
	if slices.Contains(final, ops.Class(err)) {
		return outcome{word: "ended", state: ended, failed: true, level: slog.LevelError}
	}
	again := ops.RetryAfter(err) // of a peer that throttles and says for how long
	if again <= 0 {
		most := maxBackoff
		if errors.Is(err, ops.ErrConflict) {
			most = maxConflict // somebody was faster: there is nothing to wait for but the next look
		}
		again = backoff(seq, failures, time.Second, most)
	}
	return outcome{word: "retry", state: waiting, again: again, failed: true, level: slog.LevelWarn}
}

// final are the classes of error that trying again cannot change.
var final = []error{ops.ErrInvalid, ops.ErrDenied, ops.ErrNotFound, ops.ErrStalled}

func (q *Queue) halted() bool {
	select {
	case <-q.stopping:
		return true
	default:
		return false
	}
}

// The longest pauses between two attempts of a command: after a failure, and
// after a conflict. A crash is nobody's failure: commands it interrupted wait no
// longer than others.
const (
	maxBackoff  = 5 * time.Minute
	maxConflict = 5 * time.Second
)

// backoff doubles from first to most with every failure and spreads each pause
// over its upper quarter, by key, so that what failed together does not come
// back together.
func backoff(key int64, failures int, first, most time.Duration) time.Duration {
	d := most
	if shift := failures - 1; shift < 20 && first<<shift < most {
		d = first << shift
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d/%d", key, failures)
	return d - time.Duration(float64(d)/4*float64(h.Sum64()%1024)/1024)
}

func (q *Queue) record(ctx context.Context, tx db.Tx, j *river.Job[work], o outcome, attempts int, failure error) error {
	now := q.clock()
	if !o.failed && o.state == waiting {
		attempts = j.Args.Tried
	}
	var finishedAt int64
	due := now.Add(o.again)
	if o.state != waiting {
		finishedAt = now.UnixMilli()
		due = now
	}
	n, err := tx.Exec(ctx, `UPDATE command SET state = $2, attempts = $3, error = $4, finished_at = $5, run_at = CASE WHEN $2 = 'waiting' THEN $6 ELSE run_at END
		WHERE seq = $1 AND state = 'waiting'`, j.Args.Seq, o.state, int64(attempts), text(failure), finishedAt, due.UnixMilli())
	if err != nil {
		return err
	}
	if n == 1 && o.state == waiting {
		w := j.Args
		if w.Tried = attempts; o.failed {
			w.Failed++
		}
		if err := q.insert(ctx, tx, now, []queued{{w, due}}); err != nil {
			return err
		}
	}
	q.complete(ctx, tx, j)
	return nil
}

const (
	maxError = 4 << 10  // bytes kept of an error
	maxRead  = 64 << 10 // bytes of it searched for credentials
)

// text is what is kept and logged of an error: without credentials, whatever
// the peer's answer quoted.
func text(err error) string {
	if err == nil {
		return ""
	}
	s := err.Error()
	s = redact.Text(strings.ReplaceAll(s[:min(len(s), maxRead)], "\x00", ""))
	return strings.ToValidUTF8(s[:min(len(s), maxError)], "")
}
