package ssm

import (
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/fettleops/fettle/internal/awsx"
)

// manager is what is called of Systems Manager; see [awsx.Call].
type manager struct {
	CancelCommand               awsx.Call[ssm.CancelCommandInput, ssm.CancelCommandOutput, ssm.Options]
	DescribeDocument            awsx.Call[ssm.DescribeDocumentInput, ssm.DescribeDocumentOutput, ssm.Options]
	DescribeInstanceInformation awsx.Call[ssm.DescribeInstanceInformationInput, ssm.DescribeInstanceInformationOutput, ssm.Options]
	GetAutomationExecution      awsx.Call[ssm.GetAutomationExecutionInput, ssm.GetAutomationExecutionOutput, ssm.Options]
	GetCommandInvocation        awsx.Call[ssm.GetCommandInvocationInput, ssm.GetCommandInvocationOutput, ssm.Options]
	ListCommandInvocations      awsx.Call[ssm.ListCommandInvocationsInput, ssm.ListCommandInvocationsOutput, ssm.Options]
	ListCommands                awsx.Call[ssm.ListCommandsInput, ssm.ListCommandsOutput, ssm.Options]
	SendCommand                 awsx.Call[ssm.SendCommandInput, ssm.SendCommandOutput, ssm.Options]
	StartAutomationExecution    awsx.Call[ssm.StartAutomationExecutionInput, ssm.StartAutomationExecutionOutput, ssm.Options]
	StopAutomationExecution     awsx.Call[ssm.StopAutomationExecutionInput, ssm.StopAutomationExecutionOutput, ssm.Options]
}

func newManager(c *ssm.Client) manager {
	return manager{
		CancelCommand:               c.CancelCommand,
		DescribeDocument:            c.DescribeDocument,
		DescribeInstanceInformation: c.DescribeInstanceInformation,
		GetAutomationExecution:      c.GetAutomationExecution,
		GetCommandInvocation:        c.GetCommandInvocation,
		ListCommandInvocations:      c.ListCommandInvocations,
		ListCommands:                c.ListCommands,
		SendCommand:                 c.SendCommand,
		StartAutomationExecution:    c.StartAutomationExecution,
		StopAutomationExecution:     c.StopAutomationExecution,
	}
}
