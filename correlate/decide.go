package correlate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// alert decides what one alert of a message means.
func (s *step) alert(m ops.Message, a ops.Alert) {
	at := m.RecordedAt.UTC()
	if a.StartsAt.IsZero() {
		a.StartsAt = at
	}
	known := s.lookup(a.Fingerprint)
	if a.State == ops.Resolved {
		if known != nil && known.state == ops.Firing && (!a.StartsAt.Before(known.startsAt) || a.EndsAt.After(known.startsAt)) {
			s.resolve(m, a, known, at)
		}
		return // unknown, already resolved, or the end of an episode before this one
	}
	if known != nil {
		if t := s.open(known.incidentID); t != nil && s.again(m, a, known, t, at) {
			return
		}
	}
	s.join(m, a, at)
}

// again handles a firing alert that is a member already. It reports false when
// the alert must find an incident as if it were new.
func (s *step) again(m ops.Message, a ops.Alert, known *remembered, t *touch, at time.Time) bool {
	newEpisode := a.StartsAt.After(known.startsAt)
	if known.state == ops.Firing && (t.incident.State.Open() || !newEpisode) {
		s.repeat(m, a, known, t, at)
		return true
	}
	if known.state == ops.Resolved && !newEpisode {
		return true // an old message, seen again after its end
	}
	switch {
	case t.incident.State.Open():
		s.flip(known, t, at)
		why := "the alert fires again while its incident is open"
		if t.incident.Flapping {
			s.put(m, a, known, t, at, why)
			t.changed, t.at = true, at // it comes and goes: recorded, not told each time
			return true
		}
		known.joined = m.Seq
		s.put(m, a, known, t, at, why)
		t.grow(m.Seq, a, at, why)
		return true
	case t.incident.State == ops.IncidentResolved && at.Sub(t.incident.ResolvedAt) <= s.cfg.ReopenWithin:
		s.flip(known, t, at)
		known.joined = m.Seq
		why := fmt.Sprintf("the alert fires again %s after the incident was resolved, within %s", short(at.Sub(t.incident.ResolvedAt)), short(s.cfg.ReopenWithin))
		s.put(m, a, known, t, at, why)
		t.reopen(m.Seq, a, at, why)
		return true
	}
	return false
}

// repeat takes a message in that says what is known. The record is written
// only when it says something new or was last written a minute ago.
func (s *step) repeat(m ops.Message, a ops.Alert, known *remembered, t *touch, at time.Time) {
	known.repeats++
	if a.Severity == known.severity && at.Sub(known.lastSaved) < time.Minute {
		return
	}
	if a.Severity != known.severity {
		t.news.why = append(t.news.why, fmt.Sprintf("%s went from %s to %s", a.Rule, known.severity, a.Severity))
		t.changed = true
		t.at = at
	}
	a.StartsAt = known.startsAt
	s.put(m, a, known, t, at, known.why)
}

func (s *step) join(m ops.Message, a ops.Alert, at time.Time) {
	key := s.groupKey(m, a)
	t := s.latest(key)
	known := &remembered{firstSeen: at, joined: m.Seq}
	s.alerts[a.Fingerprint] = known
	switch {
	case t != nil && t.incident.State.Open() && at.Sub(t.joined) <= s.cfg.Within:
		why := fmt.Sprintf("same %s, %s after the last alert joined", strings.Join(s.cfg.GroupBy, " and "), short(at.Sub(t.joined)))
		s.put(m, a, known, t, at, why)
		t.joined = at
		t.incident.Total++
		t.grow(m.Seq, a, at, why)
	case t != nil && t.incident.State == ops.IncidentResolved && at.Sub(t.incident.ResolvedAt) <= s.cfg.ReopenWithin:
		why := fmt.Sprintf("same %s, %s after the incident was resolved", strings.Join(s.cfg.GroupBy, " and "), short(at.Sub(t.incident.ResolvedAt)))
		s.put(m, a, known, t, at, why)
		t.joined = at
		t.incident.Total++
		t.reopen(m.Seq, a, at, why)
	default:
		why := "no open incident has the same " + strings.Join(s.cfg.GroupBy, " and ")
		if t != nil && t.incident.State.Open() {
			why = fmt.Sprintf("%s has the same %s, but its last alert joined %s ago, more than %s", t.incident.Key(), strings.Join(s.cfg.GroupBy, " and "), short(at.Sub(t.joined)), short(s.cfg.Within))
		}
		t = s.openNew(m.Seq, key, a, at, why)
		s.put(m, a, known, t, at, why)
	}
}

func (s *step) openNew(seq int64, key string, a ops.Alert, at time.Time, why string) *touch {
	title := a.Title
	if title == "" {
		title = a.Rule
	}
	i := ops.Incident{
		ID: s.state.newID(), Title: title, Severity: a.Severity, State: ops.IncidentNew, GroupKey: key, Rule: a.Rule,
		Resource: a.Resource.Name, Labels: s.groupLabels(a), OpenedAt: at, UpdatedAt: at, Total: 1, Muted: s.state.muted(a, at),
	}
	t := &touch{entry: entry{incident: i, joined: at, sample: a}, isNew: true, opened: true, changed: true, ref: a.Resource, at: at}
	t.news.why = append(t.news.why, why)
	if i.Muted != "" {
		t.news.why = append(t.news.why, "muted by the maintenance window "+i.Muted)
	}
	t.news.grew, t.news.grown, t.news.joined = []ops.Alert{a}, 1, ops.Span{}.With(seq)
	s.incidents[i.ID] = t
	s.order = append(s.order, i.ID)
	s.groups[key] = i.ID
	return t
}

// grow takes an alert in that joined by a message, 0 when by none.
func (t *touch) grow(seq int64, a ops.Alert, at time.Time, why string) {
	t.news.grown++
	if seq > 0 {
		t.news.joined = t.news.joined.With(seq)
	}
	t.changed, t.at = true, at
	if len(t.news.grew) < ops.MaxFactAlerts {
		t.news.grew = append(t.news.grew, a)
	}
	if len(t.news.why) < 3 {
		t.news.why = append(t.news.why, why)
	}
}

func (t *touch) reopen(seq int64, a ops.Alert, at time.Time, why string) {
	t.reopened, t.resolved = true, false
	t.incident.State = ops.IncidentInProgress
	t.incident.ResolvedAt = time.Time{}
	t.incident.Reopened++
	t.grow(seq, a, at, why)
}

// resolve takes the end of a member's episode into account.
func (s *step) resolve(m ops.Message, a ops.Alert, known *remembered, at time.Time) {
	t := s.open(known.incidentID)
	if t == nil {
		return
	}
	if a.EndsAt.IsZero() {
		a.EndsAt = at
	}
	a.StartsAt = known.startsAt
	s.flip(known, t, at)
	if known.context != nil {
		a.Context = *known.context // the record keeps what it fired with, not the healthy value it ended with
	}
	s.put(m, a, known, t, at, known.why)
	if !t.incident.Flapping {
		t.news.shrunk++
	}
	t.changed, t.at = true, at
	if t.firing.total > 0 || !t.incident.State.Open() {
		return
	}
	if at.Before(t.quietAt) {
		if !t.incident.Flapping {
			t.news.why = append(t.news.why, fmt.Sprintf("the last alert resolved, but alerts of this incident changed %d times within %s: waiting for them to stay quiet", s.cfg.FlapChanges, short(s.cfg.FlapWithin)))
		}
		t.incident.Flapping = true
		return
	}
	t.resolve(at, "its last alert resolved")
}

func (t *touch) resolve(at time.Time, why string) {
	t.resolved, t.changed, t.at = true, true, at
	t.incident.State = ops.IncidentResolved
	t.incident.ResolvedAt = at
	t.incident.Flapping = false
	t.news.why = append(t.news.why, why)
}

// flip counts a state change of a member and marks its incident as flapping
// when there were too many of late.
func (s *step) flip(a *remembered, t *touch, at time.Time) {
	if s.cfg.FlapChanges <= 0 {
		return
	}
	a.flips = append(slices.DeleteFunc(a.flips, func(f time.Time) bool { return at.Sub(f) > s.cfg.FlapWithin }), at)
	if over := len(a.flips) - s.cfg.FlapChanges; over > 0 {
		a.flips = slices.Delete(a.flips, 0, over)
	}
	if len(a.flips) >= s.cfg.FlapChanges {
		t.quietAt = at.Add(s.cfg.FlapWithin)
	}
}

// put makes the alert the member's current record and keeps it for saving.
func (s *step) put(m ops.Message, a ops.Alert, known *remembered, t *touch, at time.Time, why string) {
	if known.state == ops.Firing && known.incidentID == t.incident.ID {
		t.firing.add(known.severity, -1)
	}
	if a.State == ops.Firing {
		t.firing.add(a.Severity, 1)
	}
	known.incidentID, known.state, known.severity = t.incident.ID, a.State, a.Severity
	known.startsAt, known.lastSaved, known.why, known.context = a.StartsAt, at, why, evidence(a.Context)
	rec := &ops.Member{Alert: a, IncidentID: t.incident.ID, Integration: m.Integration, FirstSeen: known.firstSeen, LastSeen: at, Repeats: known.repeats, RawSeq: m.Seq, Joined: known.joined, Why: why}
	known.stateless = nil
	if a.Stateless && a.State == ops.Firing {
		known.stateless = rec
	}
	key := membership{a.Fingerprint, t.incident.ID}
	if _, ok := s.saves[key]; !ok {
		s.saveOrder = append(s.saveOrder, key)
	}
	s.saves[key] = rec
}

func (s *step) groupKey(m ops.Message, a ops.Alert) string {
	var b strings.Builder
	for _, name := range s.cfg.GroupBy {
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(groupValue(m, a, name))
		b.WriteByte('\n')
	}
	return b.String()
}

func groupValue(m ops.Message, a ops.Alert, name string) string {
	switch name {
	case "rule":
		return a.Rule
	case "resource":
		return a.Resource.Name
	case "integration":
		return m.Integration
	}
	return a.Labels[name]
}

func (s *step) groupLabels(a ops.Alert) map[string]string {
	out := map[string]string{}
	for _, name := range s.cfg.GroupBy {
		if v, ok := a.Labels[name]; ok {
			out[name] = v
		}
	}
	return out
}
