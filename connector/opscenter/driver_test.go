package opscenter_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/opscenter"
	"github.com/fettleops/fettle/connector/opscenter/opscentertest"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/ops"
)

const region = "eu-central-1"

func options(more ...any) connectortest.Values {
	v := connectortest.Values{"region": region, "endpoint": "http://opscenter.test", "overlap": time.Minute}
	for i := 0; i+1 < len(more); i += 2 {
		v[more[i].(string)] = more[i+1]
	}
	return v
}

// console edits OpsItems as people do.
type console struct {
	*opscentertest.Service
	comments int
}

func key(user string) string { return user[strings.LastIndex(user, "/")+1:] }

func (c *console) edit(t *testing.T, ref, user string, changed []connector.Field, f ops.TicketFields, note string) {
	t.Helper()
	in, data := map[string]any{}, map[string]string{}
	for _, x := range changed {
		switch x {
		case connector.Title:
			in["Title"] = f.Title
		case connector.State:
			in["Status"] = map[string]string{"new": "Open", "in_progress": "InProgress", "resolved": "Resolved"}[f.State]
		case connector.Severity:
			in["Severity"] = map[ops.Severity]string{ops.Critical: "1", ops.High: "2", ops.Medium: "3", ops.Low: "4"}[f.Severity]
		case connector.ResolveCode:
			data["resolutionCode"] = f.ResolveCode
		case connector.ResolveNote:
			data["resolutionNote"] = f.ResolveNote
		default:
			t.Fatalf("no person edits %s here", x)
		}
	}
	if note != "" {
		c.comments++
		data[fmt.Sprintf("comment %d", c.comments)] = note
	}
	c.Edit(t, key(user), ref, in, data)
}

func isWrite(r *http.Request) bool {
	target := r.Header.Get("X-Amz-Target")
	return strings.HasSuffix(target, "CreateOpsItem") || strings.HasSuffix(target, "UpdateOpsItem")
}

func count(s *opscentertest.Service, key string) int {
	n := 0
	for _, i := range s.Items() {
		if i.OperationalData["fettleKey"].Value == key {
			n++
		}
	}
	return n
}

func TestDriver(t *testing.T) {
	f := func(name string, precision time.Duration, offer func(t *testing.T, s *opscentertest.Service, ref, user string, start, end time.Time)) {
		t.Run(name, func(t *testing.T) {
			awsxtest.Credentials(t)
			connectortest.Run(t, opscenter.Driver, func(*testing.T) connectortest.Harness {
				now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
				c := &console{Service: opscentertest.New(func() time.Time { return now })}
				c.Region, c.Precision = region, precision
				return connectortest.Harness{
					Settings: connector.Settings{Options: options()}, Transport: c, IsWrite: isWrite, Missing: "oi-0123456789ab",
					People: [2]string{opscentertest.ARN("anna"), opscentertest.ARN("ben")},
					Now:    func() time.Time { return now },
					Wait:   func(d time.Duration) { now = now.Add(d) },
					Fields: ops.TicketFields{Group: "Cloud operations", Resource: "web-1", Extra: map[string]string{"team": "shop"}},
					Edit:   c.edit,
					Offer: func(t *testing.T, ref, user string, start, end time.Time) {
						t.Helper()
						offer(t, c.Service, ref, user, start, end)
					},
					Count: func(_ *testing.T, key string) int { return count(c.Service, key) },
					Broken: []connectortest.Broken{
						{Name: "another region", Settings: connector.Settings{Options: options("region", "us-east-1")}, Says: "valid region"},
					},
				}
			})
		})
	}
	const window = "mw-0123456789abcdef0"
	f("a runbook writes the window", time.Millisecond, func(t *testing.T, s *opscentertest.Service, ref, user string, start, end time.Time) {
		t.Helper()
		s.Put(opscentertest.Window{WindowId: window, Name: "mw-web", ScheduleTimezone: "America/New_York"})
		zone, err := time.LoadLocation("America/New_York")
		if err != nil {
			t.Fatal(err)
		}
		s.Edit(t, key(user), ref, nil, map[string]string{"scheduledMaintenanceWindowDetails": fmt.Sprintf(
			"WindowId=%s\nCronExpression=at(%s)\nDuration=%d", window, start.In(zone).Format("2006-01-02T15:04:05"), int(end.Sub(start).Hours()))})
	})
	f("people write the window, times by the second", time.Second, func(t *testing.T, s *opscentertest.Service, ref, user string, start, end time.Time) {
		t.Helper()
		s.Edit(t, key(user), ref, nil, map[string]string{"plannedStart": start.Format(time.RFC3339), "plannedEnd": end.Format(time.RFC3339)})
	})
}
