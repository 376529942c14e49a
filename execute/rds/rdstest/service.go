// Package rdstest is a strict double of RDS, as far as modifying, stopping,
// starting and rebooting database instances goes. It speaks the query protocol,
// refuses what the service refuses, keeps what is not to be applied at once
// pending for ever, and moves its databases with the clock.
package rdstest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Service is the service with any number of accounts.
type Service struct {
	URL string

	mu       sync.Mutex
	accounts map[string]*Account
}

// Start serves until the test ends.
func Start(t testing.TB) *Service {
	t.Helper()
	s := &Service{accounts: map[string]*Account{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Account returns the account of this name, which is made when it is new.
func (s *Service) Account(name string) *Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[name]
	if !ok {
		a = &Account{
			URL: s.URL + "/" + name, Settle: 5 * time.Millisecond, Databases: map[string]*Database{}, Classes: map[string]*Class{}, Groups: map[string]string{},
			denied: map[string]bool{}, drop: map[string]bool{}, calls: map[string]int{},
		}
		s.accounts[name] = a
	}
	return a
}

// ServeHTTP answers for the account in the path.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a := s.Account(name)
	action := form(r.PostForm).get("Action")
	out, bad := a.Do(action, r.PostForm)
	a.mu.Lock()
	if a.drop[action] && bad == nil {
		delete(a.drop, action)
		bad = &Fault{Code: "InternalFailure", Message: "the answer was lost", Status: http.StatusInternalServerError}
	}
	a.mu.Unlock()
	w.Header().Set("Content-Type", "text/xml")
	var b bytes.Buffer
	if bad != nil {
		status := bad.Status
		if status == 0 {
			status = http.StatusBadRequest
		}
		w.WriteHeader(status)
		write(&b, "ErrorResponse", m{"Error": m{"Type": "Sender", "Code": bad.Code, "Message": bad.Message}, "RequestId": "r"})
	} else {
		write(&b, action+"Response", m{action + "Result": out})
	}
	_, _ = w.Write(b.Bytes())
}

// Fault is an error of the service.
type Fault struct {
	Code, Message string
	Status        int // of HTTP; 0: 400
}

func fault(code, format string, args ...any) *Fault {
	return &Fault{Code: code, Message: fmt.Sprintf(format, args...)}
}

type form map[string][]string

func (f form) get(key string) string {
	if v := f[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// m is one XML element with its children.
type m map[string]any

// list is a list of elements with a name of their own.
type list struct {
	name  string
	items []any
}

func write(b *bytes.Buffer, name string, v any) {
	fmt.Fprintf(b, "<%s>", name)
	switch v := v.(type) {
	case m:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if v[k] != nil {
				write(b, k, v[k])
			}
		}
	case list:
		for _, item := range v.items {
			write(b, v.name, item)
		}
	case time.Time:
		b.WriteString(v.UTC().Format("2006-01-02T15:04:05.000Z"))
	default:
		_ = xml.EscapeText(b, []byte(fmt.Sprint(v)))
	}
	fmt.Fprintf(b, "</%s>", name)
}

// Account is one account and region. Its fields belong to the test until the
// first call, and within With.
type Account struct {
	URL       string
	Settle    time.Duration // how long a database looks as before after it was told something
	Databases map[string]*Database
	Classes   map[string]*Class
	Groups    map[string]string // parameter groups, and what they are for

	mu     sync.Mutex
	denied map[string]bool
	drop   map[string]bool
	calls  map[string]int
}

// Deny refuses an action from now on.
func (a *Account) Deny(action string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.denied[action] = true
}

// Lose does the next one of an action and loses its answer.
func (a *Account) Lose(action string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop[action] = true
}

// With runs f while nothing else happens in the account.
func (a *Account) With(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// Calls counts the calls of an action that were accepted.
func (a *Account) Calls(action string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[action]
}

// Do does one action, as a raw call would.
func (a *Account) Do(action string, in map[string][]string) (out any, bad *Fault) {
	do, ok := map[string]func(form) (m, *Fault){
		"DescribeDBInstances": a.describe, "DescribeEvents": a.events, "DescribeDBParameterGroups": a.groups, "DescribeOrderableDBInstanceOptions": a.orderable,
		"ModifyDBInstance": a.modify, "StopDBInstance": a.stop, "StartDBInstance": a.start, "RebootDBInstance": a.reboot,
	}[action]
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !ok:
		return nil, fault("InvalidAction", "Could not find operation %s for version 2014-10-31", action)
	case a.denied[action]:
		return nil, &Fault{Code: "AccessDenied", Message: "User is not authorized to perform: rds:" + action, Status: http.StatusForbidden}
	}
	for _, d := range a.Databases {
		d.move()
	}
	return do(in)
}
