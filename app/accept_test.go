package app_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
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

const (
	benchToken  = "bench-token-0123456789abcdef"
	benchConfig = `integrations:
  - {name: am, source: alertmanager, auth: {bearer: env:BENCH_TOKEN}}
correlate:
  group_by: [rule]
  within: 1h
`
	// delivery is what bench/intake sends: one alert of a rule and a host, both
	// numbers, and the time it started.
	delivery = `{"version":"4","groupKey":"{}","truncatedAlerts":0,"status":"firing","receiver":"fettle","groupLabels":{},"commonLabels":{},"commonAnnotations":{},"externalURL":"http://am:9093","alerts":[{"status":"firing",` +
		`"labels":{"alertname":"Rule%[1]d","instance":"host-%[2]d","job":"node","severity":"critical"},"annotations":{"summary":"bench"},` +
		`"startsAt":"%[3]s","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prom/graph","fingerprint":"Rule%[1]dhost-%[2]d"}]}`
)

// house is a whole running server without a socket between it and its senders.
func house(b *testing.B, text string) *app.App {
	b.Helper()
	dir := b.TempDir()
	b.Setenv("BENCH_TOKEN", benchToken)
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
//	go test ./app -run '^$' -bench AcceptAndCorrelate -benchtime 100000x
func BenchmarkAcceptAndCorrelate(b *testing.B) {
	b.Run("new", func(b *testing.B) { accept(b, 1<<40) })
	b.Run("repeats", func(b *testing.B) { accept(b, 5_000) })
}

func accept(b *testing.B, distinct int) {
	a := house(b, benchConfig)
	header := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + benchToken}}
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
				buf = fmt.Appendf(buf[:0], delivery, i%100, i, start.UTC().Format(time.RFC3339Nano))
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
