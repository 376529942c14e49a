package change_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/change/safetytest"
	"github.com/fettleops/fettle/ops"
)

// crew are the principals that press buttons at random.
var crew = []ops.Principal{
	owner, manager, second, robot, viewer, ops.SystemPrincipal,
	person("ada", ops.Admin), person("otto", ops.ApplicationOwner, ops.ChangeManager), person("ivo", ops.IncidentCommander), person("ida", ops.IncidentCommander),
	person("tom", ops.ChangeManager), person("uma", ops.ChangeManager),
	{ID: "tess", Name: "tess", Kind: ops.Person, Roles: []ops.Role{ops.ApplicationOwner}, Teams: []string{"shop"}},
	{ID: "", Name: "nobody", Kind: ops.Person, Roles: []ops.Role{ops.Admin}},
}

// labelled are the resources that are touched.
var labelled = map[string]map[string]string{
	"r0": {"env": "prod", "service": "a", "account": "x"}, "r1": {"env": "prod", "service": "a", "account": "y"}, "r2": {"env": "prod", "service": "b", "account": "x"},
}

// law is a configuration, and its rules written a second time for the oracle.
type law struct {
	config change.Config
	rules  safetytest.Rules
	mu     sync.Mutex
	gates  map[string]*change.Gate
}

// gate returns the compiled configuration without one of its guards.
func (l *law) gate(broken string, coarse bool) *change.Gate {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := broken
	if coarse {
		key += "/coarse"
	}
	g, ok := l.gates[key]
	if !ok {
		c := l.config
		if coarse {
			c.Recheck = 12 * time.Hour
		}
		var err error
		if g, err = change.NewGate(c); err != nil {
			panic(err)
		}
		if broken != "" {
			g = g.Without(broken)
		}
		l.gates[key] = g
	}
	return g
}

// newLaws returns the configurations under which is played.
func newLaws(t testing.TB) []*law {
	t.Helper()
	slow, wide := change.Limits{Count: 1, Per: 12 * time.Hour, BlastRadius: 50}, change.Limits{Count: 3, Per: 3 * time.Hour, BlastRadius: 25}
	free := change.Limits{Count: 10, Per: time.Hour, BlastRadius: 100}
	return []*law{
		newLaw(slow, change.Concurrency{}, nil), newLaw(wide, change.Concurrency{}, nil),
		newLaw(free, change.Concurrency{}, map[string][]string{"r1": {"r0"}, "r2": {"r1", "r0"}}),
		newLaw(free, change.Concurrency{Total: 1}, nil), newLaw(free, change.Concurrency{PerService: 1}, nil), newLaw(free, change.Concurrency{PerAccount: 1}, nil),
	}
}

func newLaw(limits change.Limits, crowd change.Concurrency, needs map[string][]string) *law {
	c := testConfig()
	c.Windows[0].Cutoff, c.MaxAge, c.Limits, c.Concurrency = 5*time.Minute, 8*24*time.Hour, limits, crowd
	frozen := map[string][2]time.Time{
		"freeze": {at("2026-11-23T00:00:00Z"), at("2026-11-25T00:00:00Z")},
		"short":  {at("2026-11-22T03:00:00Z"), at("2026-11-22T03:30:00Z")},
	}
	c.Freezes = []ops.Window{
		{Name: "freeze", TimeZone: "UTC", From: frozen["freeze"][0], To: frozen["freeze"][1], BreakGlass: []ops.Role{ops.IncidentCommander}},
		{Name: "short", TimeZone: "UTC", From: frozen["short"][0], To: frozen["short"][1]},
	}
	c.Approval = []change.ApprovalRule{
		{Match: "change.risk < 0.2", Automatically: true},
		{Match: `change.action == "sweep" && resource.labels.service == "b"`, In: "desk", Approvers: []ops.Approvers{{People: []string{"otto", "mia", "sam"}, Count: 1}}},
		{Match: `change.action == "sweep"`, Approvers: []ops.Approvers{{People: []string{"otto", "mia", "sam"}, Count: 1}}},
		{Match: `change.action == "mop" && change.team == "shop"`, In: "snow", Approvers: []ops.Approvers{{Role: ops.ChangeManager, Count: 1}}},
		{Match: `change.action == "mop"`, Approvers: []ops.Approvers{{Role: ops.ChangeManager, Count: 1}}},
		{Match: `change.team == "shop"`, Approvers: []ops.Approvers{{Role: change.Owner, Count: 1}, {Role: ops.ChangeManager, Count: 1}}},
		{Match: "true", Approvers: []ops.Approvers{{Role: ops.ApplicationOwner, Count: 1}, {Role: ops.ChangeManager, Count: 1}}, Expires: 72 * time.Hour},
	}
	c.Delegations = []change.Delegation{
		{Of: "olga", To: "vic", From: at("2026-11-21T00:00:00Z"), Until: at("2026-11-22T12:00:00Z")},
		{Of: "tess", To: "vic", From: at("2026-11-01T00:00:00Z"), Until: at("2026-12-22T12:00:00Z")},
		{Of: "mia", To: "olga", From: at("2026-11-01T00:00:00Z"), Until: at("2026-12-22T12:00:00Z")},
		{Of: "ada", To: "vic", From: at("2026-10-01T00:00:00Z"), Until: at("2026-11-21T00:30:00Z")},
	}
	people := map[string]ops.Principal{}
	for _, p := range crew {
		if p.ID != "" {
			people[p.ID] = p
		}
	}
	return &law{config: c, gates: map[string]*change.Gate{}, rules: safetytest.Rules{
		Open: func(t time.Time) (end, cutoff time.Time, ok bool) { // daily 02:00 to 06:00: nobody here touches r3
			day := t.UTC().Truncate(24 * time.Hour)
			return day.Add(6 * time.Hour), day.Add(6*time.Hour - 5*time.Minute), t.UTC().Hour() >= 2 && t.UTC().Hour() < 6
		},
		Frozen: func(from, to time.Time) (out []string) {
			for name, span := range frozen {
				if from.Before(span[1]) && (to.After(span[0]) || from.Equal(span[0])) {
					out = append(out, name)
				}
			}
			return out
		},
		Automatic: func(c ops.Change) bool { return c.Type == ops.ChangeStandard && c.Risk < 0.2 },
		Need: func(c ops.Change) []ops.Approvers {
			switch c.Action {
			case "sweep":
				return []ops.Approvers{{People: []string{"otto", "mia", "sam"}, Count: 1}}
			case "mop":
				return []ops.Approvers{{Role: ops.ChangeManager, Count: 1}}
			}
			return []ops.Approvers{{Role: ops.ApplicationOwner, Count: 1}, {Role: ops.ChangeManager, Count: 1}}
		},
		In: func(c ops.Change) string {
			switch {
			case c.Action == "sweep" && labelled[c.ResourceID]["service"] == "b":
				return "desk"
			case c.Action == "mop" && c.Team == "shop":
				return "snow"
			}
			return ""
		},
		FourEyes: 0.7,
		Delegated: func(of, to string, when time.Time) bool {
			return slices.ContainsFunc(c.Delegations, func(d change.Delegation) bool {
				return d.Of == of && d.To == to && !when.Before(d.From) && when.Before(d.Until)
			})
		},
		WindowRole: ops.ChangeManager,
		Glass:      map[string][]ops.Role{"freeze": {ops.IncidentCommander}},
		Needs:      needs, Total: crowd.Total, PerService: crowd.PerService, PerAccount: crowd.PerAccount,
		Of: func(r string) (service, account string) { return labelled[r]["service"], labelled[r]["account"] },
		Estimates: func(executor string) (apply, rollback time.Duration) {
			if executor == "aws" {
				return time.Minute, time.Minute
			}
			return 0, 0
		},
		People: people, MaxStarts: limits.Count, MaxResources: max(1, int(4*limits.BlastRadius/100)), Per: limits.Per,
	}}
}
