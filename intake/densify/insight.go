package densify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// insights decodes the array of ICCO's webhook and of the API's results.
func (s *source) insights(r *intake.Request) (intake.Delivery, error) {
	var entries []json.RawMessage
	if err := json.Unmarshal(r.Body, &entries); err != nil {
		return intake.Delivery{}, intake.NotJSON(err, "an array of recommendations")
	}
	list := make([]ops.Recommendation, len(entries))
	for i, raw := range entries {
		list[i] = s.insight(raw)
	}
	return s.collect(r, list), nil
}

// services are the words of serviceType.
var services = map[string]string{"EC2": ops.ServiceEC2, "RDS": ops.ServiceRDS, "ASG": ops.ServiceASG}

// idle are the words of recommendationType that ask for nothing.
var idle = map[string]bool{"just right": true, "not analyzed": true, "not analysed": true}

const terminate = "Terminate"

func (s *source) insight(raw json.RawMessage) ops.Recommendation {
	d, err := open(raw)
	if err != nil || d == nil {
		return ops.Recommendation{Producer: ops.ProducerDensify, Raw: raw, Fault: "the entry is no JSON object"}
	}
	x := ops.Recommendation{
		Producer: ops.ProducerDensify, EntityID: d.text("entityId"), Account: d.text("accountIdRef"), Region: d.text("regionId", "region"),
		Service: services[strings.ToUpper(d.text("serviceType"))], Name: d.text("name"), Kind: d.text("recommendationType"),
		Current: ops.Values{Type: d.text("currentType")}, Recommended: ops.Values{Type: d.text("recommendedType")},
		Effort: d.text("effortEstimate"), PredictedUptime: d.number("predictedUptime"), ApprovalType: d.text("approvalType"),
		Implementation: d.text("implementationMethod"), ReportHref: d.text("rptHref"), ObservedAt: d.instant("recommLastSeen"), Raw: raw,
	}
	if n := d.number("savingsEstimate"); n != nil {
		x.Saving = &ops.Saving{Amount: *n, Currency: s.config.Currency, Per: s.config.Per}
	}
	var missing []string
	need := func(field, value string) {
		if value == "" {
			missing = append(missing, field)
		}
	}
	id := d.text("resourceId")
	switch x.Service {
	case "":
		need("serviceType", d.text("serviceType"))
		if len(missing) == 0 {
			x.Fault = fmt.Sprintf("serviceType %q is none of EC2, RDS, ASG", short(d.text("serviceType")))
		}
	case ops.ServiceASG:
		x.Current.Group, x.Recommended.Group = d.sizes("minGroupCurrent", "maxGroupCurrent"), d.sizes("minGroupRecommended", "maxGroupRecommended")
		if (x.Current.Group == nil) != (x.Recommended.Group == nil) {
			x.Fault = "minGroupCurrent, maxGroupCurrent, minGroupRecommended and maxGroupRecommended do not fit together"
		}
	}
	identify(&x, id)
	need("accountIdRef", x.Account)
	need("regionId", x.Region)
	need("resourceId", x.ResourceKey)
	if x.Kind != terminate && !idle[strings.ToLower(x.Kind)] {
		need("currentType", x.Current.Type)
		need("recommendedType", x.Recommended.Type)
	}
	if x.Fault == "" && len(missing) > 0 {
		x.Fault = "missing: " + strings.Join(missing, ", ")
	}
	setTags(&x, resourceTags(d.list("attributes")))
	switch {
	case x.Fault != "":
	case idle[strings.ToLower(x.Kind)]:
		x.Gone = "Densify says " + x.Kind
	case x.Kind != terminate && x.Current.Equal(x.Recommended):
		x.Gone = "Densify recommends what is there"
	case s.config.API != nil && x.EntityID == "":
		x.Wants = "tags of its system, and no entityId says which one it is"
	case s.config.API != nil:
		x.Wants = "tags and report of Densify"
	}
	return x
}

// identify sets what a resource is called: its key, name and aliases. id is the
// resource as the producer names it.
func identify(x *ops.Recommendation, id string) {
	arn := ""
	if strings.HasPrefix(id, "arn:") {
		arn = id
		if i := strings.LastIndexAny(id, ":/"); i > 0 {
			id = id[i+1:]
		}
	}
	x.ResourceKey = id
	kind := "host"
	switch x.Service {
	case ops.ServiceRDS:
		// The identifier is the key of ICCO's parameters; a resource id db-ABC
		// names the instance in no call.
		kind = "database"
		if x.Name != "" && arn == "" {
			x.ResourceKey = x.Name
		}
	case ops.ServiceASG:
		kind = "group"
		if x.Name != "" && arn == "" {
			x.ResourceKey = x.Name
		}
	}
	if x.Name == "" {
		x.Name = x.ResourceKey
	}
	x.Resource = ops.ResourceRef{Kind: kind, Name: x.Name}
	if x.ResourceKey == "" || x.Account == "" || x.Region == "" {
		return
	}
	partition := "aws"
	switch {
	case strings.HasPrefix(x.Region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(x.Region, "us-gov-"):
		partition = "aws-us-gov"
	}
	aliases := []string{ops.Alias("arn", strings.TrimPrefix(arn, "arn:"))}
	switch x.Service {
	case ops.ServiceEC2:
		aliases = []string{ops.Alias("arn", strings.Join([]string{partition, "ec2", x.Region, x.Account, "instance/" + x.ResourceKey}, ":"))}
	case ops.ServiceRDS:
		aliases = []string{ops.Alias("arn", strings.Join([]string{partition, "rds", x.Region, x.Account, "db", x.ResourceKey}, ":"))}
	case ops.ServiceASG:
		// Its ARN holds an id that Densify does not say.
		aliases = append(aliases, ops.Alias("asg", strings.Join([]string{x.Account, x.Region, x.ResourceKey}, "/")))
	}
	for _, a := range aliases {
		if a != "" {
			x.Resource.Aliases = append(x.Resource.Aliases, a)
		}
	}
}

// resourceTags reads the tags among the attributes of a system: each is an
// attribute attr_resource_tags with the value "name : value".
func resourceTags(attributes []document) map[string]string {
	var out map[string]string
	for _, a := range attributes {
		if a.text("id") != "attr_resource_tags" {
			continue
		}
		name, value, ok := strings.Cut(a.text("value"), " : ")
		if !ok || name == "" {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[strings.TrimPrefix(strings.TrimSpace(name), "aws:")] = strings.TrimSpace(value)
	}
	return out
}

// The tags by which CloudFormation marks what it made.
const (
	tagStackID   = "cloudformation:stack-id"
	tagStackName = "cloudformation:stack-name"
	tagLogicalID = "cloudformation:logical-id"
)

// setTags gives a recommendation its tags, and what they say of its stack.
func setTags(x *ops.Recommendation, tags map[string]string) {
	if len(tags) == 0 {
		return
	}
	x.Tags, x.Stack, x.LogicalID = tags, tags[tagStackID], tags[tagLogicalID]
	if x.Stack == "" {
		x.Stack = tags[tagStackName]
	}
	if x.Stack != "" && x.LogicalID != "" {
		if a := ops.Alias("cfn", x.Stack+"/"+x.LogicalID); !slices.Contains(x.Resource.Aliases, a) {
			x.Resource.Aliases = append(x.Resource.Aliases, a)
		}
	}
}

// short cuts text that goes into a sentence.
func short(s string) string {
	const most = 60
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

// hint decodes what ICCO's ServiceNow rule calls after an approval or a close.
func (s *source) hint(r *intake.Request) (intake.Delivery, error) {
	d, err := open(r.Body)
	if err != nil {
		return intake.Delivery{}, intake.NotJSON(err, "an object with serviceType, name, resourceId and region")
	}
	h := ops.Hint{
		Integration: r.Integration, Word: strings.TrimPrefix(r.Path, "/"), Service: services[strings.ToUpper(d.text("serviceType"))],
		Name: d.text("name"), ResourceKey: d.text("resourceId"), Region: d.text("region", "regionId"), Accounts: r.Accounts,
	}
	if h.Service == "" {
		return intake.Delivery{}, &intake.Fault{Field: "serviceType", Value: d.text("serviceType"), Fix: "write EC2, RDS or ASG"}
	}
	if h.Service != ops.ServiceEC2 && h.Name != "" || h.ResourceKey == "" {
		h.ResourceKey = h.Name
	}
	if h.ResourceKey == "" || h.Region == "" {
		return intake.Delivery{}, &intake.Fault{Field: "resourceId", Fix: "send serviceType, name, resourceId and region, as they stand in the change's ticket"}
	}
	return intake.Delivery{Signals: []ops.Signal{{Hint: &h}}}, nil
}
