package cloudformationtest

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

type changeSet struct {
	name, id, status, reason, execution string
	created                             time.Time
	template                            string
	params                              map[string]string
	text                                map[string]map[string]string
	alarms                              []string
	changes                             []m
	touched                             []string // logical ids
	token                               string   // it was executed under
}

// replacements are the properties whose change is more than an update.
var replacements = map[string]string{
	"AWS::EC2::Instance/ImageId": "True", "AWS::EC2::Instance/InstanceType": "Conditional", "AWS::SNS::Topic/TopicName": "True",
	"AWS::RDS::DBInstance/Engine": "True",
}

var (
	setNamePattern = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]{0,127}$`)
	tokenPattern   = regexp.MustCompile(`^[a-zA-Z0-9][-a-zA-Z0-9]{0,127}$`)
)

func (a *Account) createChangeSet(f form) (m, *Fault) {
	s, bad := a.find(f)
	if bad != nil {
		return nil, bad
	}
	name := f.get("ChangeSetName")
	given := 0
	for _, k := range []string{"TemplateBody", "TemplateURL", "UsePreviousTemplate"} {
		if v := f.get(k); v != "" && v != "false" {
			given++
		}
	}
	minutes, _ := strconv.Atoi(f.get("RollbackConfiguration.MonitoringTimeInMinutes"))
	triggers := f.list("RollbackConfiguration.RollbackTriggers")
	switch {
	case !setNamePattern.MatchString(name):
		return nil, invalid("1 validation error detected: Value '%s' at 'changeSetName' failed to satisfy constraint", name)
	case f.get("ClientToken") != "" && !tokenPattern.MatchString(f.get("ClientToken")):
		return nil, invalid("1 validation error detected: Value at 'clientToken' failed to satisfy constraint")
	case f.get("ChangeSetType") != "" && f.get("ChangeSetType") != "UPDATE":
		return nil, invalid("Stack [%s] already exists and cannot be created again with the changeSet [%s].", s.Name, name)
	case given != 1:
		return nil, invalid("Exactly one of TemplateBody, TemplateURL, UsePreviousTemplate must be specified.")
	case len(f.get("TemplateBody")) > 51200:
		return nil, invalid("1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to 51200")
	case len(triggers) > 5:
		return nil, invalid("Rollback triggers are limited to 5")
	case minutes < 0 || minutes > 180:
		return nil, invalid("MonitoringTimeInMinutes must be between 0 and 180")
	case s.sets[name] != nil:
		return nil, fault("AlreadyExistsException", "ChangeSet %s already exists", name)
	}
	if bad := s.idle(); bad != nil {
		return nil, bad
	}
	c := &changeSet{name: name, created: time.Now(), template: f.get("TemplateBody")}
	c.id = "arn:aws:cloudformation:eu-central-1:123456789012:changeSet/" + name + "/" + a.id("set")
	if c.template == "" {
		c.template = s.Template
	}
	t, bad := parse(c.template)
	if bad != nil {
		return nil, bad
	}
	for _, r := range t.Resources {
		if strings.HasPrefix(r.Type, "AWS::IAM::") && !slices.Contains(f.texts("Capabilities"), "CAPABILITY_IAM") && !slices.Contains(f.texts("Capabilities"), "CAPABILITY_NAMED_IAM") {
			return nil, fault("InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_IAM]")
		}
	}
	if c.params, bad = s.given(t, f.list("Parameters")); bad != nil {
		return nil, bad
	}
	if c.text, bad = a.properties(t, c.params); bad != nil {
		return nil, bad
	}
	for _, trigger := range triggers {
		c.alarms = append(c.alarms, trigger.get("Arn"))
	}
	s.sets[name] = c
	s.compute(c, t)
	return m{"Id": c.id, "StackId": s.ID}, nil
}

// given returns the value of every parameter. One that was left out has its
// default, whatever it was before.
func (s *Stack) given(t template, list []form) (map[string]string, *Fault) {
	out := map[string]string{}
	for _, p := range list {
		key := p.get("ParameterKey")
		declared, ok := t.Parameters[key]
		_, hasValue := p["ParameterValue"]
		previous := p.get("UsePreviousValue") == "true"
		value := p.get("ParameterValue")
		switch {
		case !ok:
			return nil, invalid("Parameters: [%s] do not exist in the template", key)
		case previous && hasValue:
			return nil, invalid("Invalid input for parameter key %s. Cannot specify usePreviousValue as true for a parameter key with value", key)
		case previous:
			if value, ok = s.Params[key]; !ok {
				return nil, invalid("Parameter %s has no previous value", key)
			}
		case !hasValue:
			return nil, invalid("Invalid input for parameter key %s. Either UsePreviousValue or ParameterValue must be given", key)
		}
		if len(declared.AllowedValues) > 0 && !slices.Contains(declared.AllowedValues, value) {
			return nil, invalid("Parameter '%s' must be one of AllowedValues", key)
		}
		out[key] = value
	}
	var missing []string
	for key, declared := range t.Parameters {
		if _, ok := out[key]; ok {
			continue
		}
		if declared.Default == "" {
			missing = append(missing, key)
			continue
		}
		out[key] = declared.Default
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, invalid("Parameters: [%s] must have values", strings.Join(missing, ", "))
	}
	return out, nil
}

// compute finds what differs. A dynamic reference that reads as before is no
// change, whatever its value has become.
func (s *Stack) compute(c *changeSet, t template) {
	c.status, c.execution = "CREATE_COMPLETE", "AVAILABLE"
	for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
		kind := t.Resources[id].Type
		was, there := s.text[id]
		change := m{"LogicalResourceId": id, "ResourceType": kind, "Action": "Modify", "Replacement": "False"}
		if !there {
			change["Action"] = "Add"
			delete(change, "Replacement")
			c.changes, c.touched = append(c.changes, m{"Type": "Resource", "ResourceChange": change}), append(c.touched, id)
			continue
		}
		var details []m
		for _, name := range slices.Sorted(maps.Keys(c.text[id])) {
			before, after := was[name], c.text[id][name]
			if before == after {
				continue
			}
			replace := replacements[kind+"/"+name]
			recreation := map[string]string{"": "Never", "True": "Always", "Conditional": "Conditionally"}[replace]
			if replace == "True" || replace == "Conditional" && change["Replacement"] == "False" {
				change["Replacement"] = replace
			}
			details = append(details, m{"ChangeSource": "DirectModification", "Evaluation": "Static", "Target": m{
				"Attribute": "Properties", "Name": name, "Path": "/Properties/" + name, "RequiresRecreation": recreation,
				"BeforeValue": before, "AfterValue": after, "AttributeChangeType": "Modify",
			}})
		}
		if len(details) > 0 {
			change["Details"], change["Scope"], change["PhysicalResourceId"] = details, []string{"Properties"}, s.Name+"-"+id
			c.changes, c.touched = append(c.changes, m{"Type": "Resource", "ResourceChange": change}), append(c.touched, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.text)) {
		if _, still := t.Resources[id]; !still {
			c.changes = append(c.changes, m{"Type": "Resource", "ResourceChange": m{"LogicalResourceId": id, "ResourceType": "AWS::Any::Thing", "Action": "Remove", "PolicyAction": "Delete"}})
			c.touched = append(c.touched, id)
		}
	}
	if len(c.changes) == 0 {
		c.status, c.execution = "FAILED", "UNAVAILABLE"
		c.reason = "The submitted information didn't contain changes. Submit different information to create a change set."
	}
}

func (a *Account) findSet(f form) (*Stack, *changeSet, *Fault) {
	s, bad := a.find(f)
	if bad != nil {
		return nil, nil, bad
	}
	name := f.get("ChangeSetName")
	for _, c := range s.sets {
		if c.name == name || c.id == name {
			return s, c, nil
		}
	}
	return s, nil, fault("ChangeSetNotFound", "ChangeSet [%s] does not exist", name)
}

func (a *Account) settled(c *changeSet) bool { return time.Since(c.created) >= a.Settle }

func (a *Account) describeChangeSet(f form) (m, *Fault) {
	s, c, bad := a.findSet(f)
	if bad != nil {
		return nil, bad
	}
	out := m{"ChangeSetName": c.name, "ChangeSetId": c.id, "StackId": s.ID, "StackName": s.Name, "CreationTime": c.created}
	if !a.settled(c) {
		out["Status"], out["ExecutionStatus"] = "CREATE_IN_PROGRESS", "UNAVAILABLE"
		return out, nil
	}
	rows, next, bad := paged(f, c.changes)
	out["Status"], out["StatusReason"], out["ExecutionStatus"], out["Changes"], out["NextToken"] = c.status, c.reason, c.execution, rows, next
	return out, bad
}

func (a *Account) listChangeSets(f form) (m, *Fault) {
	s, bad := a.find(f)
	if bad != nil {
		return nil, bad
	}
	var rows []m
	for _, name := range slices.Sorted(maps.Keys(s.sets)) {
		rows = append(rows, m{"ChangeSetName": name, "ChangeSetId": s.sets[name].id, "CreationTime": s.sets[name].created, "Status": s.sets[name].status})
	}
	return m{"Summaries": rows}, nil
}

func (a *Account) deleteChangeSet(f form) (m, *Fault) {
	s, c, bad := a.findSet(f)
	switch {
	case bad != nil:
		return nil, bad
	case c.execution == "EXECUTE_IN_PROGRESS":
		return nil, fault("InvalidChangeSetStatus", "ChangeSet [%s] is being executed", c.name)
	}
	delete(s.sets, c.name)
	return m{}, nil
}

// Sets returns the names of the change sets of a stack.
func (s *Stack) Sets() []string { return slices.Sorted(maps.Keys(s.sets)) }

// Age makes the change sets of a stack older.
func (s *Stack) Age(d time.Duration) {
	for _, c := range s.sets {
		c.created = c.created.Add(-d)
	}
}
