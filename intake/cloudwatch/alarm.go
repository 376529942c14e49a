package cloudwatch

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// reading is what both forms of an alarm come down to.
type reading struct {
	arn, name, description string
	state, reason          string
	at                     string // when the state changed
	previous, previousAt   string
	account, region        string
	rule                   string // of a composite alarm
	suppressedBy           string
	namespace              string
	dims                   dimensions
	contributor            string
	attributes             map[string]string
	context                ops.AlertContext
}

var operators = map[string]string{
	"GreaterThanThreshold": ">", "GreaterThanOrEqualToThreshold": ">=", "LessThanThreshold": "<", "LessThanOrEqualToThreshold": "<=",
}

// metrics is the list of a metric-math alarm, the same in both forms but for
// the case of its keys, which encoding/json ignores.
type metrics []struct {
	Expression text
	Label      text
	ReturnData bool
	MetricStat *struct {
		Metric struct {
			Namespace  text
			Name       text // EventBridge
			MetricName text // SNS
			Dimensions dimensions
		}
		Period text
		Stat   text
	}
}

// read takes the first metric for what the alarm is about and all expressions
// for its query.
func (m metrics) read(r *reading) {
	var expressions []string
	for _, q := range m {
		if q.Expression != "" {
			expressions = append(expressions, string(q.Expression))
		}
		if q.MetricStat == nil || r.namespace != "" {
			continue
		}
		r.namespace = string(q.MetricStat.Metric.Namespace)
		r.dims = q.MetricStat.Metric.Dimensions
		r.context.Metric = string(q.MetricStat.Metric.Name) + string(q.MetricStat.Metric.MetricName)
		r.context.Window = seconds(string(q.MetricStat.Period))
	}
	r.context.Query = strings.Join(expressions, "; ")
}

func seconds(s string) time.Duration {
	// CloudWatch periods end at a day or a week; what is longer is nonsense.
	if f := value(s); f != nil && *f > 0 && *f < 1e6 {
		return time.Duration(*f * float64(time.Second))
	}
	return 0
}

// datapoint finds the value in a reason such as "Threshold Crossed: 1 out of
// the last 1 datapoints [93.4 (21/11/26 10:00:00)] was greater than ...".
var datapoint = regexp.MustCompile(`datapoints?[^\[]{0,40}\[(-?[0-9.]+(?:[eE][-+]?[0-9]+)?)`)

// alarm decodes the alarm as SNS carries it.
func (s *source) alarm(r *intake.Request, doc document, dedupe string) (intake.Delivery, error) {
	trigger := doc.object("Trigger")
	x := reading{
		arn: doc.text("AlarmArn"), name: doc.text("AlarmName"), description: doc.text("AlarmDescription"),
		state: doc.text("NewStateValue"), reason: doc.text("NewStateReason"), at: doc.text("StateChangeTime"),
		account: doc.text("AWSAccountId"), rule: doc.text("AlarmRule"), suppressedBy: doc.text("AlarmSuppressedBy"),
		namespace: trigger.text("Namespace"),
	}
	x.context = ops.AlertContext{Metric: trigger.text("MetricName"), Operator: trigger.text("ComparisonOperator"), Threshold: trigger.number("Threshold"), Unit: trigger.text("Unit")}
	if sign, ok := operators[x.context.Operator]; ok {
		x.context.Operator = sign
	}
	_ = x.dims.UnmarshalJSON(trigger["Dimensions"]) // never fails
	if x.namespace == "" {
		var m metrics
		if json.Unmarshal(trigger["Metrics"], &m) == nil {
			m.read(&x)
		}
	}
	if p := seconds(trigger.number("Period")); p > 0 {
		x.context.Window = p
	}
	if n := value(trigger.number("EvaluationPeriods")); n != nil && *n > 1 && *n < 1e3 {
		x.context.Window *= time.Duration(*n)
	}
	s.contributor(&x, doc)
	return s.signal(r, &x, dedupe)
}

// event decodes a whole EventBridge event.
func (s *source) event(r *intake.Request, doc document, dedupe string) (intake.Delivery, error) {
	kind, detail := doc.text("detail-type"), doc.object("detail")
	if dedupe == "" {
		dedupe = key("eventbridge", doc.text("id"))
	}
	switch {
	case doc.text("source") != "aws.cloudwatch":
		return intake.Delivery{Note: "an EventBridge event of another source than aws.cloudwatch was ignored; narrow the rule's pattern"}, nil
	case detail.has("operation") && strings.Contains(kind, "Configuration Change"):
		return intake.Delivery{Note: "alarm " + detail.text("alarmName") + ": configuration " + detail.text("operation") + "; a deleted alarm never resolves"}, nil
	case !detail.has("state") || !strings.HasPrefix(kind, "CloudWatch Alarm"):
		return intake.Delivery{Note: "a CloudWatch event that is no change of an alarm's state was ignored"}, nil
	}
	x := s.read(detail)
	x.account, x.region = doc.text("account"), doc.text("region")
	var resources []string
	if json.Unmarshal(doc["resources"], &resources) == nil && len(resources) > 0 {
		x.arn = resources[0]
	}
	if x.at == "" {
		x.at = doc.text("time")
	}
	return s.signal(r, &x, dedupe)
}

// detail decodes what is left when an input transformer sends the detail only.
func (s *source) detail(r *intake.Request, doc document, dedupe string) (intake.Delivery, error) {
	detail := doc
	if doc.has("detail") {
		detail = doc.object("detail")
	}
	if !detail.has("state") {
		return intake.Delivery{}, &intake.Fault{Field: "detail.state", Fix: "send the detail of a CloudWatch Alarm State Change"}
	}
	x := s.read(detail)
	if dedupe == "" && x.at != "" {
		// The detail has no id of its own; one alarm changes to one state at one time once.
		dedupe = strings.Join([]string{"detail", x.name, x.contributor, x.state, x.at}, " ")
	}
	return s.signal(r, &x, dedupe)
}

func (s *source) read(detail document) reading {
	state, previous, configuration := detail.object("state"), detail.object("previousState"), detail.object("configuration")
	x := reading{
		name: detail.text("alarmName"), description: configuration.text("description"),
		state: state.text("value"), reason: state.text("reason"), at: state.text("timestamp"),
		previous: previous.text("value"), previousAt: previous.text("timestamp"),
		rule: configuration.text("alarmRule"), suppressedBy: state.text("actionsSuppressedBy"),
	}
	var m metrics
	if json.Unmarshal(configuration["metrics"], &m) == nil {
		m.read(&x)
	}
	data := state.object("reasonData") // JSON in a text; contributors have none
	x.context.Threshold, x.context.Unit = data.number("threshold"), data.text("unit")
	var points []json.Number
	if json.Unmarshal(data["recentDatapoints"], &points) == nil && len(points) > 0 {
		x.context.Actual = points[len(points)-1].String()
	}
	s.contributor(&x, detail)
	return x
}

// contributor finds which series of a multi-series alarm this is about.
func (s *source) contributor(x *reading, doc document) {
	for _, k := range s.config.Contributor {
		if !doc.has(k) {
			continue
		}
		if id := doc.text(k); id != "" {
			x.contributor = id
			return
		}
		if o := doc.object(k); o != nil {
			x.contributor = o.text("id")
			_ = json.Unmarshal(o["attributes"], &x.attributes) // labels only
			return
		}
	}
}

func (s *source) signal(r *intake.Request, x *reading, dedupe string) (intake.Delivery, error) {
	if x.name == "" {
		return intake.Delivery{}, &intake.Fault{Field: "AlarmName", Fix: "send the alarm's name"}
	}
	state := ops.Firing
	switch x.state {
	case "ALARM":
	case "OK":
		state = ops.Resolved
	case "INSUFFICIENT_DATA":
		switch s.config.InsufficientData {
		case "ignore":
			return intake.Delivery{}, nil
		case "resolved":
			state = ops.Resolved
		}
	default:
		return intake.Delivery{}, &intake.Fault{Field: "state", Value: x.state, Fix: "write OK, ALARM or INSUFFICIENT_DATA"}
	}
	at := intake.ParseTime(x.at, r.ReceivedAt)
	a := &ops.Alert{
		Rule: x.name, Title: x.name, Description: x.description, Severity: s.severity(x.name, x.description),
		State: state, StartsAt: at, ObservedAt: at, ExternalID: x.arn, Labels: map[string]string{}, Context: x.context,
	}
	if state == ops.Resolved {
		a.EndsAt = at
		if x.previous == "ALARM" {
			a.StartsAt = intake.ParseTime(x.previousAt, at)
		}
	}
	a.Context.Reason = x.reason
	if a.Context.Actual == "" {
		if m := datapoint.FindStringSubmatch(x.reason); m != nil {
			a.Context.Actual = m[1]
		}
	}
	a.Context.Value = value(a.Context.Actual)
	if a.Context.Query == "" {
		a.Context.Query = x.rule
	}
	identity := map[string]string{"contributor": x.contributor}
	if x.arn != "" {
		a.Fingerprint = ops.Fingerprint(r.Integration, x.arn, identity)
	} else {
		a.Fingerprint = ops.Fingerprint(r.Integration, "name "+x.name, identity)
	}
	arn := parseARN(x.arn)
	if x.account == "" {
		x.account = arn.account
	}
	if arn.region != "" {
		x.region = arn.region // the Region of SNS is a display name
	}
	label(a, "alarm", x.name)
	label(a, "account", x.account)
	label(a, "region", x.region)
	label(a, "namespace", x.namespace)
	label(a, "contributor", x.contributor)
	label(a, "actions_suppressed_by", x.suppressedBy)
	about := dimensions{}
	for _, m := range []map[string]string{x.attributes, x.dims} {
		for k, v := range m {
			label(a, k, v)
			about[k] = v
		}
	}
	a.Resource = resource(arn.partition, x.account, x.region, x.namespace, about)
	return intake.Delivery{Dedupe: dedupe, Signals: []ops.Signal{{Alert: a}}}, nil
}

func label(a *ops.Alert, k, v string) {
	if k != "" && v != "" {
		a.Labels[k] = v
	}
}

type arn struct{ partition, service, region, account, rest string }

func parseARN(s string) arn {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" {
		return arn{partition: "aws"}
	}
	return arn{p[1], p[2], p[3], p[4], p[5]}
}

// named are the dimensions whose value is the name of one resource, most
// telling first, with the ARN that AWS builds of it.
var named = []struct{ dimension, kind, arn string }{
	{"InstanceId", "ec2:instance", "ec2:REGION:ACCOUNT:instance/NAME"},
	{"DBInstanceIdentifier", "rds:db", "rds:REGION:ACCOUNT:db:NAME"},
	{"DBClusterIdentifier", "rds:cluster", "rds:REGION:ACCOUNT:cluster:NAME"},
	{"FunctionName", "lambda:function", "lambda:REGION:ACCOUNT:function:NAME"},
	{"VolumeId", "ec2:volume", "ec2:REGION:ACCOUNT:volume/NAME"},
	{"LoadBalancer", "elasticloadbalancing:loadbalancer", "elasticloadbalancing:REGION:ACCOUNT:loadbalancer/NAME"},
	{"TableName", "dynamodb:table", "dynamodb:REGION:ACCOUNT:table/NAME"},
	{"QueueName", "sqs:queue", "sqs:REGION:ACCOUNT:NAME"},
	{"TopicName", "sns:topic", "sns:REGION:ACCOUNT:NAME"},
	{"StreamName", "kinesis:stream", "kinesis:REGION:ACCOUNT:stream/NAME"},
	{"BucketName", "s3:bucket", "s3:::NAME"},
}

// resource names what an alarm is about: by ARN where a dimension says enough,
// else by the dimensions themselves.
func resource(partition, account, region, namespace string, dims dimensions) ops.ResourceRef {
	for _, n := range named {
		v := dims[n.dimension]
		if v == "" {
			continue
		}
		if account == "" || region == "" {
			// Without them the name is not unique, and a half-made ARN is a wrong one.
			return ops.ResourceRef{Kind: n.kind, Name: v, Aliases: []string{ops.Alias("cloudwatch", namespace+"/"+n.dimension+"="+v)}}
		}
		full := strings.NewReplacer("REGION", region, "ACCOUNT", account, "NAME", v).Replace(n.arn)
		return ops.ResourceRef{Kind: n.kind, Name: v, Aliases: []string{ops.Alias("arn", partition+":"+full)}}
	}
	if len(dims) == 0 {
		return ops.ResourceRef{}
	}
	keys := make([]string, 0, len(dims))
	for k := range dims {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = k + "=" + dims[k]
	}
	name := strings.Join(parts, ",")
	return ops.ResourceRef{Kind: namespace, Name: name, Aliases: []string{ops.Alias("cloudwatch", strings.Join([]string{account, region, namespace, name}, "/"))}}
}
