package opscenter

import (
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/fettleops/fettle/internal/awsx"
)

// items is what is called of OpsCenter; see [awsx.Call].
type items struct {
	CreateOpsItem        awsx.Call[ssm.CreateOpsItemInput, ssm.CreateOpsItemOutput, ssm.Options]
	DescribeOpsItems     awsx.Call[ssm.DescribeOpsItemsInput, ssm.DescribeOpsItemsOutput, ssm.Options]
	GetMaintenanceWindow awsx.Call[ssm.GetMaintenanceWindowInput, ssm.GetMaintenanceWindowOutput, ssm.Options]
	GetOpsItem           awsx.Call[ssm.GetOpsItemInput, ssm.GetOpsItemOutput, ssm.Options]
	UpdateOpsItem        awsx.Call[ssm.UpdateOpsItemInput, ssm.UpdateOpsItemOutput, ssm.Options]
}

func newItems(c *ssm.Client) items {
	return items{
		CreateOpsItem:        c.CreateOpsItem,
		DescribeOpsItems:     c.DescribeOpsItems,
		GetMaintenanceWindow: c.GetMaintenanceWindow,
		GetOpsItem:           c.GetOpsItem,
		UpdateOpsItem:        c.UpdateOpsItem,
	}
}

// identity is what is called of STS; see [awsx.Call].
type identity struct {
	GetCallerIdentity awsx.Call[sts.GetCallerIdentityInput, sts.GetCallerIdentityOutput, sts.Options]
}

func newIdentity(c *sts.Client) identity {
	return identity{
		GetCallerIdentity: c.GetCallerIdentity,
	}
}
