// Package feature says which series are watched, and turns their samples into
// the points of multivariate models.
//
// A Group selects series, says which label names the watched entity, and which
// features of it are watched together. Compile makes a Set of groups; Set.Bind
// says, once per series, which features it feeds; an Entity takes the samples
// and gives back closed steps, one value per feature. There is no clock and no
// I/O here: what comes out is a function of the samples in the order of the
// log, so that a replay after a crash comes out the same, and so that the cut
// of the log into batches does not matter.
//
// # From samples to a step
//
// A step closes when a sample arrives that is newer than its end by the
// lateness, or, in a group whose senders keep the order of each series, as soon
// as every series of the entity that has not ended has gone on to a later step.
// Within an open step samples may come in any order; a sample of a closed step
// is late: counted and dropped. Two samples of one series with one time are
// one: the first counts. A series ends with Prometheus' stale marker, or when
// nothing came of it for MaxGap steps. The last steps of an entity that falls
// silent stay open until it is heard again. A time far ahead of the others
// would make all of them late: whoever has a clock refuses it at the door.
//
// Each series is first reduced to one value of the step:
//
//   - A gauge to the mean of its samples, or what by_step says.
//   - A counter to its increase per second, from the last sample before the
//     step to the last one in it, over the time between these two. A drop is a
//     reset: the counter is taken to have begun again from 0. A predecessor
//     older than MaxGap steps does not count.
//   - A delta sum to its total in the step over the length of the step, or to
//     the total where the feature says rate: false.
//
// The values of the series of the entity that have one are then reduced to one
// per feature by by_entity, and features with an expression computed from the others. What
// is missing is NaN, and an expression that reads NaN gives NaN. A step in
// which every feature is NaN is missing. Up to MaxGap missing steps in a row
// come out as points of NaN once data comes again; of a longer gap none comes
// out, and the point after it says how much was skipped.
//
// # Units
//
// Where the sender says a unit, values are converted to the base unit: ratios
// (1) of per cent, seconds of milliseconds, bytes of kibibytes. A feature that
// says a unit takes only series of a unit that can be converted to it, counting
// "per second" for a rate, and those that say none, unchanged.
//
// # Names from CloudWatch
//
// A metric stream has two forms and Fettle one rule for both. The metric is
// named as in OpenTelemetry 1.0, amazonaws.com/NAMESPACE/METRIC, for example
// amazonaws.com/AWS/EC2/CPUUtilization. Each dimension is a label under its own
// name (InstanceId), and the label stat says which statistic of the period the
// series is, with the temporality in brackets:
//
//   - sum (Delta) and count (Delta, unit 1)
//   - min, max (Gauge), and avg (Gauge), which is sum/count, where count is not 0
//   - pNN and others that are streamed on request (Gauge), as JSON spells them: p99,
//     p99.9, TM(25%:75%); an OpenTelemetry quantile q other than 0 and 1 is p(100q)
//
// The labels cloud.account.id and cloud.region hold account and region. The
// unit is the sender's, for all statistics but count. The time is that of the
// data point: in JSON timestamp, in OpenTelemetry time_unix_nano.
package feature

import (
	"fmt"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Limits.
const (
	// MaxGap is how many steps may be missing before a gap is a restart: longer
	// gaps give no points, and no rate is taken over them. A group's step is
	// best no shorter than its senders' interval, because a step in which a
	// series has no sample has no value of it, and must not be shorter than a
	// fifth of it.
	MaxGap = 5
	// MaxFeatures bounds the values of a point, and MaxMeasured all features of
	// a group with those only expressions read.
	MaxFeatures = 64
	MaxMeasured = 256
	// MaxSeries bounds the series of one entity.
	MaxSeries = 4096
)

// Fold reduces several values to one.
type Fold string

// The folds.
const (
	Sum  Fold = "sum"
	Avg  Fold = "avg"
	Max  Fold = "max"
	Min  Fold = "min"
	Last Fold = "last" // by time; only within a step
)

// Feature is one value of a group's points.
type Feature struct {
	// Name is unique in the group and a word of expressions: lower-case
	// letters, digits and _.
	Name string
	// Set stands for the features of a ready set; nothing else is said then.
	Set string
	// Metrics are the names of the metrics that feed it, as their senders spell
	// them. Empty: any metric that Match selects.
	Metrics []string
	// Match is CEL over metric (name, unit, labels). Empty: every series of
	// Metrics.
	Match string
	// Rate says whether values are counters and the feature their increase per
	// second. Nil: where the sender says so, or says nothing and the name ends
	// in _total, as OpenMetrics has counters end.
	Rate *bool
	// ByStep reduces the samples of a gauge in a step. Defaults to Avg.
	ByStep Fold
	// ByEntity reduces the series of an entity. Defaults to Avg.
	ByEntity Fold
	// Expr is CEL over the names of features before it in the list; it is said
	// instead of Metrics and Match.
	Expr string
	// Unit is the feature's own, in UCUM: 1, s, By, By/s. Empty: unknown.
	Unit string
	// Hidden says that only expressions read it and the model does not.
	Hidden bool
}

// Group is a configured group of models, one per entity.
type Group struct {
	// Name is unique.
	Name string
	// Match is CEL over metric: the series it is for. Empty: all that its
	// features name.
	Match string
	// Entity are the labels whose values name the entity. Empty: those of the
	// ready set.
	Entity []string
	// Features are the values of its points. A ready set among them brings its
	// own features and fills what the group leaves open of Entity, Step,
	// Lateness and InOrder; of several sets the first does.
	Features []Feature
	// Step is the distance of points, from a second to a day in whole
	// milliseconds. Zero: a minute.
	Step time.Duration
	// Lateness is how long after its end a step waits for late samples. Nil:
	// one step.
	Lateness *time.Duration
	// InOrder says that each series comes in the order of its samples, as
	// Prometheus and OpenTelemetry send them, so that a step need not wait when
	// every series has gone on. Nil: true.
	InOrder *bool
	// Detector, AlarmsPerWeek, MinEffect, Tier and Severity are for those who
	// make models; they pass through unchanged.
	Detector      string
	AlarmsPerWeek float64
	MinEffect     float64
	Tier          string
	Severity      ops.Severity
	// MaxEntities is how many entities it may have. Zero: 10000.
	MaxEntities int
}

// Fault is one thing wrong with a group.
type Fault struct {
	// Path is the key in the group as the configuration spells it, for example
	// features[2].expr.
	Path string
	// Text says what is wrong and how to put it right.
	Text string
}

// Error returns "path: text".
func (f Fault) Error() string { return f.Path + ": " + f.Text }

// Check returns everything that is wrong with a group.
func Check(g Group) []Fault {
	_, faults := compile(g)
	return faults
}

// Set is a compiled list of groups. It is immutable and safe for concurrent
// use.
type Set struct {
	selectors []*Selector
	named     map[string][]target // by metric
	unnamed   []target            // features that select by Match alone
}

// target is a feature that a series may feed.
type target struct {
	selector *Selector
	slot     int
}

// Compile compiles groups. The error wraps ops.ErrInvalid and names every
// fault.
func Compile(groups []Group) (*Set, error) {
	s := &Set{named: map[string][]target{}}
	seen := map[string]bool{}
	var faults []string
	for _, g := range groups {
		if seen[g.Name] {
			faults = append(faults, fmt.Sprintf("group %s: name: is taken by another group; choose another", g.Name))
		}
		seen[g.Name] = true
		sel, wrong := compile(g)
		for _, f := range wrong {
			faults = append(faults, fmt.Sprintf("group %s: %s", g.Name, f.Error()))
		}
		if len(wrong) > 0 {
			continue
		}
		s.selectors = append(s.selectors, sel)
		for slot := range sel.slots {
			t := target{sel, slot}
			metrics := sel.slots[slot].metrics
			for _, m := range metrics {
				s.named[m] = append(s.named[m], t)
			}
			if len(metrics) == 0 {
				s.unnamed = append(s.unnamed, t)
			}
		}
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("feature: %s: %w", strings.Join(faults, "; "), ops.ErrInvalid)
	}
	return s, nil
}

// Selectors returns the compiled groups in the order in which they were given.
func (s *Set) Selectors() []*Selector { return s.selectors }
