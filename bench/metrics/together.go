package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/fettleops/fettle/test/sender"
)

// together is the part together.
type together struct {
	Entities   int     `json:"entities"`
	Selected   float64 `json:"selected_samples_per_second"`
	Unselected float64 `json:"unselected_samples_per_second"`
	Seconds    int     `json:"seconds"`

	WarmPoints int     `json:"warm_up_points"`
	WarmRate   float64 `json:"warm_up_points_per_second"` // from the first sample sent to the last one committed

	Sent       float64  `json:"samples_per_second_sent"`
	Points     float64  `json:"points_per_second_due"`
	Late       float64  `json:"sender_late_ms"` // the most a body was sent after its time
	P50        float64  `json:"answer_p50_ms"`
	P99        float64  `json:"answer_p99_ms"`
	Refused    int64    `json:"refused"`
	Failed     int64    `json:"failed"`
	Backlog    []sample `json:"backlog"`
	Records    float64  `json:"records_per_second"` // of the log, to read the backlog by
	Growing    float64  `json:"backlog_growth_records_per_second"`
	Cores      float64  `json:"cpu_cores"`
	Memory     float64  `json:"memory_mib"`
	MemoryPeak float64  `json:"memory_peak_mib"`
	LogBytes   int64    `json:"log_bytes"`

	Planted int     `json:"anomalies_planted"`
	Found   int     `json:"anomalies_committed"`
	Other   int     `json:"anomalies_not_committed"` // the entity had one open already, or the detector saw nothing in it
	Told50  float64 `json:"sample_to_anomaly_p50_ms"`
	Told99  float64 `json:"sample_to_anomaly_p99_ms"`
	ToldMax float64 `json:"sample_to_anomaly_max_ms"`

	Recovery recovery `json:"recovery"`
}

// recovery is what came of a kill -9 under the same load.
type recovery struct {
	Ready     float64 `json:"ready_after_ms"`
	Replayed  int64   `json:"records_to_replay"`
	CaughtUp  float64 `json:"caught_up_after_ms"`
	Threshold int64   `json:"caught_up_means_records_behind"`
}

// sample is the state of the server at a second.
type sample struct {
	Second  int     `json:"second"`
	Behind  int64   `json:"records_behind"`
	Memory  float64 `json:"memory_mib"`
	Cores   float64 `json:"cores"`
	Pending int     `json:"bodies_due"`
}

func (t *together) print(out *os.File) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	line("entities", "%d, %.0f selected and %.0f other samples/s for %d s", t.Entities, t.Selected, t.Unselected, t.Seconds)
	line("warm-up", "%d points, %.0f points/s with everything around them", t.WarmPoints, t.WarmRate)
	line("sent", "%.0f samples/s, at most %.0f ms late; %d refused, %d failed", t.Sent, t.Late, t.Refused, t.Failed)
	line("answer", "p50 %.2f ms, p99 %.2f ms", t.P50, t.P99)
	line("points due", "%.0f/s", t.Points)
	behind := make([]int64, 0, len(t.Backlog))
	for _, s := range t.Backlog {
		behind = append(behind, s.Behind)
	}
	slices.Sort(behind)
	if n := len(behind); n > 0 {
		line("backlog", "median %d, at most %d of %.0f records/s; grows by %.1f records/s", behind[n/2], behind[n-1], t.Records, t.Growing)
	}
	line("CPU", "%.2f cores", t.Cores)
	line("memory", "%.0f MiB, at most %.0f MiB; %.0f MiB of log", t.Memory, t.MemoryPeak, float64(t.LogBytes)/(1<<20))
	line("anomalies", "%d planted, %d committed as such, %d not (the entity had one open, or the detector did not mind)", t.Planted, t.Found, t.Other)
	line("sample to anomaly", "p50 %.0f ms, p99 %.0f ms, max %.0f ms", t.Told50, t.Told99, t.ToldMax)
	line("after kill -9", "ready after %.0f ms, %d records to replay, caught up (%d records behind) after %.0f ms", t.Recovery.Ready, t.Recovery.Replayed, t.Recovery.Threshold, t.Recovery.CaughtUp)
	_ = w.Flush()
}

// slow is how long the server may take to score the warm-up, or to recover.
const slow = 20 * time.Minute

func measureTogether(o options) (*together, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*slow+time.Duration(o.seconds)*time.Second)
	defer cancel()
	perSecond := o.interval.Seconds()
	t := &together{Entities: o.models, Selected: float64(o.models*len(watched)) / perSecond, Unselected: float64(o.idle), Seconds: o.seconds, Points: float64(o.models) / perSecond}
	f, err := newFettle(o, watch(o))
	if err != nil {
		return nil, err
	}
	defer f.remove()
	if err := f.start(ctx); err != nil {
		return nil, err
	}
	defer f.Stop()
	p, err := f.place()
	if err != nil {
		return nil, err
	}
	defer p.close()

	r := rig{options: o, link: newLink(f.url(), token, o.senders)}
	if err := r.make(); err != nil {
		return nil, err
	}
	if err := r.warmUp(ctx, p, t); err != nil {
		return t, err
	}
	live, end := context.WithCancel(ctx)
	defer end()
	var sending sync.WaitGroup
	sending.Go(func() { r.live(live) })
	defer sending.Wait()
	defer end()
	if err := sleep(ctx, o.interval+5*time.Second); err != nil { // until every series was seen again
		return t, err
	}
	watching, stop := context.WithCancel(ctx)
	var eyes sync.WaitGroup
	var found sightings
	eyes.Go(func() { found.follow(watching, p) })
	err = r.observe(ctx, f, p, t)
	if err == nil {
		err = sleep(ctx, 5*time.Second) // what was planted last
	}
	stop()
	eyes.Wait()
	if err != nil {
		return t, err
	}
	r.judge(t, &found)
	return t, r.recover(ctx, f, p, t)
}

// rig sends the bodies at their time.
type rig struct {
	options
	link          *link
	fleet, others []*sender.Template

	begin time.Time    // of the first live step, whose number is warm
	due   atomic.Int64 // bodies that wait for a sender

	mu                       sync.Mutex
	counting                 bool
	samples, refused, failed int64
	answers                  []time.Duration
	late                     time.Duration
	closed                   map[plant]time.Time // when the body that closes a planted step was sent
}

// plant is a planted anomaly.
type plant struct{ entity, step int }

func (r *rig) make() error {
	var err error
	if r.fleet, err = fleet(1, r.models); err != nil {
		return err
	}
	for _, v := range []sender.Version{1, 2} { // half of the senders speak each
		of, err := recorded(r.options, v)
		if err != nil {
			return err
		}
		n := int(float64(r.idle)*r.interval.Seconds()/float64(len(of))+0.5) / 2
		more, err := instances(v, of, n)
		if err != nil {
			return err
		}
		r.others = append(r.others, more...)
	}
	r.closed = map[plant]time.Time{}
	return nil
}

// warmUp gives every entity its past, as fast as it is taken.
func (r *rig) warmUp(ctx context.Context, p *place, t *together) error {
	step := r.interval
	began := time.Now()
	past := began.Truncate(step).Add(-time.Duration(r.warm) * step)
	errs := make([]error, r.senders)
	var wait sync.WaitGroup
	for s := range r.senders {
		wait.Go(func() {
			var b sender.Body
			for k := range r.warm {
				for i := s; i < len(r.fleet); i += r.senders {
					at := past.Add(time.Duration(k)*step + r.offset(i, len(r.fleet)))
					if errs[s] = r.insist(ctx, r.fleet[i], b.Render(r.fleet[i], at.UnixMilli(), r.values(i, k))); errs[s] != nil {
						return
					}
				}
			}
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	last, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	if err := p.caughtUp(last, 0); err != nil {
		return err
	}
	t.WarmPoints = max(0, r.warm-1) * r.models
	t.WarmRate = float64(t.WarmPoints) / time.Since(began).Seconds()
	// What was measured while that took is missing, as after an outage.
	r.begin = time.Now().Truncate(step).Add(step)
	return nil
}

// offset is when in a step a body is sent: they are spread evenly.
func (r *rig) offset(i, of int) time.Duration {
	return time.Duration(float64(r.interval) * float64(i) / float64(of))
}

func (r *rig) values(body, step int) func(i int) float64 {
	return func(i int) float64 { return r.value(body*perBody+i/len(watched), i%len(watched), step) }
}

// insist sends a body until it is acknowledged.
func (r *rig) insist(ctx context.Context, t *sender.Template, body []byte) error {
	for {
		code, err := r.link.post(ctx, t.Version(), body)
		switch {
		case err == nil && code/100 == 2:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && code/100 == 4 && code != 429:
			return fmt.Errorf("a body was answered with %d", code)
		}
		r.mu.Lock()
		if r.counting && err != nil {
			r.failed++
		} else if r.counting {
			r.refused++
		}
		r.mu.Unlock()
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// job is a body to be sent at a time.
type job struct {
	t    *sender.Template
	at   time.Time
	step int
	body int // of the fleet, -1 of others
}

// live sends at the pace of real senders until ctx ends: what cannot be sent
// in its time is sent later, and nothing is left out.
func (r *rig) live(ctx context.Context) {
	queue := make(chan job, 1<<16)
	var wait sync.WaitGroup
	for range r.senders {
		wait.Go(func() {
			var b sender.Body
			for j := range queue {
				r.due.Add(-1)
				r.send(ctx, &b, j)
			}
		})
	}
	var jobs []job
	for i, t := range r.fleet {
		jobs = append(jobs, job{t: t, at: time.Time{}.Add(r.offset(i, len(r.fleet))), body: i})
	}
	for i, t := range r.others {
		jobs = append(jobs, job{t: t, at: time.Time{}.Add(r.offset(i, len(r.others))), body: -1})
	}
	slices.SortFunc(jobs, func(a, b job) int { return a.at.Compare(b.at) })
loop:
	for step := r.warm; ; step++ {
		begin := r.begin.Add(time.Duration(step-r.warm) * r.interval)
		for _, j := range jobs {
			j.at, j.step = begin.Add(j.at.Sub(time.Time{})), step
			if d := time.Until(j.at); d > 0 && sleep(ctx, d) != nil {
				break loop
			}
			select {
			case queue <- j:
				r.due.Add(1)
			case <-ctx.Done():
				break loop
			}
		}
	}
	close(queue)
	wait.Wait()
}

func (r *rig) send(ctx context.Context, b *sender.Body, j job) {
	if ctx.Err() != nil {
		return
	}
	value := func(i int) float64 { return float64(mix(uint64(i)<<20|uint64(j.step)) >> 40) }
	if j.body >= 0 {
		value = r.values(j.body, j.step)
	}
	body := b.Render(j.t, j.at.UnixMilli(), value)
	at := time.Now()
	if j.body >= 0 {
		r.plants(j, at)
	}
	if r.insist(ctx, j.t, body) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counting {
		r.samples += int64(j.t.Samples())
		r.answers = append(r.answers, time.Since(at))
		r.late = max(r.late, at.Sub(j.at))
	}
}

// plants notes which planted steps a body closes.
func (r *rig) plants(j job, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for e := j.body * perBody; e < min(r.models, (j.body+1)*perBody); e++ {
		if r.counting && j.step > r.warm && r.strange(e, j.step-1) {
			r.closed[plant{e, j.step - 1}] = at
		}
	}
}

// observe counts for the seconds asked for, and looks at the server in each.
func (r *rig) observe(ctx context.Context, f *fettle, p *place, t *together) error {
	r.mu.Lock()
	r.counting = true
	r.mu.Unlock()
	begin, used := time.Now(), f.CPU()
	first, _, _, _, err := p.read()
	if err != nil {
		return err
	}
	before, then := used, begin
	for s := range r.seconds {
		if err := sleep(ctx, time.Until(begin.Add(time.Duration(s+1)*time.Second))); err != nil {
			return err
		}
		last, committed, _, bytes, err := p.read()
		if err != nil {
			return err
		}
		now, cpu := time.Now(), f.CPU()
		x := sample{Second: s + 1, Behind: last - committed, Cores: (cpu - before).Seconds() / now.Sub(then).Seconds(), Pending: int(r.due.Load())}
		x.Memory, t.MemoryPeak = f.Memory()
		before, then = cpu, now
		t.Memory, t.LogBytes = x.Memory, bytes
		t.Backlog = append(t.Backlog, x)
		t.Records = float64(last-first) / now.Sub(begin).Seconds()
	}
	took := time.Since(begin).Seconds()
	t.Cores = (f.CPU() - used).Seconds() / took
	t.Growing = slope(t.Backlog)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counting = false
	t.Sent, t.Refused, t.Failed, t.Late = float64(r.samples)/took, r.refused, r.failed, ms(r.late)
	t.P50, t.P99 = ms(quantile(r.answers, 0.5)), ms(quantile(r.answers, 0.99))
	return nil
}

// slope is by how much the backlog grows in a second, by least squares.
func slope(all []sample) float64 {
	n, sx, sy, sxx, sxy := float64(len(all)), 0.0, 0.0, 0.0, 0.0
	for _, s := range all {
		x, y := float64(s.Second), float64(s.Behind)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if d := n*sxx - sx*sx; d != 0 {
		return (n*sxy - sx*sy) / d
	}
	return 0
}

// sightings are the anomalies that were committed, and when they were first
// seen to be.
type sightings struct {
	found []sighting
}

type sighting struct {
	entity   string
	from, to int64
	at       time.Time
}

// follow looks for new anomalies fifty times a second.
func (s *sightings) follow(ctx context.Context, p *place) {
	var last int64
	_ = p.core.QueryRow("SELECT COALESCE(MAX(rowid), 0) FROM anomaly").Scan(&last)
	for sleep(ctx, 20*time.Millisecond) == nil {
		rows, err := p.core.Query("SELECT rowid, json_extract(body, '$.entity'), from_at, to_at FROM anomaly WHERE rowid > ? ORDER BY rowid", last)
		if err != nil {
			continue // busy: next time
		}
		now := time.Now()
		for rows.Next() {
			x := sighting{at: now}
			if rows.Scan(&last, &x.entity, &x.from, &x.to) == nil {
				s.found = append(s.found, x)
			}
		}
		_ = errors.Join(rows.Err(), rows.Close())
	}
}

// judge compares what was planted with what was seen.
func (r *rig) judge(t *together, s *sightings) {
	r.mu.Lock()
	defer r.mu.Unlock()
	type onset struct {
		entity string
		from   int64
	}
	seen := map[onset]time.Time{}
	for _, x := range s.found {
		seen[onset{x.entity, x.from}] = x.at
	}
	var took []time.Duration
	for p, at := range r.closed {
		from := r.begin.Add(time.Duration(p.step-r.warm) * r.interval).UnixMilli()
		t.Planted++
		if when, ok := seen[onset{entity(p.entity), from}]; ok {
			t.Found++
			took = append(took, when.Sub(at))
		}
	}
	t.Other = t.Planted - t.Found
	t.Told50, t.Told99, t.ToldMax = ms(quantile(took, 0.5)), ms(quantile(took, 0.99)), ms(quantile(took, 1))
}

// recover kills the server and starts it again, while sending goes on.
func (r *rig) recover(ctx context.Context, f *fettle, p *place, t *together) error {
	for _, s := range t.Backlog {
		t.Recovery.Threshold = max(t.Recovery.Threshold, s.Behind)
	}
	f.Kill()
	at := time.Now()
	last, _, replay, _, err := p.read()
	if err != nil {
		return err
	}
	t.Recovery.Replayed = last - replay
	if err := f.start(ctx); err != nil {
		return err
	}
	t.Recovery.Ready = ms(time.Since(at))
	// Nothing new is committed before the replay is over.
	for committed := int64(0); committed <= last; {
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("detection is at %d and was to get beyond %d: %w", committed, last, err)
		}
		if _, committed, _, _, err = p.read(); err != nil {
			return err
		}
	}
	if err := p.caughtUp(ctx, t.Recovery.Threshold); err != nil {
		return err
	}
	t.Recovery.CaughtUp = ms(time.Since(at))
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
