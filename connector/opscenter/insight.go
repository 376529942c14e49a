package opscenter

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// The operational data of a work order about a change, as ICCO names it; the
// name of the resource is keys.resource.
const (
	changeData      = "changeId"
	resourceIDData  = "resourceId"
	stackNameData   = "cloudformation:stack-name"
	stackIDData     = "cloudformation:stack-id"
	logicalIDData   = "cloudformation:logical-id"
	parameterData   = "parameterKey"
	serviceData     = "serviceType"
	currentData     = "currentType"
	recommendedData = "recommendedType"
	savingData      = "savingsEstimate"
	effortData      = "effortEstimate"
)

// icco are those that people search by.
var icco = []string{changeData, resourceIDData, stackNameData, stackIDData, logicalIDData, parameterData}

// Extra implements connector.Describer: what ICCO wrote into its OpsItems.
func (p *platform) Extra(kind ops.TicketKind, c ops.Change) map[string]string {
	if kind != ops.TicketWorkOrder {
		return nil
	}
	out := map[string]string{changeData: c.Key()}
	a := c.Analysis
	if a == nil {
		return out
	}
	name, id := a.Stack, ""
	if awsx.IsARN(a.Stack) { // arn:aws:cloudformation:region:account:stack/name/id
		id = a.Stack
		if _, name, _ = strings.Cut(a.Stack, ":stack/"); name != "" {
			name, _, _ = strings.Cut(name, "/")
		}
	}
	for key, v := range map[string]string{
		resourceIDData: a.ResourceKey, stackNameData: name, stackIDData: id, logicalIDData: a.LogicalID, parameterData: a.Parameter,
		serviceData: strings.ToUpper(a.Service), currentData: a.Current.String(), recommendedData: a.Recommended.String(), effortData: a.Effort,
		resourcesData: resources(a, id),
	} {
		if v != "" {
			out[key] = v
		}
	}
	if a.Saving != nil {
		out[savingData] = strconv.FormatFloat(a.Saving.Amount, 'f', -1, 64)
	}
	return out
}

type resource struct {
	ARN string `json:"arn"`
}

// resources lists what a change is about, as OpsCenter links it.
func resources(a *ops.Analysis, stack string) string {
	var all []resource
	if stack != "" {
		all = append(all, resource{stack})
	}
	partition := "aws"
	switch {
	case strings.HasPrefix(a.Region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(a.Region, "us-gov-"):
		partition = "aws-us-gov"
	}
	part := map[string]string{ops.ServiceEC2: "instance/", ops.ServiceRDS: "db:"}[a.Service]
	if part != "" && a.ResourceKey != "" && a.Account != "" && a.Region != "" {
		all = append(all, resource{strings.Join([]string{"arn", partition, a.Service, a.Region, a.Account, part + a.ResourceKey}, ":")})
	}
	return list(all)
}

type automation struct {
	ID   string `json:"automationId"`
	Type string `json:"automationType"`
}

// automations lists runbooks, as OpsCenter offers them.
func automations(names []string) string {
	var all []automation
	for _, n := range names {
		all = append(all, automation{n, "AWS::SSM::Automation"})
	}
	return list(all)
}

// list writes a list as JSON, empty for none.
func list[T any](all []T) string {
	if len(all) == 0 {
		return ""
	}
	b, err := json.Marshal(all)
	if err != nil {
		return "" // strings always can
	}
	return string(b)
}

// saving tells whether a saving is predicted, or a cost; ok is false when
// nothing is.
func saving(f ops.TicketFields) (saves, ok bool) {
	amount, err := strconv.ParseFloat(f.Extra[savingData], 64)
	return amount >= 0, err == nil
}

// category returns the category of a new OpsItem.
func (o *Options) category(kind ops.TicketKind, f ops.TicketFields) string {
	if c := o.Categories[string(kind)]; c != "" {
		return c
	}
	if kind != ops.TicketWorkOrder {
		return "Availability"
	}
	if saves, ok := saving(f); ok && saves {
		return "Cost"
	}
	return "Performance"
}

// number returns the severity of a new OpsItem, empty for none: that of the
// ticket, or ICCO's for what saves and what costs.
func (o *Options) number(kind ops.TicketKind, f ops.TicketFields) string {
	if n := numbers[f.Severity]; n != "" || kind != ops.TicketWorkOrder {
		return n
	}
	switch saves, ok := saving(f); {
	case !ok:
		return ""
	case saves:
		return "2"
	}
	return "1"
}
