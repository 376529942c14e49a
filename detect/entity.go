package detect

import "github.com/fettleops/fettle/ops"

// ResourceOf names the resource that an entity is measured on: the host of an
// instance such as web1:9100.
func ResourceOf(entity string) ops.ResourceRef {
	return ops.ResourceRef{Kind: "host", Name: hostOf(entity), Aliases: []string{aliasOf(entity)}}
}

// FingerprintOf returns the fingerprint of the alerts about an entity of a
// group. All its anomalies are one alert that fires again.
func FingerprintOf(group, entity string) string {
	return ops.Fingerprint(Sense, ruleOf(group), map[string]string{"entity": entity})
}

// ruleOf is the rule that alerts about a group's entities name.
func ruleOf(group string) string { return "anomaly/" + group }
