package ec2test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"time"
)

// Instance is one instance. What is zero is as most instances are.
type Instance struct {
	State        string // default running
	Type         string
	Zone         string // default eu-central-1a
	Architecture string // default x86_64
	Root         string // default ebs
	BootMode     string
	Spot, NoENA  bool
	StopLocked   bool // stop protection
	Lasting      bool // termination protection
	Tags         map[string]string
	Address      string // public
	Group        string // of Auto Scaling
	Standby      bool   // in it
	Sick         bool   // its status checks fail
	Deaf         bool   // it takes calls to stop it, and goes on running
	Takes        time.Duration
	Says         []string // told one by one as reasons while it moves; it does not arrive before

	reason, why string
	next        string
	at          time.Time
}

// Type is one instance type.
type Type struct {
	Architectures []string // default x86_64
	ENA, NVMe     string   // unsupported, supported (the default) or required
	Store         int      // GB of instance store
	BootModes     []string
	Zones         []string // default all
	Full          int      // so many more starts are refused for lack of capacity
	Falls         bool     // instances start and fall back to stopped
	Refused       bool     // nobody may make an instance one of it, whatever a dry run says
	Sick          bool     // instances of it fail their status checks
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// move lets an instance that is on its way arrive.
func (i *Instance) move() {
	i.State = or(i.State, "running")
	if i.next != "" && len(i.Says) == 0 && time.Now().After(i.at) {
		i.State, i.next = i.next, ""
	}
}

var codes = map[string]int{"pending": 0, "running": 16, "stopping": 64, "stopped": 80, "shutting-down": 32, "terminated": 48}

func state(s string) m { return m{"code": codes[s], "name": s} }

var idPattern = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)

// named returns the instances a call is about.
func (a *Account) named(in form, key string, required bool) ([]string, *Fault) {
	ids := in.texts(key)
	if len(ids) == 0 && required {
		return nil, fault("MissingParameter", "The request must contain the parameter %s", key)
	}
	for _, id := range ids {
		switch {
		case !idPattern.MatchString(id):
			return nil, fault("InvalidInstanceID.Malformed", "Invalid id: %q", id)
		case a.Instances[id] == nil:
			return nil, fault("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
		}
	}
	if len(ids) == 0 {
		ids = slices.Sorted(maps.Keys(a.Instances))
	}
	return ids, nil
}

func (a *Account) describe(in form) (m, *Fault) {
	ids, bad := a.named(in, "InstanceId", false)
	if bad != nil {
		return nil, bad
	}
	var rows set
	for _, id := range ids {
		i := a.Instances[id]
		row := m{
			"instanceId": id, "instanceType": i.Type, "instanceState": state(i.State), "architecture": or(i.Architecture, "x86_64"),
			"virtualizationType": "hvm", "rootDeviceType": or(i.Root, "ebs"), "enaSupport": !i.NoENA, "placement": m{"availabilityZone": or(i.Zone, "eu-central-1a")},
		}
		if i.BootMode != "" {
			row["currentInstanceBootMode"] = i.BootMode
		}
		if i.Spot {
			row["instanceLifecycle"] = "spot"
		}
		if i.Address != "" && i.State == "running" {
			row["ipAddress"] = i.Address
			row["networkInterfaceSet"] = set{m{"association": m{"publicIp": i.Address}}}
		}
		if i.next != "" && len(i.Says) > 0 {
			i.why, i.Says = i.Says[0], i.Says[1:]
		}
		if i.reason != "" || i.why != "" {
			row["stateReason"] = m{"code": i.reason, "message": i.why}
		}
		var tags set
		for _, k := range slices.Sorted(maps.Keys(i.Tags)) {
			tags = append(tags, m{"key": k, "value": i.Tags[k]})
		}
		row["tagSet"] = tags
		rows = append(rows, m{"reservationId": "r-" + id, "instancesSet": set{row}})
	}
	return m{"reservationSet": rows}, nil
}

func (a *Account) status(in form) (m, *Fault) {
	ids, bad := a.named(in, "InstanceId", false)
	if bad != nil {
		return nil, bad
	}
	rows := set{}
	for _, id := range ids {
		if i := a.Instances[id]; i.State == "running" {
			s := "ok"
			if k := a.Types[i.Type]; i.Sick || k != nil && k.Sick {
				s = "impaired"
			}
			rows = append(rows, m{"instanceId": id, "instanceState": state(i.State), "instanceStatus": m{"status": s}, "systemStatus": m{"status": "ok"}})
		}
	}
	return m{"instanceStatusSet": rows}, nil
}

func (a *Account) one(in form) (string, *Instance, *Fault) {
	id := in.get("InstanceId")
	if id == "" {
		return "", nil, fault("MissingParameter", "The request must contain the parameter InstanceId")
	}
	if !idPattern.MatchString(id) {
		return "", nil, fault("InvalidInstanceID.Malformed", "Invalid id: %q", id)
	}
	i := a.Instances[id]
	if i == nil {
		return "", nil, fault("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
	}
	return id, i, nil
}

func (a *Account) attribute(in form) (m, *Fault) {
	id, i, bad := a.one(in)
	if bad != nil {
		return nil, bad
	}
	switch name := in.get("Attribute"); name {
	case "disableApiStop":
		return m{"instanceId": id, name: m{"value": i.StopLocked}}, nil
	case "disableApiTermination":
		return m{"instanceId": id, name: m{"value": i.Lasting}}, nil
	default:
		return nil, fault("InvalidParameterValue", "Value (%s) for parameter attribute is invalid. Unknown attribute.", name)
	}
}

func (a *Account) types(in form) (m, *Fault) {
	var rows set
	for _, name := range in.texts("InstanceType") {
		k := a.Types[name]
		if k == nil {
			return nil, fault("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", name)
		}
		archs := k.Architectures
		if len(archs) == 0 {
			archs = []string{"x86_64"}
		}
		row := m{
			"instanceType": name, "processorInfo": m{"supportedArchitectures": archs}, "supportedVirtualizationTypes": []string{"hvm"},
			"supportedRootDeviceTypes": []string{"ebs"}, "networkInfo": m{"enaSupport": or(k.ENA, "supported")}, "ebsInfo": m{"nvmeSupport": or(k.NVMe, "supported")},
			"instanceStorageSupported": k.Store > 0, "supportedBootModes": k.BootModes,
		}
		if k.Store > 0 {
			row["instanceStorageInfo"] = m{"totalSizeInGB": k.Store}
		}
		rows = append(rows, row)
	}
	return m{"instanceTypeSet": rows}, nil
}

func (a *Account) offerings(in form) (m, *Fault) {
	if in.get("LocationType") != "availability-zone" {
		return nil, fault("InvalidParameterValue", "this double knows only availability zones")
	}
	filters := in.filters()
	rows := set{}
	for _, name := range filters["instance-type"] {
		for _, zone := range filters["location"] {
			if k := a.Types[name]; k != nil && (len(k.Zones) == 0 || slices.Contains(k.Zones, zone)) {
				rows = append(rows, m{"instanceType": name, "location": zone, "locationType": "availability-zone"})
			}
		}
	}
	return m{"instanceTypeOfferingSet": rows}, nil
}

func (a *Account) addresses(in form) (m, *Fault) {
	rows := set{}
	for _, address := range slices.Sorted(maps.Keys(a.ElasticIPs)) {
		if slices.Contains(in.filters()["instance-id"], a.ElasticIPs[address]) {
			rows = append(rows, m{"publicIp": address, "instanceId": a.ElasticIPs[address]})
		}
	}
	return m{"addressesSet": rows}, nil
}

func (a *Account) groups(in form) (m, *Fault) {
	rows := members{}
	for _, id := range in.texts("InstanceIds.member") {
		if i := a.Instances[id]; i != nil && i.Group != "" {
			life := "InService"
			if i.Standby {
				life = "Standby"
			}
			rows = append(rows, m{"InstanceId": id, "AutoScalingGroupName": i.Group, "LifecycleState": life, "AvailabilityZone": or(i.Zone, "eu-central-1a"), "HealthStatus": "HEALTHY", "ProtectedFromScaleIn": false})
		}
	}
	return m{"DescribeAutoScalingInstancesResult": m{"AutoScalingInstances": rows}}, nil
}

// dry is the answer to a dry run by somebody who may.
func dry(in form) *Fault {
	if in.get("DryRun") != "true" {
		return nil
	}
	return &Fault{Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.", Status: http.StatusPreconditionFailed}
}

func wrong(id, want string) *Fault {
	return fault("IncorrectInstanceState", "The instance '%s' is not in the '%s' state.", id, want)
}

func (a *Account) stop(in form) (m, *Fault) {
	ids, bad := a.named(in, "InstanceId", true)
	if bad != nil {
		return nil, bad
	}
	if bad := dry(in); bad != nil {
		return nil, bad
	}
	var rows set
	for _, id := range ids {
		i, was := a.Instances[id], a.Instances[id].State
		switch {
		case i.Root == "instance-store":
			return nil, fault("UnsupportedOperation", "The instance '%s' does not have an 'ebs' root device type and cannot be stopped", id)
		case i.StopLocked:
			return nil, fault("OperationNotPermitted", "The instance '%s' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.", id)
		case was == "terminated" || was == "shutting-down" || was == "pending":
			return nil, wrong(id, "running")
		case was == "running" && !i.Deaf:
			a.calls["StopInstances"]++
			i.State, i.next, i.at = "stopping", "stopped", time.Now().Add(i.Takes)
			i.reason, i.why = "Client.UserInitiatedShutdown", "User initiated shutdown"
		}
		rows = append(rows, m{"instanceId": id, "currentState": state(i.State), "previousState": state(was)})
	}
	return m{"instancesSet": rows}, nil
}

func (a *Account) start(in form) (m, *Fault) {
	ids, bad := a.named(in, "InstanceId", true)
	if bad != nil {
		return nil, bad
	}
	if bad := dry(in); bad != nil {
		return nil, bad
	}
	var rows set
	for _, id := range ids {
		i, was := a.Instances[id], a.Instances[id].State
		k := a.Types[i.Type]
		switch {
		case was == "terminated" || was == "shutting-down" || was == "stopping":
			return nil, wrong(id, "stopped")
		case was == "stopped" && k.Full > 0:
			k.Full--
			return nil, &Fault{
				Code: "InsufficientInstanceCapacity", Status: http.StatusInternalServerError,
				Message: fmt.Sprintf("We currently do not have sufficient %s capacity in the Availability Zone you requested (%s). %s", i.Type, or(i.Zone, "eu-central-1a"), i.Tags["said"]),
			}
		case was == "stopped":
			a.calls["StartInstances"]++
			i.State, i.next, i.at, i.reason, i.why = "pending", "running", time.Now().Add(i.Takes), "", ""
			if k.Falls {
				i.next, i.reason, i.why = "stopped", "Server.InternalError", "Server.InternalError: Internal error on launch"
			}
		}
		rows = append(rows, m{"instanceId": id, "currentState": state(i.State), "previousState": state(was)})
	}
	return m{"instancesSet": rows}, nil
}

func (a *Account) modify(in form) (m, *Fault) {
	id, i, bad := a.one(in)
	if bad != nil {
		return nil, bad
	}
	kind := in.get("InstanceType.Value")
	if kind == "" {
		return nil, fault("InvalidParameterCombination", "No attributes specified.")
	}
	if bad := dry(in); bad != nil {
		return nil, bad
	}
	switch k := a.Types[kind]; {
	case i.State != "stopped":
		return nil, wrong(id, "stopped")
	case k != nil && k.Refused:
		return nil, &Fault{Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation.", Status: http.StatusForbidden}
	case k == nil:
		return nil, fault("InvalidInstanceAttributeValue", "Invalid value '%s' for instanceType.", kind)
	case k.ENA == "required" && i.NoENA:
		return nil, fault("InvalidParameterCombination", "Enhanced networking with the Elastic Network Adapter (ENA) is required for the '%s' instance type.", kind)
	case i.Type != kind:
		a.calls["ModifyInstanceAttribute"]++
		a.calls["ModifyInstanceAttribute "+kind]++
		i.Type = kind
	}
	return m{"return": true}, nil
}

// Moving lists the instances that are on their way.
func (a *Account) Moving() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, id := range slices.Sorted(maps.Keys(a.Instances)) {
		i := a.Instances[id]
		if i.move(); i.next != "" {
			out = append(out, id+" is "+i.State)
		}
	}
	return out
}
