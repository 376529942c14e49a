package chrome

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestVendoredFilesAreWhatTheRegistryServed holds each foreign file against
// the hash recorded when its package was unpacked, so that an edit shows.
func TestVendoredFilesAreWhatTheRegistryServed(t *testing.T) {
	var recorded map[string]struct {
		Version, Integrity, Licence string
		Files                       map[string]string
	}
	raw, err := os.ReadFile("vendored/integrity.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &recorded); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for name, p := range recorded {
		if !strings.HasPrefix(p.Integrity, "sha512-") || !slices.Contains([]string{"0BSD", "MIT", "MPL-2.0"}, p.Licence) {
			t.Errorf("%s: integrity %q, licence %q", name, p.Integrity, p.Licence)
		}
		for file, want := range p.Files {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Error(err)
				continue
			}
			if sum := sha512.Sum512(body); hex.EncodeToString(sum[:]) != want {
				t.Errorf("%s is not the file of %s %s", file, name, p.Version)
			}
			found[path.Clean(file)] = true
		}
	}
	err = fs.WalkDir(os.DirFS("."), "vendored", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !found[name] && path.Base(name) != "LICENSE" && path.Base(name) != "integrity.json" {
			t.Errorf("%s is recorded nowhere", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOwnScriptStaysSmall holds the promise that script only adds: under a
// thousand lines, no markup built from text, no evaluation.
func TestOwnScriptStaysSmall(t *testing.T) {
	all, err := joined("js", ".js", scripts)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(all, []byte("\n")); n >= 1000 {
		t.Errorf("our script has %d lines", n)
	}
	for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "new Function", "document.write"} {
		if bytes.Contains(all, []byte(bad)) {
			t.Errorf("our script uses %s", bad)
		}
	}
}

// TestEveryPartIsServed fails for a file of style or script that no list names.
func TestEveryPartIsServed(t *testing.T) {
	f := func(dir, ext string, names []string) {
		t.Helper()
		entries, err := files.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !slices.Contains(names, strings.TrimSuffix(e.Name(), ext)) {
				t.Errorf("%s/%s is in no list", dir, e.Name())
			}
		}
	}
	f("css", ".css", styles)
	f("js", ".js", scripts)
}

// TestIconsExist looks for every icon the templates, badges and stories name.
func TestIconsExist(t *testing.T) {
	sprite, err := files.ReadFile("sprite.svg")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`icons? "([a-z-]+)"|Icon(?:, l\.[A-Z][a-z]+)* = "([a-z-]+)"`)
	err = fs.WalkDir(os.DirFS(".."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".html") && !strings.HasSuffix(name, ".go") {
			return err
		}
		src, err := os.ReadFile("../" + name)
		if err != nil {
			return err
		}
		for _, m := range named.FindAllSubmatch(src, -1) {
			icon := string(m[1]) + string(m[2])
			if strings.HasSuffix(icon, "-") {
				continue // the rest is a word; the tables below know it
			}
			if !bytes.Contains(sprite, []byte(`id="i-`+icon+`"`)) {
				t.Errorf("%s names the icon %q, which the sprite does not hold", name, icon)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []map[string]badge{plain(incidentBadges), plain(changeBadges), plain(runBadges), plain(verdictBadges), plain(syncBadges)} {
		for word, b := range table {
			if !bytes.Contains(sprite, []byte(`id="i-`+b.Icon+`"`)) {
				t.Errorf("%s names the icon %q, which the sprite does not hold", word, b.Icon)
			}
		}
	}
}

func plain[T ~string](in map[T]badge) map[string]badge {
	out := map[string]badge{}
	for k, v := range in {
		out[string(k)] = v
	}
	return out
}

// Whatever looks at a page in one theme has seen its structure in both: a theme
// is a color-scheme and nothing else.
func TestThemesDifferInColours(t *testing.T) {
	block := regexp.MustCompile(`\[data-theme[^{]*\{([^}]*)\}`)
	themes := 0
	own, err := filepath.Glob("css/*.css")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../page/*/*.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Concat(own, pages) {
		css, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(css), "prefers-color-scheme") {
			t.Errorf("%s asks for the theme; use light-dark()", name)
		}
		for _, m := range block.FindAllStringSubmatch(string(css), -1) {
			if themes++; !regexp.MustCompile(`^\s*color-scheme: (light|dark);\s*$`).MatchString(m[1]) {
				t.Errorf("%s does more in a theme than to name it: %s", name, m[0])
			}
		}
	}
	if themes != 2 {
		t.Errorf("%d themes, want 2", themes)
	}
}
