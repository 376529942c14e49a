package loop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/awsx"
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

// rtRequest is a change request in Request Tracker.
type rtRequest struct {
	ID          any `json:"id"`
	Status      string
	Subject     string
	LastUpdated time.Time
}

// ticket returns the change request in Request Tracker.
func (s *story) ticket() (rtRequest, error) {
	c, err := s.change()
	if err != nil {
		return rtRequest{}, err
	}
	q := url.Values{"query": {"Queue = 'Change requests'"}, "fields": {"Status,Subject,LastUpdated"}, "orderby": {"id"}}
	var found struct {
		Items []rtRequest `json:"items"`
	}
	if err := s.rt(s.RT.User, s.RT.Password, http.MethodGet, "/tickets?"+q.Encode(), nil, &found); err != nil {
		return rtRequest{}, err
	}
	for _, t := range found.Items {
		if strings.HasPrefix(t.Subject, c.Key+" ") {
			return t, nil
		}
	}
	return rtRequest{}, fmt.Errorf("%s has no change request in Request Tracker", c.Key)
}

// anna writes to the change request.
func (s *story) anna(t rtRequest, fields map[string]string) error {
	return s.rt("anna", "secret-anna", http.MethodPut, "/ticket/"+fmt.Sprint(t.ID), fields, nil)
}

var inRT = board{
	decide: func(s *story, word ops.Decision) error {
		t, err := s.ticket()
		switch {
		case err != nil:
			return err
		case t.Status != "approval":
			return fmt.Errorf("anna is not asked: ticket %v is in %s", t.ID, t.Status)
		case time.Since(t.LastUpdated) < 2500*time.Millisecond: // its clock has whole seconds
			return fmt.Errorf("ticket %v was written just now", t.ID)
		}
		return s.anna(t, map[string]string{"Status": string(word)})
	},
	offer: func(s *story, from, to time.Time) error {
		t, err := s.ticket()
		if err != nil {
			return err
		}
		return s.anna(t, map[string]string{"Starts": from.UTC().Format(time.DateTime), "Due": to.UTC().Format(time.DateTime)})
	},
	over: func(s *story, state ops.ChangeState) error {
		t, err := s.ticket()
		want := map[ops.ChangeState]string{ops.ChangeClosed: "done", ops.ChangeCancelled: "stopped"}[state]
		if err == nil && t.Status != want {
			err = fmt.Errorf("ticket %v is in %s, want %s", t.ID, t.Status, want)
		}
		return err
	},
}

// cloud is an account of moto's, and what its topic has told its subscriber.
type cloud struct {
	url   string
	cfg   aws.Config
	topic string

	mu   sync.Mutex
	told []string // event and change of each message
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{url: peer.Moto(t)}
	var err error
	if c.cfg, err = awsx.Open(t.Context(), awsx.Config{Region: "eu-central-1", Endpoint: c.url}, awsx.Env{}); err != nil {
		t.Fatal(err)
	}
	subscriber := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct{ Type, Message string }
		var notice ops.Notice
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || m.Type != "Notification" || json.Unmarshal([]byte(m.Message), &notice) != nil {
			http.Error(w, "no notification", http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.told = append(c.told, notice.Event+" "+notice.Key)
	}))
	t.Cleanup(subscriber.Close)
	client := sns.NewFromConfig(c.cfg)
	made, err := client.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("ops")})
	if err != nil {
		t.Fatal(err)
	}
	c.topic = aws.ToString(made.TopicArn)
	if _, err := client.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &c.topic, Protocol: aws.String("http"), Endpoint: &subscriber.URL}); err != nil {
		t.Fatal(err)
	}
	return c
}

// tells wants the topic to have told its subscriber of an event of the story's
// change, once.
func (c *cloud) tells(s *story, event string) {
	s.t.Helper()
	s.until(event, func() error {
		ch, err := s.change()
		if err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		n := 0
		for _, m := range c.told {
			if m == event+" "+ch.Key {
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("the topic told %d times of %s of %s, want once; it told %q", n, event, ch.Key, c.told)
		}
		return nil
	})
}

// The loop against servers that are not ours: parameters, stack and group, an
// instance, a database and a topic in moto, and a person who decides and gives
// windows in a real Request Tracker or in ServiceNow.
func TestTheLoopClosesInMoto(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	house.Binary(t)
	t.Run("Request Tracker", func(t *testing.T) {
		t.Parallel()
		rt := peer.RequestTrackerWith(t, peer.RTConfig{InitialData: rtData, SiteConfig: rtLifecycle})
		c := newCloud(t)
		i := c.install(t, rt)
		i.play(inRT, map[string]func(*story){"stacks": c.group(t), "databases": c.database(t)})
		i.Stop()
	})
	t.Run("ServiceNow", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		i := c.install(t, nil)
		i.play(inSnow, map[string]func(*story){"stacks": c.group(t), "instances": c.instance(t)})
		i.Stop()
	})
}

// install runs an installation that right-sizes the account. Only the group has
// a window that is always open.
func (c *cloud) install(t *testing.T, rt *peer.RT) *installation {
	t.Helper()
	in := `region: eu-central-1, endpoint: "` + c.url + `"`
	i := install(t, house.Options{RT: rt}, `
{name: stacks, tool: cloudformation, `+in+`, stacks: [web], replacement: conditional, poll: 200ms, estimate: 5s, drift_check: false}
{name: instances, tool: ec2, `+in+`, instances: ["i-*"], actions: [resize], change_public_address: true, poll: 200ms, estimate: 5s}
{name: databases, tool: rds, `+in+`, databases: [shop], actions: [resize], class_check: false, poll: 200ms, estimate: 5s}
`, `
parameters: {accounts: [{account: "123456789012", endpoint: "`+c.url+`"}]}
notify: [{name: topic, sns: {topic: "`+c.topic+`", endpoint: "`+c.url+`", format: json}, on: [ApprovalRequested, ChangeEnded]}]
recommendations:
  rules:
    - {name: fleet, match: 'recommendation.service == "asg"', executor: stacks, action: update-stack, args: [web, "Type=${recommended}", "Min=${recommended_min}", "Max=${recommended_max}"], parameter: "${icco_key}", verify_within: 4s, risk: 0.3}
    - {name: instance, match: 'recommendation.service == "ec2"', executor: instances, action: resize, args: ["${resource}", "${recommended}"], verify_within: 2s, risk: 0.3}
    - {name: database, match: 'recommendation.service == "rds"', executor: databases, action: resize, args: ["${resource}", "${recommended}"], verify_within: 2s, risk: 0.3}
`, append(closed("instances", "databases"), "options: {key_field:", "options: {"+rtOptions+"key_field:")...)
	i.Start("")
	i.Ready(patience)
	return i
}

// group is the story of an Auto Scaling group whose stack is driven by
// parameters.
func (c *cloud) group(t *testing.T) func(*story) {
	t.Helper()
	given := []types.Parameter{}
	for k, v := range map[string]string{"Type": "m5.large", "Min": "2", "Max": "6"} {
		given = append(given, types.Parameter{ParameterKey: aws.String(k), ParameterValue: aws.String(v)})
	}
	if _, err := cloudformation.NewFromConfig(c.cfg).CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: aws.String("web"), TemplateBody: aws.String(group), Parameters: given}); err != nil {
		t.Fatal(err)
	}
	keys := parameter.NewSSM(c.cfg)
	stands := func(key, want string, l parameter.Label) func() error {
		return func() error {
			p, err := keys.Get(t.Context(), key)
			if err == nil && (p.Value != want || p.Label != l) {
				err = fmt.Errorf("%s is %s and %q, want %s and %q", key, p.Value, p.Label, want, l)
			}
			return err
		}
	}
	return func(s *story) {
		s.advise("ASG", "web-fleet", "m5.large", "m5.xlarge")
		s.until("known", stands(typeKey, "m5.large", parameter.Initialize))
		s.decided(ops.Approved)
		s.closes(ops.ChangeClosed, ops.Successful)
		s.until("in force", stands(typeKey, "m5.xlarge", parameter.Closed))
		s.until("made", stands("/made/type", "m5.xlarge", ""))
		s.until("made", stands("/made/min", "1", ""))

		// Denied, the next one changes nothing.
		s.advise("ASG", "web-fleet", "m5.xlarge", "m5.2xlarge")
		s.decided(ops.Refused)
		s.closes(ops.ChangeCancelled, ops.Denied)
		s.until("not in force", stands(typeKey, "m5.xlarge", parameter.Denied))

		// What makes it worse is taken back, and so is the value.
		s.advise("ASG", "web-fleet", "m5.xlarge", "c5.large")
		s.decided(ops.Approved)
		s.until("applied", stands("/made/type", "c5.large", ""))
		s.sick.Store(s.executor, true)
		s.closes(ops.ChangeClosed, ops.Unsuccessful)
		s.until("not in force", stands(typeKey, "m5.xlarge", parameter.RolledBack))
		s.until("taken back", stands("/made/type", "m5.xlarge", ""))
		c.tells(s, "change.ended")
	}
}

// instance is the story of an instance that is resized in a window that cloud
// operations give.
func (c *cloud) instance(t *testing.T) func(*story) {
	t.Helper()
	client := ec2.NewFromConfig(c.cfg)
	images, err := client.DescribeImages(t.Context(), &ec2.DescribeImagesInput{Filters: []ec2types.Filter{{Name: aws.String("architecture"), Values: []string{"x86_64"}}}})
	if err != nil || len(images.Images) == 0 {
		t.Fatalf("%v, %d images", err, len(images.Images))
	}
	ran, err := client.RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: images.Images[0].ImageId, InstanceType: "t3.large", MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	id := aws.ToString(ran.Instances[0].InstanceId)
	is := func(kind ec2types.InstanceType) func() error {
		return func() error {
			d, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
			if err != nil {
				return err
			}
			if i := d.Reservations[0].Instances[0]; i.InstanceType != kind || i.State.Name != ec2types.InstanceStateNameRunning {
				return fmt.Errorf("%s is %s as %s, want it running as %s", id, i.State.Name, i.InstanceType, kind)
			}
			return nil
		}
	}
	return func(s *story) {
		s.advise("EC2", id, "t3.large", "t3.medium")
		s.decided(ops.Approved)
		c.tells(s, "change.approval_asked")
		s.until("untouched", is("t3.large"))
		s.given()
		s.closes(ops.ChangeClosed, ops.Successful)
		s.inWindow()
		s.until("resized", is("t3.medium"))
		c.tells(s, "change.ended")
	}
}

// database is the same story of a database.
func (c *cloud) database(t *testing.T) func(*story) {
	t.Helper()
	client := rds.NewFromConfig(c.cfg)
	if _, err := client.CreateDBInstance(t.Context(), &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("shop"), DBInstanceClass: aws.String("db.m5.xlarge"), Engine: aws.String("postgres"), AllocatedStorage: aws.Int32(100),
		MasterUsername: aws.String("owner"), MasterUserPassword: aws.String("not-a-real-one"),
	}); err != nil {
		t.Fatal(err)
	}
	is := func(class string) func() error {
		return func() error {
			out, err := client.DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String("shop")})
			if err != nil {
				return err
			}
			if d := out.DBInstances[0]; aws.ToString(d.DBInstanceClass) != class || aws.ToString(d.DBInstanceStatus) != "available" {
				return fmt.Errorf("the database is %s as %s, want it available as %s", aws.ToString(d.DBInstanceStatus), aws.ToString(d.DBInstanceClass), class)
			}
			return nil
		}
	}
	return func(s *story) {
		s.advise("RDS", "shop", "db.m5.xlarge", "db.m5.large")
		s.decided(ops.Approved)
		c.tells(s, "change.approval_asked")
		s.until("untouched", is("db.m5.xlarge"))
		s.given()
		s.closes(ops.ChangeClosed, ops.Successful)
		s.inWindow()
		s.until("modified", is("db.m5.large"))
		c.tells(s, "change.ended")
	}
}
