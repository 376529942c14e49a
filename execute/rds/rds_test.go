package rds_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/execute/rds"
	"github.com/fettleops/fettle/execute/rds/rdstest"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/ops"
)

type bench struct {
	execute.Executor
	t       *testing.T
	account *rdstest.Account
	marks   *executetest.Marks
}

func open(t *testing.T, url, extra string, m execute.Marks) execute.Executor {
	t.Helper()
	awsxtest.Credentials(t)
	decode := func(into any) error {
		return yaml.NewDecoder(strings.NewReader(config(url, extra)), yaml.Strict()).Decode(into)
	}
	x, err := rds.Driver.Open(t.Context(), decode, execute.Env{
		Name: "aws", Host: "here", Dir: t.TempDir(), Marks: m, Redact: func(s string) string { return s }, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func newBench(t *testing.T, extra string) *bench {
	t.Helper()
	b := &bench{t: t, account: rdstest.Start(t).Account("a"), marks: executetest.NewMarks()}
	world(b.account)
	b.Executor = open(t, b.account.URL, extra, b.marks)
	return b
}

func (b *bench) database(shape func(d *rdstest.Database)) {
	b.account.With(func() { shape(b.account.Databases["shop"]) })
}

func (b *bench) plan(action string, args ...string) ops.Plan {
	b.t.Helper()
	p, err := b.Plan(b.t.Context(), execute.Request{Change: ops.Change{ID: "c1", Action: action, Args: append([]string{"shop"}, args...)}})
	if err != nil {
		b.t.Fatalf("plan: %v", err)
	}
	return p
}

func (b *bench) wants(err, class error, says ...string) {
	b.t.Helper()
	if !errors.Is(err, class) {
		b.t.Errorf("got %v, want %v", err, class)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			b.t.Errorf("%q does not say %q", err, s)
		}
	}
}

func (b *bench) refuses(class error, says, action string, args ...string) {
	b.t.Helper()
	_, err := b.Plan(b.t.Context(), execute.Request{Change: ops.Change{Action: action, Args: args}})
	b.wants(err, class, says)
}

func (b *bench) apply(token execute.Token, p ops.Plan) string {
	b.t.Helper()
	var out strings.Builder
	if _, err := b.Apply(b.t.Context(), token, p, &out); err != nil {
		b.t.Fatalf("apply: %v", err)
	}
	return out.String()
}

func (b *bench) drift(p ops.Plan, want execute.Drift) {
	b.t.Helper()
	if d, err := b.Drift(b.t.Context(), p); d != want {
		b.t.Errorf("drift is %s, %v; want %s", d, err, want)
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t, "classes: [db.m5.*, db.r5.*]\nmax_storage: 500\n")
	b.account.With(func() {
		b.account.Databases["else"] = &rdstest.Database{Class: "db.m5.large"}
		b.account.Classes["db.r5.mysql"] = &rdstest.Class{Engines: []string{"mysql"}}
		b.account.Classes["db.r5.far"] = &rdstest.Class{Zones: []string{"eu-central-1c"}}
		b.account.Classes["db.r5.io"] = &rdstest.Class{Storages: []string{"io1"}}
		b.account.Classes["db.r5.single"] = &rdstest.Class{Single: true}
	})
	f := b.refuses
	f(ops.ErrInvalid, "allowed are resize, modify, stop, start, reboot", "delete", "shop")
	f(ops.ErrInvalid, "takes two arguments", rds.Resize, "shop")
	f(ops.ErrInvalid, "takes one argument", rds.Stop)
	f(ops.ErrInvalid, "takes a database and what to set", rds.Modify, "shop")
	f(ops.ErrInvalid, "is not one of class=", rds.Modify, "shop", "port=1")
	f(ops.ErrInvalid, "each once", rds.Modify, "shop", "storage=200", "storage=300")
	f(ops.ErrNotFound, "none", rds.Stop, "none")
	f(ops.ErrDenied, "allowed are shop", rds.Stop, "else")
	f(ops.ErrInvalid, "class of database shop is db.m5.xlarge already", rds.Resize, "shop", "db.m5.xlarge")
	f(ops.ErrDenied, "allowed are db.m5.*, db.r5.*", rds.Resize, "shop", "db.x1.32xlarge")
	f(ops.ErrInvalid, "not offered for postgres 16.3", rds.Resize, "shop", "db.r5.mysql")
	f(ops.ErrInvalid, "not offered in eu-central-1a", rds.Resize, "shop", "db.r5.far")
	f(ops.ErrInvalid, "not offered with storage gp2", rds.Resize, "shop", "db.r5.io")
	f(ops.ErrInvalid, "not offered in several zones", rds.Modify, "shop", "class=db.r5.single", "multi_az=true")
	f(ops.ErrInvalid, "neither true nor false", rds.Modify, "shop", "multi_az=yes")
	f(ops.ErrInvalid, "cannot shrink to 50; the least is 110", rds.Modify, "shop", "storage=50")
	f(ops.ErrInvalid, "write 110 or more", rds.Modify, "shop", "storage=105")
	f(ops.ErrInvalid, "no number of GiB", rds.Modify, "shop", "storage=200GB")
	f(ops.ErrInvalid, "need a change each", rds.Modify, "shop", "storage=200", "parameter_group=tuned")
	f(ops.ErrDenied, "max_storage 500", rds.Modify, "shop", "storage=600")
	f(ops.ErrNotFound, "none", rds.Modify, "shop", "parameter_group=none")
	f(ops.ErrInvalid, "is for postgres11", rds.Modify, "shop", "parameter_group=old")
	f(ops.ErrInvalid, "is available already", rds.Start, "shop")
	shaped := func(class error, says string, shape func(d *rdstest.Database), action string, args ...string) {
		t.Helper()
		var was rdstest.Database
		b.database(func(d *rdstest.Database) { was = *d; shape(d) })
		f(class, says, action, append([]string{"shop"}, args...)...)
		b.database(func(d *rdstest.Database) { *d = was })
	}
	status := func(s string) func(d *rdstest.Database) { return func(d *rdstest.Database) { d.Status = s } }
	shaped(ops.ErrDenied, "member of cluster orders", func(d *rdstest.Database) { d.Cluster = "orders" }, rds.Resize, "db.m5.large")
	shaped(ops.ErrDenied, "RDS Custom", func(d *rdstest.Database) { d.Engine = "custom-oracle-ee" }, rds.Stop)
	shaped(ops.ErrDenied, "stack web", func(d *rdstest.Database) { d.Tags = map[string]string{"aws:cloudformation:stack-name": "web"} }, rds.Stop)
	shaped(ops.ErrDenied, "set apply_pending", func(d *rdstest.Database) { d.Pending = map[string]string{"EngineVersion": "16.4"} }, rds.Resize, "db.m5.large")
	shaped(ops.ErrDenied, "has read replicas", func(d *rdstest.Database) { d.Replicas = []string{"shop-2"} }, rds.Stop)
	shaped(ops.ErrDenied, "SQL Server", func(d *rdstest.Database) { d.Engine, d.MultiAZ = "sqlserver-se", true }, rds.Stop)
	shaped(ops.ErrConflict, "is backing-up", status("backing-up"), rds.Resize, "db.m5.large")
	shaped(ops.ErrConflict, "is storage-optimization", status("storage-optimization"), rds.Modify, "storage=200")
	shaped(ops.ErrConflict, "is storage-full", status("storage-full"), rds.Resize, "db.m5.large")
	shaped(ops.ErrConflict, "only a stopped one", status("failed"), rds.Start)
	shaped(ops.ErrInvalid, "is stopped already", status("stopped"), rds.Stop)
	if n := b.account.Calls("ModifyDBInstance") + b.account.Calls("StopDBInstance"); n != 0 {
		t.Errorf("planning changed something %d times", n)
	}
}

func TestAModificationIsAppliedAtOnceAndRolledBack(t *testing.T) {
	b := newBench(t, "")
	p := b.plan(rds.Modify, "class=db.m5.large", "multi_az=true", "parameter_group=tuned")
	for _, s := range []string{"-   class: db.m5.xlarge\n+   class: db.m5.large", "not in its maintenance window sun:03", "is down while the class changes", "rebooted afterwards"} {
		if !strings.Contains(p.Text, s) {
			t.Errorf("%q is not in\n%s", s, p.Text)
		}
	}
	said := b.apply("t", p)
	if !strings.Contains(said, "Applying modification") || !strings.Contains(said, "Rebooting database shop") {
		t.Errorf("said %s", said)
	}
	b.drift(p, execute.InSync)
	if n := b.account.Calls("ModifyDBInstance"); n != 1 {
		t.Errorf("modified %d times", n)
	}
	if _, err := b.RollBack(t.Context(), "t", p, io.Discard); err != nil {
		t.Fatal(err)
	}
	b.database(func(d *rdstest.Database) {
		if d.Class != "db.m5.xlarge" || d.MultiAZ || d.Group != "default.postgres16" || d.Applied != "in-sync" {
			t.Errorf("rolled back to %+v", d)
		}
	})
	b.drift(p, execute.Drifted)
}

func TestOnlyTheClassGoesBackWhereStorageGrew(t *testing.T) {
	b := newBench(t, "")
	p := b.plan(rds.Modify, "class=db.m5.large", "storage=200")
	if !strings.Contains(p.Text, "storage cannot shrink") || strings.Contains(p.Text, "cannot be undone") {
		t.Error(p.Text)
	}
	b.apply("t", p)
	if _, err := b.RollBack(t.Context(), "t", p, io.Discard); err != nil {
		t.Fatal(err)
	}
	b.database(func(d *rdstest.Database) {
		if d.Class != "db.m5.xlarge" || d.Storage != 200 {
			t.Errorf("rolled back to %+v", d)
		}
	})
}

func TestStorageAloneCannotBeUndone(t *testing.T) {
	b := newBench(t, "")
	b.database(func(d *rdstest.Database) { d.Status, d.StorageType, d.IOPS = "storage-full", "io1", 1000 })
	p := b.plan(rds.Modify, "storage=110")
	if len(p.Rollback) != 0 || !strings.Contains(p.Text, "cannot be undone") {
		t.Errorf("%v\n%s", p.Rollback, p.Text)
	}
	b.apply("t", p)
	b.drift(p, execute.InSync)
	b.database(func(d *rdstest.Database) { d.Storage = 130 }) // storage grows by itself
	b.drift(p, execute.InSync)
	_, err := b.RollBack(t.Context(), "t", p, io.Discard)
	b.wants(err, ops.ErrStalled, "no rollback")
}

func TestPendingChangesAreShownAndApplied(t *testing.T) {
	b := newBench(t, "apply_pending: true\n")
	p := b.plan(rds.Resize, "db.m5.large")
	b.database(func(d *rdstest.Database) { d.Pending = map[string]string{"EngineVersion": "16.4"} })
	with := b.plan(rds.Resize, "db.m5.large")
	if !strings.Contains(with.Text, "applied with it: pending engine version 16.4") || with.ComputeDigest() == p.ComputeDigest() {
		t.Errorf("%s", with.Text)
	}
	b.apply("t", with)
	b.database(func(d *rdstest.Database) {
		if d.Class != "db.m5.large" || d.Version != "16.4" || len(d.Pending) > 0 {
			t.Errorf("%+v", d)
		}
	})
	b.database(func(d *rdstest.Database) { d.Pending = map[string]string{"DBInstanceClass": "db.m5.2xlarge"} })
	b.refuses(ops.ErrConflict, "class of database shop is to change already", rds.Resize, "shop", "db.m5.xlarge")
}

func TestStopStartAndReboot(t *testing.T) {
	b := newBench(t, "")
	stop := b.plan(rds.Stop)
	if !strings.Contains(stop.Text, "after 7 days") {
		t.Error(stop.Text)
	}
	b.apply("t", stop)
	b.drift(stop, execute.InSync)
	start := b.plan(rds.Start)
	b.apply("t2", start)
	b.drift(start, execute.InSync)
	b.database(func(d *rdstest.Database) { d.Status = "backing-up" })
	b.drift(start, execute.InSync)
	b.database(func(d *rdstest.Database) { d.Status = "available" })
	b.drift(stop, execute.Drifted)
	if _, err := b.RollBack(t.Context(), "t2", start, io.Discard); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RollBack(t.Context(), "t", stop, io.Discard); err != nil {
		t.Fatal(err)
	}
	reboot := b.plan(rds.Reboot)
	for range 2 {
		b.apply("t3", reboot)
	}
	if n := b.account.Calls("RebootDBInstance"); n != 1 || len(reboot.Rollback) != 0 {
		t.Errorf("rebooted %d times, rollback %v", n, reboot.Rollback)
	}
	b.drift(reboot, execute.Unknown)
}

func TestARebootIsNeverTakenTwice(t *testing.T) {
	b := newBench(t, "settle: 60ms\n")
	p := b.plan(rds.Reboot)
	b.account.Lose("RebootDBInstance")
	b.apply("t", p)
	if n := b.account.Calls("RebootDBInstance"); n != 1 {
		t.Errorf("the answer was lost and it was rebooted %d times", n)
	}
	// A server that was killed right before it leaves nobody knowing.
	began := time.Now().UTC().Add(time.Second).Format(time.RFC3339)
	b.marks.Rows["t2"] = `{"state":"going","at":"` + began + `","since":"` + began + `","sent":true}`
	for range 2 {
		_, err := b.Apply(t.Context(), "t2", p, io.Discard)
		if !errors.As(err, new(*ops.UnknownOutcome)) {
			t.Errorf("nobody knows whether it was rebooted: %v", err)
		}
	}
	// One whose restart is among the events is known to have happened.
	b.marks.Rows["t3"] = `{"state":"going","at":"` + began + `","since":"2020-01-01T00:00:00Z","sent":true}`
	b.apply("t3", p)
	if n := b.account.Calls("RebootDBInstance"); n != 1 {
		t.Errorf("rebooted %d times", n)
	}
}

func TestLostAnswersDoNothingTwice(t *testing.T) {
	b := newBench(t, "")
	f := func(operation, action string, args ...string) {
		t.Helper()
		n := b.account.Calls(operation)
		p := b.plan(action, args...)
		b.account.Lose(operation)
		b.apply(execute.Token(operation), p)
		if now := b.account.Calls(operation); now != n+1 {
			t.Errorf("%s was done %d times", operation, now-n)
		}
	}
	f("ModifyDBInstance", rds.Resize, "db.m5.large")
	f("StopDBInstance", rds.Stop)
	f("StartDBInstance", rds.Start)
}

func TestFailures(t *testing.T) {
	f := func(class error, says string, shape func(b *bench, d *rdstest.Database)) {
		t.Helper()
		b := newBench(t, "")
		p := b.plan(rds.Resize, "db.m5.large")
		b.database(func(d *rdstest.Database) { shape(b, d) })
		_, err := b.Apply(t.Context(), "t", p, io.Discard)
		b.wants(err, class, says)
		_, again := b.Apply(t.Context(), "t", p, io.Discard)
		b.wants(again, ops.ErrStalled, says)
	}
	f(ops.ErrStalled, "no instances of the requested class available", func(b *bench, _ *rdstest.Database) { b.account.Classes["db.m5.large"].Full = true })
	f(ops.ErrStalled, "ended the modification of database shop without class", func(_ *bench, d *rdstest.Database) { d.Fails = "no" })
	f(ops.ErrStalled, "is incompatible-network", func(_ *bench, d *rdstest.Database) { d.Breaks = "incompatible-network" })
	f(ops.ErrConflict, "it was changed since", func(_ *bench, d *rdstest.Database) { d.Class = "db.m5.2xlarge" })
	f(ops.ErrConflict, "wait until it is available", func(_ *bench, d *rdstest.Database) { d.Status = "upgrading" })
}

func TestARefusedCallChangesNothing(t *testing.T) {
	b := newBench(t, "")
	p := b.plan(rds.Resize, "db.m5.large")
	b.account.Deny("ModifyDBInstance")
	_, err := b.Apply(t.Context(), "t", p, io.Discard)
	b.wants(err, ops.ErrDenied, "AccessDenied")
}

func TestWhatCannotBeCalledOffIsWaitedForAndRolledBack(t *testing.T) {
	b := newBench(t, "grace: 1m\n") // which it takes to fail
	endless := func(d *rdstest.Database) { d.Takes = time.Hour }
	b.database(endless)
	p := b.plan(rds.Resize, "db.m5.large")
	stop := errors.New("a person stopped it")
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := &until{when: "is modifying", then: func() { cancel(stop) }}
	waited := &until{when: "Waiting until database shop has settled", then: func() {
		b.database(func(d *rdstest.Database) { d.Settle(); d.Takes = 0 })
	}}
	_, err := b.Apply(ctx, "t", p, io.MultiWriter(stopped, waited))
	b.wants(err, stop, "could not be called off", "roll back to undo it")
	if left := b.account.Moving(); len(left) > 0 {
		t.Errorf("%v, said %s", left, waited.said)
	}
	if _, err := b.RollBack(t.Context(), "t", p, io.Discard); err != nil {
		t.Fatal(err)
	}
	b.database(func(d *rdstest.Database) {
		if d.Class != "db.m5.xlarge" {
			t.Errorf("rolled back to %s", d.Class)
		}
	})
	// What does not settle in time is not known.
	b = newBench(t, "grace: 30ms\n")
	b.database(endless)
	ctx, cancel = context.WithCancelCause(t.Context())
	stopped = &until{when: "is modifying", then: func() { cancel(stop) }}
	if _, err = b.Apply(ctx, "t", b.plan(rds.Resize, "db.m5.large"), stopped); !errors.As(err, new(*ops.UnknownOutcome)) {
		t.Errorf("it still runs: %v", err)
	}
}

// until calls then once when something is said.
type until struct {
	said, when string
	then       func()
}

func (u *until) Write(p []byte) (int, error) {
	if u.said += string(p); strings.Contains(u.said, u.when) {
		u.then()
	}
	return len(p), nil
}

func TestOnlyListedDatabases(t *testing.T) {
	b := newBench(t, "")
	f := func(list string, allowed bool) {
		t.Helper()
		decode := func(into any) error {
			return yaml.Unmarshal([]byte(strings.Replace(config(b.account.URL, ""), "[shop]", list, 1)), into)
		}
		x, err := rds.Driver.Open(t.Context(), decode, execute.Env{Name: "aws", Marks: b.marks, Redact: func(s string) string { return s }, Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = x.Plan(t.Context(), execute.Request{Change: ops.Change{Action: rds.Stop, Args: []string{"shop"}}})
		if allowed != (err == nil) || err != nil && !errors.Is(err, ops.ErrDenied) {
			t.Errorf("%s: %v", list, err)
		}
	}
	f("[sh*]", true)
	f("['tag:env=prod']", true)
	f("['tag:env=test', web]", false)
	f("['tag:team=*']", false) // it has none
}

func TestOptionsSayWhatIsWrong(t *testing.T) {
	f := func(c rds.Config, want string) {
		t.Helper()
		err := c.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	all := []string{"*"}
	f(rds.Config{Databases: all}, "")
	f(rds.Config{}, "databases is empty")
	f(rds.Config{Databases: []string{"tag:env"}}, "databases[0]")
	f(rds.Config{Databases: []string{"env=prod"}}, "databases[0]")
	f(rds.Config{Databases: all, Actions: []string{"delete"}}, "actions[0]")
	f(rds.Config{Databases: all, Classes: []string{"["}}, "classes[0]")
	f(rds.Config{Databases: all, MaxStorage: -1}, "max_storage")
	f(rds.Config{Databases: all, Grace: -1}, "negative")
}

// TestTheDoubleRefuses proves by raw calls that the double is as strict as the
// service, where moto is not.
func TestTheDoubleRefuses(t *testing.T) {
	a := rdstest.Start(t).Account("raw")
	world(a)
	a.Classes["db.full"] = &rdstest.Class{Full: true}
	a.Databases["busy"] = &rdstest.Database{Class: "db.m5.large", Status: "modifying"}
	a.Databases["down"] = &rdstest.Database{Class: "db.full", Status: "stopped"}
	a.Databases["member"] = &rdstest.Database{Class: "db.m5.large", Cluster: "orders"}
	a.Databases["source"] = &rdstest.Database{Class: "db.m5.large", Replicas: []string{"copy"}}
	a.Databases["grown"] = &rdstest.Database{Class: "db.m5.large", Storage: 100, Status: "storage-optimization"}
	a.Databases["fast"] = &rdstest.Database{Class: "db.m5.large", Storage: 100, StorageType: "io1", IOPS: 1000}
	type m = map[string][]string
	f := func(action, id, code string, pairs ...string) {
		t.Helper()
		in := m{}
		if id != "" {
			in["DBInstanceIdentifier"] = []string{id}
		}
		for i := 0; i < len(pairs); i += 2 {
			in[pairs[i]] = []string{pairs[i+1]}
		}
		if _, bad := a.Do(action, in); bad == nil || bad.Code != code {
			t.Errorf("%s %v: %+v, want %s", action, in, bad, code)
		}
	}
	f("DescribeDBInstances", "none", "DBInstanceNotFound")
	f("ModifyDBInstance", "", "MissingParameter")
	f("ModifyDBInstance", "none", "DBInstanceNotFound")
	f("ModifyDBInstance", "busy", "InvalidDBInstanceState", "DBInstanceClass", "db.m5.xlarge")
	f("ModifyDBInstance", "down", "InvalidDBInstanceState", "DBInstanceClass", "db.m5.xlarge")
	f("ModifyDBInstance", "shop", "InvalidParameterValue", "DBInstanceClass", "db.bogus") // moto takes it
	f("ModifyDBInstance", "shop", "InsufficientDBInstanceCapacity", "DBInstanceClass", "db.full")
	f("ModifyDBInstance", "shop", "InvalidParameterCombination", "AllocatedStorage", "50") // moto shrinks it
	f("ModifyDBInstance", "shop", "MalformedInput", "AllocatedStorage", "much")
	f("ModifyDBInstance", "fast", "InvalidParameterCombination", "AllocatedStorage", "200")
	f("ModifyDBInstance", "grown", "InvalidParameterCombination", "AllocatedStorage", "200")
	f("ModifyDBInstance", "member", "InvalidParameterCombination", "MultiAZ", "true")
	f("ModifyDBInstance", "shop", "DBParameterGroupNotFound", "DBParameterGroupName", "none")
	f("ModifyDBInstance", "shop", "InvalidParameterCombination", "DBParameterGroupName", "old")
	f("StopDBInstance", "none", "DBInstanceNotFound")
	f("StopDBInstance", "down", "InvalidDBInstanceState")
	f("StopDBInstance", "source", "InvalidDBInstanceState")
	f("StopDBInstance", "member", "InvalidDBClusterStateFault")
	f("StartDBInstance", "shop", "InvalidDBInstanceState")
	f("StartDBInstance", "down", "InsufficientDBInstanceCapacity")
	f("RebootDBInstance", "down", "InvalidDBInstanceState")
	f("RebootDBInstance", "none", "DBInstanceNotFound")
	f("DescribeEvents", "", "InvalidParameterCombination", "SourceIdentifier", "shop")
	f("DescribeDBParameterGroups", "", "DBParameterGroupNotFound", "DBParameterGroupName", "none")
	f("DescribeOrderableDBInstanceOptions", "", "MissingParameter")
	f("DeleteDBInstance", "shop", "InvalidAction")
	a.Deny("StopDBInstance")
	f("StopDBInstance", "shop", "AccessDenied")
	for _, action := range []string{"ModifyDBInstance", "StopDBInstance", "StartDBInstance", "RebootDBInstance"} {
		if n := a.Calls(action); n != 0 {
			t.Errorf("%d refused calls of %s had an effect", n, action)
		}
	}
	// What is not to be applied at once stays pending; moto applies it.
	if _, bad := a.Do("ModifyDBInstance", m{"DBInstanceIdentifier": {"shop"}, "DBInstanceClass": {"db.m5.large"}}); bad != nil {
		t.Fatal(bad)
	}
	time.Sleep(50 * time.Millisecond)
	if d := a.Databases["shop"]; d.Class != "db.m5.xlarge" || d.Pending["DBInstanceClass"] != "db.m5.large" {
		t.Errorf("%+v", d)
	}
}
