package loop

import (
	"errors"
	"fmt"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/fettleops/fettle/execute/cloudformation/cloudformationtest"
	"github.com/fettleops/fettle/internal/failpoint/points"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/test/house"
)

const (
	typeKey = "/densify/iaas/asg/web-fleet/instanceType"
	minKey  = "/densify/iaas/asg/web-fleet/minSize"
	fleet   = `{
	"Parameters": {"Type": {"Type": "AWS::SSM::Parameter::Value<String>"}, "Min": {"Type": "AWS::SSM::Parameter::Value<String>"}},
	"Resources": {
		"Template": {"Type": "AWS::EC2::LaunchTemplate", "Properties": {"InstanceType": {"Ref": "Type"}}},
		"Group": {"Type": "AWS::AutoScaling::AutoScalingGroup", "Properties": {"MinSize": {"Ref": "Min"}}}
	}
}`
)

// steps are where the server dies: at every effect in the cloud and on the change
// request, and at every commit of the rooms a recommendation goes through.
var steps = regexp.MustCompile(`^(commit\.(before|after):(change/recommend\.\(\*Placer\)\.message|execute\.\(\*Room\)\.(ready|take|tell))` +
	`|execute\.(plan|apply)\.(before|after)|connector\.(attach|put_task|request_approval)\.(before|after)` +
	`|execute\.cloudformation\.(create|discard|execute|preview|publish)\.(before|after)` +
	`|execute\.parameter\.(put|label|unlabel|delete)\.(before|after))$`)

// lines is how many installations share the steps, all of them at once, however
// few the processors: most of the time they wait for the leases of the dead to
// end.
const lines = 6

// The server dies at every step of the way, each time at another one. Every
// recommendation ends as one closed change request and one update of the stack,
// and leaves nothing behind.
func TestTheLoopClosesThoughTheServerDiesAtEachStep(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	house.Binary(t)
	service := cloudformationtest.Start(t)
	var armed []string
	for _, p := range points.All() {
		if steps.MatchString(p) {
			armed = append(armed, p)
		}
	}
	if len(armed) < 30 {
		t.Fatalf("only %d of the points are there any more: %v", len(armed), armed)
	}
	var all sync.WaitGroup
	defer all.Wait()
	for line := range lines {
		var share []string
		for n := line; n < len(armed); n += lines {
			share = append(share, armed[n])
		}
		all.Go(func() {
			t.Run(fmt.Sprint(line+1), func(t *testing.T) {
				diesAt(t, service.Account(fmt.Sprint("shop", line+1)), share)
			})
		})
	}
}

// diesAt goes around the loop once for each point.
func diesAt(t *testing.T, account *cloudformationtest.Account, armed []string) {
	account.Parameters.Set(typeKey, "m5.t0", time.Now().Add(-time.Hour))
	account.Parameters.Set(minKey, "2", time.Now().Add(-time.Hour))
	s, err := account.Create("web", fleet, map[string]string{"Type": typeKey, "Min": minKey})
	if err != nil {
		t.Fatal(err)
	}
	s.Takes = 300 * time.Millisecond
	i := install(t, house.Options{}, `{name: stacks, tool: cloudformation, region: eu-central-1, endpoint: "`+account.URL+`", stacks: [web], replacement: conditional, poll: 100ms, estimate: 5s}`, `
parameters: {accounts: [{account: "123456789012", endpoint: "`+account.URL+`"}]}
recommendations:
  rules: [{name: fleet, match: 'true', executor: stacks, action: update-stack, args: [web, "${icco_key}=${recommended}"], parameter: "${icco_key}", verify_within: 2s, risk: 0.3}]
`)
	i.Start("")
	i.Ready(patience)
	for n, point := range armed {
		n++
		at, dead := time.Now(), i.died
		i.Kill()
		i.Start(point)
		from, to := fmt.Sprint("m5.t", n-1), fmt.Sprint("m5.t", n)
		i.advise("ASG", "web-fleet", from, to)
		i.until(point+": approved", func() error {
			said := i.decide("approved") // as soon as she is asked
			c, err := i.change(n)
			if err == nil && (c.State == ops.ChangeNew || c.State == ops.ChangeAssess || c.State == ops.ChangeAuthorize) {
				err = errors.Join(fmt.Errorf("CHG-%d is in %s: %s", n, c.State, c.Waiting), said)
			}
			return err
		})
		i.until(point+": closed", i.wants(n, ops.ChangeClosed, ops.Successful))
		i.until(point+": the request is closed", i.wantsRequests(n, "3"))
		i.until(point+": its tasks are closed", i.wantsTasks)
		if i.died != dead+1 {
			t.Errorf("%s: the server died %d times, want once", point, i.died-dead)
		}
		i.until(point+": the preview is gone", func() error {
			if left := account.Parameters.Names("/fettle/preview"); len(left) > 0 {
				return fmt.Errorf("%v is left over", left)
			}
			return nil
		})
		if v, _ := account.Parameters.Value(typeKey); v != to || account.Begun() != n {
			t.Errorf("%s: the key is %s after %d updates, want %s after %d", point, v, account.Begun(), to, n)
		}
		t.Logf("%-60s %.1f s", point, time.Since(at).Seconds())
	}
	i.Stop()
}
