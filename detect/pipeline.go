package detect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// Place is where detection stands and what it found, in the store. All that
// follows from a stretch of the log commits with the place in one transaction.
type Place interface {
	TakeDetection(ctx context.Context, tx db.Tx, part int64, holder string, now, until time.Time, alone bool) (ops.DetectionPlace, error)
	KeepDetection(ctx context.Context, tx db.Tx, part, epoch int64, until time.Time) error
	MoveDetection(ctx context.Context, tx db.Tx, part, from int64, to ops.DetectionPlace) error
	Detection(ctx context.Context, part int64) (ops.DetectionPlace, error)
	SaveDetectionNotes(ctx context.Context, tx db.Tx, notes []ops.DetectionNote) error
	DetectionNotes(ctx context.Context, upTo int64) ([]ops.DetectionNote, error)
	DropDetectionNotes(ctx context.Context, tx db.Tx, upTo int64, over time.Time) error
}

// Findings is what the store keeps of entities, anomalies and readings.
type Findings interface {
	SaveWatched(ctx context.Context, tx db.Tx, watched []ops.Watched) error
	ForgetWatched(ctx context.Context, tx db.Tx, ids []string) error
	Watched(ctx context.Context) ([]ops.Watched, error)
	SaveAnomalies(ctx context.Context, tx db.Tx, anomalies []ops.Anomaly) error
	OpenAnomalies(ctx context.Context) ([]ops.Anomaly, error)
	Anomalies(ctx context.Context, series string, from, to time.Time, limit int) ([]ops.Anomaly, error)
	DropAnomalies(ctx context.Context, tx db.Tx, before time.Time, limit int) (int64, error)
	SaveReadings(ctx context.Context, tx db.Tx, chunks []ops.ReadingChunk) error
	Readings(ctx context.Context, series string, from, to time.Time) ([]ops.ReadingChunk, error)
	DropReadings(ctx context.Context, tx db.Tx, before time.Time, limit int) (int64, error)
	SaveBootstrap(ctx context.Context, tx db.Tx, b ops.Bootstrap) error
	Bootstrap(ctx context.Context, id string) (ops.Bootstrap, error)
	LastBootstrap(ctx context.Context, group, source string) (ops.Bootstrap, error)
}

// PipelineConfig says how a pipeline works.
type PipelineConfig struct {
	// Dir is the folder of the models' snapshots; it is made.
	Dir string
	// Installation names the installation: snapshots of another are not used.
	Installation string
	// Holder names this replica, differently at every start.
	Holder string
	// Alone says that no other process can detect on this database, as with
	// SQLite; nothing is waited for then.
	Alone bool
	// PublicURL begins the links in alerts; empty leaves them out.
	PublicURL string
	// MaxModels is how many models stay in memory; the least recently used go to
	// disk and come back with their next sample. Defaults to 10,000.
	MaxModels int
	// CheckpointInterval is how long a model may be ahead of its snapshot, which
	// bounds what a restart replays and what the log keeps. Defaults to 10
	// minutes.
	CheckpointInterval time.Duration
	// LogKeep is how long records that no model needs stay in the log, so that
	// what a sender repeats is known again. While the log holds more than half of
	// LogMaxBytes, they go at once. A LogMaxBytes of 0 is no limit.
	LogKeep     time.Duration
	LogMaxBytes int64
	// CheckpointRate bounds the bytes of snapshots per second. Defaults to 64 MiB.
	CheckpointRate int
	// StopWithin is how long a stop may take to write snapshots; what is not
	// written is replayed. Defaults to 10 seconds.
	StopWithin time.Duration
	// KeepReadings and KeepAnomalies default to 30 and 400 days.
	KeepReadings, KeepAnomalies time.Duration
	// HoldAtMost is how long at most a hold keeps models from learning. Defaults
	// to 24 hours.
	HoldAtMost time.Duration
	// Shards is how many goroutines score. Defaults to GOMAXPROCS. Scores do not
	// depend on it.
	Shards int
}

// PipelineDeps is what a pipeline is plugged into.
type PipelineDeps struct {
	Log       series.Log
	Selection Selection
	Detectors Detectors
	Place     Place
	Findings  Findings
	Signals   Signals
	DB        Writer
	Jobs      job.Enqueuer
	Asks      Asks
	Clock     clock.Clock
	Logger    *slog.Logger
	// Registerer takes the metrics; nil: none.
	Registerer prometheus.Registerer
	// Told is called after alerts were written, so that correlation wakes up.
	Told func()
	// Observe, unless nil, is called with every step that is scored, also when a
	// replay scores it again; concurrently for different series. What it is given
	// is valid until it returns.
	Observe func(series string, p detector.Point, r *detector.Reading)
}

// Pipeline follows the sample log, keeps a model per watched entity and tells
// the anomalies the models see.
//
// The one truth is the log: what a model is, and what it said, is a function
// of the records up to an offset. The place in the store says up to where
// everything that follows is committed; the snapshots on disk lag behind, each
// naming the offset it contains. A restart reads the log from where the oldest
// snapshot needs it, models skip what they contain, and what follows from
// records at or below the committed offset is dropped: it is in the store.
// Therefore a crash anywhere changes no score and loses or doubles no anomaly.
//
// On PostgreSQL one replica detects at a time. The snapshots are files of that
// replica: one that takes over uses its own old ones, or begins anew from what
// the log holds.
type Pipeline struct {
	PipelineConfig
	PipelineDeps
	groups []Group
	dir    modelDir
	pack   packer
	metric *metrics
	now    atomic.Pointer[run] // the run in hand, nil between runs
}

// part is the only partition of the log.
const part = 0

// The lease of the partition, and how often it is extended.
const (
	leaseFor   = 3 * time.Second
	leaseEvery = time.Second
)

// errFenced says that another replica has taken over.
var errFenced = errors.New("detect: another replica has taken over")

// NewPipeline checks that every group can have models and returns the
// pipeline. Nothing runs before Run.
func NewPipeline(c PipelineConfig, d PipelineDeps) (*Pipeline, error) {
	c.MaxModels = cmp.Or(c.MaxModels, 10_000)
	c.CheckpointInterval = cmp.Or(c.CheckpointInterval, 10*time.Minute)
	c.CheckpointRate = cmp.Or(c.CheckpointRate, 64<<20)
	c.StopWithin = cmp.Or(c.StopWithin, 10*time.Second)
	c.KeepReadings = cmp.Or(c.KeepReadings, 30*24*time.Hour)
	c.KeepAnomalies = cmp.Or(c.KeepAnomalies, 400*24*time.Hour)
	c.HoldAtMost = cmp.Or(c.HoldAtMost, 24*time.Hour)
	c.Shards = cmp.Or(c.Shards, runtime.GOMAXPROCS(0))
	d.Logger = d.Logger.With(slog.String("room", "detect"))
	p := &Pipeline{PipelineConfig: c, PipelineDeps: d, groups: d.Selection.Groups(), dir: modelDir(c.Dir)}
	for i := range p.groups {
		g := &p.groups[i]
		w := newWatched(g, "", c.Installation, g.tier(0), 0, c.Shards)
		if _, err := d.Detectors.New(g.Detector, w.settings()); err != nil {
			return nil, fmt.Errorf("detect: group %s: detector %s: %w", g.Name, g.Detector, err)
		}
	}
	var err error
	if p.pack, err = newPacker(); err != nil {
		return nil, err
	}
	p.metric, err = newMetrics(d.Registerer, p)
	return p, err
}

// Run detects until ctx ends, then writes the snapshots it still can. Faults
// of the database or the disk are logged and tried again.
func (p *Pipeline) Run(ctx context.Context) error {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		err := p.once(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errHeld):
			attempt = 0
		case errors.Is(err, errFenced):
			attempt = 0
			p.metric.fenced.Inc()
			p.Logger.LogAttrs(ctx, slog.LevelWarn, "another replica has taken over detection")
		default:
			p.Logger.LogAttrs(ctx, slog.LevelError, "detection begins again from its snapshots", slog.Any("error", err))
		}
		if !sleep(ctx, min(leaseEvery<<min(attempt, 5), 30*time.Second)) {
			break
		}
	}
	return nil
}

// errHeld says that another replica detects.
var errHeld = errors.New("detect: another replica detects")

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// once takes the partition and works on it until it is lost or ctx ends.
func (p *Pipeline) once(ctx context.Context) error {
	place, err := p.take(ctx)
	if err != nil {
		return err
	}
	r, err := p.begin(ctx, place)
	if err != nil {
		return err
	}
	p.now.Store(r)
	defer p.now.Store(nil)
	return r.loop(ctx)
}

// take makes this replica the owner of the partition.
func (p *Pipeline) take(ctx context.Context) (ops.DetectionPlace, error) {
	var place ops.DetectionPlace
	err := p.DB.Write(ctx, func(tx db.Tx) (err error) {
		now := p.Clock()
		place, err = p.Place.TakeDetection(ctx, tx, part, p.Holder, now, now.Add(leaseFor), p.Alone)
		return err
	})
	if errors.Is(err, ops.ErrConflict) {
		return place, errHeld
	}
	return place, err
}

// keep extends the lease until ctx ends, and calls lost when it is over.
func (p *Pipeline) keep(ctx context.Context, epoch int64, lost func(error)) {
	for sleep(ctx, leaseEvery) {
		err := p.lease(ctx, epoch, p.Clock().Add(leaseFor))
		if errors.Is(err, ops.ErrConflict) {
			lost(errFenced)
			return
		}
		if err != nil && ctx.Err() == nil { // the commits are fenced, whatever happens to the lease
			p.Logger.LogAttrs(ctx, slog.LevelWarn, "lease of the sample log not extended", slog.Any("error", err))
		}
	}
}

// lease sets when the lease ends.
func (p *Pipeline) lease(ctx context.Context, epoch int64, until time.Time) error {
	return p.DB.Write(ctx, func(tx db.Tx) error { return p.Place.KeepDetection(ctx, tx, part, epoch, until) })
}
