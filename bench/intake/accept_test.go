package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fettleops/fettle/app"
	"github.com/fettleops/fettle/config"
)

// answer takes an answer without keeping it, as a connection would.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return len(p), nil }

// payload is the body of one request; no buffer per request is made.
type payload struct{ bytes.Reader }

func (*payload) Close() error { return nil }

// house is a whole running server without a socket between it and its senders.
func house(b *testing.B, text string) *app.App {
	b.Helper()
	dir := b.TempDir()
	b.Setenv("BENCH_TOKEN", webhookToken)
	cfg, err := config.Load("bench", []byte(text))
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ready := make(chan struct{})
	ctx, cancel := context.WithCancel(b.Context())
	a, err := app.New(ctx, app.Options{
		Config: cfg, DataDir: dir, Listener: l, Logger: slog.New(slog.DiscardHandler), Version: "bench", Ready: func(string) { close(ready) },
	})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		b.Fatal("the server ended: ", err)
	}
	return a
}

// cpu is the time this process has spent on processors.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAcceptAndCorrelate is one alert per request from 64 senders in
// process, each durable before its answer, until the last is in an incident,
// with all rooms on. No socket and no client: what is measured is what an
// alert costs us, in processor time, which a busy machine hardly changes.
//
//	go test ./bench/intake -run '^$' -bench AcceptAndCorrelate -benchtime 100000x
func BenchmarkAcceptAndCorrelate(b *testing.B) {
	b.Run("new", func(b *testing.B) { accept(b, 1<<40) })
	b.Run("repeats", func(b *testing.B) { accept(b, 5_000) })
}

func accept(b *testing.B, distinct int) {
	a := house(b, benchConfig)
	var f fettle
	header := f.header()
	var next, refused atomic.Int64
	ctx := b.Context()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	used, start := cpu(b), time.Now()
	b.ResetTimer()
	var senders sync.WaitGroup
	for range 64 {
		senders.Go(func() {
			w := &answer{header: http.Header{}}
			var p payload
			var buf []byte
			for {
				n := int(next.Add(1) - 1)
				if n >= b.N {
					return
				}
				i := n % distinct
				buf = f.body(buf[:0], "Rule"+strconv.Itoa(i%100), "host-"+strconv.Itoa(i), start)
				for {
					p.Reset(buf)
					r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/in/am", &p)
					if err != nil {
						b.Error(err)
						return
					}
					r.Header, r.ContentLength = header, int64(len(buf))
					clear(w.header)
					a.Door.ServeHTTP(w, r)
					if w.status == http.StatusServiceUnavailable {
						refused.Add(1)
						time.Sleep(100 * time.Millisecond)
						continue
					}
					if w.status != http.StatusAccepted {
						b.Errorf("answer %d", w.status)
					}
					break
				}
			}
		})
	}
	senders.Wait()
	accepted := time.Since(start)
	for {
		n, err := a.Store.SignalDepth(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if n == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	runtime.ReadMemStats(&after)
	n := float64(b.N)
	facts, err := a.Store.LastFact(ctx)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(cpu(b)-used)/n, "cpu-ns/alert")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/alert")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/n, "B/alert")
	b.ReportMetric(n/accepted.Seconds(), "accepted/s")
	b.ReportMetric(float64(facts)/n, "facts/alert")
	b.ReportMetric(float64(refused.Load()), "refused")
	b.ReportMetric(0, "ns/op")
}
