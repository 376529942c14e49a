package shift

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// A stretch reads as if it had been sorted by itself.
func TestAStretchIsSorted(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var o order
	for range 200 {
		points := make([]float64, 1+r.IntN(300))
		for i := range points {
			switch r.IntN(8) {
			case 0:
				points[i] = math.NaN()
			case 1:
				points[i] = float64(r.IntN(3)) // many alike
			default:
				points[i] = r.NormFloat64()
			}
		}
		o.of(points)
		for range 20 {
			a := r.IntN(len(points))
			b := a + 1 + r.IntN(len(points)-a)
			want := slices.DeleteFunc(slices.Clone(points[a:b]), math.IsNaN)
			slices.Sort(want)
			if 2*len(want) < b-a {
				want = nil
			}
			if got := o.stretch(a, b, nil); !slices.Equal(got, want) || (got == nil) != (want == nil) {
				t.Fatalf("stretch %d to %d of %v:\n got %v\nwant %v", a, b, points, got, want)
			}
		}
	}
}
