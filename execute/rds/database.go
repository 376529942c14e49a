package rds

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// The attributes of a plan.
const (
	attributeClass   = "class"
	attributeStorage = "storage" // GiB
	attributeMultiAZ = "multi_az"
	attributeGroup   = "parameter_group"
	attributeState   = "state"
)

// settings are what Modify sets.
var settings = []string{attributeClass, attributeStorage, attributeMultiAZ, attributeGroup}

// The states a change may ask for. The first two are statuses of the service.
const (
	available = "available"
	stopped   = "stopped"
	rebooted  = "rebooted"
)

// Statuses in which a database is as usable as in available, but for its
// storage.
const (
	optimizing = "storage-optimization"
	full       = "storage-full"
)

// down are the statuses of a database nobody can use.
var down = []string{stopped, "stopping", "starting", "deleting"}

// database is what matters here of a database instance, as the service
// describes it.
type database struct {
	ID, Status                string
	Engine, Version, License  string
	Class, Zone               string
	Group, Applied            string // parameter group, and how far it is applied
	Storage, IOPS             int32
	StorageType               string
	MultiAZ                   bool
	Cluster, Source, Restarts string
	Maintenance               string
	Replicas                  int
	Tags                      map[string]string
	Pending                   map[string]string
}

func (x *Executor) describe(ctx context.Context, id string) (database, error) {
	out, err := x.client.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
	if err != nil {
		return database{}, awsx.Read("rds: describe database "+x.env.Redact(id), err)
	}
	if len(out.DBInstances) != 1 {
		return database{}, fmt.Errorf("rds: %d databases are called %s: %w", len(out.DBInstances), x.env.Redact(id), ops.ErrNotFound)
	}
	return condense(out.DBInstances[0]), nil
}

func condense(i types.DBInstance) database {
	d := database{
		ID: aws.ToString(i.DBInstanceIdentifier), Status: aws.ToString(i.DBInstanceStatus), Engine: aws.ToString(i.Engine), Version: aws.ToString(i.EngineVersion),
		License: aws.ToString(i.LicenseModel), Class: aws.ToString(i.DBInstanceClass), Zone: aws.ToString(i.AvailabilityZone), Storage: aws.ToInt32(i.AllocatedStorage),
		IOPS: aws.ToInt32(i.Iops), StorageType: aws.ToString(i.StorageType), MultiAZ: aws.ToBool(i.MultiAZ), Cluster: aws.ToString(i.DBClusterIdentifier),
		Source: aws.ToString(i.ReadReplicaSourceDBInstanceIdentifier), Maintenance: aws.ToString(i.PreferredMaintenanceWindow),
		Replicas: len(i.ReadReplicaDBInstanceIdentifiers) + len(i.ReadReplicaDBClusterIdentifiers), Tags: map[string]string{}, Pending: pending(i.PendingModifiedValues),
	}
	if d.Source == "" {
		d.Source = aws.ToString(i.ReadReplicaSourceDBClusterIdentifier)
	}
	for _, g := range i.DBParameterGroups {
		d.Group, d.Applied = aws.ToString(g.DBParameterGroupName), aws.ToString(g.ParameterApplyStatus)
	}
	for _, t := range i.TagList {
		d.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return d
}

// pending lists what the service has taken and not applied. A password among
// it is only named.
func pending(p *types.PendingModifiedValues) map[string]string {
	out := map[string]string{}
	if p == nil {
		return out
	}
	text := func(name string, v *string) {
		if v != nil {
			out[name] = *v
		}
	}
	number := func(name string, v *int32) {
		if v != nil {
			out[name] = strconv.Itoa(int(*v))
		}
	}
	yes := func(name string, v *bool) {
		if v != nil {
			out[name] = strconv.FormatBool(*v)
		}
	}
	text(attributeClass, p.DBInstanceClass)
	number(attributeStorage, p.AllocatedStorage)
	yes(attributeMultiAZ, p.MultiAZ)
	text("engine", p.Engine)
	text("engine version", p.EngineVersion)
	text("identifier", p.DBInstanceIdentifier)
	text("license model", p.LicenseModel)
	text("storage type", p.StorageType)
	text("certificate authority", p.CACertificateIdentifier)
	text("subnet group", p.DBSubnetGroupName)
	number("port", p.Port)
	number("backup retention", p.BackupRetentionPeriod)
	number("iops", p.Iops)
	number("storage throughput", p.StorageThroughput)
	yes("multi-tenant", p.MultiTenant)
	yes("IAM authentication", p.IAMDatabaseAuthenticationEnabled)
	yes("dedicated log volume", p.DedicatedLogVolume)
	if p.MasterUserPassword != nil {
		out["password"] = "another"
	}
	if l := p.PendingCloudwatchLogsExports; l != nil {
		out["log exports"] = fmt.Sprintf("on %v, off %v", l.LogTypesToEnable, l.LogTypesToDisable)
	}
	for _, f := range p.ProcessorFeatures {
		out["processor "+aws.ToString(f.Name)] = aws.ToString(f.Value)
	}
	if n := len(p.AdditionalStorageVolumes); n > 0 {
		out["storage volumes"] = strconv.Itoa(n)
	}
	return out
}

// value is an attribute as it is.
func (d database) value(attribute string) string {
	switch attribute {
	case attributeClass:
		return d.Class
	case attributeStorage:
		return strconv.Itoa(int(d.Storage))
	case attributeMultiAZ:
		return strconv.FormatBool(d.MultiAZ)
	case attributeGroup:
		return d.Group
	}
	return d.Status
}

// has reports whether an attribute is as wanted. Storage may be more: it can
// grow by itself.
func (d database) has(attribute, want string) bool {
	switch attribute {
	case attributeStorage:
		n, err := strconv.Atoi(want)
		return err == nil && int(d.Storage) >= n
	case attributeState:
		return d.Status == want || want == available && (d.Status == optimizing || d.Status == full)
	}
	return d.value(attribute) == want
}

// findings are what a plan says beside the attributes.
type findings struct {
	pending map[string]string // applied together with ours
	notes   []string
}

const stackTag = "aws:cloudformation:stack-name"

// check refuses what the service would refuse in the window, and what costs
// more than the configuration allows.
func (x *Executor) check(ctx context.Context, action string, d database, want map[string]string) (findings, error) {
	var f findings
	denied := func(format string, args ...any) error {
		return fmt.Errorf("rds: database %s %s: %w", d.ID, fmt.Sprintf(format, args...), ops.ErrDenied)
	}
	switch stack := d.Tags[stackTag]; {
	case d.Cluster != "":
		return f, denied("is a member of cluster %s, which decides on its class, storage and state: change the cluster", d.Cluster)
	case strings.HasPrefix(d.Engine, "custom-"):
		return f, denied("is RDS Custom (%s), to which these calls do not apply", d.Engine)
	case stack != "" && !x.cfg.StackMembers:
		return f, denied("belongs to stack %s of CloudFormation: change the stack, or set stack_members and let it drift", stack)
	case stack != "":
		f.notes = append(f.notes, "stack "+stack+" of CloudFormation drifts from now on")
	}
	if err := d.ready(action, want); err != nil {
		return f, err
	}
	switch action {
	case Stop:
		f.notes = append(f.notes, "the service starts it again by itself after 7 days")
	case Reboot:
		f.notes = append(f.notes, "it is down for a moment")
	case Modify, Resize:
		if len(d.Pending) > 0 && !x.cfg.ApplyPending {
			return f, fmt.Errorf("rds: database %s has changes pending (%s), and they would be applied with this one; wait for its maintenance window, take them back, or set apply_pending: %w",
				d.ID, list(d.Pending), ops.ErrDenied)
		}
		if both := d.ours(want); len(both) > 0 {
			return f, fmt.Errorf("rds: %s of database %s is to change already (%s); wait for its maintenance window or take that back: %w", strings.Join(both, ", "), d.ID, list(d.Pending), ops.ErrConflict)
		}
		f.pending = d.Pending
		f.notes = append(f.notes, "at once, not in its maintenance window "+d.Maintenance)
		for _, k := range settings {
			if v, ok := want[k]; ok {
				if err := x.fits(ctx, d, k, v, want, &f); err != nil {
					return f, err
				}
			}
		}
	}
	return f, nil
}

func list(m map[string]string) string {
	var out []string
	for k, v := range m {
		out = append(out, k+" "+v)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// ready refuses a database whose status does not allow the action.
func (d database) ready(action string, want map[string]string) error {
	_, grows := want[attributeStorage]
	switch {
	case action == Start && d.Status == available, action == Stop && d.Status == stopped:
		return fmt.Errorf("rds: database %s is %s already: %w", d.ID, d.Status, ops.ErrInvalid)
	case action == Start && d.Status == stopped:
		return nil
	case action == Start:
		return fmt.Errorf("rds: database %s is %s, and only a stopped one is started: %w", d.ID, d.Status, ops.ErrConflict)
	case action == Stop && (d.Replicas > 0 || d.Source != ""):
		return fmt.Errorf("rds: database %s has read replicas or is one, and cannot be stopped: %w", d.ID, ops.ErrDenied)
	case action == Stop && d.MultiAZ && strings.HasPrefix(d.Engine, "sqlserver"):
		return fmt.Errorf("rds: database %s is SQL Server in several zones, and cannot be stopped: %w", d.ID, ops.ErrDenied)
	// What is full is helped by more storage, and by nothing else.
	case d.Status == available, d.Status == full && grows, d.Status == optimizing && !grows && (action == Modify || action == Resize):
		return nil
	}
	return fmt.Errorf("rds: database %s is %s; wait until it is available: %w", d.ID, d.Status, ops.ErrConflict)
}

// fits refuses a value the database cannot have.
func (x *Executor) fits(ctx context.Context, d database, k, v string, want map[string]string, f *findings) error {
	if d.value(k) == v {
		return x.invalid("%s of database %s is %s already", k, d.ID, v)
	}
	switch k {
	case attributeClass:
		if err := x.cfg.mayGive(v); err != nil {
			return err
		}
		if d.MultiAZ {
			f.notes = append(f.notes, "it fails over while the class changes: a short outage")
		} else {
			f.notes = append(f.notes, "it is down while the class changes: it has no standby")
		}
	case attributeStorage:
		return x.grows(d, v)
	case attributeMultiAZ:
		if v != "true" && v != "false" {
			return x.invalid("multi_az %q is neither true nor false", v)
		}
	case attributeGroup:
		f.notes = append(f.notes, "it is rebooted afterwards if the group needs that: down for a moment")
		return x.family(ctx, d, v)
	}
	if *x.cfg.ClassCheck {
		return x.orderable(ctx, d, want)
	}
	return nil
}

// grows refuses storage the service would refuse or round up.
func (x *Executor) grows(d database, v string) error {
	n, err := strconv.ParseInt(v, 10, 32)
	least := int64(d.Storage) + 1
	if !strings.HasPrefix(d.Engine, "sqlserver") {
		// The service rounds up what is less than 10 % more.
		least = (int64(d.Storage)*11 + 9) / 10
	}
	switch {
	case err != nil || n <= 0:
		return x.invalid("storage %q is no number of GiB", v)
	case n <= int64(d.Storage):
		return x.invalid("database %s has %d GiB, and storage cannot shrink to %d; the least is %d", d.ID, d.Storage, n, least)
	case n < least:
		return x.invalid("storage of database %s grows by at least 10 %%: write %d or more in place of %d", d.ID, least, n)
	case x.cfg.MaxStorage > 0 && n > int64(x.cfg.MaxStorage):
		return fmt.Errorf("rds: storage %d GiB of database %s is more than max_storage %d: %w", n, d.ID, x.cfg.MaxStorage, ops.ErrDenied)
	}
	return nil
}

// family refuses a parameter group made for another engine.
func (x *Executor) family(ctx context.Context, d database, group string) error {
	families := map[string]string{}
	for _, g := range []string{d.Group, group} {
		out, err := x.client.DescribeDBParameterGroups(ctx, &rds.DescribeDBParameterGroupsInput{DBParameterGroupName: &g})
		if err != nil {
			return awsx.Read("rds: describe parameter group "+g, err)
		}
		for _, p := range out.DBParameterGroups {
			families[g] = aws.ToString(p.DBParameterGroupFamily)
		}
	}
	if families[group] != families[d.Group] {
		return x.invalid("parameter group %s is for %s, and database %s needs one for %s", group, families[group], d.ID, families[d.Group])
	}
	return nil
}

// orderable refuses a class that is not offered for the engine, the storage and
// the zone of the database.
func (x *Executor) orderable(ctx context.Context, d database, want map[string]string) error {
	class, several := d.Class, d.MultiAZ
	if v, ok := want[attributeClass]; ok {
		class = v
	}
	if v, ok := want[attributeMultiAZ]; ok {
		several = v == "true"
	}
	in := &rds.DescribeOrderableDBInstanceOptionsInput{Engine: &d.Engine, EngineVersion: &d.Version, DBInstanceClass: &class}
	why := "it is not offered for " + d.Engine + " " + d.Version
	for {
		page, err := x.client.DescribeOrderableDBInstanceOptions(ctx, in)
		if err != nil {
			return awsx.Read("rds: look where class "+class+" is offered", err)
		}
		for _, o := range page.OrderableDBInstanceOptions {
			here := slices.ContainsFunc(o.AvailabilityZones, func(z types.AvailabilityZone) bool { return aws.ToString(z.Name) == d.Zone })
			switch {
			case aws.ToString(o.DBInstanceClass) != class || d.License != "" && aws.ToString(o.LicenseModel) != d.License:
			case aws.ToString(o.StorageType) != d.StorageType:
				why = "it is not offered with storage " + d.StorageType
			case d.Zone != "" && !here:
				why = "it is not offered in " + d.Zone
			case several && !aws.ToBool(o.MultiAZCapable):
				why = "it is not offered in several zones"
			default:
				return nil
			}
		}
		if aws.ToString(page.Marker) == "" {
			return x.invalid("database %s cannot have class %s: %s", d.ID, class, why)
		}
		in.Marker = page.Marker
	}
}
