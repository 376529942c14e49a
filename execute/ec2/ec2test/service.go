// Package ec2test is a strict double of EC2, as far as stopping, starting and
// resizing instances goes, with the Auto Scaling membership of instances. It
// speaks their query protocols, refuses what the services refuse, and moves its
// instances with the clock.
package ec2test

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
			URL: s.URL + "/" + name, Instances: map[string]*Instance{}, Types: map[string]*Type{}, ElasticIPs: map[string]string{},
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
		bad = &Fault{Code: "InternalError", Message: "the answer was lost", Status: http.StatusInternalServerError}
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
		fault := m{"Code": bad.Code, "Message": bad.Message}
		if slices.Contains(scaling, action) {
			write(&b, "ErrorResponse", m{"Error": fault, "RequestId": "r"})
		} else {
			write(&b, "Response", m{"Errors": m{"Error": fault}, "RequestID": "r"})
		}
	} else {
		write(&b, action+"Response", out)
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

// texts returns key.1, key.2 and so on.
func (f form) texts(key string) []string {
	var out []string
	for i := 1; ; i++ {
		v, ok := f[key+"."+strconv.Itoa(i)]
		if !ok {
			return out
		}
		out = append(out, v[0])
	}
}

// filters returns the filters by name.
func (f form) filters() map[string][]string {
	out := map[string][]string{}
	for i := 1; ; i++ {
		prefix := "Filter." + strconv.Itoa(i)
		name := f.get(prefix + ".Name")
		if name == "" {
			return out
		}
		out[name] = f.texts(prefix + ".Value")
	}
}

// m is one XML element with its children.
type m map[string]any

// set is a list of elements, each called item; members is one of Auto Scaling.
type (
	set     []any
	members []any
)

func write(b *bytes.Buffer, name string, v any) {
	fmt.Fprintf(b, "<%s>", name)
	switch v := v.(type) {
	case m:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if v[k] != nil {
				write(b, k, v[k])
			}
		}
	case set:
		for _, item := range v {
			write(b, "item", item)
		}
	case members:
		for _, item := range v {
			write(b, "member", item)
		}
	case []string:
		for _, item := range v {
			write(b, "item", item)
		}
	default:
		_ = xml.EscapeText(b, []byte(fmt.Sprint(v)))
	}
	fmt.Fprintf(b, "</%s>", name)
}

// scaling are the actions of Auto Scaling, whose errors look otherwise.
var scaling = []string{"DescribeAutoScalingInstances"}

// Account is one account and region. Its fields belong to the test until the
// first call, and within With.
type Account struct {
	URL        string
	Instances  map[string]*Instance
	Types      map[string]*Type
	ElasticIPs map[string]string // address to instance

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

// Calls counts the calls of an action that changed something.
func (a *Account) Calls(action string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[action]
}

// Do does one action, as a raw call would.
func (a *Account) Do(action string, in map[string][]string) (out any, bad *Fault) {
	do, ok := map[string]func(form) (m, *Fault){
		"DescribeInstances": a.describe, "DescribeInstanceStatus": a.status, "DescribeInstanceAttribute": a.attribute,
		"DescribeInstanceTypes": a.types, "DescribeInstanceTypeOfferings": a.offerings, "DescribeAddresses": a.addresses,
		"StopInstances": a.stop, "StartInstances": a.start, "ModifyInstanceAttribute": a.modify, "DescribeAutoScalingInstances": a.groups,
	}[action]
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !ok:
		return nil, fault("InvalidAction", "The action %s is not valid for this web service.", action)
	case a.denied[action] && slices.Contains(scaling, action):
		return nil, &Fault{Code: "AccessDenied", Message: "User is not authorized to perform: autoscaling:" + action, Status: http.StatusForbidden}
	case a.denied[action]:
		return nil, &Fault{Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation.", Status: http.StatusForbidden}
	}
	for _, i := range a.Instances {
		i.move()
	}
	return do(in)
}
