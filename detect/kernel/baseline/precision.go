package baseline

import (
	"cmp"
	"slices"
)

// averagePrecision is the area under the precision-recall curve as the sum of
// precision times the step of recall, over scores from high to low. Equal
// scores are one step, so that their order does not matter.
func averagePrecision(scores []float64, positive []bool) float64 {
	ap, found, seen := 0.0, 0, 0
	ranked(scores, positive, func(positives, all int) {
		found += positives
		seen += all
		ap += float64(positives) * float64(found) / float64(seen)
	})
	if found == 0 {
		return 0
	}
	return ap / float64(found)
}

// areaUnderROC is the chance that a positive scores more than a negative, where
// equal scores count half.
func areaUnderROC(scores []float64, positive []bool) float64 {
	wins, below := 0.0, 0
	total, negatives := 0, 0
	ranked(scores, positive, func(positives, all int) {
		total += positives
		negatives += all - positives
	})
	below = negatives
	ranked(scores, positive, func(positives, all int) {
		equal := all - positives
		below -= equal
		wins += float64(positives) * (float64(below) + float64(equal)/2)
	})
	if total == 0 || negatives == 0 {
		return 0.5
	}
	return wins / float64(total) / float64(negatives)
}

// ranked calls step for each distinct score from high to low with how many of
// its points are positive and how many there are.
func ranked(scores []float64, positive []bool, step func(positives, all int)) {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	for i := 0; i < len(order); {
		positives, j := 0, i
		for ; j < len(order) && scores[order[j]] == scores[order[i]]; j++ {
			if positive[order[j]] {
				positives++
			}
		}
		step(positives, j-i)
		i = j
	}
}
