package rds

import (
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/fettleops/fettle/internal/awsx"
)

// databases is what is called of RDS; see [awsx.Call].
type databases struct {
	DescribeDBInstances                awsx.Call[rds.DescribeDBInstancesInput, rds.DescribeDBInstancesOutput, rds.Options]
	DescribeDBParameterGroups          awsx.Call[rds.DescribeDBParameterGroupsInput, rds.DescribeDBParameterGroupsOutput, rds.Options]
	DescribeEvents                     awsx.Call[rds.DescribeEventsInput, rds.DescribeEventsOutput, rds.Options]
	DescribeOrderableDBInstanceOptions awsx.Call[rds.DescribeOrderableDBInstanceOptionsInput, rds.DescribeOrderableDBInstanceOptionsOutput, rds.Options]
	ModifyDBInstance                   awsx.Call[rds.ModifyDBInstanceInput, rds.ModifyDBInstanceOutput, rds.Options]
	RebootDBInstance                   awsx.Call[rds.RebootDBInstanceInput, rds.RebootDBInstanceOutput, rds.Options]
	StartDBInstance                    awsx.Call[rds.StartDBInstanceInput, rds.StartDBInstanceOutput, rds.Options]
	StopDBInstance                     awsx.Call[rds.StopDBInstanceInput, rds.StopDBInstanceOutput, rds.Options]
}

func newDatabases(c *rds.Client) databases {
	return databases{
		DescribeDBInstances:                c.DescribeDBInstances,
		DescribeDBParameterGroups:          c.DescribeDBParameterGroups,
		DescribeEvents:                     c.DescribeEvents,
		DescribeOrderableDBInstanceOptions: c.DescribeOrderableDBInstanceOptions,
		ModifyDBInstance:                   c.ModifyDBInstance,
		RebootDBInstance:                   c.RebootDBInstance,
		StartDBInstance:                    c.StartDBInstance,
		StopDBInstance:                     c.StopDBInstance,
	}
}
