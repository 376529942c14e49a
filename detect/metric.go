package detect

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the fettle_detect_* figures.
type metrics struct {
	samples, selected, points, held, failed prometheus.Counter
	refused                                 *prometheus.CounterVec
	anomalies                               *prometheus.CounterVec
	snapshots, snapshotBytes                prometheus.Counter
	snapshotFailures                        prometheus.Counter
	fenced                                  prometheus.Counter
	pastRefused, aside                      prometheus.Counter

	lag      atomic.Int64 // records
	levelAt  atomic.Int64 // when the end of the log was last reached, Unix nanoseconds
	resident atomic.Int64
	watched  atomic.Int64
}

func newMetrics(reg prometheus.Registerer, p *Pipeline) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "fettle_detect_" + name, Help: help})
	}
	m := &metrics{
		samples:          counter("samples_total", "Samples read from the sample log, again after a restart."),
		selected:         counter("selected_samples_total", "Samples of series that a group selects."),
		points:           counter("points_total", "Steps scored by a model."),
		held:             counter("held_points_total", "Steps scored and not learned, during maintenance, incidents and changes."),
		failed:           counter("failed_points_total", "Steps a detector refused."),
		snapshots:        counter("snapshots_total", "Snapshots of models written."),
		snapshotBytes:    counter("snapshot_bytes_total", "Bytes of snapshots written."),
		snapshotFailures: counter("snapshot_failures_total", "Snapshots of models that could not be written."),
		fenced:           counter("fenced_total", "Times another replica took over while this one detected."),
		pastRefused:      counter("bootstrap_refused_samples_total", "Samples of a bootstrap for entities that had learned enough already."),
		aside:            counter("bootstrap_set_aside_samples_total", "Samples that came while their entity learned its past, and are not scored."),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_detect_refused_samples_total", Help: "Samples of entities beyond max_entities of their group.",
		}, []string{"group"}),
		anomalies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_detect_anomalies_total", Help: "Anomalies opened and closed.",
		}, []string{"group", "state"}),
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "fettle_detect_" + name, Help: help}, f)
	}
	all := []prometheus.Collector{
		m.samples, m.selected, m.points, m.held, m.failed, m.snapshots, m.snapshotBytes, m.snapshotFailures, m.fenced, m.pastRefused, m.aside, m.refused, m.anomalies,
		gauge("lag_records", "Records of the sample log that are not detected yet.", func() float64 { return float64(m.lag.Load()) }),
		gauge("lag_seconds", "Seconds since detection last had nothing left to read; 0 while it has nothing.", func() float64 {
			at := m.levelAt.Load()
			if at == 0 || m.lag.Load() == 0 {
				return 0
			}
			return max(0, p.Clock().Sub(time.Unix(0, at)).Seconds())
		}),
		gauge("models", "Models in memory.", func() float64 { return float64(m.resident.Load()) }),
		gauge("entities", "Entities watched, in memory or on disk.", func() float64 { return float64(m.watched.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "fettle_detect_late_samples_total", Help: "Samples that came after their step had closed.",
		}, func() float64 {
			var n uint64
			for i := range p.groups {
				if late := p.groups[i].Late; late != nil {
					n += late()
				}
			}
			return float64(n)
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("detect: register metrics: %w", err)
		}
	}
	return m, nil
}
