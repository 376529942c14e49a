package web_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/web/webtest"
)

func TestSeriesAreFound(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("vic")
	p := r.Get("/series")
	if got := p.Text("h1"); got != "1 series behaves unlike itself" {
		t.Errorf("the page says %q", got)
	}
	if got := p.Text("tbody tr:first-child .sub"); got != "hosts · learning, 41 of 128 points" {
		t.Errorf("the series that learns says %q", got)
	}
	f := func(query string, want int) {
		t.Helper()
		if p := r.Get("/series?" + query); p.Status != http.StatusOK || len(p.All("tbody tr")) != want {
			t.Errorf("%s gives %d and %d rows, want %d", query, p.Status, len(p.All("tbody tr")), want)
		}
	}
	f("", 7)
	f("state=anomalous", 1)
	f("state=learning", 1)
	f("state=normal&q=WEB", 3)
	f("group=queues", 1)
	f("q=nobody", 0)
	if p = r.Submit(r.Get("/series?state=normal"), "form.find", url.Values{"q": {"checkout"}}); p.Text("tbody .title") != "checkout-api-prod-eus:9100" || p.URL.Query().Get("state") != "normal" {
		t.Errorf("the form finds %q at %s", p.Text("tbody .title"), p.URL)
	}
	for _, bad := range []string{"/series?state=odd", "/series?after=x"} {
		if p := r.Get(bad); p.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s gives %d", bad, p.Status)
		}
	}
}

// TestSeriesPageByPage walks more series than a page holds by its links.
func TestSeriesPageByPage(t *testing.T) {
	h := webtest.Empty(t)
	for n := range 120 {
		h.Watch("fleet", fmt.Sprintf("web%03d", n), "cpu")
	}
	r := h.Reader("vic")
	var got []string
	p := r.Get("/series")
	for {
		for _, n := range p.All("tbody .title") {
			got = append(got, n.FirstChild.Data)
		}
		if len(p.All(".pager a[rel=next]")) == 0 {
			break
		}
		p = r.Get(p.Attr(".pager a[rel=next]", "href"))
	}
	if len(got) != 120 || got[0] != "web000" || got[50] != "web050" || got[119] != "web119" {
		t.Errorf("by the links there are %d series", len(got))
	}
}

func TestASeriesSaysWhatIsUnusual(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("vic")
	p := r.Get("/series/" + webtest.Unusual)
	if got := p.Text("h1"); got != "network_io is unusual on edge-lb-syd:9100" {
		t.Errorf("the title is %q", got)
	}
	if got := p.Text(".lede"); !strings.HasPrefix(got, "network_io 7.36 MB/s where 4.22 MB/s was expected (3.62 to 4.82).") {
		t.Errorf("the lede is %q", got)
	}
	if got := p.Text(".blame tbody tr:first-child"); got != "network_io 87% 7.36 MB/s 4.22 MB/s 3.62 to 4.82 MB/s" {
		t.Errorf("to blame is %q", got)
	}
	if got := p.Text("figure.chart + *, .panel > header > h2"); !strings.Contains(got, "network_io | cpu | memory | disk_io | Score") {
		t.Errorf("the panels are %q", got)
	}
	if n := len(p.All("#chart-f1 svg.static path.band, #chart-f1 svg.static path.exp, #chart-f1 svg.static path.out, #chart-f1 svg.static rect.hot")); n != 4 {
		t.Errorf("the chart without script has %d of band, expected, outside and anomaly", n)
	}
	if d := p.Attr("#chart-f1 svg.static path.s1", "d"); strings.Count(d, "M") != 2 {
		t.Error("the hole of 25 minutes is drawn over")
	}
	if got := p.Text("#chart-f1 figcaption"); !strings.Contains(got, "335 readings, 37 of them outside what was expected. Shaded: anomalies.") {
		t.Errorf("the caption is %q", got)
	}
	if got := p.Text("#chart-f1 thead"); got != "Time actual, MB/s expected, MB/s low, MB/s high, MB/s" {
		t.Errorf("the table has the columns %q", got)
	}
	if n := len(p.All("#chart-score svg.static path.limit")); n != 1 {
		t.Errorf("the score has %d thresholds", n)
	}
	incident := p.Attr(".anomalies a[href^='/incidents/']", "href")
	if i := r.Get(incident); i.Text(".blame tbody tr:first-child th") != "network_io" || len(i.All("svg.spark")) != 1 || i.Attr(".panel header .more a", "href") != "/series/"+webtest.Unusual+"?anomaly="+webtest.OpenAnomaly {
		t.Errorf("the incident shows %q", i.Text("main"))
	}
	if key := strings.TrimPrefix(incident, "/incidents/"); p.Text(".page-head .badge") != "hosts | Learning held: "+key+" is open" || p.Attr(".held .list a", "href") != incident ||
		!strings.Contains(p.Text(".held .list .sub"), "UTC at the latest; scored and not learned") {
		t.Errorf("of the hold the page says %q and %q", p.Text(".page-head .badge"), p.Text(".held"))
	}
	if got := r.Get("/series").Text("tbody .badge"); got != "Learning held: "+strings.TrimPrefix(incident, "/incidents/")+" is open" {
		t.Errorf("of holds the list says %q", got)
	}
	if got := r.Get("/series/" + webtest.Expected).Text(".page-head .badge"); got != "hosts" {
		t.Errorf("a series that is learned has the badges %q", got)
	}
	if got := r.Get("/").Text(".loop"); !strings.Contains(got, "alerts firing, 1 anomaly") {
		t.Errorf("the overview says %q", got)
	}
	if got := r.Get("/series/" + webtest.Learning).Text("h1, .lede"); !strings.HasPrefix(got, "Learning build-runner-07:9100 | Learning, 41 of 128 points.") {
		t.Errorf("a series that learns says %q", got)
	}
}

func TestASeriesShowsChangesAndMaintenance(t *testing.T) {
	h := webtest.New(t)
	p := h.Reader("vic").Get("/series/" + webtest.Expected)
	if got := p.Text("#chart-f1 figcaption .row"); got != "1 CHG-1 · Restart the checkout workers, verdict better" {
		t.Errorf("the marker is explained by %q", got)
	}
	if n := len(p.All("svg.static circle.flag")); n != 5 {
		t.Errorf("%d markers on five charts", n)
	}
	if got := p.Text("#chart-f1 svg.static .named"); got != "Nightly patching | anomaly" {
		t.Errorf("the shaded stretches are %q", got)
	}
	if got := h.Reader("vic").Get("/series/" + webtest.Expected + "?range=7d").Text(".panel .list b"); strings.Count(got, "Nightly patching") != 7 {
		t.Errorf("in a week there are %q", got)
	}
}

func TestTheRangeOfASeriesLivesInTheAddress(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("vic")
	u := "/series/" + webtest.Expected
	f := func(query, current, first, last string) webtest.Page {
		t.Helper()
		p := r.Get(u + query)
		if p.Status != http.StatusOK {
			t.Fatalf("%s gives %d: %s", query, p.Status, p.Text("main"))
		}
		ticks := strings.Split(p.Text("#chart-f1 text.tick"), " | ")
		if got := p.Text("nav.segments a[aria-current]"); got != current || ticks[0] != first || ticks[len(ticks)-1] != last {
			t.Errorf("%s is %q from %s to %s, want %q from %s to %s", query, got, ticks[0], ticks[len(ticks)-1], current, first, last)
		}
		return p
	}
	f("?range=1h", "1 h", "04:12", "05:12 UTC")
	f("?range=24h", "24 h", "05:12", "05:12 UTC")
	p := f("", "6 h", "23:12", "05:12 UTC")
	for word, want := range map[string][2]string{"Zoom in": {"00:42", "03:42 UTC"}, "Out": {"20:12", "08:12 UTC"}, "Earlier": {"20:12", "02:12 UTC"}} {
		for _, n := range p.All("nav.segments a") {
			if n.FirstChild.Data != word {
				continue
			}
			for _, a := range n.Attr {
				if a.Key == "href" {
					f(strings.TrimPrefix(a.Val, u), "", want[0], want[1])
				}
			}
		}
	}
	chosen := r.Submit(p, "#span form", url.Values{"from": {"2026-11-19T02:00"}, "to": {"2026-11-19T03:00"}})
	if got := chosen.Text("#chart-f1 figcaption"); !strings.Contains(got, "from 19 Nov 02:00 to 19 Nov 03:00 UTC") {
		t.Errorf("the form shows %q", got)
	}
	if p := r.Get(u + "?from=2026-10-01T00:00:00Z&to=2026-10-02T00:00:00Z"); p.Text(".state h3") != "No readings in this range" || len(p.All(".state a.btn")) != 1 {
		t.Errorf("an empty range says %q", p.Text(".state"))
	} else if p = r.Get(p.Attr(".state a.btn", "href")); len(p.All("figure.chart")) != 5 {
		t.Errorf("the way out leads to %q", p.Text("main"))
	}
	for query, want := range map[string]int{"?range=2y": 422, "?from=x": 422, "?from=2026-11-19T03:00:00Z&to=2026-11-19T02:00:00Z": 422, "?from=2026-01-01T03:00:00Z&to=2026-11-19T02:00:00Z": 422, "?anomaly=nobody": 404} {
		if p := r.Get(u + query); p.Status != want {
			t.Errorf("%s gives %d, want %d", query, p.Status, want)
		}
	}
	if p := r.Get("/series/nobody"); p.Status != http.StatusNotFound {
		t.Errorf("a series nobody watches gives %d", p.Status)
	}
}

func TestReadingsAsCSV(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("vic")
	page := r.Get("/series/" + webtest.Unusual + "?range=1h")
	p := r.Get(page.Attr("#chart-f1 .twin a", "href"))
	rows, err := csv.NewReader(strings.NewReader(p.Body)).ReadAll()
	if err != nil || len(rows) != 61 {
		t.Fatalf("an hour is %d rows, %v: %.200s", len(rows), err, p.Body)
	}
	if got := strings.Join(rows[0][:9], ","); got != "timestamp,score,raw,threshold,grade,cpu,cpu expected,cpu low,cpu high" {
		t.Errorf("the head is %s", got)
	}
	if rows[1][0] != "2026-11-19T04:12:00Z" || rows[1][3] != "1" {
		t.Errorf("the first row is %v", rows[1])
	}
}

// TestSeriesChartsByMouse hovers, zooms and selects on the charts of a series:
// they share the cursor and the selection.
func TestSeriesChartsByMouse(t *testing.T) {
	peer.Long(t)
	h := webtest.New(t)
	b := open(t, h, "ada")
	b.visit("/series/" + webtest.Unusual)
	b.until(`document.querySelectorAll(".plot canvas").length === 5`)
	b.until(`document.querySelector("#chart-f1 [data-picked]").textContent.includes("Hold Shift")`)
	type box struct{ X, Y, Width, Height float64 }
	eval[bool](b, `document.querySelector("#chart-f1 .plot").scrollIntoView({block: "center"}); true`)
	at := eval[box](b, `(() => { const r = document.querySelector("#chart-f1 .u-over").getBoundingClientRect(); return {X: r.x, Y: r.y, Width: r.width, Height: r.height} })()`)
	mid := at.Y + at.Height/2
	rest := eval[string](b, `document.querySelector("#chart-f1 [data-when]").textContent`)
	b.do(chromedp.MouseEvent(chromedp.MouseMoved, at.X+at.Width*0.95, mid))
	b.until(`document.querySelector("#chart-f1 [data-when]").textContent !== ` + quote(rest))
	for _, id := range []string{"f1", "f2", "score"} {
		got := eval[string](b, `document.querySelector("#chart-`+id+` .legend").textContent`)
		if !strings.Contains(got, "Thu 19 Nov 04:54:00 UTC") || strings.Contains(got, "–") || id != "score" && !strings.Contains(got, " to ") {
			t.Errorf("hovering shows %q on %s", got, id)
		}
	}
	drag := func(from, to float64, m ...chromedp.MouseOption) {
		m = append(m, chromedp.Button("left"))
		b.do(chromedp.MouseEvent(chromedp.MousePressed, at.X+at.Width*from, mid, append(m, chromedp.ClickCount(1))...),
			chromedp.MouseEvent(chromedp.MouseMoved, at.X+at.Width*(from+to)/2, mid, m...),
			chromedp.MouseEvent(chromedp.MouseMoved, at.X+at.Width*to, mid, m...),
			chromedp.MouseEvent(chromedp.MouseReleased, at.X+at.Width*to, mid, append(m, chromedp.ClickCount(1))...))
	}
	drag(0.75, 0.97, chromedp.ButtonModifiers(8)) // Shift
	b.until(`document.querySelector("#chart-f1 [data-picked]").textContent.startsWith("Selected")`)
	if got := eval[string](b, `document.querySelector("#chart-f1 [data-picked]").textContent`); !strings.Contains(got, " readings, ") || !strings.Contains(got, "MB/s, mean ") || !strings.Contains(got, " outside the band") || strings.Contains(got, " 0 outside") {
		t.Errorf("the selection says %q", got)
	}
	if got := eval[string](b, `document.querySelector("#chart-f2 [data-picked]").textContent`); !strings.HasPrefix(got, "Selected") || !strings.Contains(got, " 0 outside the band") {
		t.Errorf("the chart below says %q", got)
	}
	if got := eval[string](b, "location.search"); got != "" {
		t.Errorf("selecting went to %s", got)
	}
	drag(0.5, 0.75)
	b.until(`location.search.includes("from=2026-11-19T02") && location.search.includes("to=2026-11-19T03")`)
	b.until(`[...document.querySelectorAll("figure.chart")].every(f => JSON.parse(f.dataset.chart).x.length < 100)`)
	b.do(chromedp.NavigateBack())
	b.until(`JSON.parse(document.querySelector("figure.chart").dataset.chart).x.length > 300`)
	b.do(chromedp.KeyEvent("t"))
	b.until(`document.querySelector("#chart-f1 details").open`)
	b.quiet()
}
