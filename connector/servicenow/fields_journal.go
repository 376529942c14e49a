package servicenow

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

const journalTable = "sys_journal_field"

var (
	notePattern = regexp.MustCompile(`\s*\[fettle:([0-9A-Za-z._:-]{1,100})\]\s*$`)
	// codePattern is what makes an instance render a note as HTML.
	codePattern = regexp.MustCompile(`(?i)\[(/?code)\]`)
)

// journalQuery finds the journals of records. There is no second order: within
// a second the table's own is the best there is.
func journalQuery(table string, refs []string) string {
	return "name=" + table + "^elementINwork_notes,comments^element_idIN" + strings.Join(refs, ",") + "^ORDERBYsys_created_on"
}

var journalFields = []string{"sys_id", "element_id", "element", "value", "sys_created_on", "sys_created_by"}

// noteOut returns a work note with its id at the end. Text between [code] and
// [/code] would be shown as HTML, and ours may come from an alert.
func noteOut(n ops.Note) body {
	return body{"work_notes": codePattern.ReplaceAllString(n.Text, "($1)") + "\n\n[fettle:" + n.ID + "]"}
}

// noteIn reads a journal entry.
func noteIn(r row, me string) (connector.Note, error) {
	at, err := time.Parse(stampLayout, r.get("sys_created_on"))
	if err != nil {
		return connector.Note{}, fmt.Errorf("sys_created_on of a journal entry: %w: %w", err, ops.ErrUnavailable)
	}
	n := connector.Note{Note: ops.Note{ID: r.get("sys_id"), At: at, Author: r.get("sys_created_by"), Text: r.get("value")}}
	n.Own = strings.EqualFold(n.Author, me) // signing in does not mind the case
	if n.Own {
		n.ID, n.Text = marked(n.ID, n.Text)
	}
	return n, nil
}

// marked takes the id of a note of ours out of its text, id when it has none.
func marked(id, text string) (string, string) {
	if m := notePattern.FindStringSubmatchIndex(text); m != nil {
		return text[m[2]:m[3]], text[:m[0]]
	}
	return id, text
}

// shownFields hold the journals as people see them, when asked for display values.
var shownFields = []string{"sys_id", "work_notes", "comments"}

// entryPattern begins an entry of a shown journal, in the time format of a
// fresh instance: "2026-11-21 09:00:00 - Beth Anglin (Work notes)".
var entryPattern = regexp.MustCompile(`(?m)^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) - (.+) \([^()\n]+\)$`)

// shownNotes reads journals as people see them, oldest first. Authors are full
// names there, so ours are told by their id alone.
func shownNotes(r row) []connector.Note {
	var out []connector.Note
	for _, name := range shownFields[1:] {
		text := strings.ReplaceAll(r.get(name), "\r\n", "\n")
		starts := entryPattern.FindAllStringSubmatchIndex(text, -1)
		for i, s := range starts {
			end := len(text)
			if i+1 < len(starts) {
				end = starts[i+1][0]
			}
			at, err := time.Parse(stampLayout, text[s[2]:s[3]])
			if err != nil {
				continue // a note that quotes something like an entry
			}
			n := ops.Note{At: at, Author: text[s[4]:s[5]], Text: strings.TrimSpace(text[s[1]:end])}
			sum := sha256.Sum256([]byte(name + "\x00" + n.Author + "\x00" + text[s[2]:s[3]] + "\x00" + n.Text))
			n.ID = hex.EncodeToString(sum[:16])
			id, plain := marked(n.ID, n.Text)
			own := id != n.ID
			n.ID, n.Text = id, plain
			out = append(out, connector.Note{Note: n, Own: own})
		}
	}
	// Shown newest first; entries of one second keep the order they were made in.
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b connector.Note) int { return a.At.Compare(b.At) })
	return out
}
