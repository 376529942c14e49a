package archtest

import (
	"path"
	"strings"
)

// match reports whether dir is covered by pattern, and returns the prefix of
// dir that the pattern bound: for "connector/*/..." and
// "connector/rt/internal" that is "connector/rt".
func match(pattern, dir string) (bound string, ok bool) {
	if pattern == "..." {
		return "", true
	}
	head, deep := strings.CutSuffix(pattern, "/...")
	want, have := strings.Split(head, "/"), strings.Split(dir, "/")
	if len(have) < len(want) || (!deep && len(have) > len(want)) {
		return "", false
	}
	for i, w := range want {
		if w != "*" && w != have[i] {
			return "", false
		}
	}
	return strings.Join(have[:len(want)], "/"), true
}

func matchAny(patterns []string, dir string) bool {
	for _, p := range patterns {
		if _, ok := match(p, dir); ok {
			return true
		}
	}
	return false
}

// weight orders patterns by how much they say: literal folders count most,
// then wildcards, and an open end least.
func weight(pattern string) int {
	w := 0
	for _, s := range strings.Split(pattern, "/") {
		switch s {
		case "...":
			w--
		case "*":
			w += 10
		default:
			w += 100
		}
	}
	return w
}

// place is a folder's row and the part of its name that the row bound.
type place struct {
	room  Room
	bound string
}

// locate finds the most specific row for dir.
func locate(rooms []Room, dir string) (place, bool) {
	var best place
	found := false
	for _, r := range rooms {
		bound, ok := match(r.Path, dir)
		if ok && (!found || weight(r.Path) > weight(best.room.Path)) {
			best, found = place{r, bound}, true
		}
	}
	return best, found
}

// isKit reports whether dir is test support: a conformance suite named after
// its room (connector/connectortest) or one of the listed kits. The suite of a
// row below internal follows the same name rule.
func isKit(dir string) bool {
	parent, base := path.Split(dir)
	return parent != "" && base == path.Base(parent)+"test" || matchAny(kits, dir)
}

// isSimulator reports whether dir plays a platform.
func isSimulator(dir string) bool {
	_, ok := match("connector/*/simulator/...", dir)
	return ok
}
