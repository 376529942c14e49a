package check

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

// Samples answers what was measured. The end is excluded.
type Samples interface {
	Recent(ctx context.Context, resourceID string, from, to time.Time) ([]ops.Series, error)
}

// OpenMetric returns a check of a condition over the newest values of the
// changed resource's metrics, such as error_ratio < 0.01: it passes while the
// condition holds. Of several series of a metric the greatest value counts,
// and only what was measured since the change.
func OpenMetric(condition string, samples Samples) (Check, error) {
	c, err := policy.CompileCondition(condition)
	if err != nil {
		return nil, err
	}
	if t := c.Trends(); len(t) > 0 {
		return nil, fmt.Errorf("condition %q: trend.%s is known to rules only; write a condition over values: %w", condition, t[0], ops.ErrInvalid)
	}
	return &metricCheck{condition: c, samples: samples}, nil
}

type metricCheck struct {
	condition *policy.Condition
	samples   Samples
}

// Look implements Check.
func (m *metricCheck) Look(ctx context.Context, s Subject) (Health, string) {
	if s.Change.ResourceID == "" || m.samples == nil {
		return Unknown, "the change names no resource that is measured"
	}
	series, err := m.samples.Recent(ctx, s.Change.ResourceID, s.Since, s.Now.Add(time.Millisecond))
	if err != nil {
		return Unknown, fmt.Sprintf("the metrics cannot be read: %v", err)
	}
	values := map[string]float64{}
	newest := map[string]time.Time{}
	for _, x := range series {
		if len(x.Points) == 0 {
			continue
		}
		p := x.Points[len(x.Points)-1]
		if v, ok := values[x.Metric]; !ok || p.Value > v {
			values[x.Metric] = p.Value
		}
		if p.At.After(newest[x.Metric]) {
			newest[x.Metric] = p.At
		}
	}
	var seen []string
	for _, name := range m.condition.Metrics() {
		v, ok := values[name]
		if !ok {
			return Unknown, name + " has not been measured since the change"
		}
		if age := s.Now.Sub(newest[name]); age > stale {
			return Unknown, fmt.Sprintf("%s was last measured %s ago", name, age.Round(time.Second))
		}
		seen = append(seen, name+" is "+strconv.FormatFloat(v, 'g', 4, 64))
	}
	holds, known, err := m.condition.Holds(values, nil)
	what := fmt.Sprintf("%s (%s)", m.condition, strings.Join(seen, ", "))
	switch {
	case err != nil || !known:
		return Unknown, what + " cannot be evaluated"
	case !holds:
		return Failing, what + " does not hold"
	}
	return Passing, what + " holds"
}

// stale is the age from which a newest value says nothing of now.
const stale = 10 * time.Minute
