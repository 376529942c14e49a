package detector

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/detect/kernel/threshold"
)

// Names lists the detectors that New makes: default, what is shipped; rcf, its
// forests alone; the companions that see what forests do not and are measured
// beside them; percentile, the plain rule; and the crude ones that a detector
// must beat.
func Names() []string {
	return []string{
		"default", "rcf",
		"zscore", "mad", "seasonal", "subpca", "cusum", "percentile",
		"differences", "random", "null",
	}
}

// New returns a new detector, one of Names. Settings out of range are an error.
func New(name string, s Settings) (Detector, error) {
	return build(name, s)
}

func build(name string, s Settings) (*model, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("detector: %q is none of %s", name, strings.Join(Names(), ", "))
	}
	if err := s.complete(); err != nil {
		return nil, fmt.Errorf("detector: %s: %w", name, err)
	}
	m, err := newModel(name, s)
	if err != nil {
		return nil, fmt.Errorf("detector: %s: %w", name, err)
	}
	return m, nil
}

// ErrState is what every error about a saved model wraps.
var ErrState = errors.New("saved model refused")

// Load returns the detector that AppendState saved. It goes on exactly as the
// saved one would have. It fails, with an error that wraps ErrState, when the
// state is damaged, of another version, or was saved by another detector or
// under other settings, defaults filled in.
func Load(name string, s Settings, state []byte) (Detector, error) {
	m, err := build(name, s)
	if err != nil {
		return nil, err
	}
	if err := m.load(state); err != nil {
		return nil, fmt.Errorf("detector: %s: %w: %w", name, ErrState, err)
	}
	return m, nil
}

// complete fills in defaults and checks.
func (s *Settings) complete() error {
	if s.Step == 0 {
		s.Step = time.Minute
	}
	if s.AlarmsPerWeek == 0 {
		s.AlarmsPerWeek = 1
	}
	if s.Tier == "" {
		s.Tier = Full
	}
	switch {
	case s.Features < 1 || s.Features > maxFeatures:
		return fmt.Errorf("it has %d features: give it 1 to %d", s.Features, maxFeatures)
	case s.Step < 0:
		return fmt.Errorf("the step is %v: give a positive one", s.Step)
	case !(s.AlarmsPerWeek > 0 && s.AlarmsPerWeek <= maxAlarms):
		return fmt.Errorf("alarms per week are %v: give a number above 0 and up to %d", s.AlarmsPerWeek, int(maxAlarms))
	case !(s.MinEffect >= 0 && s.MinEffect <= maxEffect):
		return fmt.Errorf("the minimum effect is %v: give a number from 0 to %d", s.MinEffect, int(maxEffect))
	case s.Tier != Full && s.Tier != Small:
		return fmt.Errorf("tier %q is neither %q nor %q", s.Tier, Full, Small)
	}
	return nil
}

const (
	maxFeatures = 64
	maxAlarms   = 1e6
	maxEffect   = 1e9
)

// risk is the share of points that may alarm when nothing is wrong. At least
// one point in a hundred is not worth a threshold.
func (s *Settings) risk() float64 {
	return min(max(threshold.RiskOf(s.AlarmsPerWeek, s.Step), 1e-9), 0.01)
}
