package archtest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// allowed are the licences a dependency may have. Anything else is a decision
// for a person.
var allowed = []string{"MIT", "BSD", "ISC", "Apache-2.0", "MPL-2.0", "0BSD"}

// reviewed are licence files that a person has read because the list above
// does not cover them, by the SHA-256 of their text: another text of the same
// name is read again.
var reviewed = map[string]string{
	// LICENSE-SQLITE: SQLite itself is in the public domain, which is no
	// licence and so not on the list; the architecture chose SQLite.
	"8438c9c89b849131ead81d5435cb97fcf052df5b0b286dda8a2d4c29e6cb3fd0": "public domain",
	// LICENSE-3RD-PARTY.md of sqlite v1.60.0 collects the notices of what it
	// links: MIT, BSD-3-Clause and public domain. Its MPL-2.0 text, which names
	// the GPL, belongs to its test suite.
	"b4366b9c27a9364633e015011a231913ed19bf1228f335bf617e50a6f7b168a6": "notices",
	// LICENSE-LOGO of modernc.org/memory is the address of a picture that is
	// not compiled in.
	"5ae5bee3072a841376451b48d8cfcec7188e10543926d5870828d36c8a750dc5": "picture",
}

// TestDependencyLicences reads the licence of every module of go.mod from the
// module cache. It reads files in process for the reason in the package comment.
// A module may be absent from the cache only if nothing of it is compiled into
// the product.
func TestDependencyLicences(t *testing.T) {
	cache := moduleCache(t)
	mods, err := requirements(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if len(mods) == 0 {
		t.Fatal("go.mod requires nothing, which this test does not believe")
	}
	compiled := compiledModules(t, cache, mods)
	for _, m := range mods {
		got, err := licences(os.DirFS(m.dir(cache)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if compiled[m.path] {
				t.Errorf("%s %s is compiled in but is not in the module cache %s", m.path, m.version, cache)
			} else {
				t.Logf("%s %s is not compiled in and not in the module cache: not checked", m.path, m.version)
			}
		case err != nil:
			t.Errorf("%s %s: %v", m.path, m.version, err)
		}
		for _, l := range got {
			if name, _, _ := strings.Cut(l, " "); !slices.Contains(allowed, name) {
				t.Errorf("%s %s has licence %s, allowed are %s", m.path, m.version, l, strings.Join(allowed, " "))
			}
		}
	}
}

// moduleCache finds the cache the way the go command does, short of
// settings made with `go env -w`.
func moduleCache(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("GOMODCACHE"); dir != "" {
		return dir
	}
	first, _, _ := strings.Cut(build.Default.GOPATH, string(filepath.ListSeparator))
	return filepath.Join(first, "pkg", "mod")
}

// required is one line of go.mod.
type required struct{ path, version string }

// dir is where the module cache keeps the module: capitals are written as "!"
// and the small letter, for file systems that do not tell them apart.
func (r required) dir(cache string) string {
	var b strings.Builder
	for _, c := range r.path + "@" + r.version {
		if c >= 'A' && c <= 'Z' {
			b.WriteByte('!')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return filepath.Join(cache, filepath.FromSlash(b.String()))
}

func requirements(name string) ([]required, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var mods []required
	block := false
	for n, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "//")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "replace":
			return nil, fmt.Errorf("%s:%d: a replaced module's licence is not looked at; teach this test first", name, n+1)
		case words[0] == "require" && len(words) == 3:
			mods = append(mods, required{words[1], words[2]})
		case words[0] == "require" && len(words) == 2 && words[1] == "(":
			block = true
		case words[0] == ")":
			block = false
		case block && len(words) == 2:
			mods = append(mods, required{words[0], words[1]})
		}
	}
	return mods, nil
}

// compiledModules follows the imports of our non-test code for this
// platform, without cgo, and names the modules it meets.
func compiledModules(t *testing.T, cache string, mods []required) map[string]bool {
	t.Helper()
	house, err := read(os.DirFS(root), Module)
	if err != nil {
		t.Fatal(err)
	}
	var queue []string
	for _, f := range house.files {
		if f.test || isKit(f.dir) {
			continue
		}
		for _, spec := range f.ast.Imports {
			queue = append(queue, strings.Trim(spec.Path.Value, "\"`"))
		}
	}
	ctx := build.Default
	ctx.CgoEnabled = false
	seen, found := make(map[string]bool), make(map[string]bool)
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		m, ok := moduleOf(mods, path)
		if !ok {
			continue // the standard library or our own
		}
		found[m.path] = true
		pkg, err := ctx.ImportDir(filepath.Join(m.dir(cache), filepath.FromSlash(strings.TrimPrefix(path, m.path))), 0)
		if err != nil {
			continue // absent: the caller says so
		}
		queue = append(queue, pkg.Imports...)
	}
	return found
}

func moduleOf(mods []required, path string) (best required, ok bool) {
	for _, m := range mods {
		if below(m.path, path) && len(m.path) > len(best.path) {
			best, ok = m, true
		}
	}
	return best, ok
}

// licences names the licences, with their files, in a module's root, but for
// reviewed texts. A module without a licence file is an error, a text nobody
// here knows is "unknown".
func licences(module fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(module, ".")
	if err != nil {
		return nil, err
	}
	var found []string
	files := 0
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		if e.IsDir() || !(strings.HasPrefix(upper, "LICEN") || strings.HasPrefix(upper, "COPYING") || strings.HasPrefix(upper, "UNLICENSE")) {
			continue
		}
		text, err := fs.ReadFile(module, e.Name())
		if err != nil {
			return nil, err
		}
		files++
		sum := sha256.Sum256(text)
		if reviewed[hex.EncodeToString(sum[:])] == "" {
			found = append(found, licence(string(text))+" ("+e.Name()+")")
		}
	}
	if files == 0 {
		return nil, errors.New("no licence file")
	}
	return found, nil
}

// licence recognises a text by the sentence that grants the rights. Titles are
// looked at only for licences that forbid something, which go first.
func licence(text string) string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	head := text[:min(len(text), 400)]
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case has("business source license"), has("server side public license"), has("commons clause"), has("elastic license"):
		return "source-available"
	case strings.Contains(head, "mozilla public license") && strings.Contains(head, "2.0"):
		return "MPL-2.0"
	case has("general public license"): // MPL-2.0 names it too, so it comes after
		return "GPL"
	case has("apache license") && has("version 2.0"):
		return "Apache-2.0"
	case has("redistribution and use in source and binary forms") && has("advertising materials"):
		return "BSD-4-Clause"
	case has("redistribution and use in source and binary forms"):
		return "BSD"
	case has("permission is hereby granted, free of charge") && has("the above copyright notice and this permission notice"):
		return "MIT"
	case has("permission to use, copy, modify, and/or distribute this software for any purpose"),
		has("permission to use, copy, modify, and distribute this software for any purpose"):
		if has("provided that the above copyright notice") {
			return "ISC"
		}
		return "0BSD"
	}
	return "unknown"
}

func TestLicence(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := licence(text); got != want {
			t.Errorf("licence(%.60q) = %s, want %s", text, got, want)
		}
	}
	const isc = "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted"
	const bsd = "Redistribution and use in source and binary\nforms, with or without modification, are permitted"
	f("Permission is hereby granted, free of charge, to any person ... The above copyright notice and this permission notice shall be", "MIT")
	f(isc+", provided that the above copyright notice", "ISC")
	f(isc+".", "0BSD")
	f(bsd, "BSD")
	f(bsd+" 3. All advertising materials mentioning features", "BSD-4-Clause")
	f("Apache License\n   Version 2.0, January 2004", "Apache-2.0")
	f("Mozilla Public License, version 2.0 ... GNU General Public License, Version 2.0", "MPL-2.0")
	f("GNU AFFERO GENERAL PUBLIC LICENSE Version 3", "GPL")
	f("GNU LESSER GENERAL PUBLIC LICENSE Version 3", "GPL")
	f("Business Source License 1.1 ... Change License: Apache License, Version 2.0", "source-available")
	f("\"Commons Clause\" License Condition v1.0 ... Apache License Version 2.0", "source-available")
	f("All rights reserved.", "unknown")
}

func TestRequirementsReadsGoMod(t *testing.T) {
	name := filepath.Join(t.TempDir(), "go.mod")
	text := "module x\n\nrequire a.b/One v1.0.0\n\nrequire (\n\ta.b/two/v2 v2.1.0 // indirect\n)\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := requirements(name)
	want := []required{{"a.b/One", "v1.0.0"}, {"a.b/two/v2", "v2.1.0"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("requirements = %v, %v, want %v", got, err, want)
	}
	if dir := want[0].dir("/c"); dir != "/c/a.b/!one@v1.0.0" {
		t.Errorf("cache folder = %s", dir)
	}
	if m, _ := moduleOf(want, "a.b/two/v2/deep"); m.path != "a.b/two/v2" {
		t.Errorf("module = %s", m.path)
	}
}

func TestLicencesFailsClosed(t *testing.T) {
	if _, err := licences(fstest.MapFS{"main.go": &fstest.MapFile{}}); err == nil {
		t.Error("a module without a licence file passed")
	}
	got, err := licences(fstest.MapFS{"LICENSE": &fstest.MapFile{Data: []byte("Mine.")}, "COPYING": &fstest.MapFile{Data: []byte("GNU General Public License")}})
	if want := []string{"GPL (COPYING)", "unknown (LICENSE)"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("licences = %v, %v, want %v", got, err, want)
	}
}
