package autoscaling

import (
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/fettleops/fettle/internal/awsx"
)

// groups is what is called of Auto Scaling; see [awsx.Call].
type groups struct {
	CancelInstanceRefresh     awsx.Call[autoscaling.CancelInstanceRefreshInput, autoscaling.CancelInstanceRefreshOutput, autoscaling.Options]
	DescribeAutoScalingGroups awsx.Call[autoscaling.DescribeAutoScalingGroupsInput, autoscaling.DescribeAutoScalingGroupsOutput, autoscaling.Options]
	DescribeInstanceRefreshes awsx.Call[autoscaling.DescribeInstanceRefreshesInput, autoscaling.DescribeInstanceRefreshesOutput, autoscaling.Options]
	DescribeScalingActivities awsx.Call[autoscaling.DescribeScalingActivitiesInput, autoscaling.DescribeScalingActivitiesOutput, autoscaling.Options]
	RollbackInstanceRefresh   awsx.Call[autoscaling.RollbackInstanceRefreshInput, autoscaling.RollbackInstanceRefreshOutput, autoscaling.Options]
	StartInstanceRefresh      awsx.Call[autoscaling.StartInstanceRefreshInput, autoscaling.StartInstanceRefreshOutput, autoscaling.Options]
	UpdateAutoScalingGroup    awsx.Call[autoscaling.UpdateAutoScalingGroupInput, autoscaling.UpdateAutoScalingGroupOutput, autoscaling.Options]
}

func newGroups(c *autoscaling.Client) groups {
	return groups{
		CancelInstanceRefresh:     c.CancelInstanceRefresh,
		DescribeAutoScalingGroups: c.DescribeAutoScalingGroups,
		DescribeInstanceRefreshes: c.DescribeInstanceRefreshes,
		DescribeScalingActivities: c.DescribeScalingActivities,
		RollbackInstanceRefresh:   c.RollbackInstanceRefresh,
		StartInstanceRefresh:      c.StartInstanceRefresh,
		UpdateAutoScalingGroup:    c.UpdateAutoScalingGroup,
	}
}

// templates is what is called of EC2; see [awsx.Call].
type templates struct {
	CreateLaunchTemplateVersion    awsx.Call[ec2.CreateLaunchTemplateVersionInput, ec2.CreateLaunchTemplateVersionOutput, ec2.Options]
	DescribeInstanceTypes          awsx.Call[ec2.DescribeInstanceTypesInput, ec2.DescribeInstanceTypesOutput, ec2.Options]
	DescribeLaunchTemplateVersions awsx.Call[ec2.DescribeLaunchTemplateVersionsInput, ec2.DescribeLaunchTemplateVersionsOutput, ec2.Options]
}

func newTemplates(c *ec2.Client) templates {
	return templates{
		CreateLaunchTemplateVersion:    c.CreateLaunchTemplateVersion,
		DescribeInstanceTypes:          c.DescribeInstanceTypes,
		DescribeLaunchTemplateVersions: c.DescribeLaunchTemplateVersions,
	}
}
