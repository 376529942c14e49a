package loop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/test/house"
)

// The queue of change requests of a real Request Tracker, where anna decides by
// moving a ticket on.
const (
	rtData = `
@Users = ({ Name => 'anna', Password => 'secret-anna', Privileged => 1, EmailAddress => 'anna@fettle.test' });
push @Queues, { Name => 'Change requests', Lifecycle => 'fettle_change' };
push @CustomFields, (map { { Name => $_, Type => 'FreeformSingle', LookupType => 'RT::Queue-RT::Ticket', ApplyTo => ['Change requests'] } } qw(FettlePlan ChangeType));
$_->{ApplyTo} = [@{ref $_->{ApplyTo} ? $_->{ApplyTo} : [$_->{ApplyTo}]}, 'Change requests'] for grep { $_->{Name} eq 'FettleKey' } @CustomFields;
@ACL = (map { { UserId => 'anna', Right => $_ } } qw(SeeQueue ShowTicket ShowTicketComments CommentOnTicket ReplyToTicket ModifyTicket SeeCustomField));
`
	rtLifecycle = `
Set(%Lifecycles, fettle_change => {
  initial => ['planning'], active => [qw(approval approved implement review denied)], inactive => [qw(done stopped deleted)],
  defaults => { on_create => 'planning' },
  transitions => {
    '' => [qw(planning)], planning => [qw(approval stopped)], approval => [qw(approved denied planning stopped)], denied => [qw(planning stopped)],
    approved => [qw(implement planning stopped)], implement => [qw(review planning)], review => [qw(done)], done => [], stopped => [], deleted => [],
  },
});
`
	rtOptions = `changes: {queue: Change requests, type_field: ChangeType, approved: approved, denied: denied, statuses: {assess: planning, authorize: approval, implement: implement, review: review, closed: done, cancelled: stopped}}, `
)

// group is a stack that moto really updates: what an Auto Scaling group is made
// of, by plain parameters of the template, and an alarm topic.
const group = `{
	"AWSTemplateFormatVersion": "2010-09-09",
	"Parameters": {"Type": {"Type": "String"}, "Min": {"Type": "String"}, "Max": {"Type": "String"}},
	"Resources": {
		"Template": {"Type": "AWS::EC2::LaunchTemplate", "Properties": {"LaunchTemplateName": "web", "LaunchTemplateData": {"InstanceType": {"Ref": "Type"}, "ImageId": "ami-12c6146b"}}},
		"Group": {"Type": "AWS::AutoScaling::AutoScalingGroup", "Properties": {"AutoScalingGroupName": "web-fleet", "AvailabilityZones": ["eu-central-1a"], "MinSize": {"Ref": "Min"}, "MaxSize": {"Ref": "Max"},
			"LaunchTemplate": {"LaunchTemplateId": {"Ref": "Template"}, "Version": {"Fn::GetAtt": ["Template", "LatestVersionNumber"]}}}},
		"MadeMin": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/made/min", "Type": "String", "Value": {"Ref": "Min"}}},
		"MadeType": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/made/type", "Type": "String", "Value": {"Ref": "Type"}}},
		"Alarms": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "alarms"}}
	}
}`

// rt asks the Request Tracker as a user.
func (i *installation) rt(user, password, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(i.t.Context(), method, i.RT.URL+"/REST/2.0"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth(user, password)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// rtRequests returns the change requests in Request Tracker, oldest first.
func (i *installation) rtRequests() (ids, statuses []string, err error) {
	q := url.Values{"query": {"Queue = 'Change requests'"}, "fields": {"Status"}, "orderby": {"id"}}
	var found struct {
		Items []struct {
			ID     any `json:"id"`
			Status string
		} `json:"items"`
	}
	if err := i.rt(i.RT.User, i.RT.Password, http.MethodGet, "/tickets?"+q.Encode(), nil, &found); err != nil {
		return nil, nil, err
	}
	for _, t := range found.Items {
		ids, statuses = append(ids, fmt.Sprint(t.ID)), append(statuses, t.Status)
	}
	return ids, statuses, nil
}

func (i *installation) wantsRT(want ...string) func() error {
	return func() error {
		_, is, err := i.rtRequests()
		if err == nil && strings.Join(is, " ") != strings.Join(want, " ") {
			err = fmt.Errorf("the change requests in Request Tracker are %v, want %v", is, want)
		}
		return err
	}
}

// anna moves the newest change request on, once it waits for her.
func (i *installation) anna(status string) func() error {
	return func() error {
		ids, is, err := i.rtRequests()
		if err != nil {
			return err
		}
		if len(is) == 0 || is[len(is)-1] != "approval" {
			return fmt.Errorf("anna is not asked: %v", is)
		}
		time.Sleep(2500 * time.Millisecond) // its clock has whole seconds
		return i.rt("anna", "secret-anna", http.MethodPut, "/ticket/"+ids[len(ids)-1], map[string]string{"Status": status}, nil)
	}
}

// board is where a person decides, and what a request must look like there.
type board struct {
	approve, deny func() error
	wants         func(ended ...string) error // done or stopped, oldest first
}

func (i *installation) inRT() board {
	return board{i.anna("approved"), i.anna("denied"), func(ended ...string) error { return i.wantsRT(ended...)() }}
}

func (i *installation) inSnow() board {
	return board{
		func() error { return i.decide("approved") }, func() error { return i.decide("rejected") },
		func(ended ...string) error {
			return i.wantsRequests(len(ended), map[string]string{"done": "3", "stopped": "4"}[ended[len(ended)-1]])()
		},
	}
}

// The loop against servers that are not ours: parameters, stack and group in
// moto, and a person who decides in a real Request Tracker or in ServiceNow.
func TestTheLoopClosesInMoto(t *testing.T) {
	peer.Long(t)
	house.Binary(t)
	t.Run("Request Tracker", func(t *testing.T) {
		rt := peer.RequestTrackerWith(t, peer.RTConfig{InitialData: rtData, SiteConfig: rtLifecycle})
		inMoto(t, rt, (*installation).inRT)
	})
	t.Run("ServiceNow", func(t *testing.T) { inMoto(t, nil, (*installation).inSnow) })
}

func inMoto(t *testing.T, rt *peer.RT, where func(*installation) board) {
	moto := peer.Moto(t)
	awsxtest.Credentials(t)
	cfg, err := awsx.Open(t.Context(), awsx.Config{Region: "eu-central-1", Endpoint: moto}, awsx.Env{})
	if err != nil {
		t.Fatal(err)
	}
	given := []types.Parameter{}
	for k, v := range map[string]string{"Type": "m5.large", "Min": "2", "Max": "6"} {
		given = append(given, types.Parameter{ParameterKey: aws.String(k), ParameterValue: aws.String(v)})
	}
	if _, err := cloudformation.NewFromConfig(cfg).CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: aws.String("web"), TemplateBody: aws.String(group), Parameters: given}); err != nil {
		t.Fatal(err)
	}
	keys := parameter.NewSSM(cfg)
	stands := func(key, want string, l parameter.Label) func() error {
		return func() error {
			p, err := keys.Get(t.Context(), key)
			if err == nil && (p.Value != want || p.Label != l) {
				err = fmt.Errorf("%s is %s and %q, want %s and %q", key, p.Value, p.Label, want, l)
			}
			return err
		}
	}
	i := install(t, house.Options{RT: rt}, `{name: stacks, tool: cloudformation, region: eu-central-1, endpoint: "`+moto+`", stacks: [web], replacement: conditional, poll: 200ms, estimate: 5s, drift_check: false}`, `
parameters: {accounts: [{account: "123456789012", endpoint: "`+moto+`"}]}
recommendations:
  rules: [{name: fleet, match: 'true', executor: stacks, action: update-stack, args: [web, "Type=${recommended}", "Min=${recommended_min}", "Max=${recommended_max}"], parameter: "${icco_key}", verify_within: 4s, risk: 0.3}]
`, "options: {key_field:", "options: {"+rtOptions+"key_field:")
	b := where(i)
	i.Start("")
	i.Ready(patience)

	i.advise("ASG", "web-fleet", "m5.large", "m5.xlarge")
	i.until("known", stands(typeKey, "m5.large", parameter.Initialize))
	i.until("approved", b.approve)
	i.until("closed", i.wants(1, ops.ChangeClosed, ops.Successful))
	i.until("the request is done", func() error { return b.wants("done") })
	i.until("in force", stands(typeKey, "m5.xlarge", parameter.Closed))
	i.until("made", stands("/made/type", "m5.xlarge", ""))
	i.until("made", stands("/made/min", "1", ""))

	// Denied, the next one changes nothing.
	i.advise("ASG", "web-fleet", "m5.xlarge", "m5.2xlarge")
	i.until("denied", b.deny)
	i.until("cancelled", i.wants(2, ops.ChangeCancelled, ops.Denied))
	i.until("the request is stopped", func() error { return b.wants("done", "stopped") })
	i.until("not in force", stands(typeKey, "m5.xlarge", parameter.Denied))

	// What makes it worse is taken back, and so is the value.
	i.advise("ASG", "web-fleet", "m5.xlarge", "c5.large")
	i.until("approved", b.approve)
	i.until("applied", stands("/made/type", "c5.large", ""))
	i.sick.Store(true)
	i.until("closed", i.wants(3, ops.ChangeClosed, ops.Unsuccessful))
	i.until("not in force", stands(typeKey, "m5.xlarge", parameter.RolledBack))
	i.until("taken back", stands("/made/type", "m5.xlarge", ""))
	i.until("the request is done", func() error { return b.wants("done", "stopped", "done") })
	i.Stop()
}
