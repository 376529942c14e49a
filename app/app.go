// Package app builds the house: it opens the database, plugs the rooms into
// the store and into each other, and runs the servers. It is the one place
// that sees every room.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/fettleops/fettle/analytics"
	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/change/recommend"
	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/correlate"
	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/sqlite"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/store"
	"github.com/fettleops/fettle/store/blob"
	"github.com/fettleops/fettle/ticket"
	"github.com/fettleops/fettle/verify"
	"github.com/fettleops/fettle/web"
)

// Options is what an App is made of.
type Options struct {
	Config  *config.Config
	DataDir string
	Listen  string // overrides the configuration's
	// Listener is used instead of listening on an address, by tests.
	Listener net.Listener
	// ListenerGRPC is the same for gRPC.
	ListenerGRPC net.Listener
	Clock        clock.Clock // defaults to time.Now
	Logger       *slog.Logger
	Version      string
	// Transport replaces the network of outgoing HTTP, by tests.
	Transport http.RoundTripper
	// Ready is called with the base URL once requests are answered.
	Ready func(url string)
	// LoopbackDemo allows integrations without authentication on loopback.
	LoopbackDemo bool
	// Tune changes how fast rooms look again; the demo and tests set it.
	Tune Tune
}

// Tune holds durations that people never configure.
type Tune struct {
	VerifyPoll, VerifyHold time.Duration
	ExecutePoll            time.Duration
	GateRecheck            time.Duration
	RunbookCooldown        time.Duration
}

// App is a house that is built and not yet running, or running.
type App struct {
	Options
	metrics *prometheus.Registry

	DB        *db.DB
	Store     *store.Store
	Blobs     *blob.Blobs
	Queue     *job.Queue
	History   *series.History
	Samples   series.Log // of metrics on their way to detection
	Door      *intake.Door
	Detect    *detect.Room
	Pipeline  *detect.Pipeline
	Correlate *correlate.Room
	Ticket    *ticket.Room
	Change    *change.Room
	Windows   *window.Book // all windows and freezes
	Recommend *recommend.Placer
	Execute   *execute.Room
	// Parameters finds where the values of an account and region stand.
	Parameters *parameter.Directory
	Verify     *verify.Room
	Notify     *notify.Room
	Analytics  *analytics.Room
	API        *api.API
	Web        *web.Web
	Platforms  map[string]*connector.Conn

	digest      string // of what replicas must agree on: everything but where each of them listens
	handler     http.Handler
	doorOptions intake.Options
	pulse       *pulse
	loops       []loop
	closers     []func(context.Context) error
}

// loop is work that runs until its context ends.
type loop struct {
	name string
	run  func(ctx context.Context) error
}

// drain is how long a stopping server waits for what is in hand.
const drain = 15 * time.Second

// Serve builds the house, runs it until ctx ends and drains it.
func Serve(ctx context.Context, o Options) error {
	a, err := New(ctx, o)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // told to stop before it had begun
	case err != nil:
		return err
	}
	return a.Run(ctx)
}

// New builds the house. On an error nothing stays open.
func New(ctx context.Context, o Options) (_ *App, err error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if err := CheckConfig(o.Config); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	a := &App{Options: o, metrics: prometheus.NewRegistry(), pulse: &pulse{now: o.Clock}, digest: o.Config.Digest("server")}
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close(context.WithoutCancel(ctx)))
		}
	}()
	for _, build := range []func(context.Context) error{
		a.openStore, a.openQueue, a.buildSenses, a.buildDetection, a.buildCorrelate, a.buildTicket, a.buildGate, a.buildRecommend, a.buildNotify, a.buildAnalytics, a.buildDoor, a.buildServers, a.settle,
	} {
		if err := build(ctx); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *App) openStore(ctx context.Context) error {
	var err error
	if ref := a.Config.Store.Postgres; !ref.IsZero() {
		url, err := resolve(ctx, ref)
		if err != nil {
			return err
		}
		a.DB, err = db.OpenPostgres(ctx, url.Reveal())
		if err != nil {
			return err
		}
	} else if a.DB, err = sqlite.Open(ctx, filepath.Join(a.DataDir, "fettle.db")); err != nil {
		return err
	}
	a.closers = append(a.closers, func(context.Context) error { return a.DB.Close() })
	if err := store.Migrate(ctx, a.DB); err != nil {
		return err
	}
	a.Store = store.New(a.DB, a.Clock)
	if err := a.Store.FreeLeases(ctx); err != nil {
		return err
	}
	key, err := a.dataKey(ctx)
	if err != nil {
		return err
	}
	if a.Blobs, err = blob.New(a.DB, a.Clock, key); err != nil {
		return err
	}
	a.Store.SealSignalsWith(signalSealer{a.Blobs})
	return a.openSamples(ctx)
}

// openSamples opens the sample log: in a file of its own beside an embedded
// database, in the shared one where replicas take over from each other.
func (a *App) openSamples(ctx context.Context) (err error) {
	in := a.DB
	if in.Engine() == db.SQLite {
		if in, err = sqlite.Open(ctx, filepath.Join(a.DataDir, "samples.db")); err != nil {
			return err
		}
		a.closers = append(a.closers, func(context.Context) error { return in.Close() })
	}
	a.Samples, err = series.OpenLog(ctx, in, int64(a.Config.Detect.LogMaxBytes))
	return err
}

// dataKey reads the key that encrypts artefacts. Beside an embedded database
// it is made; replicas around a PostgreSQL must share one, so there it must be
// configured.
func (a *App) dataKey(ctx context.Context) ([]byte, error) {
	if ref := a.Config.Server.DataKey; !ref.IsZero() {
		s, err := resolve(ctx, ref)
		if err != nil {
			return nil, err
		}
		return blob.ParseKey(s.Reveal())
	}
	if !a.Config.Store.Postgres.IsZero() {
		return nil, errors.New("server.data_key is missing: with store.postgres every replica needs the same key, such as file:/etc/fettle/data.key with 32 random bytes in base64")
	}
	return blob.LoadOrCreateKey(a.DataDir)
}

func (a *App) openQueue(ctx context.Context) error {
	q, err := job.Open(ctx, a.DB, a.Store, job.Options{Clock: a.Clock, Logger: a.Logger, Registerer: a.metrics})
	if err != nil {
		return err
	}
	a.Queue = q
	a.Store.OnFact(q.Wake)
	a.closers = append(a.closers, q.Stop)
	return nil
}

// Run listens, serves and works until ctx ends, then drains: no new requests,
// the ones in hand finish, work in hand finishes or is left to the next start.
func (a *App) Run(ctx context.Context) (err error) {
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err = errors.Join(err, a.close(last))
	}()
	secure, err := a.secure(ctx)
	if err != nil {
		return err
	}
	l, base, err := a.listen(ctx, secure)
	if err != nil {
		return err
	}
	calls, err := a.listenGRPC(ctx, secure)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var loops sync.WaitGroup
	failed := make(chan error, len(a.loops)+2)
	for _, lp := range a.loops {
		loops.Go(func() {
			if err := lp.run(work); err != nil && work.Err() == nil {
				failed <- fmt.Errorf("%s: %w", lp.name, err)
			}
		})
	}
	if err := a.Queue.Start(work); err != nil {
		return errors.Join(err, l.Close(), calls.close())
	}
	if os.Getenv("GOGC") == "" {
		loops.Go(func() { boundHeap(work) })
	}
	srv := a.server()
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve: %w", err)
		}
	}()
	go func() {
		if err := calls.serve(); err != nil {
			failed <- err
		}
	}()
	a.announce(ctx, base)
	select {
	case <-ctx.Done():
		a.Logger.LogAttrs(ctx, slog.LevelInfo, "draining")
	case err = <-failed:
		a.Logger.LogAttrs(ctx, slog.LevelError, "stopping", slog.Any("error", err))
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err = errors.Join(err, srv.Shutdown(last), calls.shutdown(last), a.Execute.Drain(last), a.Queue.Stop(last))
	stop(nil)
	loops.Wait()
	return err
}

// close closes what New opened, last first. It may be called twice.
func (a *App) close(ctx context.Context) error {
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		errs = append(errs, a.closers[i](ctx))
	}
	a.closers = nil
	return errors.Join(errs...)
}
