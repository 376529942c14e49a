package config

import (
	"slices"
	"strings"
)

func (v *validator) windows() []string {
	return names(v.c.Windows, func(w Window) string { return w.Name })
}

func (v *validator) gate() {
	windows := v.names("windows", "name", v.windows())
	for i, w := range v.c.Windows {
		path := at("windows", i)
		v.recurs(path, w.Schedule, w.RRule, w.ICal, w.Start, true)
		if w.Schedule != "always" && (w.ICal == "" || w.Duration.D != 0) {
			v.positive(path+".duration", w.Duration)
			if w.Cutoff.D >= w.Duration.D && w.Duration.D > 0 {
				v.add(path+".cutoff", "%s leaves nothing of the duration %s", w.Cutoff, w.Duration)
			}
		}
		v.span(path, w.From, w.To)
		v.expression("windows.applies", path+".applies", w.Applies, false)
	}
	v.names("freezes", "name", names(v.c.Freezes, func(f Freeze) string { return f.Name }))
	for i, f := range v.c.Freezes {
		path := at("freezes", i)
		if slices.Contains(windows, f.Name) {
			v.add(path+".name", "%q is already the name of a window", f.Name)
		}
		v.recurs(path, f.Schedule, f.RRule, f.ICal, f.Start, false)
		switch recurring := f.Schedule != "" || f.RRule != "" || f.ICal != ""; {
		case recurring && (f.ICal == "" || f.Duration.D != 0):
			v.positive(path+".duration", f.Duration)
		case !recurring && (f.From.IsZero() || f.To.IsZero()):
			v.add(path, "needs from and to, or a schedule, rrule or ical when it recurs")
		}
		v.span(path, f.From, f.To)
		v.expression("freezes.applies", path+".applies", f.Applies, false)
	}
	for i, a := range v.c.Policies.Approval {
		path := at("policies.approval", i)
		v.expression("policies.approval.match", path+".match", a.Match, true)
		automatic := a.Approve != ""
		switch {
		case automatic && a.Approvers != nil:
			v.add(path, "says both approve: automatically and approvers; keep one")
		case !automatic && a.Approvers == nil:
			v.add(path, "names nobody; write approvers: {role: ...} or approve: automatically")
		}
		if automatic && len(a.Then) > 0 {
			v.add(path, "says both approve: automatically and then; keep one")
		}
		if p := a.Approvers; p != nil {
			v.approvers(path+".approvers", *p)
		}
		for j, p := range a.Then {
			v.approvers(at(path+".then", j), p)
		}
		v.approvedIn(path+".in", a)
		v.positive(path+".expires", a.Expires)
	}
	p := v.c.Policies
	if p.FourEyesFrom < 0 {
		v.add("policies.four_eyes_from", "must not be negative; write a risk from 0 to 1, or more than 1 for never")
	}
	for _, l := range []struct {
		name  string
		value int
	}{{"total", p.Concurrency.Total}, {"per_service", p.Concurrency.PerService}, {"per_account", p.Concurrency.PerAccount}} {
		if l.value < 0 {
			v.add("policies.concurrency."+l.name, "must be 1 or more; leave it out for no limit")
		}
	}
}

// approvedIn checks where an approval counts: a change waits for ever for one
// that must be given on a ticket it does not have.
func (v *validator) approvedIn(path string, a Approval) {
	switch {
	case a.In == "" || a.In == DeskPlatform && a.Approve == "":
	case a.Approve != "":
		v.add(path, "nobody approves in %s what is approved automatically; remove in or approve", a.In)
	case !slices.Contains(v.platforms(), a.In):
		v.known(path, "platform", a.In, v.platforms())
	case !slices.ContainsFunc(v.c.Routes, func(r Route) bool { return r.Kind == "change_request" && r.Platform == a.In }):
		v.add(path, "no change has its ticket in %s; add a route {match: 'true', platform: %s, kind: change_request}", a.In, a.In)
	}
}

// approvers checks one step of an approval.
func (v *validator) approvers(path string, p Approvers) {
	if p.Count < 1 {
		v.add(path+".count", "must be 1 or more; write approve: automatically to ask nobody")
	}
	switch {
	case strings.TrimSpace(p.Role) == "" && len(p.People) == 0:
		v.add(path+".role", "is empty; write a role")
	case p.Role != "" && len(p.People) > 0:
		v.add(path, "says both role and people; keep one")
	case len(p.People) > 0 && len(p.People) < p.Count:
		v.add(path+".count", "asks for %d of %d people", p.Count, len(p.People))
	}
	people := names(v.c.People, func(p Person) string { return p.Name })
	for i, name := range p.People {
		v.known(at(path+".people", i), "person", name, people)
		if slices.Contains(p.People[:i], name) {
			v.add(at(path+".people", i), "%q is named twice; one person counts once", name)
		}
	}
}

// recurs checks the ways to say when a window opens.
func (v *validator) recurs(path, schedule, rule, ical string, start Civil, required bool) {
	given := 0
	for _, text := range []string{schedule, rule, ical} {
		if strings.TrimSpace(text) != "" {
			given++
		}
	}
	switch {
	case given > 1:
		v.add(path, "says when it opens %d times; keep one of schedule, rrule and ical", given)
	case given == 0 && required:
		v.add(path+".schedule", "is empty; write cron(...), rate(...), at(...) or always, or rrule or ical in its place")
	case rule != "" && start.IsZero():
		v.add(path+".start", "is missing; a rrule begins somewhere, write for example 2026-11-22T02:00")
	case rule == "" && !start.IsZero():
		v.add(path+".start", "belongs to rrule, and there is none")
	case schedule != "" && v.k.Schedule != nil:
		if err := v.k.Schedule(schedule); err != nil {
			v.add(path+".schedule", "%s", err)
		}
	}
}

func (v *validator) span(path string, from, to Civil) {
	if !from.IsZero() && !to.IsZero() && !to.UTC().After(from.UTC()) {
		v.add(path+".to", "%s is not after from (%s)", to, from)
	}
}
