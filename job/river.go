package job

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/failpoint"
)

const (
	// jobTimeout bounds one attempt of a command; longer work is polled by a
	// command that snoozes.
	jobTimeout = 60 * time.Second
	// rescueAfter is how long a job of a dead replica stays put. It must exceed
	// jobTimeout, or the living would be robbed.
	rescueAfter = 90 * time.Second
	// fetchCooldown is the shortest pause between two fetches; River's default
	// of 100 ms caps a short queue (engine.md, pitfall 5).
	fetchCooldown = 5 * time.Millisecond
	// dueSoon is how far ahead a job may be due and still be put straight among
	// the available ones, where the fetch finds it on time. Later ones wait for
	// River's scheduler, which looks every 5 s and 5 s ahead.
	dueSoon = 10 * time.Second
	// maxAttempts is out of reach: what ends a command is the class of its
	// error, never a count. River counts only crashes here.
	maxAttempts = 30_000
	// keepJobs is how long River's copy of finished work stays; the table
	// command keeps the story.
	keepJobs = 2 * time.Minute
)

// runner is River on one engine, without its type parameters.
type runner interface {
	migrate(ctx context.Context, log *slog.Logger) error
	start(ctx context.Context) error
	// stop waits for the commands being carried out.
	stop(ctx context.Context) error
	// halt cancels them and waits.
	halt(ctx context.Context) error
	insert(ctx context.Context, tx db.Tx, jobs []river.InsertManyParams) ([]*rivertype.JobInsertResult, error)
}

type riverOn[T any] struct {
	driver riverdriver.Driver[T]
	client *river.Client[T]
	unwrap func(db.Tx) T
}

func newRunner(d *db.DB, c *river.Config, now clock.Clock, b *bell) (runner, error) {
	if d.Engine() == db.Postgres {
		return runOn(riverpgxv5.New(d.Pool()), c, db.Tx.PGX)
	}
	driver := &sqliteDriver{Driver: riversqlite.New(d.SQL()), clock: now, bell: b}
	return runOn(driver, c, db.Tx.SQL)
}

func runOn[T any](driver riverdriver.Driver[T], c *river.Config, unwrap func(db.Tx) T) (runner, error) {
	client, err := river.NewClient(driver, c)
	if err != nil {
		return nil, fmt.Errorf("job: make the queue: %w", err)
	}
	return &riverOn[T]{driver: driver, client: client, unwrap: unwrap}, nil
}

func (r *riverOn[T]) migrate(ctx context.Context, log *slog.Logger) error {
	m, err := rivermigrate.New(r.driver, &rivermigrate.Config{Logger: log})
	if err != nil {
		return fmt.Errorf("job: read the queue's migrations: %w", err)
	}
	failpoint.Hit("migrate.before:job.Open")
	_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	failpoint.Hit("migrate.after:job.Open")
	if err != nil {
		return fmt.Errorf("job: migrate the queue: %w", err)
	}
	return nil
}

func (r *riverOn[T]) start(ctx context.Context) error { return r.client.Start(ctx) }
func (r *riverOn[T]) stop(ctx context.Context) error  { return r.client.Stop(ctx) }
func (r *riverOn[T]) halt(ctx context.Context) error  { return r.client.StopAndCancel(ctx) }

func (r *riverOn[T]) insert(ctx context.Context, tx db.Tx, jobs []river.InsertManyParams) ([]*rivertype.JobInsertResult, error) {
	return r.client.InsertManyTx(ctx, r.unwrap(tx), jobs)
}

// complete ends a job in tx. A job that is no longer running was given to
// another worker, which ends it. River's own way is a query eight times as
// dear, most of it for what never happens here.
func (q *Queue) complete(ctx context.Context, tx db.Tx, j *river.Job[work]) {
	tx.Send(ctx, "UPDATE river_job SET state = 'completed', finalized_at = $2 WHERE id = $1 AND state = 'running'", j.ID, q.instant(q.clock()))
}

// instant is a time as River keeps it: a timestamp on PostgreSQL, a text of one
// exact form on SQLite.
func (q *Queue) instant(t time.Time) any {
	if q.db.Engine() == db.Postgres {
		return t
	}
	return t.UTC().Round(time.Millisecond).Format("2006-01-02 15:04:05.000")
}

// sqliteDriver is River's SQLite driver with the bell in place of its
// notification table, which it would write at every insert and read 20 times a
// second. One process owns the file, so its own memory is enough.
type sqliteDriver struct {
	*riversqlite.Driver
	clock clock.Clock
	bell  *bell
}

func (d *sqliteDriver) SupportsListenNotify() bool { return false }

func (d *sqliteDriver) GetListener(*riverdriver.GetListenenerParams) riverdriver.Listener {
	return d.bell
}

// GetExecutor returns River's executor, which rings for what River's scheduler
// makes available ahead of its time.
func (d *sqliteDriver) GetExecutor() riverdriver.Executor {
	return ringingExecutor{d.Driver.GetExecutor(), d}
}

// UnwrapTx knows the driver's own transactions in ours.
func (d *sqliteDriver) UnwrapTx(tx riverdriver.ExecutorTx) *sql.Tx {
	if ours, ok := tx.(*ringingTx); ok {
		tx = ours.ExecutorTx
	}
	return d.Driver.UnwrapTx(tx)
}

type ringingExecutor struct {
	riverdriver.Executor
	driver *sqliteDriver
}

func (e ringingExecutor) Begin(ctx context.Context) (riverdriver.ExecutorTx, error) {
	tx, err := e.Executor.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &ringingTx{ExecutorTx: tx, driver: e.driver}, nil
}

type ringingTx struct {
	riverdriver.ExecutorTx
	driver *sqliteDriver
	due    []time.Time
}

func (t *ringingTx) JobSchedule(ctx context.Context, p *riverdriver.JobScheduleParams) ([]*riverdriver.JobScheduleResult, error) {
	scheduled, err := t.ExecutorTx.JobSchedule(ctx, p)
	for _, s := range scheduled {
		t.due = append(t.due, s.Job.ScheduledAt)
	}
	return scheduled, err
}

func (t *ringingTx) Commit(ctx context.Context) error {
	if err := t.ExecutorTx.Commit(ctx); err != nil {
		return err
	}
	t.driver.bell.ringAt(t.driver.clock(), t.due)
	return nil
}

// bell tells River that a commit has brought work. Rings that nobody has
// answered yet are one ring.
type bell struct{ rung chan struct{} }

func newBell() *bell { return &bell{rung: make(chan struct{}, 1)} }

func (b *bell) ring() {
	select {
	case b.rung <- struct{}{}:
	default:
	}
}

// The topic and payload with which River itself tells of inserted jobs.
const insertTopic, insertPayload = "river_insert", `{"queue": "` + river.QueueDefault + `"}`

// ringAt rings at each of the times, which may be past.
func (b *bell) ringAt(now time.Time, due []time.Time) {
	waits := map[time.Duration]bool{}
	for _, t := range due {
		waits[max(0, t.Sub(now))] = true
	}
	for wait := range waits {
		b.ringIn(wait)
	}
}

// ringIn rings after d, when what is due then is due, and a second later once
// more: a clock that was set back a little meanwhile makes the first too early.
func (b *bell) ringIn(d time.Duration) {
	if d <= 0 {
		b.ring()
		return
	}
	time.AfterFunc(d+time.Millisecond, func() {
		b.ring()
		time.AfterFunc(time.Second, b.ring)
	})
}

func (b *bell) WaitForNotification(ctx context.Context) (*riverdriver.Notification, error) {
	select {
	case <-b.rung:
		return &riverdriver.Notification{Topic: insertTopic, Payload: insertPayload}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *bell) Connect(context.Context) error          { return nil }
func (b *bell) Close(context.Context) error            { return nil }
func (b *bell) Ping(context.Context) error             { return nil }
func (b *bell) Listen(context.Context, string) error   { return nil }
func (b *bell) Unlisten(context.Context, string) error { return nil }
func (b *bell) Schema() string                         { return "" }
func (b *bell) SetAfterConnectExec(string)             {}

// ourTime makes River read the clock that was handed in. On SQLite it also
// replaces the database's clock, which runs on real time even where time is
// virtual (engine.md, pitfall 10); replicas on PostgreSQL share the server's.
type ourTime struct {
	clock clock.Clock
	alone bool
}

func (t ourTime) Now() time.Time { return t.clock() }

func (t ourTime) NowOrNil() *time.Time {
	if !t.alone {
		return nil
	}
	now := t.clock()
	return &now
}

// soon is the retry policy of River, which sees only failures to record how a
// command went; the commands' own pauses are ours.
type soon struct {
	clock clock.Clock
	bell  *bell
}

func (s soon) NextRetry(*rivertype.JobRow) time.Time {
	const pause = 3 * time.Second
	s.bell.ringIn(pause)
	return s.clock().Add(pause)
}

// quiet lets only warnings through: River's everyday messages mean nothing to
// an operator of Fettle.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

func (q quiet) WithAttrs(a []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(a)} }
func (q quiet) WithGroup(name string) slog.Handler   { return quiet{q.Handler.WithGroup(name)} }
