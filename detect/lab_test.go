package detect_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/sqlite"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/store"
)

// ewma is a small real detector: how many deviations a value is off its
// exponentially weighted mean.
type ewma struct {
	settings  detector.Settings
	n         int64
	mean, dev []float64
}

const ewmaNeeded = 12

func newEWMA(name string, s detector.Settings) (detector.Detector, error) {
	if name != "ewma" {
		return detector.New(name, s)
	}
	if s.Features < 1 {
		return nil, errors.New("no features")
	}
	return &ewma{settings: s, mean: make([]float64, s.Features), dev: make([]float64, s.Features)}, nil
}

func loadEWMA(name string, s detector.Settings, state []byte) (detector.Detector, error) {
	if name != "ewma" {
		return detector.Load(name, s, state)
	}
	d, err := newEWMA(name, s)
	if err != nil {
		return nil, err
	}
	e := d.(*ewma)
	if len(state) != 8+16*s.Features {
		return nil, fmt.Errorf("%d bytes for %d features", len(state), s.Features)
	}
	e.n = int64(binary.LittleEndian.Uint64(state))
	for i := range e.mean {
		e.mean[i] = math.Float64frombits(binary.LittleEndian.Uint64(state[8+16*i:]))
		e.dev[i] = math.Float64frombits(binary.LittleEndian.Uint64(state[16+16*i:]))
	}
	return e, nil
}

func (e *ewma) AppendState(dst []byte) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.n))
	for i := range e.mean {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(e.mean[i]))
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(e.dev[i]))
	}
	return dst, nil
}

func (e *ewma) Process(p detector.Point, r *detector.Reading) error {
	r.Reset(len(e.mean))
	r.Needed, r.Learned = ewmaNeeded, int(min(e.n, ewmaNeeded))
	sum := 0.0
	for i, v := range p.Values {
		if math.IsNaN(v) {
			continue
		}
		z := 0.0
		if e.n > 0 {
			band := 4*e.dev[i] + 0.05
			r.Expected[i], r.Low[i], r.High[i] = e.mean[i], e.mean[i]-band, e.mean[i]+band
			z = math.Abs(v-e.mean[i]) / band
		}
		r.Blame[i] = z
		sum += z
		r.Raw = max(r.Raw, z)
		if !p.Hold {
			if e.n == 0 {
				e.mean[i] = v
			}
			e.dev[i] += 0.1 * (math.Abs(v-e.mean[i]) - e.dev[i])
			e.mean[i] += 0.1 * (v - e.mean[i])
		}
	}
	if sum > 0 {
		for i := range r.Blame {
			r.Blame[i] /= sum
		}
	}
	r.Threshold = 1
	r.Score = r.Raw / (1 + r.Raw)
	if r.Raw > 1 && r.Ready() {
		r.Grade = min(1, (r.Raw-1)/4)
	}
	r.Confidence = float64(r.Learned) / ewmaNeeded
	if !p.Hold {
		e.n++
	}
	return nil
}

// fleet selects the metrics m0, m1, ... of hosts.
type fleet struct {
	metrics int
	limit   int
	step    time.Duration
	poison  string // an entity that panics once its values are great
	shipped bool   // the detector that is shipped instead of the small one
}

func (f fleet) Groups() []detect.Group {
	g := detect.Group{
		Name: "fleet", Detector: "ewma", MaxEntities: f.limit, Digest: fmt.Sprint(f.metrics, f.step), Settings: detector.Settings{Step: f.step},
		New: func(entity string) detect.Entity {
			return &host{step: f.step.Milliseconds(), values: nans(f.metrics), poisoned: entity == f.poison}
		},
		Load: func(_ string, state []byte) (detect.Entity, error) {
			h := &host{step: f.step.Milliseconds(), values: nans(f.metrics)}
			if len(state) != 8+8*f.metrics {
				return nil, fmt.Errorf("%d bytes", len(state))
			}
			h.at = int64(binary.LittleEndian.Uint64(state))
			for i := range h.values {
				h.values[i] = math.Float64frombits(binary.LittleEndian.Uint64(state[8+8*i:]))
			}
			return h, nil
		},
	}
	if f.shipped {
		g.Detector = "default"
	}
	for i := range f.metrics {
		g.Features = append(g.Features, detect.Feature{Name: fmt.Sprintf("m%d", i), Unit: "1"})
	}
	return []detect.Group{g}
}

func (f fleet) Bind(d *series.Descriptor) ([]detect.Binding, error) {
	var i int
	if n, err := fmt.Sscanf(d.Metric, "m%d", &i); n != 1 || err != nil || i >= f.metrics {
		return nil, nil
	}
	instance, _ := d.Label("instance")
	return []detect.Binding{{Entity: instance, Input: i}}, nil
}

func nans(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
	}
	return out
}

// host keeps the last value of each metric in a step.
type host struct {
	step, at int64
	values   []float64
	poisoned bool
}

func (h *host) Add(in detect.Input, samples []series.RawPoint, closed func(detector.Point)) {
	for _, s := range samples {
		at := s.At - s.At%h.step
		if at < h.at {
			continue
		}
		if at > h.at {
			if h.at > 0 {
				closed(detector.Point{At: h.at, Values: h.values})
			}
			h.at = at
			for i := range h.values {
				h.values[i] = math.NaN()
			}
		}
		h.values[in.(int)] = s.Value
		if h.poisoned && s.Value > 5 {
			panic("a value this detector cannot take")
		}
	}
}

func (h *host) AppendState(dst []byte) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.at))
	for _, v := range h.values {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst, nil
}

// story is what a fleet measures: a pure function of host, metric and step.
func story(h, m, step int) float64 {
	v := 0.4 + 0.1*math.Sin(float64(step)/7+float64(h)+float64(m)) + 0.01*math.Sin(float64(step*step%97))
	if h%3 == 0 && step%60 >= 40 && step%60 < 43 {
		v += 3 + float64(step%60-40)
	}
	return v
}

// begin is the time of the first step.
var begin = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// records renders steps [from, to) of the hosts, each record one step of some
// of them.
func records(hosts []int, metrics, from, to int, step time.Duration, perRecord int) []series.Record {
	var out []series.Record
	for s := from; s < to; s++ {
		for i := 0; i < len(hosts); i += perRecord {
			var b series.Batch
			for _, h := range hosts[i:min(i+perRecord, len(hosts))] {
				for m := range metrics {
					b.Series(&series.Descriptor{Metric: fmt.Sprintf("m%d", m), Labels: []series.Label{{Name: "instance", Value: fmt.Sprintf("h%d:9100", h)}}})
					b.Sample(begin.Add(time.Duration(s)*step).UnixMilli()+int64(m), story(h, m, s))
				}
			}
			out = append(out, series.Record{Kind: series.Samples, Body: b.Append(nil)})
		}
	}
	return out
}

// lab is a pipeline on real files.
type lab struct {
	t         testing.TB
	dir       string
	core      *db.DB
	logDB     *db.DB
	log       *series.SQLLog
	store     *store.Store
	fleet     fleet
	selection detect.Selection // instead of the fleet
	config    detect.PipelineConfig
	place     detect.Place // defaults to the store
	writer    detect.Writer
	logger    *slog.Logger
	clock     func() time.Time // defaults to time.Now
	pipe      *detect.Pipeline
	stop      context.CancelFunc
	stopped   chan struct{}

	mu   sync.Mutex
	seen map[string]string // series and time to what was read
	odd  []string          // readings that differed from the first
}

func newLab(t testing.TB, dir string) *lab {
	t.Helper()
	l := &lab{
		t: t, dir: dir, fleet: fleet{metrics: 2, step: 10 * time.Second}, seen: map[string]string{},
		config: detect.PipelineConfig{Dir: filepath.Join(dir, "models"), Installation: "lab", Alone: true, Holder: "lab", StopWithin: time.Second, PublicURL: "https://fettle.example"},
		logger: slog.New(slog.DiscardHandler),
	}
	if os.Getenv("LAB_LOG") != "" {
		l.logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	must(t, os.MkdirAll(dir, 0o700))
	l.open()
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lab) open() {
	l.t.Helper()
	ctx := context.Background()
	var err error
	l.core, err = sqlite.Open(ctx, filepath.Join(l.dir, "core.db"))
	must(l.t, err)
	must(l.t, store.Migrate(ctx, l.core))
	l.logDB, err = sqlite.Open(ctx, filepath.Join(l.dir, "samples.db"))
	must(l.t, err)
	l.log, err = series.OpenLog(ctx, l.logDB, 0)
	must(l.t, err)
	l.store = store.New(l.core, time.Now)
	l.place, l.writer = l.store, l.core
}

func (l *lab) close() {
	l.t.Helper()
	must(l.t, errors.Join(l.core.Close(), l.logDB.Close()))
}

func (l *lab) start() {
	l.t.Helper()
	var s detect.Selection = l.fleet
	if l.selection != nil {
		s = l.selection
	}
	if l.clock == nil {
		l.clock = time.Now
	}
	p, err := detect.NewPipeline(l.config, detect.PipelineDeps{
		Log: l.log, Selection: s, Detectors: detect.Detectors{New: newEWMA, Load: loadEWMA}, Place: l.place, Findings: l.store, Signals: l.store,
		DB: l.writer, Clock: l.clock, Logger: l.logger, Observe: l.observe,
	})
	must(l.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	l.pipe, l.stop, l.stopped = p, cancel, make(chan struct{})
	go func() {
		defer close(l.stopped)
		if err := p.Run(ctx); err != nil {
			l.t.Error(err)
		}
	}()
}

func (l *lab) halt() {
	l.stop()
	<-l.stopped
}

// observe compares each reading with the one an earlier run gave.
func (l *lab) observe(id string, p detector.Point, r *detector.Reading) {
	key := fmt.Sprintf("%s %d", id, p.At)
	is := fmt.Sprintf("%v %v %x %x %d", p.Values, p.Hold, math.Float64bits(r.Score), math.Float64bits(r.Grade), r.Learned)
	l.mu.Lock()
	defer l.mu.Unlock()
	if was, known := l.seen[key]; known && was != is {
		l.odd = append(l.odd, fmt.Sprintf("%s: first %s, then %s", key, was, is))
	}
	l.seen[key] = is
}

func (l *lab) append(rs ...series.Record) int64 {
	l.t.Helper()
	last, err := l.log.Append(context.Background(), rs...)
	must(l.t, err)
	return last
}

// settle waits until everything in the log is committed.
func (l *lab) settle() {
	l.t.Helper()
	for range 10_000 {
		b, err := l.log.Bounds(context.Background())
		must(l.t, err)
		p, err := l.store.Detection(context.Background(), 0)
		must(l.t, err)
		if p.Committed >= b.Last {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	l.t.Fatal("detection does not come to the end of the log")
}

// outcome is everything that is left of a run, comparable as text.
type outcome struct {
	readings  map[string]string
	anomalies []string
	alerts    []string
	chunks    []string
	watched   []string
}

func (l *lab) outcome() outcome {
	l.t.Helper()
	ctx := context.Background()
	l.mu.Lock()
	o := outcome{readings: l.seen}
	l.mu.Unlock()
	anomalies, err := l.store.Anomalies(ctx, "", time.UnixMilli(0), begin.Add(1000*time.Hour), 1e6)
	must(l.t, err)
	for _, a := range anomalies {
		o.anomalies = append(o.anomalies, fmt.Sprintf("%s %s %s %s %v %d %v %d", a.ID, a.Entity, a.From, a.To, a.Open, a.Points, a.Grade, len(a.Spark)))
	}
	messages, err := l.store.SignalsAfter(ctx, 0, 1e6)
	must(l.t, err)
	for _, m := range messages {
		for _, s := range m.Signals {
			o.alerts = append(o.alerts, fmt.Sprintf("%s %s %s %s %s", s.Alert.Anomaly.ID, s.Alert.State, s.Alert.Anomaly.To, s.Alert.Title, s.Alert.Description))
		}
	}
	slices.Sort(o.alerts)
	watched, err := l.store.Watched(ctx)
	must(l.t, err)
	for _, w := range watched {
		o.watched = append(o.watched, w.ID+" "+w.Entity)
		chunks, err := l.store.Readings(ctx, w.ID, time.UnixMilli(0), begin.Add(1000*time.Hour))
		must(l.t, err)
		for _, c := range chunks {
			o.chunks = append(o.chunks, fmt.Sprintf("%s %s %x", w.ID, c.Start, c.Body))
		}
	}
	return o
}

// equal says where two outcomes differ.
func (o outcome) equal(t interface{ Errorf(string, ...any) }, want outcome) {
	for k, v := range want.readings {
		if o.readings[k] != v {
			t.Errorf("reading %s: got %q, want %q", k, o.readings[k], v)
			break
		}
	}
	if len(o.readings) != len(want.readings) {
		t.Errorf("%d readings, want %d", len(o.readings), len(want.readings))
	}
	same := func(what string, got, want []string) {
		if d := slices.Compare(got, want); d != 0 {
			t.Errorf("%s: got %d, want %d; first difference: %s", what, len(got), len(want), firstDifference(got, want))
		}
	}
	same("anomalies", o.anomalies, want.anomalies)
	same("alerts", o.alerts, want.alerts)
	same("chunks", o.chunks, want.chunks)
	same("watched", o.watched, want.watched)
}

func firstDifference(a, b []string) string {
	for i := range max(len(a), len(b)) {
		x, y := "nothing", "nothing"
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("%.200s, want %.200s", x, y)
		}
	}
	return "none"
}

// crashing is a place that now and then refuses to move, before which the run
// has done everything but commit: its memory is lost, as in a crash.
type crashing struct {
	detect.Place
	mu sync.Mutex
	in int // commits until the next crash, 0 never
}

func (c *crashing) MoveDetection(ctx context.Context, tx db.Tx, part, from int64, to ops.DetectionPlace) error {
	c.mu.Lock()
	crash := false
	if c.in > 0 {
		c.in--
		crash = c.in == 0
	}
	c.mu.Unlock()
	if crash {
		return fmt.Errorf("crash: %w", ops.ErrConflict)
	}
	return c.Place.MoveDetection(ctx, tx, part, from, to)
}

func (c *crashing) crashIn(commits int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = commits
}
