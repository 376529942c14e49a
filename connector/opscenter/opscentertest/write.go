package opscentertest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// content is what a create and an update may hold.
type content struct {
	OpsItemId                        string
	Title, Description, Source       *string
	Category, Severity, OpsItemType  *string
	Status                           *string
	Priority                         *int
	OperationalData                  map[string]Value
	OperationalDataToDelete          []string
	Notifications                    []map[string]string
	RelatedOpsItems                  []map[string]string
	Tags                             []struct{ Key, Value string }
	PlannedStartTime, PlannedEndTime *float64
	ActualStartTime, ActualEndTime   *float64
}

var (
	categories = []string{"Availability", "Cost", "Performance", "Recovery", "Security"}
	severities = []string{"1", "2", "3", "4"}
	itemTypes  = []string{"/aws/issue", "/aws/insight", "/aws/changerequest"}
	// issueStatuses are those of an item that is no change request.
	issueStatuses = []string{"Open", "InProgress", "Resolved"}
	statuses      = append(issueStatuses, "Pending", "TimedOut", "Cancelling", "Cancelled", "Failed", "CompletedWithSuccess", "CompletedWithFailure", "Scheduled",
		"RunbookInProgress", "PendingChangeCalendarOverride", "ChangeCalendarOverrideApproved", "ChangeCalendarOverrideRejected", "PendingApproval", "Approved",
		"Revoked", "Rejected", "Closed")
)

const dedup = "/aws/dedup"

// text checks a text: blank is null for a required one.
func text(field string, s *string, most int, required bool) *Fault {
	switch {
	case s == nil && required:
		return invalid("Value null at '%s' failed to satisfy constraint: Member must not be null", field)
	case s == nil:
		return nil
	case strings.TrimSpace(*s) == "":
		return invalid("Value at '%s' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(?!\\s*$).+", field)
	case utf8.RuneCountInString(*s) > most:
		return invalid("Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", field, most)
	}
	return nil
}

func first(all ...*Fault) *Fault {
	for _, f := range all {
		if f != nil {
			return f
		}
	}
	return nil
}

func oneOf(name string, s *string, of []string) *Fault {
	if s == nil || slices.Contains(of, *s) {
		return nil
	}
	return parameter(name, "%s %q is none of %v", name, *s, of)
}

// check refuses what neither a create nor an update may hold.
func (c *content) check(required bool, itemType string) *Fault {
	bad := first(
		text("title", c.Title, 1024, required), text("description", c.Description, 2048, required), text("source", c.Source, 128, required),
		text("category", c.Category, 64, false), text("severity", c.Severity, 64, false),
		oneOf("Category", c.Category, categories), oneOf("Severity", c.Severity, severities),
	)
	if bad != nil {
		return bad
	}
	if c.Priority != nil && (*c.Priority < 1 || *c.Priority > 5) {
		return invalid("Value '%d' at 'priority' failed to satisfy constraint: Member must have value less than or equal to 5", *c.Priority)
	}
	timed := c.PlannedStartTime != nil || c.PlannedEndTime != nil || c.ActualStartTime != nil || c.ActualEndTime != nil
	if timed && itemType != "/aws/changerequest" {
		return parameter("PlannedStartTime", "planned and actual times are currently supported only for the OpsItem type /aws/changerequest")
	}
	if c.Source != nil {
		lower := strings.ToLower(*c.Source)
		for _, word := range []string{"aws", "amazon", "amzn"} {
			if strings.Contains(lower, word) {
				return parameter("Source", "the source name can't contain the following strings: aws, amazon, and amzn")
			}
		}
	}
	for _, n := range c.Notifications {
		if !strings.HasPrefix(n["Arn"], "arn:") || !strings.Contains(n["Arn"], ":sns:") {
			return parameter("Notifications", "%q is no ARN of an SNS topic", n["Arn"])
		}
	}
	if len(c.RelatedOpsItems) > 10 {
		return invalid("Value at 'relatedOpsItems' failed to satisfy constraint: Member must have length less than or equal to 10")
	}
	for _, name := range sorted(c.OperationalData) {
		if bad := entry(name, c.OperationalData[name]); bad != nil {
			return bad
		}
	}
	return nil
}

var reservedPrefix = regexp.MustCompile(`(?i)^/?(amazon|aws|amzn|ssm)`)

// entry refuses an entry of the operational data.
func entry(name string, v Value) *Fault {
	switch {
	case name == "" || utf8.RuneCountInString(name) > 128:
		return invalid("Map keys at 'operationalData' must have length between 1 and 128")
	case v.Type != "String" && v.Type != "SearchableString":
		return invalid("Value '%s' at 'operationalData.%s.type' failed to satisfy constraint: Member must satisfy enum value set: [SearchableString, String]", v.Type, name)
	case v.Value == "":
		return parameter("OperationalData", "the value of %s is empty", name)
	case len(v.Value) > 20<<10:
		return parameter("OperationalData", "the value of %s has more than 20 KB", name)
	}
	var into any
	switch name {
	case dedup:
		var d struct{ DedupString string }
		if err := json.Unmarshal([]byte(v.Value), &d); err != nil || d.DedupString == "" {
			return parameter("OperationalData", "%s needs a dedupString", dedup)
		}
		return nil
	case "/aws/resources":
		into = &[]struct {
			ARN string `json:"arn"`
		}{}
	case "/aws/automations":
		into = &[]struct{ AutomationID, AutomationType string }{}
	default:
		if reservedPrefix.MatchString(name) {
			return parameter("OperationalData", "operational data keys can't begin with the following: amazon, aws, amzn, ssm, /amazon, /aws, /amzn, /ssm: %s", name)
		}
		return nil
	}
	if err := json.Unmarshal([]byte(v.Value), into); err != nil {
		return parameter("OperationalData", "%s is no list: %v", name, err)
	}
	if all, ok := into.(*[]struct {
		ARN string `json:"arn"`
	}); ok {
		for _, r := range *all {
			if !strings.HasPrefix(r.ARN, "arn:") {
				return parameter("OperationalData", "%q is no ARN", r.ARN)
			}
		}
		if len(*all) > 100 {
			return parameter("OperationalData", "more than 100 resources")
		}
	}
	return nil
}

func (c *content) hash() string {
	d, ok := c.OperationalData[dedup]
	if !ok {
		return ""
	}
	var v struct{ DedupString string }
	_ = json.Unmarshal([]byte(d.Value), &v) // it was checked
	return v.DedupString + "\x00" + c.OperationalData["/aws/resources"].Value
}

func (i *Item) hash() string {
	c := content{OperationalData: i.OperationalData}
	return c.hash()
}

func (s *Service) create(key string, body []byte) (any, *Fault) {
	var in content
	if bad := decode(body, &in); bad != nil {
		return nil, bad
	}
	itemType := "/aws/issue"
	if in.OpsItemType != nil {
		itemType = *in.OpsItemType
	}
	if bad := first(oneOf("OpsItemType", in.OpsItemType, itemTypes), in.check(true, itemType)); bad != nil {
		return nil, bad
	}
	if len(in.Tags) > 0 && s.denied["AddTagsToResource"] {
		return nil, fault("AccessDeniedException", "User: %s is not authorized to perform: ssm:AddTagsToResource", ARN(key))
	}
	for _, id := range s.order {
		i := s.items[id]
		if h := in.hash(); h != "" && h == i.hash() && (i.Status == "Open" || i.Status == "InProgress") {
			bad := fault("OpsItemAlreadyExistsException", "OpsItem %s with the same dedup string is there already", id)
			bad.More = map[string]any{"OpsItemId": id}
			return nil, bad
		}
	}
	limit := s.Limit
	if limit == 0 {
		limit = 500_000
	}
	if len(s.order) >= limit {
		bad := fault("OpsItemLimitExceededException", "the quota of OpsItems is used up")
		bad.More = map[string]any{"Limit": limit, "LimitType": "OpsItems", "ResourceTypes": []string{"OpsItem"}}
		return nil, bad
	}
	id := fmt.Sprintf("oi-%012x", 0xabc000000000+s.served["CreateOpsItem"])
	i := &Item{
		OpsItemId: id, OpsItemArn: "arn:aws:ssm:eu-central-1:" + Account + ":opsitem/" + id, OpsItemType: itemType, Status: "Open",
		CreatedBy: ARN(key), OperationalData: map[string]Value{}, Tags: map[string]string{},
	}
	for _, t := range in.Tags {
		i.Tags[t.Key] = t.Value
	}
	in.into(i)
	s.touch(i, key)
	i.CreatedTime = i.LastModifiedTime
	s.items[id], s.order = i, append(s.order, id)
	return map[string]string{"OpsItemId": id, "OpsItemArn": i.OpsItemArn}, nil
}

// into writes what is set.
func (c *content) into(i *Item) {
	for _, x := range []struct {
		from *string
		into *string
	}{{c.Title, &i.Title}, {c.Description, &i.Description}, {c.Source, &i.Source}, {c.Category, &i.Category}, {c.Severity, &i.Severity}, {c.Status, &i.Status}} {
		if x.from != nil {
			*x.into = *x.from
		}
	}
	if c.Priority != nil {
		i.Priority = *c.Priority
	}
	if c.Notifications != nil {
		i.Notifications = c.Notifications
	}
	if c.RelatedOpsItems != nil {
		i.RelatedOpsItems = c.RelatedOpsItems
	}
	for name, v := range c.OperationalData {
		i.OperationalData[name] = v
	}
	for _, name := range c.OperationalDataToDelete {
		delete(i.OperationalData, name)
	}
}

func (s *Service) update(key string, body []byte) (any, *Fault) {
	var in content
	if bad := decode(body, &in); bad != nil {
		return nil, bad
	}
	i, bad := s.item(in.OpsItemId)
	if bad != nil {
		return nil, bad
	}
	if in.Status != nil && !slices.Contains(statuses, *in.Status) {
		return nil, invalid("Value '%s' at 'status' failed to satisfy constraint: Member must satisfy enum value set: %v", *in.Status, statuses)
	}
	if in.Status != nil && i.OpsItemType != "/aws/changerequest" && !slices.Contains(issueStatuses, *in.Status) {
		return nil, parameter("Status", "status %s is one of change requests", *in.Status)
	}
	in.Source = nil // an update has none
	if bad := in.check(false, i.OpsItemType); bad != nil {
		return nil, bad
	}
	_, given := in.OperationalData[dedup]
	if given || slices.Contains(in.OperationalDataToDelete, dedup) {
		return nil, parameter("OperationalData", "a dedup string cannot be edited")
	}
	before := i.clone()
	before.before = i.before
	in.into(i)
	s.touch(i, key)
	if s.Lag > 0 {
		i.before = before
	}
	return map[string]any{}, nil
}
