package evaluate

import (
	"math"
	"slices"
	"sort"
)

// VUSPR is the volume under the surface of precision over recall (Paparrizos
// et al., "Volume Under the Surface", PVLDB 15(11), 2022), as a mean over the
// series that have windows behind their skipped part; NaN without any.
//
// It is taken as TSB-AD takes it (github.com/TheDatumOrg/TSB-AD,
// evaluation/basic_metrics.py, RangeAUC_volume_opt): for every buffer of 0 to
// L rows the labels fade out over half the buffer on both sides of a window by
// sqrt(1-distance/buffer); at 250 thresholds, which are scores of equally
// spaced ranks, the recall of these soft labels is multiplied by the share of
// windows touched; the areas under the steps are averaged over the buffers. L
// is the period of the series, found by autocorrelation as TSB-AD finds it
// (utils/slidingWindows.py). The one difference is that rows of the skipped
// part are left out.
func VUSPR(r *Ranking) float64 {
	sum, n := 0.0, 0
	for i := range r.set.Series {
		s := &r.set.Series[i]
		windows := behind(s)
		if len(windows) == 0 {
			continue
		}
		first := Skipped(len(s.Values))
		for k := range windows {
			windows[k].First -= first
			windows[k].Last -= first
		}
		sum += vusPR(r.of(i)[first:], windows, period(s.Values))
		n++
	}
	return sum / float64(n)
}

const vusThresholds = 250

// vusPR is the measure on one series. In place of comparing every row with
// every threshold for every buffer, each row is put once into the bucket of
// the highest threshold it reaches, and sums run over the buckets.
func vusPR(scores []float64, windows []Window, longest int) float64 {
	n := len(scores)
	thresholds, predicted := cuts(scores)
	bucket := make([]int, n)
	for i, s := range scores {
		bucket[i] = reaches(thresholds, s)
	}
	core := make([]bool, n)
	positives := 0.0
	for _, w := range windows {
		for i := w.First; i <= w.Last; i++ {
			core[i] = true
		}
		positives += float64(w.Len())
	}
	soft := make([]float64, n)
	var inside, fading, found [vusThresholds + 1]float64
	volume := 0.0
	for buffer := 0; buffer <= longest; buffer++ {
		fade(soft, windows, buffer)
		segments := widen(windows, buffer/2, n)
		clear(inside[:])
		clear(fading[:])
		clear(found[:])
		for _, g := range segments {
			reached := vusThresholds
			for i := g.First; i <= g.Last; i++ {
				b := bucket[i]
				reached = min(reached, b)
				if core[i] {
					inside[b]++
				} else {
					fading[b] += soft[i]
				}
			}
			found[reached]++
		}
		var tpInside, tpFading, touched, before float64
		for k := range vusThresholds {
			tpInside += inside[k]
			tpFading += fading[k]
			touched += found[k]
			tp := tpInside + tpFading
			recall := min(1, tp/((positives+positives+tpFading)/2)) * touched / float64(len(segments))
			volume += (recall - before) * tp / predicted[k]
			before = recall
		}
	}
	return volume / float64(longest+1)
}

// cuts returns the thresholds, falling, and how many scores reach each.
func cuts(scores []float64) (thresholds, predicted []float64) {
	falling := slices.Clone(scores)
	for i, s := range falling {
		if math.IsNaN(s) {
			falling[i] = math.Inf(-1)
		}
	}
	sort.Sort(sort.Reverse(sort.Float64Slice(falling)))
	last := len(falling) - 1
	for k := range vusThresholds {
		t := falling[int(float64(k)*(float64(last)/(vusThresholds-1)))]
		if k == vusThresholds-1 {
			t = falling[last]
		}
		thresholds = append(thresholds, t)
		predicted = append(predicted, float64(sort.Search(len(falling), func(i int) bool { return falling[i] < t })))
	}
	return thresholds, predicted
}

// reaches is the index of the first, and so highest, threshold that s reaches.
func reaches(thresholds []float64, s float64) int {
	if math.IsNaN(s) {
		s = math.Inf(-1)
	}
	return sort.Search(len(thresholds), func(k int) bool { return s >= thresholds[k] })
}

// fade writes the soft labels of the rows around the windows.
func fade(soft []float64, windows []Window, buffer int) {
	clear(soft)
	for _, w := range windows {
		for i := w.First; i <= w.Last; i++ {
			soft[i] = 1
		}
		for d := 1; d <= buffer/2; d++ {
			share := math.Sqrt(1 - float64(d)/float64(buffer))
			if i := w.First - d; i >= 0 {
				soft[i] = min(1, soft[i]+share)
			}
			if i := w.Last + d; i < len(soft) {
				soft[i] = min(1, soft[i]+share)
			}
		}
	}
}

// widen adds half a buffer on both sides of the windows and joins those that
// then meet.
func widen(windows []Window, half, rows int) []Window {
	var out []Window
	for _, w := range windows {
		g := Window{max(0, w.First-half), min(rows-1, w.Last+half)}
		if n := len(out); n > 0 && out[n-1].Last >= g.First {
			out[n-1].Last = g.Last
			continue
		}
		out = append(out, g)
	}
	return out
}

// period is the lag of the highest local maximum of the autocorrelation, as
// TSB-AD's find_length_rank: over the first 20,000 values and lags of 3 to
// 400; 125 where there is none, or it lies below 6 or above 303.
func period(values []float64) int {
	const base, lags, none = 3, 400, 125
	v := slices.Clone(values[:min(len(values), 20_000)])
	mean, before := 0.0, 0.0
	for i, x := range v {
		if math.IsNaN(x) {
			v[i] = before // a missing value is the one before
		}
		before = v[i]
		mean += v[i] / float64(len(v))
	}
	for i := range v {
		v[i] -= mean
	}
	var acf []float64
	for lag := base; lag <= min(lags, len(v)-1); lag++ {
		sum := 0.0
		for i, x := range v[lag:] {
			sum += x * v[i]
		}
		acf = append(acf, sum)
	}
	best := -1
	for i := 1; i+1 < len(acf); i++ {
		if acf[i] > acf[i-1] && acf[i] > acf[i+1] && (best < 0 || acf[i] >= acf[best]) {
			best = i
		}
	}
	if best < 3 || best > 300 {
		return none
	}
	return best + base
}
