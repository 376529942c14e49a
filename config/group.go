package config

import "time"

// Group is an entry of detect.groups: a model for each entity.
type Group struct {
	// Name, unique.
	Name string `yaml:"name,required"`
	// CEL over metric (name, unit, labels): the series it is for. Default: all that its features name.
	Match string `yaml:"match"`
	// Label whose value names the entity, or a list of labels. Default: what the ready set says; needed without one.
	Entity Names `yaml:"entity"`
	// What is watched together: the name of a ready set (node_exporter, otel_hostmetrics, cloudwatch_ec2, host), or a list.
	Features Features `yaml:"features,required"`
	// Distance of points, from 1s to 1d; best no shorter than the senders' interval. Default: what the ready set says, else 1m.
	Step Duration `yaml:"step"`
	// How long after its end a step waits for late samples, up to 7d. Default: what the ready set says, else one step.
	Lateness *Duration `yaml:"lateness"`
	// Whether senders keep the order of each series, so that a step need not wait when every series has gone on. Default: what the ready set says, else true.
	InOrder *bool `yaml:"in_order"`
	// Detector, for example default, rcf, zscore, seasonal. Default: default.
	Detector string `yaml:"detector"`
	// Wished number of false alarms of each entity. Default: 1/week.
	AlarmBudget Rate `yaml:"alarm_budget"`
	// How far a value must be off, relative to what was expected. Default: 0%.
	MinEffect Percent `yaml:"min_effect"`
	// Size of the models: full, small, or auto, which is full for the first 100 entities and small for those after. Default: auto.
	Tier string `yaml:"tier" enum:"auto,full,small"`
	// How many entities may be watched; more are refused. Default: 10000.
	MaxEntities int `yaml:"max_entities"`
	// Severity of its anomalies. Default: medium.
	Severity string `yaml:"severity" enum:"critical,high,medium,low,info"`
}

// Defaults sets what no ready set decides.
func (g *Group) Defaults() {
	g.Detector, g.Tier, g.Severity, g.MaxEntities = "default", "auto", "medium", 10_000
	g.AlarmBudget = Rate{Count: 1, Per: 7 * 24 * time.Hour}
}

// Feature is an entry of a group's features.
type Feature struct {
	// Name, unique in the group, a word of expressions: lower-case letters, digits and _. Required unless set is given.
	Name string `yaml:"name"`
	// Ready set whose features stand here; no other key is written then. Default: none.
	Set string `yaml:"set"`
	// Metric that feeds it, as its sender spells it, or a list. Default: any that match selects.
	Metric Names `yaml:"metric"`
	// CEL over metric: which of its series. Default: all.
	Match string `yaml:"match"`
	// Whether values are counters and the feature their increase per second. Default: what the sender says, else whether the name ends in _total.
	Rate *bool `yaml:"rate"`
	// How the samples of a gauge become one value of a step. Default: avg.
	ByStep string `yaml:"by_step" enum:"avg,last,sum,max,min"`
	// How the series of an entity become one value. Default: avg.
	ByEntity string `yaml:"by_entity" enum:"sum,avg,max,min"`
	// CEL over the names of features before it, for example '1.0 - idle / total'; instead of metric and match. Default: none.
	Expr string `yaml:"expr"`
	// Unit in UCUM, for example 1, s, By, By/s; series of other units are converted or refused. Default: unknown.
	Unit string `yaml:"unit"`
	// Whether only expressions read it and the model does not. Default: false.
	Hidden bool `yaml:"hidden"`
}

// Names is a list of names that may be written as one.
type Names []string

// SetSingle makes text the only name.
func (n *Names) SetSingle(text string) { *n = Names{text} }

// Features is a list of features that may be written as the name of a ready set.
type Features []Feature

// SetSingle makes the ready set called text the only entry.
func (f *Features) SetSingle(text string) { *f = Features{{Set: text}} }

func (v *validator) groups() {
	v.names("detect.groups", "name", names(v.c.Detect.Groups, func(g Group) string { return g.Name }))
	for i, g := range v.c.Detect.Groups {
		path := at("detect.groups", i)
		if len(g.Features) == 0 {
			v.add(path+".features", "is empty; write the name of a ready set or at least one feature")
		}
		if g.Detector == "" {
			v.add(path+".detector", "is empty; write default")
		}
		if g.AlarmBudget.Count < 1 {
			v.add(path+".alarm_budget", "%s leaves no alarm; write for example 1/week", g.AlarmBudget)
		}
		if g.MaxEntities < 1 {
			v.add(path+".max_entities", "must be 1 or more")
		}
		if v.k.Group == nil {
			continue
		}
		for _, f := range v.k.Group(g) {
			v.add(path+"."+f.Path, "%s", f.Text)
		}
	}
}
