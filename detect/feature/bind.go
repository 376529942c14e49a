package feature

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
	"github.com/fettleops/fettle/series"
)

// Binding says that a series feeds a feature of an entity. It is made once per
// series and may be kept as long as the Set; it is not changed.
type Binding struct {
	// Selector is the group.
	Selector *Selector
	// Entity is the key of the entity: the value of the group's label. Values
	// of several labels are joined by commas; a comma or backslash in one of
	// them stands after a backslash.
	Entity string

	id    uint64 // of the series
	slot  uint16
	kind  kind
	scale float64
}

// Feature returns the name of the feature.
func (b *Binding) Feature() string { return b.Selector.slots[b.slot].name }

// kind is how the values of a series become the value of a step.
type kind byte

const (
	level   kind = iota // by the fold of the step
	counter             // increase per second
	total               // sum per step
	flow                // sum per step and second
	kinds
)

// Bind returns what a series feeds: nothing for nearly all of them, one
// binding for each feature otherwise. It evaluates the matchers, so whoever
// calls it keeps the answer. The error names every matcher that failed and
// every feature that does not take the unit of the series; the other bindings
// stand.
func (s *Set) Bind(d *series.Descriptor) ([]Binding, error) {
	named := s.named[d.Metric]
	if len(named)+len(s.unnamed) == 0 {
		return nil, nil
	}
	b := binder{d: d, matched: map[*Selector]bool{}}
	for _, list := range [][]target{named, s.unnamed} {
		for _, t := range list {
			b.bind(t)
		}
	}
	return b.out, errors.Join(b.errs...)
}

// binder binds one series.
type binder struct {
	d       *series.Descriptor
	vars    policy.Vars
	matched map[*Selector]bool
	id      uint64
	out     []Binding
	errs    []error
}

func (b *binder) bind(t target) {
	s := t.selector
	entity, ok := s.entity(b.d)
	if !ok {
		return
	}
	ok, asked := b.matched[s]
	if !asked {
		ok = b.holds(s.match, s, "match")
		b.matched[s] = ok
	}
	slot := &s.slots[t.slot]
	if !ok || !b.holds(slot.match, s, slot.name) {
		return
	}
	kind := slot.kind(b.d)
	scale, err := slot.scale(b.d.Unit, kind)
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("feature: group %s, feature %s, metric %s: %w", s.Group.Name, slot.name, b.d.Metric, err))
		return
	}
	if b.id == 0 {
		b.id = identify(b.d)
	}
	b.out = append(b.out, Binding{Selector: s, Entity: entity, id: b.id, slot: uint16(t.slot), kind: kind, scale: scale})
}

func (b *binder) holds(p *policy.Program, s *Selector, what string) bool {
	if p == nil {
		return true
	}
	if b.vars.Metric == nil {
		labels := make(map[string]string, len(b.d.Labels))
		for _, l := range b.d.Labels {
			labels[l.Name] = l.Value
		}
		b.vars.Metric = &policy.Series{Name: b.d.Metric, Unit: b.d.Unit, Labels: labels}
	}
	ok, err := p.Match(b.vars)
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("feature: group %s, %s: %w", s.Group.Name, what, err))
	}
	return ok
}

// entity returns the key of the entity a series is of, and whether it has all
// of the labels.
func (s *Selector) entity(d *series.Descriptor) (string, bool) {
	labels := s.Group.Entity
	if len(labels) == 1 {
		v, ok := d.Label(labels[0])
		return v, ok && v != ""
	}
	var key strings.Builder
	for i, name := range labels {
		v, ok := d.Label(name)
		if !ok || v == "" {
			return "", false
		}
		if i > 0 {
			key.WriteByte(',')
		}
		_, _ = joint.WriteString(&key, v) // a builder takes any write
	}
	return key.String(), true
}

var joint = strings.NewReplacer(`\`, `\\`, `,`, `\,`)

func (s *slot) kind(d *series.Descriptor) kind {
	if d.Temporality == series.Delta {
		if s.rate != nil && !*s.rate {
			return total
		}
		return flow
	}
	rate := d.Temporality == series.Cumulative || d.Temporality == series.Unspecified && strings.HasSuffix(d.Metric, "_total")
	if s.rate != nil {
		rate = *s.rate
	}
	if rate {
		return counter
	}
	return level
}

// scale is what a value of a unit is multiplied with to be of the feature's.
func (s *slot) scale(unit string, k kind) (float64, error) {
	base, factor, known := baseUnit(unit)
	if !known {
		return 1, nil // what the sender does not say, or says in its own words, stays
	}
	if k == counter || k == flow {
		base = perSecond(base)
	}
	if s.unit == "" {
		return factor, nil
	}
	want, own, _ := baseUnit(s.unit)
	if want != base {
		return 0, fmt.Errorf("its unit %q gives %s, the feature is in %s; correct the feature's unit or its match: %w", unit, base, s.unit, ops.ErrInvalid)
	}
	return factor / own, nil
}

// identify hashes what tells series apart.
func identify(d *series.Descriptor) uint64 {
	h := xxhash.New()
	sep := []byte{0xff} // not in UTF-8
	text := func(s string) {
		_, _ = h.WriteString(s) // a hash takes any write
		_, _ = h.Write(sep)
	}
	text(string(rune('0' + d.Temporality)))
	text(d.Metric)
	text(d.Unit)
	for _, l := range d.Labels {
		text(l.Name)
		text(l.Value)
	}
	return h.Sum64()
}
