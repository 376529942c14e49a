package ops

import "strings"

// Resource is a thing that is observed and changed. Locks, limits, graph
// edges and learning spans use its ID; everything else that names it is an
// alias.
type Resource struct {
	ID        string            `json:"id"`
	Kind      string            `json:"kind"`
	Name      string            `json:"name"`
	Aliases   []string          `json:"aliases"` // scheme:value, normalised, unique over all resources
	Labels    map[string]string `json:"labels,omitempty"`
	DependsOn []string          `json:"depends_on,omitempty"` // resource ids
}

// ResourceRef names a resource the way a sender knows it, before the store has
// resolved it to an ID by its aliases. A ref that no resource answers to
// creates one.
type ResourceRef struct {
	ID      string   `json:"id,omitempty"` // set once resolved
	Kind    string   `json:"kind,omitempty"`
	Name    string   `json:"name,omitempty"`
	Aliases []string `json:"aliases,omitempty"`
}

// Alias returns scheme:value, normalised for its scheme: ARM ids and host
// names are case-insensitive and become lower-case, everything else is kept.
// An empty value gives an empty alias, which means "none".
func Alias(scheme, value string) string {
	value = strings.TrimSpace(value)
	if value == "" {
		return ""
	}
	switch scheme {
	case "arm", "host":
		value = strings.ToLower(value)
	}
	return scheme + ":" + value
}
