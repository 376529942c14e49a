package detector

import (
	"fmt"
	"slices"
)

// Panel is several detectors that are given the same points. Each reads what it
// would read alone; forests that several of them are made of are asked once. It
// is not safe for concurrent use.
type Panel struct {
	models []*model
}

// NewPanel returns new detectors, each one of Names, with the same settings.
func NewPanel(names []string, s Settings) (*Panel, error) {
	p := &Panel{}
	for _, name := range names {
		m, err := build(name, s)
		if err != nil {
			return nil, err
		}
		for _, other := range p.models {
			if m.kin(other) {
				m.grove = other.grove
				break
			}
		}
		p.models = append(p.models, m)
	}
	return p, nil
}

// kin reports whether the forests of two models with equal settings always say
// the same: they are made alike and see the same. With several features they
// need not see the same, as each model fills in missing values with what it
// expects.
func (m *model) kin(other *model) bool {
	return m.settings.Features == 1 && len(m.forests) > 0 && slices.Equal(m.profile.forests, other.profile.forests)
}

// Process has every detector read the point and then, unless it is held, learn
// it; r has one reading for each. After an error the panel is of no more use.
func (p *Panel) Process(point Point, r []Reading) error {
	if len(r) != len(p.models) {
		return fmt.Errorf("detector: the panel was given %d readings: give it %d, one per detector", len(r), len(p.models))
	}
	for i, m := range p.models {
		if err := m.Process(point, &r[i]); err != nil {
			return err
		}
	}
	return nil
}
