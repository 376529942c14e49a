package simulator

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// start runs a simulator whose clock stands still at clockStart.
func start(t *testing.T, c Config) (*Server, *httptest.Server) {
	t.Helper()
	if c.Clock == nil {
		c.Clock = func() time.Time { return clockStart }
	}
	s := New(c)
	ts := httptest.NewServer(s)
	t.Cleanup(ts.Close)
	return s, ts
}

// ask sends one request as fettle and returns the status, 0 for a cut connection.
func ask(t *testing.T, ts *httptest.Server, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, ts.URL+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return -1, ""
	}
	req.SetBasicAuth("fettle", "fettle")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	res, err := ts.Client().Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return res.StatusCode, string(raw)
}

const (
	incidents = "/api/now/table/incident"
	someID    = "0123456789abcdef0123456789abcdef"
)

func TestConcurrentCreateOfOneID(t *testing.T) {
	s, ts := start(t, Config{})
	const racers = 20
	statuses := make([]int, racers)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			statuses[i], _ = ask(t, ts, "POST", incidents, fmt.Sprintf(`{"sys_id":%q,"short_description":"racer %d"}`, someID, i))
		})
	}
	wg.Wait()
	got := map[int]int{}
	for _, status := range statuses {
		got[status]++
	}
	if got[201] != 1 || got[403] != racers-1 {
		t.Errorf("statuses %v, want one 201 and %d 403", got, racers-1)
	}
	all := s.Incidents()
	if len(all) != 1 {
		t.Fatalf("%d incidents, want 1", len(all))
	}
	won := statuses[0]
	fmt.Sscanf(all[0]["short_description"], "racer %d", &won)
	if statuses[won] != 201 {
		t.Errorf("racer %d is in the table, but was answered %d", won, statuses[won])
	}
	if c := s.Counts(); c != (Counts{Requests: racers, Writes: racers, Changes: 1}) {
		t.Errorf("counts %+v", c)
	}
}

func TestConcurrentUpdatesAllCount(t *testing.T) {
	s, ts := start(t, Config{})
	ask(t, ts, "POST", incidents, `{"sys_id":"`+someID+`"}`)
	const writers = 20
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			if status, body := ask(t, ts, "PATCH", incidents+"/"+someID, fmt.Sprintf(`{"work_notes":"note %d"}`, i)); status != 200 {
				t.Errorf("status %d: %s", status, body)
			}
		})
	}
	wg.Wait()
	if n := s.Incidents()[0]["sys_mod_count"]; n != "20" {
		t.Errorf("sys_mod_count %s, want 20", n)
	}
	seen := map[string]bool{}
	for _, e := range s.Journal(someID) {
		seen[e.Value] = true
	}
	if len(seen) != writers {
		t.Errorf("%d different notes, want %d", len(seen), writers)
	}
}

func TestPriorities(t *testing.T) {
	_, ts := start(t, Config{})
	f := func(impact, urgency, want string) {
		t.Helper()
		_, body := ask(t, ts, "POST", incidents+"?sysparm_fields=priority", fmt.Sprintf(`{"impact":%q,"urgency":%q}`, impact, urgency))
		if body != `{"result":{"priority":"`+want+`"}}` {
			t.Errorf("impact %s, urgency %s: %s, want priority %s", impact, urgency, body, want)
		}
	}
	f("1", "1", "1")
	f("1", "2", "2")
	f("1", "3", "3")
	f("2", "1", "2")
	f("2", "2", "3")
	f("2", "3", "4")
	f("3", "1", "3")
	f("3", "2", "4")
	f("3", "3", "5")
}

func TestPrioritiesArePerCustomer(t *testing.T) {
	_, ts := start(t, Config{Priorities: map[string]string{"1,1": "4"}})
	f := func(level, want string) {
		t.Helper()
		_, body := ask(t, ts, "POST", incidents+"?sysparm_fields=priority", fmt.Sprintf(`{"impact":%q,"urgency":%q}`, level, level))
		if body != `{"result":{"priority":"`+want+`"}}` {
			t.Errorf("impact and urgency %s: %s, want priority %s", level, body, want)
		}
	}
	f("1", "4")
	f("2", "5") // no rule
}

func TestRateLimitForEverybody(t *testing.T) {
	_, ts := start(t, Config{RateLimits: []RateLimit{{SysID: someID, Limit: 1}}})
	if status, _ := ask(t, ts, "GET", incidents, ""); status != 200 {
		t.Errorf("first: status %d, want 200", status)
	}
	if status, _ := ask(t, ts, "GET", incidents, ""); status != 429 {
		t.Errorf("second: status %d, want 429", status)
	}
}

func TestLinksFollowTLS(t *testing.T) {
	ts := httptest.NewTLSServer(New(Config{Clock: func() time.Time { return clockStart }}))
	defer ts.Close()
	_, body := ask(t, ts, "POST", incidents, `{}`)
	if !strings.Contains(body, `"link":"`+ts.URL+"/api/now/table/sys_user/") {
		t.Errorf("links do not begin with %s: %s", ts.URL, body)
	}
}

// TestDeleteTakesTheJournalAlong also shows that a number is never given twice.
func TestDeleteTakesTheJournalAlong(t *testing.T) {
	s, ts := start(t, Config{})
	ask(t, ts, "POST", incidents, `{"sys_id":"`+someID+`","work_notes":"gone soon"}`)
	if status, _ := ask(t, ts, "DELETE", incidents+"/"+someID, ""); status != 204 {
		t.Fatalf("status %d, want 204", status)
	}
	if j := s.Journal(someID); j != nil || len(s.Records("sys_journal_field")) != 0 {
		t.Errorf("journal %v is left", j)
	}
	ask(t, ts, "POST", incidents, `{"number":"INC0010002"}`)
	ask(t, ts, "POST", incidents, `{}`)
	var numbers []string
	for _, r := range s.Incidents() {
		numbers = append(numbers, r["number"])
	}
	if got := strings.Join(numbers, " "); got != "INC0010002 INC0010003" {
		t.Errorf("numbers %s, want none of them twice", got)
	}
}

func TestRequestLog(t *testing.T) {
	s, ts := start(t, Config{RequestLog: 3})
	ask(t, ts, "POST", incidents, `{"sys_id":"`+someID+`","short_description":"one"}`)
	ask(t, ts, "PATCH", incidents+"/"+someID, `{"short_description":"one"}`)
	ask(t, ts, "PATCH", incidents+"/"+someID, `{"short_description":"two"}`)
	ask(t, ts, "GET", incidents+"?sysparm_limit=1", "")
	if c := s.Counts(); c != (Counts{Requests: 4, Writes: 3, Changes: 2}) {
		t.Errorf("counts %+v, want the PATCH to the same to be a write and no change", c)
	}
	got := s.Requests()
	if len(got) != 3 || got[0].Seq != 2 || got[0].Changed || !got[1].Changed {
		t.Fatalf("log %+v, want the latest three", got)
	}
	want := Request{Seq: 4, At: clockStart, User: "fettle", Method: "GET", Path: incidents, Query: "sysparm_limit=1", Status: 200}
	if got[2] != want {
		t.Errorf("last %+v, want %+v", got[2], want)
	}
	if got[1].Body != `{"short_description":"two"}` {
		t.Errorf("body %q", got[1].Body)
	}
	for range 20 {
		ask(t, ts, "GET", incidents, "")
	}
	if got := s.Requests(); len(got) != 3 || got[2].Seq != 24 {
		t.Errorf("log %+v, want it bounded", got)
	}
}

func TestRequestLogKeepsNoSecrets(t *testing.T) {
	s, ts := start(t, Config{OAuth: []OAuthClient{{ID: "client", Secret: "hush"}}})
	res, err := ts.Client().Post(ts.URL+"/oauth_token.do", "application/x-www-form-urlencoded",
		strings.NewReader("grant_type=password&client_id=client&client_secret=hush&username=fettle&password=fettle"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Fatalf("status %d", res.StatusCode)
	}
	if log := fmt.Sprintf("%+v", s.Requests()); strings.Contains(log, "hush") {
		t.Errorf("log holds the client secret: %s", log)
	}
}

func TestRevokeTokens(t *testing.T) {
	s, ts := start(t, Config{OAuth: []OAuthClient{{ID: "client", Secret: "secret"}}})
	s.mu.Lock()
	value := s.issue(s.tokens.accesses, token{user: "fettle", scope: defaultScope}, clockStart.Add(time.Hour))
	s.mu.Unlock()
	f := func(want int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", ts.URL+incidents, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "*/*")
		req.Header.Set("Authorization", "Bearer "+value)
		res, err := ts.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("status %d, want %d", res.StatusCode, want)
		}
	}
	f(200)
	s.RevokeTokens()
	f(401)
}

func TestSnapshotsAreCopies(t *testing.T) {
	s, ts := start(t, Config{})
	ask(t, ts, "POST", incidents, `{"sys_id":"`+someID+`","short_description":"mine"}`)
	s.Incidents()[0]["short_description"] = "theirs"
	if got := s.Incidents()[0]["short_description"]; got != "mine" {
		t.Errorf("a reader changed the table to %q", got)
	}
	if s.Records("no_such_table") != nil {
		t.Error("an unknown table has rows")
	}
}

func TestSameSeedSameAnswers(t *testing.T) {
	f := func(seed string) string {
		_, ts := start(t, Config{Seed: seed, BaseURL: "https://dev.example.com/"})
		_, body := ask(t, ts, "POST", incidents, `{"short_description":"x","work_notes":"y"}`)
		return body
	}
	if a, b := f("a"), f("a"); a != b {
		t.Errorf("the same seed answered\n%s\nand\n%s", a, b)
	}
	if f("a") == f("b") {
		t.Error("another seed made the same sys_id")
	}
	if !strings.Contains(f("a"), `"link":"https://dev.example.com/api/now/table/sys_user/`) {
		t.Error("links do not begin with BaseURL")
	}
}

// TestUnorderedListsShuffle shows why a client must order its pages.
func TestUnorderedListsShuffle(t *testing.T) {
	_, ts := start(t, Config{ShuffleUnordered: true})
	for range 10 {
		ask(t, ts, "POST", incidents, `{}`)
	}
	get := func(query string) string {
		_, body := ask(t, ts, "GET", incidents+"?sysparm_fields=number&sysparm_query="+query, "")
		return body
	}
	if a, b := get("ORDERBYnumber"), get("ORDERBYnumber"); a != b {
		t.Errorf("ordered lists differ:\n%s\n%s", a, b)
	}
	if first, second := get(""), get(""); first == second {
		t.Error("two unordered lists came in the same order")
	}
}

func TestNewRefusesMistakes(t *testing.T) {
	f := func(name string, c Config, want string) {
		t.Helper()
		defer func() {
			t.Helper()
			if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
				t.Errorf("%s: panic %q, want it to name %q", name, got, want)
			}
		}()
		New(c)
	}
	clock := func() time.Time { return clockStart }
	f("no clock", Config{}, "Config.Clock")
	f("unknown table", Config{Clock: clock, Rows: map[string][]Record{"change_phase": {}}}, "change_phase")
	f("unknown field", Config{Clock: clock, Rows: map[string][]Record{"incident": {{"colour": "red"}}}}, "incident.colour")
	f("same key", Config{Clock: clock, Rows: map[string][]Record{"incident": {{"sys_id": someID}, {"sys_id": someID}}}}, someID)
	f("policy", Config{Clock: clock, DataPolicies: []DataPolicy{{Table: "incident", Field: "colour"}}}, "incident.colour")
	f("rule", Config{Clock: clock, BusinessRules: []BusinessRule{{Table: "colour"}}}, "colour")
}

func BenchmarkCreate(b *testing.B) {
	s := New(Config{Clock: func() time.Time { return clockStart }})
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest("POST", incidents, strings.NewReader(`{"short_description":"bench"}`))
		req.SetBasicAuth("fettle", "fettle")
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, req)
		if rec.Code != 201 {
			b.Fatalf("status %d: %s", rec.Code, rec.Body)
		}
	}
}
