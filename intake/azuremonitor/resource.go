package azuremonitor

import (
	"strings"

	"github.com/fettleops/fettle/ops"
)

// armID is an Azure Resource Manager id. Azure spells the same id in different
// letter case, even within one payload.
type armID struct {
	id, subscription, group, kind, name string
}

func isARM(s string) bool {
	return len(s) > 15 && strings.EqualFold(s[:15], "/subscriptions/")
}

// parseARM reads /subscriptions/S/resourceGroups/G/providers/NS/TYPE/NAME[/TYPE/NAME...]
// and its shorter forms.
func parseARM(s string) armID {
	a := armID{id: s}
	parts := strings.Split(strings.Trim(s, "/"), "/")
	for i := 0; i+1 < len(parts); i += 2 {
		switch strings.ToLower(parts[i]) {
		case "subscriptions":
			a.subscription, a.kind, a.name = parts[i+1], "microsoft.resources/subscriptions", parts[i+1]
		case "resourcegroups":
			a.group, a.kind, a.name = parts[i+1], "microsoft.resources/resourcegroups", parts[i+1]
		case "providers":
			rest := parts[i+1:]
			kind := strings.ToLower(rest[0])
			for j := 1; j+1 < len(rest); j += 2 {
				kind += "/" + strings.ToLower(rest[j])
				a.kind, a.name = kind, rest[j+1]
			}
			return a
		}
	}
	return a
}

// machineDimensions are the dimensions of a log alert that name the thing it
// is about, in Azure's order. The target of such an alert is the workspace.
var machineDimensions = []string{"_ResourceId", "ResourceId", "Resource", "Computer"}

const workspace = "microsoft.operationalinsights/workspaces"

// resource decides what an alert is about: what its dimensions name, else the
// configuration item where the target is only the workspace that was asked,
// else the target.
func resource(e *essentials, dims []dimension) ops.ResourceRef {
	for _, name := range machineDimensions {
		for _, d := range dims {
			if v := strings.TrimSpace(string(d.Value)); v != "" && strings.EqualFold(string(d.Name), name) {
				return refOf(v)
			}
		}
	}
	var target armID
	if len(e.Targets) > 0 {
		target = parseARM(e.Targets[0])
	}
	if len(e.Items) > 0 && (len(e.Targets) == 0 || target.kind == workspace && !strings.EqualFold(e.Items[0], target.name) && !strings.EqualFold(e.Items[0], target.id)) {
		return refOf(e.Items[0])
	}
	if len(e.Targets) == 0 {
		return ops.ResourceRef{}
	}
	// An alert on several targets is about the first; the others stand in its
	// labels. Making them aliases would declare them one thing.
	return refOf(e.Targets[0])
}

func refOf(s string) ops.ResourceRef {
	if isARM(s) {
		s = strings.TrimRight(s, "/")
		a := parseARM(s)
		return ops.ResourceRef{Kind: a.kind, Name: a.name, Aliases: []string{ops.Alias("arm", s)}}
	}
	return ops.ResourceRef{Kind: "host", Name: s, Aliases: []string{ops.Alias("host", s)}}
}
