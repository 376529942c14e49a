package autoscalingtest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

type refresh struct {
	id                string
	template, version string // empty: those of the group
	former            string // the group's version before
	skip, undo        bool
	bake              time.Duration
	takes             time.Duration // as it was when it was started
	began             time.Time
	backwards         time.Time // since when it is undone
	cancelled, ended  time.Time
	status, reason    string
	old               []Instance // before
	turned            float64    // how far it was when it was turned back
}

func (g *Group) active() *refresh {
	if n := len(g.refreshes); n > 0 && g.refreshes[n-1].ended.IsZero() {
		return g.refreshes[n-1]
	}
	return nil
}

func (r *refresh) end(a *Account, g *Group, status, reason string, at time.Time) {
	r.status, r.reason, r.ended = status, reason, at
	if g.Last != "" {
		g.say(a, at, g.Last)
	}
}

// share is which part of a time has passed.
func share(d, of time.Duration) float64 {
	if of <= 0 {
		return 1
	}
	return max(0, min(1, float64(d)/float64(of)))
}

func (r *refresh) move(a *Account, g *Group, now time.Time) {
	at := share(now.Sub(r.began)-a.Settle, r.takes)
	if g.Stuck > 0 {
		at = min(at, g.Stuck)
	}
	switch {
	case !r.cancelled.IsZero():
		if now.Sub(r.cancelled) >= a.Settle {
			r.end(a, g, "Cancelled", "Cancelled due to user request.", now)
		}
		return
	case !r.backwards.IsZero():
		back := share(now.Sub(r.backwards)-a.Settle, r.takes/2)
		r.replace(a, g, r.turned*(1-back), now)
		if back == 1 {
			r.end(a, g, "RollbackSuccessful", r.reason, now)
		}
		return
	case now.Sub(r.began) < a.Settle:
		return
	case g.Fail != "" && at >= 0.5:
		r.replace(a, g, 0.5, now)
		if r.undo {
			r.back(0.5, g.Fail, now)
		} else {
			r.end(a, g, "Failed", g.Fail, now)
		}
		return
	}
	r.status = "InProgress"
	r.replace(a, g, at, now)
	if at < 1 {
		return
	}
	if r.status = "Baking"; now.Sub(r.began) < r.takes+a.Settle+r.bake {
		return
	}
	if r.template != "" {
		g.Template, g.Version = r.template, r.version
	}
	r.end(a, g, "Successful", "", now)
}

func (r *refresh) back(from float64, why string, now time.Time) {
	r.turned, r.backwards, r.status, r.reason = from, now, "RollbackInProgress", why
}

// replace has the first part of the instances replaced, and no more.
func (r *refresh) replace(a *Account, g *Group, part float64, now time.Time) {
	template, version := r.template, r.version
	if template == "" {
		template, version = g.Template, g.Version
	}
	for n := range min(len(g.Instances), len(r.old)) {
		done := float64(n+1) <= part*float64(len(r.old))+1e-9
		is, was := g.Instances[n], r.old[n]
		match := r.skip && was.Template == template && was.Version == version
		switch {
		case match:
		case done && is.ID == was.ID:
			g.Instances[n] = a.launch(g, version, now)
			g.say(a, now, fmt.Sprintf("Terminating EC2 instance: %s", was.ID))
		case !done && is.ID != was.ID && is.Version != was.Version:
			fresh := a.launch(g, was.Version, now)
			fresh.Type = was.Type
			g.Instances[n] = fresh
		}
	}
}

func (a *Account) startRefresh(f form) (m, *Fault) {
	g, bad := a.group(f.get("AutoScalingGroupName"))
	if bad != nil {
		return nil, bad
	}
	if bad := a.preferences(g, f); bad != nil {
		return nil, bad
	}
	if r := g.active(); r != nil {
		return nil, fault("InstanceRefreshInProgress", "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.")
	}
	r := &refresh{
		id: a.id("refresh"), template: f.get("DesiredConfiguration.LaunchTemplate.LaunchTemplateId"), version: f.get("DesiredConfiguration.LaunchTemplate.Version"), former: g.Version,
		skip: f.get("Preferences.SkipMatching") == "true", undo: f.get("Preferences.AutoRollback") == "true",
		bake: time.Duration(f.number("Preferences.BakeTime", 0)) * time.Second, takes: g.Takes, began: time.Now(), status: "Pending",
	}
	for _, i := range g.Instances {
		r.old = append(r.old, *i)
	}
	for _, c := range g.Chatter {
		g.say(a, r.began, c)
	}
	g.refreshes = append(g.refreshes, r)
	a.begun++
	return m{"InstanceRefreshId": r.id}, nil
}

// preferences refuses what the service refuses.
func (a *Account) preferences(g *Group, f form) *Fault {
	const p = "Preferences."
	least, most := f.number(p+"MinHealthyPercentage", 90), f.number(p+"MaxHealthyPercentage", 0)
	points := f.list(p + "CheckpointPercentages.member.")
	desired := f.get("DesiredConfiguration.LaunchTemplate.LaunchTemplateId")
	switch {
	case least < 0 || least > 100:
		return invalid("MinHealthyPercentage must be within 0 and 100")
	case most != 0 && (most < 100 || most > 200 || !f.has(p+"MinHealthyPercentage") || most-least > 100):
		return invalid("MaxHealthyPercentage must be within 100 and 200, at most 100 above MinHealthyPercentage, and given with it")
	case f.has(p+"CheckpointDelay") && len(points) == 0:
		return invalid("CheckpointDelay needs CheckpointPercentages")
	case f.has("Strategy") && f.get("Strategy") != "Rolling":
		return invalid("this double knows the strategy Rolling")
	}
	last := 0
	for _, s := range points {
		n, err := strconv.Atoi(s)
		if err != nil || n <= last || n > 100 {
			return invalid("CheckpointPercentages must rise and be within 1 and 100")
		}
		last = n
	}
	if desired != "" {
		if bad := a.usable(desired, f.get("DesiredConfiguration.LaunchTemplate.Version")); bad != nil {
			return bad
		}
	}
	if f.get(p+"AutoRollback") != "true" {
		return nil
	}
	if why := a.irreversible(g, desired, f.get("DesiredConfiguration.LaunchTemplate.Version")); why != "" {
		return invalid("AutoRollback: %s", why)
	}
	return nil
}

// irreversible says why a refresh cannot be undone.
func (a *Account) irreversible(g *Group, template, version string) string {
	switch {
	case template == "":
		return "there is no desired configuration"
	case strings.HasPrefix(g.Version, "$") || g.Version == "" || strings.HasPrefix(version, "$"):
		return "the launch template's $Latest or $Default version is used"
	}
	for _, s := range []string{g.Version, version} {
		if _, v := a.Templates[template].version(s); v != nil && strings.HasPrefix(v.Image, "resolve:ssm:") {
			return "the launch template uses a Systems Manager parameter instead of an AMI ID"
		}
	}
	return ""
}

func (a *Account) describeRefreshes(f form) (m, *Fault) {
	g, bad := a.group(f.get("AutoScalingGroupName"))
	if bad != nil {
		return nil, bad
	}
	ids := f.list("InstanceRefreshIds.member.")
	rows := []m{}
	for n := len(g.refreshes) - 1; n >= 0; n-- {
		r := g.refreshes[n]
		if len(ids) > 0 && ids[0] != r.id {
			continue
		}
		row := m{"InstanceRefreshId": r.id, "AutoScalingGroupName": f.get("AutoScalingGroupName"), "Status": r.status, "StartTime": r.began, "PercentageComplete": r.percent(g)}
		if r.reason != "" {
			row["StatusReason"] = r.reason
		}
		if r.template != "" {
			row["DesiredConfiguration"] = m{"LaunchTemplate": m{"LaunchTemplateId": r.template, "Version": r.version}}
		}
		if !r.ended.IsZero() {
			row["EndTime"] = r.ended
		}
		rows = append(rows, row)
	}
	return m{"InstanceRefreshes": rows}, nil
}

func (r *refresh) percent(g *Group) int {
	n, of := 0, min(len(g.Instances), len(r.old))
	for i := range of {
		if g.Instances[i].ID != r.old[i].ID {
			n++
		}
	}
	if of == 0 {
		return 100
	}
	return 100 * n / of
}

func (a *Account) running(f form) (*Group, *refresh, *Fault) {
	g, bad := a.group(f.get("AutoScalingGroupName"))
	if bad != nil {
		return nil, nil, bad
	}
	if r := g.active(); r != nil {
		return g, r, nil
	}
	return nil, nil, fault("ActiveInstanceRefreshNotFound", "No in progress or pending Instance Refresh found for Auto Scaling group %s", f.get("AutoScalingGroupName"))
}

func (a *Account) cancelRefresh(f form) (m, *Fault) {
	_, r, bad := a.running(f)
	if bad != nil {
		return nil, bad
	}
	if r.cancelled.IsZero() {
		r.cancelled, r.status = time.Now(), "Cancelling"
	}
	return m{"InstanceRefreshId": r.id}, nil
}

func (a *Account) rollbackRefresh(f form) (m, *Fault) {
	g, r, bad := a.running(f)
	if bad != nil {
		return nil, bad
	}
	if why := a.irreversible(g, r.template, r.version); why != "" {
		return nil, fault("IrreversibleInstanceRefresh", "%s", why)
	}
	if r.backwards.IsZero() {
		r.back(float64(r.percent(g))/100, "Rolled back due to user request.", time.Now())
	}
	return m{"InstanceRefreshId": r.id}, nil
}

// Newest returns the id of the newest refresh of a group; empty if none.
func (a *Account) Newest(group string) (id string) {
	a.With(func() {
		if all := a.Groups[group].refreshes; len(all) > 0 {
			id = all[len(all)-1].id
		}
	})
	return id
}
