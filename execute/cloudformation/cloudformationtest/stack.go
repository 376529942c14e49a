package cloudformationtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Stack is one stack.
type Stack struct {
	Name, ID, Template, Status, Reason, Policy string
	Params                                     map[string]string
	// Live is what the resources are, by logical id and property.
	Live map[string]map[string]string
	// Unchecked are the resource types drift detection cannot read.
	Unchecked []string
	Takes     time.Duration // of an update; a rollback takes a tenth
	Chatter   []string      // said by events while an update runs
	Last      string        // said by the last event of an update
	Refuse    string        // an update that gives a property this value fails
	Stuck     bool          // its rollbacks fail
	Alarms    []string      // of the last update
	Hasten    bool          // the chatter comes at once, and a rollback is done at once

	text       map[string]map[string]string // properties of the template in force, references unresolved
	events     []m                          // newest last
	sets       map[string]*changeSet
	steps      []step
	resources  map[string]string // status by logical id
	failed     string            // the resource that failed
	operations map[string]bool   // tokens seen
}

// step is something that happens at its time.
type step struct {
	at time.Time
	do func()
}

type template struct {
	Parameters map[string]struct {
		Type, Default string
		NoEcho        bool
		AllowedValues []string
	}
	Resources map[string]struct {
		Type       string
		Properties map[string]any
	}
}

func parse(body string) (template, *Fault) {
	var t template
	if err := json.Unmarshal([]byte(body), &t); err != nil || len(t.Resources) == 0 {
		return t, invalid("Template format error: JSON not well-formed.")
	}
	return t, nil
}

// Create makes a stack whose update would be possible now.
func (a *Account) Create(name, body string, params map[string]string) (*Stack, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, bad := parse(body)
	if bad != nil {
		return nil, fmt.Errorf("%s", bad.Message)
	}
	s := &Stack{
		Name: name, ID: "arn:aws:cloudformation:eu-central-1:123456789012:stack/" + name + "/" + a.id("stack"), Template: body,
		Status: "CREATE_COMPLETE", Params: maps.Clone(params), sets: map[string]*changeSet{}, operations: map[string]bool{}, resources: map[string]string{},
	}
	text, bad := a.properties(t, s.Params)
	if bad != nil {
		return nil, fmt.Errorf("%s", bad.Message)
	}
	s.text, s.Live = text, a.resolve(text)
	for id := range t.Resources {
		s.resources[id] = "CREATE_COMPLETE"
	}
	a.stacks[name] = s
	return s, nil
}

// properties returns the properties of all resources with parameters put in,
// and dynamic references as they are written.
func (a *Account) properties(t template, params map[string]string) (map[string]map[string]string, *Fault) {
	out := map[string]map[string]string{}
	for id, r := range t.Resources {
		out[id] = map[string]string{}
		for name, v := range r.Properties {
			switch v := v.(type) {
			case string:
				out[id][name] = v
			case map[string]any:
				ref, _ := v["Ref"].(string)
				p, ok := t.Parameters[ref]
				if !ok {
					return nil, invalid("Template format error: Unresolved resource dependencies [%s] in the Resources block of the template", ref)
				}
				value := params[ref]
				if strings.HasPrefix(p.Type, "AWS::SSM::Parameter::Value<") {
					if value, ok = a.Parameters.Value(params[ref]); !ok {
						return nil, invalid("Unable to fetch parameters [%s] from parameter store for this account.", params[ref])
					}
				}
				out[id][name] = value
			}
		}
	}
	return out, nil
}

var dynamicPattern = regexp.MustCompile(`\{\{resolve:ssm:([A-Za-z0-9_./-]+)(?::([0-9]+))?\}\}`)

// resolve puts in the values of dynamic references.
func (a *Account) resolve(text map[string]map[string]string) map[string]map[string]string {
	out := map[string]map[string]string{}
	for id, props := range text {
		out[id] = map[string]string{}
		for name, v := range props {
			out[id][name] = dynamicPattern.ReplaceAllStringFunc(v, func(ref string) string {
				g := dynamicPattern.FindStringSubmatch(ref)
				if number, err := strconv.ParseInt(g[2], 10, 64); err == nil {
					value, _ := a.Parameters.At(g[1], number)
					return value
				}
				value, _ := a.Parameters.Value(g[1])
				return value
			})
		}
	}
	return out
}

func (a *Account) find(f form) (*Stack, *Fault) {
	name := f.get("StackName")
	for _, s := range a.stacks {
		if s.Name == name || s.ID == name {
			return s, nil
		}
	}
	return nil, invalid("Stack with id %s does not exist", name)
}

func (s *Stack) move(_ *Account, now time.Time) {
	for len(s.steps) > 0 && !s.steps[0].at.After(now) {
		do := s.steps[0].do
		s.steps = s.steps[1:]
		do()
	}
}

func (s *Stack) event(a *Account, id, physical, kind, status, reason, token string, at time.Time) {
	s.events = append(s.events, m{
		"EventId": a.id("event"), "StackId": s.ID, "StackName": s.Name, "LogicalResourceId": id, "PhysicalResourceId": physical,
		"ResourceType": kind, "ResourceStatus": status, "ResourceStatusReason": reason, "ClientRequestToken": token, "Timestamp": at,
	})
}

func (s *Stack) become(a *Account, status, reason, token string) {
	s.Status, s.Reason = status, reason
	s.event(a, s.Name, s.ID, "AWS::CloudFormation::Stack", status, reason, token, time.Now())
}

// Meanwhile changes what the template in force gives a property, as an update
// by somebody else that keeps template and parameters would.
func (s *Stack) Meanwhile(id, property, value string) { s.text[id][property] = value }

var updatable = []string{"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE"}

func (s *Stack) idle() *Fault {
	if !slices.Contains(updatable, s.Status) {
		return invalid("Stack:%s is in %s state and can not be updated.", s.ID, s.Status)
	}
	return nil
}

func (a *Account) describeStacks(f form) (m, *Fault) {
	s, bad := a.find(f)
	if bad != nil {
		return nil, bad
	}
	t, _ := parse(s.Template)
	var params []m
	for _, k := range slices.Sorted(maps.Keys(s.Params)) {
		p := m{"ParameterKey": k, "ParameterValue": s.Params[k]}
		if t.Parameters[k].NoEcho {
			p["ParameterValue"] = "****"
		}
		params = append(params, p)
	}
	out := m{"StackName": s.Name, "StackId": s.ID, "StackStatus": s.Status, "StackStatusReason": s.Reason, "CreationTime": time.Now().Add(-time.Hour), "Parameters": params}
	return m{"Stacks": []m{out}}, nil
}

func (a *Account) getTemplate(f form) (m, *Fault) {
	s, bad := a.find(f)
	if bad != nil {
		return nil, bad
	}
	return m{"TemplateBody": s.Template}, nil
}

func (a *Account) getTemplateSummary(f form) (m, *Fault) {
	s, bad := a.find(f)
	if bad != nil {
		return nil, bad
	}
	t, bad := parse(s.Template)
	var params []m
	for _, k := range slices.Sorted(maps.Keys(t.Parameters)) {
		p := t.Parameters[k]
		params = append(params, m{"ParameterKey": k, "ParameterType": p.Type, "NoEcho": p.NoEcho, "DefaultValue": p.Default})
	}
	return m{"Parameters": params}, bad
}

func (a *Account) getStackPolicy(f form) (m, *Fault) {
	s, bad := a.find(f)
	if bad != nil {
		return nil, bad
	}
	return m{"StackPolicyBody": s.Policy}, nil
}

// page is small, so that every caller must follow NextToken.
const page = 40

func paged(f form, all []m) (rows []m, next any, bad *Fault) {
	from := 0
	if t := f.get("NextToken"); t != "" {
		var err error
		if from, err = strconv.Atoi(t); err != nil || from > len(all) {
			return nil, nil, invalid("NextToken %s is invalid", t)
		}
	}
	to := min(from+page, len(all))
	if to < len(all) {
		next = strconv.Itoa(to)
	}
	return all[from:to], next, nil
}

func (a *Account) describeStackEvents(f form) (m, *Fault) {
	s, bad := a.find(f)
	if bad != nil {
		return nil, bad
	}
	newest := slices.Clone(s.events)
	slices.Reverse(newest)
	rows, next, bad := paged(f, newest)
	return m{"StackEvents": rows, "NextToken": next}, bad
}

func (a *Account) describeStackResources(f form) (m, *Fault) {
	s, bad := a.find(f)
	if bad != nil {
		return nil, bad
	}
	t, _ := parse(s.Template)
	var rows []m
	for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
		rows = append(rows, m{"LogicalResourceId": id, "ResourceType": t.Resources[id].Type, "ResourceStatus": s.resources[id], "Timestamp": time.Now()})
	}
	return m{"StackResources": rows}, nil
}
