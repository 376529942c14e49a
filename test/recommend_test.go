package test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fettleops/fettle/ops"
)

const advised = `
executors: [{name: rehearsal, tool: dryrun, takes: 2s}]
policies: {approval: [{match: "change.analysis.saving.amount > 10 || change.recommendation_id != ''", approvers: {role: approver, count: 1}, expires: 30m}]}
recommendations:
  rules:
    - {name: smaller, match: 'recommendation.service == "ec2" && recommendation.kind == "Downsize"', executor: rehearsal, action: resize, args: ["${resource}", "${recommended}"], verify_within: 2m}
`

// Advise posts one recommendation the way ICCO's webhook does.
func Advise(resource, from, to, kind string) Act {
	return func(h *House) error {
		body := fmt.Sprintf(`[{"entityId":"e","resourceId":%q,"accountIdRef":"123456789012","regionId":"us-east-1","serviceType":"EC2","name":"web","currentType":%q,"recommendedType":%q,"recommendationType":%q,"savingsEstimate":61.2}]`, resource, from, to, kind)
		return h.densify("/load-insights", body)
	}
}

// Hint calls one of ICCO's two callbacks.
func Hint(word, resource string) Act {
	return func(h *House) error {
		return h.densify("/"+word, fmt.Sprintf(`{"serviceType":"EC2","name":"web","resourceId":%q,"region":"us-east-1"}`, resource))
	}
}

func (h *House) densify(path, body string) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, h.base+"/in/densify"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+senderToken)
	req.Header.Set("Content-Type", "application/json")
	return exchange(h.wire, req, nil)
}

// WantRecommendation wants a recommendation in a state, for a reason.
func WantRecommendation(key string, state ops.RecommendationState, why string) Act {
	return func(h *House) error {
		r, err := h.as("admin").Recommendation(h.t.Context(), key)
		if err == nil && (r.State != state || !strings.Contains(r.Why, why)) {
			err = fmt.Errorf("%s is %s because %q, want %s because %q", key, r.State, r.Why, state, why)
		}
		return err
	}
}

// WantRecommendations wants so many of them.
func WantRecommendations(n int) Act {
	return func(h *House) error {
		all, err := h.as("admin").Recommendations(h.t.Context(), url.Values{})
		if err == nil && len(all.Items) != n {
			err = fmt.Errorf("there are %d recommendations, want %d", len(all.Items), n)
		}
		return err
	}
}

// A recommendation waits as a change for a person. What ICCO's callbacks say
// approves nothing; a person's approval does, and the change runs.
func TestRecommendationBecomesAChange(t *testing.T) {
	Play(t, Story{Config: advised + always, Events: []Event{
		At(0, Advise("i-1", "m5.xlarge", "m5.large", "Downsize")),
		Between(0, 10*sec, WantRecommendation("REC-1", ops.RecommendationPlaced, "rule smaller"), WantChange(ops.ChangeAuthorize, "")),
		At(20*sec, Hint("approve", "i-1"), Hint("close", "i-1"), Advise("i-1", "m5.xlarge", "m5.large", "Downsize"), Advise("i-2", "t3.small", "t3.large", "Upsize")),
		Between(20*sec, 40*sec, WantRecommendation("REC-2", ops.RecommendationUnplaced, "the only rule does not match")),
		Throughout(40*sec, 5*minute-sec, WantChange(ops.ChangeAuthorize, ""), WantRuns(0, 0), WantRecommendations(2)),
		At(4*minute, Approve("ann")), // a risk that nobody knows needs four eyes
		At(5*minute, Approve("bob")),
		Between(5*minute, 5*minute+30*sec, WantRuns(1, 0)),
		At(6*minute, Advise("i-1", "m5.xlarge", "m5.2xlarge", "Downsize")),
		Between(6*minute, 6*minute+20*sec, WantRecommendation("REC-3", ops.RecommendationNew, "it waits until CHG-1 has ended")),
		At(7*minute, WantRuns(1, 0), WantRecommendation("REC-1", ops.RecommendationPlaced, "")),
	}})
}
