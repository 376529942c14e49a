package cloudformation

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
)

var _ execute.Linker = (*Executor)(nil)

// Links implements execute.Linker by the template and the resources of the
// plan's stack.
func (x *Executor) Links(ctx context.Context, p ops.Plan) (source string, links []graph.Link, err error) {
	_, name, err := x.mine(p)
	if err != nil {
		return "", nil, err
	}
	s, err := x.stack(ctx, name)
	if err != nil {
		return "", nil, err
	}
	template, err := templateJSON(s.template)
	if err != nil {
		return "", nil, fmt.Errorf("cloudformation: the template of %s: %w", name, err)
	}
	list, err := x.client.DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{StackName: &name})
	if err != nil {
		return "", nil, awsx.Read("cloudformation: describe the resources of "+name, err)
	}
	resources, err := json.Marshal(list)
	if err != nil {
		return "", nil, fmt.Errorf("cloudformation: the resources of %s: %w: %w", name, err, ops.ErrInternal)
	}
	stack := aws.ToString(s.StackId)
	links, err = graph.FromCloudFormation(stack, template, resources)
	return graph.StackSource(stack), links, err
}

// templateJSON returns a template in JSON. In YAML the functions have a short
// form, !Ref X for {"Ref": X} and !Sub X for {"Fn::Sub": X}
// (docs.aws.amazon.com/AWSCloudFormation, Intrinsic function reference).
func templateJSON(text string) ([]byte, error) {
	if json.Valid([]byte(text)) {
		return []byte(text), nil
	}
	file, err := parser.ParseBytes([]byte(text), 0)
	if err != nil || len(file.Docs) != 1 {
		return nil, fmt.Errorf("is neither JSON nor one document of YAML: %w", ops.ErrInvalid)
	}
	v, err := plain(file.Docs[0].Body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// plain returns a node as JSON has it.
func plain(n ast.Node) (any, error) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return object(n.Values)
	case *ast.MappingValueNode:
		return object([]*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		out := make([]any, len(n.Values))
		for i, v := range n.Values {
			var err error
			if out[i], err = plain(v); err != nil {
				return nil, err
			}
		}
		return out, nil
	case *ast.TagNode:
		v, err := plain(n.Value)
		name := strings.TrimPrefix(n.Start.Value, "!")
		switch {
		case err != nil || strings.HasPrefix(name, "!"): // one of YAML's own types
			return v, err
		case name == "Ref" || name == "Condition":
			return map[string]any{name: v}, nil
		}
		return map[string]any{"Fn::" + name: v}, nil
	case *ast.NullNode, nil:
		return nil, nil
	case *ast.AliasNode, *ast.AnchorNode, *ast.MergeKeyNode: // templates have none
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case ast.ScalarNode:
		return n.GetToken().Value, nil // its text: what is a number or a date matters to nobody here
	}
	return nil, fmt.Errorf("line %d: %s is nothing that a template may hold: %w", n.GetToken().Position.Line, n.Type(), ops.ErrInvalid)
}

func object(values []*ast.MappingValueNode) (any, error) {
	out := map[string]any{}
	for _, v := range values {
		key, ok := v.Key.(ast.ScalarNode)
		if !ok {
			return nil, fmt.Errorf("line %d: a key is no text: %w", v.Key.GetToken().Position.Line, ops.ErrInvalid)
		}
		var err error
		if out[key.GetToken().Value], err = plain(v.Value); err != nil {
			return nil, err
		}
	}
	return out, nil
}
