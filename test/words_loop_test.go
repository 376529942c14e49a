package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/execute/cloudformation/cloudformationtest"
	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/ops"
)

// The group that is right-sized in the stories, and its keys.
const (
	awsHost  = "aws.test"
	shopHost = "shop.test"
	stack    = "web"
	typeKey  = "/densify/iaas/asg/web-fleet/instanceType"
	minKey   = "/densify/iaas/asg/web-fleet/minSize"
	maxKey   = "/densify/iaas/asg/web-fleet/maxSize"
)

// gatedBase is the shared configuration with change requests in ServiceNow and
// a second person there.
var gatedBase = strings.NewReplacer(
	`{name: mia, roles: [change-manager]}`, `{name: mia, roles: [change-manager, approver], platforms: {snow: abel.tuter}}`,
	`password: "file:%[1]s/snow"}}}`, `password: "file:%[1]s/snow"}}, options: {changes: {}}}`,
	"routes:\n", "routes:\n  - {match: \"true\", platform: snow, kind: change_request, team: Shop}\n",
).Replace(shared)

// rightSizing turns recommendations about the group into updates of its stack.
// Its health is asked for while the change is verified.
const rightSizing = `
parameters: {accounts: [{account: "123456789012", endpoint: "http://aws.test/shop"}]}
executors: [{name: stacks, tool: cloudformation, region: us-east-1, endpoint: "http://aws.test/shop", stacks: [web], replacement: conditional, poll: 1s, estimate: 2m, timeout: 10m, grace: 5m}]
policies: {approval: [{match: "true", approvers: {role: approver, count: 1}, expires: 30m}]}
verify: {checks: [{name: shop answers, http: {url: "http://shop.test/healthz"}, times: 2}]}
recommendations:
  rules:
    - name: fleet
      match: 'recommendation.service == "asg"'
      executor: stacks
      action: update-stack
      args: [web, "${icco_key}=${recommended}", "/densify/iaas/asg/${resource}/minSize=${recommended_min}", "/densify/iaas/asg/${resource}/maxSize=${recommended_max}"]
      parameter: ${icco_key}
      verify_within: 5m
      risk: 0.3
`

const nightly = "windows: [{name: night, schedule: \"cron(30 8 * * ? *)\", duration: 2h, time_zone: Europe/Berlin}]\n"

const fleet = `{
	"Parameters": {
		"Type": {"Type": "AWS::SSM::Parameter::Value<String>"},
		"Min": {"Type": "AWS::SSM::Parameter::Value<String>"},
		"Max": {"Type": "AWS::SSM::Parameter::Value<String>"},
		"Image": {"Type": "String", "Default": "ami-1"}
	},
	"Resources": {
		"Template": {"Type": "AWS::EC2::LaunchTemplate", "Properties": {"InstanceType": {"Ref": "Type"}, "ImageId": {"Ref": "Image"}}},
		"Group": {"Type": "AWS::AutoScaling::AutoScalingGroup", "Properties": {"MinSize": {"Ref": "Min"}, "MaxSize": {"Ref": "Max"}}}
	}
}`

// shop is the account with the stack, and the shop that runs on it.
func shop(h *House) {
	service := cloudformationtest.New("http://" + awsHost)
	h.serve(awsHost, service)
	h.serve(shopHost, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if h.sick.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	h.aws = service.Account("shop")
	past := time.Now().Add(-24 * time.Hour)
	for key, value := range map[string]string{typeKey: "m5.large", minKey: "2", maxKey: "6"} {
		h.aws.Parameters.Set(key, value, past)
	}
	s, err := h.aws.Create(stack, fleet, map[string]string{"Type": typeKey, "Min": minKey, "Max": maxKey, "Image": "ami-1"})
	h.must(err)
	s.Takes = 30 * sec
}

// AdviseFleet posts the recommendation about the group the way ICCO does.
func AdviseFleet(to string) Act {
	return func(h *House) error {
		return h.densify("/load-insights", fmt.Sprintf(`[{"entityId":"e","resourceId":"web-fleet","accountIdRef":"123456789012","regionId":"us-east-1","serviceType":"ASG","name":"web-fleet","currentType":"m5.large","recommendedType":%q,"recommendationType":"Downsize","minGroupCurrent":2,"maxGroupCurrent":6,"minGroupRecommended":1,"maxGroupRecommended":4,"savingsEstimate":61.2,"predictedUptime":99.5}]`, to))
	}
}

// snowChange returns the only change request in ServiceNow.
func (h *House) snowChange() (simulator.Record, error) {
	all := h.snow.Records("change_request")
	if len(all) != 1 {
		return nil, fmt.Errorf("there are %d change requests in ServiceNow, want one", len(all))
	}
	return all[0], nil
}

// WantRequest wants the change request in ServiceNow to have these values, or
// to have them in it where they begin with an asterisk.
func WantRequest(fields Fields) Act {
	return func(h *House) error {
		r, err := h.snowChange()
		if err != nil {
			return err
		}
		for name, want := range fields {
			part, contains := strings.CutPrefix(want, "*")
			if contains && strings.Contains(r[name], part) || !contains && r[name] == want {
				continue
			}
			return fmt.Errorf("%s of %s in ServiceNow is %q, want %q", name, r["number"], r[name], want)
		}
		return nil
	}
}

// The states of a task in ServiceNow.
const (
	taskOpen     = "1"
	taskWorking  = "2"
	taskClosed   = "3"
	taskCanceled = "4"
)

// WantTasks wants the steps of the plan, at least one, to be tasks of the change
// request in ServiceNow in one state, and one task that verifies in another. Each
// is there once.
func WantTasks(steps, verify string) Act {
	return func(h *House) error {
		r, err := h.snowChange()
		if err != nil {
			return err
		}
		kinds, keys := map[string]int{}, map[string]bool{}
		for _, t := range h.snow.Records("change_task") {
			kind := t["change_task_type"]
			want := map[string]string{"implementation": steps, "testing": verify}[kind]
			switch {
			case t["change_request"] != r["sys_id"]:
				return fmt.Errorf("%s belongs to %s", t["number"], t["change_request"])
			case keys[t["correlation_id"]]:
				return fmt.Errorf("%s is there twice", t["short_description"])
			case t["state"] != want:
				return fmt.Errorf("%s %q is %s, want %s", t["number"], t["short_description"], t["state"], want)
			case want == taskOpen && (t["planned_start_date"] != r["start_date"] || t["planned_end_date"] != r["end_date"]):
				return fmt.Errorf("%s is planned from %q, its change request from %q", t["number"], t["planned_start_date"], r["start_date"])
			}
			keys[t["correlation_id"]] = true
			kinds[kind]++
		}
		if kinds["implementation"] == 0 || kinds["testing"] != 1 {
			return fmt.Errorf("%s has tasks %v", r["number"], kinds)
		}
		return nil
	}
}

// errUnasked is what a person finds who is not asked.
var errUnasked = errors.New("no approval is requested")

// SnowDecides has a person decide about the change request in ServiceNow.
func SnowDecides(user, state string) Act {
	return func(h *House) error {
		r, err := h.snowChange()
		if err != nil {
			return err
		}
		who := ""
		for _, u := range h.snow.Records("sys_user") {
			if u["user_name"] == user {
				who = u["sys_id"]
			}
		}
		for _, a := range h.snow.Records("sysapproval_approver") {
			if a["sysapproval"] == r["sys_id"] && a["approver"] == who && a["state"] == "requested" {
				return h.inSnow(user, "/api/now/table/sysapproval_approver/"+a["sys_id"], Fields{"state": state, "comments": "looked at it"})
			}
		}
		return fmt.Errorf("%s about %s: %w", user, r["number"], errUnasked)
	}
}

// inSnow writes a record of ServiceNow as a person.
func (h *House) inSnow(user, path string, fields Fields) error {
	body, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPatch, "http://"+snowHost+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth(user, user)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	return exchange(h.wire, req, nil)
}

// WantValue wants the instance type under its key, with ICCO's label.
func WantValue(value string, l parameter.Label) Act {
	return func(h *House) error {
		repo, err := h.app.Parameters.At(h.t.Context(), "123456789012", "us-east-1")
		if err != nil {
			return err
		}
		p, err := repo.Get(h.t.Context(), typeKey)
		if err == nil && (p.Value != value || p.Label != l) {
			err = fmt.Errorf("%s is %q and %q, want %q and %q", typeKey, p.Value, p.Label, value, l)
		}
		return err
	}
}

// WantSizes wants the group's limits under their keys.
func WantSizes(least, most string) Act {
	return func(h *House) error {
		for key, want := range map[string]string{minKey: least, maxKey: most} {
			if is, _ := h.aws.Parameters.Value(key); is != want {
				return fmt.Errorf("%s is %q, want %q", key, is, want)
			}
		}
		return nil
	}
}

// WantNoPreview wants nothing left over of a plan.
func WantNoPreview(h *House) error {
	repo, err := h.app.Parameters.At(h.t.Context(), "123456789012", "us-east-1")
	if err != nil {
		return err
	}
	left, err := repo.List(h.t.Context(), "/fettle/preview")
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%s is left over", left[0].Key)
	}
	return err
}

// WantFleet wants what the stack made to be of a type and size, after that many
// updates.
func WantFleet(kind, least, most string, updates int) Act {
	return func(h *House) error {
		s, begun := h.aws.Stack(stack), h.aws.Begun()
		var is string
		h.aws.With(func() {
			is = fmt.Sprint(s.Live["Template"]["InstanceType"], " ", s.Live["Group"]["MinSize"], " ", s.Live["Group"]["MaxSize"])
		})
		if want := fmt.Sprint(kind, " ", least, " ", most); is != want || begun != updates {
			return fmt.Errorf("the fleet is %s after %d updates, want %s after %d", is, begun, want, updates)
		}
		return nil
	}
}

// Stacked changes the stack behind everybody's back.
func Stacked(edit func(s *cloudformationtest.Stack)) Act {
	return func(h *House) error {
		s := h.aws.Stack(stack)
		h.aws.With(func() { edit(s) })
		return nil
	}
}

// SetKey writes a parameter behind everybody's back.
func SetKey(key, value string) Act {
	return func(h *House) error { h.aws.Parameters.Set(key, value, time.Now()); return nil }
}

// Sicken makes the shop answer its health check with an error, Cure stops that.
func Sicken(h *House) error { h.sick.Store(true); return nil }

// WantDone wants the recommendation to have ended, in an outcome.
func WantDone(state ops.RecommendationState, outcome ops.Outcome) Act {
	return func(h *House) error {
		r, err := h.as("admin").Recommendation(h.t.Context(), "REC-1")
		if err == nil && (r.State != state || r.Outcome != outcome) {
			err = fmt.Errorf("REC-1 is %s %s because %q, want %s %s", r.State, r.Outcome, r.Why, state, outcome)
		}
		return err
	}
}

// WantTold wants the change request in ServiceNow to have a work note.
func WantTold(text string) Act {
	return func(h *House) error {
		r, err := h.snowChange()
		if err != nil {
			return err
		}
		var notes []string
		for _, e := range h.snow.Journal(r["sys_id"]) {
			if strings.Contains(e.Value, text) {
				return nil
			}
			notes = append(notes, e.Value)
		}
		return fmt.Errorf("no work note on %s says %q; there are:\n%s", r["number"], text, strings.Join(notes, "\n---\n"))
	}
}
