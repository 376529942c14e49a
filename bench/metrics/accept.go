package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fettleops/fettle/bench/server"
	"github.com/fettleops/fettle/test/sender"
)

// accepted is a line of the part accept.
type accepted struct {
	Target     string  `json:"target"`
	Samples    float64 `json:"samples_per_second"`
	Ratio      float64 `json:"of_prometheus,omitempty"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	Refused    int64   `json:"refused"`
	Failed     int64   `json:"failed"`
	CPU        float64 `json:"cpu_us_per_sample"` // of the server, until it had worked everything off
	CaughtUp   float64 `json:"caught_up_after_ms"`
	MemoryPeak float64 `json:"memory_peak_mib"`
}

const acceptHead = "target|samples/s|of Prometheus|p50 ms|p99 ms|refused|failed|CPU us/sample|caught up after ms|peak RSS MiB"

func (a accepted) cells() []any {
	ratio := "-"
	if a.Ratio > 0 {
		ratio = fmt.Sprintf("%.2f", a.Ratio)
	}
	return []any{a.Target, fmt.Sprintf("%.0f", a.Samples), ratio, a.P50, a.P99, a.Refused, a.Failed, fmt.Sprintf("%.2f", a.CPU), a.CaughtUp, fmt.Sprintf("%.0f", a.MemoryPeak)}
}

// hosts is how many instances send in the part accept: 100,000 series.
const hosts = 200

func measureAccept(o options) ([]accepted, error) {
	var out []accepted
	add := func(a accepted, err error) error {
		fmt.Fprintln(os.Stderr, a.cells()...) // as it goes on
		out = append(out, a)
		return err
	}
	bodies := map[sender.Version][]*sender.Template{}
	for _, v := range []sender.Version{1, 2} {
		of, err := recorded(o, v)
		if err == nil {
			bodies[v], err = instances(v, of, hosts)
		}
		if err != nil {
			return nil, err
		}
	}
	selected, err := fleet(1, o.models)
	if err != nil {
		return nil, err
	}
	rival := 0.0
	if path, err := exec.LookPath("prometheus"); err != nil {
		fmt.Fprintln(os.Stderr, "prometheus: not run: install the Debian package prometheus")
	} else {
		a, err := acceptPrometheus(o, path, bodies[1])
		if err := add(a, err); err != nil {
			return out, err
		}
		rival = a.Samples
	}
	for _, x := range []struct {
		target, groups string
		bodies         []*sender.Template
	}{
		{"fettle, 1.0, none selected", watchNothing, bodies[1]},
		{"fettle, 2.0, none selected", watchNothing, bodies[2]},
		{"fettle, 1.0, ready set of node_exporter", "    - {name: node, features: node_exporter}\n", bodies[1]},
		{"fettle, 1.0, all selected", watch(o), selected},
	} {
		a, err := acceptFettle(o, x.target, x.groups, x.bodies)
		if rival > 0 && x.bodies[0].Version() == 1 {
			a.Ratio = a.Samples / rival
		}
		if err := add(a, err); err != nil {
			return out, err
		}
	}
	return out, nil
}

func acceptPrometheus(o options, path string, bodies []*sender.Template) (accepted, error) {
	dir, err := os.MkdirTemp("", "fettle-bench-")
	if err != nil {
		return accepted{}, err
	}
	defer os.RemoveAll(dir)
	var p prometheus
	if err := p.start(context.Background(), path, dir); err != nil {
		return accepted{}, err
	}
	defer p.Stop()
	return flood(o, "prometheus, 1.0", &p.Process, newLink("http://"+p.address+"/api/v1/write", "", o.senders), bodies, nil)
}

func acceptFettle(o options, target, groups string, bodies []*sender.Template) (accepted, error) {
	f, err := newFettle(o, groups)
	if err != nil {
		return accepted{}, err
	}
	defer f.remove()
	if err := f.start(context.Background()); err != nil {
		return accepted{}, err
	}
	defer f.Stop()
	p, err := f.place()
	if err != nil {
		return accepted{}, err
	}
	defer p.close()
	a, err := flood(o, target, &f.Process, newLink(f.url(), token, o.senders), bodies, p)
	if err == nil && a.Samples == 0 {
		err = errors.New("nothing was accepted:\n" + f.Tail())
	}
	return a, err
}

// flood sends bodies as fast as they are answered: each of them once first,
// which makes the series known, and then for as long as it is measured. Each
// belongs to one sender, so that the times of a series increase.
func flood(o options, target string, under *server.Process, l *link, bodies []*sender.Template, p *place) (accepted, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(o.seconds)*time.Second+5*time.Minute)
	defer cancel()
	var samples, refused, failed atomic.Int64
	senders := min(o.senders, len(bodies))
	whole := len(bodies) / senders * senders
	took := make([][]time.Duration, senders)
	send := func(more func(n int) bool) {
		var wait sync.WaitGroup
		for s := range senders {
			wait.Go(func() {
				var b sender.Body
				for n := s; more(n) && ctx.Err() == nil; n += senders {
					t := bodies[n%whole]
					body := b.Render(t, time.Now().UnixMilli(), func(i int) float64 { return float64(mix(uint64(n+i)) >> 40) })
					at := time.Now()
					code, err := l.post(ctx, t.Version(), body)
					switch {
					case err != nil:
						failed.Add(1)
					case code/100 == 2:
						samples.Add(int64(t.Samples()))
						took[s] = append(took[s], time.Since(at))
					case code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests:
						refused.Add(1)
						_ = sleep(ctx, 50*time.Millisecond)
					default:
						failed.Add(1)
					}
				}
			})
		}
		wait.Wait()
	}
	send(func(n int) bool { return n < whole })
	if p != nil {
		if err := p.caughtUp(ctx, 0); err != nil {
			return accepted{Target: target}, err
		}
	}
	samples.Store(0)
	refused.Store(0)
	failed.Store(0)
	clear(took)
	used, begin := under.CPU(), time.Now()
	end := begin.Add(time.Duration(o.seconds) * time.Second)
	send(func(int) bool { return time.Now().Before(end) })
	elapsed := time.Since(begin)
	all := slices.Concat(took...)
	a := accepted{
		Target: target, Samples: float64(samples.Load()) / elapsed.Seconds(), P50: ms(quantile(all, 0.5)), P99: ms(quantile(all, 0.99)),
		Refused: refused.Load(), Failed: failed.Load(),
	}
	if p != nil {
		done := time.Now()
		if err := p.caughtUp(ctx, 0); err != nil {
			return a, err
		}
		a.CaughtUp = ms(time.Since(done))
	}
	a.CPU = float64((under.CPU() - used).Microseconds()) / float64(max(1, samples.Load()))
	_, a.MemoryPeak = under.Memory()
	return a, nil
}
