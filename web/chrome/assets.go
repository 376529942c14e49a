package chrome

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strings"
	"sync"
)

//go:embed css js sprite.svg vendored
var files embed.FS

// styles lists the parts of the stylesheet in the order in which they are
// joined.
var styles = []string{
	"tokens", "base", "layout",
	"icon", "crumbs", "command", "button", "panel", "severity", "pill", "loop", "tile", "table", "facets", "kv", "trail",
	"digest", "plan", "chart", "approval", "form", "notice", "state", "verdict", "list", "styleguide",
	"print",
}

// scripts lists the parts of the script.
var scripts = []string{"live", "chart", "keys"}

// asset is a static file.
type asset struct {
	kind    string
	body    []byte
	zipped  func() []byte // compressed when it is first asked for
	version string
}

type assets struct {
	byName map[string]*asset // by served name, fettle.1a2b3c4d.css
	served map[string]string // plain name to URL
	icons  map[string]bool   // ids of the sprite without their i-
}

var iconID = regexp.MustCompile(`<symbol id="i-([a-z-]+)"`)

func loadAssets(pageStyles []string) (*assets, error) {
	a := &assets{map[string]*asset{}, map[string]string{}, map[string]bool{}}
	css, err := joined("css", ".css", styles)
	if err != nil {
		return nil, err
	}
	for _, s := range pageStyles {
		css = append(css, "\n"+s...)
	}
	js, err := joined("js", ".js", scripts)
	if err != nil {
		return nil, err
	}
	a.add("fettle.css", "text/css; charset=utf-8", css)
	a.add("fettle.js", "text/javascript; charset=utf-8", js)
	for name, kind := range map[string]string{
		"sprite.svg": "image/svg+xml", "vendored/htmx.org/htmx.min.js": "text/javascript; charset=utf-8",
		"vendored/uplot/uPlot.iife.min.js": "text/javascript; charset=utf-8", "vendored/uplot/uPlot.min.css": "text/css; charset=utf-8",
	} {
		body, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for _, m := range iconID.FindAllSubmatch(body, -1) {
			a.icons[string(m[1])] = true
		}
		a.add(path.Base(name), kind, body)
	}
	return a, nil
}

func joined(dir, ext string, names []string) ([]byte, error) {
	var b bytes.Buffer
	for _, n := range names {
		part, err := files.ReadFile(dir + "/" + n + ext)
		if err != nil {
			return nil, err
		}
		b.Write(part)
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

func (a *assets) add(name, kind string, body []byte) {
	sum := sha256.Sum256(body)
	version := hex.EncodeToString(sum[:6])
	ext := path.Ext(name)
	served := strings.TrimSuffix(name, ext) + "." + version + ext
	a.byName[served] = &asset{kind, body, sync.OnceValue(func() []byte { return zip(body) }), version}
	a.served[name] = "/static/" + served
}

func zip(body []byte) []byte {
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
	if err != nil {
		panic(err) // there is this level
	}
	_, err = w.Write(body)
	if err := errors.Join(err, w.Close()); err != nil {
		panic(err) // into memory
	}
	return z.Bytes()
}

// Asset returns the URL of a static file, which changes with its content.
func (c *Chrome) Asset(name string) (string, error) {
	u, ok := c.assets.served[name]
	if !ok {
		return "", fmt.Errorf("chrome: there is no static file %q", name)
	}
	return u, nil
}

// Static serves the static files. Their names change with their content, so
// they may be kept for ever.
func (c *Chrome) Static(w http.ResponseWriter, r *http.Request) {
	f, ok := c.assets.byName[r.PathValue("file")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("ETag", `"`+f.version+`"`)
	h.Set("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == `"`+f.version+`"` {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := f.body
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = f.zipped()
	}
	_, _ = w.Write(body)
}
