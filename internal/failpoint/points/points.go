// Package points lists every failpoint of the program, generated from its
// source: before and after each commit, and before and after each call that
// leaves the process. The crash test kills the program once at each of them,
// and a call without one fails a test here.
package points

import (
	_ "embed"
	"strings"
)

//go:generate go run ./generate

//go:embed points.txt
var list string

// All returns the names, sorted. A name with #2 is the second call of the same
// function, which the process reaches after the first.
func All() []string { return strings.Fields(list) }
