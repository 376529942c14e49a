// Package parametertest is the conformance suite of parameter repositories, and
// a strict double of Parameter Store to run it and others against.
package parametertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/ops"
)

type rule struct {
	name, why string
	check     func(t *testing.T, r parameter.Repository, at func(string) string)
}

var rules = []rule{
	{"a key that is not there is not found", "a missing value must not pass for an empty one", missing},
	{"what is put is read", "a repository that forgets is none", roundTrip},
	{"a stale writer is refused", "two changes must not both believe that their value stands", staleWriter},
	{"a write under one token happens once", "a retry after a lost answer must not overwrite what came after", onceByToken},
	{"many writers of one version, one wins", "compare and set is for the day two replicas are awake", oneWins},
	{"a version has one lifecycle label", "the state of a recommendation is the label of its newest version", labels},
	{"what is deleted is gone, by version", "a preview key must never outlive its plan, nor take another's value with it", deletes},
	{"a list is everything below a path", "the sweep for orphans must see all of them", lists},
	{"many versions are no obstacle", "a recommendation may come every night for years", manyVersions},
	{"bad edits are refused by name", "the service refuses them too, but later and in other words", refusals},
}

// Run checks every rule on an empty repository, or one where nothing stands
// below the path prefix.
func Run(t *testing.T, prefix string, r parameter.Repository) {
	t.Helper()
	for i, c := range rules {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("This rule exists because %s.", c.why)
				}
			})
			c.check(t, r, func(key string) string { return fmt.Sprintf("%s/r%d/%s", prefix, i, key) })
		})
	}
}

func put(t *testing.T, r parameter.Repository, key, value, token string, version int64) parameter.Parameter {
	t.Helper()
	p, err := r.Put(t.Context(), parameter.Edit{Key: key, Value: value, Token: token, Version: version})
	if err != nil {
		t.Fatalf("put %s=%s: %v", key, value, err)
	}
	return p
}

func get(t *testing.T, r parameter.Repository, key string) parameter.Parameter {
	t.Helper()
	p, err := r.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return p
}

func wants(t *testing.T, what string, err, class error) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("%s: %v, want %v", what, err, class)
	}
}

func missing(t *testing.T, r parameter.Repository, at func(string) string) {
	_, err := r.Get(t.Context(), at("nobody"))
	wants(t, "get", err, ops.ErrNotFound)
	wants(t, "mark", r.Mark(t.Context(), at("nobody"), 1, parameter.Approved), ops.ErrNotFound)
	_, err = r.Put(t.Context(), parameter.Edit{Key: at("nobody"), Value: "v", Token: "t", Version: 3})
	wants(t, "put over a version that is not there", err, ops.ErrConflict)
}

func roundTrip(t *testing.T, r parameter.Repository, at func(string) string) {
	p, err := r.Put(t.Context(), parameter.Edit{Key: at("k"), Value: "a,b", Kind: parameter.List, Token: "t1", Note: "web"})
	if err != nil {
		t.Fatal(err)
	}
	f := func(what string, got parameter.Parameter, version int64, value string) {
		t.Helper()
		if got.Key != at("k") || got.Version != version || got.Value != value || got.Kind != parameter.List || got.DataType != "text" || got.Note != "web" || got.At.IsZero() {
			t.Errorf("%s: %+v", what, got)
		}
	}
	f("as put returns it", p, 1, "a,b")
	f("as it is read", get(t, r, at("k")), 1, "a,b")
	f("a second version, which keeps kind and note", put(t, r, at("k"), "c", "t2", 1), 2, "c")
	f("as it is read", get(t, r, at("k")), 2, "c")
}

func staleWriter(t *testing.T, r parameter.Repository, at func(string) string) {
	put(t, r, at("k"), "1", "t1", 0)
	put(t, r, at("k"), "2", "t2", 1)
	for _, version := range []int64{0, 1, 3} {
		_, err := r.Put(t.Context(), parameter.Edit{Key: at("k"), Value: "x", Token: fmt.Sprint("t3-", version), Version: version})
		wants(t, fmt.Sprintf("put over version %d", version), err, ops.ErrConflict)
	}
	if p := get(t, r, at("k")); p.Value != "2" || p.Version != 2 {
		t.Errorf("a refused write left %+v", p)
	}
}

func onceByToken(t *testing.T, r parameter.Repository, at func(string) string) {
	first := put(t, r, at("k"), "1", "t1", 0)
	put(t, r, at("k"), "2", "t2", 1)
	if again := put(t, r, at("k"), "1", "t1", 0); again.Version != first.Version || again.Value != "1" {
		t.Errorf("the same write again returned %+v, want %+v", again, first)
	}
	if p := get(t, r, at("k")); p.Value != "2" || p.Version != 2 {
		t.Errorf("the same write again left %+v", p)
	}
}

func oneWins(t *testing.T, r parameter.Repository, at func(string) string) {
	put(t, r, at("k"), "0", "t0", 0)
	const writers = 5
	errs := make([]error, writers)
	var wait sync.WaitGroup
	for i := range writers {
		wait.Go(func() {
			_, errs[i] = r.Put(context.WithoutCancel(t.Context()), parameter.Edit{Key: at("k"), Value: fmt.Sprint("w", i), Token: fmt.Sprint("w", i), Version: 1})
		})
	}
	wait.Wait()
	var won []string
	for i, err := range errs {
		if err == nil {
			won = append(won, fmt.Sprint("w", i))
		} else {
			wants(t, "a loser", err, ops.ErrConflict)
		}
	}
	if len(won) > 1 {
		t.Fatalf("%v all won", won)
	}
	if len(won) == 1 && get(t, r, at("k")).Value != won[0] {
		t.Errorf("%v won and %s stands", won, get(t, r, at("k")).Value)
	}
}

func labels(t *testing.T, r parameter.Repository, at func(string) string) {
	put(t, r, at("k"), "1", "t1", 0)
	f := func(version int64, l, newest parameter.Label) {
		t.Helper()
		for range 2 {
			if err := r.Mark(t.Context(), at("k"), version, l); err != nil {
				t.Fatalf("mark %s: %v", l, err)
			}
		}
		if p := get(t, r, at("k")); p.Label != newest {
			t.Errorf("after %s on version %d the newest has %q, want %q", l, version, p.Label, newest)
		}
	}
	f(1, parameter.Initialize, parameter.Initialize)
	f(1, parameter.Approved, parameter.Approved)
	f(1, parameter.Scheduled, parameter.Scheduled)
	put(t, r, at("k"), "2", "t2", 1)
	if p := get(t, r, at("k")); p.Label != "" {
		t.Errorf("a new version has label %s", p.Label)
	}
	f(2, parameter.Executed, parameter.Executed)
	f(1, parameter.Executed, "") // it moves
	wants(t, "a label of nobody's", r.Mark(t.Context(), at("k"), 1, "Splendid"), ops.ErrInvalid)
	wants(t, "a version that is not there", r.Mark(t.Context(), at("k"), 9, parameter.Closed), ops.ErrNotFound)
}

func deletes(t *testing.T, r parameter.Repository, at func(string) string) {
	put(t, r, at("k"), "1", "t1", 0)
	put(t, r, at("k"), "2", "t2", 1)
	wants(t, "delete of a version that moved", r.Delete(t.Context(), at("k"), 1), ops.ErrConflict)
	for range 2 {
		if err := r.Delete(t.Context(), at("k"), 2); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	_, err := r.Get(t.Context(), at("k"))
	wants(t, "get", err, ops.ErrNotFound)
	if p := put(t, r, at("k"), "3", "t3", 0); p.Version != 1 {
		t.Errorf("a key that comes back begins at version %d", p.Version)
	}
}

func lists(t *testing.T, r parameter.Repository, at func(string) string) {
	var want []string
	for i := range 25 {
		key := at(fmt.Sprintf("in/%02d", i))
		put(t, r, key, "v", key, 0)
		want = append(want, key)
	}
	put(t, r, at("in"), "v", "a", 0)
	put(t, r, at("inner"), "v", "b", 0)
	list, err := r.List(t.Context(), at("in"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range list {
		if p.Value != "v" || p.Version != 1 || p.At.IsZero() {
			t.Errorf("%+v", p)
		}
		got = append(got, p.Key)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if list, err := r.List(t.Context(), at("nothing")); err != nil || len(list) > 0 {
		t.Errorf("a path with nothing below: %v, %v", list, err)
	}
}

func manyVersions(t *testing.T, r parameter.Repository, at func(string) string) {
	put(t, r, at("k"), "0", "t0", 0)
	if err := r.Mark(t.Context(), at("k"), 1, parameter.Initialize); err != nil {
		t.Fatal(err)
	}
	for i := range int64(110) {
		put(t, r, at("k"), fmt.Sprint(i+1), fmt.Sprint("t", i+1), i+1)
	}
	if p := get(t, r, at("k")); p.Version != 111 || p.Value != "110" {
		t.Errorf("the newest is %+v", p)
	}
}

func refusals(t *testing.T, r parameter.Repository, at func(string) string) {
	f := func(e parameter.Edit, says string) {
		t.Helper()
		_, err := r.Put(t.Context(), e)
		wants(t, says, err, ops.ErrInvalid)
		if err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
	f(parameter.Edit{Key: "no/slash", Value: "v", Token: "t"}, "write /a/b")
	f(parameter.Edit{Key: at("with space"), Value: "v", Token: "t"}, "write /a/b")
	f(parameter.Edit{Key: at("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o"), Value: "v", Token: "t"}, "15 parts")
	f(parameter.Edit{Key: "/aws/x", Value: "v", Token: "t"}, "the service's own")
	f(parameter.Edit{Key: at("k"), Token: "t"}, "has 0 bytes")
	f(parameter.Edit{Key: at("k"), Value: strings.Repeat("v", parameter.MaxValue+1), Token: "t"}, "4097 bytes")
	f(parameter.Edit{Key: at("k"), Value: "v", Token: "t", Note: strings.Repeat("n", parameter.MaxNote+1)}, "note")
	f(parameter.Edit{Key: at("k"), Value: "v"}, "token")
	f(parameter.Edit{Key: at("k"), Value: "v", Token: "t", Kind: parameter.Secure}, "SecureString")
}
