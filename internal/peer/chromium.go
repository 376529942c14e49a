package peer

import "testing"

// Chromium returns the path of a Chromium for chromedp.ExecPath. The caller
// starts and stops it. Outside addresses are refused on build machines, so pass
// --disable-background-networking --disable-component-update --disable-sync
// --no-first-run, and --no-sandbox as root.
func Chromium(t testing.TB) (execPath string) {
	t.Helper()
	return program(t, "chromium", "chromium")
}
