package chrome

import (
	"math"
	"strings"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chart"
)

// AnomalyView is an anomaly as pages show it.
type AnomalyView struct {
	ops.Anomaly
	Incident string // number of its incident, empty when none was opened
	Title    string // the feature most to blame, or that the entity is unlike itself
	What     string // expected against actual of that feature
	Spark    *chart.Spark
	Lasted   time.Duration
}

// AnomalyOf returns an anomaly with the incident it belongs to, if any.
func AnomalyOf(a ops.Anomaly, incident *ops.Incident) AnomalyView {
	v := AnomalyView{Anomaly: a, Title: a.Entity + " behaves unlike itself", Lasted: a.To.Sub(a.From)}
	if incident != nil {
		v.Incident = incident.Key()
	}
	if len(a.Features) > 0 {
		v.Title = a.Features[0].Name + " is unusual on " + a.Entity
		v.What = detect.Sentence(a.Features[0])
	}
	values := make([]float64, len(a.Spark))
	for i, p := range a.Spark {
		values[i] = p.Value
	}
	v.Spark = chart.NewSpark(values, true)
	return v
}

// URL returns the address of the series with the anomaly in view.
func (v AnomalyView) URL() string { return "/series/" + v.Series + "?anomaly=" + v.ID }

// Unit returns the unit people write; 1 is a ratio and has none.
func Unit(u string) string {
	_, word := detect.Scale(u, 0)
	return word
}

// known writes a number of a reading with its unit, or a dash.
func known(v *float64, unit string) string {
	if v == nil || math.IsNaN(*v) {
		return "–"
	}
	by, word := detect.Scale(unit, *v)
	return strings.TrimSpace(chart.Number(*v/by) + " " + word)
}

// span writes the band of a reading.
func span(f ops.FeatureReading) string {
	if f.Low == nil || f.High == nil {
		return "–"
	}
	by, word := detect.Scale(f.Unit, *f.High)
	return strings.TrimSpace(chart.Between(*f.Low/by, *f.High/by) + " " + word)
}

var watchedBadges = map[ops.WatchedState]badge{
	ops.WatchedAnomalous: {"bad", "signal", "Anomaly open"},
	ops.WatchedLearning:  {"", "st-progress", "Learning"},
	ops.WatchedNormal:    {"good", "check", "As expected"},
}

var anomalyBadges = map[ops.AnomalyState]badge{
	ops.AnomalyOpen: {"bad", "signal", "Open"},
	ops.AnomalyOver: {"good", "st-resolved", "Over"},
}
