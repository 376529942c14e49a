package simulator

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The exchanges under testdata/exchanges are the specification: raw requests
// and what must come back, each with the place it is known from. Format:
//
//	config NAME            which of exchangeConfigs the file runs against
//	== title               begins an exchange; all of a file share one instance
//	facts 1.2 "quotation"  why; every exchange has one
//	wait 30m               moves the clock first
//	as USER                adds Basic USER:USER, Accept and, to writes, Content-Type
//	> GET /path            the request line, then headers, an empty line, a body
//	< 200                  the status
//	< Name: value          a header, exactly; "< Name ~ text" contains; "< !Name" absent
//	. result/0/state is 1  the body; also: len N, absent, like REGEXP, keep NAME
//	. body has TEXT        the body as text; ". body empty" for none
//
// {{NAME}} is a kept value, {{base}} the server's address, {{table/display}}
// the sys_id of a row, and {{x*100}} a hundred times x.
type exchange struct {
	title, why string
	wait       time.Duration
	as         string
	request    []string
	want       []string
	line       int
}

// exchangeConfigs are the instances that files name.
func exchangeConfigs() map[string]Config {
	return map[string]Config{
		"default": {Control: true},
		"strict":  {InvalidQueryReturnsNoRows: true, Rows: incidentRows()},
		"lists":   {Rows: incidentRows()},
		"oauth": {
			OAuth: []OAuthClient{
				{ID: "client", Secret: "secret", User: "fettle"},
				{ID: "narrow", Secret: "secret", User: "fettle", Scope: "orders"},
			},
			ClientCredentials: true,
			APIKeys:           map[string]string{"key-1": "beth.anglin"},
			Profiles:          map[string]Profile{"beth.anglin": {Roles: []string{"itil"}, MFA: true}},
		},
		"unasked":      {ChangeApprovers: map[string][]string{}},
		"tasks-cancel": {ChangeApprovers: map[string][]string{}, OpenTasks: CancelOpenTasks},
		"tasks-older":  {ChangeApprovers: map[string][]string{}, OpenTasks: LeaveOpenTasks, OlderTaskStates: true},
		"grants-off": {
			OAuth:           []OAuthClient{{ID: "client", Secret: "secret", User: "fettle"}},
			NoPasswordGrant: true,
		},
		"limits": {RateLimits: []RateLimit{
			{SysID: "0123456789abcdef0123456789abcdef", Limit: 2, Users: []string{"fettle"}},
			{SysID: "fedcba9876543210fedcba9876543210", Limit: 1, Roles: []string{"admin"}, Lag: 30 * time.Second},
		}},
		"acl": {
			Rows:         incidentRows(),
			HiddenFields: map[string][]string{"incident": {"correlation_id"}, "sys_user": {"email"}},
			HiddenRow: func(user, table string, r Record) bool {
				return user != "admin" && table == "incident" && r["urgency"] == "1"
			},
			BusinessRules: []BusinessRule{{Name: "No robots", SysID: "0e5b9945", Table: "incident", Query: "short_descriptionLIKErobot"}},
		},
		"loose": {
			DataPolicies: []DataPolicy{}, NoopBumps: true, ClosedWritable: true, AutocloseAfter: 7 * 24 * time.Hour, MaxBody: 200,
			Answers:  Answers{Duplicate: ErrorAnswer{409, "Taken", "key {sys_id}"}},
			Profiles: map[string]Profile{"fettle": {FullName: "Fettle Integration", Roles: []string{"itil"}, TimeZone: "Europe/Berlin"}},
		},
	}
}

// incidentRows are three incidents with whatever queries need to tell them apart.
func incidentRows() map[string][]Record {
	group := Record{"sys_id": "287ebd7da9fe198100f92cc8d1d2154e", "name": "Network"}
	return map[string][]Record{
		"sys_user_group": {group},
		"cmdb_ci":        {{"name": "web-01", "sys_id": "c0000000000000000000000000000001"}, {"name": "web-01", "sys_id": "c0000000000000000000000000000002"}},
		"incident": {
			{"sys_id": "a0000000000000000000000000000001", "short_description": "disk full", "urgency": "1", "impact": "1", "state": "2", "correlation_id": "k-1", "assignment_group": group["sys_id"], "sys_created_on": "2026-03-01 08:00:00", "due_date": "2026-03-03 08:00:00"},
			{"sys_id": "a0000000000000000000000000000002", "short_description": "CPU high ^ hot", "urgency": "2", "impact": "1", "correlation_id": "k-2", "sys_created_on": "2026-03-02 11:30:00", "due_date": "2026-03-02 20:00:00"},
			{"sys_id": "a0000000000000000000000000000003", "short_description": "disk slow", "urgency": "3", "impact": "3", "state": "7", "sys_created_on": "2026-03-02 11:59:59"},
		},
	}
}

// clockStart is a Monday, noon.
var clockStart = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func TestExchanges(t *testing.T) {
	files, err := filepath.Glob("testdata/exchanges/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no exchanges found: %v", err)
	}
	cited := 0
	for _, file := range files {
		config, exchanges := readExchanges(t, file)
		for _, x := range exchanges {
			if strings.HasPrefix(x.why, "facts ") {
				cited++
			}
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			runExchanges(t, config, exchanges)
		})
	}
	if cited < 80 {
		t.Errorf("%d exchanges cite the facts file, at least 80 must", cited)
	}
}

func runExchanges(t *testing.T, config string, exchanges []exchange) {
	c, known := exchangeConfigs()[config]
	if !known {
		t.Fatalf("config %q is not in exchangeConfigs", config)
	}
	now := clockStart
	c.Clock = func() time.Time { return now }
	s := New(c)
	ts := httptest.NewServer(s)
	defer ts.Close()
	kept := map[string]string{"base": ts.URL}
	for _, x := range exchanges {
		now = now.Add(x.wait)
		t.Run(x.title, func(t *testing.T) {
			expand := func(line string) string { return expand(t, s, kept, line) }
			res, body := send(t, ts.URL, x, expand)
			for _, fault := range check(x, expand, res, body, kept) {
				t.Errorf("line %d: %s\n\twhy: %s\n\tgot: %s %s", x.line, fault, x.why, res.Status, body)
			}
		})
	}
}

var variable = regexp.MustCompile(`\{\{[^}]+\}\}`)

func expand(t *testing.T, s *Server, kept map[string]string, line string) string {
	return variable.ReplaceAllStringFunc(line, func(v string) string {
		name := v[2 : len(v)-2]
		if text, times, repeated := strings.Cut(name, "*"); repeated {
			n, err := strconv.Atoi(times)
			if err != nil {
				t.Fatalf("%s: %v", v, err)
			}
			return strings.Repeat(text, n)
		}
		if v, ok := kept[name]; ok {
			return v
		}
		table, display, _ := strings.Cut(name, "/")
		for _, r := range s.Records(table) {
			if r["user_name"] == display || r["number"] == display || r["name"] == display {
				return r["sys_id"]
			}
		}
		t.Fatalf("%s is neither kept nor a row", v)
		return ""
	})
}

func send(t *testing.T, base string, x exchange, expand func(string) string) (*http.Response, string) {
	t.Helper()
	method, path, _ := strings.Cut(expand(x.request[0]), " ")
	rest := x.request[1:]
	body := ""
	header := http.Header{}
	for i, line := range rest {
		if line == "" {
			body = expand(strings.Join(rest[i+1:], "\n"))
			break
		}
		name, value, _ := strings.Cut(expand(line), ": ")
		header.Set(name, value)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if x.as != "" {
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(x.as+":"+x.as)))
		req.Header.Set("Accept", "application/json")
		if method != http.MethodGet {
			req.Header.Set("Content-Type", "application/json")
		}
	}
	for name, values := range header {
		req.Header[name] = values
	}
	tr := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(raw)
}

// check returns what is wrong with an answer, nothing when all is as wanted.
func check(x exchange, expand func(string) string, res *http.Response, body string, kept map[string]string) []string {
	var faults []string
	var parsed any
	if json.Unmarshal([]byte(body), &parsed) != nil {
		parsed = nil
	}
	for _, line := range x.want {
		kind, rest := line[:1], expand(strings.TrimSpace(line[1:]))
		fault := ""
		if kind == "<" {
			fault = checkHead(rest, res)
		} else {
			fault = checkBody(rest, body, parsed, kept)
		}
		if fault != "" {
			faults = append(faults, fault)
		}
	}
	return faults
}

func checkHead(want string, res *http.Response) string {
	if status, err := strconv.Atoi(want); err == nil {
		if res.StatusCode != status {
			return fmt.Sprintf("status %d, want %d", res.StatusCode, status)
		}
		return ""
	}
	if name, absent := strings.CutPrefix(want, "!"); absent {
		if got := res.Header.Values(name); got != nil {
			return fmt.Sprintf("header %s is %q, want none", name, got)
		}
		return ""
	}
	if name, text, part := strings.Cut(want, " ~ "); part {
		if got := res.Header.Get(name); !strings.Contains(got, text) {
			return fmt.Sprintf("header %s is %q, want it to contain %q", name, got, text)
		}
		return ""
	}
	name, value, ok := strings.Cut(want, ": ")
	if got := res.Header.Get(name); !ok || got != value {
		return fmt.Sprintf("header %s is %q, want %q", name, got, value)
	}
	return ""
}

func checkBody(want, body string, parsed any, kept map[string]string) string {
	path, rest, _ := strings.Cut(want, " ")
	verb, arg, _ := strings.Cut(rest, " ")
	if path == "body" {
		switch {
		case verb == "empty" && body == "", verb == "has" && strings.Contains(body, arg):
			return ""
		}
		return "want body " + rest
	}
	got, found := lookUp(parsed, path)
	switch verb {
	case "absent":
		if found {
			return fmt.Sprintf("%s is %v, want it absent", path, got)
		}
		return ""
	case "len":
		list, isList := got.([]any)
		if n, err := strconv.Atoi(arg); err != nil || !isList || len(list) != n {
			return fmt.Sprintf("%s has %d members, want %s", path, len(list), arg)
		}
		return ""
	}
	if !found {
		return path + " is absent"
	}
	switch verb {
	case "is":
		wanted := any(arg)
		if strings.HasPrefix(arg, "{") || strings.HasPrefix(arg, "[") || strings.HasPrefix(arg, `"`) || arg == "null" {
			if err := json.Unmarshal([]byte(arg), &wanted); err != nil {
				return fmt.Sprintf("%s: %v", want, err)
			}
		}
		if n, isNumber := got.(float64); isNumber {
			got = fmt.Sprintf("number %v", n)
		}
		if !reflect.DeepEqual(got, wanted) {
			return fmt.Sprintf("%s is %#v, want %#v", path, got, wanted)
		}
	case "like":
		text, isString := got.(string)
		if !isString || !regexp.MustCompile(arg).MatchString(text) {
			return fmt.Sprintf("%s is %#v, want it like %s", path, got, arg)
		}
	case "keep":
		text, isString := got.(string)
		if !isString {
			return fmt.Sprintf("%s is %#v, want a string to keep", path, got)
		}
		kept[arg] = text
	default:
		return "unknown expectation " + want
	}
	return ""
}

// lookUp follows a path of member names and list positions.
func lookUp(v any, path string) (any, bool) {
	for part := range strings.SplitSeq(path, "/") {
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[part]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(in) {
				return nil, false
			}
			v = in[i]
		default:
			return nil, false
		}
	}
	return v, true
}

func readExchanges(t *testing.T, file string) (config string, exchanges []exchange) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	config = "default"
	x := &exchange{}
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		line := sc.Text()
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "", "#":
		case "config":
			config = rest
		case "==":
			exchanges = append(exchanges, exchange{title: rest, line: n})
			x = &exchanges[len(exchanges)-1]
		case "facts", "vendor", "brief":
			x.why = line
		case "wait":
			if x.wait, err = time.ParseDuration(rest); err != nil {
				t.Fatalf("%s:%d: %v", file, n, err)
			}
		case "as":
			x.as = rest
		case ">":
			x.request = append(x.request, rest)
		case "<", ".":
			x.want = append(x.want, line)
		default:
			t.Fatalf("%s:%d: cannot read %q", file, n, line)
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	for _, x := range exchanges {
		if x.why == "" || len(x.request) == 0 || len(x.want) == 0 {
			t.Fatalf("%s:%d: %q needs a reason, a request and an expectation", file, x.line, x.title)
		}
	}
	return config, exchanges
}

// TestExchangeCheckFails proves that the runner finds faults: each expectation
// below is wrong about the answer and must be reported.
func TestExchangeCheckFails(t *testing.T) {
	res := &http.Response{StatusCode: 200, Status: "200 OK", Header: http.Header{"Link": {"<x>"}}}
	body := `{"result":[{"state":"1","count":1,"ref":{"value":"x"}}]}`
	same := func(line string) string { return line }
	f := func(want string, faults int) {
		t.Helper()
		got := check(exchange{want: []string{want}}, same, res, body, map[string]string{})
		if len(got) != faults {
			t.Errorf("check(%q) found %q, want %d faults", want, got, faults)
		}
	}
	f("< 200", 0)
	f("< 201", 1)
	f("< Link: <x>", 0)
	f("< Link: <y>", 1)
	f("< Link", 1)
	f("< Link ~ y", 1)
	f("< !Link", 1)
	f("< !Retry-After", 0)
	f(". result/0/state is 1", 0)
	f(". result/0/state is 2", 1)
	f(". result/0/count is 1", 1) // a number where a string belongs
	f(". result/0/ref is {\"value\":\"x\"}", 0)
	f(". result/0/ref is {\"value\":\"y\"}", 1)
	f(". result/0/state absent", 1)
	f(". result/1 absent", 0)
	f(". result/0/other is 1", 1)
	f(". result len 1", 0)
	f(". result len 2", 1)
	f(". result/0/state len 1", 1)
	f(". result/0/state like ^2$", 1)
	f(". result/0/ref keep x", 1)
	f(". result/0/state likes 1", 1)
	f(". body has other", 1)
	f(". body empty", 1)
}
