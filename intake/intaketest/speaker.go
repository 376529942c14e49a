package intaketest

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/series/seriestest"
)

// Speech tells the suite how the senders of one Speaker talk.
type Speech struct {
	Auth    string // YAML of the integration's auth
	Options string // YAML of its options
	Secrets Secrets
	// Request returns the n-th delivery with its credential and a body that is
	// not compressed; the suite compresses it with Coding and names that in the
	// header. Equal n is the same delivery, and n times some number of samples is
	// in it.
	Request func(n int) Request
	// Coding is the content encoding the sender uses by default; empty is none.
	Coding string
	// Samples is how many samples the n-th delivery holds.
	Samples func(n int) int
	// Forge takes the credential of a request and puts a wrong one in place.
	Forge func(r Request) Request
	// Strip takes the credential away.
	Strip func(r Request) Request
	// Success reports whether the sender takes an answer for success.
	Success func(answer *httptest.ResponseRecorder) bool
	// Retries reports whether the sender tries again after a status.
	Retries func(status int) bool
	// Statuses are those for what was not decoded; zero is 413, 415 and 400.
	TooLarge, Unsupported, Broken int
	// Foreign are further bodies, not compressed, that are not this sender's.
	Foreign [][]byte
	// Answered, where set, checks what every answer of the speaker's own must be.
	Answered func(r Request, answer *httptest.ResponseRecorder) error
}

type speakerRule struct {
	name, why string
	test      func(t *testing.T, c *speakerCheck)
}

// speakerCheck is one rule being tested. Every failure carries the rule's why.
type speakerCheck struct {
	Speech
	driver intake.Driver
	terms  intake.Terms
	path   string // of the database, which no rule writes to
	why    string
	log    *seriestest.Log
	house  *House
	said   []string
}

func (c *speakerCheck) errorf(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Errorf("%s\n\twhy: %s", fmt.Sprintf(format, args...), c.why)
}

// RunSpeaker holds a driver whose sources are Speakers against every rule of
// the front door for metrics.
func RunSpeaker(t *testing.T, driver intake.Driver, s Speech) {
	for status, otherwise := range map[*int]int{&s.TooLarge: http.StatusRequestEntityTooLarge, &s.Unsupported: http.StatusUnsupportedMediaType, &s.Broken: http.StatusBadRequest} {
		if *status == 0 {
			*status = otherwise
		}
	}
	speaker, ok := source(t, driver, s.Options).(intake.Speaker)
	if !ok {
		t.Fatalf("the sources of %s are no Speakers", driver.Name)
	}
	path := filepath.Join(dbtest.Dir(t), "fettle.db")
	for _, r := range slices.Concat(speakerGood(), speakerBad(), speakerFailures()) {
		t.Run(r.name, func(t *testing.T) {
			c := &speakerCheck{Speech: s, driver: driver, terms: speaker.Terms(), path: path, why: r.why, log: seriestest.NewLog()}
			c.open(t)
			r.test(t, c)
			out := c.house.Logs() + strings.Join(c.said, "\n")
			for _, secret := range c.Secrets {
				if strings.Contains(out, secret) {
					c.errorf(t, "a secret stands in a log line or an answer")
				}
			}
		})
	}
}

func (c *speakerCheck) open(t *testing.T) {
	t.Helper()
	if c.house != nil {
		if err := c.house.DB.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c.house = Open(t, Setup{
		Path: c.path, Driver: c.driver, Auth: c.Auth, Options: c.Options, Secrets: c.Secrets, Samples: c.log,
	})
}

// packed returns a request with its body compressed.
func packed(t *testing.T, r Request, coding string) Request {
	t.Helper()
	r = r.clone()
	r.Body = Pack(t, coding, r.Body)
	r.Header.Del("Content-Encoding")
	if coding != "" {
		r.Header.Set("Content-Encoding", coding)
	}
	return r
}

// Pack compresses a body: gzip, deflate, snappy (the block format), zstd, or
// "" for not at all.
func Pack(t testing.TB, coding string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "":
		return b
	case "snappy":
		return snappy.Encode(nil, b)
	case "gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "zstd":
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		t.Fatalf("nobody packs %q", coding)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// send sends a request whose body is what goes over the wire.
func (c *speakerCheck) send(t *testing.T, r Request) *httptest.ResponseRecorder {
	t.Helper()
	rec := c.house.Send(t, r)
	c.said = append(c.said, rec.Body.String())
	own := rec.Code != http.StatusUnauthorized && rec.Code != http.StatusMethodNotAllowed && rec.Code != http.StatusNotFound
	if c.Answered != nil && own {
		if err := c.Answered(r, rec); err != nil {
			c.errorf(t, "answer %d: %v", rec.Code, err)
		}
	}
	return rec
}

func (c *speakerCheck) request(t *testing.T, n int) Request {
	t.Helper()
	return packed(t, c.Request(n), c.Coding)
}

func (c *speakerCheck) accepted(t *testing.T, r Request) {
	t.Helper()
	if rec := c.send(t, r); !c.Success(rec) {
		c.errorf(t, "answer %d %s, want success; log:\n%s", rec.Code, rec.Body, c.house.Logs())
	}
}

func (c *speakerCheck) refused(t *testing.T, r Request, status int) *httptest.ResponseRecorder {
	t.Helper()
	before := len(c.house.Samples(t))
	rec := c.send(t, r)
	if rec.Code != status || c.Success(rec) {
		c.errorf(t, "answer %d %s, want %d and no success", rec.Code, rec.Body, status)
	}
	if after := len(c.house.Samples(t)); after != before {
		c.errorf(t, "%d records were kept of a refused delivery", after-before)
	}
	return rec
}

// later checks that the sender will try again.
func (c *speakerCheck) later(t *testing.T, r Request) {
	t.Helper()
	rec := c.send(t, r)
	if c.Success(rec) || !c.Retries(rec.Code) {
		c.errorf(t, "this sender does not try again after %d %s", rec.Code, rec.Body)
	}
	if rec.Header().Get("Retry-After") == "" {
		c.errorf(t, "no Retry-After")
	}
}

// count checks how many samples are in the log, and that all of it is sound.
func (c *speakerCheck) count(t *testing.T, want int) {
	t.Helper()
	got := 0
	for _, r := range c.house.Samples(t) {
		if !strings.HasPrefix(r.Dedupe, Name+"/") || r.Kind != series.Samples {
			c.errorf(t, "record %d has kind %d and dedupe %q", r.Offset, r.Kind, r.Dedupe)
		}
		n, err := SoundSamples(r.Body)
		if err != nil {
			c.errorf(t, "record %d: %v", r.Offset, err)
		}
		got += n
	}
	if got != want {
		c.errorf(t, "%d samples in the log, want %d", got, want)
	}
}

func speakerGood() []speakerRule {
	return []speakerRule{
		{"a delivery becomes durable samples", "a success answer is a promise: the samples are in the log, all of them, before the sender hears it", func(t *testing.T, c *speakerCheck) {
			for _, n := range []int{1, 7} {
				before := len(c.house.Samples(t))
				c.accepted(t, c.request(t, n))
				if len(c.house.Samples(t)) == before {
					c.errorf(t, "nothing was appended")
				}
			}
			c.count(t, c.Samples(1)+c.Samples(7))
		}},
		{"every coding of the terms", "senders and proxies choose among what is offered", func(t *testing.T, c *speakerCheck) {
			want := 0
			for i, coding := range c.terms.Codings {
				c.accepted(t, packed(t, c.Request(i+1), coding))
				want += c.Samples(i + 1)
			}
			if c.terms.Implied == "" {
				c.accepted(t, packed(t, c.Request(100), ""))
				want += c.Samples(100)
			}
			c.count(t, want)
		}},
		{"every path of the terms", "a sender that is given a base URL appends a path of its own", func(t *testing.T, c *speakerCheck) {
			want := 0
			for i, path := range c.terms.Paths {
				r := c.request(t, i+1)
				r.Path = path
				c.accepted(t, r)
				want += c.Samples(i + 1)
			}
			if len(c.terms.Paths) > 0 {
				c.count(t, want)
			}
		}},
		{"repeated", "every sender delivers at least once: the same delivery twice changes nothing", func(t *testing.T, c *speakerCheck) {
			for range 3 {
				c.accepted(t, c.request(t, 1))
			}
			c.count(t, c.Samples(1))
		}},
		{"repeated after a restart", "a sender whose answer was lost with the old process repeats to the new one", func(t *testing.T, c *speakerCheck) {
			c.accepted(t, c.request(t, 1))
			c.open(t)
			c.accepted(t, c.request(t, 1))
			c.count(t, c.Samples(1))
		}},
		{"many at once", "each delivery of 32 senders is kept once, whatever of the decoder they share", func(t *testing.T, c *speakerCheck) {
			var wg sync.WaitGroup
			answers := make([]*httptest.ResponseRecorder, 32)
			want := 0
			for n := range answers {
				r := c.request(t, n+1)
				want += c.Samples(n + 1)
				wg.Go(func() { answers[n] = c.house.Send(t, r) })
			}
			wg.Wait()
			for _, a := range answers {
				if !c.Success(a) {
					c.errorf(t, "answer %d %s", a.Code, a.Body)
				}
			}
			c.count(t, want)
		}},
		{"a setup test", "fettle send takes the way of a delivery, without its credential", func(t *testing.T, c *speakerCheck) {
			r := c.request(t, 1)
			if outcome, err := c.house.Door.Deliver(t.Context(), Name, r.Header, r.Body); outcome != intake.Accepted || err != nil {
				c.errorf(t, "%s, %v", outcome, err)
			}
			c.count(t, c.Samples(1))
		}},
	}
}

func speakerBad() []speakerRule {
	return []speakerRule{
		{"no credential", "nothing comes in without one", func(t *testing.T, c *speakerCheck) {
			c.refused(t, c.Strip(c.request(t, 1)), http.StatusUnauthorized)
		}},
		{"wrong credential", "nothing comes in with the wrong one either", func(t *testing.T, c *speakerCheck) {
			c.refused(t, c.Forge(c.request(t, 1)), http.StatusUnauthorized)
		}},
		{"wrong method", "a health checker's GET is not a delivery", func(t *testing.T, c *speakerCheck) {
			for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPut} {
				r := c.request(t, 1)
				r.Method = m
				c.refused(t, r, http.StatusMethodNotAllowed)
			}
		}},
		{"wrong path", "what is sent to a path nobody serves is not for us", func(t *testing.T, c *speakerCheck) {
			r := c.request(t, 1)
			r.Path = "/no/such/path"
			c.refused(t, r, http.StatusNotFound)
		}},
		{"wrong type", "a type we do not read is refused by its name, so that the sender can choose another", func(t *testing.T, c *speakerCheck) {
			for _, media := range []string{"", "text/html", "application/x-www-form-urlencoded"} {
				r := c.request(t, 1)
				r.Header.Set("Content-Type", media)
				c.refused(t, r, c.Unsupported)
			}
		}},
		{"unknown coding", "bytes that cannot be read must not be taken for something else", func(t *testing.T, c *speakerCheck) {
			for _, coding := range []string{"br", "gzip, gzip"} {
				r := c.request(t, 1)
				r.Header.Set("Content-Encoding", coding)
				c.refused(t, r, c.Unsupported)
			}
		}},
		{"oversize", "one sender must not take the memory of all", func(t *testing.T, c *speakerCheck) {
			r := c.request(t, 1)
			r.Body = append(r.Body, make([]byte, c.terms.Body)...)
			c.refused(t, r, c.TooLarge)
			r.Chunked = true
			c.refused(t, r, c.TooLarge)
		}},
		{"oversize after decompression", "a kilobyte can announce or hold a gigabyte", func(t *testing.T, c *speakerCheck) {
			for _, coding := range c.terms.Codings {
				r := c.Request(1)
				r.Body = append(bytes.Clone(r.Body), make([]byte, c.terms.Decompressed)...)
				r = packed(t, r, coding)
				if int64(len(r.Body)) > c.terms.Body {
					t.Fatalf("the bomb in %s is %d bytes and would be refused before it is unpacked", coding, len(r.Body))
				}
				c.refused(t, r, c.TooLarge)
			}
		}},
		{"truncated", "half a payload is not a smaller payload", func(t *testing.T, c *speakerCheck) {
			for _, coding := range c.terms.Codings {
				whole := packed(t, c.Request(5), coding)
				for _, n := range []int{1, len(whole.Body) / 2, len(whole.Body) - 1} {
					r := whole.clone()
					r.Body = r.Body[:n]
					c.refused(t, r, c.Broken)
				}
			}
			whole := c.Request(5)
			whole.Body = whole.Body[:len(whole.Body)-1]
			c.refused(t, packed(t, whole, c.Coding), c.Broken)
		}},
		{"foreign", "a body that is not this sender's must be refused, not guessed at", func(t *testing.T, c *speakerCheck) {
			for _, body := range append(slices.Clone(c.Foreign), []byte("\xff\xff\xff\xff"), []byte("<html>")) {
				r := c.Request(1)
				r.Body = body
				c.refused(t, packed(t, r, c.Coding), c.Broken)
			}
		}},
	}
}

func speakerFailures() []speakerRule {
	return []speakerRule{
		{"the log cannot take it", "samples that are not durable must not be acknowledged, and the sender must not give up on them", func(t *testing.T, c *speakerCheck) {
			c.log.Break(errors.New("disk is full"))
			c.later(t, c.request(t, 1))
			c.log.Break(nil)
			c.count(t, 0)
			c.accepted(t, c.request(t, 1))
			c.count(t, c.Samples(1))
		}},
		{"the log is full", "detection that is too far behind slows senders down instead of forgetting", func(t *testing.T, c *speakerCheck) {
			c.accepted(t, c.request(t, 1))
			c.log.Limit(1)
			c.later(t, c.request(t, 2))
			c.log.Limit(0)
			c.accepted(t, c.request(t, 2))
			c.count(t, c.Samples(1)+c.Samples(2))
		}},
		{"the connection breaks inside the body", "what did not arrive was not accepted", func(t *testing.T, c *speakerCheck) {
			r := c.request(t, 1)
			r.Cut = true
			c.later(t, r)
			c.count(t, 0)
		}},
		{"answers fit the sender", "a code for what no repeat can mend must not make it repeat for ever", func(t *testing.T, c *speakerCheck) {
			for _, status := range []int{c.TooLarge, c.Unsupported, c.Broken} {
				if c.Retries(status) && !c.Retries(http.StatusTeapot) { // some repeat whatever is no success
					c.errorf(t, "this sender repeats after %d", status)
				}
			}
			if !c.Retries(http.StatusServiceUnavailable) {
				c.errorf(t, "this sender gives up on 503, the door's answer to a defect of ours")
			}
		}},
	}
}
