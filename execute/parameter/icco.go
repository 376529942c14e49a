package parameter

import (
	"slices"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// Label is where a version of a parameter stands in the life of a
// recommendation. On the newest version of a key there is at most one.
type Label string

// The labels of ICCO. Unlike there, Approved and Scheduled stand on a version
// that still holds the current value: nothing may be read before the window.
const (
	Initialize Label = "Initialize" // the current value, a recommendation is known
	Approved   Label = "Approved"   // a person has approved the plan
	Scheduled  Label = "Scheduled"  // the change has its window
	Executed   Label = "Executed"   // the recommended value is in force
	Closed     Label = "Closed"     // verified and over
)

// What ICCO has no label for.
const (
	Published    Label = "Published"    // the recommended value is readable, the window is open
	RolledBack   Label = "RolledBack"   // the old value was put back
	Failed       Label = "Failed"       // the change failed; the value is the old one
	Denied       Label = "Denied"       // the outcomes of ops, for changes that were never executed
	Withdrawn    Label = "Withdrawn"    //
	Expired      Label = "Expired"      //
	Superseded   Label = "Superseded"   //
	MissedWindow Label = "MissedWindow" //
)

// Labels lists all lifecycle labels.
var Labels = []Label{
	Initialize, Approved, Scheduled, Published, Executed, Closed, RolledBack, Failed,
	Denied, Withdrawn, Expired, Superseded, MissedWindow,
}

func lifecycle(s string) bool { return slices.Contains(Labels, Label(s)) }

// LabelOf returns the label of a change that ended this way; empty for an
// outcome that says nothing about the parameter.
func LabelOf(o ops.Outcome) Label {
	return map[ops.Outcome]Label{
		ops.Successful: Closed, ops.SuccessfulWithIssues: Closed, ops.Unsuccessful: Failed,
		ops.Denied: Denied, ops.Withdrawn: Withdrawn, ops.Expired: Expired, ops.Superseded: Superseded, ops.MissedWindow: MissedWindow,
	}[o]
}

// root is where ICCO's templates look.
const root = "/densify/iaas/"

// The keys of ICCO, by the service type of a recommendation.

// EC2Key is the key of an instance's type.
func EC2Key(instance string) string { return root + "ec2/" + instance + "/instanceType" }

// RDSKey is the key of a database's class. ICCO names it by the database's name.
func RDSKey(name string) string { return root + "rds/" + name + "/dbInstanceClass" }

// ASGKeys are the keys of a group's instance type and of its limits.
func ASGKeys(group string) (instanceType, minSize, maxSize string) {
	at := root + "asg/" + group + "/"
	return at + "instanceType", at + "minSize", at + "maxSize"
}

// ParseKey takes a key of ICCO apart into service (ec2, rds, asg), resource and
// attribute; ok is false for any other key.
func ParseKey(key string) (service, resource, attribute string, ok bool) {
	rest, ok := strings.CutPrefix(key, root)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 || slices.Contains(parts, "") {
		return "", "", "", false
	}
	return parts[0], parts[1], parts[2], true
}
