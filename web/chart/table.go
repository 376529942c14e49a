package chart

import (
	"fmt"
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

// Rows returns the table twin, newest first, at most maxRows evenly spread.
func (c *Chart) Rows() []Row {
	xs, cols := c.merge()
	per := max(1, (len(xs)+maxRows-1)/maxRows)
	var out []Row
	for i := len(xs) - 1; i >= 0; i -= per {
		at := time.UnixMilli(xs[i]).UTC()
		r := Row{At: at, Label: c.Label(at)}
		for _, col := range cols {
			text := "–"
			if col[i] != nil {
				text = Number(*col[i])
			}
			r.Values = append(r.Values, text)
		}
		out = append(out, r)
	}
	return out
}

// Last is the newest value of a line, for the legend.
type Last struct{ Class, Name, Value string }

// Legend returns the time of the newest sample and the newest value of each line.
func (c *Chart) Legend() (out struct {
	When  string
	Lines []Last
},
) {
	var newest time.Time
	for i, l := range c.Lines {
		v := "–"
		if n := len(l.Points); n > 0 {
			p := l.Points[n-1]
			v = c.Value(p.Value)
			if p.At.After(newest) {
				newest = p.At
			}
		}
		out.Lines = append(out.Lines, Last{fmt.Sprintf("s%d", i+1), l.Name, v})
	}
	if !newest.IsZero() {
		out.When = c.Label(newest)
	}
	return out
}

// Value writes a value with its unit.
func (c *Chart) Value(v float64) string {
	if c.Unit == "" || c.Daily {
		return Number(v)
	}
	return Number(v) + " " + c.Unit
}
