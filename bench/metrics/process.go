package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fettleops/fettle/bench/server"

	_ "modernc.org/sqlite" // reads the database files of the server
)

// fettle is the server we make.
type fettle struct {
	server.Process
	dir, binary, address string
}

const token = "bench-token-0123456789abcdef"

// newFettle prepares a server with the groups of a YAML list, indented by four.
func newFettle(o options, groups string) (*fettle, error) {
	dir, err := os.MkdirTemp("", "fettle-bench-")
	if err != nil {
		return nil, err
	}
	f := &fettle{dir: dir, binary: o.fettle}
	if f.address, err = server.FreeAddress(); err != nil {
		return nil, err
	}
	config := `integrations:
  - {name: metrics, source: remotewrite, auth: {bearer: env:BENCH_TOKEN}}
detect:
  host: {enabled: false}
  groups:
` + groups + `
correlate: {group_by: [rule], within: 1h}
`
	return f, os.WriteFile(f.config(), []byte(config), 0o600)
}

func (f *fettle) config() string { return filepath.Join(f.dir, "fettle.yaml") }

func (f *fettle) start(ctx context.Context) error {
	err := f.Run(filepath.Join(f.dir, "log"), f.binary, []string{"serve", "--config", f.config(), "--data-dir", f.dir, "--listen", f.address}, []string{"BENCH_TOKEN=" + token})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return f.Await(ctx, "http://"+f.address+"/healthz")
}

func (f *fettle) url() string { return "http://" + f.address + "/in/metrics" }

func (f *fettle) remove() { _ = os.RemoveAll(f.dir) }

// place reads how far the log and detection are; the server may run or not.
type place struct {
	samples, core *sql.DB
}

func (f *fettle) place() (*place, error) {
	open := func(name string) (*sql.DB, error) {
		return sql.Open("sqlite", "file:"+filepath.Join(f.dir, name)+"?_pragma=query_only(1)&_pragma=busy_timeout(10000)")
	}
	a, err1 := open("samples.db")
	b, err2 := open("fettle.db")
	return &place{a, b}, errors.Join(err1, err2)
}

func (p *place) close() { _ = errors.Join(p.samples.Close(), p.core.Close()) }

// read returns the newest record, up to where it is committed, from where a
// restart reads, and the bytes kept.
func (p *place) read() (last, committed, replay, bytes int64, err error) {
	err = errors.Join(
		p.samples.QueryRow("SELECT last, bytes FROM sample_head WHERE part = 0").Scan(&last, &bytes),
		p.core.QueryRow("SELECT committed, replay_from FROM detection WHERE part = 0").Scan(&committed, &replay))
	return last, committed, replay, bytes, err
}

// caughtUp waits until at most so many records are not committed.
func (p *place) caughtUp(ctx context.Context, within int64) error {
	for {
		last, committed, _, _, err := p.read()
		if err == nil && last-committed <= within {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("detection is at %d of %d: %w", committed, last, errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// prometheus is the rival.
type prometheus struct {
	server.Process
	address string
}

func (p *prometheus) start(ctx context.Context, path, dir string) (err error) {
	if p.address, err = server.FreeAddress(); err != nil {
		return err
	}
	cfg := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(cfg, []byte("global: {}\n"), 0o600); err != nil {
		return err
	}
	err = p.Run(filepath.Join(dir, "log"), path, []string{
		"--config.file=" + cfg, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + p.address,
		"--web.enable-remote-write-receiver", "--log.level=error",
	}, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return p.Await(ctx, "http://"+p.address+"/-/ready")
}
