// Package autoscalingtest is a strict double of Amazon EC2 Auto Scaling,
// together with the launch templates of EC2 that its groups use. It refuses what
// the service refuses, and replaces instances by the clock, so that a refresh
// takes time, fails, is cancelled and undone.
package autoscalingtest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
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
			URL: s.URL + "/" + name, Settle: 5 * time.Millisecond, Groups: map[string]*Group{}, Templates: map[string]*Template{}, Types: map[string][]string{},
			denied: map[string]bool{}, lost: map[string]bool{},
		}
		s.accounts[name] = a
	}
	return a
}

// ServeHTTP answers for the account in the path, in the dialect of the service
// that is asked.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	action := r.PostForm.Get("Action")
	a := s.Account(name)
	out, bad := a.Do(action, r.PostForm)
	a.mu.Lock()
	if bad == nil && a.lost[action] {
		bad = &Fault{"InternalFailure", "the answer was lost", http.StatusInternalServerError}
	}
	delete(a.lost, action)
	a.mu.Unlock()
	w.Header().Set("Content-Type", "text/xml")
	var b bytes.Buffer
	_, ec2 := a.ec2()[action]
	switch {
	case bad != nil && ec2:
		write(&b, "Response", m{"Errors": m{"Error": m{"Code": bad.Code, "Message": bad.Message}}, "RequestID": "r"}, "")
	case bad != nil:
		write(&b, "ErrorResponse", m{"Error": m{"Type": "Sender", "Code": bad.Code, "Message": bad.Message}, "RequestId": "r"}, "")
	case ec2:
		write(&b, action+"Response", out, "item")
	default:
		write(&b, action+"Response", m{action + "Result": out}, "member")
	}
	if bad != nil {
		status := bad.Status
		if status == 0 {
			status = http.StatusBadRequest
		}
		w.WriteHeader(status)
	}
	_, _ = w.Write(b.Bytes())
}

// m is one XML element with its children.
type m map[string]any

func write(b *bytes.Buffer, name string, v any, item string) {
	fmt.Fprintf(b, "<%s>", name)
	switch v := v.(type) {
	case m:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if v[k] != nil {
				write(b, k, v[k], item)
			}
		}
	case []m:
		for _, e := range v {
			write(b, item, e, item)
		}
	case []string:
		for _, e := range v {
			write(b, item, e, item)
		}
	case time.Time:
		b.WriteString(v.UTC().Format("2006-01-02T15:04:05.000Z"))
	default:
		_ = xml.EscapeText(b, []byte(fmt.Sprint(v)))
	}
	fmt.Fprintf(b, "</%s>", name)
}

// Fault is an error of the service.
type Fault struct {
	Code, Message string
	Status        int // default 400
}

func fault(code, format string, args ...any) *Fault {
	return &Fault{Code: code, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *Fault { return fault("ValidationError", format, args...) }

// form is what was sent.
type form map[string][]string

func (f form) get(key string) string {
	if v := f[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (f form) has(key string) bool { return len(f[key]) > 0 }

// number reads a number; def when there is none.
func (f form) number(key string, def int) int {
	n, err := strconv.Atoi(f.get(key))
	if err != nil {
		return def
	}
	return n
}

// list returns the members of a list of texts: of Auto Scaling with prefix
// "key.member.", of EC2 with "key.".
func (f form) list(prefix string) []string {
	var out []string
	for i := 1; f.has(prefix + strconv.Itoa(i)); i++ {
		out = append(out, f.get(prefix+strconv.Itoa(i)))
	}
	return out
}

// Account is one account and region. Its fields belong to the test, which
// changes them within With once there were calls.
type Account struct {
	URL       string
	Settle    time.Duration // how long what was just begun is pending
	Groups    map[string]*Group
	Templates map[string]*Template
	Types     map[string][]string // instance types and the architectures they run

	mu     sync.Mutex
	count  int
	begun  int
	denied map[string]bool
	lost   map[string]bool
}

// With runs f while nothing else happens in the account, with every group as it
// is now.
func (a *Account) With(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.move()
	f()
}

// Deny refuses an action from now on.
func (a *Account) Deny(action string) { a.With(func() { a.denied[action] = true }) }

// Lose does the next one of an action and loses its answer.
func (a *Account) Lose(action string) { a.With(func() { a.lost[action] = true }) }

// Begun counts the refreshes that were started.
func (a *Account) Begun() (n int) {
	a.With(func() { n = a.begun })
	return n
}

// Alive lists the refreshes that have not ended.
func (a *Account) Alive() (out []string) {
	a.With(func() {
		for _, name := range slices.Sorted(maps.Keys(a.Groups)) {
			if r := a.Groups[name].active(); r != nil {
				out = append(out, r.id+" "+r.status)
			}
		}
	})
	return out
}

func (a *Account) id(kind string) string {
	a.count++
	return fmt.Sprintf("%s-%08d", kind, a.count)
}

func (a *Account) move() {
	for _, name := range slices.Sorted(maps.Keys(a.Groups)) {
		a.Groups[name].move(a, time.Now())
	}
}

func (a *Account) ec2() map[string]func(form) (m, *Fault) {
	return map[string]func(form) (m, *Fault){
		"DescribeLaunchTemplateVersions": a.describeVersions, "CreateLaunchTemplateVersion": a.createVersion, "DescribeInstanceTypes": a.describeTypes,
	}
}

// Do does one action, as a raw call would.
func (a *Account) Do(action string, in map[string][]string) (any, *Fault) {
	do, ok := a.ec2()[action]
	if !ok {
		do, ok = map[string]func(form) (m, *Fault){
			"DescribeAutoScalingGroups": a.describeGroups, "UpdateAutoScalingGroup": a.updateGroup, "DescribeScalingActivities": a.describeActivities,
			"StartInstanceRefresh": a.startRefresh, "DescribeInstanceRefreshes": a.describeRefreshes,
			"CancelInstanceRefresh": a.cancelRefresh, "RollbackInstanceRefresh": a.rollbackRefresh,
		}[action]
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !ok:
		return nil, fault("InvalidAction", "Could not find operation %s", action)
	case a.denied[action]:
		return nil, &Fault{"AccessDenied", "User is not authorized to perform: " + action, http.StatusForbidden}
	}
	a.move()
	out, bad := do(in)
	if bad != nil {
		return nil, bad
	}
	return out, nil
}
