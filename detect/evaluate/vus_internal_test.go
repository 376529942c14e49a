package evaluate

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// literalVUS follows the steps of TSB-AD's RangeAUC_volume_opt one by one:
// every threshold against every row, for every buffer.
func literalVUS(scores []float64, windows []Window, longest int) float64 {
	n := len(scores)
	falling := slices.Clone(scores)
	slices.SortFunc(falling, func(a, b float64) int {
		if a > b {
			return -1
		} else if a < b {
			return 1
		}
		return 0
	})
	total := 0.0
	for buffer := 0; buffer <= longest; buffer++ {
		labels := make([]float64, n)
		for _, w := range windows {
			for i := w.First; i <= w.Last; i++ {
				labels[i]++
			}
			for i := w.Last + 1; i < min(w.Last+buffer/2+1, n); i++ {
				labels[i] += math.Sqrt(1 - float64(i-w.Last)/float64(buffer))
			}
			for i := max(w.First-buffer/2, 0); i < w.First; i++ {
				labels[i] += math.Sqrt(1 - float64(w.First-i)/float64(buffer))
			}
		}
		positives := 0.0
		var segments []Window
		start := max(windows[0].First-buffer/2, 0)
		for k, w := range windows {
			positives += float64(w.Len())
			if k+1 == len(windows) {
				segments = append(segments, Window{start, min(w.Last+buffer/2, n-1)})
			} else if w.Last+buffer/2 < windows[k+1].First-buffer/2 {
				segments = append(segments, Window{start, w.Last + buffer/2})
				start = windows[k+1].First - buffer/2
			}
		}
		before := 0.0
		for k := range vusThresholds {
			rank := int(float64(k) * (float64(n-1) / (vusThresholds - 1))) // as numpy.linspace rounds
			if k == vusThresholds-1 {
				rank = n - 1
			}
			threshold := falling[rank]
			tp, weights, predicted, found := 0.0, 0.0, 0.0, 0.0
			for _, s := range scores {
				if s >= threshold {
					predicted++
				}
			}
			for _, g := range segments {
				hit := false
				for i := g.First; i <= g.Last; i++ {
					l := min(1, labels[i])
					alarm := scores[i] >= threshold
					hit = hit || alarm
					if !alarm {
						l *= 0
					}
					if slices.ContainsFunc(windows, func(w Window) bool { return i >= w.First && i <= w.Last }) {
						l = 1
					}
					weights += l
					if alarm {
						tp += l
					}
				}
				if hit {
					found++
				}
			}
			recall := min(1, tp/((positives+weights)/2)) * found / float64(len(segments))
			total += (recall - before) * tp / predicted
			before = recall
		}
	}
	return total / float64(longest+1)
}

func TestVUSIsTheLiteralOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 120).Draw(t, "rows")
		labels := make([]bool, n)
		for range rapid.IntRange(1, 4).Draw(t, "windows") {
			first := rapid.IntRange(0, n-1).Draw(t, "first")
			for i := first; i < min(n, first+rapid.IntRange(1, 9).Draw(t, "length")); i++ {
				labels[i] = true
			}
		}
		scores := make([]float64, n)
		for i := range scores {
			scores[i] = float64(rapid.IntRange(0, 8).Draw(t, "score")) / 8
		}
		longest := rapid.IntRange(0, 12).Draw(t, "longest")
		got, want := vusPR(scores, runs(labels), longest), literalVUS(scores, runs(labels), longest)
		if math.Abs(got-want) > 1e-9 {
			t.Fatalf("VUS-PR is %v, taken literally %v", got, want)
		}
	})
}

func TestVUSOfAPerfectDetectorWithoutBuffer(t *testing.T) {
	scores := make([]float64, 100)
	scores[40], scores[41] = 1, 1
	if got := vusPR(scores, []Window{{40, 41}}, 0); math.Abs(got-1) > 1e-12 {
		t.Errorf("VUS-PR is %v, want 1", got)
	}
}

func TestPeriodIsThatOfADay(t *testing.T) {
	v := make([]float64, 2000)
	for i := range v {
		v[i] = math.Sin(2 * math.Pi * float64(i) / 96)
	}
	v[7] = math.NaN()
	if got := period(v); got != 96 {
		t.Errorf("the period is %d rows, want 96", got)
	}
	if got := period(make([]float64, 50)); got != 125 {
		t.Errorf("a flat series has the period %d, want TSB-AD's 125", got)
	}
}

// TestAlarmsAreToldAsIfCountedAnew compares the count kept while rows are added
// in any order with a count of the runs.
func TestAlarmsAreToldAsIfCountedAnew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "rows")
		cut := rapid.IntRange(0, n).Draw(t, "first row of the second series")
		c := counter{at: make([]int64, n), on: make([]bool, n+1), from: make([]int32, n), to: make([]int32, n)}
		for i := range c.at {
			c.at[i] = int64(i) * 3_600_000
		}
		rows := rapid.Permutation(func() []int32 {
			out := make([]int32, n)
			for i := range out {
				out[i] = int32(i)
			}
			return out
		}()).Draw(t, "order")
		for _, row := range rows[:rapid.IntRange(0, n).Draw(t, "added")] {
			c.add(row, row > 0 && int(row) != cut, int(row)+1 < n && int(row)+1 != cut)
		}
		var want int64
		for i := 0; i < n; {
			if !c.on[i] {
				i++
				continue
			}
			hours := int64(0)
			for i++; i < n && c.on[i] && i != cut; i++ {
				hours++
			}
			want += 1 + hours/4
		}
		if c.alarms != want {
			t.Fatalf("%d alarms, counted anew %d", c.alarms, want)
		}
	})
}
