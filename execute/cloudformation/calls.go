package cloudformation

import (
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"github.com/fettleops/fettle/internal/awsx"
)

// stacks is what is called of CloudFormation; see [awsx.Call].
type stacks struct {
	CancelUpdateStack                 awsx.Call[cloudformation.CancelUpdateStackInput, cloudformation.CancelUpdateStackOutput, cloudformation.Options]
	ContinueUpdateRollback            awsx.Call[cloudformation.ContinueUpdateRollbackInput, cloudformation.ContinueUpdateRollbackOutput, cloudformation.Options]
	CreateChangeSet                   awsx.Call[cloudformation.CreateChangeSetInput, cloudformation.CreateChangeSetOutput, cloudformation.Options]
	DeleteChangeSet                   awsx.Call[cloudformation.DeleteChangeSetInput, cloudformation.DeleteChangeSetOutput, cloudformation.Options]
	DescribeChangeSet                 awsx.Call[cloudformation.DescribeChangeSetInput, cloudformation.DescribeChangeSetOutput, cloudformation.Options]
	DescribeStackDriftDetectionStatus awsx.Call[cloudformation.DescribeStackDriftDetectionStatusInput, cloudformation.DescribeStackDriftDetectionStatusOutput, cloudformation.Options]
	DescribeStackEvents               awsx.Call[cloudformation.DescribeStackEventsInput, cloudformation.DescribeStackEventsOutput, cloudformation.Options]
	DescribeStackResourceDrifts       awsx.Call[cloudformation.DescribeStackResourceDriftsInput, cloudformation.DescribeStackResourceDriftsOutput, cloudformation.Options]
	DescribeStackResources            awsx.Call[cloudformation.DescribeStackResourcesInput, cloudformation.DescribeStackResourcesOutput, cloudformation.Options]
	DescribeStacks                    awsx.Call[cloudformation.DescribeStacksInput, cloudformation.DescribeStacksOutput, cloudformation.Options]
	DetectStackDrift                  awsx.Call[cloudformation.DetectStackDriftInput, cloudformation.DetectStackDriftOutput, cloudformation.Options]
	ExecuteChangeSet                  awsx.Call[cloudformation.ExecuteChangeSetInput, cloudformation.ExecuteChangeSetOutput, cloudformation.Options]
	GetStackPolicy                    awsx.Call[cloudformation.GetStackPolicyInput, cloudformation.GetStackPolicyOutput, cloudformation.Options]
	GetTemplate                       awsx.Call[cloudformation.GetTemplateInput, cloudformation.GetTemplateOutput, cloudformation.Options]
	GetTemplateSummary                awsx.Call[cloudformation.GetTemplateSummaryInput, cloudformation.GetTemplateSummaryOutput, cloudformation.Options]
	ListChangeSets                    awsx.Call[cloudformation.ListChangeSetsInput, cloudformation.ListChangeSetsOutput, cloudformation.Options]
}

func newStacks(c *cloudformation.Client) stacks {
	return stacks{
		CancelUpdateStack:                 c.CancelUpdateStack,
		ContinueUpdateRollback:            c.ContinueUpdateRollback,
		CreateChangeSet:                   c.CreateChangeSet,
		DeleteChangeSet:                   c.DeleteChangeSet,
		DescribeChangeSet:                 c.DescribeChangeSet,
		DescribeStackDriftDetectionStatus: c.DescribeStackDriftDetectionStatus,
		DescribeStackEvents:               c.DescribeStackEvents,
		DescribeStackResourceDrifts:       c.DescribeStackResourceDrifts,
		DescribeStackResources:            c.DescribeStackResources,
		DescribeStacks:                    c.DescribeStacks,
		DetectStackDrift:                  c.DetectStackDrift,
		ExecuteChangeSet:                  c.ExecuteChangeSet,
		GetStackPolicy:                    c.GetStackPolicy,
		GetTemplate:                       c.GetTemplate,
		GetTemplateSummary:                c.GetTemplateSummary,
		ListChangeSets:                    c.ListChangeSets,
	}
}
