package feature

import (
	"encoding/binary"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

// Selector is a compiled group. It is safe for concurrent use.
type Selector struct {
	// Group is the group with everything it left open filled in and its sets
	// spelt out. It is not changed.
	Group Group
	// Dimensions are the features of a point, in the order of its values.
	Dimensions []Dimension

	match    *policy.Program
	step     int64 // milliseconds
	lateness int64 // milliseconds
	inOrder  bool
	slots    []slot    // the features that are measured
	places   int       // all features, in the order of the list
	shown    []int     // the places the model sees
	formulas []formula // in the order in which they are computed
	print    uint64
	counts   counts
}

// Dimension names a value of a point.
type Dimension struct {
	Name string
	Unit string // in UCUM; empty is unknown
}

// slot is a feature that series feed.
type slot struct {
	name             string
	metrics          []string
	match            *policy.Program
	rate             *bool
	byStep, byEntity Fold
	unit             string
	place            int
}

// formula is a feature that is computed.
type formula struct {
	*policy.Formula
	place int
}

// Metrics returns the names of the metrics its features read, sorted, and
// whether some feature reads metrics of any name.
func (s *Selector) Metrics() (names []string, unnamed bool) {
	for i := range s.slots {
		names = append(names, s.slots[i].metrics...)
		unnamed = unnamed || len(s.slots[i].metrics) == 0
	}
	slices.Sort(names)
	return slices.Compact(names), unnamed
}

// Counts are what befell the samples of a group since its Selector was made.
type Counts struct {
	// Late samples came after their step had closed and were dropped.
	Late uint64
	// Duplicate samples had the series and time of another one and were dropped.
	Duplicate uint64
	// Reordered samples came after a newer one of their series and were taken.
	Reordered uint64
	// Invalid samples were no finite number, or of no time between 1970 and
	// 9999, and were dropped.
	Invalid uint64
	// Resets are drops of counters.
	Resets uint64
	// Refused entities and series were beyond a limit.
	Refused uint64
}

type counts struct{ late, duplicate, reordered, invalid, resets, refused atomic.Uint64 }

// Counts returns what befell samples so far.
func (s *Selector) Counts() Counts {
	c := &s.counts
	return Counts{c.late.Load(), c.duplicate.Load(), c.reordered.Load(), c.invalid.Load(), c.resets.Load(), c.refused.Load()}
}

// Fingerprint is equal for groups whose points mean the same: the same step and
// the same features made in the same way. A saved model or entity of another
// fingerprint is of no use.
func (s *Selector) Fingerprint() uint64 { return s.print }

// LimitError refuses an entity or a series. Its class is ops.ErrDenied: to try
// again does not help.
type LimitError struct {
	Group, Entity string
	// What is counted, entities or series of the entity.
	What  string
	Limit int
	// Fix says what to do about it.
	Fix string
}

// Error names the group, the limit, the entity and the fix.
func (e *LimitError) Error() string {
	return fmt.Sprintf("feature: group %s refuses entity %q: it has %d %s, its limit; %s", e.Group, e.Entity, e.Limit, e.What, e.Fix)
}

// Unwrap returns the class.
func (*LimitError) Unwrap() error { return ops.ErrDenied }

// Admit says whether a new entity may join those known, in memory or on disk.
// The error is a *LimitError.
func (s *Selector) Admit(known int, entity string) error {
	if known < s.Group.MaxEntities {
		return nil
	}
	s.counts.refused.Add(1)
	return &LimitError{
		s.Group.Name, entity, "entities", s.Group.MaxEntities,
		"raise detect.groups.max_entities, narrow the group's match, or name an entity label with fewer values",
	}
}

var (
	featureName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,63}$`)
	// reserved are the words of CEL that no variable may have.
	reserved = strings.Fields("true false null in as break const continue else for function if import let loop package namespace return var void while")
)

// compiler collects the faults of a group.
type compiler struct {
	g      Group
	faults []Fault
}

func (c *compiler) fault(path, format string, args ...any) {
	c.faults = append(c.faults, Fault{path, fmt.Sprintf(format, args...)})
}

// sourced is a feature and the key it was written at.
type sourced struct {
	Feature
	path string
}

func compile(g Group) (*Selector, []Fault) {
	c := &compiler{g: g}
	features := c.expand()
	c.fill()
	s := &Selector{step: c.g.Step.Milliseconds(), lateness: c.g.Lateness.Milliseconds(), inOrder: *c.g.InOrder}
	s.match = c.program("match", c.g.Match)
	c.features(s, features)
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	c.g.Features = c.g.Features[:0:0]
	for _, f := range features {
		c.g.Features = append(c.g.Features, f.Feature)
	}
	s.Group = c.g
	s.print = fingerprint(c.g)
	return s, nil
}

// expand puts the features of ready sets where they are named, and lets the
// first set fill what the group leaves open.
func (c *compiler) expand() []sourced {
	var out []sourced
	for i, f := range c.g.Features {
		path := "features[" + strconv.Itoa(i) + "]"
		if f.Set == "" {
			out = append(out, sourced{f, path})
			continue
		}
		if f.Name != "" || len(f.Metrics) > 0 || f.Match != "" || f.Rate != nil || f.ByStep != "" || f.ByEntity != "" || f.Expr != "" || f.Unit != "" || f.Hidden {
			c.fault(path, "says set and other keys; a ready set brings its own, write a second entry for another feature")
		}
		set, ok := ready(f.Set)
		if !ok {
			c.fault(path+".set", "there is no ready set %q; ready sets: %s", f.Set, strings.Join(Sets(), ", "))
			continue
		}
		for _, own := range set.Features {
			out = append(out, sourced{own, path})
		}
		if len(c.g.Entity) == 0 {
			c.g.Entity = set.Entity
		}
		if c.g.Step == 0 {
			c.g.Step = set.Step
		}
		if c.g.Lateness == nil {
			c.g.Lateness = set.Lateness
		}
		if c.g.InOrder == nil {
			c.g.InOrder = set.InOrder
		}
	}
	return out
}

// fill sets the defaults and checks what is left.
func (c *compiler) fill() {
	g := &c.g
	if g.Step == 0 {
		g.Step = time.Minute
	}
	if g.Step < time.Second || g.Step > 24*time.Hour || g.Step%time.Millisecond != 0 {
		c.fault("step", "%s is out of range; write from 1s to 1d, in whole milliseconds", g.Step)
		g.Step = time.Minute
	}
	if g.Lateness == nil {
		g.Lateness = &g.Step
	}
	if *g.Lateness < 0 || *g.Lateness > 7*24*time.Hour || *g.Lateness%time.Millisecond != 0 {
		c.fault("lateness", "%s is out of range; write from 0s to 7d, in whole milliseconds", *g.Lateness)
	}
	if g.InOrder == nil {
		g.InOrder = new(bool)
		*g.InOrder = true
	}
	if g.MaxEntities == 0 {
		g.MaxEntities = 10_000
	}
	if g.MaxEntities < 0 {
		c.fault("max_entities", "must be 1 or more")
	}
	if len(g.Entity) == 0 {
		c.fault("entity", "is missing; name the label that tells entities apart, for example instance")
	}
	for i, label := range g.Entity {
		if label == "" || slices.Index(g.Entity, label) < i {
			c.fault("entity", "has %q empty or twice; name each label once", label)
		}
	}
}

func (c *compiler) program(path, text string) *policy.Program {
	if text == "" {
		return nil
	}
	p, err := policy.Compile(policy.Metric, text)
	if err != nil {
		c.fault(path, "%v", err)
	}
	return p
}

// features compiles each feature.
func (c *compiler) features(s *Selector, features []sourced) {
	visible := 0
	for _, f := range features {
		if !f.Hidden {
			visible++
		}
	}
	if visible == 0 {
		c.fault("features", "has none that the model sees; write at least one, or the name of a ready set")
	}
	if visible > MaxFeatures || len(features) > MaxMeasured {
		c.fault("features", "has %d that the model sees and %d in all; at most %d and %d", visible, len(features), MaxFeatures, MaxMeasured)
	}
	var names []string
	for i, f := range features {
		if !f.Hidden {
			s.shown = append(s.shown, i)
			s.Dimensions = append(s.Dimensions, Dimension{f.Name, f.Unit})
		}
		switch {
		case !featureName.MatchString(f.Name) || slices.Contains(reserved, f.Name):
			c.fault(f.path+".name", "%q cannot be a name in an expression; use lower-case letters, digits and _, and no word of CEL", f.Name)
			continue
		case slices.Contains(names, f.Name):
			c.fault(f.path+".name", "%q is taken by a feature before it; choose another", f.Name)
			continue
		}
		if f.Unit != "" {
			if _, _, known := baseUnit(f.Unit); !known {
				c.fault(f.path+".unit", "%q is not known; write a unit of UCUM such as 1, s, By, By/s, or leave it out", f.Unit)
			}
		}
		if f.Expr != "" {
			c.formula(s, f, names, i)
		} else {
			c.slot(s, f, i)
		}
		names = append(names, f.Name)
	}
	s.places = len(features)
}

func (c *compiler) formula(s *Selector, f sourced, names []string, place int) {
	if len(f.Metrics) > 0 || f.Match != "" || f.Rate != nil || f.ByStep != "" || f.ByEntity != "" {
		c.fault(f.path, "has an expr and selects series too; name the series in features before it and keep one")
	}
	p, err := policy.CompileFormula(f.Expr, names)
	if err != nil {
		c.fault(f.path+".expr", "%v", err)
		return
	}
	s.formulas = append(s.formulas, formula{p, place})
}

func (c *compiler) slot(s *Selector, f sourced, place int) {
	if len(f.Metrics) == 0 && f.Match == "" {
		c.fault(f.path, "selects nothing; name a metric, a match, an expr or a ready set")
	}
	if f.ByStep == "" {
		f.ByStep = Avg
	}
	if f.ByEntity == "" {
		f.ByEntity = Avg
	}
	if !slices.Contains([]Fold{Sum, Avg, Max, Min, Last}, f.ByStep) {
		c.fault(f.path+".by_step", "%q is none of avg, last, sum, max, min", f.ByStep)
	}
	if !slices.Contains([]Fold{Sum, Avg, Max, Min}, f.ByEntity) {
		c.fault(f.path+".by_entity", "%q is none of sum, avg, max, min", f.ByEntity)
	}
	var metrics []string
	for _, m := range f.Metrics {
		if m == "" {
			c.fault(f.path+".metric", "is empty; write the name of a metric")
		}
		if !slices.Contains(metrics, m) {
			metrics = append(metrics, m)
		}
	}
	s.slots = append(s.slots, slot{
		name: f.Name, metrics: metrics, match: c.program(f.path+".match", f.Match), rate: f.Rate,
		byStep: f.ByStep, byEntity: f.ByEntity, unit: f.Unit, place: place,
	})
}

func fingerprint(g Group) uint64 {
	h := xxhash.New()
	var buf []byte
	text := func(s string) { buf = append(binary.AppendUvarint(buf, uint64(len(s))), s...) }
	buf = binary.AppendVarint(buf, int64(g.Step))
	for _, f := range g.Features {
		text(f.Name)
		buf = binary.AppendUvarint(buf, uint64(len(f.Metrics)))
		for _, m := range f.Metrics {
			text(m)
		}
		text(f.Match)
		rate := byte(2)
		if f.Rate != nil {
			rate = 0
			if *f.Rate {
				rate = 1
			}
		}
		hidden := byte(0)
		if f.Hidden {
			hidden = 1
		}
		buf = append(buf, rate, hidden)
		text(string(f.ByStep))
		text(string(f.ByEntity))
		text(f.Expr)
		text(f.Unit)
	}
	_, _ = h.Write(buf) // a hash takes any write
	return h.Sum64()
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
