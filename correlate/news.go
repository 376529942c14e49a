package correlate

import (
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// news is what became of an incident's members since that was last told.
type news struct {
	grew   []ops.Alert // the first of those that joined
	grown  int
	joined ops.Span // the messages by which they did
	shrunk int
	why    []string
}

func (n news) empty() bool { return n.grown == 0 && n.shrunk == 0 }

// pending is news as the incident keeps it until it is told.
func (n news) pending() *ops.Untold {
	u := &ops.Untold{Grown: n.grown, Shrunk: n.shrunk, Joined: n.joined, Why: n.why}
	for _, a := range n.grew {
		u.Fingerprints = append(u.Fingerprints, a.Fingerprint)
	}
	return u
}

// An incident tells that it grew or shrank at most once in tellFirst, and while
// it goes on in twice as long each time, up to tellMost, or when so many have
// joined. In a storm each batch changes it; what follows from a fact, such as a
// note in a ticket, is for people, who do not read one a second for long. Opening,
// reopening, resolving and a change of severity are told at once, with what waits.
const (
	tellFirst = time.Second
	tellMost  = 10 * time.Second
	tellMany  = 1000
)

// mayTell says whether what became of the members may be told at an instant. A
// clock that was set back holds nothing back.
func (e *entry) mayTell(at time.Time) bool {
	return at.Sub(e.told).Abs() >= max(e.pace, tellFirst) || e.news.grown >= tellMany
}

// tell notes that it was.
func (e *entry) tell(at time.Time) {
	pace := max(e.pace, tellFirst)
	if at.Sub(e.told) < 2*pace {
		pace = min(2*pace, tellMost)
	} else {
		pace = tellFirst // it had been quiet
	}
	e.told, e.pace = at, pace
}

// finish computes what follows from all decisions of the step together.
func (s *step) finish() {
	for _, t := range s.incidents {
		if !t.changed {
			continue
		}
		t.incident.Version++
		t.incident.UpdatedAt = t.at
		t.incident.Firing = t.firing.total
		if t.firing.total > 0 {
			t.incident.Severity = t.firing.worst()
		}
		told := t.opened || t.reopened || t.resolved || t.incident.Severity != t.wasSev
		t.hold = !told && !t.news.empty() && !t.mayTell(t.at)
		t.incident.Untold = nil
		if t.hold {
			t.incident.Untold = t.news.pending()
		}
	}
}

// touched returns the incidents that changed, in the order they were reached.
func (s *step) touched() []*touch {
	var out []*touch
	for _, id := range s.order {
		if t := s.incidents[id]; t.changed {
			out = append(out, t)
		}
	}
	return out
}

func (s *step) members() []ops.Member {
	out := make([]ops.Member, 0, len(s.saveOrder))
	for _, k := range s.saveOrder {
		out = append(out, *s.saves[k])
	}
	return out
}

// facts tells what happened to one incident in this step.
func (t *touch) facts(i ops.Incident) []ops.Fact {
	if t.hold {
		return nil
	}
	tell := func(body ops.FactBody) ops.Fact {
		return ops.NewFact(i.Subject(), t.at, ops.SystemPrincipal, "", body)
	}
	why := strings.Join(nonEmpty(t.news.why), "; ")
	var out []ops.Fact
	switch {
	case t.opened:
		first := i
		if t.resolved { // opened and resolved within one batch: tell both, in order
			first.State, first.ResolvedAt = ops.IncidentNew, time.Time{}
		}
		out = append(out, tell(ops.IncidentOpenedBody{Incident: first, Alerts: t.news.grew, Count: t.news.grown, Joined: t.news.joined, Why: why}))
	case t.reopened:
		again := i
		if t.resolved {
			again.State, again.ResolvedAt = ops.IncidentInProgress, time.Time{}
		}
		out = append(out, tell(ops.IncidentReopenedBody{Incident: again, Alerts: t.news.grew, Count: t.news.grown, Joined: t.news.joined, Why: why}))
	case t.news.grown > 0 || i.Severity.Worse(t.wasSev):
		out = append(out, tell(ops.IncidentGrewBody{Incident: i, Alerts: t.news.grew, Count: t.news.grown, Joined: t.news.joined, Was: t.wasSev, Why: why}))
	}
	switch {
	case t.resolved:
		out = append(out, tell(ops.IncidentResolvedBody{Incident: i, Why: why}))
	case !t.opened && t.news.grown == 0 && (t.news.shrunk > 0 || i.Severity != t.wasSev) && !i.Severity.Worse(t.wasSev):
		out = append(out, tell(ops.IncidentShrankBody{Incident: i, Count: t.news.shrunk, Was: t.wasSev, Why: why}))
	}
	return out
}

// apply makes the step's outcome the memory, once it is durable.
func (s *step) apply(saved []ops.Incident) {
	for _, i := range saved {
		t := s.incidents[i.ID]
		t.incident = i
		e := t.entry
		if !t.hold {
			if !t.opened && !t.news.empty() {
				e.tell(t.at)
			}
			e.news = news{}
		}
		s.state.incidents[i.ID] = &e
	}
	for k, v := range s.groups {
		s.state.groups[k] = v
	}
	for fp, a := range s.alerts {
		s.state.alerts[fp] = a
		if a.stateless != nil {
			s.state.stateless[fp] = struct{}{}
		}
	}
}

func nonEmpty(in []string) []string {
	return slices.DeleteFunc(slices.Clone(in), func(s string) bool { return s == "" })
}

// short writes a duration the way people say it: 40s, 12m, 3h5m.
func short(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	default:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
}
