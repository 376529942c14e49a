package intaketest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// Harness tells the suite how one kind of sender talks.
type Harness struct {
	Auth    string // YAML of the integration's auth
	Options string // YAML of its options
	Secrets Secrets
	Fetch   intake.Fetcher
	// Request returns the n-th message of the sender with its credential, at
	// the time Now. Equal n is the same message.
	Request func(n int) Request
	// Forge takes the credential of a request and puts a wrong one in place.
	Forge func(r Request) Request
	// Strip takes the credential away.
	Strip func(r Request) Request
	// Numbered says that the sender numbers its messages, so that a repeat is
	// dropped by the log.
	Numbered bool
	// Retries reports whether the sender tries again after a status: facts,
	// cross-cutting rule 1.
	Retries func(status int) bool
	// Empty says that an empty array is a delivery with nothing in it.
	Empty bool
	// Signed says that a broken body is a broken signature.
	Signed bool
}

type rule struct {
	name string
	why  string
	test func(t *testing.T, c *check)
}

// check is one rule being tested. Every failure carries the rule's why.
type check struct {
	Harness
	driver intake.Driver
	why    string
	house  *House
	bodies []string
}

func (c *check) errorf(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Errorf("%s\n\twhy: %s", fmt.Sprintf(format, args...), c.why)
}

func (c *check) setup() Setup {
	return Setup{Driver: c.driver, Auth: c.Auth, Options: c.Options, Secrets: c.Secrets, Fetch: c.Fetch}
}

func (c *check) send(t *testing.T, r Request) *httptest.ResponseRecorder {
	t.Helper()
	rec := c.house.Send(t, r)
	c.bodies = append(c.bodies, rec.Body.String())
	return rec
}

func success(status int) bool { return status >= 200 && status < 300 }

func (c *check) accepted(t *testing.T, r Request) {
	t.Helper()
	if rec := c.send(t, r); !success(rec.Code) {
		c.errorf(t, "answer %d %s, want success; log:\n%s", rec.Code, rec.Body, c.house.Logs())
	}
}

// refused checks for one of the statuses, a problem document with a fix, and
// that nothing was kept.
func (c *check) refused(t *testing.T, r Request, statuses ...int) *httptest.ResponseRecorder {
	t.Helper()
	before := len(c.house.Stored(t))
	rec := c.send(t, r)
	if !slices.Contains(statuses, rec.Code) {
		c.errorf(t, "answer %d %s, want one of %v", rec.Code, rec.Body, statuses)
	}
	var p struct {
		Status int
		Fix    string
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &p); r.Method != http.MethodHead && (err != nil || p.Status != rec.Code || p.Fix == "" || rec.Header().Get("Content-Type") != "application/problem+json") {
		c.errorf(t, "answer %s of type %q is no problem document that names the fix", rec.Body, rec.Header().Get("Content-Type"))
	}
	if after := len(c.house.Stored(t)); after != before {
		c.errorf(t, "%d messages were stored by a refused delivery", after-before)
	}
	return rec
}

// later checks that the sender will try again and nothing was kept.
func (c *check) later(t *testing.T, r Request) {
	t.Helper()
	rec := c.refused(t, r, http.StatusServiceUnavailable)
	if !c.Retries(rec.Code) {
		c.errorf(t, "this sender gives up on %d", rec.Code)
	}
	if rec.Header().Get("Retry-After") == "" {
		c.errorf(t, "no Retry-After")
	}
}

func (c *check) count(t *testing.T, want int) {
	t.Helper()
	if got := len(c.house.Stored(t)); got != want {
		c.errorf(t, "%d messages stored, want %d", got, want)
	}
}

// denial is what a body that is not the signed one gets from a signing sender.
func (c *check) denial(status int) []int {
	if c.Signed {
		return []int{http.StatusUnauthorized}
	}
	return []int{status}
}

// Run holds a driver against every rule of the front door.
func Run(t *testing.T, driver intake.Driver, h Harness) {
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			c := &check{Harness: h, driver: driver, why: r.why}
			c.house = Open(t, c.setup())
			r.test(t, c)
			c.noSecret(t)
		})
	}
}

// noSecret runs after every rule.
func (c *check) noSecret(t *testing.T) {
	t.Helper()
	out := c.house.Logs() + strings.Join(c.bodies, "\n")
	for _, s := range c.Secrets {
		if strings.Contains(out, s) {
			c.errorf(t, "a secret stands in a log line or an answer")
		}
	}
}

// Sound reports what is wrong with a signal that goes into the log.
func Sound(s ops.Signal) error {
	set := 0
	for _, is := range []bool{s.Alert != nil, s.Recommendation != nil, s.Hint != nil} {
		if is {
			set++
		}
	}
	switch {
	case set != 1:
		return fmt.Errorf("%d of the pointers of a signal are set, want exactly one", set)
	case s.Recommendation != nil:
		return soundRecommendation(s.Recommendation)
	case s.Hint != nil:
		if s.Hint.Word == "" || s.Hint.ResourceKey == "" || s.Hint.Service == "" {
			return fmt.Errorf("hint %+v lacks what it is about", *s.Hint)
		}
		return nil
	}
	return soundAlert(s.Alert)
}

func soundRecommendation(r *ops.Recommendation) error {
	switch {
	case r.Integration == "" || r.Producer == "" || !json.Valid(r.Raw):
		return fmt.Errorf("integration %q, producer %q, raw %q", r.Integration, r.Producer, r.Raw)
	case r.ID != "" || r.Number != 0 || r.State != "":
		return fmt.Errorf("a decoder gives no id, number or state: %q, %d, %q", r.ID, r.Number, r.State)
	case r.Fault != "":
		return nil
	case r.Account == "" || r.Region == "" || r.ResourceKey == "" || r.Name == "":
		return fmt.Errorf("account %q, region %q, key %q, name %q: none may be empty", r.Account, r.Region, r.ResourceKey, r.Name)
	case !slices.Contains([]string{ops.ServiceEC2, ops.ServiceRDS, ops.ServiceASG}, r.Service):
		return fmt.Errorf("service %q", r.Service)
	case r.Gone == "" && r.Wants == "" && r.Kind != "Terminate" && r.Current.Equal(r.Recommended):
		return fmt.Errorf("it recommends what is there: %s", r.Current)
	case len(r.Resource.Aliases) == 0 || slices.Contains(r.Resource.Aliases, ""):
		return fmt.Errorf("aliases %q", r.Resource.Aliases)
	}
	return nil
}

func soundAlert(a *ops.Alert) error {
	_, err := ops.ParseSeverity(string(a.Severity))
	switch {
	case a.Fingerprint == "" || a.Rule == "" || a.Title == "":
		return fmt.Errorf("fingerprint %q, rule %q, title %q: none may be empty", a.Fingerprint, a.Rule, a.Title)
	case err != nil:
		return err
	case a.State != ops.Firing && a.State != ops.Resolved:
		return fmt.Errorf("state %q", a.State)
	case a.StartsAt.IsZero() || a.ObservedAt.IsZero():
		return fmt.Errorf("starts %s, observed %s: neither may be zero", a.StartsAt, a.ObservedAt)
	case (a.State == ops.Resolved) == a.EndsAt.IsZero():
		return fmt.Errorf("%s and ends at %s", a.State, a.EndsAt)
	case slices.Contains(a.Resource.Aliases, ""):
		return fmt.Errorf("empty alias in %q", a.Resource.Aliases)
	}
	for _, l := range a.Links {
		if !strings.HasPrefix(l.URL, "https://") && !strings.HasPrefix(l.URL, "http://") {
			return fmt.Errorf("link %q is neither https nor http", l.URL)
		}
	}
	return nil
}

func zip(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b) // a bytes.Buffer takes everything
	_ = z.Close()
	return out.Bytes()
}

// with returns the body with one more member at the top.
func with(t *testing.T, body []byte, key string, value any) []byte {
	t.Helper()
	if body[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(body, &list); err != nil || len(list) == 0 {
			t.Fatalf("the harness sends no JSON array of objects: %v", err)
		}
		list[0] = with(t, list[0], key, value)
		out, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatalf("the harness sends no JSON object: %v", err)
	}
	v, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	m = maps.Clone(m)
	m[key] = v
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func rules() []rule {
	return slices.Concat(goodRules(), badRules(), failureRules())
}

func goodRules() []rule {
	return []rule{
		{"a message becomes durable signals", "a success answer is a promise: the signal is in the log, whole, before the sender hears it", func(t *testing.T, c *check) {
			c.accepted(t, c.Request(1))
			c.count(t, 1)
			for _, m := range c.house.Stored(t) {
				if len(m.Signals) == 0 || m.Integration != Name || m.Source != c.driver.Name || len(m.Raw) == 0 {
					c.errorf(t, "stored %+v", m)
				}
				for _, s := range m.Signals {
					if err := Sound(s); err != nil {
						c.errorf(t, "unsound signal: %v", err)
					}
				}
			}
		}},
		{"compressed", "senders and proxies compress on their own", func(t *testing.T, c *check) {
			r := c.Request(1).clone()
			r.Body = zip(r.Body)
			r.Header.Set("Content-Encoding", "gzip")
			c.accepted(t, r)
			c.count(t, 1)
		}},
		{"repeated", "every sender delivers at least once: the same message twice changes nothing", func(t *testing.T, c *check) {
			c.accepted(t, c.Request(1))
			c.accepted(t, c.Request(1))
			c.once(t)
		}},
		{"repeated after a restart", "a sender whose answer was lost with the old process repeats to the new one", func(t *testing.T, c *check) {
			c.accepted(t, c.Request(1))
			if err := c.house.DB.Close(); err != nil {
				t.Fatal(err)
			}
			c.noSecret(t)
			s := c.setup()
			s.Path = c.house.path
			c.house = Open(t, s)
			c.accepted(t, c.Request(1))
			c.once(t)
		}},
		{"unknown fields", "senders add fields without asking; refusing them would lose alerts on their next release", func(t *testing.T, c *check) {
			r := c.Request(1).clone()
			r.Body = with(t, r.Body, "x_added_later", map[string]any{"a": []int{1, 2}})
			c.accepted(t, r)
			c.count(t, 1)
		}},
		{"many at once", "a storm is when alerts matter: each message of 32 senders is kept once", func(t *testing.T, c *check) {
			var wg sync.WaitGroup
			codes := make([]int, 32)
			for n := range codes {
				r := c.Request(n + 1)
				wg.Go(func() { codes[n] = c.house.Send(t, r).Code })
			}
			wg.Wait()
			for _, code := range codes {
				if !success(code) {
					c.errorf(t, "answers %v, want only success", codes)
					break
				}
			}
			c.count(t, len(codes))
		}},
		{"personal fields", "what is not kept cannot leak; a configured pointer takes it out before anything is stored", func(t *testing.T, c *check) {
			s := c.setup()
			s.Redact = []string{"/x_contact/name", "/x_contact/phones/*"}
			if c.Request(1).Body[0] == '[' {
				s.Redact = []string{"/*/x_contact/name", "/*/x_contact/phones/*"}
			}
			c.house = Open(t, s)
			r := c.Request(1).clone()
			r.Body = with(t, r.Body, "x_contact", map[string]any{"name": "Jane Doe", "phones": []any{"555-0100", 5550199}, "team": "web"})
			c.accepted(t, r)
			c.count(t, 1)
			for _, m := range c.house.Stored(t) {
				raw := string(m.Raw)
				if strings.Contains(raw, "Jane") || strings.Contains(raw, "555") || !strings.Contains(raw, "[redacted]") || !strings.Contains(raw, `"team":"web"`) {
					c.errorf(t, "stored raw payload: %s", raw)
				}
			}
		}},
	}
}

// once checks that a repeated message is kept once, or, from a sender without
// message ids, twice with nothing new in the second.
func (c *check) once(t *testing.T) {
	t.Helper()
	stored := c.house.Stored(t)
	if c.Numbered {
		c.count(t, 1)
		return
	}
	if len(stored) != 2 || !reflect.DeepEqual(stored[0].Signals, stored[1].Signals) {
		c.errorf(t, "the repeat says something else than the first: %+v", stored)
	}
}
