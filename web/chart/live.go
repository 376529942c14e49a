package chart

import (
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/fettleops/fettle/ops"
)

// merge puts all lines, and both edges of the band behind them, on one axis of time, in milliseconds.
func (c *Chart) merge() (xs []int64, cols [][]*float64) {
	place := map[int64]int{}
	lines := c.all()
	thin := make([][]ops.Point, len(lines))
	for i, l := range lines {
		thin[i] = Thin(l.Points, maxPoints)
		for _, p := range thin[i] {
			if ms := p.At.UnixMilli(); place[ms] == 0 {
				place[ms] = 1
				xs = append(xs, ms)
			}
		}
	}
	slices.Sort(xs)
	for i, ms := range xs {
		place[ms] = i
	}
	cols = make([][]*float64, len(lines))
	for i := range lines {
		cols[i] = make([]*float64, len(xs))
		for _, p := range thin[i] {
			if !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) {
				cols[i][place[p.At.UnixMilli()]] = &p.Value
			}
		}
	}
	return xs, cols
}

// JSON returns the numbers for the script, times in seconds.
func (c *Chart) JSON() (string, error) {
	type mark struct {
		N  int     `json:"n"`
		At float64 `json:"at"`
	}
	type line struct {
		Name   string     `json:"name"`
		Class  string     `json:"class"`
		Values []*float64 `json:"values"`
	}
	type shade struct {
		From float64 `json:"from"`
		To   float64 `json:"to"`
		Hot  bool    `json:"hot"`
		Name string  `json:"name"`
	}
	low, high, step := c.scale()
	out := struct {
		X      []float64  `json:"x"`
		Lines  []line     `json:"lines"`
		Low    []*float64 `json:"low,omitempty"`
		High   []*float64 `json:"high,omitempty"`
		From   float64    `json:"from"`
		To     float64    `json:"to"`
		Bottom float64    `json:"bottom"`
		Top    float64    `json:"top"`
		Step   float64    `json:"step"`
		Height int        `json:"height"`
		Unit   string     `json:"unit"`
		Daily  bool       `json:"daily"`
		Limit  *float64   `json:"limit"`
		Shades []shade    `json:"shades"`
		Marks  []mark     `json:"marks"`
	}{
		X: []float64{}, From: secs(c.From), To: secs(c.To), Bottom: low, Top: high, Step: step, Height: c.Tall(),
		Unit: c.Unit, Daily: c.Daily, Limit: c.Limit, Shades: []shade{}, Marks: []mark{},
	}
	xs, cols := c.merge()
	for _, ms := range xs {
		out.X = append(out.X, float64(ms)/1000)
	}
	for i, l := range c.Lines {
		out.Lines = append(out.Lines, line{l.Name, c.class(i), cols[i]})
	}
	if n := len(c.Lines); c.Band != nil {
		out.Low, out.High = cols[n], cols[n+1]
	}
	for _, s := range c.Shades {
		out.Shades = append(out.Shades, shade{secs(s.From), secs(s.To), s.Hot, s.Name})
	}
	for _, m := range c.Marks {
		out.Marks = append(out.Marks, mark{m.N, secs(m.At)})
	}
	b, err := json.Marshal(out)
	return string(b), err
}

func secs(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
