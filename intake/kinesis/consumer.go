package kinesis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/internal/lease"
)

// shardLease is the name of a shard's lease. The stream is part of it, so that
// another stream begins anew.
func (c *consumer) shardLease(shard string) string { return c.config.name() + "/shard/" + shard }

// consumerLease is the name of the lease by which the others know that a
// consumer lives.
func (c *consumer) consumerLease(holder string) string {
	return c.config.name() + "/consumer/" + holder
}

const (
	// listEvery is how old a list of shards may be.
	listEvery = time.Minute
	// maxPages bounds the pages in memory at once; one has 10 MiB at most.
	maxPages = 4
	// giveBack bounds how long it may take to give a lease back.
	giveBack = 5 * time.Second
	// forget is after how many lengths of a lease a consumer that is gone is removed.
	forget = 10
)

// consumer is one integration on one server.
type consumer struct {
	config Config
	env    intake.PullEnv

	// What follows is used by the goroutine of Run alone.
	stream  *stream            // workers read this and the next
	pages   chan struct{}      // what is in memory at once
	workers map[string]*worker // by shard
	known   map[string]types.Shard
	listed  time.Time // zero: the list is to be made anew
	wake    chan struct{}
}

var (
	_ intake.Puller = (*consumer)(nil)
	_ intake.Prober = (*consumer)(nil)
)

// Run implements intake.Puller.
func (c *consumer) Run(ctx context.Context) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	c.stream, c.workers, c.pages, c.wake = s, map[string]*worker{}, make(chan struct{}, maxPages), make(chan struct{}, 1)
	c.listed = time.Time{}
	defer c.stop(ctx)
	tick := time.NewTicker(c.config.Lease.D / 3)
	defer tick.Stop()
	for {
		if err := c.round(ctx); err != nil && ctx.Err() == nil {
			c.env.Log.LogAttrs(ctx, slog.LevelWarn, "shards not shared out", slog.String("stream", c.config.Stream), slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-c.wake:
		}
	}
}

// round renews what is held, looks at what there is, and takes or gives back
// shards until this consumer has its share.
func (c *consumer) round(ctx context.Context) error {
	now := c.env.Clock()
	until := now.Add(c.config.Lease.D)
	gone := c.reap(ctx)
	renewed := c.renew(ctx, until)
	_, err := c.env.Leases.Take(ctx, c.consumerLease(c.env.Holder), c.env.Holder, now, until)
	if err = errors.Join(renewed, err); err != nil {
		return err
	}
	// Leases first: those of a shard that was split off after they were read are
	// not mistaken for those of a shard that is gone.
	leases, err := c.leases(ctx)
	if err != nil {
		return err
	}
	if now.Sub(c.listed) >= listEvery || len(gone) > 0 || c.unknown(leases) {
		if err := c.list(ctx, leases, gone); err != nil {
			return err
		}
		c.listed = now
		if leases, err = c.leases(ctx); err != nil {
			return err
		}
	}
	return c.share(ctx, leases, now)
}

func (c *consumer) leases(ctx context.Context) (map[string]lease.Lease, error) {
	all, err := c.env.Leases.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]lease.Lease, len(all))
	for _, l := range all {
		out[l.Name] = l
	}
	return out, nil
}

// unknown reports whether another consumer knows a shard that this one does not.
func (c *consumer) unknown(leases map[string]lease.Lease) bool {
	for name, l := range leases {
		if shard, ok := strings.CutPrefix(name, c.shardLease("")); ok && l.Checkpoint != atEnd {
			if _, known := c.known[shard]; !known {
				return true
			}
		}
	}
	return false
}

// list lists the shards, makes leases for new ones and removes those of shards
// that were read to their end and have left the stream. gone are shards the
// service did not know when they were read.
func (c *consumer) list(ctx context.Context, leases map[string]lease.Lease, gone []string) error {
	shards, err := c.stream.shards(ctx)
	if err != nil {
		return err
	}
	c.known = make(map[string]types.Shard, len(shards))
	first := true
	for name := range leases {
		first = first && !strings.HasPrefix(name, c.shardLease(""))
	}
	var wanted []lease.Lease
	for _, s := range shards {
		c.known[*s.ShardId] = s
		from := fromOldest // nobody has read it: it came with a split or a merge
		if first && c.config.Start == latest {
			// A time and not the newest record, so that nothing is skipped when
			// this server dies before it has read one.
			from = fromTime + strconv.FormatInt(c.env.Clock().UnixMilli(), 10)
		}
		if _, exists := leases[c.shardLease(*s.ShardId)]; !exists {
			wanted = append(wanted, lease.Lease{Name: c.shardLease(*s.ShardId), Checkpoint: from})
		}
	}
	if err := c.env.Leases.Make(ctx, wanted...); err != nil {
		return err
	}
	for name, l := range leases {
		shard, ok := strings.CutPrefix(name, c.shardLease(""))
		if _, listed := c.known[shard]; !ok || listed {
			continue
		}
		if l.Checkpoint != atEnd {
			if !slices.Contains(gone, shard) {
				c.known[shard] = types.Shard{ShardId: &shard} // whoever reads it will see
				continue
			}
			c.env.Log.LogAttrs(ctx, slog.LevelError, "shard is gone, what was not read of it is lost", slog.String("shard", shard), slog.String("checkpoint", l.Checkpoint))
		}
		if err := c.env.Leases.Remove(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// ready reports whether a shard may be read: its parents were, to their ends.
func (c *consumer) ready(shard string, leases map[string]lease.Lease) bool {
	s := c.known[shard]
	for _, parent := range []*string{s.ParentShardId, s.AdjacentParentShardId} {
		if parent == nil {
			continue
		}
		if l, exists := leases[c.shardLease(*parent)]; exists && l.Checkpoint != atEnd {
			return false
		}
	}
	return true
}

// share takes or gives back shards.
func (c *consumer) share(ctx context.Context, leases map[string]lease.Lease, now time.Time) error {
	var free []string
	consumers, work := 0, 0
	for name, l := range leases {
		if strings.HasPrefix(name, c.consumerLease("")) {
			if !l.Free(now) {
				consumers++
			} else if now.Sub(l.Until) > forget*c.config.Lease.D {
				if err := c.env.Leases.Remove(ctx, l); err != nil {
					return err
				}
			}
			continue
		}
		shard, ok := strings.CutPrefix(name, c.shardLease(""))
		if _, listed := c.known[shard]; !ok || !listed || l.Checkpoint == atEnd || !c.ready(shard, leases) {
			continue
		}
		work++
		if (l.Free(now) || l.Owner == c.env.Holder) && c.workers[shard] == nil {
			free = append(free, shard)
		}
	}
	fair := (work + max(consumers, 1) - 1) / max(consumers, 1)
	for _, shard := range slices.Sorted(maps.Keys(c.workers)) {
		if len(c.workers) <= fair {
			break
		}
		c.leave(ctx, c.workers[shard])
	}
	// The oldest records wait in the shards that came first.
	slices.SortFunc(free, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
	for _, shard := range free {
		if len(c.workers) >= fair {
			break
		}
		if err := c.take(ctx, shard); err != nil && !errors.Is(err, lease.ErrHeld) {
			return err
		}
	}
	return nil
}

// take takes the lease of a shard and begins to read it.
func (c *consumer) take(ctx context.Context, shard string) error {
	now := c.env.Clock()
	until := now.Add(c.config.Lease.D)
	l, err := c.env.Leases.Take(ctx, c.shardLease(shard), c.env.Holder, now, until)
	if err != nil {
		return err
	}
	if l.Checkpoint == "" || l.Checkpoint == atEnd { // removed or finished by another meanwhile
		c.listed = time.Time{}
		if l.Checkpoint == "" {
			return c.env.Leases.Remove(ctx, l)
		}
		return c.env.Leases.Release(ctx, l)
	}
	work, cancel := context.WithCancel(ctx)
	w := &worker{consumer: c, lease: l, shard: shard, cancel: cancel, done: make(chan struct{})}
	w.until.Store(until.UnixMilli())
	c.workers[shard] = w
	c.env.Log.LogAttrs(ctx, slog.LevelInfo, "shard taken", slog.String("shard", shard), slog.String("checkpoint", l.Checkpoint))
	go func() {
		defer func() {
			if v := recover(); v != nil { // a defect of ours must not cost the other shards
				w.err = fmt.Errorf("kinesis: reading %s panicked: %v", shard, v)
			}
			c.env.Sink.Behind(shard, -1)
			close(w.done)
			select {
			case c.wake <- struct{}{}:
			default:
			}
		}()
		w.err = w.run(work)
	}()
	return nil
}

// renew holds on to the leases of all workers. One that is lost stops its
// worker at once; one that could not be renewed stops it when it runs out.
func (c *consumer) renew(ctx context.Context, until time.Time) error {
	var errs []error
	for _, w := range c.workers {
		switch err := c.env.Leases.Renew(ctx, w.lease, until); {
		case err == nil:
			w.until.Store(until.UnixMilli())
		case errors.Is(err, lease.ErrLost):
			w.cancel()
		default:
			errs = append(errs, err)
			if c.env.Clock().UnixMilli() >= w.until.Load() {
				w.cancel()
			}
		}
	}
	return errors.Join(errs...)
}

// reap forgets workers that ended, and returns the shards that the service did
// not know.
func (c *consumer) reap(ctx context.Context) (gone []string) {
	for shard, w := range c.workers {
		select {
		case <-w.done:
		default:
			continue
		}
		if w.err != nil {
			c.env.Log.LogAttrs(ctx, slog.LevelWarn, "shard left", slog.String("shard", shard), slog.Any("error", w.err))
		} else if w.position == atEnd {
			c.listed = time.Time{} // its children are to be found
		}
		if errors.Is(w.err, errGone) {
			gone = append(gone, shard)
		}
		c.leave(ctx, w)
	}
	return gone
}

// leave stops a worker and gives its shard back, also when ctx has ended.
func (c *consumer) leave(ctx context.Context, w *worker) {
	w.cancel()
	<-w.done
	delete(c.workers, w.shard)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBack)
	defer cancel()
	if err := c.env.Leases.Release(ctx, w.lease); err != nil && !errors.Is(err, lease.ErrLost) {
		c.env.Log.LogAttrs(ctx, slog.LevelWarn, "shard not given back, it waits for the lease to run out", slog.String("shard", w.shard), slog.Any("error", err))
	}
}

// stop gives everything back, though ctx has ended.
func (c *consumer) stop(ctx context.Context) {
	for _, w := range c.workers {
		w.cancel() // all at once
	}
	for _, w := range slices.Collect(maps.Values(c.workers)) {
		c.leave(ctx, w)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBack)
	defer cancel()
	leases, err := c.leases(ctx)
	if l, ok := leases[c.consumerLease(c.env.Holder)]; ok && err == nil {
		err = c.env.Leases.Remove(ctx, l)
	}
	if err != nil {
		c.env.Log.LogAttrs(ctx, slog.LevelWarn, "the others will notice only after a while that this consumer is gone", slog.Any("error", err))
	}
}
