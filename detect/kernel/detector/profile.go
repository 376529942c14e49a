package detector

import (
	"fmt"
	"math"

	"github.com/fettleops/fettle/detect/kernel/baseline"
	"github.com/fettleops/fettle/detect/kernel/rcf"
	"github.com/fettleops/fettle/detect/kernel/threshold"
)

// profile is what a detector is made of. It depends on the detector's name, the
// tier and the number of features, and on nothing else: not on the series.
type profile struct {
	forests []forestPart
	voices  []voicePart
	// rank makes the score of how rare the raw one is in its own series, for raw
	// scores without a ceiling. Otherwise the score is the share of the ceiling.
	rank bool
	// debounce, where set, damps the score behind a peak and smooths it.
	debounce threshold.DebounceSettings
	// plain is the rule of the 95th percentile in place of SPOT.
	plain bool
}

type forestPart struct {
	options rcf.Options
	weight  float64
}

// voicePart is a companion whose score s counts as weight*s/(s+half), and as s
// itself for a half of 0.
type voicePart struct {
	weight, half float64
	newFunc      func(features int, seed uint64) (baseline.Scorer, error)
}

// shipped are the forests of the shipped profile, see docs/detect/search.md. The
// first has no shingle and a large sample with a long memory: it knows values,
// and how rare each is. The second sees four points together: it knows shapes.
// Small is for ten thousand models: one forest that sees pairs, and keeps the
// boxes of its heavy nodes alone: a third of the memory for half as much time
// again.
func shipped(tier Tier) []forestPart {
	if tier == Small {
		return []forestPart{
			{rcf.Options{Trees: 16, Samples: 128, Shingle: 2, TimeDecay: 1. / 2560, OutputAfter: 64, InitialAccept: 0.25, BoxMass: 10}, 1},
		}
	}
	return []forestPart{
		{rcf.Options{Trees: 24, Samples: 2048, Shingle: 1, TimeDecay: 5e-5, OutputAfter: 64}, 0.65},
		{rcf.Options{Trees: 16, Samples: 1024, Shingle: 4, OutputAfter: 64, InitialAccept: 0.125}, 0.35},
	}
}

// beside are the companions that speak up in the default beside the forests: the
// hour of the week, of which forests know nothing, and the distance from the
// median, where forests have a ceiling. Forests score from about 1 to the
// logarithm of their sample, so that a companion can tip the scales and not
// more.
func beside(tier Tier) []voicePart {
	depth, window := 32, 512
	if tier == Small {
		depth, window = 8, 128
	}
	return []voicePart{
		{0.5, 4, func(features int, _ uint64) (baseline.Scorer, error) {
			return scorer(baseline.NewSeasonal(baseline.SeasonalSettings{Features: features, Depth: depth}))
		}},
		{0.25, 4, func(features int, _ uint64) (baseline.Scorer, error) {
			return scorer(baseline.NewMAD(baseline.MADSettings{Features: features, Window: window}))
		}},
	}
}

// Ranking wants one high score per event, and a score that stays up as long as
// an anomaly lasts. So scores behind a peak are damped, and half of the score is
// the mean of about the last smoothing.
var shippedDebounce = threshold.DebounceSettings{Hold: 200, Factor: 0.8}

const smoothing = 20

func profileOf(name string, s Settings) profile {
	switch name {
	case "default":
		return profile{forests: shipped(s.Tier), voices: beside(s.Tier), debounce: shippedDebounce}
	case "rcf":
		return profile{forests: shipped(s.Tier), debounce: shippedDebounce}
	case "percentile":
		return profile{forests: []forestPart{{rcf.Options{Trees: 100, Samples: 256, Shingle: 1, OutputAfter: 64}, 1}}, plain: true}
	}
	return profile{voices: []voicePart{{weight: 1, newFunc: func(features int, seed uint64) (baseline.Scorer, error) {
		return companion(name, features, seed)
	}}}, rank: name != "random" && name != "null"}
}

// companion returns a scorer by its name.
func companion(name string, features int, seed uint64) (baseline.Scorer, error) {
	switch name {
	case "zscore":
		return scorer(baseline.NewZScore(baseline.ZScoreSettings{Features: features}))
	case "mad":
		return scorer(baseline.NewMAD(baseline.MADSettings{Features: features}))
	case "seasonal":
		return scorer(baseline.NewSeasonal(baseline.SeasonalSettings{Features: features}))
	case "subpca":
		return scorer(baseline.NewSubPCA(baseline.SubPCASettings{Features: features, Shingle: max(2, min(8, 256/features))}))
	case "cusum":
		return scorer(baseline.NewCUSUM(baseline.CUSUMSettings{Features: features}))
	case "differences":
		return scorer(baseline.NewDifferences(features))
	case "random":
		return scorer(baseline.NewRandom(features, seed))
	case "null":
		return scorer(baseline.NewNull(features))
	}
	return nil, fmt.Errorf("companion %q is unknown", name)
}

func scorer[T baseline.Scorer](s T, err error) (baseline.Scorer, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ceiling is the greatest raw score of members that have one.
func (p *profile) ceiling() float64 {
	sum := 0.0
	for _, f := range p.forests {
		sum += f.weight * math.Log2(1+float64(f.options.Samples))
	}
	for _, v := range p.voices {
		sum += v.weight
	}
	return sum
}
