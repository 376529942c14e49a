package chart

import (
	"math"
	"time"
)

// Row is one row of the table twin.
type Row struct {
	At     time.Time
	Label  string
	Values []string
}

// Label writes an instant the way the legend and the table do.
func (c *Chart) Label(at time.Time) string {
	if c.Daily {
		return at.UTC().Format("Mon 2 Jan 2006")
	}
	return at.UTC().Format("Mon 2 Jan 15:04:05") + " UTC"
}

// maxRows bounds the table twin; the CSV has all.
const maxRows = 60

type column struct {
	name string
	at   int // place in what merge returns
}

// columns are the columns of the table twin.
func (c *Chart) columns() []column {
	var out []column
	for i, l := range c.Lines {
		if l.Style != Outside {
			out = append(out, column{l.Name, i})
		}
	}
	if n := len(c.Lines); c.Band != nil {
		out = append(out, column{"low", n}, column{"high", n + 1})
	}
	return out
}

// Columns returns the headings of the values in the table twin.
func (c *Chart) Columns() []string {
	var out []string
	for _, x := range c.columns() {
		out = append(out, x.name)
	}
	return out
}

// Rows returns the table twin, newest first, at most maxRows evenly spread.
func (c *Chart) Rows() []Row {
	xs, cols := c.merge()
	shown := c.columns()
	per := max(1, (len(xs)+maxRows-1)/maxRows)
	var out []Row
	for i := len(xs) - 1; i >= 0; i -= per {
		at := time.UnixMilli(xs[i]).UTC()
		r := Row{At: at, Label: c.Label(at)}
		for _, s := range shown {
			text := "–"
			if v := cols[s.at][i]; v != nil {
				text = Number(*v)
			}
			r.Values = append(r.Values, text)
		}
		out = append(out, r)
	}
	return out
}

// Last is the newest value of a line, for the legend.
type Last struct{ Class, Name, Value string }

// Legend returns the time of the newest sample, the newest value of each line,
// and of the band.
func (c *Chart) Legend() (out struct {
	When  string
	Lines []Last
	Band  string
},
) {
	var newest time.Time
	for i, l := range c.Lines {
		if l.Style == Outside {
			continue
		}
		v := "–"
		if n := len(l.Points); n > 0 {
			p := l.Points[n-1]
			v = c.Value(p.Value)
			if p.At.After(newest) {
				newest = p.At
			}
		}
		out.Lines = append(out.Lines, Last{c.class(i), l.Name, v})
	}
	if c.Band != nil {
		out.Band = "–"
		if n := len(c.Band.Low); n > 0 {
			out.Band = Between(c.Band.Low[n-1].Value, c.Band.High[n-1].Value)
		}
	}
	if !newest.IsZero() {
		out.When = c.Label(newest)
	}
	return out
}

// Between writes the span from low to high.
func Between(low, high float64) string {
	if math.IsNaN(low) || math.IsNaN(high) {
		return "–"
	}
	return Number(low) + " to " + Number(high)
}

// Value writes a value with its unit.
func (c *Chart) Value(v float64) string {
	if c.Unit == "" || c.Daily {
		return Number(v)
	}
	return Number(v) + " " + c.Unit
}
