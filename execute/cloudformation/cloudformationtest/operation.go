package cloudformationtest

import (
	"maps"
	"slices"
	"time"
)

func (a *Account) executeChangeSet(f form) (m, *Fault) {
	s, c, bad := a.findSet(f)
	if bad != nil {
		return nil, bad
	}
	token := f.get("ClientRequestToken")
	switch {
	case token != "" && !tokenPattern.MatchString(token):
		return nil, invalid("1 validation error detected: Value at 'clientRequestToken' failed to satisfy constraint")
	case token != "" && c.token == token:
		return m{}, nil // the same request again
	case !a.settled(c) || c.status != "CREATE_COMPLETE" || c.execution != "AVAILABLE":
		return nil, fault("InvalidChangeSetStatus", "ChangeSet [%s] cannot be executed in its current status of [%s]", c.name, c.execution)
	case s.operations[token]:
		return nil, fault("TokenAlreadyExistsException", "A client request token already exists")
	}
	if bad := s.idle(); bad != nil {
		return nil, bad
	}
	a.begun++
	c.token, c.execution, s.operations[token], s.Alarms = token, "EXECUTE_IN_PROGRESS", true, c.alarms
	for name := range s.sets {
		if name != c.name {
			delete(s.sets, name)
		}
	}
	s.become(a, "UPDATE_IN_PROGRESS", "User Initiated", token)
	s.play(a, c, token)
	return m{}, nil
}

// play lays out what the update will do and when.
func (s *Stack) play(a *Account, c *changeSet, token string) {
	begin := time.Now()
	live := a.resolve(c.text)
	t, _ := parse(c.template)
	n := len(c.touched) + len(s.Chatter) + 1
	at := func(i int) time.Time {
		if s.Hasten && i < len(s.Chatter) {
			return begin
		}
		return begin.Add(s.Takes * time.Duration(i) / time.Duration(n))
	}
	add := func(when time.Time, do func()) { s.steps = append(s.steps, step{when, do}) }
	for i, words := range s.Chatter {
		add(at(i), func() {
			s.event(a, "Chatter", "c", "AWS::Some::Thing", "UPDATE_IN_PROGRESS", words, token, time.Now())
		})
	}
	fail := func(id, why string) {
		s.event(a, id, s.Name+"-"+id, t.Resources[id].Type, "UPDATE_FAILED", why, token, time.Now())
		s.resources[id], s.failed = "UPDATE_FAILED", id
		s.back(a, c, token)
	}
	for i, id := range c.touched {
		add(at(len(s.Chatter)+i), func() {
			s.event(a, id, s.Name+"-"+id, t.Resources[id].Type, "UPDATE_IN_PROGRESS", "", token, time.Now())
		})
		add(at(len(s.Chatter)+i+1), func() {
			for _, v := range live[id] {
				if s.Refuse != "" && v == s.Refuse {
					fail(id, "the value "+v+" is refused")
					return
				}
			}
			s.event(a, id, s.Name+"-"+id, t.Resources[id].Type, "UPDATE_COMPLETE", "", token, time.Now())
			s.resources[id] = "UPDATE_COMPLETE"
		})
	}
	add(begin.Add(s.Takes), func() {
		for _, arn := range c.alarms {
			ringing, there := a.alarms[arn]
			if !there || ringing {
				s.event(a, s.Name, "", "AWS::CloudFormation::Stack", "UPDATE_FAILED", "Alarm "+arn+" is missing or in ALARM", token, time.Now())
				s.back(a, c, token)
				return
			}
		}
		s.Template, s.Params, s.text, s.Live = c.template, c.params, c.text, live
		c.execution = "EXECUTE_COMPLETE"
		s.become(a, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "", token)
		s.become(a, "UPDATE_COMPLETE", s.Last, token)
	})
}

// back rolls the update back.
func (s *Stack) back(a *Account, c *changeSet, token string) {
	if c != nil {
		c.execution = "EXECUTE_FAILED"
	}
	s.become(a, "UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update: ["+s.failed+"].", token)
	takes := s.Takes / 10
	if s.Hasten {
		takes = 0
	}
	s.steps = []step{{time.Now().Add(takes), func() {
		if s.Stuck {
			s.become(a, "UPDATE_ROLLBACK_FAILED", "The following resource(s) failed to update: ["+s.failed+"].", token)
			return
		}
		if s.failed != "" {
			s.resources[s.failed], s.failed = "UPDATE_COMPLETE", ""
		}
		s.become(a, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "", token)
		s.become(a, "UPDATE_ROLLBACK_COMPLETE", "", token)
	}}}
}

func (a *Account) cancelUpdateStack(f form) (m, *Fault) {
	s, bad := a.find(f)
	if bad != nil {
		return nil, bad
	}
	if s.Status != "UPDATE_IN_PROGRESS" {
		return nil, invalid("CancelUpdateStack cannot be called from current stack status")
	}
	var running *changeSet
	for _, c := range s.sets {
		if c.execution == "EXECUTE_IN_PROGRESS" {
			running = c
		}
	}
	s.back(a, running, f.get("ClientRequestToken"))
	return m{}, nil
}

func (a *Account) continueUpdateRollback(f form) (m, *Fault) {
	s, bad := a.find(f)
	if bad != nil {
		return nil, bad
	}
	token, skip := f.get("ClientRequestToken"), f.texts("ResourcesToSkip")
	if s.Status != "UPDATE_ROLLBACK_FAILED" {
		return nil, invalid("Stack:%s is in %s state and can not continue rollback.", s.ID, s.Status)
	}
	for _, id := range skip {
		if s.resources[id] != "UPDATE_FAILED" {
			return nil, invalid("Resource %s is not in UPDATE_FAILED and cannot be skipped", id)
		}
	}
	a.begun++
	if slices.Contains(skip, s.failed) {
		s.Stuck = false
	}
	s.back(a, nil, token)
	return m{}, nil
}

type detection struct {
	stack *Stack
	at    time.Time
}

func (a *Account) detectStackDrift(f form) (m, *Fault) {
	s, bad := a.find(f)
	if bad != nil {
		return nil, bad
	}
	if !slices.Contains([]string{"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED"}, s.Status) {
		return nil, invalid("Drift detection cannot be performed on stack in %s", s.Status)
	}
	id := a.id("detection")
	a.detections[id] = &detection{s, time.Now()}
	return m{"StackDriftDetectionId": id}, nil
}

func (a *Account) detectionStatus(f form) (m, *Fault) {
	id := f.get("StackDriftDetectionId")
	d, ok := a.detections[id]
	if !ok {
		return nil, invalid("Drift detection %s does not exist", id)
	}
	out := m{"StackDriftDetectionId": id, "StackId": d.stack.ID, "DetectionStatus": "DETECTION_IN_PROGRESS", "Timestamp": d.at}
	if time.Since(d.at) >= a.Settle {
		out["DetectionStatus"] = "DETECTION_COMPLETE"
	}
	return out, nil
}

func (a *Account) resourceDrifts(f form) (m, *Fault) {
	s, bad := a.find(f)
	if bad != nil {
		return nil, bad
	}
	t, _ := parse(s.Template)
	var rows []m
	for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
		row := m{"StackId": s.ID, "LogicalResourceId": id, "ResourceType": t.Resources[id].Type, "StackResourceDriftStatus": "IN_SYNC", "Timestamp": time.Now()}
		rows = append(rows, row)
		if slices.Contains(s.Unchecked, t.Resources[id].Type) {
			row["StackResourceDriftStatus"] = "NOT_CHECKED"
			continue
		}
		is, there := s.Live[id]
		if !there {
			row["StackResourceDriftStatus"] = "DELETED"
			continue
		}
		var diffs []m
		for _, name := range slices.Sorted(maps.Keys(s.text[id])) {
			want := s.text[id][name]
			if dynamicPattern.MatchString(want) || want == is[name] {
				continue // drift of dynamic references is not detected
			}
			diffs = append(diffs, m{"PropertyPath": "/" + name, "ExpectedValue": want, "ActualValue": is[name], "DifferenceType": "NOT_EQUAL"})
		}
		if len(diffs) > 0 {
			row["StackResourceDriftStatus"], row["PropertyDifferences"] = "MODIFIED", diffs
		}
	}
	rows, next, bad := paged(f, rows)
	return m{"StackResourceDrifts": rows, "NextToken": next}, bad
}
