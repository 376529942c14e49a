package intaketest

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/fettleops/fettle/intake"
)

func badRules() []rule {
	return []rule{
		{"no credential", "nothing comes in without one: an alert can start a change", func(t *testing.T, c *check) {
			c.refused(t, c.Strip(c.Request(1).clone()), http.StatusUnauthorized)
		}},
		{"wrong credential", "nothing comes in with the wrong one either, and the answer does not say how close it was", func(t *testing.T, c *check) {
			c.refused(t, c.Forge(c.Request(1).clone()), http.StatusUnauthorized)
			if !strings.Contains(c.house.Logs(), "delivery denied") {
				c.errorf(t, "the log does not tell of it:\n%s", c.house.Logs())
			}
		}},
		{"wrong method", "a health checker's GET or HEAD is not a delivery", func(t *testing.T, c *check) {
			for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
				r := c.Request(1).clone()
				r.Method = m
				if rec := c.refused(t, r, http.StatusMethodNotAllowed); rec.Header().Get("Allow") != http.MethodPost {
					c.errorf(t, "%s: Allow is %q", m, rec.Header().Get("Allow"))
				}
			}
		}},
		{"wrong type", "a form post of a browser is no alert", func(t *testing.T, c *check) {
			for _, ct := range []string{"application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/html", "application/xml"} {
				r := c.Request(1).clone()
				r.Header.Set("Content-Type", ct)
				c.refused(t, r, http.StatusUnsupportedMediaType)
			}
		}},
		{"unknown encoding", "bytes that cannot be read must not be stored as if they were", func(t *testing.T, c *check) {
			r := c.Request(1).clone()
			r.Header.Set("Content-Encoding", "br")
			c.refused(t, r, append(c.denial(http.StatusUnsupportedMediaType), http.StatusUnsupportedMediaType)...)
		}},
		{"oversize", "one sender must not take the memory of all", func(t *testing.T, c *check) {
			most := c.limit(t, 2048, 1<<20)
			r := c.Request(1).clone()
			r.Body = append(r.Body, bytes.Repeat([]byte(" "), int(max(most, 4096)))...)
			c.refused(t, r, http.StatusRequestEntityTooLarge)
			r.Chunked = true
			c.refused(t, r, http.StatusRequestEntityTooLarge)
		}},
		{"oversize after decompression", "a kilobyte of gzip can hold a gigabyte", func(t *testing.T, c *check) {
			most := c.limit(t, 64<<10, 64<<10)
			r := c.Request(1).clone()
			r.Body = zip(append(r.Body, bytes.Repeat([]byte(" "), int(max(2*most, 8<<20)))...))
			r.Header.Set("Content-Encoding", "gzip")
			if int64(len(r.Body)) >= max(most, 64<<10) {
				t.Fatalf("the bomb is %d bytes and would be refused before it is unpacked", len(r.Body))
			}
			c.refused(t, r, append(c.denial(http.StatusRequestEntityTooLarge), http.StatusRequestEntityTooLarge)...)
		}},
		{"truncated", "half a payload is not a smaller payload", func(t *testing.T, c *check) {
			whole := c.Request(1)
			for _, n := range []int{1, len(whole.Body) / 2, len(whole.Body) - 1} {
				r := whole.clone()
				r.Body = r.Body[:n]
				c.refused(t, r, c.denial(http.StatusBadRequest)...)
			}
			r := whole.clone()
			z := zip(r.Body)
			r.Body = z[:len(z)-9]
			r.Header.Set("Content-Encoding", "gzip")
			c.refused(t, r, c.denial(http.StatusBadRequest)...)
		}},
		{"foreign", "a body that is not this sender's must be refused by name of what is wrong, not guessed at", func(t *testing.T, c *check) {
			for _, body := range []string{"", "{}", "[]", "null", "1", `"x"`, "\x00\xff", "{", strings.Repeat("[", 5000), `{"version":4}`} {
				r := c.Request(1).clone()
				r.Body = []byte(body)
				if body == "[]" && c.Empty {
					c.accepted(t, r)
					c.count(t, 0)
					continue
				}
				c.refused(t, r, c.denial(http.StatusBadRequest)...)
			}
		}},
	}
}

// limit opens a house with limits of its own and returns the longest body of a
// source that has its own terms, zero for any other.
func (c *check) limit(t *testing.T, wire, plain int64) (most int64) {
	t.Helper()
	if own, ok := source(t, c.driver, c.Options).(intake.Termed); ok {
		most = max(own.Terms().Body, own.Terms().Decompressed)
	}
	s := c.setup()
	s.Limits = intake.Limits{Body: wire, Decompressed: plain}
	if n := len(c.Request(1000).Body); int64(n) > wire {
		s.Limits.Body = int64(n)
	}
	c.house = Open(t, s)
	c.accepted(t, c.Request(1000))
	return most
}

func failureRules() []rule {
	return []rule{
		{"the log cannot take it", "an alert that is not durable must not be acknowledged, and the sender must not give up on it", func(t *testing.T, c *check) {
			c.house.Broken.Store(true)
			c.later(t, c.Request(1))
			c.house.Broken.Store(false)
			c.accepted(t, c.Request(1))
			c.count(t, 1)
		}},
		{"the database is closed", "during a shutdown deliveries still arrive", func(t *testing.T, c *check) {
			if err := c.house.DB.Close(); err != nil {
				t.Fatal(err)
			}
			rec := c.send(t, c.Request(1))
			if rec.Code != http.StatusServiceUnavailable || !c.Retries(rec.Code) || rec.Header().Get("Retry-After") == "" {
				c.errorf(t, "answer %d with Retry-After %q", rec.Code, rec.Header().Get("Retry-After"))
			}
		}},
		{"too much is waiting", "past the configured depth the sender waits instead of us forgetting", func(t *testing.T, c *check) {
			s := c.setup()
			s.Limits = intake.Limits{Depth: 2}
			c.house = Open(t, s)
			c.accepted(t, c.Request(1))
			c.accepted(t, c.Request(2))
			c.later(t, c.Request(3))
			c.count(t, 2)
		}},
		{"the connection breaks inside the body", "what did not arrive was not accepted", func(t *testing.T, c *check) {
			r := c.Request(1).clone()
			r.Cut = true
			c.later(t, r)
		}},
		{"answers fit the sender", "each sender reads the codes its own way: success ends it, a code for a broken payload must not make it repeat for ever", func(t *testing.T, c *check) {
			if c.Retries(http.StatusAccepted) {
				c.errorf(t, "this sender repeats what was accepted")
			}
			for _, code := range []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType} {
				if c.Retries(code) {
					c.errorf(t, "this sender repeats after %d, which no repeat can mend", code)
				}
			}
			if !c.Retries(http.StatusServiceUnavailable) {
				c.errorf(t, "this sender gives up on 503, the answer to every failure of ours")
			}
		}},
	}
}
