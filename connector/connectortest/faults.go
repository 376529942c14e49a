package connectortest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

var faultRules = []Rule{
	{Name: "lost answer", Why: "the ticket exists though we never heard of it", HTTP: true, Test: lostAnswer},
	{Name: "lost note", Why: "a note delivered twice reads as if it happened twice", HTTP: true, Test: lostNote},
	{Name: "throttled", Why: "hammering a platform that asks for patience gets the account locked", HTTP: true, Test: throttled},
	{Name: "server error", Why: "a platform that fails is not a platform that refused", HTTP: true, Test: serverError},
	{Name: "page instead of an answer", Why: "a sleeping instance and a login proxy answer 200 with HTML to everything", HTTP: true, Test: htmlPage},
	{Name: "nonsense", Why: "half an answer must not be taken for an empty one, nor stop the process", HTTP: true, Test: nonsense},
	{Name: "timeout", Why: "nobody knows what a write did whose answer never came", HTTP: true, Test: timeout},
	{Name: "refused connection", Why: "what was never sent may be sent again at once", HTTP: true, Test: refused},
	{Name: "denied", Why: "wrong credentials need a person, not patience", HTTP: true, Test: denied},
}

// operation is one call of the contract on a ticket.
type operation struct {
	name  string
	write bool
	do    func(c connector.Copy) error
}

func (s *Suite) operations(ctx func() context.Context) []operation {
	return []operation{
		{"create", true, func(connector.Copy) error {
			_, err := s.conn.Create(ctx(), s.key(), s.Kind, s.Fields)
			return err
		}},
		{"update", true, func(c connector.Copy) error {
			f := s.Fields
			f.Severity = ops.Info
			_, err := s.conn.Update(ctx(), c.Ref, connector.Edit{Want: f, Changed: []connector.Field{connector.Severity}, Version: c.Version})
			return err
		}},
		{"add note", true, func(c connector.Copy) error {
			return s.conn.AddNote(ctx(), c.Ref, ops.Note{ID: "0192f1c0-0000-7000-8000-" + s.key()[:12], Text: "x"})
		}},
		{"get", false, func(c connector.Copy) error { _, err := s.conn.Get(ctx(), c.Ref); return err }},
		{"find", false, func(c connector.Copy) error { _, err := s.conn.Find(ctx(), c.Key); return err }},
		{"changes", false, func(connector.Copy) error { _, _, err := s.conn.Changes(ctx(), s.cursor); return err }},
	}
}

// under runs every operation with every request meeting f, then those that
// write with only the writing requests meeting it, and mends the wire.
func (s *Suite) under(f fault, each func(op operation, hitWrite bool, err error)) {
	s.Helper()
	made := s.create()
	s.cursor = s.start()
	for _, op := range s.operations(func() context.Context { return s.Context() }) {
		s.wire.inject(f, nil)
		err := op.do(made)
		s.heard(err)
		each(op, false, err)
		if !op.write {
			continue
		}
		s.wire.inject(nil, nil)
		made = s.get(made.Ref)
		s.wire.inject(f, s.IsWrite)
		err = op.do(made)
		s.heard(err)
		each(op, true, err)
	}
	s.wire.inject(nil, nil)
}

func (s *Suite) heard(err error) {
	if err != nil {
		s.errs = append(s.errs, err)
	}
}

func isUnknown(err error) bool { return errors.As(err, new(*ops.UnknownOutcome)) }

func lostAnswer(s *Suite) {
	key := s.key()
	s.wire.inject(losesAnswer, s.IsWrite)
	_, err := s.conn.Create(s.Context(), key, s.Kind, s.Fields)
	s.wire.inject(nil, nil)
	s.fails("create with a lost answer", err, ops.ErrUnavailable)
	if !isUnknown(err) {
		s.Errorf("the outcome is unknown, but the error does not say so: %v", err)
	}
	s.settle()
	found, err := s.conn.Find(s.Context(), key)
	if err != nil || len(found) != 1 {
		s.Fatalf("find gave %d tickets, %v; want the one whose answer was lost", len(found), err)
	}
	again := s.createKey(key)
	if again.Ref != found[0].Ref || s.Count(s.t, key) != 1 {
		s.Errorf("the retry gave %s, found was %s, %d tickets in all", again.Ref, found[0].Ref, s.Count(s.t, key))
	}

	f := s.Fields
	f.Severity = ops.Low
	now := s.get(again.Ref)
	s.wire.inject(losesAnswer, s.IsWrite)
	_, err = s.conn.Update(s.Context(), again.Ref, connector.Edit{Want: f, Changed: []connector.Field{connector.Severity}, Version: now.Version})
	s.wire.inject(nil, nil)
	s.fails("update with a lost answer", err, ops.ErrUnavailable)
	if !isUnknown(err) {
		s.Errorf("the outcome is unknown, but the error does not say so: %v", err)
	}
	s.shows(s.update(again.Ref, f, connector.Severity), f, connector.Severity)
}

func lostNote(s *Suite) {
	made := s.create()
	n := ops.Note{ID: "0192f1c0-0000-7000-8000-" + s.key()[:12], Author: "fettle", Text: "Delivered, but nobody told us."}
	s.wire.inject(losesAnswer, s.IsWrite)
	err := s.conn.AddNote(s.Context(), made.Ref, n)
	s.wire.inject(nil, nil)
	s.fails("note with a lost answer", err, ops.ErrUnavailable)
	if !isUnknown(err) {
		s.Errorf("the outcome is unknown, but the error does not say so: %v", err)
	}
	s.settle()
	for _, got := range s.get(made.Ref).Notes {
		if got.ID == n.ID && got.Own {
			return
		}
	}
	s.Error("the note is there, but cannot be recognised")
}

func throttled(s *Suite) {
	f := says(http.StatusTooManyRequests, "application/json",
		`{"error":{"message":"Rate limit exceeded","detail":"ECHO"},"message":"slow down ECHO","status":"failure"}`, "Retry-After", "7")
	s.under(f, func(op operation, _ bool, err error) {
		if !errors.Is(err, ops.ErrThrottled) || ops.RetryAfter(err) != 7*time.Second {
			s.Errorf("%s: %v; want ErrThrottled after 7 s", op.name, err)
		}
		if isUnknown(err) {
			s.Errorf("%s: a throttled request was not carried out: %v", op.name, err)
		}
	})
}

// unavailable expects ErrUnavailable of every operation, and an unknown
// outcome of each write that met the fault itself.
func (s *Suite) unavailable(what string, f fault) {
	s.Helper()
	s.under(f, func(op operation, hitWrite bool, err error) {
		if err == nil || !errors.Is(ops.Class(err), ops.ErrUnavailable) {
			s.Errorf("%s, %s: %v; want ErrUnavailable", what, op.name, err)
		}
		if hitWrite && !isUnknown(err) {
			s.Errorf("%s, %s: the write met it, but the error does not say that the outcome is unknown: %v", what, op.name, err)
		}
	})
}

func serverError(s *Suite) {
	for _, code := range []int{500, 502, 503, 504} {
		s.unavailable(fmt.Sprint(code), says(code, "application/json", `{"message":"ECHO","error":{"message":"ECHO","detail":"ECHO"}}`))
	}
}

func htmlPage(s *Suite) {
	page := "<!DOCTYPE html><html><head><title>Instance Hibernating</title></head><body>Want to find out why instances hibernate? ECHO</body></html>"
	s.unavailable("200 with HTML", says(http.StatusOK, "text/html; charset=utf-8", page))
	s.unavailable("502 with HTML", says(http.StatusBadGateway, "text/html", page))
}

func nonsense(s *Suite) {
	s.unavailable("half an answer", cutsBody)
	for _, body := range []string{``, `{`, `null`, `42`, `"x"`} {
		s.under(says(http.StatusOK, "application/json", body), func(op operation, _ bool, err error) {
			switch {
			case err == nil:
				s.Errorf("200 %q, %s: no error", body, op.name)
			case !errors.Is(ops.Class(err), ops.ErrUnavailable):
				s.Errorf("200 %q, %s: %v; want ErrUnavailable", body, op.name, err)
			}
		})
	}
}

func timeout(s *Suite) {
	made := s.create()
	s.cursor = s.start()
	for _, op := range s.operations(func() context.Context { return s.within(100 * time.Millisecond) }) {
		s.wire.inject(nil, nil)
		if op.write {
			made = s.get(made.Ref)
			s.wire.inject(hangs, s.IsWrite)
		} else {
			s.wire.inject(hangs, nil)
		}
		err := op.do(made)
		s.fails(op.name, err, ops.ErrUnavailable)
		if op.write && !isUnknown(err) {
			s.Errorf("%s: the outcome is unknown, but the error does not say so: %v", op.name, err)
		}
	}
	s.wire.inject(nil, nil)
}

func refused(s *Suite) {
	s.under(refuses, func(op operation, hitWrite bool, err error) {
		if err == nil || !errors.Is(ops.Class(err), ops.ErrUnavailable) {
			s.Errorf("%s: %v; want ErrUnavailable", op.name, err)
		}
		if hitWrite && isUnknown(err) {
			s.Errorf("%s: nothing was sent, the outcome is known: %v", op.name, err)
		}
	})
}

func denied(s *Suite) {
	f := says(http.StatusUnauthorized, "application/json", `{"error":{"message":"User Not Authenticated","detail":"ECHO"},"message":"Unauthorized ECHO"}`)
	s.under(f, func(op operation, _ bool, err error) {
		if !errors.Is(err, ops.ErrDenied) {
			s.Errorf("%s: %v; want ErrDenied", op.name, err)
		}
	})
	s.wire.inject(f, nil)
	err := s.conn.Check(s.Context())
	s.wire.inject(nil, nil)
	s.fails("check", err, ops.ErrDenied)
	if err != nil && !strings.Contains(err.Error(), "401") && !strings.Contains(strings.ToLower(err.Error()), "auth") {
		s.Errorf("check does not say that it is about credentials: %v", err)
	}
}
