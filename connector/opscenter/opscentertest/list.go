package opscentertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// operators are those each key of a filter takes.
var operators = map[string][]string{
	"CreatedTime": {"GreaterThan", "LessThan"}, "LastModifiedTime": {"GreaterThan", "LessThan"}, "LastModifiedBy": {"Contains", "Equal"},
	"Priority": {"Equal"}, "Source": {"Contains", "Equal"}, "Status": {"Equal"}, "Title": {"Contains", "Equal"}, "OperationalData": {"Equal"},
	"OperationalDataKey": {"Equal"}, "OperationalDataValue": {"Contains", "Equal"}, "OpsItemId": {"Equal"}, "ResourceId": {"Contains"},
	"AutomationId": {"Equal"}, "AccountId": {"Equal"},
}

type filter struct {
	Key, Operator string
	Values        []string

	at   time.Time
	pair struct{ Key, Value string }
}

func (f *filter) check() *Fault {
	of, known := operators[f.Key]
	switch {
	case !known:
		return invalid("Value '%s' at 'opsItemFilters.key' failed to satisfy constraint: Member must satisfy enum value set: %v", f.Key, sorted(operators))
	case !slices.Contains(of, f.Operator):
		return parameter("OpsItemFilters", "the filter %s takes the operators %v, not %q", f.Key, of, f.Operator)
	case len(f.Values) == 0:
		return invalid("Value null at 'opsItemFilters.values' failed to satisfy constraint: Member must not be null")
	}
	switch f.Key {
	case "CreatedTime", "LastModifiedTime":
		at, err := time.Parse(time.RFC3339, f.Values[0])
		if err != nil || len(f.Values) != 1 {
			return parameter("OpsItemFilters", "%v is no time", f.Values)
		}
		f.at = at
	case "Title":
		if f.Operator == "Equal" && len(f.Values[0]) > 100 {
			return parameter("OpsItemFilters", "the filter value exceeds the length limit")
		}
	case "OperationalData":
		if err := json.Unmarshal([]byte(f.Values[0]), &f.pair); err != nil || f.pair.Key == "" {
			return parameter("OpsItemFilters", `specify a key-value pair by using the following JSON format: {"key":"key_name","value":"a_value"}`)
		}
	}
	return nil
}

func (f *filter) takes(i *Item) bool {
	compared := func(s string) bool {
		return slices.ContainsFunc(f.Values, func(v string) bool { return s == v || f.Operator == "Contains" && strings.Contains(s, v) })
	}
	timed := func(at float64) bool {
		t := time.UnixMilli(int64(at * 1000))
		return f.Operator == "GreaterThan" && t.After(f.at) || f.Operator == "LessThan" && t.Before(f.at)
	}
	switch f.Key {
	case "CreatedTime":
		return timed(i.CreatedTime)
	case "LastModifiedTime":
		return timed(i.LastModifiedTime)
	case "LastModifiedBy":
		return compared(i.LastModifiedBy)
	case "Priority":
		return compared(strconv.Itoa(i.Priority))
	case "Source":
		return compared(i.Source)
	case "Status":
		return compared(i.Status)
	case "Title":
		return compared(i.Title)
	case "OpsItemId":
		return compared(i.OpsItemId)
	case "AccountId":
		return compared(Account)
	case "ResourceId":
		return compared(i.OperationalData["/aws/resources"].Value)
	case "AutomationId":
		return strings.Contains(i.OperationalData["/aws/automations"].Value, f.Values[0])
	case "OperationalData":
		v, there := i.OperationalData[f.pair.Key]
		return there && v.Type == "SearchableString" && v.Value == f.pair.Value
	}
	for name, v := range i.OperationalData {
		if v.Type == "SearchableString" && (f.Key == "OperationalDataKey" && compared(name) || f.Key == "OperationalDataValue" && compared(v.Value)) {
			return true
		}
	}
	return false
}

// listed returns an item as lists show it now, nil when they do not yet.
func (s *Service) listed(i *Item) *Item {
	if s.Lag <= 0 || !s.Clock().Before(i.modified.Add(s.Lag)) {
		return i
	}
	if i.before == nil {
		return nil
	}
	return s.listed(i.before)
}

func (s *Service) describe(_ string, body []byte) (any, *Fault) {
	var in struct {
		OpsItemFilters []filter
		MaxResults     *int
		NextToken      string
	}
	if bad := decode(body, &in); bad != nil {
		return nil, bad
	}
	most := 50
	if in.MaxResults != nil {
		most = *in.MaxResults
	}
	if most < 1 || most > 50 {
		return nil, invalid("Value '%d' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 50", most)
	}
	for n := range in.OpsItemFilters {
		if bad := in.OpsItemFilters[n].check(); bad != nil {
			return nil, bad
		}
	}
	from := 0
	if in.NextToken != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(in.NextToken, "page-"))
		if err != nil || n < 0 {
			return nil, fault("InvalidNextToken", "the token is not valid")
		}
		from = n
	}
	out := []map[string]any{}
	// Newest first: the order is nobody's promise.
	for n := from; n < len(s.order); n++ {
		i := s.listed(s.items[s.order[len(s.order)-1-n]])
		if i == nil || slices.ContainsFunc(in.OpsItemFilters, func(f filter) bool { return !f.takes(i) }) {
			continue
		}
		if len(out) == most {
			return map[string]any{"OpsItemSummaries": out, "NextToken": fmt.Sprintf("page-%d", n)}, nil
		}
		out = append(out, summary(i))
	}
	return map[string]any{"OpsItemSummaries": out}, nil
}

// summary shows what lists show: no description, no version, and only what is
// searchable of the operational data.
func summary(i *Item) map[string]any {
	data := map[string]Value{}
	for name, v := range i.OperationalData {
		if v.Type == "SearchableString" {
			data[name] = v
		}
	}
	return map[string]any{
		"OpsItemId": i.OpsItemId, "Title": i.Title, "Source": i.Source, "Status": i.Status, "Category": i.Category, "Severity": i.Severity, "OpsItemType": i.OpsItemType,
		"CreatedBy": i.CreatedBy, "CreatedTime": i.CreatedTime, "LastModifiedBy": i.LastModifiedBy, "LastModifiedTime": i.LastModifiedTime, "OperationalData": data,
	}
}
