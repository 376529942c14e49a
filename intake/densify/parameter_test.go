package densify_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/densify"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/ops"
)

// An event names a parameter and no more; its value and ICCO's tags complete it.
func TestAskingForAParameter(t *testing.T) {
	event := ops.Recommendation{
		Producer: ops.ProducerParameterStore, EntityID: "/densify/iaas/ec2/i-1/instanceType", Account: "123456789012", Region: "us-east-1",
		Service: ops.ServiceEC2, ResourceKey: "i-1", Wants: "value and tags of the parameter /densify/iaas/ec2/i-1/instanceType",
	}
	f := func(what string, tags map[string]string, fail, class error, text string, check func(r ops.Recommendation)) {
		t.Helper()
		s, err := densify.Open(intaketest.YAML(""), intake.Env{Parameter: func(_ context.Context, account, region, key string) (string, map[string]string, error) {
			if account != event.Account || region != event.Region || key != event.EntityID {
				t.Errorf("%s: asked for %s of %s in %s", what, key, account, region)
			}
			return "m5.xlarge", tags, fail
		}})
		if err != nil {
			t.Fatal(err)
		}
		told, err := s.(intake.Asker).Ask(t.Context(), event)
		if !errors.Is(err, class) || class != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %v with %q", what, err, class, text)
		}
		if check != nil && err == nil {
			check(told.Recommendation)
		}
	}
	icco := map[string]string{
		"recommendedType": "m5.large", "recommendationType": "Downsize", "savingsEstimate": "61.2", "name": "web",
		"cloudformation:stack-name": "web", "cloudformation:logical-id": "Server",
	}
	f("as ICCO writes it", icco, nil, nil, "", func(r ops.Recommendation) {
		if r.Wants != "" || r.Current.Type != "m5.xlarge" || r.Recommended.Type != "m5.large" || r.Kind != "Downsize" || r.Saving == nil || r.Saving.Amount != 61.2 || r.Stack != "web" || r.LogicalID != "Server" {
			t.Errorf("completed as %+v", r)
		}
	})
	f("without ICCO's tags", map[string]string{"team": "shop"}, nil, ops.ErrStalled, "recommendedType", nil)
	f("the store does not answer", icco, fmt.Errorf("down: %w", ops.ErrUnavailable), ops.ErrUnavailable, "down", nil)
	f("it is gone", icco, fmt.Errorf("no: %w", ops.ErrNotFound), ops.ErrNotFound, "no", nil)
}
