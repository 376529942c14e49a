package loop

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/ops"
)

// story is what happens to the changes of one executor in an installation that
// other stories share. Its change is always the newest.
type story struct {
	*installation
	t        *testing.T
	executor string
	made     int // changes so far
	board    board
}

// play plays stories, by their executors, at the same time.
func (i *installation) play(b board, stories map[string]func(*story)) {
	i.t.Helper()
	var all sync.WaitGroup
	for executor, tell := range stories {
		// Not by t.Parallel, which lets only as many run as there are processors:
		// a story waits most of the time.
		all.Go(func() {
			i.t.Run(executor, func(t *testing.T) { tell(&story{installation: i, t: t, executor: executor, board: b}) })
		})
	}
	all.Wait()
}

func (s *story) until(what string, want func() error) {
	s.t.Helper()
	s.await(s.t, what, want)
}

// advise recommends something about a resource.
func (s *story) advise(service, resource, from, to string) {
	s.t.Helper()
	s.until("advise", s.advises(service, resource, from, to))
	s.made++
}

// change returns the change, with all that is known about it.
func (s *story) change() (c api.ChangeView, err error) {
	var all api.List[api.ChangeView]
	if err := s.Call(s.t.Context(), http.MethodGet, "/changes", nil, &all); err != nil {
		return c, err
	}
	var own []string
	for _, c := range all.Items {
		if c.Executor == s.executor {
			own = append(own, c.Key)
		}
	}
	if len(own) != s.made || len(own) == 0 {
		return c, fmt.Errorf("the changes of %s are %v, want %d", s.executor, own, s.made)
	}
	return c, s.Call(s.t.Context(), http.MethodGet, "/changes/"+own[0], nil, &c)
}

func (s *story) wants(state ops.ChangeState, outcome ops.Outcome) func() error {
	return func() error {
		c, err := s.change()
		if err != nil {
			return err
		}
		return is(c, state, outcome)
	}
}

// closes waits until the change has ended, and its request with it.
func (s *story) closes(state ops.ChangeState, outcome ops.Outcome) {
	s.t.Helper()
	s.until("over", s.wants(state, outcome))
	s.until("the request is over", func() error { return s.board.over(s, state) })
}

// decided has people decide in the platform as soon as they are asked.
func (s *story) decided(word ops.Decision) {
	s.t.Helper()
	s.until(string(word), func() error { return s.board.decide(s, word) })
}

// given has cloud operations write a window of an hour into the request of a
// change that waits for one, and does not start before.
func (s *story) given() {
	s.t.Helper()
	s.until("waits for a window", func() error {
		c, err := s.change()
		if err == nil && (c.State != ops.ChangeScheduled || c.Window != nil || !strings.Contains(c.Waiting, "no window applies")) {
			err = fmt.Errorf("%s is %s in the window %v and waits for %q", c.Key, c.State, c.Window, c.Waiting)
		}
		return err
	})
	s.offered(time.Hour, 10*time.Second, func(c api.ChangeView) bool { return c.Offered != nil })
}

// offered has cloud operations offer a window of a length, and another one each
// time the last was not taken: Fettle may write to the request in the moment of
// an offer, and then does not know who made it.
func (s *story) offered(length, again time.Duration, taken func(api.ChangeView) bool) {
	s.t.Helper()
	var offer time.Time
	s.until("given a window", func() error {
		c, err := s.change()
		if err != nil || taken(c) {
			return err
		}
		if now := time.Now(); now.Sub(offer) > again {
			offer = now.Add(time.Second)
			if err := s.board.offer(s, offer, offer.Add(length)); err != nil {
				return err
			}
		}
		return fmt.Errorf("%s is offered a window at %s and is %s; it waits for %q", c.Key, offer, c.State, c.Waiting)
	})
}

// inWindow wants the run to have begun in the window that was offered.
func (s *story) inWindow() {
	s.t.Helper()
	c, err := s.change()
	if err != nil {
		s.t.Fatal(err)
	}
	if c.Offered == nil || c.Run == nil || c.Run.StartedAt.Before(c.Offered.Start) || !c.Run.StartedAt.Before(c.Offered.End) {
		s.t.Errorf("%s was offered %v and its run is %+v", c.Key, c.Offered, c.Run)
	}
}

// board is the platform in which the change requests of a story stand.
type board struct {
	decide func(*story, ops.Decision) error
	offer  func(s *story, from, to time.Time) error
	over   func(s *story, state ops.ChangeState) error // wants the request to have ended as the change did
}

var inSnow = board{
	decide: func(s *story, word ops.Decision) error { return s.snowDecides("beth.anglin", word) },
	offer: func(s *story, from, to time.Time) error {
		r, err := s.request()
		if err != nil {
			return err
		}
		return s.inSnow("beth.anglin", "change_request/"+r["sys_id"], map[string]string{
			"start_date": from.UTC().Format(time.DateTime), "end_date": to.UTC().Format(time.DateTime),
		})
	},
	over: func(s *story, state ops.ChangeState) error {
		r, err := s.request()
		want := map[ops.ChangeState]string{ops.ChangeClosed: "3", ops.ChangeCancelled: "4"}[state]
		if err == nil && r["state"] != want {
			err = fmt.Errorf("%s is in state %s, want %s", r["number"], r["state"], want)
		}
		return err
	},
}

// snowDecides has a person decide about the change request in ServiceNow.
func (s *story) snowDecides(who string, word ops.Decision) error {
	r, err := s.request()
	if err != nil {
		return err
	}
	return s.decides(who, r["sys_id"], map[ops.Decision]string{ops.Approved: "approved", ops.Refused: "rejected"}[word])
}

// request returns the change request in ServiceNow.
func (s *story) request() (simulator.Record, error) {
	c, err := s.change()
	if err != nil {
		return nil, err
	}
	for _, r := range s.requests() {
		if strings.HasPrefix(r["short_description"], c.Key+" ") {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%s has no change request in ServiceNow", c.Key)
}

// told wants the change request in ServiceNow to have a work note that says so.
func (s *story) told(text string) func() error {
	return func() error {
		r, err := s.request()
		if err != nil {
			return err
		}
		var notes []string
		for _, n := range s.Snow.Journal(r["sys_id"]) {
			if strings.Contains(n.Value, text) {
				return nil
			}
			notes = append(notes, n.Value)
		}
		return fmt.Errorf("no work note on %s says %q; there are:\n%s", r["number"], text, strings.Join(notes, "\n---\n"))
	}
}

// as asks the API about the change as a person.
func (s *story) as(who, path string, in any) error {
	var made api.CreatedToken
	if err := s.Call(s.t.Context(), http.MethodPost, "/tokens", api.NewToken{For: who, Name: "story"}, &made); err != nil {
		return err
	}
	c, err := s.change()
	if err != nil {
		return err
	}
	return s.CallAs(s.t.Context(), made.Token, http.MethodPost, "/changes/"+c.Key+path, in, nil)
}
