package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector/opscenter/opscentertest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// withOrders adds OpsCenter to a configuration, as the place of work orders. Of
// its users only mia is known, who may give windows, and rob, who may not.
func withOrders(text string) string {
	return strings.NewReplacer(
		"routes:\n", `  - {name: opscenter, connector: opscenter, options: {region: eu-central-1, endpoint: "http://`+opsHost+`", keys: {group: team}}}
routes:
  - {match: "true", kind: work_order, platform: opscenter}
`,
		"roles: [change-manager]}", `roles: [change-manager], platforms: {opscenter: "`+opscentertest.ARN("anna")+`"}}`,
		"roles: [responder]}", `roles: [responder], platforms: {opscenter: "`+opscentertest.ARN("ben")+`"}}`,
	).Replace(text)
}

// order returns the only work order.
func (h *House) order() (opscentertest.Item, error) {
	all := h.orders.Items()
	if len(all) != 1 {
		return opscentertest.Item{}, fmt.Errorf("there are %d OpsItems, want one", len(all))
	}
	return all[0], nil
}

// WantOrder wants the work order with a status, the change's number and a part
// of its description.
func WantOrder(status, says string) Act {
	return func(h *House) error {
		i, err := h.order()
		if err != nil {
			return err
		}
		c, err := h.change()
		if err == nil && (i.Status != status || i.OperationalData["changeId"].Value != c.Key || !strings.Contains(i.Description, says)) {
			err = fmt.Errorf("the work order is %s for %s, want %s for %s:\n%s", i.Status, i.OperationalData["changeId"].Value, status, c.Key, i.Description)
		}
		return err
	}
}

// NoOrder wants that nobody is asked for a window.
func NoOrder(h *House) error {
	if n := len(h.orders.Items()); n != 0 {
		return fmt.Errorf("there are %d OpsItems, want none", n)
	}
	return nil
}

// GiveWindow has cloud operations write a window of an hour into the work
// order, that begins some time from now.
func GiveWindow(user string, in time.Duration) Act {
	return func(h *House) error {
		i, err := h.order()
		if err != nil {
			return err
		}
		start := h.app.Clock().UTC().Add(in).Truncate(time.Second)
		h.orders.Edit(h.t, user, i.OpsItemId, map[string]any{"Status": "InProgress"}, map[string]string{
			"plannedStart": start.Format(time.RFC3339), "plannedEnd": start.Add(hour).Format(time.RFC3339),
		})
		return nil
	}
}

// RunbookGivesWindow has the runbook of ICCO write it, in the time zone of a
// maintenance window.
func RunbookGivesWindow(user string, in time.Duration) Act {
	return func(h *House) error {
		i, err := h.order()
		if err != nil {
			return err
		}
		zone, err := time.LoadLocation("America/New_York")
		if err != nil {
			return err
		}
		const id = "mw-0123456789abcdef0"
		h.orders.Put(opscentertest.Window{WindowId: id, Name: "mw-web", ScheduleTimezone: zone.String()})
		start := h.app.Clock().In(zone).Add(in).Truncate(time.Second)
		h.orders.Edit(h.t, user, i.OpsItemId, map[string]any{"Status": "InProgress"}, map[string]string{
			"scheduledMaintenanceWindowDetails": fmt.Sprintf("WindowId=%s\nCronExpression=at(%s)\nDuration=1", id, start.Format("2006-01-02T15:04:05")),
		})
		return nil
	}
}

// An approved change without a window asks for one by an OpsItem, and starts in
// the window that cloud operations write there, not before. One from somebody
// who may not give it does not count.
func TestWindowFromAWorkOrder(t *testing.T) {
	t.Parallel()
	f := func(name string, give func(user string, in time.Duration) Act, long bool) {
		t.Run(name, func(t *testing.T) {
			if long {
				peer.Long(t)
			}
			Play(t, Story{Config: gate, Orders: true, Events: []Event{
				At(0, Fire("HighCPU", "web1")),
				Between(0, 10*sec, WantChange(ops.ChangeAuthorize, "")),
				At(30*sec, NoOrder),
				At(1*minute, Approve("ann")),
				Between(1*minute, 2*minute, WantChange(ops.ChangeScheduled, ""), WantOrder("Open", "Please give this change a window")),
				Throughout(2*minute, 5*minute, WantChange(ops.ChangeScheduled, ""), WantRuns(0, 0)),
				At(5*minute, give("ben", 1*minute)),
				Throughout(5*minute, 9*minute, WantChange(ops.ChangeScheduled, ""), WantRuns(0, 0)),
				Between(5*minute, 9*minute, WantNote("does not hold")),
				At(10*minute, give("anna", 10*minute)),
				Between(10*minute, 12*minute, WantNote("mia offered it")),
				Throughout(12*minute, 20*minute-2*sec, WantChange(ops.ChangeScheduled, ""), WantRuns(0, 0), WantOrder("InProgress", "")),
				Between(20*minute, 20*minute+10*sec, WantRuns(1, 0), WantRun(ops.RunVerifying), WantSize("web1", "scale_up large")),
				At(21*minute, Resolve("HighCPU", "web1")),
				Between(21*minute, 23*minute, WantChange(ops.ChangeClosed, ops.Successful)),
				Between(21*minute, 25*minute, WantOrder("Resolved", "")),
			}})
		})
	}
	f("people write it", GiveWindow, false)
	f("a runbook writes it", RunbookGivesWindow, true)
}
