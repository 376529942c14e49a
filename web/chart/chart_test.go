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

var noon = time.Date(2026, 11, 19, 12, 0, 0, 0, time.UTC)

func points(values ...float64) []ops.Point {
	out := make([]ops.Point, len(values))
	for i, v := range values {
		out[i] = ops.Point{At: noon.Add(time.Duration(i) * time.Minute), Value: v}
	}
	return out
}

func TestNumber(t *testing.T) {
	f := func(v float64, want string) {
		t.Helper()
		if got := chart.Number(v); got != want {
			t.Errorf("Number(%v) = %q, want %q", v, got, want)
		}
	}
	f(0, "0")
	f(0.97, "0.97")
	f(-4, "−4")
	f(10080, "10,080")
	f(1234567.8, "1,234,568")
	f(-0.0001, "0")
	f(99.95, "100")
	f(math.NaN(), "–")
	f(math.Inf(1), "–")
}

func TestScaleIsRoundAndHoldsEveryValue(t *testing.T) {
	for _, v := range []float64{1e-9, 0.003, 0.97, 1, 7, 99, 100, 101, 870, 41_180, 3e12} {
		limit, step := chart.Scale(v)
		if limit < v*0.99999 || limit > v*2.6 || math.Round(limit/step) > 5 {
			t.Errorf("Scale(%v) = %v by %v", v, limit, step)
		}
	}
	for _, v := range []float64{0, -3, math.NaN(), math.Inf(1)} {
		if limit, step := chart.Scale(v); limit != 4 || step != 1 {
			t.Errorf("Scale(%v) = %v by %v", v, limit, step)
		}
	}
}

func TestCountsHaveNoLinesBetweenThem(t *testing.T) {
	c := chart.Chart{Whole: true, From: noon, To: noon.Add(time.Hour), Lines: []chart.Line{{Name: "a", Points: points(1, 2)}}}
	if g := c.Grid(); len(g) != 5 || g[1].Label != "1" {
		t.Errorf("the grid is %+v", g)
	}
}

func TestThinKeepsPeaksAndGaps(t *testing.T) {
	in := make([]float64, 10_000)
	in[3333], in[7000], in[5000] = 9, -9, math.NaN()
	out := chart.Thin(points(in...), 100)
	var high, low, gap bool
	for i, p := range out {
		high, low, gap = high || p.Value == 9, low || p.Value == -9, gap || math.IsNaN(p.Value)
		if i > 0 && !p.At.After(out[i-1].At) {
			t.Fatal("the points are out of order")
		}
	}
	if !high || !low || !gap || len(out) > 160 {
		t.Errorf("of 10,000 points %d stay; peak %v, trough %v, gap %v", len(out), high, low, gap)
	}
}

func TestAGapIsAGap(t *testing.T) {
	in := points(1, 1, 1, 1)
	in[3].At = noon.Add(time.Hour)
	c := chart.Chart{From: noon, To: noon.Add(time.Hour), Lines: []chart.Line{{Name: "a", Points: chart.Gaps(in)}}}
	if d := c.Paths()[0].D; strings.Count(d, "M") != 2 {
		t.Errorf("the line is drawn as %s", d)
	}
	text, err := c.JSON()
	if err != nil || !strings.Contains(text, "null") {
		t.Errorf("the script gets %s, %v", text, err)
	}
}

func TestTheScriptGetsWhatTheServerDraws(t *testing.T) {
	limit := 3.0
	c := chart.Chart{
		From: noon, To: noon.Add(10 * time.Minute), Unit: "ms", Limit: &limit, LimitName: "threshold",
		Lines:  []chart.Line{{Name: "a", Points: points(1, 2, 5)}, {Name: "b", Points: points(math.Inf(1), 4)}},
		Shades: []chart.Span{{From: noon.Add(5 * time.Minute), To: noon.Add(20 * time.Minute)}},
		Marks:  []chart.Mark{{N: 1, At: noon.Add(time.Minute)}, {N: 2, At: noon.Add(time.Hour)}},
	}
	text, err := c.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		X     []float64
		Top   float64
		Lines []struct{ Values []*float64 }
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.X) != 3 || got.Lines[1].Values[0] != nil || *got.Lines[1].Values[1] != 4 || got.Top < 5 {
		t.Errorf("the script gets %s", text)
	}
	if b := c.Boxes(); len(b) != 1 || b[0].X != "50%" || b[0].Width != "50%" {
		t.Errorf("the shade is %+v", b)
	}
	if f := c.Flags(); len(f) != 1 || f[0].X != "10%" {
		t.Errorf("the flags are %+v", f)
	}
	if rows := c.Rows(); len(rows) != 3 || rows[0].Values[0] != "5" || rows[0].Values[1] != "–" {
		t.Errorf("the table is %+v", rows)
	}
	if grid := c.Grid(); !strings.HasSuffix(grid[len(grid)-1].Label, " ms") || strings.Contains(grid[0].Label, "ms") {
		t.Errorf("the grid is %+v", grid)
	}
	if ticks := c.Ticks(); ticks[6].Label != "12:10 UTC" {
		t.Errorf("the ticks are %+v", ticks)
	}
}

func TestDigestMark(t *testing.T) {
	a, b := chart.Bars("fe83177c6097449b00"), chart.Bars("fe83177c6097449bff")
	if len(a) != 16 || a[0].Height != 16 || a[2].Height != 9 || a[15] != b[15] {
		t.Errorf("the bars are %v", a)
	}
	if chart.Bars("short") != nil || chart.Bars(strings.Repeat("x", 64)) != nil {
		t.Error("what is no digest has bars")
	}
	if got := chart.Fours("fe83177c6097449b00"); got != "fe83 177c 6097 449b" {
		t.Errorf("in fours it is %q", got)
	}
}
