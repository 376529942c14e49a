package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

const (
	// lease is how long a claim lasts without a sign of life. It is shorter
	// than a long interval, so that daily work a crash cut short is done again
	// in seconds and not tomorrow.
	lease = 10 * time.Second
	// minHold is the least time each sign of life adds.
	minHold = 5 * time.Second
)

// retryPeriodic is how soon periodic work that failed is tried again.
const retryPeriodic = time.Minute

// periodic is a piece of work one replica does about every interval.
type periodic struct {
	name     string
	interval time.Duration
	f        func(context.Context) error
}

// repeat runs p whenever it is due and this replica is the one to claim it,
// until ctx ends. When it is due next is a row, not the memory of a leader, so
// a restart neither forgets it nor does it twice.
func (q *Queue) repeat(ctx context.Context, p *periodic) {
	for ctx.Err() == nil {
		wait, err := q.turn(ctx, p)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			q.log.LogAttrs(ctx, slog.LevelWarn, "periodic work failed", slog.String("name", p.name), slog.String("error", text(err)))
			wait = max(wait, min(p.interval, time.Second))
		}
		if !pause(ctx, min(wait, p.interval), nil) {
			return
		}
	}
}

// turn runs p if it is due and returns how long to wait before looking again.
func (q *Queue) turn(ctx context.Context, p *periodic) (time.Duration, error) {
	seen, err := q.nextAt(ctx, p)
	if err != nil {
		return 0, err
	}
	start := q.clock()
	if wait := time.UnixMilli(seen).Sub(start); wait > 0 {
		return wait, nil
	}
	held := start.Add(min(p.interval, lease))
	claimed, err := q.claim(ctx, p, seen, held)
	if err != nil || !claimed {
		return 0, err
	}
	held, failure := q.hold(ctx, p, held)
	next := start.Add(p.interval)
	if failure != nil {
		next = q.clock().Add(min(p.interval, retryPeriodic))
		q.metric.periodic(p.name, "failed")
	} else {
		q.metric.periodic(p.name, "done")
	}
	if !held.Equal(next) {
		_, err = q.claim(context.WithoutCancel(ctx), p, held.UnixMilli(), next)
	}
	return next.Sub(q.clock()), errors.Join(failure, err)
}

func (q *Queue) nextAt(ctx context.Context, p *periodic) (int64, error) {
	var at int64
	err := q.db.Read().QueryRow(ctx, "SELECT next_at FROM schedule WHERE name = $1", p.name).Scan(&at)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return 0, fmt.Errorf("job: read the schedule of %s: %w", p.name, err)
	}
	return at, nil
}

// claim moves the row from seen to next unless another replica was first.
func (q *Queue) claim(ctx context.Context, p *periodic, seen int64, next time.Time) (bool, error) {
	var n int64
	err := q.db.Write(ctx, func(tx db.Tx) (err error) {
		n, err = tx.Exec(ctx, `INSERT INTO schedule (name, next_at) VALUES ($1, $3)
			ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at WHERE schedule.next_at = $2`, p.name, seen, next.UnixMilli())
		return err
	})
	if err != nil {
		return false, fmt.Errorf("job: claim %s: %w", p.name, err)
	}
	return n == 1, nil
}

// hold runs p and, while it runs, pushes the time others may claim it ahead.
// It returns that time. Losing the claim cancels p.
func (q *Queue) hold(ctx context.Context, p *periodic, held time.Time) (time.Time, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- run(ctx, p) }()
	each := min(p.interval, lease)
	beat := time.NewTicker(max(each/2, 100*time.Millisecond))
	defer beat.Stop()
	for {
		select {
		case err := <-result:
			return held, err
		case <-beat.C:
		}
		ahead := q.clock().Add(max(each, minHold))
		kept, err := q.claim(ctx, p, held.UnixMilli(), ahead)
		switch {
		case kept:
			held = ahead
		case err == nil:
			cancel()
		}
	}
}

func run(ctx context.Context, p *periodic) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("job: %s: panic: %v\n%s: %w", p.name, v, debug.Stack(), ops.ErrInternal)
		}
	}()
	if err := p.f(ctx); err != nil {
		return fmt.Errorf("job: %s: %w", p.name, err)
	}
	return nil
}
