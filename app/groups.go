package app

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/detect/feature"
	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/ops"
)

// watched turns an entry of detect.groups into what the feature package
// compiles.
func watched(g config.Group) feature.Group {
	out := feature.Group{
		Name: g.Name, Match: g.Match, Entity: g.Entity, Step: g.Step.D, InOrder: g.InOrder,
		Detector: g.Detector, MinEffect: g.MinEffect.Fraction(), Tier: g.Tier, Severity: ops.Severity(g.Severity), MaxEntities: g.MaxEntities,
	}
	if g.Lateness != nil {
		out.Lateness = &g.Lateness.D
	}
	if g.AlarmBudget.Per > 0 {
		out.AlarmsPerWeek = float64(g.AlarmBudget.Count) * float64(7*24*time.Hour) / float64(g.AlarmBudget.Per)
	}
	for _, f := range g.Features {
		out.Features = append(out.Features, feature.Feature{
			Name: f.Name, Set: f.Set, Metrics: f.Metric, Match: f.Match, Rate: f.Rate, ByStep: feature.Fold(f.ByStep),
			ByEntity: feature.Fold(f.ByEntity), Expr: f.Expr, Unit: f.Unit, Hidden: f.Hidden,
		})
	}
	return out
}

// checkGroup finds what is wrong with an entry of detect.groups.
func checkGroup(g config.Group) config.Faults {
	var out config.Faults
	for _, f := range feature.Check(watched(g)) {
		out = append(out, &config.Fault{Path: f.Path, Text: f.Text})
	}
	if names := detector.Names(); !slices.Contains(names, g.Detector) {
		out = append(out, &config.Fault{Path: "detector", Text: fmt.Sprintf("%q is none of %s", g.Detector, strings.Join(names, ", "))})
	}
	return out
}
