// Package lambdatest is a strict double of AWS Lambda. Its functions do nothing
// but take time, answer, fail, and write and read texts of their account.
package lambdatest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
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
		a = &Account{URL: s.URL + "/" + name, Functions: map[string]*Function{}, State: map[string]string{}, denied: map[string]bool{}, seen: map[string]bool{}}
		s.accounts[name] = a
	}
	return a
}

// Account is one account and region. Its fields belong to the test, which
// changes them within With once there were calls.
type Account struct {
	URL       string
	Functions map[string]*Function
	State     map[string]string // what functions write and read

	mu     sync.Mutex
	denied map[string]bool
	lose   bool
	seen   map[string]bool // tokens
	begun  int
	alive  int
}

// Function is one function with its versions, which count from 1; the last one
// is the unpublished code too.
type Function struct {
	Versions   []*Code
	Aliases    map[string]string
	Shared     string        // an alias that is shared by two versions
	Timeout    time.Duration // default 3 s, as the service's
	Pending    bool
	Updating   bool
	Throttled  bool
	RevisionID string
}

// Code is what one version does.
type Code struct {
	SHA    string
	Takes  time.Duration
	Logs   string
	Answer string // JSON; default null
	Fails  string // error message
	Writes string // key of the state that becomes the field value of the payload
	Reads  string // key of the state that is compared with it: answers {"ok": ..}
	Token  string // field of the payload, or of the context, by which it writes once
}

// With runs f while nothing begins or ends in the account.
func (a *Account) With(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// Deny refuses an operation from now on.
func (a *Account) Deny(operation string) { a.With(func() { a.denied[operation] = true }) }

// Lose loses the answer of the next invocation, which is done all the same.
func (a *Account) Lose() { a.With(func() { a.lose = true }) }

// Begun counts the invocations that were to write.
func (a *Account) Begun() (n int) {
	a.With(func() { n = a.begun })
	return n
}

// Alive lists what still runs.
func (a *Account) Alive() (out []string) {
	a.With(func() {
		for range a.alive {
			out = append(out, "an invocation")
		}
	})
	return out
}

type m = map[string]any

// Fault is an error of the service.
type Fault struct {
	Status        int
	Code, Message string
}

func fault(status int, code, format string, args ...any) *Fault {
	return &Fault{status, code, fmt.Sprintf(format, args...)}
}

// ServeHTTP answers for the account in the path.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	a := s.Account(name)
	rest, known := strings.CutPrefix(rest, "2015-03-31/functions/")
	function, operation, _ := strings.Cut(rest, "/")
	if i := strings.LastIndex(function, ":"); i >= 0 {
		function = function[i+1:]
	}
	alias, isAlias := strings.CutPrefix(operation, "aliases/")
	var out m
	bad := fault(http.StatusNotFound, "UnknownOperationException", "%s %s", r.Method, r.URL.Path)
	switch {
	case !known:
	case operation == "configuration" && r.Method == http.MethodGet:
		out, bad = a.configuration(function, r.URL.Query().Get("Qualifier"))
	case isAlias && r.Method == http.MethodGet:
		out, bad = a.alias(function, alias)
	case operation == "invocations" && r.Method == http.MethodPost:
		a.invoke(w, r, function)
		return
	}
	answer(w, out, bad)
}

func answer(w http.ResponseWriter, out m, bad *Fault) {
	w.Header().Set("Content-Type", "application/json")
	if bad != nil {
		w.Header().Set("X-Amzn-Errortype", bad.Code)
		w.WriteHeader(bad.Status)
		out = m{"Type": "User", "message": bad.Message}
	}
	_ = json.NewEncoder(w).Encode(out)
}

// find returns a version of a function; the account is locked.
func (a *Account) find(operation, function, qualifier string) (*Function, string, *Code, *Fault) {
	f := a.Functions[function]
	if a.denied[operation] {
		return nil, "", nil, fault(http.StatusForbidden, "AccessDeniedException", "User is not authorized to perform: lambda:%s", operation)
	}
	if f == nil {
		return nil, "", nil, fault(http.StatusNotFound, "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-central-1:123456789012:function:%s:%s", function, qualifier)
	}
	if qualifier == "" || qualifier == "$LATEST" {
		return f, "$LATEST", f.Versions[len(f.Versions)-1], nil
	}
	version := qualifier
	if to, ok := f.Aliases[qualifier]; ok {
		version = to
	}
	n, err := strconv.Atoi(version)
	if err != nil || n < 1 || n > len(f.Versions) {
		return nil, "", nil, fault(http.StatusNotFound, "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-central-1:123456789012:function:%s:%s", function, qualifier)
	}
	return f, version, f.Versions[n-1], nil
}

func (a *Account) configuration(function, qualifier string) (m, *Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, version, code, bad := a.find("GetFunctionConfiguration", function, qualifier)
	if bad != nil {
		return nil, bad
	}
	out := m{
		"FunctionName": function, "FunctionArn": "arn:aws:lambda:eu-central-1:123456789012:function:" + function + ":" + version, "Version": version, "CodeSha256": code.SHA,
		"Timeout": max(1, int(f.timeout()/time.Second)), "State": "Active", "LastUpdateStatus": "Successful", "RevisionId": f.RevisionID,
	}
	if f.Pending {
		out["State"], out["StateReason"] = "Pending", "The function is being created."
	}
	if f.Updating && version == "$LATEST" {
		out["LastUpdateStatus"] = "InProgress"
	}
	return out, nil
}

func (f *Function) timeout() time.Duration {
	if f.Timeout == 0 {
		return 3 * time.Second
	}
	return f.Timeout
}

func (a *Account) alias(function, alias string) (m, *Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, _, _, bad := a.find("GetAlias", function, "")
	if bad != nil {
		return nil, bad
	}
	version, ok := f.Aliases[alias]
	if !ok {
		return nil, fault(http.StatusNotFound, "ResourceNotFoundException", "Cannot find alias arn: arn:aws:lambda:eu-central-1:123456789012:function:%s:%s", function, alias)
	}
	out := m{"AliasArn": "arn", "Name": alias, "FunctionVersion": version}
	if alias == f.Shared {
		out["RoutingConfig"] = m{"AdditionalVersionWeights": m{"1": 0.5}}
	}
	return out, nil
}

// Limits of the service, in bytes.
const (
	mostSync    = 6 << 20
	mostEvent   = 1 << 20
	mostContext = 3583
	mostLog     = 4 << 10
)

// accept reads an invocation and refuses what the service refuses.
func (a *Account) accept(r *http.Request, function, kind string) (*Function, string, *Code, m, *Fault) {
	most := mostSync
	if kind == "Event" {
		most = mostEvent
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(most)+1))
	if err != nil {
		return nil, "", nil, nil, fault(http.StatusBadRequest, "InvalidRequestContentException", "%v", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	f, version, code, bad := a.find("InvokeFunction", function, r.URL.Query().Get("Qualifier"))
	in := m{}
	switch {
	case bad != nil:
		return nil, "", nil, nil, bad
	case !slices.Contains([]string{"RequestResponse", "Event", "DryRun"}, kind):
		bad = fault(http.StatusBadRequest, "InvalidParameterValueException", "invocation type %s", kind)
	case len(body) > most:
		bad = fault(http.StatusRequestEntityTooLarge, "RequestTooLargeException", "Request must be smaller than %d bytes for the %s operation", most, kind)
	case len(body) > 0 && json.Unmarshal(body, &in) != nil:
		bad = fault(http.StatusBadRequest, "InvalidRequestContentException", "Could not parse request body into json")
	case len(r.Header.Get("X-Amz-Client-Context")) > mostContext:
		bad = fault(http.StatusBadRequest, "InvalidRequestContentException", "Client context must be at most %d bytes", mostContext)
	case f.Throttled:
		bad = fault(http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.")
	case f.Pending:
		bad = fault(http.StatusConflict, "ResourceConflictException", "The operation cannot be performed at this time. The function is currently in the following state: Pending")
	}
	if kind == "RequestResponse" {
		var about struct{ Custom map[string]string }
		b, err := base64.StdEncoding.DecodeString(r.Header.Get("X-Amz-Client-Context"))
		if err != nil || len(b) > 0 && json.Unmarshal(b, &about) != nil {
			bad = fault(http.StatusBadRequest, "InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object.")
		}
		for k, v := range about.Custom {
			in["context."+k] = v
		}
	}
	return f, version, code, in, bad
}

func (a *Account) invoke(w http.ResponseWriter, r *http.Request, function string) {
	kind := r.Header.Get("X-Amz-Invocation-Type")
	if kind == "" {
		kind = "RequestResponse"
	}
	f, version, code, in, bad := a.accept(r, function, kind)
	switch {
	case bad != nil:
		answer(w, nil, bad)
		return
	case kind == "DryRun":
		w.WriteHeader(http.StatusNoContent)
		return
	case kind == "Event":
		a.begin(code)
		go func() {
			for range 3 { // the service retries a function that fails
				if _, failed := a.run(f, code, in); failed == "" {
					break
				}
			}
			a.With(func() { a.alive-- })
		}()
	}
	var out, failed string
	if kind == "RequestResponse" {
		a.begin(code)
		out, failed = a.run(f, code, in)
		a.With(func() { a.alive-- })
	}
	a.mu.Lock()
	lost := a.lose
	a.lose = false
	a.mu.Unlock()
	if lost {
		answer(w, nil, fault(http.StatusInternalServerError, "ServiceException", "the answer was lost"))
		return
	}
	if kind == "Event" {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("X-Amz-Executed-Version", version)
	if failed != "" {
		w.Header().Set("X-Amz-Function-Error", failed)
	}
	if r.Header.Get("X-Amz-Log-Type") == "Tail" {
		logs := code.Logs
		w.Header().Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString([]byte(logs[max(0, len(logs)-mostLog):])))
	}
	_, _ = io.WriteString(w, out)
}

// begin counts an invocation.
func (a *Account) begin(code *Code) {
	a.With(func() {
		a.alive++
		if code.Writes != "" {
			a.begun++
		}
	})
}

// run runs a function, whoever still listens.
func (a *Account) run(f *Function, code *Code, in m) (out, failed string) {
	time.Sleep(min(code.Takes, f.timeout()))
	message := func(kind, text string) string {
		b, _ := json.Marshal(m{"errorType": kind, "errorMessage": text})
		return string(b)
	}
	if code.Takes > f.timeout() {
		return message("Sandbox.Timedout", fmt.Sprintf("RequestId: r Error: Task timed out after %.2f seconds", f.timeout().Seconds())), "Unhandled"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if code.Fails != "" {
		return message("Error", code.Fails), "Unhandled"
	}
	value := fmt.Sprint(in["value"])
	if code.Reads != "" {
		b, _ := json.Marshal(m{"ok": a.State[code.Reads] == value, "note": code.Reads + " is " + a.State[code.Reads]})
		return string(b), ""
	}
	token, _ := in[code.Token].(string)
	if code.Writes != "" && (token == "" || !a.seen[token]) {
		a.State[code.Writes] = value
		a.State["writes"] += "x"
		a.seen[token] = true
	}
	if code.Answer == "" {
		return "null", ""
	}
	return code.Answer, ""
}
