package ticket

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
)

// gate lets a few tickets at a time through to a platform, and none while it
// is in trouble, so that a platform that is down or slow costs its own tickets
// time and nobody else's.
type gate struct {
	slots chan struct{}
	queue chan struct{} // bounds how many workers wait for a slot

	mu       sync.Mutex
	failures int
	since    time.Time
	until    time.Time // nothing goes out before
	asked    time.Time // the platform itself asked for patience until then
	err      error
}

const (
	firstPause = time.Second
	// longestPause bounds how long after a platform's return its tickets move.
	longestPause = 30 * time.Second
)

// later is an error that asks to be called again: job.Snooze with its reason readable.
type later struct {
	after time.Duration
	why   string
}

func (l *later) Error() string { return "later: " + l.why }

// snoozed turns a later into the queue's own.
func snoozed(err error) error {
	var l *later
	if errors.As(err, &l) {
		return job.Snooze(max(l.after, time.Millisecond), l.why)
	}
	return err
}

func newGate(atOnce int) gate {
	return gate{slots: make(chan struct{}, atOnce), queue: make(chan struct{}, 2*atOnce)}
}

// enter returns once the caller may talk to the platform, or a later.
func (g *gate) enter(ctx context.Context, now time.Time) (leave func(), err error) {
	if wait := g.paused(now); wait > 0 {
		return nil, &later{wait, "the platform is in trouble"}
	}
	select {
	case g.queue <- struct{}{}:
	default:
		return nil, &later{2 * time.Second, "the platform is busy with other tickets"}
	}
	defer func() { <-g.queue }()
	select {
	case g.slots <- struct{}{}:
		return func() { <-g.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (g *gate) paused(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(g.until.Sub(now), g.asked.Sub(now))
}

// note takes the result of a call into account and returns how long to wait
// when it says that the platform is in trouble.
func (g *gate) note(now time.Time, err error) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case errors.Is(err, ops.ErrThrottled):
		wait := max(ops.RetryAfter(err), firstPause)
		if at := now.Add(wait); at.After(g.asked) {
			g.asked = at
		}
	case errors.Is(err, ops.ErrUnavailable):
		if g.failures == 0 {
			g.since = now
		}
		// A dozen workers that fail together are one failure.
		if !now.Before(g.until) {
			g.failures++
			g.until = now.Add(min(firstPause<<min(g.failures-1, 10), longestPause))
		}
		g.err = err
	case err == nil:
		g.failures, g.since, g.until, g.err = 0, time.Time{}, time.Time{}, nil
	}
	return max(g.until.Sub(now), g.asked.Sub(now), 0)
}

func (g *gate) trouble() (time.Time, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.since, g.err
}
