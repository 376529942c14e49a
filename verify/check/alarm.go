package check

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

// Alarm asks for the state of a CloudWatch alarm, metric or composite.
type Alarm struct {
	Name string
	awsx.Config
	// Timeout bounds one look. Default: 10 s.
	Timeout time.Duration
}

// OpenAlarm returns the check, or ops.ErrInvalid with the field that is wrong.
// It makes no call yet.
func OpenAlarm(ctx context.Context, a Alarm, e awsx.Env) (Check, error) {
	if a.Name == "" {
		return nil, fmt.Errorf("name is empty; write the name of an alarm: %w", ops.ErrInvalid)
	}
	if err := a.Validate(); err != nil {
		return nil, err
	}
	if a.Timeout <= 0 {
		a.Timeout = 10 * time.Second
	}
	cfg, err := awsx.Open(ctx, a.Config, e)
	if err != nil {
		return nil, err
	}
	return &alarmCheck{name: a.Name, timeout: a.Timeout, client: cloudwatch.NewFromConfig(cfg)}, nil
}

type alarmCheck struct {
	name    string
	timeout time.Duration
	client  *cloudwatch.Client
}

// Look implements Check: OK passes, ALARM fails, INSUFFICIENT_DATA and an alarm
// that does not exist are unknown.
func (a *alarmCheck) Look(ctx context.Context, _ Subject) (Health, string) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	failpoint.Hit("check.alarm.before")
	out, err := a.client.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{
		AlarmNames: []string{a.name}, AlarmTypes: []types.AlarmType{types.AlarmTypeMetricAlarm, types.AlarmTypeCompositeAlarm},
	})
	failpoint.Hit("check.alarm.after")
	if err != nil {
		return Unknown, "no answer: " + awsx.Read("describe alarm "+a.name, err).Error()
	}
	var state types.StateValue
	why := ""
	for _, x := range out.MetricAlarms {
		if x.AlarmName != nil && *x.AlarmName == a.name {
			state, why = x.StateValue, text(x.StateReason)
		}
	}
	for _, x := range out.CompositeAlarms {
		if x.AlarmName != nil && *x.AlarmName == a.name {
			state, why = x.StateValue, text(x.StateReason)
		}
	}
	said := fmt.Sprintf("alarm %s is %s", a.name, state)
	if why != "" {
		said += ": " + why
	}
	switch state {
	case types.StateValueOk:
		return Passing, said
	case types.StateValueAlarm:
		return Failing, said
	case "":
		return Unknown, "there is no alarm " + a.name
	}
	return Unknown, said
}

// text bounds what AWS says for people.
func text(s *string) string {
	if s == nil {
		return ""
	}
	if r := []rune(*s); len(r) > 300 {
		return string(r[:300]) + "..."
	}
	return *s
}
