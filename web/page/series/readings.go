package series

import (
	"encoding/csv"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/web/chrome"
)

// row is a time that is drawn; without a reading it is a gap.
type row struct {
	at      int64
	reading *detect.Reading
}

// drawn returns at most about maxDrawn rows: of every stretch those with the
// least and the greatest value of each feature and the greatest score, and a
// gap wherever more than three usual steps, and three minutes, are missing.
func drawn(readings []detect.Reading, features int) []row {
	per := max(1, (len(readings)*(2*features+1)+maxDrawn-1)/maxDrawn)
	if len(readings) <= maxDrawn {
		per = 1
	}
	var out []row
	most := gapAfter(readings)
	for i := 0; i < len(readings); i += per {
		part := readings[i:min(i+per, len(readings))]
		for _, k := range telling(part, features) {
			r := &part[k]
			if n := len(out); n > 0 && r.At-out[n-1].at > max(most, int64(per)*most/3) {
				out = append(out, row{at: out[n-1].at + 1})
			}
			out = append(out, row{r.At, r})
		}
	}
	return out
}

// gapAfter is the distance of readings, in milliseconds, beyond which there is
// a gap.
func gapAfter(readings []detect.Reading) int64 {
	steps := make([]int64, 0, len(readings))
	for i := 1; i < len(readings); i++ {
		steps = append(steps, readings[i].At-readings[i-1].At)
	}
	if len(steps) == 0 {
		return math.MaxInt64 / 4
	}
	slices.Sort(steps)
	return 3 * max(steps[len(steps)/2], time.Minute.Milliseconds())
}

// telling returns the places of the readings that a stretch is drawn by.
func telling(part []detect.Reading, features int) []int {
	if len(part) == 1 {
		return []int{0}
	}
	var out []int
	extreme := func(value func(r *detect.Reading) float32, sign float32) {
		at := -1
		for i := range part {
			v := value(&part[i])
			if v == v && (at < 0 || sign*v > sign*value(&part[at])) {
				at = i
			}
		}
		if at >= 0 {
			out = append(out, at)
		}
	}
	for k := range features {
		extreme(func(r *detect.Reading) float32 { return r.Values[k] }, 1)
		extreme(func(r *detect.Reading) float32 { return r.Values[k] }, -1)
	}
	extreme(func(r *detect.Reading) float32 { return r.Raw }, 1)
	slices.Sort(out)
	return slices.Compact(out)
}

// csv serves every reading of the range.
func (p *Page) csv(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	o, _, err := p.read(r, v.Now)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="readings.csv"`)
	w.Header().Set("Cache-Control", "private, no-cache")
	out := csv.NewWriter(w)
	head := []string{"timestamp", "score", "raw", "threshold", "grade"}
	for _, f := range o.Features {
		for _, what := range []string{"", " expected", " low", " high"} {
			head = append(head, chrome.Inert(f.Name+what))
		}
	}
	_ = out.Write(head)
	cell := func(v float32) string {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return ""
		}
		return strconv.FormatFloat(float64(v), 'g', -1, 32)
	}
	for _, x := range o.Readings {
		line := []string{time.UnixMilli(x.At).UTC().Format(time.RFC3339), cell(x.Score), cell(x.Raw), cell(x.Threshold), cell(x.Grade)}
		for k := range o.Features {
			line = append(line, cell(x.Values[k]), cell(x.Expected[k]), cell(x.Low[k]), cell(x.High[k]))
		}
		_ = out.Write(line)
	}
	out.Flush() // a reader who went away is no error
	return nil
}
