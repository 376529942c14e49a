// Package demo runs the whole loop on one machine: a recorded CPU trace with
// its incident, the embedded desk and a simulated ServiceNow, a runbook, an
// approval, a window, a command that really runs, verification and resolve.
//
// What it reports is read back from the outside: the fact log through the API,
// the simulated ServiceNow through its own HTTP API and the file the command
// changed. Nothing is reported because the demo did it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/app"
	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/ops"
)

// Breaks are the stations that can be kept from working, to show that the
// demo would notice.
var Breaks = []string{"approve", "window", "execute", "verify"}

// Options is how a demo runs.
type Options struct {
	DataDir string // empty: a temporary directory, removed at the end
	Listen  string // empty: 127.0.0.1:8420, or a free port where that is taken
	Once    bool   // run to the end and return; otherwise stay until ctx ends
	Break   string // one of Breaks, or empty
	Out     io.Writer
	Logger  *slog.Logger
	Version string
	// Scale is the command that changes the file it is given as its last
	// argument to the size before that: how the demo's change takes effect.
	Scale []string
}

// How long the loop may take before the demo says where it stopped, and how
// long where it is known that it will.
const (
	limit       = 60 * time.Second
	brokenLimit = 20 * time.Second
)

// Run runs the demo. With Once it returns an error that names the first
// station that was not reached.
func Run(ctx context.Context, o Options) (err error) {
	if o.Break != "" && !slices.Contains(Breaks, o.Break) {
		return fmt.Errorf("--break=%s is none of %s: %w", o.Break, strings.Join(Breaks, ", "), ops.ErrInvalid)
	}
	if o.DataDir == "" {
		if o.DataDir, err = os.MkdirTemp("", "fettle-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.DataDir)) }()
	} else if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	snow, snowURL, err := startServiceNow(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snow.Close()) }()

	d := &demo{Options: o, snow: snowURL, effect: filepath.Join(o.DataDir, "web-1.size")}
	if err := os.WriteFile(d.effect, []byte(smallSize+"\n"), 0o600); err != nil {
		return err
	}
	house, base, err := d.build(ctx)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	ready := make(chan struct{})
	house.Ready = func(string) { close(ready) }
	go func() { done <- house.Run(ctx) }()
	select {
	case <-ready:
	case err := <-done:
		return err
	}
	runErr := d.loop(ctx, house, base)
	if !o.Once && runErr == nil {
		token, _ := os.ReadFile(filepath.Join(o.DataDir, app.AdminTokenFile))
		d.say("")
		d.say("Look around: %s  (sign in with the token %s)", base, strings.TrimSpace(string(token)))
		d.say("Stop with Ctrl-C.")
		<-ctx.Done()
	}
	stop()
	return errors.Join(runErr, <-done)
}

type demo struct {
	Options
	snow   string // base URL of the simulated ServiceNow
	effect string // the file the command changes
	began  time.Time
}

// The sizes of the demo's instance.
const (
	smallSize = "m5.large"
	largeSize = "m5.2xlarge"
)

func startServiceNow(ctx context.Context) (*http.Server, string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", fmt.Errorf("start the simulated ServiceNow: %w", err)
	}
	srv := &http.Server{Handler: simulator.New(simulator.Config{Clock: time.Now}), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }()
	return srv, "http://" + l.Addr().String(), nil
}

// build builds the house around the demo's configuration.
func (d *demo) build(ctx context.Context) (*app.App, string, error) {
	text, err := d.config()
	if err != nil {
		return nil, "", err
	}
	path := filepath.Join(d.DataDir, "fettle.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, "", err
	}
	cfg, err := config.Load(path, []byte(text))
	if err != nil {
		return nil, "", err
	}
	l, err := d.listener(ctx)
	if err != nil {
		return nil, "", err
	}
	house, err := app.New(ctx, app.Options{
		Config: cfg, DataDir: d.DataDir, Listener: l, Logger: d.Logger, Version: d.Version, LoopbackDemo: true,
		Tune: app.Tune{VerifyPoll: 300 * time.Millisecond, VerifyHold: time.Second, ExecutePoll: 200 * time.Millisecond, GateRecheck: 500 * time.Millisecond},
	})
	if err != nil {
		return nil, "", errors.Join(err, l.Close())
	}
	return house, "http://" + l.Addr().String(), nil
}

func (d *demo) listener(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	if d.Listen != "" {
		return lc.Listen(ctx, "tcp", d.Listen)
	}
	if l, err := lc.Listen(ctx, "tcp", config.Default().Server.Listen); err == nil {
		return l, nil
	}
	return lc.Listen(ctx, "tcp", "127.0.0.1:0")
}

// loop replays the trace, acts as the approver and reports the stations.
func (d *demo) loop(ctx context.Context, house *app.App, base string) error {
	within := limit
	if d.Break != "" {
		within = brokenLimit
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	d.began = time.Now()
	token, err := os.ReadFile(filepath.Join(d.DataDir, app.AdminTokenFile))
	if err != nil {
		return err
	}
	admin := client.New(base, strings.TrimSpace(string(token)))
	ann, err := admin.CreateToken(ctx, api.NewToken{For: "ann", Name: "demo"})
	if err != nil {
		return err
	}
	d.say("Fettle runs at %s, a simulated ServiceNow at %s, data in %s.", base, d.snow, d.DataDir)
	d.say("Replaying a recorded trace of an EC2 instance (NAB, ec2_cpu_utilization_ac20cd): five minutes pass in 50 ms.")

	replay, stopReplay := context.WithCancel(ctx)
	defer stopReplay()
	replayed := make(chan error, 1)
	go func() { replayed <- d.replay(replay, house) }()

	w := &witness{demo: d, api: admin}
	approved := false
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		if !approved && d.Break != "approve" && w.waitsForApproval() {
			approved = true
			if err := d.approve(ctx, client.New(base, ann.Token), w); err != nil {
				return err
			}
		}
		if w.finished() {
			break
		}
		select {
		case err := <-replayed:
			if err != nil && ctx.Err() == nil {
				return err
			}
		case <-tick.C:
		case <-ctx.Done():
			return w.summary()
		}
	}
	return w.summary()
}

// approve decides as ann, about the plan that the API shows.
func (d *demo) approve(ctx context.Context, ann *client.Client, w *witness) error {
	c, err := ann.Change(ctx, w.change.Key)
	if err != nil {
		return err
	}
	d.say("Ann reads the plan of %s and approves exactly that, digest %.12s:", c.Key, c.PlanDigest)
	if c.Plan != nil {
		for line := range strings.SplitSeq(strings.TrimSpace(c.Plan.Text), "\n") {
			d.say("    %s", line)
		}
	}
	_, err = ann.Decide(ctx, c.Key, ops.Approved, c.PlanDigest, "looks right", "api")
	return err
}

func (d *demo) say(format string, args ...any) {
	if format == "" {
		fmt.Fprintln(d.Out)
		return
	}
	fmt.Fprintf(d.Out, "%6.1fs  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}
