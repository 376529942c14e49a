package threshold

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestDebounceHalvesWhatIsNoNewPeak(t *testing.T) {
	f := func(hold int, scores, want []float64) {
		t.Helper()
		d := must(NewDebounce(DebounceSettings{Hold: hold}))
		var got []float64
		for _, s := range scores {
			got = append(got, d.Update(s, false))
		}
		if !slices.Equal(got, want) {
			t.Errorf("hold %d: %v becomes %v, want %v", hold, scores, got, want)
		}
	}
	f(3, []float64{1, 2, 2, 4, 3, 3, 3, 3.5, 3}, []float64{1, 2, 1, 4, 1.5, 1.5, 1.5, 3.5, 1.5})
	f(1, []float64{1, 2, 1, 2, 2}, []float64{1, 2, 0.5, 2, 1})
	f(50, []float64{5, 0, 0}, []float64{5, 0, 0})
}

func TestDebounceIsTheMaximumOfTheLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hold := rapid.IntRange(1, 12).Draw(t, "hold")
		scores := rapid.SliceOfN(rapid.Float64Range(0, 4), 1, 80).Draw(t, "scores")
		d := must(NewDebounce(DebounceSettings{Hold: hold, Factor: 0.25}))
		for i, s := range scores {
			want := s
			if last := scores[max(0, i-hold):i]; len(last) > 0 && s <= slices.Max(last) {
				want = s / 4
			}
			if got := d.Update(s, false); got != want {
				t.Fatalf("score %d of %v is %v, want %v", i, scores, got, want)
			}
		}
	})
}

func TestDebounceRefusesSettings(t *testing.T) {
	f := func(s DebounceSettings, ok bool) {
		t.Helper()
		if _, err := NewDebounce(s); (err == nil) != ok {
			t.Errorf("NewDebounce(%+v): error %v", s, err)
		}
	}
	f(DebounceSettings{}, true)
	f(DebounceSettings{Hold: -1}, false)
	f(DebounceSettings{Factor: 1.5}, false)
}
