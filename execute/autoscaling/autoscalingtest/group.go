package autoscalingtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Group is an Auto Scaling group. A test that makes one says its capacity and
// its launch template, and its instances are launched with the first call.
type Group struct {
	Min, Max, Desired int
	Template, Version string
	Launch            string // a launch configuration in place of a template
	Tags              map[string]string
	Suspended         []string
	Status            string // such as Delete in progress
	Instances         []*Instance
	Takes             time.Duration // a refresh of all instances
	Stuck             float64       // the part at which a refresh stays for now; 0: it goes on
	Fail              string        // a refresh fails half-way, for this reason
	Lazy              bool          // nothing is launched or terminated
	Chatter           []string      // activities of a refresh
	Last              string        // its last activity

	refreshes  []*refresh
	activities []activity
}

// Instance is one instance of a group.
type Instance struct {
	ID, Template, Version, Type string
	State                       string // default InService
	Protected                   bool

	ready time.Time
}

type activity struct {
	id, says string
	at       time.Time
}

func (g *Group) say(a *Account, at time.Time, says string) {
	g.activities = append(g.activities, activity{a.id("activity"), says, at})
}

func (a *Account) launch(g *Group, version string, ready time.Time) *Instance {
	i := &Instance{ID: a.id("i"), ready: ready}
	if t := a.Templates[g.Template]; t != nil {
		n, v := t.version(version)
		i.Template, i.Version = g.Template, strconv.Itoa(n)
		if v != nil {
			i.Type = v.Type
		}
	}
	return i
}

// move brings the group to a time: refreshes go on, and instances are launched
// and terminated.
func (g *Group) move(a *Account, now time.Time) {
	if r := g.active(); r != nil {
		r.move(a, g, now)
	}
	if g.Lazy {
		return
	}
	for len(g.Instances) < g.Desired {
		g.Instances = append(g.Instances, a.launch(g, g.Version, now.Add(a.Settle)))
	}
	for len(g.Instances) > g.Desired {
		g.Instances = g.Instances[1:]
	}
}

func (a *Account) group(name string) (*Group, *Fault) {
	g := a.Groups[name]
	if g == nil {
		return nil, invalid("AutoScalingGroup name not found - AutoScalingGroup '%s' not found", name)
	}
	return g, nil
}

// describeGroups leaves out groups there are not, as the service does.
func (a *Account) describeGroups(f form) (m, *Fault) {
	rows := []m{}
	for _, name := range f.list("AutoScalingGroupNames.member.") {
		g := a.Groups[name]
		if g == nil {
			continue
		}
		row := m{"AutoScalingGroupName": name, "MinSize": g.Min, "MaxSize": g.Max, "DesiredCapacity": g.Desired, "DefaultCooldown": 300, "HealthCheckType": "EC2", "CreatedTime": time.Unix(1, 0)}
		if g.Status != "" {
			row["Status"] = g.Status
		}
		if g.Launch != "" {
			row["LaunchConfigurationName"] = g.Launch
		} else {
			row["LaunchTemplate"] = m{"LaunchTemplateId": g.Template, "LaunchTemplateName": a.Templates[g.Template].Name, "Version": g.Version}
		}
		tags, suspended, instances := []m{}, []m{}, []m{}
		for k, v := range g.Tags {
			tags = append(tags, m{"Key": k, "Value": v})
		}
		for _, s := range g.Suspended {
			suspended = append(suspended, m{"ProcessName": s})
		}
		for _, i := range g.Instances {
			state := i.State
			switch {
			case state == "" && time.Now().Before(i.ready):
				state = "Pending"
			case state == "":
				state = "InService"
			}
			row := m{"InstanceId": i.ID, "LifecycleState": state, "HealthStatus": "Healthy", "ProtectedFromScaleIn": i.Protected, "InstanceType": i.Type, "AvailabilityZone": "eu-central-1a"}
			if i.Template != "" {
				row["LaunchTemplate"] = m{"LaunchTemplateId": i.Template, "Version": i.Version}
			}
			instances = append(instances, row)
		}
		row["Tags"], row["SuspendedProcesses"], row["Instances"] = tags, suspended, instances
		rows = append(rows, row)
	}
	return m{"AutoScalingGroups": rows}, nil
}

func (a *Account) updateGroup(f form) (m, *Fault) {
	g, bad := a.group(f.get("AutoScalingGroupName"))
	if bad != nil {
		return nil, bad
	}
	least, most := f.number("MinSize", g.Min), f.number("MaxSize", g.Max)
	desired := f.number("DesiredCapacity", max(least, min(most, g.Desired)))
	version := f.get("LaunchTemplate.Version")
	switch {
	case least < 0 || least > most:
		return nil, invalid("Min bound, %d, must be less than or equal to max bound, %d", least, most)
	case desired < least || desired > most:
		return nil, invalid("Desired capacity:%d must be between the specified min size:%d and max size:%d", desired, least, most)
	case f.has("LaunchTemplate.LaunchTemplateId") && f.has("LaunchConfigurationName"):
		return nil, invalid("LaunchTemplate and LaunchConfigurationName cannot both be given")
	}
	if f.has("LaunchTemplate.LaunchTemplateId") {
		id := f.get("LaunchTemplate.LaunchTemplateId")
		if bad := a.usable(id, version); bad != nil {
			return nil, bad
		}
		g.Template, g.Version, g.Launch = id, version, ""
	}
	g.Min, g.Max, g.Desired = least, most, desired
	return m{}, nil
}

// usable refuses a launch template that is not there.
func (a *Account) usable(id, version string) *Fault {
	t := a.Templates[id]
	if t == nil {
		return invalid("You must use a valid fully-formed launch template. The specified launch template, with template ID %s, does not exist.", id)
	}
	if _, v := t.version(version); v == nil {
		return invalid("You must use a valid fully-formed launch template. Could not find launch template version %s", version)
	}
	return nil
}

// page is how many activities one answer holds.
const page = 100

func (a *Account) describeActivities(f form) (m, *Fault) {
	g, bad := a.group(f.get("AutoScalingGroupName"))
	if bad != nil {
		return nil, bad
	}
	from := f.number("NextToken", 0)
	rows := []m{}
	newest := slices.Clone(g.activities)
	slices.Reverse(newest)
	for _, x := range newest[min(from, len(newest)):min(from+page, len(newest))] {
		rows = append(rows, m{"ActivityId": x.id, "AutoScalingGroupName": f.get("AutoScalingGroupName"), "StartTime": x.at, "StatusCode": "Successful", "Cause": "a refresh", "Description": x.says})
	}
	out := m{"Activities": rows}
	if from+page < len(newest) {
		out["NextToken"] = from + page
	}
	return out, nil
}

// String says what the group is made of.
func (g *Group) String() string {
	var of []string
	for _, i := range g.Instances {
		of = append(of, i.Type+":"+i.Version)
	}
	return fmt.Sprintf("%d..%d want %d, version %s, %s", g.Min, g.Max, g.Desired, g.Version, strings.Join(of, " "))
}
