package densify

import (
	"bytes"
	"fmt"
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
