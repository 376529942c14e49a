package recommend

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func types(from, to string) ops.Recommendation {
	return ops.Recommendation{
		Integration: "d", Producer: ops.ProducerDensify, EntityID: "e", Account: "1", Region: "us-east-1", Service: ops.ServiceEC2, ResourceKey: "i-1", Name: "web",
		Current: ops.Values{Type: from}, Recommended: ops.Values{Type: to},
	}
}

func with(r ops.Recommendation, change func(r *ops.Recommendation)) *ops.Recommendation {
	change(&r)
	return &r
}

func in(state ops.RecommendationState, r ops.Recommendation) *ops.Recommendation {
	r.ID, r.Number, r.State, r.EndedAt = "r-"+string(state), 7, state, noon.Add(-time.Hour)
	return &r
}

// TestDecide is section 4 of the facts about ICCO, and what it left open.
func TestDecide(t *testing.T) {
	rules, err := Compile(Config{})
	if err != nil {
		t.Fatal(err)
	}
	f := func(what string, s Standing, x ops.Recommendation, want Verb, retired, regressed bool, why string) {
		t.Helper()
		d := rules.Decide(s, x, noon)
		if d.Verb != want || (d.Retire != nil) != retired || (d.Regressed != nil) != regressed || !strings.Contains(d.Why, why) {
			t.Errorf("%s: %s (retire %v, regressed %v) because %q; want %s because %q", what, d.Verb, d.Retire != nil, d.Regressed != nil, d.Why, want, why)
		}
	}
	same, other := types("a", "b"), types("a", "c")
	gone := *with(same, func(r *ops.Recommendation) { r.Gone, r.Recommended = "Just Right", r.Current })
	retagged := *with(same, func(r *ops.Recommendation) { r.Effort = "Low" })
	waiting := func(r ops.Recommendation) Standing { return Standing{Waiting: in(ops.RecommendationUnplaced, r)} }
	placed := func(r ops.Recommendation, c ops.Change) Standing {
		c.Number = 42
		return Standing{Placed: in(ops.RecommendationPlaced, r), Change: c}
	}
	window := func(start time.Duration) ops.Change {
		return ops.Change{State: ops.ChangeScheduled, Window: &ops.Occurrence{Window: "night", Start: noon.Add(start), End: noon.Add(start + time.Hour)}}
	}
	asked := ops.Change{State: ops.ChangeAuthorize}

	f("nothing known", Standing{}, same, Create, false, false, "first")
	f("taken back before it was heard of", Standing{}, gone, Ignore, false, false, "Just Right")
	f("again while it waits", waiting(same), same, Ignore, false, false, "the same")
	f("with other tags while it waits", waiting(same), retagged, Retag, false, false, "")
	f("other types while it waits", waiting(same), other, Create, true, false, "")
	f("taken back while it waits", waiting(same), gone, Withdraw, false, false, "Just Right")

	f("again beside its change", placed(same, asked), same, Ignore, false, false, "")
	f("retagged beside its change", placed(same, asked), retagged, Retag, false, false, "")
	f("other types before approval", placed(same, asked), other, Restart, false, false, "")
	f("other types long before the window", placed(same, window(301*time.Second)), other, Restart, false, false, "")
	f("other types at the threshold", placed(same, window(300*time.Second)), other, Hold, false, false, "CHG-42 is within 5m0s of its window")
	f("other types inside the window", placed(same, window(-time.Minute)), other, Hold, false, false, "")
	f("other types while it runs", placed(same, ops.Change{State: ops.ChangeImplement}), other, Hold, false, false, "until CHG-42 has ended")
	f("taken back before it began", placed(same, window(time.Minute)), gone, Withdraw, false, false, "")
	f("taken back while it runs", placed(same, ops.Change{State: ops.ChangeImplement}), gone, Ignore, false, false, "")

	both := placed(same, window(time.Minute))
	both.Waiting = in(ops.RecommendationNew, other)
	f("the waiting one again", both, other, Ignore, false, false, "")
	f("a third", both, types("a", "d"), Hold, true, false, "")
	f("the running one again", both, same, Ignore, true, false, "")
	both.Change = asked
	f("a third before approval", both, types("a", "d"), Restart, true, false, "")

	ended := func(state ops.RecommendationState, o ops.Outcome, age time.Duration) Standing {
		l := in(state, same)
		l.Outcome, l.EndedAt = o, noon.Add(-age)
		return Standing{Last: l}
	}
	const day = 24 * time.Hour
	f("old news after success", ended(ops.RecommendationDone, ops.Successful, day), same, Ignore, false, false, "its change ended at")
	f("again long after success", ended(ops.RecommendationDone, ops.Successful, 8*day), same, Create, false, true, "")
	f("again long after failure", ended(ops.RecommendationDone, ops.Unsuccessful, 8*day), same, Create, false, false, "")
	f("another after success", ended(ops.RecommendationDone, ops.Successful, day), types("b", "c"), Create, false, false, "")
	f("dismissed", ended(ops.RecommendationWithdrawn, ops.Withdrawn, 300*day), same, Ignore, false, false, "was withdrawn")
	f("dismissed, now another", ended(ops.RecommendationWithdrawn, ops.Withdrawn, day), other, Create, false, false, "")
	back := ended(ops.RecommendationWithdrawn, "", day)
	back.Last.Gone = "Just Right"
	f("taken back by its producer, and come again", back, same, Create, false, false, "")

	late := *with(other, func(r *ops.Recommendation) { r.ObservedAt = noon.Add(-2 * day) })
	f("out of order", waiting(*with(same, func(r *ops.Recommendation) { r.ObservedAt = noon.Add(-day) })), late, Ignore, false, false, "before REC-7")
	parameter := *with(other, func(r *ops.Recommendation) { r.Producer = ops.ProducerParameterStore })
	f("its parameter", placed(same, asked), parameter, Ignore, false, false, "says more than its parameter")

	wants := *with(same, func(r *ops.Recommendation) { r.Wants = "tags" })
	told := *with(same, func(r *ops.Recommendation) { r.Tags = map[string]string{"env": "prod"}; r.Stack = "s" })
	f("what was asked for is not forgotten", waiting(told), wants, Ignore, false, false, "")
	if d := rules.Decide(placed(told, asked), *with(wants, func(r *ops.Recommendation) { r.Recommended.Type = "c" }), noon); d.In.Stack != "s" || d.In.Wants != "" {
		t.Errorf("what was asked for does not go over to the one that follows: %+v", d.In)
	}
}

func TestPlace(t *testing.T) {
	risk := 0.2
	rules, err := Compile(Config{Rules: []Rule{
		{Name: "broken", Match: `recommendation.saving.amount / 0.0 > 1.0 && [1][int(recommendation.saving.amount)] == 1`, Executor: "x", Action: "x"},
		{
			Name: "stack", Match: `recommendation.service == "ec2" && recommendation.tags.env == "prod" && recommendation.saving.amount > 10`,
			Executor: "cfn", Action: "update", Args: []string{"${stack}", "${logical_id}=${recommended}", "owner=${tag:owner}"}, Parameter: "${icco_key}",
			Type: ops.ChangeStandard, Team: "web", Risk: &risk, VerifyWithin: time.Hour,
		},
		{Name: "group", Match: `recommendation.service == "asg" && has(recommendation.recommended.group) && recommendation.recommended.group.max < 10`, Executor: "asg", Action: "update-group", Args: []string{"${resource}", "type=${recommended}", "min=${recommended_min}", "max=${recommended_max}"}},
		{Name: "rest", Match: `resource.labels.managed == "yes"`, Executor: "ec2", Action: "modify", Args: []string{"${name}"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	f := func(what string, x ops.Recommendation, res ops.Resource, rule, args, why string) {
		t.Helper()
		got, c, said, ok := rules.Place(x, res)
		if ok != (args != "") || got.Name != rule || strings.Join(c.Args, " ") != args || !strings.Contains(said, why) {
			t.Errorf("%s: rule %q, args %q, why %q; want %q, %q, %q", what, got.Name, c.Args, said, rule, args, why)
		}
	}
	x := types("m5.xlarge", "m5.large")
	x.ID, x.Number, x.Kind, x.Tags, x.Stack, x.LogicalID = "r1", 7, "Downsize", map[string]string{"env": "prod", "owner": "ann"}, "arn:stack", "Web"
	x.Saving = &ops.Saving{Amount: 61.2, Currency: "USD", Per: "month"}
	f("all it takes", x, ops.Resource{ID: "res"}, "stack", "arn:stack Web=m5.large owner=ann", "rule stack places REC-7")
	_, c, _, _ := rules.Place(x, ops.Resource{ID: "res", Name: "web-1"})
	if a := c.Analysis; c.Type != ops.ChangeStandard || c.Risk != 0.2 || c.Team != "web" || c.VerifyWithin != time.Hour || c.ResourceID != "res" || c.RecommendationID != "r1" ||
		c.Title != "web becomes m5.large" || !strings.Contains(c.Reason, "saves 61.20 USD per month") || a.Parameter != "/densify/iaas/ec2/i-1/instanceType" || a.Recommendation != "REC-7" || a.Saving.Amount != 61.2 {
		t.Errorf("change %+v, analysis %+v", c, a)
	}
	f("a tag is missing", *with(x, func(r *ops.Recommendation) { r.Tags = map[string]string{"env": "prod"} }), ops.Resource{}, "stack", "", "rule stack matches, but argument 3 needs ${tag:owner}")
	f("nothing matches", *with(x, func(r *ops.Recommendation) { r.Tags = nil }), ops.Resource{}, "", "", "none of 4 rules matches")
	f("an error does not match", *with(x, func(r *ops.Recommendation) { r.Tags = nil }), ops.Resource{}, "", "", "rule broken cannot be evaluated")
	f("a label of the resource", *with(x, func(r *ops.Recommendation) { r.Tags = nil }), ops.Resource{Labels: map[string]string{"managed": "yes"}}, "rest", "web", "")
	f("an option from outside", *with(x, func(r *ops.Recommendation) { r.Tags, r.Name = nil, "--force" }), ops.Resource{Labels: map[string]string{"managed": "yes"}}, "rest", "", "would begin with a dash")
	f("a control character", *with(x, func(r *ops.Recommendation) { r.Tags, r.Name = nil, "a\nb" }), ops.Resource{Labels: map[string]string{"managed": "yes"}}, "rest", "", "control character")
	f("cannot be read", *with(x, func(r *ops.Recommendation) { r.Fault = "missing: name" }), ops.Resource{}, "", "", "missing: name")
	g := types("c5.large", "c5.large")
	g.Service, g.ResourceKey = ops.ServiceASG, "workers"
	g.Current.Group, g.Recommended.Group = &ops.GroupSize{Min: 4, Max: 10}, &ops.GroupSize{Min: 2, Max: 6}
	f("a group", g, ops.Resource{}, "group", "workers type=c5.large min=2 max=6", "")
	none, err := Compile(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, why, ok := none.Place(x, ops.Resource{}); ok || !strings.Contains(why, "no rules") {
		t.Errorf("without rules: %v %q", ok, why)
	}
}

func TestCompileNamesTheRule(t *testing.T) {
	good := Rule{Name: "r", Match: "true", Executor: "x", Action: "do"}
	f := func(want string, change func(r *Rule)) {
		t.Helper()
		r := good
		change(&r)
		if _, err := Compile(Config{Rules: []Rule{r}}); !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
	f(`rule "": name is empty`, func(r *Rule) { r.Name = "" })
	f(`rule "r": match: policy: "recommendation.savin.amount > 1" at 1:15: there is no field "savin", did you mean "saving"`, func(r *Rule) { r.Match = "recommendation.savin.amount > 1" })
	f(`rule "r": needs an executor`, func(r *Rule) { r.Executor = "" })
	f(`rule "r": argument 2: there is no ${stak}; write one of account, arn,`, func(r *Rule) { r.Args = []string{"a", "${stak}"} })
	f(`rule "r": argument 1: "x${stack" lacks a }`, func(r *Rule) { r.Args = []string{"x${stack"} })
	f(`rule "r": parameter: there is no ${tag:}`, func(r *Rule) { r.Parameter = "${tag:}" })
	f(`rule "r": type "emergency"`, func(r *Rule) { r.Type = ops.ChangeEmergency })
	f(`rule "r": risk 2`, func(r *Rule) { v := 2.0; r.Risk = &v })
	f(`rule "r": verify_within`, func(r *Rule) { r.VerifyWithin = -1 })
	if _, err := Compile(Config{Rules: []Rule{good, good}}); err == nil || !strings.Contains(err.Error(), "same name") {
		t.Errorf("two of one name: %v", err)
	}
	if _, err := Compile(Config{Prices: []Price{{Service: "ec2", Type: "a", Currency: "USD"}, {Service: "ec2", Type: "a", Currency: "USD"}}}); err == nil || !strings.Contains(err.Error(), "prices[1]") {
		t.Errorf("two prices of one type: %v", err)
	}
	if _, err := Compile(Config{Prices: []Price{{Service: "ec2", Type: "a"}}}); err == nil || !strings.Contains(err.Error(), "prices[0]") {
		t.Errorf("a price without a currency: %v", err)
	}
}

func TestCount(t *testing.T) {
	rules, err := Compile(Config{Prices: []Price{
		{Service: "ec2", Type: "a", PerHour: 0.2, Currency: "USD"},
		{Service: "ec2", Type: "b", PerHour: 0.1, Currency: "USD"},
		{Service: "ec2", Type: "b", Region: "eu-west-1", PerHour: 0.15, Currency: "USD"},
		{Service: "ec2", Type: "c", PerHour: 0.1, Currency: "EUR"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	one := func(change func(r *ops.Recommendation)) ops.Realised {
		r := with(types("a", "b"), func(r *ops.Recommendation) {
			r.Saving = &ops.Saving{Amount: 73, Currency: "USD", Per: "month"}
			r.Realised = &ops.Realised{Since: noon, Until: noon}
		})
		change(r)
		rules.count(r, noon.Add(10*time.Hour), 0.5, true)
		rules.count(r, noon.Add(20*time.Hour), 0, false)
		return *r.Realised
	}
	near := func(v *float64, want float64) bool { return v != nil && *v > want-1e-9 && *v < want+1e-9 }
	x := one(func(*ops.Recommendation) {})
	if x.Hours != 15 || !near(x.Predicted, 1.5) || !near(x.Amount, 1.5) || x.Currency != "USD" || x.Final {
		t.Errorf("counted %+v: want 15 hours, 1.5 predicted and realised", x)
	}
	if x = one(func(r *ops.Recommendation) { r.Region = "eu-west-1" }); !near(x.Amount, 0.75) || !near(x.After, 0.15) {
		t.Errorf("with the price of the region: %+v", x)
	}
	unknown := func(what, why string, change func(r *ops.Recommendation)) {
		t.Helper()
		if x := one(change); x.Amount != nil || !strings.Contains(x.Why, why) {
			t.Errorf("%s: %+v, want no amount because %q", what, x, why)
		}
	}
	unknown("no price", "none of ec2 z", func(r *ops.Recommendation) { r.Recommended.Type = "z" })
	unknown("another currency", "different currencies", func(r *ops.Recommendation) { r.Recommended.Type = "c" })
	unknown("a group", "how many instances", func(r *ops.Recommendation) { r.Service = ops.ServiceASG })
	if x = one(func(r *ops.Recommendation) { r.Saving.Per = "" }); x.Predicted != nil || !near(x.Amount, 1.5) {
		t.Errorf("without a span nothing is predicted: %+v", x)
	}
	done := one(func(r *ops.Recommendation) { regress(r, "it is a again", noon) })
	if !done.Final || done.Hours != 0 || done.Regressed == "" {
		t.Errorf("what went back is counted: %+v", done)
	}
}
