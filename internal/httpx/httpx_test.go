package httpx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettleops/fettle/internal/httpx"
	"github.com/fettleops/fettle/internal/redact"
)

// peer is an HTTP server on in-memory connections, so that synctest can turn the clock.
type peer struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	srv   *http.Server
}

func newPeer(t *testing.T, h http.HandlerFunc) *peer {
	t.Helper()
	p := &peer{conns: make(chan net.Conn), done: make(chan struct{})}
	p.srv = &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = p.srv.Serve(p) }()
	t.Cleanup(func() { _ = p.srv.Close(); p.Close() })
	return p
}

func (p *peer) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *peer) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *peer) Addr() net.Addr { return &net.TCPAddr{} }

func (p *peer) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func request(t *testing.T, ctx context.Context, method, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// TestRepeats says, for every class, how often a request is sent and how it ends.
func TestRepeats(t *testing.T) {
	refusedDial := errors.New("connection refused")
	f := func(class httpx.Class, what string, sent int, ends string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			n := 0
			p := newPeer(t, func(w http.ResponseWriter, r *http.Request) {
				n++
				b, _ := io.ReadAll(r.Body)
				if string(b) != "body" {
					t.Errorf("attempt %d: body %q", n, b)
				}
				switch what {
				case "broken":
					panic(http.ErrAbortHandler)
				case "half":
					w.Header().Set("Content-Length", "100")
					_, _ = w.Write([]byte("half"))
				case "slow":
					<-r.Context().Done()
				case "second time":
					if n == 1 {
						w.WriteHeader(503)
					}
				default:
					var code int
					_, _ = fmt.Sscan(what, &code)
					w.WriteHeader(code)
				}
			})
			dial := p.dial
			if what == "no connection" {
				dial = func(context.Context, string, string) (net.Conn, error) { n++; return nil, refusedDial }
			}
			c := httpx.New(httpx.Options{Dial: dial, Timeout: 10 * time.Second})
			defer c.Close()
			resp, err := c.Do(request(t, t.Context(), "POST", "http://peer/x", "body"), class)
			// The handler of an attempt that was given up may still run.
			synctest.Wait()
			var se *httpx.StatusError
			var ue *httpx.Unanswered
			got := "ok"
			switch {
			case errors.As(err, &se):
				got = fmt.Sprint(se.Code)
				if resp == nil || resp.Status != se.Code {
					t.Errorf("%s %s: StatusError without its Response", class, what)
				}
			case errors.As(err, &ue):
				got = fmt.Sprintf("unanswered %v", ue.MayHaveArrived)
				if resp != nil {
					t.Errorf("%s %s: Unanswered with a Response", class, what)
				}
			case err != nil:
				got = err.Error()
			}
			if n != sent || got != ends {
				t.Errorf("%s, %s: sent %d times and ended %q (%v), want %d and %q", class, what, n, got, err, sent, ends)
			}
		})
	}
	for _, class := range []httpx.Class{httpx.Once, httpx.Idempotent, httpx.Safe} {
		f(class, "200", 1, "ok")
		f(class, "204", 1, "ok")
		f(class, "400", 1, "400")
		f(class, "401", 1, "401")
		f(class, "404", 1, "404")
		f(class, "501", 1, "501")
		f(class, "429", 3, "429")
		f(class, "no connection", 3, "unanswered false")
	}
	f(httpx.Once, "500", 1, "500")
	f(httpx.Once, "503", 1, "503")
	f(httpx.Once, "second time", 1, "503")
	f(httpx.Once, "broken", 1, "unanswered true")
	f(httpx.Once, "half", 1, "unanswered true")
	f(httpx.Once, "slow", 1, "unanswered true")
	f(httpx.Idempotent, "500", 1, "500")
	f(httpx.Idempotent, "408", 1, "408")
	f(httpx.Idempotent, "503", 3, "503")
	f(httpx.Idempotent, "second time", 2, "ok")
	f(httpx.Idempotent, "broken", 3, "unanswered true")
	f(httpx.Idempotent, "half", 3, "unanswered true")
	f(httpx.Idempotent, "slow", 3, "unanswered true")
	f(httpx.Safe, "500", 3, "500")
	f(httpx.Safe, "408", 3, "408")
	f(httpx.Safe, "502", 3, "502")
	f(httpx.Safe, "504", 3, "504")
}

// TestPauses runs in virtual time and adds up the pauses exactly.
func TestPauses(t *testing.T) {
	date := "" // what the peer calls now; "none" sends no Date
	f := func(why, retryAfter string, o httpx.Options, attempts int, want time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			n := 0
			p := newPeer(t, func(w http.ResponseWriter, _ *http.Request) {
				n++
				h := strings.ReplaceAll(retryAfter, "DATE+7s", time.Now().Add(7*time.Second).UTC().Format(http.TimeFormat))
				switch date {
				case "":
				case "none":
					w.Header()["Date"] = nil
				default:
					w.Header().Set("Date", date)
				}
				if h != "" {
					w.Header().Set("Retry-After", h)
				}
				w.WriteHeader(429)
			})
			o.Dial = p.dial
			c := httpx.New(o)
			defer c.Close()
			start := time.Now()
			_, err := c.Do(request(t, t.Context(), "GET", "http://peer/", ""), httpx.Safe)
			if got := time.Since(start); got != want || n != attempts {
				t.Errorf("%s: %d attempts in %v, want %d in %v", why, n, got, attempts, want)
			}
			var se *httpx.StatusError
			if !errors.As(err, &se) {
				t.Fatalf("%s: %v", why, err)
			}
			if retryAfter == "120" && se.RetryAfter != 2*time.Minute {
				t.Errorf("%s: RetryAfter %v", why, se.RetryAfter)
			}
		})
	}
	f("doubling", "", httpx.Options{Attempts: 4}, 4, 3500*time.Millisecond)
	f("jitter takes off up to half", "", httpx.Options{Jitter: func() float64 { return 0.5 }}, 3, 1125*time.Millisecond)
	f("bounded", "", httpx.Options{Attempts: 4, Backoff: 8 * time.Second, MaxWait: 10 * time.Second}, 4, 28*time.Second)
	f("seconds asked for", "5", httpx.Options{}, 3, 10*time.Second)
	f("a date asked for", "DATE+7s", httpx.Options{}, 3, 14*time.Second)
	f("too long to wait here", "120", httpx.Options{}, 1, 0)
	f("nonsense", "soon", httpx.Options{}, 3, 1500*time.Millisecond)
	date = "none"
	f("a date without Date, by our clock", "DATE+7s", httpx.Options{Clock: time.Now}, 3, 14*time.Second)
	f("a date without Date or clock", "DATE+7s", httpx.Options{}, 3, 1500*time.Millisecond)
	date = "Tue, 06 Oct 2026 07:00:00 GMT"
	f("a peer whose clock is years ahead", "Tue, 06 Oct 2026 07:00:07 GMT", httpx.Options{Clock: time.Now}, 3, 14*time.Second)
	date = ""
	f("in the past", "Fri, 01 Jan 1999 00:00:00 GMT", httpx.Options{}, 3, 1500*time.Millisecond)
}

func TestTimeAndCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		c := httpx.New(httpx.Options{Dial: p.dial, Timeout: 10 * time.Second, Attempts: 1})
		defer c.Close()
		start := time.Now()
		_, err := c.Do(request(t, t.Context(), "GET", "http://peer/", ""), httpx.Safe)
		var ue *httpx.Unanswered
		if !errors.As(err, &ue) || !ue.Timeout() || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 10s") {
			t.Errorf("timeout: %v", err)
		}
		if time.Since(start) != 10*time.Second {
			t.Errorf("timeout after %v", time.Since(start))
		}

		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(3 * time.Second); cancel() }()
		start = time.Now()
		_, err = c.Do(request(t, ctx, "GET", "http://peer/", ""), httpx.Safe)
		if !errors.Is(err, context.Canceled) || !errors.As(err, &ue) || !ue.MayHaveArrived || time.Since(start) != 3*time.Second {
			t.Errorf("cancel: %v after %v", err, time.Since(start))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
		c := httpx.New(httpx.Options{Dial: p.dial, Backoff: 5 * time.Second})
		defer c.Close()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		var se *httpx.StatusError
		if _, err := c.Do(request(t, ctx, "GET", "http://peer/", ""), httpx.Safe); !errors.As(err, &se) || time.Since(start) != 0 {
			t.Errorf("waits although the deadline comes first: %v after %v", err, time.Since(start))
		}
		ctx, stop := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Second); stop() }()
		if _, err := c.Do(request(t, ctx, "GET", "http://peer/", ""), httpx.Safe); !errors.As(err, &se) || time.Since(start) != time.Second {
			t.Errorf("a pause outlives its context: %v after %v", err, time.Since(start))
		}
	})
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("User-Agent") != "fettle/1" {
				t.Errorf("user agent %q", r.Header.Get("User-Agent"))
			}
			_, _ = w.Write(bytes.Repeat([]byte("x"), 11))
		})
		do := func(max int64) (*httpx.Response, error) {
			c := httpx.New(httpx.Options{Dial: p.dial, MaxBody: max, UserAgent: "fettle/1"})
			defer c.Close()
			return c.Do(request(t, t.Context(), "GET", "http://peer/", ""), httpx.Safe)
		}
		if _, err := do(10); !errors.Is(err, httpx.ErrTooLarge) {
			t.Errorf("11 bytes of 10: %v", err)
		}
		if resp, err := do(11); err != nil || len(resp.Body) != 11 || resp.Attempts != 1 {
			t.Errorf("11 bytes of 11: %v", err)
		}
		c := httpx.New(httpx.Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("down") }})
		req := request(t, t.Context(), "PUT", "http://peer/", "x")
		req.GetBody = nil
		start := time.Now()
		if _, err := c.Do(req, httpx.Safe); err == nil || time.Since(start) != 0 {
			t.Errorf("a body that cannot be read again was sent again: %v", err)
		}
	})
}

func TestRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[string]int{}
		p := newPeer(t, func(w http.ResponseWriter, r *http.Request) {
			seen[r.Host+r.URL.Path]++
			switch r.URL.Path {
			case "/same":
				http.Redirect(w, r, "/end", http.StatusFound)
			case "/other":
				http.Redirect(w, r, "http://evil.example.com/end?token=hunter2", http.StatusFound)
			case "/scheme":
				http.Redirect(w, r, "https://peer/end", http.StatusFound)
			case "/loop":
				http.Redirect(w, r, "/loop", http.StatusFound)
			}
		})
		c := httpx.New(httpx.Options{Dial: p.dial})
		defer c.Close()
		f := func(method, path string, class httpx.Class, want string) {
			t.Helper()
			resp, err := c.Do(request(t, t.Context(), method, "http://peer"+path, ""), class)
			got := fmt.Sprint(err)
			if err == nil {
				got = fmt.Sprint(resp.Status)
			}
			if !strings.Contains(got, want) || strings.Contains(got, "hunter2") {
				t.Errorf("%s %s: %s, want %s", method, path, got, want)
			}
		}
		f("GET", "/same", httpx.Safe, "200")
		f("GET", "/other", httpx.Safe, "redirect refused: it leads to another host, http://evil.example.com")
		f("GET", "/scheme", httpx.Safe, "another host, https://peer")
		f("GET", "/loop", httpx.Safe, "more than 5 in a row")
		f("POST", "/same", httpx.Once, "status 302")
		f("POST", "/other", httpx.Once, "redirect refused")
		if seen["evil.example.com/end"] != 0 || seen["peer/end"] != 1 || seen["peer/other"] != 2 {
			t.Errorf("seen %v", seen)
		}
	})
}

func TestNothingLeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/abort" {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(403)
			_, pw, _ := r.BasicAuth()
			fmt.Fprintf(w, "<p>denied\n\x00for %s %s, key %s, %s</p>%s", r.Header.Get("Authorization"), pw, r.Header.Get("X-Api-Key"), "s3cr3t-token", strings.Repeat("z", 1000))
		})
		var log bytes.Buffer
		c := httpx.New(httpx.Options{
			Dial: p.dial, Secrets: []redact.Secret{redact.New("s3cr3t-token")},
			Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		defer c.Close()
		for _, path := range []string{"/x?access_token=q1w2e3r4", "/s3cr3t-token/x", "/abort?token=q1w2e3r4"} {
			req := request(t, t.Context(), "GET", "http://u:urlpass@peer"+path, "")
			req.SetBasicAuth("user", "hunter2!")
			req.Header.Set("X-Api-Key", "k3y-k3y-k3y")
			_, err := c.Do(req, httpx.Safe)
			if err == nil {
				t.Fatal("no error")
			}
			var se *httpx.StatusError
			if errors.As(err, &se) && (!strings.HasPrefix(se.Snippet, "<p>denied for <redacted> <redacted>") || len(se.Snippet) > 310) {
				t.Errorf("snippet %q", se.Snippet)
			}
			for _, out := range []string{err.Error(), fmt.Sprintf("%+v", err), log.String()} {
				for _, leak := range []string{"hunter2", "dXNlcjpodW50ZXIyIQ", "k3y-k3y", "s3cr3t", "q1w2e3", "urlpass"} {
					if strings.Contains(out, leak) {
						t.Errorf("%s leaks in %s", leak, out)
					}
				}
			}
		}
		if n := strings.Count(log.String(), "msg=\"http request sent\""); n != 5 {
			t.Errorf("%d log lines, want one per attempt:\n%s", n, log.String())
		}
	})
}

type limiter struct {
	n   int
	err error
}

func (l *limiter) Wait(context.Context) error { l.n++; return l.err }

func TestLimiterIsAskedBeforeEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
		l := &limiter{}
		c := httpx.New(httpx.Options{Dial: p.dial, Limiter: l})
		defer c.Close()
		_, _ = c.Do(request(t, t.Context(), "GET", "http://peer/", ""), httpx.Safe)
		if l.n != 3 {
			t.Errorf("asked %d times for 3 attempts", l.n)
		}
		l.err = context.DeadlineExceeded
		var ue *httpx.Unanswered
		if _, err := c.Do(request(t, t.Context(), "GET", "http://peer/", ""), httpx.Once); !errors.As(err, &ue) || ue.MayHaveArrived {
			t.Errorf("refused by the limiter: %v", err)
		}
	})
}
