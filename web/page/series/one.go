package series

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chart"
	"github.com/fettleops/fettle/web/chrome"
	"github.com/fettleops/fettle/web/story"
)

// Range is one choice of the charts' range.
type Range struct {
	Word, URL string
	Current   bool
}

var ranges = []struct {
	value, word string
	span        time.Duration
}{{"1h", "1 h", time.Hour}, {"6h", "6 h", 6 * time.Hour}, {"24h", "24 h", 24 * time.Hour}, {"7d", "7 d", 7 * 24 * time.Hour}}

const shortest = time.Minute // that zooming in leads to

// One is what the template of a series shows.
type One struct {
	detect.View
	Sentence, Lede   string
	Ranges           []Range
	Zoom             *chart.Chart // whose Zoom the page shows
	FromText, ToText string
	Charts           []*chart.Chart
	Score            *chart.Chart
	Last             string // where the newest readings are, when none are shown
	Focus            *chrome.AnomalyView
	Anomalies        []chrome.AnomalyView
	Holds            []Hold
}

// Hold is a reason not to learn, with the page that says more.
type Hold struct {
	ops.LearningHold
	URL string // empty where there is none
}

func holds(w ops.Watched) []Hold {
	var out []Hold
	for _, h := range w.Held {
		x := Hold{LearningHold: h}
		switch {
		case strings.HasPrefix(h.Key, "INC-"):
			x.URL = "/incidents/" + h.Key
		case strings.HasPrefix(h.Key, "CHG-"):
			x.URL = "/changes/" + h.Key
		}
		out = append(out, x)
	}
	return out
}

func (p *Page) one(w http.ResponseWriter, r *http.Request, v *chrome.Visit) error {
	o, name, err := p.read(r, v.Now)
	if err != nil {
		return err
	}
	path := "/series/" + o.ID
	for _, x := range ranges {
		o.Ranges = append(o.Ranges, Range{x.word, path + "?range=" + x.value, x.value == name})
	}
	o.Zoom = &chart.Chart{Zoom: zoom(path, o.From, o.To)}
	o.FromText, o.ToText = o.From.Format(formTime), o.To.Format(formTime)
	var live []string
	for _, f := range o.Findings {
		a := chrome.AnomalyOf(f.Anomaly, f.Incident)
		if f.Open && o.Focus == nil || f.ID == r.URL.Query().Get("anomaly") {
			o.Focus = &a
		}
		o.Anomalies = append(o.Anomalies, a)
		if f.Incident != nil && !slices.Contains(live, f.Incident.Subject()) {
			live = append(live, f.Incident.Subject())
		}
	}
	for _, c := range o.Changes {
		live = append(live, c.Subject())
	}
	o.Holds = holds(o.Watched)
	o.Sentence, o.Lede = said(&o.View, o.Focus)
	o.draw(path)
	if len(o.Readings) == 0 && !o.SeenAt.IsZero() {
		o.Last = between(path, o.SeenAt.Add(-5*time.Hour), o.SeenAt.Add(time.Hour))
	}
	return p.chrome.Render(w, r, v, p.onePage, chrome.View{
		Title: o.Sentence, Nav: "/series", Live: strings.Join(live, " "),
		Crumbs: []chrome.Crumb{{Name: "Series", URL: "/series"}, {Name: o.Entity}}, Body: o,
	})
}

// read returns the series over the span that the address asks for, and the
// name of that range, empty when it has none.
func (p *Page) read(r *http.Request, now time.Time) (*One, string, error) {
	from, to, name, err := p.span(r, now)
	if err != nil {
		return nil, "", err
	}
	v, err := p.senses.View(r.Context(), r.PathValue("id"), from, to)
	return &One{View: v}, name, err
}

// formTime is how a form writes an instant; it is UTC.
const formTime = "2006-01-02T15:04"

func instant(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t, err = time.Parse(formTime, s)
	}
	return t.UTC(), err
}

// span reads the range: from and to, an anomaly with time around it, or one of
// the ranges that end now.
func (p *Page) span(r *http.Request, now time.Time) (from, to time.Time, name string, err error) {
	q := r.URL.Query()
	if q.Get("from") != "" || q.Get("to") != "" {
		from, err = instant(q.Get("from"))
		if err == nil {
			to, err = instant(q.Get("to"))
		}
		if err != nil {
			err = fmt.Errorf("from %q to %q is no range; write both like 2026-11-19T03:00:00Z: %w", q.Get("from"), q.Get("to"), ops.ErrInvalid)
		}
		return from, to, "", err
	}
	if id := q.Get("anomaly"); id != "" {
		a, err := p.senses.Anomaly(r.Context(), id)
		if err != nil {
			return from, to, "", err
		}
		pad := max(30*time.Minute, a.To.Sub(a.From))
		from, to = a.From.Add(-pad), a.To.Add(pad)
		if to.After(now) {
			to = now
		}
		if to.Sub(from) > detect.MaxSpan {
			from = to.Add(-detect.MaxSpan)
		}
		return from, to, "", nil
	}
	name = cmp.Or(q.Get("range"), "6h")
	for _, x := range ranges {
		if x.value == name {
			return now.Add(-x.span), now, name, nil
		}
	}
	return from, to, "", fmt.Errorf("range %q is none of 1h, 6h, 24h, 7d: %w", name, ops.ErrInvalid)
}

func between(path string, from, to time.Time) string {
	return path + "?from=" + url.QueryEscape(from.UTC().Format(time.RFC3339)) + "&to=" + url.QueryEscape(to.UTC().Format(time.RFC3339))
}

func zoom(path string, from, to time.Time) chart.Zoom {
	d := to.Sub(from)
	z := chart.Zoom{Reset: path, Earlier: between(path, from.Add(-d/2), to.Add(-d/2)), Later: between(path, from.Add(d/2), to.Add(d/2))}
	z.In, z.Out = between(path, from.Add(d/4), to.Add(-d/4)), between(path, from.Add(-d/2), to.Add(d/2))
	if d/2 < shortest {
		z.In = path
	}
	if 2*d > detect.MaxSpan {
		z.Out = path
	}
	return z
}

// said is the title of the page and the sentence below it.
func said(v *detect.View, focus *chrome.AnomalyView) (sentence, lede string) {
	span := story.Age(v.To.Sub(v.From))
	n := fmt.Sprintf("%d anomalies", len(v.Findings))
	switch len(v.Findings) {
	case 0:
		n = "No anomaly"
	case 1:
		n = "1 anomaly"
	}
	n += " in these " + span + "."
	switch {
	case v.Gone:
		return v.Entity + " is watched no more", "Its anomalies are kept for their time, its readings are not shown. " + n
	case focus != nil:
		over := ""
		if !focus.Open {
			over = " It is over."
		}
		return focus.Title, strings.TrimPrefix(fmt.Sprintf("%s. %d steps in %s, grade %s of 1, confidence %s.%s", focus.What, focus.Points, story.Age(focus.Lasted),
			chart.Number(focus.Grade), chart.Number(focus.Confidence), over), ". ")
	case v.State() == ops.WatchedAnomalous:
		return v.Entity + " behaves unlike itself", "Its open anomaly is not in these " + span + "."
	case v.State() == ops.WatchedLearning:
		return "Learning " + v.Entity, story.Sentence(v.Progress()) + ". Every point is scored; anomalies are told when enough were seen."
	}
	return v.Entity + " behaves as expected", n
}

// The measures of the charts.
const (
	maxDrawn = 720
	maxMarks = 9
	aloneAt  = 240 // height of a chart that stands alone
	amongAt  = 184 // height of one of several
)

// draw makes a chart for each feature and one for the score.
func (o *One) draw(path string) {
	if len(o.Readings) == 0 {
		return
	}
	rows := drawn(o.Readings, len(o.Features))
	height := aloneAt
	if len(o.Features) > 1 {
		height = amongAt
	}
	marks, shades := o.marks(), o.shades()
	column := func(value func(r *detect.Reading) float32) []ops.Point {
		out := make([]ops.Point, len(rows))
		for i, at := range rows {
			v := math.NaN()
			if at.reading != nil {
				v = detect.Widen(value(at.reading))
			}
			out[i] = ops.Point{At: time.UnixMilli(at.at).UTC(), Value: v}
		}
		return out
	}
	csv := path + "/readings.csv?" + strings.TrimPrefix(between("", o.From, o.To), "?")
	for _, k := range o.order() {
		f := o.Features[k]
		by, unit := detect.Scale(f.Unit, greatest(o.Readings, k))
		column := func(value func(r *detect.Reading) float32) []ops.Point {
			points := column(value)
			for i := range points {
				points[i].Value /= by
			}
			return points
		}
		actual := column(func(r *detect.Reading) float32 { return r.Values[k] })
		band := chart.Band{
			Name: "band", Low: column(func(r *detect.Reading) float32 { return r.Low[k] }), High: column(func(r *detect.Reading) float32 { return r.High[k] }),
		}
		c := &chart.Chart{
			ID: fmt.Sprintf("f%d", len(o.Charts)+1), Title: f.Name, Unit: unit, From: o.From, To: o.To, Height: height, Pick: true, Hint: len(o.Charts) == 0, Band: &band,
			Lines: []chart.Line{
				{Name: "actual", Points: actual},
				{Name: "expected", Points: column(func(r *detect.Reading) float32 { return r.Expected[k] }), Style: chart.Expected},
				{Name: "outside", Points: chart.Beyond(actual, band), Style: chart.Outside},
			},
			Shades: shades, Marks: marks, Above: len(o.Charts) > 0, CSV: csv,
		}
		c.Finding = o.finding(c, k, by)
		c.Caption = c.Finding
		o.Charts = append(o.Charts, c)
	}
	if len(o.Charts) > 0 && len(shades) > 0 {
		o.Charts[0].Caption += " " + shaded(shades)
	}
	o.Score = &chart.Chart{
		ID: "score", Title: "Score", From: o.From, To: o.To, Height: amongAt, Pick: true,
		Lines: []chart.Line{
			{Name: "score", Points: column(func(r *detect.Reading) float32 { return r.Raw })},
			{Name: "threshold", Points: column(func(r *detect.Reading) float32 {
				if r.Threshold <= 0 {
					return float32(math.NaN()) // not known yet
				}
				return r.Threshold
			}), Style: chart.Threshold},
		},
		Shades: shades, Marks: marks, Above: len(o.Charts) > 0, CSV: csv,
	}
	o.Score.Finding = o.scored()
	o.Score.Caption = o.Score.Finding
}

// order returns the places of the features: as the group has them, those that
// are to blame for the anomaly in focus first.
func (o *One) order() []int {
	out := make([]int, len(o.Features))
	blame := map[string]float64{}
	if o.Focus != nil {
		for _, f := range o.Focus.Features {
			blame[f.Name] = f.Blame
		}
	}
	for i := range out {
		out[i] = i
	}
	slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(blame[o.Features[b].Name], blame[o.Features[a].Name]) })
	return out
}

// greatest returns the greatest magnitude of a feature.
func greatest(readings []detect.Reading, k int) float64 {
	most := 0.0
	for i := range readings {
		if v := math.Abs(float64(readings[i].Values[k])); v > most {
			most = v
		}
	}
	return most
}

// finding says what the chart of a feature shows, by being what its values are
// divided by.
func (o *One) finding(c *chart.Chart, k int, by float64) string {
	low, high, sum, n, outside := math.Inf(1), math.Inf(-1), 0.0, 0, 0
	for i := range o.Readings {
		r := &o.Readings[i]
		v := float64(r.Values[k])
		if math.IsNaN(v) {
			continue
		}
		n++
		sum += v
		low, high = math.Min(low, v), math.Max(high, v)
		if r.Values[k] < r.Low[k] || r.Values[k] > r.High[k] {
			outside++
		}
	}
	s := fmt.Sprintf("%s of %s from %s to %s UTC: ", c.Title, o.Entity, o.From.Format("2 Jan 15:04"), o.To.Format("2 Jan 15:04"))
	if n == 0 {
		return s + "not measured."
	}
	s += fmt.Sprintf("%s to %s, mean %s, over %s readings, ", c.Value(low/by), c.Value(high/by), c.Value(sum/float64(n)/by), chart.Number(float64(n)))
	if outside == 0 {
		return s + "none of them outside what was expected."
	}
	return s + chart.Number(float64(outside)) + " of them outside what was expected."
}

// scored says what the chart of the score shows.
func (o *One) scored() string {
	graded, top := 0, -1
	for i, r := range o.Readings {
		if r.Grade > 0 {
			graded++
		}
		if r.Raw == r.Raw && (top < 0 || r.Raw > o.Readings[top].Raw) {
			top = i
		}
	}
	if top < 0 {
		return "Nothing was scored in these " + story.Age(o.To.Sub(o.From)) + "."
	}
	s := fmt.Sprintf("How strange each reading is, by %s. The greatest score is %s at %s UTC; ", o.Detector,
		chart.Number(detect.Widen(o.Readings[top].Raw)), time.UnixMilli(o.Readings[top].At).UTC().Format("2 Jan 15:04"))
	switch graded {
	case 0:
		return s + "none was graded as an anomaly."
	case 1:
		return s + "1 reading was graded as an anomaly."
	}
	return s + fmt.Sprintf("%d readings were graded as anomalies.", graded)
}

func (o *One) shades() []chart.Span {
	var out []chart.Span
	for _, w := range o.Windows {
		out = append(out, chart.Span{From: w.Start, To: w.End, Name: w.Window})
	}
	for _, f := range slices.Backward(o.Findings) {
		out = append(out, chart.Span{From: f.From, To: f.To, Hot: true, Name: "anomaly"})
	}
	return out
}

// shaded explains the shaded stretches.
func shaded(spans []chart.Span) string {
	anomalies, windows := 0, []string{}
	for _, s := range spans {
		switch {
		case s.Hot:
			anomalies++
		case !slices.Contains(windows, s.Name):
			windows = append(windows, s.Name)
		}
	}
	var parts []string
	if anomalies > 0 {
		parts = append(parts, "anomalies")
	}
	if len(windows) > 0 {
		parts = append(parts, "maintenance "+strings.Join(windows, ", ")+", which is scored and not learned")
	}
	return "Shaded: " + strings.Join(parts, "; ") + "."
}

// marks numbers the changes, oldest first.
func (o *One) marks() []chart.Mark {
	changes := slices.Clone(o.Changes)
	slices.SortFunc(changes, func(a, b ops.Change) int { return a.Run.StartedAt.Compare(b.Run.StartedAt) })
	if len(changes) > maxMarks {
		changes = changes[len(changes)-maxMarks:]
	}
	var out []chart.Mark
	for i, c := range changes {
		m := chart.Mark{N: i + 1, At: c.Run.StartedAt, Text: c.Title, Key: c.Key(), URL: "/changes/" + c.Key()}
		if c.Verdict != nil {
			m.Text += ", verdict " + string(c.Verdict.Word)
		}
		out = append(out, m)
	}
	return out
}
