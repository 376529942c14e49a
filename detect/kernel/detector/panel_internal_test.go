package detector

import "testing"

func TestForestsAreSharedWhereTheySeeTheSame(t *testing.T) {
	f := func(features int, a, b string, want bool) {
		t.Helper()
		p, err := NewPanel([]string{a, b}, Settings{Features: features, Tier: Small})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.models[0].grove == p.models[1].grove; got != want {
			t.Errorf("%s and %s with %d features share their forests: %v, want %v", a, b, features, got, want)
		}
	}
	f(1, "default", "rcf", true)
	f(2, "default", "rcf", false) // a missing value is filled in by each for itself
	f(1, "default", "percentile", false)
	f(1, "zscore", "mad", false)
}
