package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/webtest"
)

// browser is a Chromium in which ada signed in.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu      sync.Mutex
	console []string
}

// patience bounds what a busy machine may need for one step.
const patience = 2 * time.Minute

func open(t *testing.T, h *webtest.House, who string) *browser {
	t.Helper()
	path := peer.Chromium(t)
	b := &browser{t: t, base: h.Serve()}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx,
		chromedp.WithAllocatorOptions(append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path))...))
	t.Cleanup(cancel)
	b.ctx = ctx
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.console = append(b.console, m.String()+" "+m.URL)
			b.mu.Unlock()
		}
	}()
	b.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(b.base+"/login"))
	b.do(chromedp.SendKeys("#token", h.Tokens[who]+"\r"), chromedp.WaitVisible(".topbar"))
	return b
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns the value of an expression, which may be a promise.
func eval[T any](b *browser, js string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%.80s: %v", js, err)
	}
	return v
}

// until waits for an expression to become true. A page that is on its way to
// the next has no answer, which counts as not yet.
func (b *browser) until(js string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	var err error
	for ctx.Err() == nil {
		var ok bool
		if ok, err = chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+js+")")); ok {
			return
		}
		_ = chromedp.Do(ctx, chromedp.Sleep(100*time.Millisecond)) // ends early with ctx
	}
	b.t.Fatalf("never true: %s: %v", js, err)
}

func (b *browser) visit(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + url))
	b.until(`document.readyState === "complete"`)
}

func (b *browser) shot(dir, name string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	img, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if c, err := png.DecodeConfig(bytes.NewReader(img)); err != nil || c.Width == 0 {
		b.t.Errorf("%s: screenshot is no picture: %v", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), img, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// The rules of axe: all that we follow, and those that look at colours. Themes
// differ in nothing else (chrome's TestThemesDifferInColours).
const (
	all     = `{type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}`
	colours = `{type: "rule", values: ["color-contrast", "link-in-text-block"]}`
)

// violations returns what axe finds, in words.
func (b *browser) violations(axe, rules string) []string {
	b.t.Helper()
	if !eval[bool](b, "typeof axe !== 'undefined'") {
		eval[bool](b, axe+";true")
	}
	raw := eval[string](b, `axe.run(document, {runOnly: `+rules+`, resultTypes: ["violations"]})
		.then(r => JSON.stringify(r.violations.map(v => v.id + ": " + v.help + " at " + v.nodes.slice(0, 3).map(n => n.target.join(" ") + " " + (n.any[0] || n.all[0] || n.none[0] || {}).message).join("; "))))`)
	var out []string
	if err := json.Unmarshal([]byte(raw), &out); err != nil {
		b.t.Fatal(err)
	}
	return out
}

func axe(t *testing.T) string {
	t.Helper()
	src, err := os.ReadFile("webtest/testdata/axe/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

// TestEveryPageInABrowser looks at every page wide and narrow, light and dark:
// a picture, no violation of WCAG 2.2 A/AA (in the dark: of its colours), no word
// on the console, nothing that scrolls sideways at 320 px.
func TestEveryPageInABrowser(t *testing.T) {
	peer.Long(t)
	dir := os.Getenv("FETTLE_SHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	src := axe(t)
	for theme, rules := range map[string]string{"light": all, "dark": colours} {
		t.Run(theme, func(t *testing.T) {
			t.Parallel()
			h := webtest.New(t)
			b := open(t, h, "ada")
			eval[bool](b, `document.cookie = "theme=`+theme+`; path=/"; true`)
			pages := urls(t, h)
			for _, name := range slices.Sorted(maps.Keys(pages)) {
				for _, width := range []int64{1440, 390} {
					b.do(chromedp.EmulateViewport(width, 900))
					b.visit(pages[name])
					if got := eval[string](b, "document.documentElement.dataset.theme"); got != theme {
						t.Fatalf("%s is %s, want %s", name, got, theme)
					}
					b.shot(dir, fmt.Sprintf("%s-%s-%d", name, theme, width))
					for _, v := range b.violations(src, rules) {
						t.Errorf("%s %s %d px: %s", name, theme, width, v)
					}
				}
				b.do(chromedp.EmulateViewport(320, 800))
				if over := eval[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
					who := eval[string](b, `[...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, .plan, .tabs, pre")).slice(0, 4).map(e => e.tagName + "." + e.className.baseVal + e.className).join(", ")`)
					t.Errorf("%s scrolls %d px sideways at 320 px: %s", name, over, who)
				}
			}
			b.quiet()
		})
	}
}

// quiet fails for everything the console was told, except for pages that are
// missing on purpose.
func (b *browser) quiet() {
	b.t.Helper()
	eval[bool](b, `console.error("the last word"); true`)
	for range 100 { // the listener has heard all once it has heard this
		b.mu.Lock()
		heard := slices.ContainsFunc(b.console, func(s string) bool { return strings.Contains(s, "the last word") })
		b.mu.Unlock()
		if heard {
			break
		}
		eval[bool](b, `new Promise(r => setTimeout(() => r(true), 50))`)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.console) == 0 || !strings.Contains(b.console[len(b.console)-1], "the last word") {
		b.t.Error("the console was not heard")
		return
	}
	for _, line := range b.console[:len(b.console)-1] {
		if !strings.Contains(line, "/nowhere") {
			b.t.Errorf("console: %s", line)
		}
	}
}

func TestChartByMouseAndByLink(t *testing.T) {
	peer.Long(t)
	h := webtest.New(t)
	b := open(t, h, "ada")
	b.visit("/backlog?range=90d")
	b.until(`document.querySelector(".plot canvas") !== null`)
	rest := eval[string](b, `document.querySelector("[data-when]").textContent`)
	type box struct{ X, Y, Width, Height float64 }
	place := func() box {
		b.do(chromedp.Query(".plot .u-over"))
		eval[bool](b, `document.querySelector(".plot").scrollIntoView({block: "center"}); true`)
		return eval[box](b, `(() => { const r = document.querySelector(".plot .u-over").getBoundingClientRect(); return {X: r.x, Y: r.y, Width: r.width, Height: r.height} })()`)
	}
	at := place()
	mid := at.Y + at.Height/2
	b.do(chromedp.MouseEvent(chromedp.MouseMoved, at.X+at.Width/2, mid))
	b.until(`document.querySelector("[data-when]").textContent !== ` + quote(rest))
	hover := eval[string](b, `document.querySelector(".legend").textContent`)
	if !strings.Contains(hover, "2026") || !strings.Contains(hover, "EUC") || !strings.Contains(hover, "Support") || strings.Contains(hover, "–") {
		t.Errorf("hovering shows %q", hover)
	}
	b.do(chromedp.MouseEvent(chromedp.MousePressed, at.X+at.Width/4, mid, chromedp.Button("left"), chromedp.ClickCount(1)),
		chromedp.MouseEvent(chromedp.MouseMoved, at.X+at.Width/2, mid, chromedp.Button("left")),
		chromedp.MouseEvent(chromedp.MouseMoved, at.X+at.Width*3/4, mid, chromedp.Button("left")),
		chromedp.MouseEvent(chromedp.MouseReleased, at.X+at.Width*3/4, mid, chromedp.Button("left"), chromedp.ClickCount(1)))
	b.until(`location.search.includes("from=") && location.search.includes("to=") && !location.search.includes("range=")`)
	b.until(`JSON.parse(document.querySelector("figure.chart").dataset.chart).x.length < 60`)
	if first := eval[string](b, `document.querySelector("svg.static text[y='235']").textContent`); !strings.Contains(first, "Sep") {
		t.Errorf("after zooming the axis begins at %q", first)
	}
	b.do(chromedp.NavigateBack())
	b.until(`JSON.parse(document.querySelector("figure.chart").dataset.chart).x.length > 80`)
	eval[bool](b, `[...document.querySelectorAll("nav.segments a")].find(a => a.textContent === "Zoom in").click(); true`)
	b.until(`document.readyState === "complete" && location.search.includes("from=")`)
	b.quiet()
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// TestKeyboardOnly works an incident without a mouse.
func TestKeyboardOnly(t *testing.T) {
	peer.Long(t)
	h := webtest.New(t)
	b := open(t, h, "ada")
	b.visit("/")
	b.do(chromedp.KeyEvent("\t"))
	if got := eval[string](b, "document.activeElement.textContent"); got != "Skip to content" {
		t.Errorf("the first stop is %q", got)
	}
	b.do(chromedp.KeyEvent("g"), chromedp.KeyEvent("i"))
	b.until(`location.pathname === "/incidents" && document.readyState === "complete"`)
	b.do(chromedp.KeyEvent("j"), chromedp.KeyEvent("\r"))
	b.until(`location.pathname.startsWith("/incidents/INC-") && document.readyState === "complete"`)
	b.do(chromedp.KeyEvent("?"))
	b.until(`document.getElementById("keys").matches(":popover-open")`)
	b.do(chromedp.KeyEvent("/"))
	b.until(`document.activeElement.id === "find"`)
	b.quiet()
}

// TestPagesFollowTheFacts sees a fact arrive on a page, what is typed kept, and
// a plan under decision held still.
func TestPagesFollowTheFacts(t *testing.T) {
	peer.Long(t)
	h := webtest.New(t)
	b := open(t, h, "ada")
	u := urls(t, h)
	ctx := context.Background()
	var i ops.Incident
	var err error
	if i, err = h.Store.Incident(ctx, strings.TrimPrefix(u["incident-open"], "/incidents/")); err != nil {
		t.Fatal(err)
	}
	b.visit(u["incident-open"])
	h.Advance(5 * time.Second)
	if err := h.Incidents.Comment(ctx, h.People["rea"], i.ID, "I am looking.", "page"); err != nil {
		t.Fatal(err)
	}
	b.tick(h, `document.getElementById("main").textContent.includes("I am looking.")`)
	b.until(`document.getElementById("say").textContent.includes("I am looking.")`)

	b.do(chromedp.SendKeys("#text", "half a sent"))
	h.Advance(5 * time.Second)
	if err := h.Incidents.Comment(ctx, h.People["rea"], i.ID, "And still.", "page"); err != nil {
		t.Fatal(err)
	}
	b.tick(h, `!document.getElementById("news").hidden`)
	if got := eval[string](b, `document.getElementById("text").value`); got != "half a sent" {
		t.Errorf("what was typed became %q", got)
	}

	b.visit(u["change-waiting"])
	before := eval[string](b, `document.querySelector("input[name=digest]").value`)
	c, err := h.Store.Change(ctx, strings.TrimPrefix(u["change-waiting"], "/changes/"))
	if err != nil {
		t.Fatal(err)
	}
	h.Write(func(ctx context.Context, tx db.Tx) error {
		c.PlanDigest, c.Revision = strings.Repeat("ab", 32), 2
		return h.Store.SaveChange(ctx, tx, c, ops.Plan{}, time.Time{})
	})
	h.Tell(h.Now(), ops.SystemPrincipal, c.Subject(), ops.ApprovalVoidedBody{ChangeID: c.ID, Why: "the plan moved"})
	b.tick(h, `!document.getElementById("news").hidden`)
	if after := eval[string](b, `document.querySelector("input[name=digest]").value`); after != before {
		t.Error("the plan was swapped under the reader's eyes")
	}
	b.quiet()
}

// tick turns the house's clock until the page shows what it should, because
// streams look for facts by that clock.
func (b *browser) tick(h *webtest.House, js string) {
	b.t.Helper()
	for range 60 {
		h.Advance(2 * time.Second)
		if eval[bool](b, `new Promise(r => setTimeout(() => r(Boolean(`+js+`)), 500))`) {
			return
		}
	}
	b.t.Fatalf("never true: %s", js)
}
