// Package opscentertest is a strict double of the part of AWS Systems Manager
// that OpsCenter is: it refuses what the API reference says is refused, keeps
// lists behind the items, and hands out versions, times and identities of its own.
//
// It says nothing about what the reference leaves open: how many entries the
// operational data may have, and how long a list lags behind.
package opscentertest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/internal/clock"
)

// Account is the account every identity belongs to.
const Account = "111122223333"

// ARN returns the identity behind an access key: the session of that name in the
// role CloudOps, or for fettle its own role.
func ARN(accessKey string) string {
	role := "CloudOps"
	if accessKey == "test" || accessKey == "fettle" {
		role = "Fettle"
	}
	return "arn:aws:sts::" + Account + ":assumed-role/" + role + "/" + accessKey
}

// Service is one account and region. Its fields belong to the test until the
// first call.
type Service struct {
	Clock clock.Clock
	// Precision of the times of edits; zero is a millisecond.
	Precision time.Duration
	// Lag is how long a list shows what was before an edit.
	Lag time.Duration
	// Region is the only one that signatures may be for; empty takes any.
	Region string
	// Limit is the quota of OpsItems, 500,000 when zero.
	Limit int

	mu       sync.Mutex
	items    map[string]*Item
	order    []string
	windows  map[string]Window
	throttle int
	denied   map[string]bool
	keys     map[string]bool
	served   map[string]int
}

// Value is an entry of the operational data.
type Value struct {
	Type  string
	Value string
}

// Item is an OpsItem.
type Item struct {
	OpsItemId, OpsItemArn, OpsItemType string
	Title, Description, Source, Status string
	Category, Severity                 string `json:",omitempty"`
	Priority                           int    `json:",omitempty"`
	OperationalData                    map[string]Value
	Notifications                      []map[string]string `json:",omitempty"`
	RelatedOpsItems                    []map[string]string `json:",omitempty"`
	CreatedBy, LastModifiedBy          string
	CreatedTime, LastModifiedTime      float64
	Version                            string

	Tags map[string]string `json:"-"`

	modified time.Time
	before   *Item // as lists show it until the lag is over
}

// Window is a maintenance window.
type Window struct {
	WindowId, Name, Schedule, ScheduleTimezone string
	Duration                                   int
}

// New returns an empty service.
func New(c clock.Clock) *Service {
	return &Service{
		Clock: c, items: map[string]*Item{}, windows: map[string]Window{}, denied: map[string]bool{}, served: map[string]int{},
		keys: map[string]bool{"test": true, "fettle": true, "anna": true, "ben": true},
	}
}

// Throttle refuses the next n requests of Systems Manager.
func (s *Service) Throttle(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttle = n
}

// Deny refuses an operation from now on, or allows it again.
func (s *Service) Deny(operation string, deny bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied[operation] = deny
}

// Put makes a maintenance window be there.
func (s *Service) Put(w Window) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.windows[w.WindowId] = w
}

// Items returns the OpsItems in the order they were created.
func (s *Service) Items() []Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Item
	for _, id := range s.order {
		out = append(out, *s.items[id].clone())
	}
	return out
}

// Served returns how often an operation was asked for.
func (s *Service) Served(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served[operation]
}

func (i *Item) clone() *Item {
	c := *i
	c.OperationalData = map[string]Value{}
	for k, v := range i.OperationalData {
		c.OperationalData[k] = v
	}
	c.before = nil
	return &c
}

// Fault is an error of the service.
type Fault struct {
	Code, Message string
	Status        int // 400 when zero
	More          map[string]any
}

func fault(code, format string, args ...any) *Fault {
	return &Fault{Code: code, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *Fault {
	return fault("ValidationException", "1 validation error detected: "+format, args...)
}

func parameter(name, format string, args ...any) *Fault {
	f := fault("OpsItemInvalidParameterException", format, args...)
	f.More = map[string]any{"ParameterNames": []string{name}}
	return f
}

// RoundTrip implements http.RoundTripper, without a network.
func (s *Service) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	s.ServeHTTP(w, r)
	_ = r.Body.Close()
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([A-Za-z0-9]+)/[0-9]{8}/([a-z0-9-]+)/(ssm|sts)/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=[0-9a-f]{64}$`)

// ServeHTTP implements http.Handler. The signature must be there and look like
// one; who signs is told by the access key alone.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", s.Clock().UTC().Format(http.TimeFormat))
	body, err := io.ReadAll(r.Body)
	if err != nil {
		answer(w, nil, fault("SerializationException", "%v", err))
		return
	}
	target, isSSM := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSSM.")
	key, region, service, bad := signer(r)
	switch {
	case bad == nil && s.Region != "" && region != s.Region:
		bad = fault("InvalidSignatureException", "Credential should be scoped to a valid region, not '%s'.", region)
		bad.Status = http.StatusForbidden
	case bad == nil && !s.keys[key]:
		bad = fault("UnrecognizedClientException", "The security token included in the request is invalid.")
	case bad == nil && isSSM && service != "ssm":
		bad = fault("InvalidSignatureException", "Credential should be scoped to correct service: 'ssm'.")
	case bad == nil && r.Method != http.MethodPost:
		bad = fault("UnknownOperationException", "")
	}
	switch {
	case bad != nil:
		answer(w, nil, bad)
	case !isSSM && r.Header.Get("X-Amz-Target") == "":
		identity(w, key, string(body))
	case !isSSM, r.Header.Get("Content-Type") != "application/x-amz-json-1.1":
		answer(w, nil, fault("UnknownOperationException", ""))
	default:
		out, bad := s.do(target, key, body)
		answer(w, out, bad)
	}
}

func signer(r *http.Request) (key, region, service string, bad *Fault) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", "", "", fault("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	m := authorization.FindStringSubmatch(header)
	if m == nil || r.Header.Get("X-Amz-Date") == "" || !slices.Contains(strings.Split(m[4], ";"), "x-amz-date") {
		return "", "", "", fault("IncompleteSignatureException", "Authorization header requires 'Credential', 'Signature', 'SignedHeaders' and the date.")
	}
	return m[1], m[2], m[3], nil
}

func answer(w http.ResponseWriter, out any, bad *Fault) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if bad == nil {
		_ = json.NewEncoder(w).Encode(out)
		return
	}
	if bad.Status == 0 {
		bad.Status = http.StatusBadRequest
	}
	w.WriteHeader(bad.Status)
	all := map[string]any{"__type": bad.Code, "Message": bad.Message}
	for k, v := range bad.More {
		all[k] = v
	}
	_ = json.NewEncoder(w).Encode(all)
}

// identity answers GetCallerIdentity of STS, in its own protocol.
func identity(w http.ResponseWriter, key, body string) {
	w.Header().Set("Content-Type", "text/xml")
	form, err := url.ParseQuery(body)
	if err != nil || form.Get("Action") != "GetCallerIdentity" {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidAction</Code><Message>m</Message></Error></ErrorResponse>")
		return
	}
	var arn strings.Builder
	_ = xml.EscapeText(&arn, []byte(ARN(key)))
	_, _ = fmt.Fprintf(w, "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>%s</Arn><UserId>AROAEXAMPLE:%s</UserId><Account>%s</Account></GetCallerIdentityResult></GetCallerIdentityResponse>", arn.String(), key, Account)
}

func (s *Service) do(operation, key string, body []byte) (any, *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do, ok := map[string]func(string, []byte) (any, *Fault){
		"CreateOpsItem": s.create, "UpdateOpsItem": s.update, "GetOpsItem": s.get, "DescribeOpsItems": s.describe, "DeleteOpsItem": s.remove,
		"GetMaintenanceWindow": s.window,
	}[operation]
	s.served[operation]++
	switch {
	case !ok:
		return nil, fault("UnknownOperationException", "")
	case s.throttle > 0:
		s.throttle--
		return nil, fault("ThrottlingException", "Rate exceeded")
	case s.denied[operation]:
		return nil, fault("AccessDeniedException", "User: %s is not authorized to perform: ssm:%s", ARN(key), operation)
	}
	return do(key, body)
}

func decode(body []byte, into any) *Fault {
	if err := json.Unmarshal(body, into); err != nil {
		return fault("SerializationException", "%v", err)
	}
	return nil
}

func (s *Service) now() time.Time {
	p := s.Precision
	if p <= 0 {
		p = time.Millisecond
	}
	return s.Clock().UTC().Truncate(p)
}

func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// touch makes an item be modified now, by whoever has the key.
func (s *Service) touch(i *Item, key string) {
	n, _ := strconv.Atoi(i.Version)
	i.Version = strconv.Itoa(n + 1)
	i.modified, i.LastModifiedBy = s.now(), ARN(key)
	i.LastModifiedTime = epoch(i.modified)
}

func (s *Service) get(_ string, body []byte) (any, *Fault) {
	var in struct{ OpsItemId string }
	if bad := decode(body, &in); bad != nil {
		return nil, bad
	}
	i, bad := s.item(in.OpsItemId)
	if bad != nil {
		return nil, bad
	}
	return map[string]any{"OpsItem": i}, nil
}

var idPattern = regexp.MustCompile(`^oi-[0-9a-f]{12}$`)

func (s *Service) item(id string) (*Item, *Fault) {
	if !idPattern.MatchString(id) {
		return nil, invalid("Value '%s' at 'opsItemId' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(oi)-[0-9a-f]{12}$", id)
	}
	i := s.items[id]
	if i == nil {
		return nil, fault("OpsItemNotFoundException", "OpsItem ID %s not found.", id)
	}
	return i, nil
}

// remove answers alike whether the item was there.
func (s *Service) remove(_ string, body []byte) (any, *Fault) {
	var in struct{ OpsItemId string }
	if bad := decode(body, &in); bad != nil {
		return nil, bad
	}
	if !idPattern.MatchString(in.OpsItemId) {
		_, bad := s.item(in.OpsItemId)
		return nil, bad
	}
	delete(s.items, in.OpsItemId)
	s.order = slices.DeleteFunc(s.order, func(id string) bool { return id == in.OpsItemId })
	return map[string]any{}, nil
}

var windowPattern = regexp.MustCompile(`^mw-[0-9a-f]{17}$`)

func (s *Service) window(_ string, body []byte) (any, *Fault) {
	var in struct{ WindowId string }
	if bad := decode(body, &in); bad != nil {
		return nil, bad
	}
	if !windowPattern.MatchString(in.WindowId) {
		return nil, invalid("Value '%s' at 'windowId' failed to satisfy constraint: Member must satisfy regular expression pattern: ^mw-[0-9a-f]{17}$", in.WindowId)
	}
	w, ok := s.windows[in.WindowId]
	if !ok {
		return nil, fault("DoesNotExistException", "Maintenance window %s does not exist", in.WindowId)
	}
	return w, nil
}
