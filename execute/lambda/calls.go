package lambda

import (
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/fettleops/fettle/internal/awsx"
)

// functions is what is called of Lambda; see [awsx.Call].
type functions struct {
	GetAlias                 awsx.Call[lambda.GetAliasInput, lambda.GetAliasOutput, lambda.Options]
	GetFunctionConfiguration awsx.Call[lambda.GetFunctionConfigurationInput, lambda.GetFunctionConfigurationOutput, lambda.Options]
	Invoke                   awsx.Call[lambda.InvokeInput, lambda.InvokeOutput, lambda.Options]
}

func newFunctions(c *lambda.Client) functions {
	return functions{
		GetAlias:                 c.GetAlias,
		GetFunctionConfiguration: c.GetFunctionConfiguration,
		Invoke:                   c.Invoke,
	}
}
