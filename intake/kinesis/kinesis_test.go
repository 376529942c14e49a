package kinesis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/kinesis"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/lease"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/series/seriestest"
)

// world is what consumers share.
type world struct {
	t       *testing.T
	network http.RoundTripper
	leases  lease.Table
	samples series.Log
	options string
}

// server is one consumer.
type server struct {
	door *intake.Door
	logs *lockedBuffer
	dead atomic.Bool // its connections to store and log are cut
	end  context.CancelFunc
	done chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// noSignals is the signal log of a door without signals.
type noSignals struct{}

func (noSignals) EncodeSignals(ops.Message) (body, raw []byte, err error) { return nil, nil, nil }
func (noSignals) SignalDepth(context.Context) (int64, error)              { return 0, nil }
func (noSignals) AppendEncoded(context.Context, db.Tx, ops.Message, []byte, []byte) (bool, error) {
	return false, nil
}

var errCut = errors.New("connection reset by the test")

// cutLeases is the table as a server sees it that can be cut off from it.
type cutLeases struct {
	lease.Table
	server *server
}

func (c cutLeases) err() error {
	if c.server.dead.Load() {
		return errCut
	}
	return nil
}

func (c cutLeases) Renew(ctx context.Context, l lease.Lease, until time.Time) error {
	if err := c.err(); err != nil {
		return err
	}
	return c.Table.Renew(ctx, l, until)
}

func (c cutLeases) Save(ctx context.Context, l lease.Lease, checkpoint string) error {
	if err := c.err(); err != nil {
		return err
	}
	return c.Table.Save(ctx, l, checkpoint)
}

func (c cutLeases) Release(ctx context.Context, l lease.Lease) error {
	if err := c.err(); err != nil {
		return err
	}
	return c.Table.Release(ctx, l)
}

func (c cutLeases) Remove(ctx context.Context, l lease.Lease) error {
	if err := c.err(); err != nil {
		return err
	}
	return c.Table.Remove(ctx, l)
}

func (c cutLeases) Take(ctx context.Context, name, owner string, now, until time.Time) (lease.Lease, error) {
	if err := c.err(); err != nil {
		return lease.Lease{}, err
	}
	return c.Table.Take(ctx, name, owner, now, until)
}

func (c cutLeases) Make(ctx context.Context, l ...lease.Lease) error {
	if err := c.err(); err != nil {
		return err
	}
	return c.Table.Make(ctx, l...)
}

func (c cutLeases) List(ctx context.Context) ([]lease.Lease, error) {
	if err := c.err(); err != nil {
		return nil, err
	}
	return c.Table.List(ctx)
}

// options are those of a door with the one integration.
func (w *world) doorOptions(s *server, holder string) intake.Options {
	m, err := intake.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		w.t.Fatal(err)
	}
	return intake.Options{
		Log: noSignals{}, Samples: w.samples, Drivers: []intake.Driver{kinesis.Driver}, Clock: time.Now, Metrics: m,
		Logger: slog.New(slog.NewTextHandler(s.logs, nil)), Holder: holder, Transport: w.network,
		Leases: func(string) lease.Table { return cutLeases{w.leases, s} },
		Secret: func(context.Context, string) (string, error) { return "the-external-id", nil },
		Integrations: []intake.Integration{{
			Name: "metrics", Source: "kinesis", Options: intaketest.YAML(w.options),
		}},
	}
}

// start starts a consumer.
func (w *world) start(holder string) *server {
	w.t.Helper()
	s := &server{logs: new(lockedBuffer), done: make(chan struct{})}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("%s said:\n%s", holder, s.logs)
		}
	})
	var err error
	s.door, err = intake.Open(w.t.Context(), w.doorOptions(s, holder))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	s.end = cancel
	go func() {
		defer close(s.done)
		if err := s.door.Pulls()[0].Run(ctx); err != nil {
			w.t.Errorf("%s: %v", holder, err)
		}
	}()
	return s
}

// stop stops it in order.
func (s *server) stop() {
	s.end()
	<-s.done
}

// kill cuts it off from the store and stops it: nothing is given back.
func (s *server) kill() {
	s.dead.Store(true)
	s.stop()
}

// sums returns the messages in the log by their sums, in order, each as often as
// it is there.
func sums(t *testing.T, log series.Log) (out []int) {
	t.Helper()
	b, err := log.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b.Last == b.After {
		return nil
	}
	got, err := log.Read(t.Context(), b.After, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range got {
		var r series.BatchReader
		if err := r.Open(rec.Body); err != nil {
			t.Fatal(err)
		}
		for r.Next() {
			d, err := series.ParseKey(r.Key())
			if err != nil {
				t.Fatal(err)
			}
			if stat, _ := d.Label("stat"); stat != "sum" {
				continue
			}
			for _, p := range r.Points() {
				out = append(out, int(p.Value))
			}
		}
	}
	slices.Sort(out)
	return out
}

// once fails unless the log holds messages 0 to n-1, each once.
func once(t *testing.T, log series.Log, n int) {
	t.Helper()
	got := sums(t, log)
	if len(got) != n {
		t.Errorf("%d messages in the log, want %d: %v", len(got), n, got)
		return
	}
	for i, v := range got {
		if i != v {
			t.Errorf("message %d is %d: something is lost and something doubled", i, v)
			return
		}
	}
}

// credentials are in the environment, as every AWS tool finds them.
func credentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CA_BUNDLE", "") // of this machine; nothing here speaks TLS
}

const options = "{stream: metrics, region: eu-west-1, start: trim_horizon, lease: 30s}"

// played runs a test against the service of this package, in a time of its own.
func played(t *testing.T, shards int, test func(t *testing.T, s *service, w *world)) {
	t.Helper()
	credentials(t)
	synctest.Test(t, func(t *testing.T) {
		s := newService(shards)
		w := &world{t: t, network: s, leases: new(lease.Memory), samples: seriestest.NewLog(), options: options}
		test(t, s, w)
		s.mu.Lock()
		if len(s.early) > 0 {
			t.Errorf("shards read before their parents were at their ends: %v", s.early)
		}
		s.mu.Unlock()
		if n := s.most(); n > 5 {
			t.Errorf("%d calls to one shard within a second, Kinesis allows five", n)
		}
	})
}

// holds returns the shards an owner has.
func (w *world) holds(owner string) (out []string) {
	w.t.Helper()
	all, err := w.leases.List(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range all {
		if _, shard, ok := strings.Cut(l.Name, "/shard/"); ok && l.Owner == owner {
			out = append(out, shard)
		}
	}
	return out
}

func TestEveryMessageOnce(t *testing.T) {
	played(t, 3, func(t *testing.T, s *service, w *world) {
		s.pageSize = 7
		for n := range 50 {
			s.put(s.shards[n%3].id, datum(n))
		}
		a := w.start("a")
		time.Sleep(time.Minute)
		for n := range 50 {
			s.put(s.shards[n%3].id, datum(50+n))
		}
		time.Sleep(time.Minute)
		once(t, w.samples, 100)
		a.stop()
		if held := w.holds("a"); len(held) > 0 {
			t.Errorf("%v were not given back", held)
		}
		// The next start goes on, and a lost checkpoint brings nothing twice.
		s.put(s.shards[0].id, datum(100))
		all, err := w.leases.List(t.Context())
		must(t, err)
		l, err := w.leases.Take(t.Context(), all[0].Name, "test", time.Now(), time.Now())
		must(t, err)
		must(t, w.leases.Save(t.Context(), l, "oldest"))
		b := w.start("b")
		time.Sleep(time.Minute)
		once(t, w.samples, 101)
		b.stop()
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLatestBeginsWhenTheStreamIsFirstSeen(t *testing.T) {
	played(t, 1, func(t *testing.T, s *service, w *world) {
		w.options = strings.Replace(options, "start: trim_horizon", "start: latest", 1)
		s.put(s.shards[0].id, datum(99))
		time.Sleep(time.Second)
		// This server dies before it has read anything: what came meanwhile counts.
		s.fail = func(op, _ string) string {
			if op == "GetRecords" {
				return "InternalFailure"
			}
			return ""
		}
		a := w.start("a")
		time.Sleep(10 * time.Second)
		s.put(s.shards[0].id, datum(0))
		a.kill()
		s.set(func() { s.fail = nil })
		b := w.start("b")
		time.Sleep(2 * time.Minute)
		s.put(s.shards[0].id, datum(1))
		time.Sleep(5 * time.Second)
		once(t, w.samples, 2)
		b.stop()
	})
}

func TestConsumersShareAndTakeOver(t *testing.T) {
	played(t, 5, func(t *testing.T, s *service, w *world) {
		n := 0
		more := func(k int) {
			for range k {
				s.put(s.shards[n%5].id, datum(n))
				n++
			}
		}
		a := w.start("a")
		time.Sleep(time.Minute)
		if got := w.holds("a"); len(got) != 5 {
			t.Errorf("alone, a has %v", got)
		}
		more(100)
		b := w.start("b")
		time.Sleep(time.Minute)
		if x, y := len(w.holds("a")), len(w.holds("b")); x+y != 5 || x < 2 || y < 2 {
			t.Errorf("a has %d and b %d of 5", x, y)
		}
		more(100)
		time.Sleep(time.Second)
		more(100)
		a.kill()
		killed := time.Now()
		more(100)
		for len(w.holds("b")) < 5 && time.Since(killed) < 5*time.Minute {
			time.Sleep(time.Second)
		}
		if took := time.Since(killed); took < 15*time.Second || took > 45*time.Second {
			t.Errorf("b took over after %v, leases hold for 30s", took)
		}
		time.Sleep(time.Minute)
		once(t, w.samples, n)
		b.stop()
	})
}

// TestAConsumerThatIsCutOff goes on running without noticing for a while.
func TestAConsumerThatIsCutOff(t *testing.T) {
	played(t, 2, func(t *testing.T, s *service, w *world) {
		a := w.start("a")
		time.Sleep(15 * time.Second)
		a.dead.Store(true)
		for n := range 20 {
			s.put(s.shards[n%2].id, datum(n))
		}
		time.Sleep(time.Minute)
		b := w.start("b")
		time.Sleep(time.Minute)
		if got := w.holds("b"); len(got) != 2 {
			t.Errorf("b has %v", got)
		}
		for n := range 20 {
			s.put(s.shards[n%2].id, datum(20+n))
		}
		time.Sleep(time.Minute)
		once(t, w.samples, 40)
		a.dead.Store(false)
		time.Sleep(2 * time.Minute)
		for n := range 20 {
			s.put(s.shards[n%2].id, datum(40+n))
		}
		time.Sleep(time.Minute)
		once(t, w.samples, 60)
		if x, y := len(w.holds("a")), len(w.holds("b")); x != 1 || y != 1 {
			t.Errorf("back again: a has %d and b %d of 2", x, y)
		}
		a.stop()
		b.stop()
	})
}

func TestSplitsAndMerges(t *testing.T) {
	played(t, 1, func(t *testing.T, s *service, w *world) {
		s.pageSize = 3
		n := 0
		more := func(shards ...string) {
			for range 10 {
				for _, id := range shards {
					s.put(id, datum(n))
					n++
				}
			}
		}
		root := s.shards[0].id
		more(root)
		a, b := w.start("a"), w.start("b")
		left, right := s.split(root)
		more(left, right)
		time.Sleep(2 * time.Minute)
		once(t, w.samples, n)
		joined := s.merge(left, right)
		more(joined)
		time.Sleep(2 * time.Minute)
		once(t, w.samples, n)
		// What was read to its end leaves the stream, and then the leases.
		s.vanish(root)
		s.vanish(left)
		s.vanish(right)
		time.Sleep(3 * time.Minute)
		if all := append(w.holds("a"), append(w.holds("b"), w.holds("")...)...); !slices.Equal(all, []string{joined}) {
			t.Errorf("leases of %v are left", all)
		}
		more(joined)
		time.Sleep(time.Minute)
		once(t, w.samples, n)
		a.stop()
		b.stop()
	})
}

func TestAShardThatVanishesIsTold(t *testing.T) {
	played(t, 2, func(t *testing.T, s *service, w *world) {
		a := w.start("a")
		time.Sleep(time.Minute)
		s.vanish(s.shards[0].id)
		time.Sleep(time.Minute)
		s.put(s.shards[1].id, datum(0))
		time.Sleep(time.Minute)
		once(t, w.samples, 1)
		if !strings.Contains(a.logs.String(), "what was not read of it is lost") {
			t.Errorf("the log does not tell:\n%s", a.logs)
		}
		a.stop()
	})
}

func TestWhatTheServiceRefuses(t *testing.T) {
	f := func(name string, fail func(call int) string, lasts time.Duration) {
		t.Run(name, func(t *testing.T) {
			played(t, 1, func(t *testing.T, s *service, w *world) {
				calls := 0
				s.iteratorLasts = lasts
				s.fail = func(op, _ string) string {
					if op != "GetRecords" {
						return ""
					}
					calls++
					return fail(calls)
				}
				a := w.start("a")
				for n := range 20 {
					s.put(s.shards[0].id, datum(n))
					time.Sleep(7 * time.Second)
				}
				time.Sleep(5 * time.Minute)
				once(t, w.samples, 20)
				a.stop()
			})
		})
	}
	minutes := 5 * time.Minute
	f("throttled", func(n int) string {
		if n%4 != 0 {
			return "ProvisionedThroughputExceededException"
		}
		return ""
	}, minutes)
	f("failing", func(n int) string {
		if n > 5 && n < 40 {
			return "InternalFailure"
		}
		return ""
	}, minutes)
	f("expired", func(int) string { return "" }, 500*time.Millisecond)
	f("without access for a while", func(n int) string {
		if n > 5 && n < 15 {
			return "AccessDeniedException"
		}
		return ""
	}, minutes)
}

func TestACheckpointOfAnotherStream(t *testing.T) {
	played(t, 1, func(t *testing.T, s *service, w *world) {
		s.put(s.shards[0].id, datum(0))
		must(t, w.leases.Make(t.Context(), lease.Lease{Name: "metrics/shard/" + s.shards[0].id, Checkpoint: "123"}))
		a := w.start("a")
		time.Sleep(time.Minute)
		once(t, w.samples, 1)
		if !strings.Contains(a.logs.String(), "checkpoint is of another stream") {
			t.Errorf("the log does not tell:\n%s", a.logs)
		}
		a.stop()
	})
}

func TestTheLogIsFullForAWhile(t *testing.T) {
	played(t, 2, func(t *testing.T, s *service, w *world) {
		log := w.samples.(*seriestest.Log)
		log.Break(series.ErrFull)
		for n := range 10 {
			s.put(s.shards[n%2].id, datum(n))
		}
		a := w.start("a")
		time.Sleep(10 * time.Minute)
		if got := w.holds("a"); len(got) != 2 {
			t.Errorf("a holds %v while it waits", got)
		}
		log.Break(nil)
		time.Sleep(time.Minute)
		once(t, w.samples, 10)
		a.stop()
	})
}

func TestBadRecordsAreCountedAndPassed(t *testing.T) {
	played(t, 1, func(t *testing.T, s *service, w *world) {
		s.put(s.shards[0].id, []byte("gibberish"))
		s.put(s.shards[0].id, fmt.Appendf(nil, "%s\n{}\n%s", datum(0), datum(1)))
		s.put(s.shards[0].id, datum(2))
		a := w.start("a")
		time.Sleep(time.Minute)
		once(t, w.samples, 3)
		for _, say := range []string{"neither lines of JSON", "records[0].line 2", s.shards[0].id} {
			if !strings.Contains(a.logs.String(), say) {
				t.Errorf("the log does not say %q:\n%s", say, a.logs)
			}
		}
		a.stop()
	})
}

func TestOptions(t *testing.T) {
	f := func(options, say string) {
		t.Helper()
		_, err := kinesis.Open(intaketest.YAML(options), intake.PullEnv{})
		if (say == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v, want %q", options, err, say)
		}
	}
	f("stream: metrics", "")
	f(`stream: "arn:aws:kinesis:eu-west-1:123456789012:stream/metrics"`, "")
	f(`{stream: "arn:aws:kinesis:eu-west-1:123456789012:stream/metrics", region: eu-west-1, role: "arn:aws:iam::123456789012:role/reader", external_id: env:ID, every: 200ms, lease: 1m, endpoint: "https://vpce.example.com"}`, "")
	f("{}", "stream: is missing")
	f(`stream: "arn:aws:s3:::bucket"`, "write arn:aws:kinesis")
	f(`{stream: "arn:aws:kinesis:eu-west-1:123456789012:stream/metrics", region: us-east-1}`, "region: remove it")
	f("{stream: m, role: reader}", "role: write the ARN")
	f("{stream: m, external_id: x}", "set role too")
	f("{stream: m, start: now}", "start: write latest")
	f("{stream: m, every: 100ms}", "every: write 200ms")
	f("{stream: m, lease: 10ms}", "lease: write 1s")
	f("{stream: m, endpoint: kinesis.local}", "endpoint: write an address")
	f("{stream: m, shards: 3}", "shards")
}

func TestWhatAPullCannotHave(t *testing.T) {
	f := func(change func(*intake.Options), say string) {
		t.Helper()
		w := &world{t: t, leases: new(lease.Memory), samples: seriestest.NewLog(), options: options}
		o := w.doorOptions(&server{logs: new(lockedBuffer)}, "a")
		change(&o)
		if _, err := intake.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%v, want %q", err, say)
		}
	}
	f(func(o *intake.Options) { o.Integrations[0].Auth = intaketest.YAML("bearer: env:TOKEN") }, "auth: remove it")
	f(func(o *intake.Options) { o.Integrations[0].Redact = []string{"/a"} }, "redact: remove it")
	f(func(o *intake.Options) { o.Samples = nil }, "keeps no sample log")
	f(func(o *intake.Options) { o.Leases = nil }, "no table of leases")
	f(func(o *intake.Options) { o.Integrations = append(o.Integrations, o.Integrations[0]) }, "a name of its own")
	f(func(o *intake.Options) { o.Integrations[0].Options = intaketest.YAML("{}") }, "stream: is missing")
}

func TestNothingCanBeSentToAPull(t *testing.T) {
	w := &world{t: t, leases: new(lease.Memory), samples: seriestest.NewLog(), options: options}
	d, err := intake.Open(t.Context(), w.doorOptions(&server{logs: new(lockedBuffer)}, "a"))
	must(t, err)
	if _, err := d.Deliver(t.Context(), "metrics", http.Header{}, nil); err == nil || !strings.Contains(err.Error(), "this one fetches") {
		t.Error(err)
	}
}

func TestProbe(t *testing.T) {
	credentials(t)
	f := func(options, fail, say string) {
		t.Helper()
		s := newService(1)
		s.fail = func(string, string) string { return fail }
		w := &world{t: t, network: s, leases: new(lease.Memory), samples: seriestest.NewLog(), options: options}
		found := intake.Diagnose(t.Context(), w.doorOptions(&server{logs: new(lockedBuffer)}, "a"), intake.Listener{})
		if (say == "") != (len(found) == 0) || !strings.Contains(fmt.Sprint(found), say) {
			t.Errorf("%s %s: %v, want %q", options, fail, found, say)
		}
	}
	f(options, "", "")
	f(options, "ResourceNotFoundException", "there is no stream metrics")
	f(options, "AccessDeniedException", "kinesis:ListShards")
	f("{stream: metrics}", "", "options.region is wrong or missing")
	f("{stream: metrics, every: 1ms}", "", "write 200ms")
}
