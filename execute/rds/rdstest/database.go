package rdstest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Database is one database instance. What is zero is as most databases are.
type Database struct {
	Status          string // default available
	Engine, Version string // default postgres, 16.3
	Class, Zone     string // zone by default eu-central-1a
	Storage         int
	StorageType     string // default gp2
	IOPS            int
	MultiAZ         bool
	Group, Applied  string // parameter group, and how far it is applied (default in-sync)
	Cluster, Source string
	Replicas        []string
	Tags            map[string]string
	Pending         map[string]string // by the name of the parameter of ModifyDBInstance
	Takes           time.Duration
	Says            []string // events while something is done to it
	Fails           string   // an event; modifications end without effect
	Breaks          string   // the status modifications end in

	steps  []step
	events []event
}

// step is a status it takes on later, with what becomes true then.
type step struct {
	at     time.Time
	status string
	apply  func()
}

type event struct {
	at   time.Time
	text string
}

// Class is one class of database instances.
type Class struct {
	Engines  []string // default postgres
	Storages []string // default gp2
	Zones    []string // default eu-central-1a
	Single   bool     // not offered in several zones
	Full     bool     // there is no capacity for it
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func (d *Database) move() {
	d.Status = or(d.Status, "available")
	for len(d.steps) > 0 && time.Now().After(d.steps[0].at) {
		s := d.steps[0]
		d.steps = d.steps[1:]
		d.Status = s.status
		if s.apply != nil {
			s.apply()
		}
	}
}

func (d *Database) say(format string, args ...any) {
	d.events = append(d.events, event{time.Now(), fmt.Sprintf(format, args...)})
}

// then plans a status after some time.
func (d *Database) then(after time.Duration, status string, apply func()) {
	at := time.Now()
	if n := len(d.steps); n > 0 {
		at = d.steps[n-1].at
	}
	d.steps = append(d.steps, step{at.Add(after), status, apply})
}

// Settle lets a database arrive that is on its way.
func (d *Database) Settle() {
	for i := range d.steps {
		d.steps[i].at = time.Time{}
	}
}

func (a *Account) one(in form) (string, *Database, *Fault) {
	id := in.get("DBInstanceIdentifier")
	if id == "" {
		return "", nil, fault("MissingParameter", "The request must contain the parameter DBInstanceIdentifier")
	}
	d := a.Databases[id]
	if d == nil {
		return "", nil, &Fault{Code: "DBInstanceNotFound", Message: "DBInstance " + id + " not found.", Status: http.StatusNotFound}
	}
	return id, d, nil
}

func (a *Account) describe(in form) (m, *Fault) {
	ids := slices.Sorted(maps.Keys(a.Databases))
	if in.get("DBInstanceIdentifier") != "" {
		id, _, bad := a.one(in)
		if bad != nil {
			return nil, bad
		}
		ids = []string{id}
	}
	rows := list{name: "DBInstance"}
	for _, id := range ids {
		d := a.Databases[id]
		replicas, tags := list{name: "ReadReplicaDBInstanceIdentifier"}, list{name: "Tag"}
		for _, r := range d.Replicas {
			replicas.items = append(replicas.items, r)
		}
		for _, k := range slices.Sorted(maps.Keys(d.Tags)) {
			tags.items = append(tags.items, m{"Key": k, "Value": d.Tags[k]})
		}
		pending := m{}
		for k, v := range d.Pending {
			pending[k] = v
		}
		row := m{
			"DBInstanceIdentifier": id, "DBInstanceStatus": d.Status, "Engine": or(d.Engine, "postgres"), "EngineVersion": or(d.Version, "16.3"), "LicenseModel": "postgresql-license",
			"DBInstanceClass": d.Class, "AvailabilityZone": or(d.Zone, "eu-central-1a"), "AllocatedStorage": d.Storage, "StorageType": or(d.StorageType, "gp2"), "MultiAZ": d.MultiAZ,
			"PreferredMaintenanceWindow": "sun:03:00-sun:04:00", "PendingModifiedValues": pending, "ReadReplicaDBInstanceIdentifiers": replicas, "TagList": tags,
			"DBParameterGroups": list{"DBParameterGroup", []any{m{"DBParameterGroupName": or(d.Group, "default.postgres16"), "ParameterApplyStatus": or(d.Applied, "in-sync")}}},
		}
		if d.IOPS > 0 {
			row["Iops"] = d.IOPS
		}
		if d.Cluster != "" {
			row["DBClusterIdentifier"] = d.Cluster
		}
		if d.Source != "" {
			row["ReadReplicaSourceDBInstanceIdentifier"] = d.Source
		}
		rows.items = append(rows.items, row)
	}
	return m{"DBInstances": rows}, nil
}

func (a *Account) events(in form) (m, *Fault) {
	id := in.get("SourceIdentifier")
	if id != "" && in.get("SourceType") == "" {
		return nil, fault("InvalidParameterCombination", "Cannot specify source identifier without source type")
	}
	rows := list{name: "Event"}
	if d := a.Databases[id]; d != nil {
		for _, e := range d.events {
			rows.items = append(rows.items, m{"SourceIdentifier": id, "SourceType": "db-instance", "Date": e.at, "Message": e.text})
		}
	}
	return m{"Events": rows}, nil
}

func (a *Account) groups(in form) (m, *Fault) {
	name := in.get("DBParameterGroupName")
	family, ok := a.Groups[name]
	if !ok {
		return nil, &Fault{Code: "DBParameterGroupNotFound", Message: "DBParameterGroup " + name + " not found.", Status: http.StatusNotFound}
	}
	return m{"DBParameterGroups": list{"DBParameterGroup", []any{m{"DBParameterGroupName": name, "DBParameterGroupFamily": family}}}}, nil
}

func defaulted(in []string, def string) []string {
	if len(in) == 0 {
		return []string{def}
	}
	return in
}

func (a *Account) orderable(in form) (m, *Fault) {
	if in.get("Engine") == "" {
		return nil, fault("MissingParameter", "The request must contain the parameter Engine")
	}
	rows := list{name: "OrderableDBInstanceOption"}
	for _, name := range slices.Sorted(maps.Keys(a.Classes)) {
		c := a.Classes[name]
		if !slices.Contains(defaulted(c.Engines, "postgres"), in.get("Engine")) || in.get("DBInstanceClass") != "" && in.get("DBInstanceClass") != name {
			continue
		}
		zones := list{name: "AvailabilityZone"}
		for _, z := range defaulted(c.Zones, "eu-central-1a") {
			zones.items = append(zones.items, m{"Name": z})
		}
		for _, s := range defaulted(c.Storages, "gp2") {
			rows.items = append(rows.items, m{
				"DBInstanceClass": name, "Engine": in.get("Engine"), "EngineVersion": in.get("EngineVersion"), "LicenseModel": "postgresql-license",
				"StorageType": s, "MultiAZCapable": !c.Single, "AvailabilityZones": zones,
			})
		}
	}
	return m{"OrderableDBInstanceOptions": rows}, nil
}

func wrong(id, status string) *Fault {
	return fault("InvalidDBInstanceState", "Database instance %s is in %s state and cannot be changed now.", id, status)
}

// taken are the parameters of ModifyDBInstance this double knows.
var taken = []string{"DBInstanceClass", "AllocatedStorage", "MultiAZ", "Iops"}

func (a *Account) modify(in form) (m, *Fault) {
	id, d, bad := a.one(in)
	if bad != nil {
		return nil, bad
	}
	if bad := a.refuse(id, d, in); bad != nil {
		return nil, bad
	}
	want := map[string]string{}
	for _, k := range taken {
		if v := in.get(k); v != "" {
			want[k] = v
		}
	}
	a.calls["ModifyDBInstance"]++
	if v := in.get("DBInstanceClass"); v != "" {
		a.calls["ModifyDBInstance "+v]++
	}
	if g := in.get("DBParameterGroupName"); g != "" && g != or(d.Group, "default.postgres16") {
		d.Group, d.Applied = g, "applying" // at once, whatever ApplyImmediately says
		d.then(a.Settle, d.Status, func() { d.Applied = "pending-reboot" })
	}
	if d.Pending == nil {
		d.Pending = map[string]string{}
	}
	maps.Copy(d.Pending, want)
	if in.get("ApplyImmediately") == "true" && len(d.Pending) > 0 {
		if d.Status == "storage-optimization" {
			d.steps = nil // it goes on beside this
		}
		grows := d.Pending["AllocatedStorage"] != ""
		d.then(a.Settle, "modifying", func() {
			for _, s := range d.Says {
				d.say("%s", s)
			}
			d.say("Applying modification to the database")
		})
		next := "available"
		if grows {
			next = "storage-optimization"
		}
		d.then(d.Takes, or(d.Breaks, next), d.apply)
		if grows {
			d.then(time.Hour, "available", nil)
		}
	}
	return m{"DBInstance": m{"DBInstanceIdentifier": id, "DBInstanceStatus": d.Status}}, nil
}

// apply makes pending values true.
func (d *Database) apply() {
	was := d.Pending
	d.Pending = nil
	if d.Fails != "" {
		d.say("%s", d.Fails)
		return
	}
	for k, v := range was {
		switch k {
		case "DBInstanceClass":
			d.Class = v
		case "AllocatedStorage":
			d.Storage, _ = strconv.Atoi(v)
		case "MultiAZ":
			d.MultiAZ = v == "true"
		case "EngineVersion":
			d.Version = v
		}
	}
	d.say("Finished applying modification")
}

func (a *Account) refuse(id string, d *Database, in form) *Fault {
	storage, err := strconv.Atoi(or(in.get("AllocatedStorage"), strconv.Itoa(d.Storage)))
	class, group := in.get("DBInstanceClass"), in.get("DBParameterGroupName")
	c := a.Classes[class]
	switch {
	case !slices.Contains([]string{"available", "storage-optimization", "storage-full"}, d.Status) || len(d.steps) > 0 && d.steps[0].status != "available":
		return wrong(id, d.Status)
	case d.Status == "storage-optimization" && in.get("AllocatedStorage") != "":
		return fault("InvalidParameterCombination", "You can't currently modify the storage of this DB instance because the previous storage change is being optimized.")
	case err != nil:
		return fault("MalformedInput", "AllocatedStorage is not an integer")
	case in.get("AllocatedStorage") != "" && storage <= d.Storage:
		return fault("InvalidParameterCombination", "Invalid storage size for engine name %s and storage type %s: %d", or(d.Engine, "postgres"), or(d.StorageType, "gp2"), storage)
	case in.get("AllocatedStorage") != "" && strings.HasPrefix(d.StorageType, "io") && in.get("Iops") == "":
		return fault("InvalidParameterCombination", "Iops must be specified when allocated storage of provisioned IOPS grows")
	case d.Cluster != "" && (in.get("AllocatedStorage") != "" || in.get("MultiAZ") != ""):
		return fault("InvalidParameterCombination", "The specified DB Instance is a member of a cluster. Modify the cluster instead.")
	case class != "" && c == nil:
		return fault("InvalidParameterValue", "Invalid DB Instance class: %s", class)
	case class != "" && c.Full:
		return fault("InsufficientDBInstanceCapacity", "Cannot modify the instance class because there are no instances of the requested class available. %s", d.Tags["said"])
	case group != "" && a.Groups[group] == "":
		return &Fault{Code: "DBParameterGroupNotFound", Message: "DBParameterGroup " + group + " not found.", Status: http.StatusNotFound}
	case group != "" && a.Groups[group] != a.Groups[or(d.Group, "default.postgres16")]:
		return fault("InvalidParameterCombination", "The Parameter Group %s with DBParameterGroupFamily %s can't be used for this instance.", group, a.Groups[group])
	}
	return nil
}

func (a *Account) stop(in form) (m, *Fault) {
	id, d, bad := a.one(in)
	switch {
	case bad != nil:
		return nil, bad
	case d.Cluster != "":
		return nil, fault("InvalidDBClusterStateFault", "%s is a member of a cluster. Stop the cluster instead.", id)
	case d.Status != "available" || len(d.steps) > 0 || len(d.Replicas) > 0 || d.Source != "":
		return nil, wrong(id, d.Status)
	}
	a.calls["StopDBInstance"]++
	d.then(a.Settle, "stopping", nil)
	d.then(d.Takes, "stopped", func() { d.say("DB instance stopped") })
	return m{"DBInstance": m{"DBInstanceIdentifier": id, "DBInstanceStatus": d.Status}}, nil
}

func (a *Account) start(in form) (m, *Fault) {
	id, d, bad := a.one(in)
	switch {
	case bad != nil:
		return nil, bad
	case d.Status != "stopped" || len(d.steps) > 0:
		return nil, wrong(id, d.Status)
	case a.Classes[d.Class] != nil && a.Classes[d.Class].Full:
		return nil, fault("InsufficientDBInstanceCapacity", "The specified DB instance class isn't available in the specified Availability Zone.")
	}
	a.calls["StartDBInstance"]++
	d.then(a.Settle, "starting", nil)
	d.then(d.Takes, "available", func() { d.say("DB instance started") })
	return m{"DBInstance": m{"DBInstanceIdentifier": id, "DBInstanceStatus": d.Status}}, nil
}

func (a *Account) reboot(in form) (m, *Fault) {
	id, d, bad := a.one(in)
	switch {
	case bad != nil:
		return nil, bad
	case d.Status != "available" || len(d.steps) > 0:
		return nil, wrong(id, d.Status)
	}
	a.calls["RebootDBInstance"]++
	d.then(a.Settle, "rebooting", nil)
	d.then(d.Takes, "available", func() { d.Applied = "in-sync"; d.say("DB instance restarted") })
	return m{"DBInstance": m{"DBInstanceIdentifier": id, "DBInstanceStatus": d.Status}}, nil
}

// Moving lists the databases something is done to. Optimising storage does not
// count: it takes hours, and nothing waits for it.
func (a *Account) Moving() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, id := range slices.Sorted(maps.Keys(a.Databases)) {
		d := a.Databases[id]
		if d.move(); len(d.steps) > 0 && d.Status != "storage-optimization" {
			out = append(out, id+" is "+d.Status)
		}
	}
	return out
}
