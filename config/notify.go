package config

import (
	"slices"
	"strings"

	"github.com/fettleops/fettle/internal/strictyaml"
	"github.com/fettleops/fettle/internal/unit"
	"github.com/fettleops/fettle/ops"
)

// NotifyChannel is an entry of notify: a channel and what it is told. Its one
// further key names the kind of channel and holds what that needs.
type NotifyChannel struct {
	// Name, unique: lower-case letters, digits, - and _.
	Name string `yaml:"name,required"`
	// Facts it hears of, for example ApprovalRequested. Default: all that are news for people.
	On []string `yaml:"on"`
	// CEL over notice, fact, incident, change and resource that must hold. Default: always.
	When string `yaml:"when"`
	// Messages it gets in an hour; more are held back and then listed in one digest. 0 is any number. Default: 20 for channels that people read, else 0.
	PerHour *int `yaml:"per_hour"`
	// How long a notification is tried before it is given up. Default: 24h.
	GiveUpAfter Duration `yaml:"give_up_after"`
	// The kind of channel, with its keys.
	Options Raw `yaml:",rest"`
}

// Defaults sets how long it is tried.
func (n *NotifyChannel) Defaults() { n.GiveUpAfter = unit.MustDuration("24h") }

// Kind returns the key that names the kind of channel, and what stands under
// it. It is empty when there is not exactly one.
func (n NotifyChannel) Kind() (string, Raw) {
	if e := n.Options.Entries(); len(e) == 1 {
		return e[0].Name, e[0].Value
	}
	return "", Raw{}
}

func (v *validator) notifications() {
	v.names("notify", "name", names(v.c.Notify, func(n NotifyChannel) string { return n.Name }))
	heard := names(ops.Heard("notify"), func(k ops.FactKind) string { return string(k) })
	for i, n := range v.c.Notify {
		path := at("notify", i)
		if n.Name != "" && !integrationName.MatchString(n.Name) {
			v.add(path+".name", "%q cannot stand in a URL; use at most 64 lower-case letters, digits, - and _", n.Name)
		}
		for j, kind := range n.On {
			if slices.Contains(heard, kind) {
				continue
			}
			if near := strictyaml.Nearest(kind, heard); near != "" {
				v.add(at(path+".on", j), "nobody is told of %q; did you mean %q?", kind, near)
				continue
			}
			v.add(at(path+".on", j), "nobody is told of %q; known: %s", kind, strings.Join(heard, ", "))
		}
		v.expression("notify.when", path+".when", n.When, false)
		if n.PerHour != nil && *n.PerHour < 0 {
			v.add(path+".per_hour", "must be 0 (any number) or more")
		}
		v.positive(path+".give_up_after", n.GiveUpAfter)
		if kinds := names(n.Options.Entries(), func(e strictyaml.Entry) string { return e.Name }); len(kinds) != 1 {
			v.add(path, "names %d kinds of channel (%s); write exactly one, such as slack: env:SLACK_WEBHOOK", len(kinds), strings.Join(kinds, ", "))
		}
		v.secrets(n.Options)
	}
}
