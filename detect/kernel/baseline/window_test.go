package baseline

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The window is compared with sorting all it holds, each time.
func TestWindowIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 20).Draw(t, "size")
		values := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(-1e9, 1e9), rapid.SampledFrom([]float64{0, 1, 2, 1e150})), 1, 80).Draw(t, "values")
		w := newWindow(size)
		var last []float64
		for _, v := range values {
			if rapid.IntRange(0, 15).Draw(t, "keep") == 0 {
				n := rapid.IntRange(0, size).Draw(t, "n")
				w.keep(n)
				last = last[max(0, len(last)-n):]
			}
			w.push(v)
			last = append(last, v)
			last = last[max(0, len(last)-size):]

			sorted := slices.Sorted(slices.Values(last))
			if !slices.Equal(w.sorted, sorted) {
				t.Fatalf("sorted %v, want %v", w.sorted, sorted)
			}
			m := middle(sorted)
			if got := w.median(); got != m {
				t.Fatalf("median %v, want %v", got, m)
			}
			distances := make([]float64, len(last))
			sum := 0.0
			for i, x := range last {
				distances[i] = math.Abs(x - m)
				sum += distances[i]
			}
			slices.Sort(distances)
			for k, want := range distances {
				if got := w.nearest(k, m); got != want {
					t.Fatalf("distance %d of %v to %v is %v, want %v", k, sorted, m, got, want)
				}
			}
			want := 1.4826 * middle(distances)
			if want == 0 {
				want = 1.2533 * sum / float64(len(last))
			}
			if got := w.spread(m); math.Abs(got-want) > 1e-9*want {
				t.Fatalf("spread %v, want %v", got, want)
			}
		}
	})
}

func TestQuantile(t *testing.T) {
	f := func(q, want float64, sorted ...float64) {
		t.Helper()
		if got := quantile(sorted, q); math.Abs(got-want) > 1e-12 {
			t.Errorf("quantile(%v, %v) = %v, want %v", sorted, q, got, want)
		}
	}
	f(0.5, 3, 3)
	f(0, 1, 1, 2, 3)
	f(1, 3, 1, 2, 3)
	f(0.5, 2, 1, 2, 3)
	f(0.1, 1.2, 1, 2, 3)
	f(0.9, 9.1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
}

func TestAveragePrecisionAndROC(t *testing.T) {
	f := func(scores []float64, positive []bool, ap, auc float64) {
		t.Helper()
		if got := averagePrecision(scores, positive); math.Abs(got-ap) > 1e-12 {
			t.Errorf("average precision of %v %v = %v, want %v", scores, positive, got, ap)
		}
		if got := areaUnderROC(scores, positive); math.Abs(got-auc) > 1e-12 {
			t.Errorf("area under ROC of %v %v = %v, want %v", scores, positive, got, auc)
		}
	}
	yes, no := true, false
	f([]float64{3, 2, 1}, []bool{yes, no, no}, 1, 1)
	f([]float64{3, 2, 1}, []bool{no, yes, no}, 0.5, 0.5)
	f([]float64{3, 2, 1}, []bool{no, no, yes}, 1./3, 0)
	f([]float64{1, 1, 1, 1}, []bool{no, yes, no, no}, 0.25, 0.5) // ties are one step
	f([]float64{4, 3, 2, 1}, []bool{yes, no, yes, no}, (1+2./3)/2, 0.75)
	f([]float64{1, 2}, []bool{no, no}, 0, 0.5)
	f([]float64{1, 2}, []bool{yes, yes}, 1, 0.5)
}
