// Package chart computes a line chart as the parts of one fluid SVG: horizontal
// places in percent, vertical ones in pixels, so that no style attribute is
// needed. The same numbers go to the script that draws the live chart over it,
// and to the table twin beside it.
package chart

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Line is one series of a chart. A NaN value is a gap. The lines of one chart
// have their points at the same times.
type Line struct {
	Name   string
	Points []ops.Point
	Style  Style // of a line that is not measured
}

// Style is how a line is drawn that is not one of the measured series.
type Style string

// The styles. Measured is a series of its own; the others say something about
// the first one.
const (
	Measured  Style = ""
	Expected  Style = "exp"
	Threshold Style = "limit"
	Outside   Style = "out" // the part outside the band, drawn over the first line; not in legend and table
)

// Mark is a numbered instant. Its number returns in the caption and the trail.
type Mark struct {
	N    int
	At   time.Time
	Text string
	Key  string // of the record it leads to
	URL  string
}

// Span is a shaded stretch of time.
type Span struct {
	From, To time.Time
	Hot      bool   // an incident or an anomaly, not a remark
	Name     string // written into the stretch where there is room
}

// Zoom holds the links that change the range without script. An empty link is
// not shown.
type Zoom struct{ In, Out, Reset, Earlier, Later string }

// Chart is a line chart of at most MaxLines series over [From, To].
type Chart struct {
	ID        string
	Title     string
	Finding   string // one sentence that says what the chart shows
	Unit      string // as people write it, shown once on the top line
	From, To  time.Time
	Whole     bool // values are counts: no line between two of them
	Daily     bool // points stand for days; labels are dates
	Lines     []Line
	Band      *Band
	Limit     *float64 // threshold line
	LimitName string
	Shades    []Span
	Marks     []Mark
	Caption   string
	Zoom      Zoom
	CSV       string
	Height    int  // in pixels, Height when zero
	Above     bool // the markers are explained by the figure above
	Pick      bool // a span can be selected and summed up
	Hint      bool // the reader is told how
}

// MaxLines is how many series a reader can tell apart.
const MaxLines = 3

// The drawing's vertical measures in pixels.
const (
	Height = 240
	top    = 14
	foot   = 22 // below the lowest line
)

// maxPoints bounds the points of a line that are drawn; more are thinned so
// that every peak and trough stays.
const maxPoints = 720

// Thin returns at most about n points, keeping the least and the greatest of
// every stretch.
func Thin(points []ops.Point, n int) []ops.Point {
	if len(points) <= n || n < 4 {
		return points
	}
	per := (len(points)*2 + n - 1) / n
	out := make([]ops.Point, 0, n+2)
	for i := 0; i < len(points); i += per {
		part := points[i:min(i+per, len(points))]
		low, high := 0, 0
		for k, p := range part {
			if p.Value < part[low].Value {
				low = k
			}
			if p.Value > part[high].Value {
				high = k
			}
		}
		keep := []int{low, high}
		if gap := slices.IndexFunc(part, func(p ops.Point) bool { return math.IsNaN(p.Value) }); gap >= 0 {
			keep = append(keep, gap)
		}
		slices.Sort(keep)
		for _, k := range slices.Compact(keep) {
			out = append(out, part[k])
		}
	}
	return out
}

// Gaps returns points with a NaN wherever more than three usual steps are
// missing, so that a gap stays a gap and never becomes a line.
func Gaps(points []ops.Point) []ops.Point {
	if len(points) < 3 {
		return points
	}
	steps := make([]time.Duration, len(points)-1)
	for i := range steps {
		steps[i] = points[i+1].At.Sub(points[i].At)
	}
	slices.Sort(steps)
	usual := steps[len(steps)/2]
	out := make([]ops.Point, 0, len(points)+4)
	for i, p := range points {
		if i > 0 && usual > 0 && p.At.Sub(points[i-1].At) > 3*usual {
			out = append(out, ops.Point{At: points[i-1].At.Add(usual), Value: math.NaN()})
		}
		out = append(out, p)
	}
	return out
}

// Scale returns the greatest value of the vertical axis and its step, both
// round numbers, for values up to high. The axis begins at zero.
func Scale(high float64) (limit, step float64) {
	if high <= 0 || math.IsNaN(high) || math.IsInf(high, 0) {
		return 4, 1
	}
	raw := high / 4
	mag := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		step = m * mag
		if step >= raw*0.999999 {
			break
		}
	}
	return step * math.Ceil(high/step*0.999999), step
}

// extent returns the least and the greatest value that is drawn. What was
// never measured below zero is not drawn there either: a band does not know
// that a share cannot be negative.
func (c *Chart) extent() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	measured := math.Inf(1)
	lines := c.all()
	for i, l := range lines {
		for _, p := range l.Points {
			if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) {
				continue
			}
			low, high = math.Min(low, p.Value), math.Max(high, p.Value)
			if i < len(c.Lines) && l.Style == Measured {
				measured = math.Min(measured, p.Value)
			}
		}
	}
	if measured >= 0 && low < 0 && high > 0 {
		low = 0
	}
	if c.Limit != nil {
		low, high = math.Min(low, *c.Limit), math.Max(high, *c.Limit)
	}
	return low, high
}

// scale returns both ends of the vertical axis and its step. The axis begins
// at zero, unless values are negative, or there is a band and all of it would
// be pressed into less than the upper third.
func (c *Chart) scale() (low, high, step float64) {
	least, most := c.extent()
	if least < 0 || c.Band != nil && least > 0 && most-least < most/3 {
		return around(least, most)
	}
	high, step = Scale(most)
	if c.Whole && step < 1 {
		return 0, 4, 1
	}
	return 0, high, step
}

// bottom is the height of the lowest gridline.
func (c *Chart) bottom() float64 { return float64(c.Tall() - foot) }

// Tall returns the height of the drawing in pixels.
func (c *Chart) Tall() int { return cmp.Or(c.Height, Height) }

// Floor returns the height of the lowest gridline in pixels.
func (c *Chart) Floor() int { return c.Tall() - foot }

// Plot returns the height between the lowest and the highest gridline.
func (c *Chart) Plot() int { return c.Tall() - foot - top }

// TickY returns the height of the labels of the horizontal axis.
func (c *Chart) TickY() int { return c.Tall() - 5 }

// NameY returns the height of the names of shaded stretches.
func (c *Chart) NameY() int { return c.Floor() - 6 }

// y returns the height of a value; what is beyond the axis stands at its end.
func (c *Chart) y(v, low, high float64) float64 {
	v = math.Min(math.Max(v, low), high)
	return c.bottom() - (v-low)/(high-low)*(c.bottom()-top)
}

func (c *Chart) x(at time.Time) float64 {
	span := c.To.Sub(c.From)
	if span <= 0 {
		return 0
	}
	return math.Min(100, math.Max(0, float64(at.Sub(c.From))/float64(span)*100))
}

func pct(v float64) string { return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) + "%" }

func px(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// Number writes a value the way axes and tables do: at most three decimals, a
// true minus sign, thousands in groups.
func Number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	digits := 0
	switch a := math.Abs(v); {
	case a < 1:
		digits = 3
	case a < 10:
		digits = 2
	case a < 100:
		digits = 1
	}
	s := strconv.FormatFloat(math.Abs(v), 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	whole, frac, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if frac != "" {
		whole += "." + frac
	}
	if v < 0 && whole != "0" {
		whole = "−" + whole
	}
	return whole
}

// GridLine is one horizontal line with its label on it.
type GridLine struct{ Y, LabelY, Label string }

// Grid returns the horizontal lines, the unit on the topmost.
func (c *Chart) Grid() []GridLine {
	low, high, step := c.scale()
	var out []GridLine
	for v := low; v <= high+step/2; v += step {
		y := c.y(v, low, high)
		label := Number(v)
		if v+step > high+step/2 && c.Unit != "" {
			label += " " + c.Unit
		}
		out = append(out, GridLine{px(y), px(y - 4), label})
	}
	return out
}

// Path is one line's drawing in a box of 1000 by Height.
type Path struct{ Class, D string }

// Paths returns the drawing of each line. Gaps interrupt it.
func (c *Chart) Paths() []Path {
	low, high, _ := c.scale()
	var out []Path
	for i, l := range c.Lines {
		var b strings.Builder
		pen := false
		for _, p := range Thin(l.Points, maxPoints) {
			if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) {
				pen = false
				continue
			}
			verb := " "
			if !pen {
				verb = "M"
			}
			b.WriteString(verb + px(c.x(p.At)*10) + " " + px(c.y(p.Value, low, high)))
			pen = true
		}
		out = append(out, Path{c.class(i), b.String()})
	}
	return out
}

// End is a label at the last point of a line.
type End struct{ Y, Label string }

// Ends returns the labels of the lines' last values, moved apart so that none
// covers another.
func (c *Chart) Ends() []End {
	if c.measured() < 2 {
		return nil
	}
	low, high, _ := c.scale()
	type place struct {
		y     float64
		label string
	}
	var places []place
	for _, l := range c.Lines {
		if n := len(l.Points); l.Style == Measured && n > 0 && !math.IsNaN(l.Points[n-1].Value) {
			v := l.Points[n-1].Value
			places = append(places, place{c.y(v, low, high) - 7, l.Name + " " + Number(v)})
		}
	}
	slices.SortStableFunc(places, func(a, b place) int { return int(a.y - b.y) })
	out := make([]End, len(places))
	last := math.Inf(-1)
	for i, p := range places {
		y := math.Max(p.y, last+14)
		last = y
		out[i] = End{px(y), p.label}
	}
	return out
}

// LimitY returns the height of the threshold line, empty when there is none.
func (c *Chart) LimitY() string {
	if c.Limit == nil {
		return ""
	}
	low, high, _ := c.scale()
	return px(c.y(*c.Limit, low, high))
}

// LimitValue returns the threshold, zero when there is none.
func (c *Chart) LimitValue() float64 {
	if c.Limit == nil {
		return 0
	}
	return *c.Limit
}

// LimitLabelY returns the height of the threshold's label.
func (c *Chart) LimitLabelY() string {
	low, high, _ := c.scale()
	y := c.y(*c.Limit, low, high) - 5
	if y < top+12 {
		y += 18 // below its line, off the disc of a marker
	}
	return px(y)
}

// Tick is one label of the horizontal axis. Alt ticks are left out where
// there is little room.
type Tick struct {
	X, Anchor, Label string
	Alt              bool
}

// Ticks returns seven labels of the horizontal axis; the last names the zone.
func (c *Chart) Ticks() []Tick {
	const n = 6
	form := "15:04"
	switch span := c.To.Sub(c.From); {
	case c.Daily || span > 8*24*time.Hour:
		form = "2 Jan"
	case span > 26*time.Hour:
		form = "2 Jan 15:04"
	}
	var out []Tick
	for i := range n + 1 {
		at := c.From.Add(c.To.Sub(c.From) * time.Duration(i) / n).UTC()
		t := Tick{X: pct(float64(i) * 100 / n), Anchor: "middle", Label: at.Format(form), Alt: i%2 == 1}
		switch i {
		case 0:
			t.Anchor = "start"
		case n:
			t.Anchor = "end"
			if !c.Daily {
				t.Label += " UTC"
			}
		}
		out = append(out, t)
	}
	return out
}

// Box is a shaded stretch in the drawing.
type Box struct {
	X, Width string
	Hot      bool
	Name     string // empty where there is no room for it
}

// roomFor is the share of the width, in percent, that a stretch needs to carry
// its name.
const roomFor = 10

// Boxes returns the shaded stretches that lie in the range.
func (c *Chart) Boxes() []Box {
	var out []Box
	for _, s := range c.Shades {
		if !s.From.Before(c.To) || !s.To.After(c.From) {
			continue
		}
		a, b := c.x(s.From), c.x(s.To)
		box := Box{pct(a), pct(math.Max(b-a, 0.3)), s.Hot, s.Name}
		if b-a < roomFor {
			box.Name = ""
		}
		out = append(out, box)
	}
	return out
}

// Flag is a marker in the drawing.
type Flag struct {
	X string
	N int
}

// Flags returns the markers that lie in the range.
func (c *Chart) Flags() []Flag {
	var out []Flag
	for _, m := range c.Marks {
		if !m.At.Before(c.From) && !m.At.After(c.To) {
			out = append(out, Flag{pct(c.x(m.At)), m.N})
		}
	}
	return out
}
