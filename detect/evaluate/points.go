package evaluate

import (
	"math"
	"slices"
)

// Skipped is the number of leading rows of a series that the point-wise
// measures, the alarms and VUS-PR leave out: the first 15 %, in which a
// detector learns. NAB has a rule of its own, Probation.
func Skipped(rows int) int { return int(0.15 * float64(rows)) }

// behind is the windows of a series that reach behind its skipped part, cut to
// it.
func behind(s *Series) []Window {
	first := Skipped(len(s.Values))
	var out []Window
	for _, w := range s.Windows {
		if w.Last >= first {
			out = append(out, Window{max(w.First, first), w.Last})
		}
	}
	return out
}

// PointScores are measures that take each row by itself, as means over the
// series that have rows of both kinds behind the skipped part. Every such
// series counts alike, however long it is and however often it is labelled.
type PointScores struct {
	// AveragePrecision is the area under the steps of precision over recall.
	AveragePrecision float64
	// ROCAUC is the chance that an anomalous row scores above another one of
	// its series; equal scores count a half.
	ROCAUC float64
	// Series is the number of series in the means; with none both are NaN.
	Series int
}

// Points takes the point-wise measures of all series.
func Points(r *Ranking) PointScores {
	var out PointScores
	for i, order := range r.bySeries() {
		ap, roc := pointwise(order, r.of(i), &r.set.Series[i])
		if !math.IsNaN(ap) {
			out.AveragePrecision += ap
			out.ROCAUC += roc
			out.Series++
		}
	}
	out.AveragePrecision /= float64(out.Series)
	out.ROCAUC /= float64(out.Series)
	return out
}

// pointwise is NaN, NaN for a series without rows of both kinds. Rows that are
// missing in the order scored NaN and rank last, as equals.
func pointwise(order []int32, scores []float64, s *Series) (ap, roc float64) {
	first := Skipped(len(s.Values))
	rows, positives := float64(len(s.Values)-first), 0.0
	for _, l := range s.Labels[first:] {
		if l {
			positives++
		}
	}
	negatives := rows - positives
	if positives == 0 || negatives == 0 {
		return math.NaN(), math.NaN()
	}
	var tp, fp float64
	step := func(moreTP, moreFP float64) {
		roc += moreFP * (tp + moreTP/2)
		tp, fp = tp+moreTP, fp+moreFP
		if moreTP > 0 {
			ap += moreTP * tp / (tp + fp)
		}
	}
	for i := 0; i < len(order); {
		var moreTP, moreFP float64
		for score := scores[order[i]]; i < len(order) && scores[order[i]] == score; i++ {
			if s.Labels[order[i]] {
				moreTP++
			} else {
				moreFP++
			}
		}
		step(moreTP, moreFP)
	}
	step(positives-tp, negatives-fp)
	return ap / positives, roc / positives / negatives
}

// Alarms is what people would see of a detector at one threshold for all
// series. An alarm is a run of rows at or above the threshold.
type Alarms struct {
	// PerDay is the number of alarms per series and day, at most the budget.
	PerDay float64
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
	// Windows is the number of windows, those inside the skipped part left out.
	Windows int
}

// AtBudget finds the lowest threshold at which a detector raises no more than
// budget alarms per series and day, right and wrong ones alike, and says what
// it finds at that. The days are those of the series behind the skipped part.
// As a lower threshold can also join alarms, the search ends at the first
// score that breaks the budget.
func AtBudget(r *Ranking, budget float64) Alarms {
	days := 0.0
	counts := make([]bool, len(r.scores))
	for i := range r.set.Series {
		s := &r.set.Series[i]
		first := Skipped(len(s.Values))
		days += math.Max(0, float64(s.At[len(s.At)-1]-s.At[first])) / 86_400_000
		for row := first; row < len(s.Values); row++ {
			counts[r.offsets[i]+row] = true
		}
	}
	starts := make([]bool, len(r.scores)+1) // a run never goes on from one series to the next
	for _, o := range r.offsets {
		starts[o] = true
	}
	out := Alarms{Threshold: math.Inf(1)}
	allowed, runs := budget*days, 0
	on := make([]bool, len(r.scores)+1)
	for i := 0; i < len(r.order); {
		score := r.scores[r.order[i]]
		for ; i < len(r.order) && r.scores[r.order[i]] == score; i++ {
			row := int(r.order[i])
			if !counts[row] {
				continue
			}
			on[row] = true
			runs++
			if !starts[row] && on[row-1] {
				runs--
			}
			if !starts[row+1] && on[row+1] {
				runs--
			}
		}
		if float64(runs) > allowed {
			break
		}
		out.Threshold = score
		if days > 0 {
			out.PerDay = float64(runs) / days
		}
	}
	out.recall(r)
	return out
}

// recall fills in what is found at the threshold.
func (a *Alarms) recall(r *Ranking) {
	var rows, seconds []float64
	for i := range r.set.Series {
		s, scores := &r.set.Series[i], r.of(i)
		for _, w := range behind(s) {
			a.Windows++
			covered, alarms, first := 0, 0, -1
			for row := w.First; row <= w.Last; row++ {
				if !(scores[row] >= a.Threshold) {
					continue
				}
				if first < 0 {
					first = row
				}
				if row == w.First || !(scores[row-1] >= a.Threshold) {
					alarms++
				}
				covered++
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
