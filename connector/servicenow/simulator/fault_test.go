package simulator

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLostAnswerLeavesTheWrite(t *testing.T) {
	s, ts := start(t, Config{})
	s.SetFault(Fault{Mode: DropAnswer, Times: 1})
	if status, _ := ask(t, ts, "GET", incidents, ""); status != 200 {
		t.Errorf("a read was answered %d, reads are spared", status)
	}
	if status, _ := ask(t, ts, "POST", incidents, `{"sys_id":"`+someID+`","short_description":"lost"}`); status != 0 {
		t.Errorf("the write was answered %d, want a cut connection", status)
	}
	if all := s.Incidents(); len(all) != 1 || all[0]["short_description"] != "lost" {
		t.Errorf("incidents %v, want the write to stand", all)
	}
	// The client tries again, as it must, and meets its own record.
	if status, _ := ask(t, ts, "POST", incidents, `{"sys_id":"`+someID+`","short_description":"lost"}`); status != 403 {
		t.Errorf("the replay was answered %d, want 403", status)
	}
	log := s.Requests()
	if len(log) != 3 || log[1].Status != 0 || !log[1].Changed {
		t.Errorf("log %+v, want the lost answer as status 0 with a change", log)
	}
}

func TestLostAnswerOfARefusedWrite(t *testing.T) {
	s, ts := start(t, Config{})
	s.SetDown(DropAnswer)
	if status, _ := ask(t, ts, "PATCH", incidents+"/"+someID, `{}`); status != 0 {
		t.Errorf("answered %d, want a cut connection", status)
	}
	if c := s.Counts(); c.Changes != 0 {
		t.Errorf("%d changes, want none", c.Changes)
	}
}

func TestHangUntilTheClientLeaves(t *testing.T) {
	s := New(Config{Clock: time.Now})
	s.SetDown(Hang)
	met := make(chan struct{})
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(met)
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(ts.Close) // waits for the answer that never comes
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", ts.URL+incidents, strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		res, err := ts.Client().Do(req)
		if err == nil {
			res.Body.Close()
		}
		failed <- err
	}()
	<-met
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("client got %v, want its own cancellation", err)
	}
	if n := len(s.Incidents()); n != 0 {
		t.Errorf("%d incidents, a hanging instance writes nothing", n)
	}
}

func TestHangEndsWithTheFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Clock: time.Now})
		s.SetDown(Hang)
		cut := make(chan any)
		go func() {
			defer func() { cut <- recover() }()
			s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", incidents, nil))
		}()
		time.Sleep(time.Hour)
		select {
		case <-cut:
			t.Error("an answer within an hour, want none")
		default:
		}
		s.SetDown(Off)
		if got := <-cut; !isAbort(got) {
			t.Errorf("ended with %v, want the connection cut", got)
		}
	})
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Clock: time.Now})
		s.SetFault(Fault{Mode: Slow, Delay: 90 * time.Second})
		began := time.Now()
		req := httptest.NewRequest("GET", incidents, nil)
		req.SetBasicAuth("fettle", "fettle")
		req.Header.Set("Accept", "*/*")
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, req)
		if took := time.Since(began); rec.Code != 200 || took != 90*time.Second {
			t.Errorf("status %d after %s, want 200 after 90s", rec.Code, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		defer func() {
			if got := recover(); !isAbort(got) {
				t.Errorf("ended with %v, want the connection cut", got)
			}
			if c := s.Counts(); c.Requests != 2 {
				t.Errorf("%d requests in the log, want 2", c.Requests)
			}
		}()
		s.ServeHTTP(httptest.NewRecorder(), req.WithContext(ctx))
	})
}

func TestEveryModeHeals(t *testing.T) {
	s, ts := start(t, Config{})
	for _, m := range modes {
		if m == Hang || m == Slow {
			continue // their tests are above, on a virtual clock
		}
		s.SetFault(Fault{Mode: m, Times: 2})
		before := s.Counts().Changes
		first, _ := ask(t, ts, "POST", incidents, `{}`)
		second, _ := ask(t, ts, "POST", incidents, `{}`)
		third, body := ask(t, ts, "POST", incidents, `{}`)
		want := map[Mode]int{Off: 201, Hibernating: 200, Unavailable: 503, RateLimited: 429, DropAnswer: 0, Broken: 500}[m]
		if first != want || second != want || third != 201 {
			t.Errorf("%s: %d, %d, %d, want %d twice and then 201: %s", m, first, second, third, want, body)
		}
		changes := 1
		if m == Off || m == DropAnswer {
			changes = 3
		}
		if got := s.Counts().Changes - before; got != changes {
			t.Errorf("%s: %d changes, want %d", m, got, changes)
		}
	}
}

func TestControlIsOffByDefault(t *testing.T) {
	s, ts := start(t, Config{})
	if status, _ := ask(t, ts, "PUT", controlPath, `{"mode":"hibernating"}`); status != 400 {
		t.Errorf("status %d, want the 400 of an unknown address", status)
	}
	if m := s.Fault().Mode; m != Off {
		t.Errorf("mode %s, want off", m)
	}
}

func TestFaultValidate(t *testing.T) {
	f := func(fault Fault, want string) {
		t.Helper()
		err := fault.validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("validate(%+v) = %v, want %q", fault, err, want)
		}
	}
	for _, m := range modes {
		f(Fault{Mode: m}, "")
	}
	f(Fault{}, "mode")
	f(Fault{Mode: Hang, Times: -1}, "times")
	f(Fault{Mode: Slow, Delay: -time.Second}, "delay_ms")
	f(Fault{Mode: RateLimited, RetryAfter: -time.Second}, "retry_after_seconds")
}

// isAbort reports whether a recovered panic is the one that cuts a connection.
func isAbort(recovered any) bool {
	err, ok := recovered.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}
