package web_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/fettleops/fettle/web/webtest"
)

func TestTmpShots(t *testing.T) {
	h := webtest.New(t)
	b := open(t, h, "ada")
	src := axe(t)
	pages := urls(t, h)
	for _, theme := range strings.Fields(os.Getenv("TMP_THEMES")) {
		eval[bool](b, `document.cookie = "theme=`+theme+`; path=/"; true`)
		for _, name := range strings.Fields(os.Getenv("TMP_PAGES")) {
			for _, width := range []int64{1440, 390} {
				height := int64(1700)
				if width == 390 {
					height = 3200
				}
				b.do(chromedp.EmulateViewport(width, height))
				b.visit(pages[name])
				b.shot("/tmp/pageshots", fmt.Sprintf("%s-%s-%d", name, theme, width))
				for _, v := range b.violations(src) {
					t.Errorf("%s %s %d px: %s", name, theme, width, v)
				}
			}
			b.do(chromedp.EmulateViewport(320, 800))
			if over := eval[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
				t.Errorf("%s scrolls sideways %d", name, over)
			}
		}
	}
	b.quiet()
}
