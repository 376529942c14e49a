package ec2

import (
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/fettleops/fettle/internal/awsx"
)

// instances is what is called of EC2; see [awsx.Call].
type instances struct {
	DescribeAddresses             awsx.Call[ec2.DescribeAddressesInput, ec2.DescribeAddressesOutput, ec2.Options]
	DescribeInstanceAttribute     awsx.Call[ec2.DescribeInstanceAttributeInput, ec2.DescribeInstanceAttributeOutput, ec2.Options]
	DescribeInstanceStatus        awsx.Call[ec2.DescribeInstanceStatusInput, ec2.DescribeInstanceStatusOutput, ec2.Options]
	DescribeInstanceTypeOfferings awsx.Call[ec2.DescribeInstanceTypeOfferingsInput, ec2.DescribeInstanceTypeOfferingsOutput, ec2.Options]
	DescribeInstanceTypes         awsx.Call[ec2.DescribeInstanceTypesInput, ec2.DescribeInstanceTypesOutput, ec2.Options]
	DescribeInstances             awsx.Call[ec2.DescribeInstancesInput, ec2.DescribeInstancesOutput, ec2.Options]
	ModifyInstanceAttribute       awsx.Call[ec2.ModifyInstanceAttributeInput, ec2.ModifyInstanceAttributeOutput, ec2.Options]
	StartInstances                awsx.Call[ec2.StartInstancesInput, ec2.StartInstancesOutput, ec2.Options]
	StopInstances                 awsx.Call[ec2.StopInstancesInput, ec2.StopInstancesOutput, ec2.Options]
}

func newInstances(c *ec2.Client) instances {
	return instances{
		DescribeAddresses:             c.DescribeAddresses,
		DescribeInstanceAttribute:     c.DescribeInstanceAttribute,
		DescribeInstanceStatus:        c.DescribeInstanceStatus,
		DescribeInstanceTypeOfferings: c.DescribeInstanceTypeOfferings,
		DescribeInstanceTypes:         c.DescribeInstanceTypes,
		DescribeInstances:             c.DescribeInstances,
		ModifyInstanceAttribute:       c.ModifyInstanceAttribute,
		StartInstances:                c.StartInstances,
		StopInstances:                 c.StopInstances,
	}
}

// groups is what is called of Auto Scaling; see [awsx.Call].
type groups struct {
	DescribeAutoScalingInstances awsx.Call[autoscaling.DescribeAutoScalingInstancesInput, autoscaling.DescribeAutoScalingInstancesOutput, autoscaling.Options]
}

func newGroups(c *autoscaling.Client) groups {
	return groups{
		DescribeAutoScalingInstances: c.DescribeAutoScalingInstances,
	}
}
