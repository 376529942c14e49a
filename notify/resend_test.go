package notify_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
)

var mia = ops.Principal{ID: "p-mia", Name: "mia", Kind: ops.Person, Roles: []ops.Role{ops.ChangeManager}}

// inState returns the notifications in a state, oldest first.
func (w *world) inState(s ops.NotificationState) []ops.Notification {
	w.t.Helper()
	all, err := w.store.Notifications(w.t.Context(), ops.NotificationFilter{States: []ops.NotificationState{s}, Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Reverse(all)
	return all
}

func (w *world) givenUp() ops.Notification {
	w.t.Helper()
	all := w.inState(ops.NotificationGivenUp)
	if len(all) != 1 {
		w.t.Fatalf("%d are given up: %v", len(all), w.states())
	}
	return all[0]
}

func denied(n int) func(int, notify.Message) error {
	return func(i int, _ notify.Message) error {
		if i < n {
			return fmt.Errorf("wrong token: %w", ops.ErrDenied)
		}
		return nil
	}
}

func TestWhatWasGivenUpIsSentAgainOnce(t *testing.T) {
	play(t, "again", func(t *testing.T) {
		r := &receiver{answer: denied(1)}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r})
		w.opened(1, ops.High)
		w.run(time.Minute)
		lost := w.givenUp()
		time.Sleep(50 * time.Hour) // longer than it may be tried
		for range 2 {
			n, err := w.room.Resend(t.Context(), mia, lost.ID, "page")
			if err != nil || n.State != ops.NotificationWaiting || n.ResentBy != "mia" || n.ResentAt.IsZero() || !n.DoneAt.IsZero() {
				t.Fatalf("sent again: %+v, %v", n, err)
			}
		}
		if n := w.queue.Waiting(); n != 1 {
			t.Errorf("asked for twice, it is queued %d times", n)
		}
		w.run(time.Minute)
		if r.calls != 2 || len(r.got) != 1 || r.got[0].ID != lost.ID || r.got[0].Title != "INC-1 opened: disk is full" {
			t.Errorf("after %d calls the receiver has %+v, want %s", r.calls, r.got, lost.ID)
		}
		facts, err := w.store.FactsAbout(t.Context(), "incident/i1")
		if err != nil || len(facts) != 2 || facts[1].Kind != ops.NotificationResent || facts[1].Principal != "mia" {
			t.Fatalf("the story: %+v, %v", facts, err)
		}
		b, err := ops.Body[ops.NotificationResentBody](facts[1])
		want := ops.NotificationResentBody{NotificationID: lost.ID, Channel: "chat", Title: lost.Notice.Title, Error: lost.Error, Attempts: 1, Via: "page"}
		if err != nil || b != want {
			t.Errorf("the fact says %+v, want %+v (%v)", b, want, err)
		}
	})
	play(t, "as long as a new one", func(t *testing.T) {
		r := &receiver{answer: func(int, notify.Message) error { return unavailable() }}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r, GiveUpAfter: 10 * time.Minute})
		w.opened(1, ops.High)
		w.run(time.Hour)
		if _, err := w.room.Resend(t.Context(), mia, w.givenUp().ID, "cli"); err != nil {
			t.Fatal(err)
		}
		w.run(5 * time.Minute)
		if s := w.states(); s[ops.NotificationWaiting] != 1 {
			t.Errorf("half the time later: %v", s)
		}
		w.run(time.Hour)
		w.givenUp() // and may be sent again
		r.answer = nil
		if _, err := w.room.Resend(t.Context(), mia, w.givenUp().ID, "cli"); err != nil {
			t.Fatal(err)
		}
		w.run(time.Minute)
		if s := w.states(); s[ops.NotificationSent] != 1 {
			t.Errorf("in the end: %v", s)
		}
	})
	play(t, "within the limit", func(t *testing.T) {
		r := &receiver{answer: denied(1)}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r, Traits: notify.Traits{PerHour: 1}})
		w.opened(1, ops.High)
		w.run(61 * time.Minute)
		lost := w.givenUp()
		w.opened(2, ops.High)
		w.run(time.Minute)
		if _, err := w.room.Resend(t.Context(), mia, lost.ID, "page"); err != nil {
			t.Fatal(err)
		}
		w.run(time.Minute)
		if s := w.states(); s[ops.NotificationHeld] != 1 || len(r.got) != 1 {
			t.Errorf("over the limit: %v, %q", s, r.titles())
		}
		w.run(time.Hour)
		if len(r.got) != 2 || r.got[1].Held[0].Title != lost.Notice.Title {
			t.Errorf("after the hour: %+v", r.got)
		}
	})
}

func TestWhatIsNotSentAgain(t *testing.T) {
	play(t, "refused", func(t *testing.T) {
		r := &receiver{answer: denied(1)}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r})
		w.opened(1, ops.High)
		w.opened(2, ops.High)
		w.run(time.Minute)
		lost, sent := w.givenUp(), w.inState(ops.NotificationSent)[0]
		f := func(by ops.Principal, id string, want error) {
			t.Helper()
			if _, err := w.room.Resend(t.Context(), by, id, "api"); !errors.Is(err, want) {
				t.Errorf("%s of %s: %v, want %v", id, by.Name, err, want)
			}
		}
		f(ops.Principal{Name: "max", Kind: ops.Person, Roles: []ops.Role{ops.Approver}}, lost.ID, ops.ErrDenied)
		f(mia, "none", ops.ErrNotFound)
		f(mia, sent.ID, ops.ErrConflict)
		w.opened(3, ops.High)
		if err := w.queue.Run(t.Context(), 0, func() bool { return true }); err != nil { // it hears, and works nothing
			t.Fatal(err)
		}
		f(mia, w.inState(ops.NotificationWaiting)[0].ID, ops.ErrConflict) // it is on its way, and was never given up
		w.options.Routes = nil
		w.start()
		f(mia, lost.ID, ops.ErrStalled)
	})
	play(t, "a second digest", func(t *testing.T) {
		r := &receiver{}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r, Traits: notify.Traits{PerHour: 1}})
		r.answer = func(_ int, m notify.Message) error {
			if m.Event == "digest" {
				return fmt.Errorf("too long: %w", ops.ErrInvalid)
			}
			return nil
		}
		w.opened(1, ops.High)
		w.opened(2, ops.High)
		w.run(2 * time.Hour)
		lost := w.givenUp()
		w.opened(3, ops.High)
		w.opened(4, ops.High)
		w.run(time.Minute)
		if _, err := w.room.Resend(t.Context(), mia, lost.ID, "page"); !errors.Is(err, ops.ErrConflict) {
			t.Errorf("while another digest waits: %v", err)
		}
		r.answer = nil
		w.run(2 * time.Hour)
		if _, err := w.room.Resend(t.Context(), mia, lost.ID, "page"); err != nil {
			t.Fatal(err)
		}
		w.run(2 * time.Hour)
		if last := r.got[len(r.got)-1]; last.ID != lost.ID || len(last.Held) != 1 || last.Held[0].Title != "INC-2 opened: disk is full" {
			t.Errorf("the digest that was given up came as %+v", last)
		}
	})
}

// What comes while a digest is tried again is in none; it gets one of its own.
func TestNothingStaysBehindADigest(t *testing.T) {
	f := func(name string, giveUp time.Duration, lost int, answer func(digests int) error) {
		t.Helper()
		play(t, name, func(t *testing.T) {
			digests := 0
			r := &receiver{}
			w := newWorld(t, notify.Route{Name: "chat", Channel: r, Traits: notify.Traits{PerHour: 1}, GiveUpAfter: giveUp})
			r.answer = func(_ int, m notify.Message) error {
				if m.Event != "digest" {
					return nil
				}
				digests++
				return answer(digests)
			}
			w.opened(1, ops.High)
			w.opened(2, ops.High)
			w.run(time.Hour + 2*time.Second) // the digest was tried
			if digests == 0 {
				t.Fatal("no digest was tried")
			}
			w.opened(3, ops.High)
			w.run(6 * time.Hour)
			if s := w.states(); s[ops.NotificationHeld] != 0 || s[ops.NotificationGivenUp] != lost {
				t.Errorf("in the end: %v", s)
			}
			last := r.got[len(r.got)-1]
			if len(last.Held) != 1 || last.Held[0].Title != "INC-3 opened: disk is full" {
				t.Errorf("the last message: %+v", last)
			}
		})
	}
	f("that is taken later", 24*time.Hour, 0, func(n int) error {
		if n < 8 {
			return unavailable()
		}
		return nil
	})
	f("that is given up", 5*time.Minute, 1, func(int) error {
		if time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) < 90*time.Minute {
			return unavailable()
		}
		return nil
	})
}

func TestHowAChannelDoes(t *testing.T) {
	play(t, "figures", func(t *testing.T) {
		r := &receiver{answer: denied(1)}
		w := newWorld(t, notify.Route{Name: "chat", Channel: r, Traits: notify.Traits{PerHour: 2}}, notify.Route{Name: "bus", Channel: &receiver{}})
		w.opened(1, ops.High)
		w.run(30 * time.Hour)
		w.opened(2, ops.High)
		w.run(10 * time.Minute)
		w.opened(3, ops.High)
		w.opened(4, ops.High)
		w.run(time.Minute)
		got, err := w.room.Channels(t.Context())
		if err != nil || len(got) != 2 {
			t.Fatalf("%+v, %v", got, err)
		}
		tried := w.inState(ops.NotificationSent)[1] // INC-2 in the chat
		chat, bus := got[0], got[1]
		if tried.Channel != "chat" {
			tried = w.inState(ops.NotificationSent)[2]
		}
		if chat.SentDay != 2 || chat.ThisHour != 2 || chat.GivenUp != 1 || chat.GivenUpDay != 0 || chat.Held != 1 || !chat.NextDigest.Equal(tried.TriedAt.Add(time.Hour)) {
			t.Errorf("chat: %+v; INC-2 was told at %s", chat, tried.TriedAt)
		}
		if bus.SentDay != 3 || bus.ThisHour != 3 || bus.GivenUp != 0 || !bus.NextDigest.IsZero() {
			t.Errorf("bus: %+v", bus)
		}
		next := chat.NextDigest
		w.run(time.Until(next) + time.Second)
		if last := r.got[len(r.got)-1]; last.Event != "digest" || r.at[len(r.at)-1].Before(next) {
			t.Errorf("the digest came at %s, said for %s: %+v", r.at[len(r.at)-1], next, last)
		}
	})
	play(t, "given up of late", func(t *testing.T) {
		w := newWorld(t, notify.Route{Name: "chat", Channel: &receiver{answer: denied(1)}})
		w.opened(1, ops.High)
		w.run(time.Minute)
		got, err := w.room.Channels(t.Context())
		if err != nil || got[0].GivenUpDay != 1 || got[0].GivenUp != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
