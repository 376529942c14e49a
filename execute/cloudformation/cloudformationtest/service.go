// Package cloudformationtest is a strict double of CloudFormation, together
// with the Parameter Store its stacks read. It refuses what the service
// refuses, computes change sets from templates, and moves its stacks with the
// clock, so that an update takes time, fails, is cancelled and rolls back.
//
// Templates are JSON with Parameters and Resources; a property is a text or
// {"Ref": parameter}.
package cloudformationtest

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

	"github.com/fettleops/fettle/execute/parameter/parametertest"
)

// Service is the service with any number of accounts.
type Service struct {
	URL string

	mu       sync.Mutex
	accounts map[string]*Account
}

// New returns a service without accounts, for whoever serves it at url.
func New(url string) *Service { return &Service{URL: url, accounts: map[string]*Account{}} }

// Start serves until the test ends.
func Start(t testing.TB) *Service {
	t.Helper()
	s := New("")
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
			URL: s.URL + "/" + name, Settle: 5 * time.Millisecond, Parameters: new(parametertest.Service),
			stacks: map[string]*Stack{}, alarms: map[string]bool{}, detections: map[string]*detection{}, denied: map[string]bool{},
		}
		s.accounts[name] = a
	}
	return a
}

// ServeHTTP answers CloudFormation and Parameter Store of the account in the path.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	a := s.Account(name)
	if r.Header.Get("X-Amz-Target") != "" {
		a.Parameters.ServeHTTP(w, r)
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.serve(w, r.PostForm)
}

// Account is one account and region.
type Account struct {
	URL        string
	Settle     time.Duration // how long change sets and drift detections take
	Parameters *parametertest.Service

	mu         sync.Mutex
	stacks     map[string]*Stack
	alarms     map[string]bool // the alarms there are, and whether they are in ALARM
	detections map[string]*detection
	denied     map[string]bool
	count      int
	begun      int
}

// Fault is an error of the service.
type Fault struct {
	Code, Message string
}

func fault(code, format string, args ...any) *Fault {
	return &Fault{code, fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *Fault { return fault("ValidationError", format, args...) }

type form map[string][]string

func (f form) get(key string) string {
	if v := f[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// list returns the members of a list, each with its own keys.
func (f form) list(key string) []form {
	byIndex := map[int]form{}
	for k, v := range f {
		rest, ok := strings.CutPrefix(k, key+".member.")
		if !ok {
			continue
		}
		number, field, _ := strings.Cut(rest, ".")
		i, err := strconv.Atoi(number)
		if err != nil {
			continue
		}
		if byIndex[i] == nil {
			byIndex[i] = form{}
		}
		byIndex[i][field] = v
	}
	var out []form
	for _, i := range slices.Sorted(maps.Keys(byIndex)) {
		out = append(out, byIndex[i])
	}
	return out
}

func (f form) texts(key string) []string {
	var out []string
	for _, m := range f.list(key) {
		out = append(out, m.get(""))
	}
	return out
}

// m is one XML element with its children.
type m map[string]any

func (a *Account) serve(w http.ResponseWriter, in map[string][]string) {
	action := form(in).get("Action")
	out, bad := a.Do(action, in)
	w.Header().Set("Content-Type", "text/xml")
	var b bytes.Buffer
	status := http.StatusOK
	if bad != nil {
		status = http.StatusBadRequest
		if bad.Code == "AccessDenied" {
			status = http.StatusForbidden
		}
		write(&b, "ErrorResponse", m{"Error": m{"Type": "Sender", "Code": bad.Code, "Message": bad.Message}, "RequestId": "r"})
	} else {
		write(&b, action+"Response", m{action + "Result": out})
	}
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
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
	case []m:
		for _, item := range v {
			write(b, "member", item)
		}
	case []string:
		for _, item := range v {
			write(b, "member", item)
		}
	case time.Time:
		b.WriteString(v.UTC().Format("2006-01-02T15:04:05.000Z"))
	default:
		_ = xml.EscapeText(b, []byte(fmt.Sprint(v)))
	}
	fmt.Fprintf(b, "</%s>", name)
}

// Do does one action, as a raw call would.
func (a *Account) Do(action string, in map[string][]string) (out any, bad *Fault) {
	f := form(in)
	do, ok := map[string]func(form) (m, *Fault){
		"DescribeStacks": a.describeStacks, "GetTemplate": a.getTemplate, "GetTemplateSummary": a.getTemplateSummary, "GetStackPolicy": a.getStackPolicy,
		"CreateChangeSet": a.createChangeSet, "DescribeChangeSet": a.describeChangeSet, "ListChangeSets": a.listChangeSets, "DeleteChangeSet": a.deleteChangeSet,
		"ExecuteChangeSet": a.executeChangeSet, "CancelUpdateStack": a.cancelUpdateStack, "ContinueUpdateRollback": a.continueUpdateRollback,
		"DescribeStackEvents": a.describeStackEvents, "DescribeStackResources": a.describeStackResources,
		"DetectStackDrift": a.detectStackDrift, "DescribeStackDriftDetectionStatus": a.detectionStatus, "DescribeStackResourceDrifts": a.resourceDrifts,
	}[action]
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !ok:
		return nil, fault("InvalidAction", "Could not find operation %s", action)
	case a.denied[action]:
		return nil, fault("AccessDenied", "User is not authorized to perform: cloudformation:%s", action)
	}
	for _, s := range a.stacks {
		s.move(a, time.Now())
	}
	return do(f)
}

// Deny refuses an action from now on.
func (a *Account) Deny(action string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.denied[action] = true
}

// Alarm makes an alarm or sets its state.
func (a *Account) Alarm(arn string, ringing bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.alarms[arn] = ringing
}

// Begun counts the change sets that were executed.
func (a *Account) Begun() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.begun
}

func (a *Account) id(kind string) string {
	a.count++
	return fmt.Sprintf("%s-%d", kind, a.count)
}

// Stack returns the stack of this name as it is now. The test may change what
// its fields say between calls.
func (a *Account) Stack(name string) *Stack {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stacks[name]
	if s != nil {
		s.move(a, time.Now())
	}
	return s
}

// With runs f while nothing else happens in the account.
func (a *Account) With(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// Text returns a text of the top level of an answer of Do.
func Text(answer any, name string) string {
	out, _ := answer.(m)
	if out[name] == nil {
		return ""
	}
	return fmt.Sprint(out[name])
}
