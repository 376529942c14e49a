package intake

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the figures of the front door. One set serves every Door of a
// process, so that a reload keeps counting.
type Metrics struct {
	requests *prometheus.CounterVec
	signals  *prometheus.CounterVec
	samples  *prometheus.CounterVec
	refused  *prometheus.CounterVec
	notes    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	behind   *prometheus.GaugeVec
	depth    atomic.Pointer[func() int64]
}

// NewMetrics registers the figures.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_intake_requests_total", Help: "Deliveries by what became of them.",
		}, []string{"integration", "outcome"}),
		signals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_intake_signals_total", Help: "Signals made durable.",
		}, []string{"integration"}),
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_intake_samples_total", Help: "Samples acknowledged as durable; one that is sent again counts again.",
		}, []string{"integration"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_intake_samples_refused_total", Help: "Samples of understood payloads that could not be taken.",
		}, []string{"integration"}),
		notes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_intake_notes_total", Help: "Deliveries that were taken with something a person should know; see the log.",
		}, []string{"integration"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fettle_intake_request_seconds", Help: "Time from the first look at a delivery to its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"integration"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_intake_body_bytes_total", Help: "Bytes of bodies as transmitted.",
		}, []string{"integration"}),
	}
	m.behind = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "fettle_intake_behind_seconds", Help: "How far what this server fetches is behind the newest there is to fetch.",
	}, []string{"integration"})
	depth := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fettle_intake_queue_depth_messages", Help: "Messages accepted and not yet correlated.",
	}, func() float64 {
		if read := m.depth.Load(); read != nil {
			return float64((*read)())
		}
		return 0
	})
	for _, c := range []prometheus.Collector{m.requests, m.signals, m.samples, m.refused, m.notes, m.seconds, m.bytes, m.behind, depth} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// counters are the figures of one integration, looked up once.
type counters struct {
	outcomes map[Outcome]prometheus.Counter
	signals  prometheus.Counter
	samples  prometheus.Counter
	refused  prometheus.Counter
	notes    prometheus.Counter
	bytes    prometheus.Counter
	behind   prometheus.Gauge // of integrations that fetch
	seconds  prometheus.Observer
}

var outcomes = []Outcome{Accepted, Duplicate, WrongSchema, Confirmed, Ignored, Denied, Invalid, TooLarge, Overload, Unavailable, Cut}

func (m *Metrics) of(integration string) counters {
	c := counters{
		outcomes: make(map[Outcome]prometheus.Counter, len(outcomes)),
		signals:  m.signals.WithLabelValues(integration),
		samples:  m.samples.WithLabelValues(integration),
		refused:  m.refused.WithLabelValues(integration),
		notes:    m.notes.WithLabelValues(integration),
		bytes:    m.bytes.WithLabelValues(integration),
		seconds:  m.seconds.WithLabelValues(integration),
	}
	for _, o := range outcomes {
		c.outcomes[o] = m.requests.WithLabelValues(integration, string(o))
	}
	return c
}

func (c counters) done(o Outcome, took time.Duration) {
	c.outcomes[o].Inc()
	c.seconds.Observe(took.Seconds())
}
