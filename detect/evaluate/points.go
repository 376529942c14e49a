package evaluate

import "math"

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
