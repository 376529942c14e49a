package graph

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// Link says that one resource needs another, both named as their source knows
// them. The store resolves the names to ids.
type Link struct {
	From, To ops.ResourceRef
}

// ConfigSource is the source of the edges that the configuration declares.
const ConfigSource = "config"

// StackSource returns the source of the edges of a CloudFormation stack.
func StackSource(stack string) string { return "cloudformation:" + stack }

// StateSource returns the source of the edges of a Terraform state.
func StateSource(state string) string { return "terraform:" + state }

// FromCloudFormation reads what the resources of a stack need of each other:
// Ref, Fn::GetAtt, Fn::Sub and DependsOn of the template, which is JSON
// (GetTemplate's TemplateBody). resources is the answer of DescribeStackResources
// or ListStackResources, from which the physical ids come; resources that have
// none yet are known by their logical id alone. stack names it, best by its ARN.
func FromCloudFormation(stack string, template, resources []byte) ([]Link, error) {
	var t struct {
		Resources map[string]struct {
			Type       string
			DependsOn  json.RawMessage
			Properties any
		}
	}
	if err := json.Unmarshal(template, &t); err != nil {
		return nil, fmt.Errorf("stack %s: its template is no JSON: %w: %w", stack, err, ops.ErrInvalid)
	}
	type described struct{ LogicalResourceId, PhysicalResourceId string }
	var d struct{ StackResources, StackResourceSummaries []described }
	if len(resources) > 0 {
		if err := json.Unmarshal(resources, &d); err != nil {
			return nil, fmt.Errorf("stack %s: its resources are no JSON: %w: %w", stack, err, ops.ErrInvalid)
		}
	}
	physical := map[string]string{}
	for _, r := range append(d.StackResources, d.StackResourceSummaries...) {
		physical[r.LogicalResourceId] = r.PhysicalResourceId
	}
	ref := func(logical string) ops.ResourceRef {
		r := ops.ResourceRef{Kind: t.Resources[logical].Type, Name: logical, Aliases: []string{ops.Alias("cfn", stack+"/"+logical)}}
		if id := physical[logical]; id != "" {
			r.Name = id
			if arn, ok := strings.CutPrefix(id, "arn:"); ok {
				r.Aliases = append([]string{ops.Alias("arn", arn)}, r.Aliases...)
			}
		}
		return r
	}
	var out []Link
	for _, name := range slices.Sorted(maps.Keys(t.Resources)) {
		r := t.Resources[name]
		needs := map[string]bool{}
		note := func(id string) {
			id, _, _ = strings.Cut(id, ".")
			if _, ok := t.Resources[id]; ok && id != name {
				needs[id] = true
			}
		}
		var one string
		var several []string
		switch {
		case len(r.DependsOn) == 0:
		case json.Unmarshal(r.DependsOn, &one) == nil:
			note(one)
		case json.Unmarshal(r.DependsOn, &several) == nil:
			for _, id := range several {
				note(id)
			}
		default:
			return nil, fmt.Errorf("stack %s: DependsOn of %s is neither a name nor a list: %w", stack, name, ops.ErrInvalid)
		}
		references(r.Properties, note)
		for _, id := range slices.Sorted(maps.Keys(needs)) {
			out = append(out, Link{ref(name), ref(id)})
		}
	}
	return out, nil
}

var substituted = regexp.MustCompile(`\$\{([A-Za-z0-9.]+)\}`)

// references calls note with each name that the intrinsic functions of a
// template refer to: resources, and parameters, which the caller tells apart.
func references(v any, note func(string)) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			references(x, note)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			x := v[key]
			switch text, isText := x.(string); {
			case key == "Ref" && isText, key == "Fn::GetAtt" && isText:
				note(text)
				continue
			case key == "Fn::Sub" && isText:
				for _, m := range substituted.FindAllStringSubmatch(text, -1) {
					note(m[1])
				}
				continue
			}
			list, _ := x.([]any)
			if first, ok := at[string](list, 0); ok && key == "Fn::GetAtt" {
				note(first)
			} else if ok && key == "Fn::Sub" {
				own, _ := at[map[string]any](list, 1)
				for _, m := range substituted.FindAllStringSubmatch(first, -1) {
					if _, isOwn := own[m[1]]; !isOwn {
						note(m[1])
					}
				}
			}
			references(x, note)
		}
	}
}

func at[T any](list []any, i int) (v T, ok bool) {
	if i < len(list) {
		v, ok = list[i].(T)
	}
	return v, ok
}

// module is a module of "terraform show -json".
type module struct {
	Resources []struct {
		Address   string         `json:"address"`
		Mode      string         `json:"mode"`
		Type      string         `json:"type"`
		DependsOn []string       `json:"depends_on"`
		Values    map[string]any `json:"values"`
	} `json:"resources"`
	ChildModules []module `json:"child_modules"`
}

// FromTerraform reads what the resources of a state need of each other, from
// "terraform show -json" (format 1.x) or from the state itself (version 4).
// state names it. Data sources change nothing and are left out. A dependency
// on a resource with count or for_each is one on each of its instances.
func FromTerraform(state string, text []byte) ([]Link, error) {
	var doc struct {
		FormatVersion string `json:"format_version"`
		Values        *struct {
			Root module `json:"root_module"`
		} `json:"values"`
		Version   int `json:"version"`
		Resources []struct {
			Module, Mode, Type, Name string
			Instances                []struct {
				IndexKey     any            `json:"index_key"`
				Attributes   map[string]any `json:"attributes"`
				Dependencies []string       `json:"dependencies"`
			} `json:"instances"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("state %s: is no JSON: %w: %w", state, err, ops.ErrInvalid)
	}
	type instance struct {
		ref   ops.ResourceRef
		needs []string
	}
	var all []instance
	byName := map[string][]ops.ResourceRef{} // by address, and by address without index
	add := func(address, kind string, values map[string]any, needs []string) {
		r := ops.ResourceRef{Kind: kind, Name: address}
		if arn, ok := strings.CutPrefix(written(values["arn"]), "arn:"); ok {
			r.Aliases = append(r.Aliases, ops.Alias("arn", arn))
		}
		if id := written(values["id"]); strings.HasPrefix(strings.ToLower(id), "/subscriptions/") {
			r.Aliases = append(r.Aliases, ops.Alias("arm", id))
		}
		r.Aliases = append(r.Aliases, ops.Alias("terraform", state+"/"+address))
		all = append(all, instance{r, needs})
		byName[address] = append(byName[address], r)
		if plain := unindexed(address); plain != address {
			byName[plain] = append(byName[plain], r)
		}
	}
	switch {
	case doc.FormatVersion != "":
		if doc.Values == nil {
			return nil, nil // an empty state
		}
		var visit func(m module)
		visit = func(m module) {
			for _, r := range m.Resources {
				if r.Mode == "managed" {
					add(r.Address, r.Type, r.Values, r.DependsOn)
				}
			}
			for _, c := range m.ChildModules {
				visit(c)
			}
		}
		visit(doc.Values.Root)
	case doc.Version == 4:
		for _, r := range doc.Resources {
			if r.Mode != "managed" {
				continue
			}
			address := r.Type + "." + r.Name
			if r.Module != "" {
				address = r.Module + "." + address
			}
			for _, i := range r.Instances {
				index := ""
				switch k := i.IndexKey.(type) {
				case string:
					index = fmt.Sprintf("[%q]", k)
				case float64:
					index = fmt.Sprintf("[%d]", int(k))
				}
				add(address+index, r.Type, i.Attributes, i.Dependencies)
			}
		}
	default:
		return nil, fmt.Errorf("state %s: is neither terraform show -json nor a state of version 4: %w", state, ops.ErrInvalid)
	}
	var out []Link
	for _, i := range all {
		seen := map[string]bool{i.ref.Name: true}
		for _, need := range i.needs {
			found := byName[need]
			if found == nil {
				found = byName[unindexed(need)]
			}
			for _, other := range found {
				if !seen[other.Name] {
					seen[other.Name] = true
					out = append(out, Link{i.ref, other})
				}
			}
		}
	}
	return out, nil
}

func written(v any) string { s, _ := v.(string); return s }

var indexed = regexp.MustCompile(`\[(?:[0-9]+|"(?:[^"\\]|\\.)*")\]`)

// unindexed returns an address without the keys of count and for_each.
func unindexed(address string) string { return indexed.ReplaceAllString(address, "") }
