package strictyaml

import (
	"cmp"
	"slices"
	"strings"
)

// Fault is one thing wrong in a file.
type Fault struct {
	// At is where.
	At Position
	// Path is the key, for example platforms[0].sync.every; "" is the document.
	Path string
	// Text says what is wrong and how to put it right.
	Text string
}

// Error returns "file:line:col: path: text".
func (f *Fault) Error() string {
	var b strings.Builder
	if at := f.At.String(); at != "" {
		b.WriteString(at + ": ")
	}
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.Text)
	return b.String()
}

// Faults is every fault of a file, one line each.
type Faults []*Fault

// Error returns one line per fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the faults for errors.As.
func (fs Faults) Unwrap() []error {
	errs := make([]error, len(fs))
	for i, f := range fs {
		errs[i] = f
	}
	return errs
}

// Err returns the faults in the order of the file, or nil when there are none.
func (fs Faults) Err() error {
	if len(fs) == 0 {
		return nil
	}
	sorted := slices.Clone(fs)
	slices.SortStableFunc(sorted, func(a, b *Fault) int {
		return cmp.Or(cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Col, b.At.Col))
	})
	return sorted
}

// Nearest returns the known word that is most likely meant by word, or "" when none
// is near: at most a third of its letters, and at least one, may be mistyped.
func Nearest(word string, known []string) string {
	// Beyond this no key is meant; it also bounds the work on hostile input.
	if len(word) > 64 {
		return ""
	}
	best, found := max(1, (len(word)+1)/3)+1, ""
	for _, k := range known {
		// A word of which nothing is left is not that word mistyped.
		if d := distance(strings.ToLower(word), k); d < best && d < len(word) {
			best, found = d, k
		}
	}
	return found
}

// distance is Damerau-Levenshtein with adjacent transpositions (optimal string
// alignment): insert, delete, replace, swap neighbours.
func distance(a, b string) int {
	ra, rb := []rune(a), []rune(b)
	prev2, prev, cur := make([]int, len(rb)+1), make([]int, len(rb)+1), make([]int, len(rb)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(ra); i++ {
		cur[0] = i
		for j := 1; j <= len(rb); j++ {
			cost := 1
			if ra[i-1] == rb[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && ra[i-1] == rb[j-2] && ra[i-2] == rb[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(rb)]
}
