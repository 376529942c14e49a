package densify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// event decodes a change of one of ICCO's parameters, as EventBridge tells of
// it. The event names the parameter and neither its value nor its tags, so the
// recommendation wants those before it can be placed. A label proves no
// approval: whoever may write a parameter may label it.
func (s *source) event(r *intake.Request, doc document) (intake.Delivery, error) {
	if kind := doc.text("detail-type"); doc.text("source") != "aws.ssm" || kind != "Parameter Store Change" {
		return intake.Delivery{}, &intake.Fault{Field: "detail-type", Value: kind, Fix: "send events of aws.ssm with the detail-type Parameter Store Change"}
	}
	detail := doc.object("detail")
	name := detail.text("name")
	parts := strings.Split(name, "/")
	if len(parts) != 6 || parts[1] != "densify" || parts[2] != "iaas" {
		return intake.Delivery{Outcome: intake.Ignored, Dedupe: doc.text("id")}, nil // other parameters of the account
	}
	x := ops.Recommendation{
		Producer: ops.ProducerParameterStore, EntityID: name, Account: doc.text("account"), Region: doc.text("region"),
		Service: services[strings.ToUpper(parts[3])], ObservedAt: doc.instant("time"), Raw: bytes.Clone(r.Body), // the request's buffer is used again
	}
	identify(&x, parts[4])
	operation := detail.text("operation")
	switch {
	case x.Service == "":
		x.Fault = fmt.Sprintf("the parameter %s is of none of ec2, rds, asg", short(name))
	case x.Account == "" || x.Region == "" || x.ResourceKey == "":
		x.Fault = "missing: account, region or the resource in the parameter's name"
	case operation == "Delete":
		x.Gone = "the parameter " + name + " was deleted"
	case operation == "Create", operation == "Update", operation == "LabelParameterVersion":
		x.Wants = "value and tags of the parameter " + name
	default:
		x.Fault = fmt.Sprintf("the operation %q is none of Create, Update, Delete, LabelParameterVersion", short(operation))
	}
	out := s.collect(r, []ops.Recommendation{x})
	out.Dedupe = doc.text("id")
	return out, nil
}

// askParameter reads the parameter an event was about. Its tags are what ICCO
// writes there: every member of the recommendation as text, with the tags of
// the resource among them.
func (s *source) askParameter(ctx context.Context, r ops.Recommendation) (intake.Told, error) {
	if s.env.Parameter == nil {
		return intake.Told{}, fmt.Errorf("densify: %s: parameters cannot be read here; let Densify post its recommendations: %w", r.Wants, ops.ErrStalled)
	}
	value, tags, err := s.env.Parameter(ctx, r.Account, r.Region, r.EntityID)
	if err != nil {
		return intake.Told{}, fmt.Errorf("densify: %s: %w", r.Wants, err)
	}
	if tags["recommendedType"] == "" {
		return intake.Told{}, fmt.Errorf("densify: %s: its tags do not say recommendedType; let Densify post its recommendations: %w", r.Wants, ops.ErrStalled)
	}
	entry := maps.Clone(tags)
	entry["accountIdRef"], entry["regionId"], entry["serviceType"] = r.Account, r.Region, strings.ToUpper(r.Service)
	entry["resourceId"], entry["currentType"] = cmp.Or(tags["resourceId"], r.ResourceKey), cmp.Or(tags["currentType"], value)
	raw, err := json.Marshal(entry)
	if err != nil {
		return intake.Told{}, fmt.Errorf("densify: %s: %w: %w", r.Wants, err, ops.ErrInternal)
	}
	x := s.insight(raw)
	if x.Fault != "" {
		return intake.Told{}, fmt.Errorf("densify: the tags of %s: %s: %w", r.EntityID, x.Fault, ops.ErrInvalid)
	}
	told := intake.Told{Recommendation: r}
	told.Recommendation.Wants = ""
	told.Recommendation.Current, told.Recommendation.Recommended = x.Current, x.Recommended
	told.Recommendation.Kind, told.Recommendation.Saving = x.Kind, x.Saving
	setTags(&told.Recommendation, tags)
	return told, nil
}
