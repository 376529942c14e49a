package job

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fettleops/fettle/ops"
)

// metrics are the fettle_job_* figures.
type metrics struct {
	commands  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	facts     *prometheus.CounterVec
	failures  *prometheus.CounterVec
	periodics *prometheus.CounterVec
	depth     prometheus.GaugeFunc
}

// depthTimeout bounds what a scrape may wait for the depth.
const depthTimeout = 2 * time.Second

func newMetrics(reg prometheus.Registerer, q *Queue) (*metrics, error) {
	m := &metrics{
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_job_commands_total", Help: "Attempts to carry out a command, by kind and outcome.",
		}, []string{"kind", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fettle_job_command_seconds", Help: "Duration of one attempt to carry out a command.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60},
		}, []string{"kind"}),
		facts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_job_facts_heard_total", Help: "Facts heard by a room.",
		}, []string{"room"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_job_listener_failures_total", Help: "Attempts of a room to take facts that failed; the room is held up while this grows.",
		}, []string{"room"}),
		periodics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_job_periodic_runs_total", Help: "Runs of periodic work on this replica, by outcome.",
		}, []string{"name", "outcome"}),
		depth: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fettle_job_depth", Help: "Commands due and not finished; -1 when the database does not answer.",
		}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), depthTimeout)
			defer cancel()
			n, err := q.Depth(ctx)
			if err != nil {
				return -1
			}
			return float64(n)
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.commands, m.seconds, m.facts, m.failures, m.periodics, m.depth} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("job: register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) command(kind ops.CommandKind, outcome string, took time.Duration) {
	m.commands.WithLabelValues(string(kind), outcome).Inc()
	m.seconds.WithLabelValues(string(kind)).Observe(took.Seconds())
}

func (m *metrics) heard(room string, n int)      { m.facts.WithLabelValues(room).Add(float64(n)) }
func (m *metrics) listenerFailed(room string)    { m.failures.WithLabelValues(room).Inc() }
func (m *metrics) periodic(name, outcome string) { m.periodics.WithLabelValues(name, outcome).Inc() }
