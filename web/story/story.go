// Package story turns facts and commands into lines a person can read: what
// happened, who did it and why. It is pure; the pages draw what it returns.
package story

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Mark is the shape a line carries in the trail. A person's mark is square,
// the system's is round.
type Mark string

// The marks.
const (
	Plain  Mark = ""
	Person Mark = "person"
	Signal Mark = "signal"
	Good   Mark = "good"
	Bad    Mark = "bad"
)

// Line is one step of a story.
type Line struct {
	At   time.Time
	Mark Mark
	Icon string // of the sprite
	Text string
	Why  string // who and why, smaller
	// Digest is the plan the line speaks of, empty when it speaks of none.
	Digest string
	// Key and URL name the record the line leads to, when it is another one.
	Key, URL string
	// Weight says how much of the story would be missing without the line: 0
	// is detail, 3 decides. The digest of a story takes the heaviest.
	Weight int
	// Chart says that a chart of the story marks this instant.
	Chart bool
	// Flag is the number of the chart's marker, 0 when it has none.
	Flag int
	// Gap is the pause before this line, zero when it is too short to tell.
	Gap time.Duration

	Fact ops.Fact
}

// longPause is the shortest pause between two lines that is written out.
const longPause = 10 * time.Minute

// Tell returns the lines of facts, oldest first, with long pauses between
// them. Kinds it does not know are told by their name, never left out.
func Tell(facts []ops.Fact) []Line {
	facts = slices.Clone(facts)
	slices.SortStableFunc(facts, func(a, b ops.Fact) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return cmp.Compare(a.Seq, b.Seq)
	})
	lines := make([]Line, 0, len(facts))
	for _, f := range facts {
		l := Of(f)
		if n := len(lines); n > 0 {
			if pause := l.At.Sub(lines[n-1].At); pause >= longPause {
				l.Gap = pause
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// Dated reports whether the lines span more than a day, so that a time of day
// alone would not say when.
func Dated(lines []Line) bool {
	return len(lines) > 1 && lines[len(lines)-1].At.Sub(lines[0].At) > 20*time.Hour
}

// Digest returns at most n lines that tell the most, in the order they
// happened. The first line and the newest that is no
// detail are always among them: how it began and where it stands.
func Digest(lines []Line, n int) []Line {
	if len(lines) <= n {
		return slices.Clone(lines)
	}
	stands := len(lines) - 1
	for stands > 0 && lines[stands].Weight == 0 {
		stands--
	}
	at := make([]int, len(lines))
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(a, b int) int {
		wa, wb := lines[a].Weight, lines[b].Weight
		switch {
		case a == stands:
			wa = 9
		case b == stands:
			wb = 9
		case a == 0:
			wa = 8
		case b == 0:
			wb = 8
		}
		if wa != wb {
			return wb - wa
		}
		return b - a
	})
	at = at[:n]
	slices.Sort(at)
	out := make([]Line, n)
	for i, k := range at {
		out[i] = lines[k]
		out[i].Gap = 0
	}
	return out
}

// Number gives the lines a chart marks their numbers, in order, at most limit
// of them, and returns those lines.
func Number(lines []Line, limit int) []Line {
	var marked []Line
	for i := range lines {
		if !lines[i].Chart || len(marked) == limit {
			continue
		}
		lines[i].Flag = len(marked) + 1
		marked = append(marked, lines[i])
	}
	return marked
}

// Of returns the line of one fact.
func Of(f ops.Fact) Line {
	l := Line{At: f.At, Icon: "overview", Text: string(f.Kind), Fact: f}
	if tell, ok := told[f.Kind]; ok {
		tell(f, &l)
	}
	return l
}

// decode returns the fact's body; one that does not decode leaves the line
// with the kind's name, because a story never hides a fact.
func decode[T ops.FactBody](f ops.Fact, l *Line, tell func(b T)) {
	b, err := ops.Body[T](f)
	if err != nil {
		l.Why = "this fact does not decode: " + err.Error()
		return
	}
	tell(b)
}

func by(f ops.Fact, why string) string {
	if f.Principal == ops.SystemPrincipal.Name || f.Principal == "" {
		return why
	}
	if why == "" {
		return f.Principal
	}
	return f.Principal + " · " + why
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Via returns where a person said something, for people.
func Via(via string) string {
	switch via {
	case "", "page":
		return "on the page"
	case "api":
		return "over the API"
	case "cli":
		return "on the command line"
	case "policy":
		return "by policy"
	}
	return "in " + via
}

// Words returns a state, outcome or verb as people write it.
func Words(s string) string { return strings.ReplaceAll(s, "_", " ") }

// Sentence returns Words with a capital.
func Sentence(s string) string {
	s = Words(s)
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
