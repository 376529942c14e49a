package parametertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Service is a strict double of Parameter Store: it refuses what the service
// refuses and nothing else. The zero value is ready for use.
type Service struct {
	// Before, if set, is called with the name of each operation before it is
	// done, without the lock, so that a test can come in between.
	Before func(operation string)

	mu   sync.Mutex
	keys map[string]*key
}

type key struct {
	kind     string
	versions []entry
	tags     map[string]string
}

type entry struct {
	number            int64
	value, note, data string
	labels            []string
	at                time.Time
}

// Fault is an error of the service.
type Fault struct {
	Code, Message string
	Status        int // default 400
}

func fault(code, format string, args ...any) *Fault {
	return &Fault{Code: code, Message: fmt.Sprintf(format, args...)}
}

// ServeHTTP answers the protocol JSON 1.1.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		Answer(w, nil, fault("SerializationException", "%v", err))
		return
	}
	operation := Operation(r)
	out, bad, known := s.Do(operation, body)
	if !known {
		bad = fault("UnknownOperationException", "%s", operation)
	}
	Answer(w, out, bad)
}

// Operation returns the operation a request of JSON 1.1 asks for.
func Operation(r *http.Request) string {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	return operation
}

// Answer writes an answer or an error of the protocol JSON 1.1.
func Answer(w http.ResponseWriter, out any, bad *Fault) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if bad != nil {
		status := bad.Status
		if status == 0 {
			status = http.StatusBadRequest
		}
		w.WriteHeader(status)
		out = map[string]string{"__type": bad.Code, "message": bad.Message}
	}
	_ = json.NewEncoder(w).Encode(out)
}

// Do does one operation; known is false for one that is not about parameters.
func (s *Service) Do(operation string, in map[string]any) (out any, bad *Fault, known bool) {
	do, known := map[string]func(map[string]any) (any, *Fault){
		"PutParameter": s.put, "GetParameterHistory": s.history, "GetParameter": s.get, "GetParametersByPath": s.byPath,
		"LabelParameterVersion": s.label, "UnlabelParameterVersion": s.unlabel, "DeleteParameter": s.remove, "ListTagsForResource": s.tagged,
	}[operation]
	if !known {
		return nil, nil, false
	}
	if s.Before != nil {
		s.Before(operation)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out, bad = do(in)
	return out, bad, true
}

// Value returns the newest value under name, and whether there is one.
func (s *Service) Value(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[name]
	if k == nil {
		return "", false
	}
	return k.versions[len(k.versions)-1].value, true
}

// At returns the value of one version of name.
func (s *Service) At(name string, number int64) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.keys[name]; k != nil {
		for _, e := range k.versions {
			if e.number == number {
				return e.value, true
			}
		}
	}
	return "", false
}

// Names returns the keys that begin with prefix, sorted.
func (s *Service) Names(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for name := range s.keys {
		if strings.HasPrefix(name, prefix) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Set writes a String parameter as somebody else would, at a time of the past.
func (s *Service) Set(name, value string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(name, "String", entry{value: value, data: "text", at: at})
}

func (s *Service) add(name, kind string, e entry) int64 {
	if s.keys == nil {
		s.keys = map[string]*key{}
	}
	k := s.keys[name]
	if k == nil {
		k = &key{kind: kind}
		s.keys[name] = k
	}
	e.number = 1
	if n := len(k.versions); n > 0 {
		e.number = k.versions[n-1].number + 1
	}
	k.versions = append(k.versions, e)
	return e.number
}

func text(in map[string]any, name string) string { s, _ := in[name].(string); return s }

func number(in map[string]any, name string) int64 { f, _ := in[name].(float64); return int64(f) }

func flag(in map[string]any, name string) bool { b, _ := in[name].(bool); return b }

func list(in map[string]any, name string) []string {
	all, _ := in[name].([]any)
	var out []string
	for _, x := range all {
		if s, ok := x.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9_.\-/]+$`)

func (s *Service) put(in map[string]any) (any, *Fault) {
	name, value, kind, data := text(in, "Name"), text(in, "Value"), text(in, "Type"), text(in, "DataType")
	k := s.keys[name]
	low := strings.ToLower(name)
	switch {
	case !namePattern.MatchString(name) || strings.HasPrefix(low, "/aws") || strings.HasPrefix(low, "/ssm") || strings.HasPrefix(low, "aws") || strings.HasPrefix(low, "ssm"):
		return nil, fault("ValidationException", "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive), and only letters, numbers and _.-/ are allowed")
	case strings.Count(name, "/") > 15:
		return nil, fault("HierarchyLevelLimitExceededException", "A hierarchy can have at most 15 levels")
	case value == "":
		return nil, fault("ValidationException", "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case len(value) > 4096:
		return nil, fault("ValidationException", "Standard tier parameters support a maximum parameter value of 4096 characters")
	case len(text(in, "Description")) > 1024:
		return nil, fault("ValidationException", "Description must have length less than or equal to 1024")
	case k != nil && !flag(in, "Overwrite"):
		return nil, fault("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
	case flag(in, "Overwrite") && in["Tags"] != nil:
		return nil, fault("ValidationException", "Invalid request: tags and overwrite can't be used together")
	case k == nil && !slices.Contains([]string{"String", "StringList", "SecureString"}, kind):
		return nil, fault("ValidationException", "A parameter type is required when you create a parameter.")
	case k != nil && kind != "" && kind != k.kind:
		return nil, fault("ValidationException", "The parameter type can't be changed")
	case data != "" && !slices.Contains([]string{"text", "aws:ec2:image", "aws:ssm:integration"}, data):
		return nil, fault("ValidationException", "The data type %s is not supported", data)
	}
	if k != nil && len(k.versions) == 100 {
		if len(k.versions[0].labels) > 0 {
			return nil, fault("ParameterMaxVersionLimitExceeded", "The oldest version, %d, can't be deleted because it has a label associated with it", k.versions[0].number)
		}
		k.versions = k.versions[1:]
	}
	if data == "" {
		data = "text"
	}
	e := entry{value: value, note: text(in, "Description"), data: data, at: time.Now()}
	if data == "aws:ec2:image" && !strings.HasPrefix(value, "ami-") {
		// It is checked after the answer, and never kept.
		var next int64 = 1
		if k != nil {
			next = k.versions[len(k.versions)-1].number + 1
		}
		return map[string]any{"Version": next, "Tier": "Standard"}, nil
	}
	return map[string]any{"Version": s.add(name, kind, e), "Tier": "Standard"}, nil
}

func (s *Service) find(in map[string]any) (*key, *Fault) {
	k := s.keys[text(in, "Name")]
	if k == nil {
		return nil, fault("ParameterNotFound", "")
	}
	return k, nil
}

func (k *key) show(name string, e entry) map[string]any {
	out := map[string]any{
		"Name": name, "Type": k.kind, "Value": e.value, "Version": e.number, "DataType": e.data,
		"LastModifiedDate": float64(e.at.UnixMilli()) / 1000,
	}
	return out
}

func (s *Service) get(in map[string]any) (any, *Fault) {
	k, bad := s.find(in)
	if bad != nil {
		return nil, bad
	}
	return map[string]any{"Parameter": k.show(text(in, "Name"), k.versions[len(k.versions)-1])}, nil
}

func (s *Service) history(in map[string]any) (any, *Fault) {
	k, bad := s.find(in)
	if bad != nil {
		return nil, bad
	}
	limit, from := int(number(in, "MaxResults")), 0
	if limit < 1 || limit > 50 {
		return nil, fault("ValidationException", "MaxResults must be between 1 and 50")
	}
	if token := text(in, "NextToken"); token != "" {
		if _, err := fmt.Sscan(token, &from); err != nil {
			return nil, fault("InvalidNextToken", "%s", token)
		}
	}
	var rows []map[string]any
	for _, e := range k.versions[min(from, len(k.versions)):min(from+limit, len(k.versions))] {
		row := k.show(text(in, "Name"), e)
		row["Description"], row["Labels"] = e.note, append([]string{}, e.labels...)
		rows = append(rows, row)
	}
	out := map[string]any{"Parameters": rows}
	if from+limit < len(k.versions) {
		out["NextToken"] = fmt.Sprint(from + limit)
	}
	return out, nil
}

// byPath gives an empty page first, as the service may.
func (s *Service) byPath(in map[string]any) (any, *Fault) {
	path := strings.TrimSuffix(text(in, "Path"), "/") + "/"
	if limit := number(in, "MaxResults"); limit > 10 || limit < 0 {
		return nil, fault("ValidationException", "MaxResults must be at most 10")
	}
	token := text(in, "NextToken")
	if token == "" {
		return map[string]any{"Parameters": []any{}, "NextToken": "-"}, nil
	}
	var names []string
	for name := range s.keys {
		rest, below := strings.CutPrefix(name, path)
		if below && (flag(in, "Recursive") || !strings.Contains(rest, "/")) && name > strings.TrimPrefix(token, "-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	rows, out := []any{}, map[string]any{}
	for i, name := range names {
		if i == 10 {
			out["NextToken"] = "-" + names[i-1]
			break
		}
		k := s.keys[name]
		rows = append(rows, k.show(name, k.versions[len(k.versions)-1]))
	}
	out["Parameters"] = rows
	return out, nil
}

func (s *Service) version(in map[string]any) (*key, *entry, *Fault) {
	k, bad := s.find(in)
	if bad != nil {
		return nil, nil, bad
	}
	for i := range k.versions {
		if k.versions[i].number == number(in, "ParameterVersion") {
			return k, &k.versions[i], nil
		}
	}
	return nil, nil, fault("ParameterVersionNotFound", "Systems Manager could not find version %d of %s", number(in, "ParameterVersion"), text(in, "Name"))
}

var labelPattern = regexp.MustCompile(`^[a-zA-Z_.\-][a-zA-Z0-9_.\-]{0,99}$`)

func (s *Service) label(in map[string]any) (any, *Fault) {
	k, e, bad := s.version(in)
	if bad != nil {
		return nil, bad
	}
	invalid := []string{}
	for _, l := range list(in, "Labels") {
		low := strings.ToLower(l)
		if !labelPattern.MatchString(l) || strings.HasPrefix(low, "aws") || strings.HasPrefix(low, "ssm") {
			invalid = append(invalid, l)
			continue
		}
		if len(e.labels) == 10 && !slices.Contains(e.labels, l) {
			return nil, fault("ParameterVersionLabelLimitExceeded", "A parameter version can have maximum 10 labels.")
		}
		for i := range k.versions {
			k.versions[i].labels = slices.DeleteFunc(k.versions[i].labels, func(o string) bool { return o == l })
		}
		e.labels = append(e.labels, l)
	}
	return map[string]any{"InvalidLabels": invalid, "ParameterVersion": e.number}, nil
}

func (s *Service) unlabel(in map[string]any) (any, *Fault) {
	_, e, bad := s.version(in)
	if bad != nil {
		return nil, bad
	}
	removed, invalid := []string{}, []string{}
	for _, l := range list(in, "Labels") {
		if i := slices.Index(e.labels, l); i >= 0 {
			e.labels = slices.Delete(e.labels, i, i+1)
			removed = append(removed, l)
		} else {
			invalid = append(invalid, l)
		}
	}
	return map[string]any{"RemovedLabels": removed, "InvalidLabels": invalid}, nil
}

func (s *Service) remove(in map[string]any) (any, *Fault) {
	if _, bad := s.find(in); bad != nil {
		return nil, bad
	}
	delete(s.keys, text(in, "Name"))
	return map[string]any{}, nil
}

func (s *Service) tagged(in map[string]any) (any, *Fault) {
	if kind := text(in, "ResourceType"); kind != "Parameter" {
		return nil, fault("InvalidResourceType", "%s", kind)
	}
	k := s.keys[text(in, "ResourceId")]
	if k == nil {
		return nil, fault("InvalidResourceId", "")
	}
	list := []map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(k.tags)) {
		list = append(list, map[string]string{"Key": name, "Value": k.tags[name]})
	}
	return map[string]any{"TagList": list}, nil
}

// Tag gives a key that is there its tags.
func (s *Service) Tag(name string, tags map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[name].tags = tags
}
