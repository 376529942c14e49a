package detect_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

var start = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

// senses is a room on an in-memory history and signal log.
type senses struct {
	t      *testing.T
	room   *detect.Room
	now    time.Time
	points map[string][]ops.Point
	told   []string
	fail   error
}

func (s *senses) Append(_ context.Context, samples []ops.Sample) error {
	for _, x := range samples {
		s.points[x.Series.Metric] = append(s.points[x.Series.Metric], x.Point)
	}
	return nil
}

func (s *senses) Recent(_ context.Context, resource string, from, to time.Time) ([]ops.Series, error) {
	var out []ops.Series
	for m, ps := range s.points {
		series := ops.Series{SeriesID: ops.SeriesID{Resource: resource, Metric: m}}
		for _, p := range ps {
			if !p.At.Before(from) && p.At.Before(to) {
				series.Points = append(series.Points, p)
			}
		}
		out = append(out, series)
	}
	return out, nil
}

func (s *senses) Write(_ context.Context, fn func(db.Tx) error) error {
	if s.fail != nil {
		return s.fail
	}
	return fn(nil)
}

func (s *senses) AppendSignals(_ context.Context, _ db.Tx, m ops.Message) (int64, error) {
	for _, sig := range m.Signals {
		s.told = append(s.told, fmt.Sprintf("%s %s %s since %s", s.now.Sub(start), sig.Alert.Rule, sig.Alert.State, sig.Alert.StartsAt.Sub(start)))
	}
	return 1, nil
}

func newSenses(t *testing.T, rules ...detect.Rule) *senses {
	t.Helper()
	s := &senses{t: t, now: start, points: map[string][]ops.Point{}}
	s.restart(rules...)
	return s
}

func (s *senses) restart(rules ...detect.Rule) {
	room, err := detect.New(rules, detect.Deps{Signals: s, History: s, DB: s, Clock: func() time.Time { return s.now }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.room = room
}

// measure observes a metric every ten seconds for d, its value from a line.
func (s *senses) measure(metric string, d time.Duration, from, to float64) {
	s.t.Helper()
	n := int(d / (10 * time.Second))
	for i := range n {
		v := from + (to-from)*float64(i)/float64(n)
		err := s.room.Observe(context.Background(), ops.ResourceRef{ID: "r1", Name: "web1"}, []ops.Sample{{Series: ops.SeriesID{Resource: "r1", Metric: metric}, Point: ops.Point{At: s.now, Value: v}}})
		if err != nil && s.fail == nil {
			s.t.Fatal(err)
		}
		s.now = s.now.Add(10 * time.Second)
	}
}

func (s *senses) want(lines ...string) {
	s.t.Helper()
	if !slices.Equal(s.told, lines) {
		s.t.Errorf("told:\n  %s\nwant:\n  %s", strings.Join(s.told, "\n  "), strings.Join(lines, "\n  "))
	}
}

func cpu() detect.Rule { return detect.Shipped()[0] }

func TestHighCPUNeedsFiveMinutesAndClearsBelowSeventy(t *testing.T) {
	s := newSenses(t, cpu())
	s.measure("cpu_utilization", time.Minute, 0.5, 0.5)
	s.measure("cpu_utilization", 4*time.Minute, 0.9, 0.9)
	s.measure("cpu_utilization", time.Minute, 0.5, 0.5) // a break starts the clock anew
	s.measure("cpu_utilization", 6*time.Minute, 0.9, 0.9)
	s.measure("cpu_utilization", 2*time.Minute, 0.75, 0.75) // between the thresholds
	s.measure("cpu_utilization", time.Minute, 0.6, 0.6)
	s.want("0s high-cpu resolved since 0s", "11m0s high-cpu firing since 6m0s", "14m0s high-cpu resolved since 6m0s")
}

func TestMemoryMustAlsoRise(t *testing.T) {
	s := newSenses(t, detect.Shipped()[1])
	s.measure("memory_utilization", 30*time.Minute, 0.9, 0.9)
	s.want("2m0s memory-leak resolved since 2m0s")
	s.measure("memory_utilization", 20*time.Minute, 0.9, 0.99)
	if n := len(s.told); n != 2 || !strings.Contains(s.told[1], "firing") {
		t.Errorf("told %v, want one firing after memory rose", s.told)
	}
}

func TestAnAlertTheLogRefusedIsToldAgain(t *testing.T) {
	s := newSenses(t, cpu())
	s.measure("cpu_utilization", time.Minute, 0.5, 0.5)
	s.told = nil
	s.measure("cpu_utilization", 4*time.Minute, 0.9, 0.9)
	s.fail = ops.ErrUnavailable
	s.measure("cpu_utilization", 3*time.Minute, 0.9, 0.9)
	s.want()
	s.fail = nil
	s.measure("cpu_utilization", time.Minute, 0.9, 0.9)
	s.want("8m0s high-cpu firing since 1m0s")
}

func TestARestartTellsTheStateAnew(t *testing.T) {
	s := newSenses(t, cpu())
	s.measure("cpu_utilization", 6*time.Minute, 0.9, 0.9)
	s.told = nil
	s.restart(cpu()) // the alert was firing when the process died
	s.measure("cpu_utilization", time.Minute, 0.5, 0.5)
	s.want("6m0s high-cpu resolved since 6m0s")
}

func TestTheAlertCarriesItsEvidence(t *testing.T) {
	s := newSenses(t, cpu())
	var got ops.Alert
	s.room.Deps.Signals = capture{&got}
	s.measure("cpu_utilization", 6*time.Minute, 0.93, 0.93)
	c := got.Context
	if c.Metric != "cpu_utilization" || c.Operator != ">" || c.Threshold != "0.80" || c.Actual != "0.93" || c.Window != 5*time.Minute {
		t.Errorf("context is %+v", c)
	}
	if v, ok, _ := s.room.Measure(context.Background(), got); !ok || v != 0.93 {
		t.Errorf("measured %v %t", v, ok)
	}
}

type capture struct{ to *ops.Alert }

func (c capture) AppendSignals(_ context.Context, _ db.Tx, m ops.Message) (int64, error) {
	*c.to = *m.Signals[0].Alert
	return 1, nil
}

func TestFaultyRulesAreNamed(t *testing.T) {
	_, err := detect.New([]detect.Rule{{Name: "a", When: "cpu >"}, {Name: "b", When: "cpu > 0.5", Clear: "x"}}, detect.Deps{Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "rule a: when") || !strings.Contains(err.Error(), "rule b: clear") {
		t.Errorf("got %v", err)
	}
}

// asking measures inside the transaction that is being written, as the gate
// does in the one writer it shares with the senses.
type asking struct {
	*senses
	alert ops.Alert
	asked bool
}

func (a *asking) Write(ctx context.Context, fn func(db.Tx) error) error {
	if _, known, err := a.room.Measure(ctx, a.alert); err != nil || !known {
		a.t.Errorf("measured nothing (%v) while an alert was written", err)
	}
	a.asked = true
	return a.senses.Write(ctx, fn)
}

func TestTheGateMayMeasureWhileAnAlertIsWritten(t *testing.T) {
	s := newSenses(t)
	a := &asking{senses: s, alert: ops.Alert{Resource: ops.ResourceRef{ID: "r1"}, Context: ops.AlertContext{Metric: "cpu_utilization"}}}
	room, err := detect.New([]detect.Rule{{Name: "any", When: "cpu_utilization > 0.5", Severity: ops.Low}},
		detect.Deps{Signals: s, History: s, DB: a, Clock: func() time.Time { return s.now }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.room = room
	sample := ops.Sample{Series: ops.SeriesID{Resource: "r1", Metric: "cpu_utilization"}, Point: ops.Point{At: s.now, Value: 0.9}}
	if err := room.Observe(t.Context(), ops.ResourceRef{ID: "r1"}, []ops.Sample{sample}); err != nil {
		t.Fatal(err)
	}
	if !a.asked {
		t.Error("no alert was written")
	}
}
