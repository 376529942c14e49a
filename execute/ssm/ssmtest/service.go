// Package ssmtest is a strict double of Systems Manager: parameters, Run Command
// and Automation. It refuses what the service refuses, runs nothing, and lets
// commands and executions take their time by the clock.
package ssmtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
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
			URL: s.URL + "/" + name, Parameters: new(parametertest.Service), Settle: 5 * time.Millisecond,
			Instances: map[string]*Instance{}, Documents: map[string]*Document{}, denied: map[string]bool{}, drop: map[string]bool{},
		}
		s.accounts[name] = a
	}
	return a
}

// ServeHTTP answers for the account in the path.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	a := s.Account(name)
	var in map[string]any
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		parametertest.Answer(w, nil, fault("SerializationException", "%v", err))
		return
	}
	operation := parametertest.Operation(r)
	out, bad := a.Do(operation, in)
	a.mu.Lock()
	dropped := a.drop[operation]
	delete(a.drop, operation)
	a.mu.Unlock()
	if dropped {
		bad = &parametertest.Fault{Code: "InternalServerError", Message: "the answer was lost", Status: http.StatusInternalServerError}
	}
	parametertest.Answer(w, out, bad)
}

// Account is one account and region. Its maps belong to the test until the
// first call.
type Account struct {
	URL        string
	Settle     time.Duration // how long what was just begun is not seen
	Parameters *parametertest.Service
	Instances  map[string]*Instance
	Documents  map[string]*Document

	mu         sync.Mutex
	commands   []*command
	executions []*execution
	denied     map[string]bool
	drop       map[string]bool
}

// Instance is one managed instance.
type Instance struct {
	Ping string // default Online
	Tags map[string]string
	Says string // in place of what the document says
	Code int    // in place of the document's
	Lost bool   // it takes commands and never answers: undeliverable
}

// Document is one document.
type Document struct {
	Type, Status, Version, Hash string // default Active, 1, h1
	Required                    []string
	Takes                       time.Duration // on each instance, or each step
	Says                        string
	Code                        int      // of a command; not 0 fails
	Steps                       []string // of an automation
	FailStep                    string
}

type command struct {
	id, comment, document string
	does                  Document // as it was when it was sent
	sent                  time.Time
	instances             []string
	concurrency, errors   int
	cancelled             time.Time
}

type execution struct {
	id, token      string
	does           Document // as it was when it was started
	input          string
	began, stopped time.Time
}

func fault(code, format string, args ...any) *parametertest.Fault {
	return &parametertest.Fault{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Deny refuses an operation from now on.
func (a *Account) Deny(operation string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.denied[operation] = true
}

// Lose does the next one of an operation and loses its answer.
func (a *Account) Lose(operation string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop[operation] = true
}

// Begun counts commands that were sent and executions that were started.
func (a *Account) Begun() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.commands) + len(a.executions)
}

// Alive lists what has not ended.
func (a *Account) Alive() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, c := range a.commands {
		for _, id := range c.instances {
			if status, _, _ := a.state(c, id); status == "InProgress" || status == "Pending" {
				out = append(out, c.id+" on "+id)
			}
		}
	}
	for _, e := range a.executions {
		if status, _ := a.progress(e); status == "InProgress" {
			out = append(out, e.id)
		}
	}
	return out
}

type m = map[string]any

// Do does one operation, as a raw call would.
func (a *Account) Do(operation string, in map[string]any) (any, *parametertest.Fault) {
	a.mu.Lock()
	denied := a.denied[operation]
	a.mu.Unlock()
	if denied {
		return nil, fault("AccessDeniedException", "User is not authorized to perform: ssm:%s", operation)
	}
	if out, bad, known := a.Parameters.Do(operation, in); known {
		return out, bad
	}
	do, ok := map[string]func(m) (any, *parametertest.Fault){
		"DescribeInstanceInformation": a.instances, "DescribeDocument": a.describe, "SendCommand": a.send, "ListCommands": a.list,
		"ListCommandInvocations": a.invocations, "GetCommandInvocation": a.invocation, "CancelCommand": a.cancel,
		"StartAutomationExecution": a.start, "GetAutomationExecution": a.get, "StopAutomationExecution": a.stop,
	}[operation]
	if !ok {
		return nil, fault("UnknownOperationException", "%s", operation)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return do(in)
}

func text(in m, name string) string { s, _ := in[name].(string); return s }

func texts(in m, name string) []string {
	all, _ := in[name].([]any)
	var out []string
	for _, x := range all {
		s, _ := x.(string)
		out = append(out, s)
	}
	return out
}

func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func (a *Account) instances(in m) (any, *parametertest.Fault) {
	filters, _ := in["Filters"].([]any)
	rows := []m{}
	for _, id := range sorted(a.Instances) {
		i, match := a.Instances[id], true
		for _, f := range filters {
			key, values := text(f.(m), "Key"), texts(f.(m), "Values")
			tag, tagged := strings.CutPrefix(key, "tag:")
			switch {
			case key == "InstanceIds":
				match = match && slices.Contains(values, id)
			case tagged:
				match = match && slices.Contains(values, i.Tags[tag])
			default:
				return nil, fault("InvalidFilterKey", "%s", key)
			}
		}
		if match {
			rows = append(rows, m{"InstanceId": id, "PingStatus": or(i.Ping, "Online"), "PlatformType": "Linux"})
		}
	}
	return m{"InstanceInformationList": rows}, nil
}

func sorted[V any](in map[string]V) []string {
	var out []string
	for k := range in {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (a *Account) document(name, version string) (*Document, *parametertest.Fault) {
	d := a.Documents[name]
	switch {
	case d == nil:
		return nil, fault("InvalidDocument", "Document with name %s does not exist.", name)
	case version != "" && !strings.HasPrefix(version, "$") && version != or(d.Version, "1"):
		return nil, fault("InvalidDocumentVersion", "Document version %s does not exist", version)
	}
	return d, nil
}

func (a *Account) describe(in m) (any, *parametertest.Fault) {
	d, bad := a.document(text(in, "Name"), text(in, "DocumentVersion"))
	if bad != nil {
		return nil, bad
	}
	return m{"Document": m{"Name": text(in, "Name"), "DocumentType": d.Type, "Status": or(d.Status, "Active"), "DocumentVersion": or(d.Version, "1"), "Hash": or(d.Hash, "h1"), "HashType": "Sha256"}}, nil
}

func (d *Document) parameters(in m) *parametertest.Fault {
	given, _ := in["Parameters"].(m)
	for _, name := range d.Required {
		if _, ok := given[name]; !ok {
			return fault("InvalidParameters", "Parameter %s is required", name)
		}
	}
	for name := range given {
		if !slices.Contains(d.Required, name) {
			return fault("InvalidParameters", "Parameter %s is not in the document", name)
		}
	}
	return nil
}

var countPattern = regexp.MustCompile(`^([1-9][0-9]*|[1-9][0-9]%|[1-9]%|100%|0)$`)

// count reads a number or a percentage of n.
func count(s string, n int) int {
	if p, ok := strings.CutSuffix(s, "%"); ok {
		c, _ := strconv.Atoi(p)
		return max(1, n*c/100)
	}
	c, _ := strconv.Atoi(s)
	return c
}
