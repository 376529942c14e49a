package parameter

import (
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/fettleops/fettle/internal/awsx"
)

// store is what is called of Parameter Store; see [awsx.Call].
type store struct {
	DeleteParameter         awsx.Call[ssm.DeleteParameterInput, ssm.DeleteParameterOutput, ssm.Options]
	GetParameterHistory     awsx.Call[ssm.GetParameterHistoryInput, ssm.GetParameterHistoryOutput, ssm.Options]
	GetParametersByPath     awsx.Call[ssm.GetParametersByPathInput, ssm.GetParametersByPathOutput, ssm.Options]
	LabelParameterVersion   awsx.Call[ssm.LabelParameterVersionInput, ssm.LabelParameterVersionOutput, ssm.Options]
	ListTagsForResource     awsx.Call[ssm.ListTagsForResourceInput, ssm.ListTagsForResourceOutput, ssm.Options]
	PutParameter            awsx.Call[ssm.PutParameterInput, ssm.PutParameterOutput, ssm.Options]
	UnlabelParameterVersion awsx.Call[ssm.UnlabelParameterVersionInput, ssm.UnlabelParameterVersionOutput, ssm.Options]
}

func newStore(c *ssm.Client) store {
	return store{
		DeleteParameter:         c.DeleteParameter,
		GetParameterHistory:     c.GetParameterHistory,
		GetParametersByPath:     c.GetParametersByPath,
		LabelParameterVersion:   c.LabelParameterVersion,
		ListTagsForResource:     c.ListTagsForResource,
		PutParameter:            c.PutParameter,
		UnlabelParameterVersion: c.UnlabelParameterVersion,
	}
}
