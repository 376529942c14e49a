package detect

import (
	"errors"
	"fmt"

	"github.com/fettleops/fettle/detect/feature"
	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/series"
)

// Select returns the selection a compiled set of groups makes.
func Select(set *feature.Set) Selection {
	s := &selection{set: set, places: map[*feature.Selector]int{}}
	for i, sel := range set.Selectors() {
		s.places[sel] = i
		g := sel.Group
		out := Group{
			Name: g.Name, Severity: g.Severity, Detector: g.Detector, MaxEntities: g.MaxEntities,
			Settings: detector.Settings{Step: g.Step, AlarmsPerWeek: g.AlarmsPerWeek, MinEffect: g.MinEffect, Tier: detector.Tier(g.Tier)},
			Digest:   fmt.Sprintf("%016x", sel.Fingerprint()),
			New:      func(entity string) Entity { return &entityOf{Entity: sel.New(entity)} },
			Load: func(entity string, state []byte) (Entity, error) {
				e, err := sel.Load(entity, state)
				if err != nil {
					return nil, err
				}
				return &entityOf{Entity: e}, nil
			},
			Late: func() uint64 { return sel.Counts().Late },
		}
		out.Metrics, out.Unnamed = sel.Metrics()
		for _, d := range sel.Dimensions {
			out.Features = append(out.Features, Feature{Name: d.Name, Unit: d.Unit})
		}
		s.groups = append(s.groups, out)
	}
	return s
}

// selection is a feature.Set in the words of the pipeline.
type selection struct {
	set    *feature.Set
	groups []Group
	places map[*feature.Selector]int
}

var _ Selection = (*selection)(nil)

// Groups implements Selection.
func (s *selection) Groups() []Group { return s.groups }

// Bind implements Selection.
func (s *selection) Bind(d *series.Descriptor) ([]Binding, error) {
	bound, err := s.set.Bind(d)
	out := make([]Binding, 0, len(bound))
	for i := range bound {
		b := &bound[i]
		out = append(out, Binding{Group: s.places[b.Selector], Entity: b.Entity, Input: b})
	}
	return out, err
}

// entityOf is a feature.Entity in the words of the pipeline.
type entityOf struct{ *feature.Entity }

// Add implements Entity. A series beyond the limit of the entity is counted
// where it is refused.
func (e *entityOf) Add(in Input, samples []series.RawPoint, closed func(detector.Point)) {
	b := in.(*feature.Binding)
	for _, s := range samples {
		steps, err := e.Entity.Add(b, s)
		var limit *feature.LimitError
		if errors.As(err, &limit) {
			return
		}
		for _, c := range steps {
			closed(detector.Point{At: c.At, Values: c.Values})
		}
	}
}

// AppendState implements Entity.
func (e *entityOf) AppendState(dst []byte) ([]byte, error) { return e.Entity.AppendState(dst), nil }
