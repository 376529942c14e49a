package chart

import (
	"fmt"
	"math"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// Band is what was expected of the first line: from Low to High, at the times
// of that line. Where either is NaN there is no band.
type Band struct {
	Name      string
	Low, High []ops.Point
}

// all returns the lines and behind them both edges of the band.
func (c *Chart) all() []Line {
	if c.Band == nil {
		return c.Lines
	}
	return append(c.Lines[:len(c.Lines):len(c.Lines)], Line{Points: c.Band.Low}, Line{Points: c.Band.High})
}

// class is the style sheet's name of a line: measured ones are numbered.
func (c *Chart) class(i int) string {
	if s := c.Lines[i].Style; s != Measured {
		return string(s)
	}
	n := 1
	for _, l := range c.Lines[:i] {
		if l.Style == Measured {
			n++
		}
	}
	return fmt.Sprintf("s%d", n)
}

func (c *Chart) measured() int {
	n := 0
	for _, l := range c.Lines {
		if l.Style == Measured {
			n++
		}
	}
	return n
}

// around returns the ends and the step of an axis that need not begin at zero,
// all round numbers.
func around(least, most float64) (low, high, step float64) {
	if most-least < 1e-9*math.Max(math.Abs(most), math.Abs(least)) || most <= least {
		pad := math.Max(math.Abs(most)*0.1, 1e-9)
		least, most = least-pad, most+pad
	}
	_, step = Scale(most - least)
	low, high = step*math.Floor(least/step+1e-6), step*math.Ceil(most/step-1e-6)
	return low, high, step
}

// BandPath returns the drawing of the band in a box of 1000 by the height.
func (c *Chart) BandPath() string {
	if c.Band == nil {
		return ""
	}
	low, high, _ := c.scale()
	var b strings.Builder
	var upper []string
	end := func() {
		for i := len(upper) - 1; i >= 0; i-- {
			b.WriteString(" " + upper[i])
		}
		if upper != nil {
			b.WriteString("Z")
		}
		upper = nil
	}
	for i, p := range c.Band.Low {
		q := c.Band.High[i]
		if math.IsNaN(p.Value) || math.IsNaN(q.Value) {
			end()
			continue
		}
		verb := " "
		if upper == nil {
			verb = "M"
		}
		x := px(c.x(p.At) * 10)
		b.WriteString(verb + x + " " + px(c.y(p.Value, low, high)))
		upper = append(upper, x+" "+px(c.y(q.Value, low, high)))
	}
	end()
	return b.String()
}

// Beyond returns the part of a line that is outside the band, with the way
// there and back, and NaN elsewhere.
func Beyond(line []ops.Point, b Band) []ops.Point {
	out := make([]ops.Point, len(line))
	outside := func(i int) bool {
		return i >= 0 && i < len(line) && (line[i].Value > b.High[i].Value || line[i].Value < b.Low[i].Value)
	}
	for i, p := range line {
		out[i] = ops.Point{At: p.At, Value: math.NaN()}
		if outside(i-1) || outside(i) || outside(i+1) {
			out[i].Value = p.Value
		}
	}
	return out
}
