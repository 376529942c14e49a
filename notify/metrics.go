package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fettleops/fettle/ops"
)

// metrics are the fettle_notify_* figures.
type metrics struct {
	notifications *prometheus.CounterVec
	attempts      *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer, j Journal) (*metrics, error) {
	m := &metrics{
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_notify_notifications_total", Help: "Notifications by channel and what became of them: sent, held back for a digest, unsure whether they arrived, given up.",
		}, []string{"channel", "outcome"}),
		attempts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fettle_notify_attempt_duration_seconds", Help: "Attempts to hand a message to a channel, by class of outcome.", Buckets: prometheus.ExponentialBuckets(0.01, 3, 8),
		}, []string{"channel", "outcome"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.notifications, m.attempts, open{j}} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("notify: register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) ended(channel string, s ops.NotificationState) {
	m.notifications.WithLabelValues(channel, string(s)).Inc()
}

func (m *metrics) tried(channel string, took time.Duration, err error) {
	outcome := "ok"
	if err != nil {
		outcome = ops.Class(err).Error()
	}
	m.attempts.WithLabelValues(channel, outcome).Observe(took.Seconds())
}

// open counts what is on its way, when it is asked.
type open struct{ journal Journal }

var openDesc = prometheus.NewDesc("fettle_notify_open", "Notifications that are not sent, listed or given up, by channel and state.", []string{"channel", "state"}, nil)

// Describe implements prometheus.Collector.
func (open) Describe(ch chan<- *prometheus.Desc) { ch <- openDesc }

// Collect implements prometheus.Collector. Nothing is collected while the
// database does not answer.
func (o open) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	all, err := o.journal.NotificationCounts(ctx)
	if err != nil {
		return
	}
	for channel, states := range all {
		for _, s := range []ops.NotificationState{ops.NotificationWaiting, ops.NotificationSending, ops.NotificationHeld, ops.NotificationUnsure} {
			ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(states[s]), channel, string(s))
		}
	}
}
