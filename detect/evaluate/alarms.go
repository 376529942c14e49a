package evaluate

import (
	"math"
	"slices"
)

// Alarms is what people would see of a detector at one threshold for all
// series.
type Alarms struct {
	// PerWeek is the number of false alarms per series and week.
	PerWeek float64
	// Threshold is the lowest that keeps the budget; +Inf: none does.
	Threshold float64
	// EventRecall is the share of windows with a row at or above the threshold.
	EventRecall float64
	// RangeRecall is the recall for ranges of Tatbul et al. ("Precision and
	// Recall for Time Series", NeurIPS 2018) with flat bias, alpha 0.5 and
	// cardinality factor 1/x: the mean over windows of half for being found at
	// all and half for the share of rows covered, divided by the number of
	// alarms it is covered by.
	RangeRecall float64
	// DelayRows and DelaySeconds are the medians over the windows that were
	// found of how long after the first row the first alarm was; NaN when none
	// was found.
	DelayRows, DelaySeconds float64
	// AffiliationF1 is the F1 of precision and recall by distance in time: an alarm
	// just beside a window is not worth nothing. Of a series without an alarm it is 0.
	AffiliationF1 float64
	// Windows is the number of windows, those inside the skipped part left out.
	Windows int
}

// AtBudget finds the lowest threshold at which a detector raises no more than
// perWeek false alarms per series and week, and says what it finds at that. A
// false alarm is a run of rows at or above the threshold outside the windows;
// one that lasts counts again every four hours, as it would be told again
// (repeat_interval of Alertmanager), so that an alarm that never ends is not
// cheap. The weeks are those of all series behind their skipped part. As a
// lower threshold can also join alarms, the search ends at the first score
// that breaks the budget.
func AtBudget(r *Ranking, perWeek float64) Alarms {
	const week = 7 * 86_400_000
	weeks := 0.0
	c := counter{
		at: make([]int64, len(r.scores)), counts: make([]bool, len(r.scores)+1),
		from: make([]int32, len(r.scores)), to: make([]int32, len(r.scores)), on: make([]bool, len(r.scores)+1),
	}
	edge := make([]bool, len(r.scores)+1) // a run never goes on from one series to the next
	for i := range r.set.Series {
		s := &r.set.Series[i]
		first := Skipped(len(s.Values))
		weeks += math.Max(0, float64(s.At[len(s.At)-1]-s.At[first])) / week
		edge[r.offsets[i]] = true
		copy(c.at[r.offsets[i]:], s.At)
		for row := first; row < len(s.Values); row++ {
			c.counts[r.offsets[i]+row] = !s.Labels[row]
		}
	}
	edge[len(r.scores)] = true
	out := Alarms{Threshold: math.Inf(1)}
	for i := 0; i < len(r.order); {
		score := r.scores[r.order[i]]
		for ; i < len(r.order) && r.scores[r.order[i]] == score; i++ {
			if row := r.order[i]; c.counts[row] {
				c.add(row, !edge[row], !edge[row+1])
			}
		}
		if float64(c.alarms) > perWeek*weeks {
			break
		}
		out.Threshold = score
		if weeks > 0 {
			out.PerWeek = float64(c.alarms) / weeks
		}
	}
	out.recall(r)
	out.AffiliationF1 = affiliation(r, out.Threshold)
	return out
}

// counter counts false alarms while rows are added in any order.
type counter struct {
	at       []int64
	counts   []bool  // outside windows and behind the skipped part
	on       []bool  // at or above the threshold
	from, to []int32 // at the ends of a run: its first and last row
	alarms   int64
}

func (c *counter) add(row int32, left, right bool) {
	first, last := row, row
	if left && c.on[row-1] {
		first = c.from[row-1]
		c.alarms -= c.told(first, row-1)
	}
	if right && c.on[row+1] {
		last = c.to[row+1]
		c.alarms -= c.told(row+1, last)
	}
	c.on[row] = true
	c.to[first], c.from[last] = last, first
	c.alarms += c.told(first, last)
}

// told is how often the alarm over these rows is told.
func (c *counter) told(first, last int32) int64 {
	const again = 4 * 3_600_000
	return 1 + max(0, c.at[last]-c.at[first])/again
}

// recall fills in what is found at the threshold.
func (a *Alarms) recall(r *Ranking) {
	var rows, seconds []float64
	for i := range r.set.Series {
		s, scores := &r.set.Series[i], r.of(i)
		for _, w := range behind(s) {
			a.Windows++
			covered, alarms, first, before := 0, 0, -1, false
			for row := w.First; row <= w.Last; row++ {
				alarm := scores[row] >= a.Threshold
				if alarm {
					covered++
					if first < 0 {
						first = row
					}
					if !before {
						alarms++
					}
				}
				before = alarm
			}
			if first < 0 {
				continue
			}
			a.EventRecall++
			a.RangeRecall += 0.5 + 0.5*float64(covered)/float64(w.Len())/float64(alarms)
			rows = append(rows, float64(first-w.First))
			seconds = append(seconds, float64(s.At[first]-s.At[w.First])/1000)
		}
	}
	a.EventRecall /= float64(a.Windows)
	a.RangeRecall /= float64(a.Windows)
	a.DelayRows, a.DelaySeconds = median(rows), median(seconds)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
