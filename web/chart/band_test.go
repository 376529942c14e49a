package chart_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chart"
)

// banded is a chart of values with a band from low to high throughout.
func banded(low, high float64, values ...float64) chart.Chart {
	edge := func(v float64) []ops.Point {
		out := points(values...)
		for i := range out {
			out[i].Value = v
		}
		return out
	}
	line := points(values...)
	b := chart.Band{Name: "band", Low: edge(low), High: edge(high)}
	return chart.Chart{
		From: noon, To: noon.Add(time.Duration(len(values)) * time.Minute), Band: &b,
		Lines: []chart.Line{
			{Name: "actual", Points: line},
			{Name: "expected", Points: edge((low + high) / 2), Style: chart.Expected},
			{Name: "outside", Points: chart.Beyond(line, b), Style: chart.Outside},
		},
	}
}

func TestTheAxisBeginsAtZeroUnlessThatHidesTheBand(t *testing.T) {
	f := func(c chart.Chart, first, last string) {
		t.Helper()
		g := c.Grid()
		if g[0].Label != first || g[len(g)-1].Label != last {
			t.Errorf("the axis is from %s to %s, want %s to %s", g[0].Label, g[len(g)-1].Label, first, last)
		}
		for _, p := range c.Paths() {
			for _, xy := range strings.FieldsFunc(p.D, func(r rune) bool { return r == 'M' }) {
				if strings.Contains(xy, " -") {
					t.Errorf("the line %s leaves the drawing: %s", p.Class, p.D)
				}
			}
		}
	}
	f(banded(0.2, 0.4, 0.3, 0.9), "0", "1")
	f(banded(0.58, 0.64, 0.6, 0.62), "0.58", "0.64")
	f(banded(-4, 4, -1, 6), "−5", "7.5")
	f(banded(-4, 4, 1, 6), "0", "6") // the band is cut off where nothing was measured
	f(banded(70, 70, 70, 70), "60", "80")
	plain := banded(0, 0, 0.6, 0.62)
	plain.Band = nil
	f(plain, "0", "0.8")
}

func TestTheBandEndsWhereItIsNotKnown(t *testing.T) {
	c := banded(0.2, 0.4, 0.3, 0.3, 0.3, 0.3, 0.3)
	c.Band.High[2].Value = math.NaN()
	if d := c.BandPath(); strings.Count(d, "M") != 2 || strings.Count(d, "Z") != 2 {
		t.Errorf("the band is drawn as %s", d)
	}
	var got struct{ Low, High []*float64 }
	text, err := c.JSON()
	if err == nil {
		err = json.Unmarshal([]byte(text), &got)
	}
	if err != nil || len(got.Low) != 5 || got.High[2] != nil || *got.High[3] != 0.4 {
		t.Errorf("the script gets %s, %v", text, err)
	}
}

func TestOutsideIsDrawnWithTheWayThereAndBack(t *testing.T) {
	c := banded(0.2, 0.4, 0.3, 0.3, 0.9, 0.3, 0.3, 0.1)
	nan := 0
	for i, p := range c.Lines[2].Points {
		if math.IsNaN(p.Value) {
			nan++
		} else if p.Value != c.Lines[0].Points[i].Value {
			t.Errorf("point %d is at %v", i, p.Value)
		}
	}
	if nan != 1 {
		t.Errorf("%d points are not drawn, want the first alone", nan)
	}
	if got := c.Paths(); got[0].Class != "s1" || got[1].Class != "exp" || got[2].Class != "out" {
		t.Errorf("the lines are %+v", got)
	}
}

func TestLegendAndTableSayWhatWasExpected(t *testing.T) {
	c := banded(0.2, 0.4, 0.3, 0.9)
	l := c.Legend()
	if len(l.Lines) != 2 || l.Lines[1].Class != "exp" || l.Band != "0.2 to 0.4" {
		t.Errorf("the legend is %+v", l)
	}
	if got := strings.Join(c.Columns(), " "); got != "actual expected low high" {
		t.Errorf("the table has %s", got)
	}
	if row := c.Rows()[0]; strings.Join(row.Values, " ") != "0.9 0.3 0.2 0.4" {
		t.Errorf("the newest row is %+v", row)
	}
	if c.Ends() != nil {
		t.Error("one measured line has a label at its end")
	}
}

func TestNamesStandWhereThereIsRoom(t *testing.T) {
	c := banded(0.2, 0.4, make([]float64, 100)...)
	c.Shades = []chart.Span{
		{From: noon.Add(-time.Hour), To: noon.Add(20 * time.Minute), Name: "patching"},
		{From: noon.Add(50 * time.Minute), To: noon.Add(51 * time.Minute), Name: "anomaly", Hot: true},
		{From: noon.Add(101 * time.Minute), To: noon.Add(110 * time.Minute), Name: "later"},
	}
	b := c.Boxes()
	if len(b) != 2 || b[0].Name != "patching" || b[0].X != "0%" || b[1].Name != "" || !b[1].Hot || b[1].Width != "1%" {
		t.Errorf("the boxes are %+v", b)
	}
}
