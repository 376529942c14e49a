package house

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	_ "modernc.org/sqlite" // reads the database file of the server
)

// open opens the server's database file for reading, also while it runs.
func (h *House) open() *sql.DB {
	h.T.Helper()
	d, err := openFile(filepath.Join(h.Dir, "fettle.db"))
	if err != nil {
		h.T.Fatal(err)
	}
	return d
}

func openFile(path string) (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+path+"?_pragma=query_only(1)&_pragma=busy_timeout(10000)")
}

// rows runs a query and returns every row as strings.
func (h *House) rows(d *sql.DB, query string, args ...any) [][]string {
	h.T.Helper()
	rs, err := d.Query(query, args...)
	if err != nil {
		h.T.Fatalf("%s: %v", query, err)
	}
	defer rs.Close()
	cols, err := rs.Columns()
	if err != nil {
		h.T.Fatal(err)
	}
	var out [][]string
	for rs.Next() {
		row := make([]string, len(cols))
		to := make([]any, len(cols))
		for i := range row {
			to[i] = &row[i]
		}
		if err := rs.Scan(to...); err != nil {
			h.T.Fatal(err)
		}
		out = append(out, row)
	}
	if err := rs.Err(); err != nil {
		h.T.Fatal(err)
	}
	return out
}

// open work, each with a query that counts or shows what is left of it.
var work = []struct{ what, query string }{
	{"signals not in an incident", `SELECT seq FROM signal WHERE seq > (SELECT COALESCE(MAX(position), 0) FROM cursor WHERE name = 'correlate')`},
	{"commands", `SELECT kind || ' ' || subject || ' ' || error FROM command WHERE state = 'waiting' AND kind <> 'WakeChange'`}, // a wake-up that is overtaken does nothing; the changes below say what waits,
	{"tickets to write", `SELECT platform || ' ' || display || ' ' || sync_note FROM ticket WHERE dirty = 1`},
	{"notes to deliver", `SELECT ticket_id || ' ' || id FROM ticket_note WHERE state IN ('waiting', 'sending')`},
	{"executions", `SELECT id || ' ' || phase FROM execution WHERE phase <> 'ended'`},
	{"verdicts", `SELECT run_id FROM verification WHERE ended_at = 0`},
	{"changes", `SELECT 'CHG-' || number || ' ' || state FROM change WHERE state NOT IN ('closed', 'cancelled') AND COALESCE(json_extract(body, '$.run.state'), '') <> 'held'`},
}

// Drain waits until nothing is left to do and stays so.
func (h *House) Drain(within time.Duration) {
	h.T.Helper()
	d := h.open()
	defer d.Close()
	limit := time.Now().Add(within)
	quiet, last := time.Now(), ""
	for {
		var left []string
		for _, w := range work {
			if rs := h.rows(d, w.query); len(rs) > 0 {
				left = append(left, fmt.Sprintf("%d %s, such as %s", len(rs), w.what, rs[0][0]))
			}
		}
		fact := h.rows(d, "SELECT COALESCE(MAX(seq), 0) FROM fact")[0][0]
		switch now := strings.Join(left, "; ") + " at fact " + fact; {
		case len(left) > 0 || now != last:
			quiet, last = time.Now(), now
		case time.Since(quiet) > 1500*time.Millisecond:
			return
		}
		if time.Now().After(limit) {
			h.Dump()
			h.T.Fatalf("after %v there is still open work: %s", within, last)
		}
		select {
		case <-h.done:
			h.T.Fatalf("the server ended while it drained: %v", h.cmd.ProcessState)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Chains checks the hash chain of every incident and change through the API,
// and of the newest of each by the command line.
func (h *House) Chains(ctx context.Context) int {
	h.T.Helper()
	d := h.open()
	defer d.Close()
	keys := append(h.rows(d, "SELECT 'INC-' || number FROM incident ORDER BY number"), h.rows(d, "SELECT 'CHG-' || number FROM change ORDER BY number")...)
	for _, k := range keys {
		var story struct {
			Intact   bool   `json:"intact"`
			Verified string `json:"verified"`
		}
		if err := h.Call(ctx, http.MethodGet, "/trail/"+k[0]+"?verify=true", nil, &story); err != nil {
			h.T.Error(err)
		} else if !story.Intact {
			h.T.Errorf("%s: %s", k[0], story.Verified)
		}
	}
	for _, k := range []int{0, len(keys) - 1} {
		if out, err := h.Fettle(ctx, "trail", keys[k][0], "--verify"); err != nil {
			h.T.Errorf("fettle trail %s --verify: %v\n%s", keys[k][0], err, out)
		}
	}
	return len(keys)
}

// Count returns how many rows a query gives; the server may run.
func (h *House) Count(query string, args ...any) int {
	h.T.Helper()
	d := h.open()
	defer d.Close()
	return len(h.rows(d, query, args...))
}

// Column returns the first column of a query; the server may run.
func (h *House) Column(query string, args ...any) []string {
	h.T.Helper()
	d := h.open()
	defer d.Close()
	var out []string
	for _, r := range h.rows(d, query, args...) {
		out = append(out, r[0])
	}
	return out
}

// Value returns the first value of a query, empty where there is none.
func (h *House) Value(query string, args ...any) string {
	h.T.Helper()
	if c := h.Column(query, args...); len(c) > 0 {
		return c[0]
	}
	return ""
}

// Sound checks what must hold after a drain, whatever happened before: final
// is what senders were acknowledged, by fingerprint.
func (h *House) Sound(final map[string]Alert) {
	h.T.Helper()
	d := h.open()
	defer d.Close()
	h.alerts(d, final)
	h.tickets(d)
	h.runs(d)
}

func (h *House) alerts(d *sql.DB, final map[string]Alert) {
	h.T.Helper()
	state := map[string]string{}
	for _, r := range h.rows(d, "SELECT fingerprint, state FROM alert ORDER BY last_seen, incident_id") {
		state[r[0]] = r[1]
	}
	for fp, a := range final {
		want := "resolved"
		if a.Firing {
			want = "firing"
		}
		if got := state["am:"+fp]; got != want {
			h.T.Errorf("alert %s was acknowledged as %s and is %q", fp, want, got)
		}
	}
	for _, r := range h.rows(d, `SELECT 'INC-' || number, state, (SELECT COUNT(*) FROM alert WHERE incident_id = incident.id AND state = 'firing') FROM incident`) {
		open := r[1] != "resolved" && r[1] != "closed" && r[1] != "cancelled"
		if open != (r[2] != "0") {
			h.T.Errorf("%s is %s with %s alerts firing", r[0], r[1], r[2])
		}
	}
	for _, r := range h.rows(d, `SELECT group_key, COUNT(*) FROM incident GROUP BY group_key HAVING COUNT(*) > 1`) {
		h.T.Errorf("%s incidents of the group %s, all within the time to reopen", r[1], r[0])
	}
}

// key is the rule for sys_ids: the first 16 bytes of SHA-256 over installation,
// platform, kind and incident, each with its length before it.
func key(parts ...string) string {
	sum := sha256.New()
	for _, p := range parts {
		sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		sum.Write([]byte(p))
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

var noteMark = regexp.MustCompile(`\[fettle:([^\]]+)\]\s*$`)

func (h *House) tickets(d *sql.DB) {
	h.T.Helper()
	installation := h.rows(d, "SELECT value FROM setting WHERE name = 'installation'")[0][0]
	snow := map[string]string{} // state by sys_id
	for _, r := range h.Snow.Incidents() {
		if r["correlation_id"] == "" {
			continue // of a person, not ours
		}
		if _, twice := snow[r["correlation_id"]]; twice || r["sys_id"] != r["correlation_id"] {
			h.T.Errorf("ServiceNow has a second incident %s of %s", r["number"], r["correlation_id"])
		}
		snow[r["correlation_id"]] = r["state"]
		seen := map[string]bool{}
		for _, n := range h.Snow.Journal(r["sys_id"]) {
			if m := noteMark.FindStringSubmatch(n.Value); m != nil {
				if seen[m[1]] {
					h.T.Errorf("%s has the note %s twice", r["number"], m[1])
				}
				seen[m[1]] = true
			}
		}
	}
	desk := map[string]string{}
	for _, r := range h.rows(d, "SELECT CAST(value AS TEXT) FROM record WHERE namespace = 'connector/desk' AND CAST(key AS TEXT) LIKE 'ticket/%'") {
		var t struct {
			Key    string `json:"key"`
			Fields struct {
				State string `json:"state"`
			} `json:"fields"`
		}
		if err := json.Unmarshal([]byte(r[0]), &t); err != nil {
			h.T.Fatal(err)
		}
		if _, twice := desk[t.Key]; twice {
			h.T.Errorf("desk has two tickets of the key %s", t.Key)
		}
		desk[t.Key] = t.Fields.State
	}
	incidents := h.rows(d, "SELECT id, state, 'INC-' || number, COALESCE(json_extract(body, '$.rule'), '') FROM incident")
	over := func(s string) bool { return s == "resolved" || s == "closed" }
	for _, i := range incidents {
		k := key(installation, "snow", "incident", "incident/"+i[0])
		if s, there := snow[k]; !there {
			h.T.Errorf("%s has no ticket in ServiceNow (sys_id %s)", i[2], k)
		} else if over(i[1]) != (s == "6" || s == "7") {
			h.T.Errorf("%s is %s, its ticket in ServiceNow has state %s", i[2], i[1], s)
		}
		k = key(installation, "desk", "incident", "incident/"+i[0])
		if s, there := desk[k]; !there {
			h.T.Errorf("%s has no ticket in desk", i[2])
		} else if over(i[1]) != over(s) {
			h.T.Errorf("%s is %s, its ticket in desk %s", i[2], i[1], s)
		}
		if h.RT != nil && i[3] == RTRule {
			h.rtTicket(i[2], key(installation, "rt", "incident", "incident/"+i[0]), over(i[1]))
		}
	}
	if len(snow) != len(incidents) || len(desk) != len(incidents) {
		h.T.Errorf("%d incidents have %d tickets in ServiceNow and %d in desk", len(incidents), len(snow), len(desk))
	}
}

// runs checks that no run was executed twice, and that what is told of each
// run is what its command did.
func (h *House) runs(d *sql.DB) {
	h.T.Helper()
	did := h.Ran()
	for line, n := range did {
		if n > 1 {
			h.T.Errorf("executed %d times: %s", n, line)
		}
	}
	told := func(kind, verb, suffix string) {
		for _, r := range h.rows(d, `SELECT DISTINCT json_extract(body, '$.run.token'), subject FROM fact WHERE kind = ? AND COALESCE(json_extract(body, '$.error'), '') = ''`, kind) {
			if n := did[verb+" "+r[0]+suffix]; n != 1 {
				h.T.Errorf("%s is told of run %s of %s, whose command ran %d times", kind, r[0], r[1], n)
			}
		}
	}
	told("RunApplied", "apply", "")
	for _, r := range h.rows(d, `SELECT plan_id, COUNT(*) FROM run GROUP BY plan_id HAVING COUNT(*) > 1`) {
		h.T.Errorf("plan %s has %s runs", r[0], r[1])
	}
}

// Ran returns how often each command left its line.
func (h *House) Ran() map[string]int {
	h.T.Helper()
	out := map[string]int{}
	f, err := os.Open(h.Effects)
	if os.IsNotExist(err) {
		return out
	}
	if err != nil {
		h.T.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		out[s.Text()]++
	}
	return out
}
