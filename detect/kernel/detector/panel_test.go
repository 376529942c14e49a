package detector_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/detect/kernel/detector"
)

// TestPanelReadsAsEachAlone: sharing saves time and changes no bit of a reading,
// whatever the stream has in it.
func TestPanelReadsAsEachAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := draw(t)
		names := rapid.SliceOfNDistinct(rapid.SampledFrom(detector.Names()), 1, 2, rapid.ID[string]).Draw(t, "names")
		for _, shipped := range []string{"default", "rcf"} {
			if !slices.Contains(names, shipped) {
				names = append(names, shipped)
			}
		}
		panel, err := detector.NewPanel(names, c.settings)
		if err != nil {
			t.Fatal(err)
		}
		got := make([][]string, len(names))
		readings := make([]detector.Reading, len(names))
		for _, p := range c.points {
			if err := panel.Process(p, readings); err != nil {
				t.Fatal(err)
			}
			for i := range readings {
				got[i] = append(got[i], text(&readings[i]))
			}
		}
		for i, name := range names {
			equal(t, got[i], read(t, build(t, name, c.settings), c.points), name+" in a panel")
		}
	})
}

func TestPanelRefuses(t *testing.T) {
	f := func(want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	_, err := detector.NewPanel([]string{"rcf", "oracle"}, detector.Settings{Features: 1})
	f(`"oracle" is none of`, err)
	panel, err := detector.NewPanel([]string{"default", "rcf"}, detector.Settings{Features: 1})
	if err != nil {
		t.Fatal(err)
	}
	f("give it 2", panel.Process(detector.Point{Values: []float64{1}}, make([]detector.Reading, 1)))
	f("has 2 values", panel.Process(detector.Point{Values: []float64{1, 2}}, make([]detector.Reading, 2)))
}
