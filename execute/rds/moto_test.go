package rds_test

import (
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws_rds "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/execute/rds"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// TestAgainstMoto modifies, stops and starts a database of a server that is not
// ours. It is lax: nothing takes time or stays pending, any class is taken,
// nothing can be ordered for most engines, and a reboot leaves no trace.
// rdstest is strict about those.
func TestAgainstMoto(t *testing.T) {
	peer.Long(t)
	url := peer.Moto(t)
	b := &bench{t: t, marks: executetest.NewMarks()}
	b.Executor = open(t, url, "class_check: false\n", b.marks)
	awsxtest.Credentials(t)
	cfg, err := awsx.Open(t.Context(), awsx.Config{Region: "eu-central-1", Endpoint: url}, awsx.Env{})
	if err != nil {
		t.Fatal(err)
	}
	client := aws_rds.NewFromConfig(cfg)
	_, err = client.CreateDBInstance(t.Context(), &aws_rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("shop"), DBInstanceClass: aws.String("db.m5.xlarge"), Engine: aws.String("postgres"), AllocatedStorage: aws.Int32(100),
		MasterUsername: aws.String("owner"), MasterUserPassword: aws.String("not-a-real-one"),
	})
	if err != nil {
		t.Fatal(err)
	}
	is := func(class, status string, storage int32) {
		t.Helper()
		out, err := client.DescribeDBInstances(t.Context(), &aws_rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String("shop")})
		if err != nil {
			t.Fatal(err)
		}
		if d := out.DBInstances[0]; aws.ToString(d.DBInstanceClass) != class || aws.ToString(d.DBInstanceStatus) != status || aws.ToInt32(d.AllocatedStorage) != storage {
			t.Errorf("it is %s, %s, %d GiB; want %s, %s, %d", aws.ToString(d.DBInstanceClass), aws.ToString(d.DBInstanceStatus), aws.ToInt32(d.AllocatedStorage), class, status, storage)
		}
	}
	p, again := b.plan(rds.Modify, "class=db.m5.large", "storage=200"), b.plan(rds.Modify, "class=db.m5.large", "storage=200")
	if p.ComputeDigest() != again.ComputeDigest() {
		t.Fatalf("planned again:\n%s", execute.Moved(p, again))
	}
	is("db.m5.xlarge", "available", 100)
	for range 2 {
		b.apply("t", p)
	}
	is("db.m5.large", "available", 200)
	b.drift(p, execute.InSync)
	if _, err := b.RollBack(t.Context(), "t", p, io.Discard); err != nil {
		t.Fatalf("roll back: %v", err)
	}
	is("db.m5.xlarge", "available", 200)
	b.drift(p, execute.Drifted)
	b.apply("t2", b.plan(rds.Stop))
	is("db.m5.xlarge", "stopped", 200)
	b.apply("t3", b.plan(rds.Start))
	is("db.m5.xlarge", "available", 200)
	b.refuses(ops.ErrInvalid, "cannot shrink", rds.Modify, "shop", "storage=50")
	b.refuses(ops.ErrNotFound, "none", rds.Stop, "none")
}
