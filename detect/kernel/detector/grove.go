package detector

import (
	"github.com/fettleops/fettle/detect/kernel/rcf"
)

// grove is the forests of a model and the scales of what they cut.
type grove struct {
	scales  []scale
	forests []forest
	newest  verdict
}

// verdict is what the forests of a grove said of a point. It is kept for the
// other models of a Panel that are made of the same grove: times increase, so
// that no model asks twice about one.
type verdict struct {
	asked bool
	at    int64
	raw   float64
	ready bool
	blame []float64
}

// forest is a random cut forest and what keeps it from learning shingles with
// rows that were held.
type forest struct {
	*rcf.Forest
	weight  float64
	shingle int
	stale   int // rows until no held row is left in the shingle
}

// plant adds a forest.
func (g *grove) plant(o rcf.Options, weight float64) error {
	f, err := rcf.New(o)
	if err != nil {
		return err
	}
	g.forests = append(g.forests, forest{Forest: f, weight: weight, shingle: o.Shingle})
	return nil
}

// measure makes the scales.
func (g *grove) measure(features int) error {
	g.scales, g.newest.blame = make([]scale, features), make([]float64, features)
	for i := range g.scales {
		if err := g.scales[i].make(features > 1); err != nil {
			return err
		}
	}
	return nil
}

// ask returns the score of the forests and whether all were ready, adds up their
// blame, and lets them learn.
func (g *grove) ask(p Point, s *scratch, hold bool, blame []float64) (raw float64, ready bool, err error) {
	v := &g.newest
	if v.asked && v.at == p.At {
		copy(blame, v.blame)
		return v.raw, v.ready, nil
	}
	for i := range g.scales {
		s.row[i] = g.scales[i].read(s.filled[i])
	}
	ready = true
	for i := range g.forests {
		f := &g.forests[i]
		able, err := f.score(s, hold)
		if err != nil {
			return 0, false, err
		}
		ready = ready && able
		raw += f.weight * s.pass.Score
		for j, b := range s.blame {
			blame[j] += f.weight * b
		}
	}
	if !hold {
		for i := range g.scales {
			g.scales[i].learn(p.Values[i])
		}
	}
	v.asked, v.at, v.raw, v.ready = true, p.At, raw, ready
	copy(v.blame, blame)
	return raw, ready, nil
}

// score leaves the score in the pass and what each value of the newest row has
// in it in the blame.
func (f *forest) score(s *scratch, hold bool) (ready bool, err error) {
	clear(s.blame)
	s.pass.Attribute = len(s.row) > 1
	ready = f.Ready()
	if hold {
		f.stale = f.shingle - 1
		err = f.Observe(s.row, &s.pass)
	} else if f.stale > 0 {
		f.stale--
		err = f.Observe(s.row, &s.pass)
	} else {
		err = f.Process(s.row, &s.pass)
	}
	switch {
	case err != nil || s.pass.Score == 0:
	case !s.pass.Attribute:
		s.blame[0] = s.pass.Score
	default:
		newest := len(s.pass.High) - len(s.row)
		for i := range s.row {
			s.blame[i] = s.pass.High[newest+i] + s.pass.Low[newest+i]
		}
	}
	return ready, err
}
