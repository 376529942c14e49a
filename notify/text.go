package notify

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fettleops/fettle/ops"
)

// Cut returns s with at most limit bytes, cut between characters and then
// ending in an ellipsis.
func Cut(s string, limit int) string {
	const end = "…"
	if len(s) <= limit {
		return s
	}
	if limit < len(end) {
		return ""
	}
	n := limit - len(end)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + end
}

// CutRunes returns s with at most limit characters, then ending in an ellipsis.
func CutRunes(s string, limit int) string {
	if len(s) <= limit || utf8.RuneCountInString(s) <= limit {
		return s
	}
	n, at := 0, 0
	for i := range s {
		if n == max(limit-1, 0) {
			at = i
			break
		}
		n++
	}
	return s[:at] + "…"
}

// OneLine returns s without line breaks and other control characters.
func OneLine(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))), " ")
}

// Stamp writes a time as all channels do.
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// Details returns what a message says beside its title, why and link: pairs
// of name and value, in the order in which they are shown.
func Details(m Message) [][2]string {
	var out [][2]string
	add := func(name, value string) {
		if value != "" {
			out = append(out, [2]string{name, OneLine(value)})
		}
	}
	add("Severity", string(m.Severity))
	add("Resource", m.Resource)
	add("Team", m.Team)
	for _, t := range m.Tickets {
		add("Ticket", t.Display+" ("+t.Platform+")")
	}
	add("Time", Stamp(m.At))
	return out
}

// Line renders one line of a digest.
func Line(h ops.HeldNotice) string {
	s := Stamp(h.At) + "  " + OneLine(h.Title)
	if h.Unsure {
		s += "  (it may have arrived already)"
	}
	return s
}

// Lines renders the lines of a digest, at most limit bytes of them, and
// says how many are left out.
func Lines(m Message, limit int) string {
	var b strings.Builder
	const reserve = 48 // of the last line
	shown := 0
	for _, h := range m.Held {
		line := "- " + Line(h) + "\n"
		if b.Len()+len(line) > limit-reserve {
			break
		}
		b.WriteString(line)
		shown++
	}
	if left := len(m.Held) - shown + m.More; left > 0 {
		fmt.Fprintf(&b, "- and %d more, see the link\n", left)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Text renders a message as plain text of at most limit bytes.
func Text(m Message, limit int) string {
	var end strings.Builder
	for _, d := range Details(m) {
		fmt.Fprintf(&end, "%s: %s\n", d[0], d[1])
	}
	for _, t := range m.Tickets {
		if t.URL != "" {
			fmt.Fprintf(&end, "%s: %s\n", t.Display, t.URL)
		}
	}
	if m.Link != "" {
		fmt.Fprintf(&end, "%s\n", m.Link)
	}
	var parts []string
	left := limit - end.Len() - len(m.Title) - 4
	for _, p := range []string{m.What, m.Why, Lines(m, left)} {
		if p = Cut(strings.TrimSpace(strings.ToValidUTF8(p, "?")), left); p != "" {
			parts = append(parts, p)
			left -= len(p) + 2
		}
	}
	head := OneLine(m.Title) + "\n\n"
	if len(parts) > 0 {
		head += strings.Join(parts, "\n\n") + "\n\n"
	}
	return Cut(head+strings.TrimSuffix(end.String(), "\n"), limit)
}
