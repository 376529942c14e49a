package densify

import (
	"encoding/json"
	"strings"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// form is how one service stands in the answers of Compute Optimizer. The
// names are those of its API of 2019-11-01.
type form struct {
	list, service, arn, name, finding, options string
	current                                    func(d document) ops.Values
	recommended                                func(option document) ops.Values
}

func plain(key string) func(document) ops.Values {
	return func(d document) ops.Values { return ops.Values{Type: d.text(key)} }
}

func group(key string) func(document) ops.Values {
	return func(d document) ops.Values {
		c := d.object(key)
		return ops.Values{Type: c.text("instanceType"), Group: c.sizes("minSize", "maxSize")}
	}
}

func forms() []form {
	return []form{
		{"instanceRecommendations", ops.ServiceEC2, "instanceArn", "instanceName", "finding", "recommendationOptions", plain("currentInstanceType"), plain("instanceType")},
		{"autoScalingGroupRecommendations", ops.ServiceASG, "autoScalingGroupArn", "autoScalingGroupName", "finding", "recommendationOptions", group("currentConfiguration"), group("configuration")},
		{"rdsDBRecommendations", ops.ServiceRDS, "resourceArn", "", "instanceFinding", "instanceRecommendationOptions", plain("currentDBInstanceClass"), plain("dbInstanceClass")},
	}
}

// optimizer decodes an answer of Compute Optimizer, which may be posted by a
// scheduled job or sent with fettle send.
func (s *source) optimizer(r *intake.Request, doc document) (intake.Delivery, error) {
	var list []ops.Recommendation
	for _, f := range forms() {
		if !doc.has(f.list) {
			continue
		}
		var entries []json.RawMessage
		if err := json.Unmarshal(doc[f.list], &entries); err != nil {
			return intake.Delivery{}, &intake.Fault{Field: f.list, Fix: "send an array, as Compute Optimizer answers"}
		}
		for _, raw := range entries {
			list = append(list, f.read(raw))
		}
	}
	return s.collect(r, list), nil
}

// kinds are Densify's words for the findings of Compute Optimizer, whose
// spelling differs between its API, its command line and its services.
var kinds = map[string]string{"overprovisioned": "Downsize", "underprovisioned": "Upsize", "notoptimized": "Resize", "optimized": "Just Right"}

func (f form) read(raw json.RawMessage) ops.Recommendation {
	x := ops.Recommendation{Producer: ops.ProducerComputeOptimizer, Service: f.service, Raw: raw}
	d, err := open(raw)
	if err != nil || d == nil {
		x.Fault = "the entry is no JSON object"
		return x
	}
	arn := d.text(f.arn)
	x.EntityID, x.Account, x.ObservedAt = arn, d.text("accountId"), d.instant("lastRefreshTimestamp")
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		x.Region = parts[3]
		if x.Account == "" {
			x.Account = parts[4]
		}
	}
	if f.name != "" {
		x.Name = d.text(f.name)
	}
	identify(&x, arn)
	if f.service == ops.ServiceASG && x.Name != "" {
		x.ResourceKey = x.Name
	}
	x.Current = f.current(d)
	x.Tags = nil
	finding := d.text(f.finding)
	x.Kind = kinds[strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(finding))]
	best := better(d.list(f.options))
	if best != nil {
		x.Recommended = f.recommended(best)
		x.Effort = best.text("migrationEffort")
		saving := best.object("savingsOpportunity").object("estimatedMonthlySavings")
		if n := saving.number("value"); n != nil {
			x.Saving = &ops.Saving{Amount: *n, Currency: saving.text("currency"), Per: "month"}
		}
	}
	switch {
	case x.Account == "" || x.Region == "" || x.ResourceKey == "":
		x.Fault = "missing: " + f.arn
	case x.Kind == "":
		x.Fault = "the finding " + short(finding) + " is none of over-provisioned, under-provisioned, not optimized, optimized"
	case x.Kind == "Just Right":
		x.Gone = "Compute Optimizer says " + finding
	case x.Current.Type == "":
		x.Fault = "missing: the current type"
	case best == nil || x.Recommended.Type == "":
		x.Fault = "missing: an option to recommend"
	case x.Current.Equal(x.Recommended):
		x.Gone = "Compute Optimizer recommends what is there"
	}
	return x
}

// better returns the option of the least rank, nil without one.
func better(options []document) document {
	var best document
	var least float64
	for _, o := range options {
		rank := o.number("rank")
		if rank == nil {
			one := 1e9
			rank = &one
		}
		if best == nil || *rank < least {
			best, least = o, *rank
		}
	}
	return best
}
