package detect

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/ops"
)

// Sense is the name anomalies have as an integration in the signal log.
const Sense = "detect"

const (
	// closeAfter is how many normal steps end an anomaly.
	closeAfter = 5
	// sparkSteps is how much of the past an anomaly shows.
	sparkSteps = 60
	// An anomaly is told again when its grade has grown by this much of what was
	// told, and by at least this much.
	growBy, growLeast = 0.25, 0.1
	// maxBlamed bounds the features an alert's text names.
	maxBlamed = 3
)

// silence is how long an entity may say nothing before its anomaly is closed:
// as many steps as would end it, and never less than five minutes.
func silence(step time.Duration) int64 {
	return max(closeAfter*step, 5*time.Minute).Milliseconds()
}

// episode is an anomaly that is open.
type episode struct {
	Anomaly ops.Anomaly `json:"anomaly"`
	Quiet   int         `json:"quiet"` // normal steps since the last anomalous one
	Told    float64     `json:"told"`  // the grade that was told last
}

// life is where a model stands between normal and not. It is a function of
// the model's points and readings alone.
type life struct {
	Open *episode `json:"open,omitempty"`
	Last int64    `json:"last"` // start of the newest step
	Past *past    `json:"past,omitempty"`
}

// step takes a reading into account and returns what there is to tell: at most
// the end of one anomaly and the beginning or growth of another.
func (l *life) step(w *watched, p detector.Point, r *detector.Reading, spark func(feature int) []ops.Point) []telling {
	var out []telling
	step := w.group.step().Milliseconds()
	if l.Open != nil && p.At-l.Last > closeAfter*step {
		out = append(out, l.close("nothing was measured for "+shortDuration(p.At-l.Last)))
	}
	l.Last = p.At
	graded := r.Ready() && r.Grade > 0
	e := l.Open
	switch {
	case graded && e == nil:
		a := ops.Anomaly{
			ID: anomalyID(w.group.Name, w.entity, p.At), Series: w.id, Group: w.group.Name, Entity: w.entity, Detector: w.group.Detector,
			From: time.UnixMilli(p.At).UTC(), Open: true,
		}
		e = &episode{Anomaly: a}
		l.Open = e
		e.grow(w, p, r, step, spark)
		return append(out, e.tell(""))
	case graded:
		e.grow(w, p, r, step, spark)
		if g := e.Anomaly.Grade; g >= e.Told+max(growLeast, growBy*e.Told) {
			return append(out, e.tell(""))
		}
	case e != nil:
		if e.Quiet++; e.Quiet >= closeAfter {
			out = append(out, l.close(fmt.Sprintf("%d steps as expected", closeAfter)))
		}
	}
	return out
}

// grow takes an anomalous step into the episode.
func (e *episode) grow(w *watched, p detector.Point, r *detector.Reading, step int64, spark func(feature int) []ops.Point) {
	a := &e.Anomaly
	e.Quiet = 0
	a.Points++
	a.To = time.UnixMilli(p.At + step).UTC()
	if r.Grade <= a.Grade {
		return
	}
	a.At = time.UnixMilli(p.At).UTC()
	a.Score, a.Grade, a.Confidence = finite(r.Score), finite(r.Grade), finite(r.Confidence)
	a.Features = blamed(w.group, p, r)
	worst := 0
	for i := range r.Blame {
		if r.Blame[i] > r.Blame[worst] {
			worst = i
		}
	}
	a.Spark = spark(worst)
}

// close ends the open episode.
func (l *life) close(why string) telling {
	e := l.Open
	l.Open = nil
	e.Anomaly.Open = false
	return e.tell(why)
}

func (e *episode) tell(why string) telling {
	e.Told = e.Anomaly.Grade
	a := e.Anomaly
	a.Features, a.Spark = slices.Clone(a.Features), slices.Clone(a.Spark)
	return telling{a, why}
}

// telling is an anomaly as it is told, and why it is over when it is.
type telling struct {
	anomaly ops.Anomaly
	why     string
}

// anomalyID names an anomaly so that a replay gives the same name.
func anomalyID(group, entity string, onset int64) string {
	h := sha256.New()
	for _, s := range []string{group, entity} {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(onset)))
	return hex.EncodeToString(h.Sum(nil)[:12])
}

func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// known returns v, or nil where it says nothing.
func known(values []float64, i int) *float64 {
	if i >= len(values) || math.IsNaN(values[i]) || math.IsInf(values[i], 0) {
		return nil
	}
	v := values[i]
	return &v
}

// blamed lists the features of a point, the most to blame first.
func blamed(g *Group, p detector.Point, r *detector.Reading) []ops.FeatureReading {
	out := make([]ops.FeatureReading, 0, len(g.Features))
	for i, f := range g.Features {
		x := ops.FeatureReading{Name: f.Name, Unit: f.Unit, Actual: known(p.Values, i), Expected: known(r.Expected, i), Low: known(r.Low, i), High: known(r.High, i)}
		if i < len(r.Blame) {
			x.Blame = finite(r.Blame[i])
		}
		out = append(out, x)
	}
	slices.SortStableFunc(out, func(a, b ops.FeatureReading) int { return cmp.Compare(b.Blame, a.Blame) })
	return out
}

// alert says an anomaly the way correlation, tickets and people read it.
func (t telling) alert(g *Group, link string) *ops.Alert {
	a := t.anomaly
	rule := ruleOf(a.Group)
	labels := labelsOf(a.Group, a.Entity)
	labels["rule"] = rule
	out := &ops.Alert{
		Fingerprint: FingerprintOf(a.Group, a.Entity),
		Rule:        rule, Severity: g.severity(), State: ops.Firing, StartsAt: a.From, ObservedAt: a.To,
		Resource:   ResourceOf(a.Entity),
		Labels:     labels,
		ExternalID: a.ID,
		Anomaly:    &a,
	}
	if link != "" {
		out.Links = []ops.Link{{Title: "Readings", URL: link}}
	}
	if !a.Open {
		out.State, out.EndsAt = ops.Resolved, a.To
	}
	var lines []string
	for i, f := range a.Features {
		if i == 0 || i < maxBlamed && f.Blame >= 0.2 {
			lines = append(lines, Sentence(f))
		}
	}
	if len(a.Features) > 0 {
		f := a.Features[0]
		out.Title = fmt.Sprintf("%s is unusual on %s", f.Name, a.Entity)
		out.Context = ops.AlertContext{Metric: f.Name, Unit: f.Unit, Value: f.Actual}
		labels["feature"] = f.Name
		if f.Actual != nil {
			out.Context.Actual = number(*f.Actual)
			switch {
			case f.High != nil && *f.Actual > *f.High:
				out.Context.Operator, out.Context.Threshold = ">", number(*f.High)
			case f.Low != nil && *f.Actual < *f.Low:
				out.Context.Operator, out.Context.Threshold = "<", number(*f.Low)
			}
		}
	} else {
		out.Title = a.Entity + " behaves unlike itself"
	}
	text := strings.Join(lines, "; ") + "."
	if a.Points > 1 {
		text += fmt.Sprintf(" %d steps since %s.", a.Points, a.From.Format(time.RFC3339))
	}
	text += fmt.Sprintf(" Grade %s of 1, confidence %s, by %s.", number(a.Grade), number(a.Confidence), a.Detector)
	if t.why != "" {
		text += " Over: " + t.why + "."
	}
	out.Description = text
	out.Context.Reason = strings.Join(lines, "; ")
	return out
}

// Sentence says what a feature was: "cpu 0.97 where 0.31 was expected (0.25 to 0.4)".
func Sentence(f ops.FeatureReading) string {
	if f.Actual == nil {
		return f.Name + " was not measured"
	}
	by, unit := Scale(f.Unit, *f.Actual)
	if unit != "" {
		unit = " " + unit
	}
	s := f.Name + " " + number(*f.Actual/by) + unit
	if f.Expected != nil {
		s += " where " + number(*f.Expected/by) + unit + " was expected"
	}
	if f.Low != nil && f.High != nil {
		s += " (" + number(*f.Low/by) + " to " + number(*f.High/by) + ")"
	}
	return s
}

// Scale returns what values of a unit (UCUM, as OpenTelemetry has it) are
// divided by so that the greatest of them reads well, and the unit people
// write then: 7,360,000 By/s are 7.36 MB/s. A ratio has no unit.
func Scale(unit string, most float64) (by float64, word string) {
	switch unit {
	case "1":
		return 1, ""
	case "By", "By/s":
		word = "B" + strings.TrimPrefix(unit, "By")
		by = 1
		for _, prefix := range []string{"k", "M", "G", "T", "P"} {
			if math.Abs(most) < 1000*by {
				break
			}
			by *= 1000
			word = prefix + "B" + strings.TrimPrefix(unit, "By")
		}
		return by, word
	}
	return 1, unit
}

// number writes three significant digits, and whole numbers whole.
func number(v float64) string {
	if v != 0 && (math.Abs(v) < 1e-4 || math.Abs(v) >= 1e9) {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	if math.Abs(v) >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	digits := 2
	if a := math.Abs(v); a > 0 && a < 1 {
		digits = int(2 - math.Floor(math.Log10(a)) - 1)
		digits = max(digits, 2)
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func shortDuration(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }

// hostOf is the host an entity names: an instance such as web1:9100 or
// [::1]:9100 without its port.
func hostOf(entity string) string {
	host, port, cut := cutLast(entity, ":")
	if !cut || port == "" || strings.Trim(port, "0123456789") != "" {
		return strings.Trim(entity, "[]")
	}
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return entity // an IPv6 address by itself
	}
	return strings.Trim(host, "[]")
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// aliasOf is the name an entity's resource goes by.
func aliasOf(entity string) string { return ops.Alias("host", hostOf(entity)) }
