package verify

import (
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// The words of metrics that say which share of a resource is in use, or is not.
var (
	usageWords = words("utilization utilisation util utilized usage used busy")
	spareWords = words("idle free headroom")
)

// fullUse is the share in use above which nothing is as it was meant to be.
const fullUse = 0.9

// Expected reports whether a change means a metric to move the way that is for
// the worse by default: a right-sizing that saves money raises how much of the
// resource is in use. That holds up to a mean of nine tenths since the change
// was applied; beyond it, and for a metric whose whole is not known, the metric
// is judged like any other. Errors, latency, queues and health are never
// expected to move.
func Expected(s ops.Series, ch ops.Change, applied time.Time) bool {
	a := ch.Analysis
	if a == nil || !(strings.EqualFold(a.Kind, "Downsize") || a.Saving != nil && a.Saving.Amount > 0) {
		return false
	}
	tokens := named(s.SeriesID)
	has := func(list map[string]bool) bool {
		return slices.ContainsFunc(tokens, func(t string) bool { return list[t] })
	}
	usage, spare := has(usageWords), has(spareWords)
	if usage == spare || has(faultWords) || slices.ContainsFunc(tokens, func(t string) bool { return burdenWords[t] && !usageWords[t] }) {
		return false
	}
	whole, sum, n := 0.0, 0.0, 0
	switch {
	case s.Unit == "%" || strings.EqualFold(s.Unit, "percent") || slices.Contains(tokens, "percent"):
		whole = 100
	case strings.EqualFold(s.Unit, "ratio") || s.Unit == "1" || slices.Contains(tokens, "ratio"):
		whole = 1
	case slices.ContainsFunc(tokens, func(t string) bool { return strings.HasPrefix(t, "utili") }):
		// Without a unit it is a share all the same, in one of two scales.
		whole = 1
		if slices.ContainsFunc(s.Points, func(p ops.Point) bool { return p.Value > 1 }) {
			whole = 100
		}
	default:
		return false
	}
	for _, p := range s.Points {
		if !p.At.Before(applied) {
			sum, n = sum+p.Value, n+1
		}
	}
	if n == 0 {
		return true
	}
	share := sum / float64(n) / whole
	if spare {
		share = 1 - share
	}
	return share <= fullUse
}
