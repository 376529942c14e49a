package correlate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// state is what correlation remembers: the incidents that are open or may
// reopen, and their members.
type state struct {
	incidents map[string]*entry      // by incident id
	groups    map[string]string      // group key -> id of the latest incident
	alerts    map[string]*remembered // fingerprint -> its latest membership
	stateless map[string]struct{}    // fingerprints of alerts that only time ends; some may have ended since
	muted     func(a ops.Alert, at time.Time) string
	newID     func() string
}

// entry is an incident with what only correlation needs to know.
type entry struct {
	incident ops.Incident
	joined   time.Time // when a new member last joined
	quietAt  time.Time // until then a flapping member keeps it open
	sample   ops.Alert // its first alert, to ask again whether it is muted
	firing   firing
	news     news
	told     time.Time // when growing or shrinking was last told
}

// news is what became of an incident's members since that was last told.
type news struct {
	grew   []ops.Alert // the first of those that joined
	grown  int
	shrunk int
	why    []string
}

func (n news) empty() bool { return n.grown == 0 && n.shrunk == 0 }

// pending is news as the incident keeps it until it is told.
func (n news) pending() *ops.Untold {
	u := &ops.Untold{Grown: n.grown, Shrunk: n.shrunk, Why: n.why}
	for _, a := range n.grew {
		u.Fingerprints = append(u.Fingerprints, a.Fingerprint)
	}
	return u
}

// firing counts the members that fire, by severity: an incident of a hundred
// thousand members is decided on as fast as one of two.
type firing struct {
	total int
	of    [5]int // by place in ops.Severities
}

func (f *firing) add(v ops.Severity, n int) {
	f.total += n
	if i := slices.Index(ops.Severities, v); i >= 0 {
		f.of[i] += n
	}
}

func (f *firing) worst() ops.Severity {
	for i, v := range ops.Severities {
		if f.of[i] > 0 {
			return v
		}
	}
	return ops.Info
}

// remembered is a member in the few fields that decisions need.
type remembered struct {
	incidentID string
	state      ops.AlertState
	severity   ops.Severity
	startsAt   time.Time
	firstSeen  time.Time
	lastSaved  time.Time // last_seen as stored
	repeats    int64
	why        string
	context    *ops.AlertContext // the evidence it fired with; the end often comes without
	flips      []time.Time       // state changes, newest last, bounded
	stateless  *ops.Member       // the whole record, kept only when nobody else will end it
}

func newState() *state {
	return &state{incidents: map[string]*entry{}, groups: map[string]string{}, alerts: map[string]*remembered{}, stateless: map[string]struct{}{}}
}

// load takes an incident of the store into memory. Incidents come in the order
// of their numbers, so the latest of a group and of an alert wins.
func (s *state) load(i ops.Incident, members []ops.Member) {
	e := &entry{incident: i, joined: i.OpenedAt}
	u := i.Untold
	if u != nil {
		e.news = news{grown: u.Grown, shrunk: u.Shrunk, why: u.Why}
	}
	if i.Flapping {
		e.quietAt = i.UpdatedAt // the count of changes is not stored: quiet since the restart is enough
	}
	for _, m := range members {
		if e.sample.Fingerprint == "" || m.FirstSeen.Before(i.OpenedAt) || m.FirstSeen.Equal(i.OpenedAt) {
			e.sample = m.Alert
		}
		if m.FirstSeen.After(e.joined) {
			e.joined = m.FirstSeen
		}
		if m.State == ops.Firing {
			e.firing.add(m.Severity, 1)
		}
		if u != nil && slices.Contains(u.Fingerprints, m.Fingerprint) {
			e.news.grew = append(e.news.grew, m.Alert)
		}
		a := &remembered{
			incidentID: i.ID, state: m.State, severity: m.Severity, startsAt: m.StartsAt, firstSeen: m.FirstSeen,
			lastSaved: m.LastSeen, repeats: m.Repeats, why: m.Why, context: evidence(m.Context),
		}
		if m.Stateless {
			a.stateless = &m
			s.stateless[m.Fingerprint] = struct{}{}
		}
		s.alerts[m.Fingerprint] = a
	}
	s.incidents[i.ID] = e
	s.groups[i.GroupKey] = i.ID
}

// evidence keeps a context worth keeping.
func evidence(c ops.AlertContext) *ops.AlertContext {
	if c == (ops.AlertContext{}) {
		return nil
	}
	return &c
}

// step decides a batch on copies of what it touches, so that a transaction
// that fails leaves the memory as it was.
type step struct {
	state     *state
	cfg       Config
	incidents map[string]*touch
	order     []string
	groups    map[string]string
	alerts    map[string]*remembered
	saves     map[membership]*ops.Member
	saveOrder []membership
}

type membership struct{ fingerprint, incident string }

// tellEvery is how often at most an incident tells that it grew or shrank. In a
// storm each batch changes it; what follows from a fact, such as a note in a
// ticket, is for people, who do not read ten a second. Opening, reopening,
// resolving and a change of severity are told at once, with what waits.
const tellEvery = time.Second

// touch is an incident the step changes.
type touch struct {
	entry
	isNew    bool
	was      ops.IncidentState
	wasSev   ops.Severity
	ref      ops.ResourceRef
	opened   bool
	reopened bool
	resolved bool
	changed  bool
	hold     bool // its news waits
	at       time.Time
}

func (s *state) begin(cfg Config) *step {
	return &step{state: s, cfg: cfg, incidents: map[string]*touch{}, groups: map[string]string{}, alerts: map[string]*remembered{}, saves: map[membership]*ops.Member{}}
}

func (s *step) lookup(fingerprint string) *remembered {
	if a, ok := s.alerts[fingerprint]; ok {
		return a
	}
	if a, ok := s.state.alerts[fingerprint]; ok {
		c := *a
		c.flips = slices.Clone(a.flips)
		s.alerts[fingerprint] = &c
		return &c
	}
	return nil
}

// open returns the step's copy of an incident, nil when it is forgotten.
func (s *step) open(id string) *touch {
	if t, ok := s.incidents[id]; ok {
		return t
	}
	e, ok := s.state.incidents[id]
	if !ok {
		return nil
	}
	t := &touch{entry: *e, was: e.incident.State, wasSev: e.incident.Severity}
	t.news.grew, t.news.why = slices.Clip(e.news.grew), slices.Clip(e.news.why) // appending copies
	s.incidents[id] = t
	s.order = append(s.order, id)
	return t
}

func (s *step) latest(group string) *touch {
	id, ok := s.groups[group]
	if !ok {
		id, ok = s.state.groups[group]
	}
	if !ok {
		return nil
	}
	return s.open(id)
}

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
		s.put(m, a, known, t, at, why)
		if t.incident.Flapping {
			t.changed, t.at = true, at // it comes and goes: recorded, not told each time
			return true
		}
		t.grow(a, at, why)
		return true
	case t.incident.State == ops.IncidentResolved && at.Sub(t.incident.ResolvedAt) <= s.cfg.ReopenWithin:
		s.flip(known, t, at)
		why := fmt.Sprintf("the alert fires again %s after the incident was resolved, within %s", short(at.Sub(t.incident.ResolvedAt)), short(s.cfg.ReopenWithin))
		s.put(m, a, known, t, at, why)
		t.reopen(a, at, why)
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
	known := &remembered{firstSeen: at}
	s.alerts[a.Fingerprint] = known
	switch {
	case t != nil && t.incident.State.Open() && at.Sub(t.joined) <= s.cfg.Within:
		why := fmt.Sprintf("same %s, %s after the last alert joined", strings.Join(s.cfg.GroupBy, " and "), short(at.Sub(t.joined)))
		s.put(m, a, known, t, at, why)
		t.joined = at
		t.incident.Total++
		t.grow(a, at, why)
	case t != nil && t.incident.State == ops.IncidentResolved && at.Sub(t.incident.ResolvedAt) <= s.cfg.ReopenWithin:
		why := fmt.Sprintf("same %s, %s after the incident was resolved", strings.Join(s.cfg.GroupBy, " and "), short(at.Sub(t.incident.ResolvedAt)))
		s.put(m, a, known, t, at, why)
		t.joined = at
		t.incident.Total++
		t.reopen(a, at, why)
	default:
		why := "no open incident has the same " + strings.Join(s.cfg.GroupBy, " and ")
		if t != nil && t.incident.State.Open() {
			why = fmt.Sprintf("%s has the same %s, but its last alert joined %s ago, more than %s", t.incident.Key(), strings.Join(s.cfg.GroupBy, " and "), short(at.Sub(t.joined)), short(s.cfg.Within))
		}
		t = s.openNew(key, a, at, why)
		s.put(m, a, known, t, at, why)
	}
}

func (s *step) openNew(key string, a ops.Alert, at time.Time, why string) *touch {
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
	t.news.grew, t.news.grown = []ops.Alert{a}, 1
	s.incidents[i.ID] = t
	s.order = append(s.order, i.ID)
	s.groups[key] = i.ID
	return t
}

func (t *touch) grow(a ops.Alert, at time.Time, why string) {
	t.news.grown++
	t.changed, t.at = true, at
	if len(t.news.grew) < ops.MaxFactAlerts {
		t.news.grew = append(t.news.grew, a)
	}
	if len(t.news.why) < 3 {
		t.news.why = append(t.news.why, why)
	}
}

func (t *touch) reopen(a ops.Alert, at time.Time, why string) {
	t.reopened, t.resolved = true, false
	t.incident.State = ops.IncidentInProgress
	t.incident.ResolvedAt = time.Time{}
	t.incident.Reopened++
	t.grow(a, at, why)
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
	rec := &ops.Member{Alert: a, IncidentID: t.incident.ID, Integration: m.Integration, FirstSeen: known.firstSeen, LastSeen: at, Repeats: known.repeats, RawSeq: m.Seq, Why: why}
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

// settle applies what the passing of time alone changes.
func (s *step) settle(now time.Time) {
	for fp := range s.state.stateless {
		a := s.state.alerts[fp]
		if a == nil || a.stateless == nil {
			delete(s.state.stateless, fp)
			continue
		}
		if now.Sub(a.lastSaved) > s.cfg.StatelessAfter {
			rec := *a.stateless
			rec.State, rec.EndsAt = ops.Resolved, now
			s.resolve(ops.Message{Integration: rec.Integration, Seq: rec.RawSeq}, rec.Alert, s.lookup(fp), now)
		}
	}
	for id, e := range s.state.incidents {
		if !e.news.empty() && now.Sub(e.told) >= tellEvery {
			t := s.open(id)
			t.changed, t.at = true, now
		}
		if !e.incident.State.Open() {
			continue
		}
		if t, ok := s.incidents[id]; ok {
			e = &t.entry
		}
		switch {
		case e.incident.Flapping && e.firing.total == 0 && !now.Before(e.quietAt):
			s.open(id).resolve(now, fmt.Sprintf("its alerts stayed quiet for %s", short(s.cfg.FlapWithin)))
		case e.incident.Muted != "" && e.firing.total > 0 && s.state.muted(e.sample, now) == "":
			t := s.open(id)
			t.news.why = append(t.news.why, "the maintenance window "+e.incident.Muted+" is over and the alert still fires")
			t.incident.Muted = ""
			t.grow(e.sample, now, "")
		}
	}
}

// evict forgets what can no longer reopen.
func (s *state) evict(now time.Time, reopenWithin time.Duration) {
	gone := map[string]bool{}
	for id, e := range s.incidents {
		ended := e.incident.State == ops.IncidentClosed || e.incident.State == ops.IncidentCancelled
		if ended || (e.incident.State == ops.IncidentResolved && now.Sub(e.incident.ResolvedAt) > reopenWithin) {
			gone[id] = true
			delete(s.incidents, id)
			if s.groups[e.incident.GroupKey] == id {
				delete(s.groups, e.incident.GroupKey)
			}
		}
	}
	if len(gone) == 0 {
		return
	}
	for fp, a := range s.alerts {
		if gone[a.incidentID] {
			delete(s.alerts, fp)
		}
	}
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
		t.hold = !told && !t.news.empty() && t.at.Sub(t.told) < tellEvery
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
		out = append(out, tell(ops.IncidentOpenedBody{Incident: first, Alerts: t.news.grew, Count: t.news.grown, Why: why}))
	case t.reopened:
		again := i
		if t.resolved {
			again.State, again.ResolvedAt = ops.IncidentInProgress, time.Time{}
		}
		out = append(out, tell(ops.IncidentReopenedBody{Incident: again, Alerts: t.news.grew, Count: t.news.grown, Why: why}))
	case t.news.grown > 0 || i.Severity.Worse(t.wasSev):
		out = append(out, tell(ops.IncidentGrewBody{Incident: i, Alerts: t.news.grew, Count: t.news.grown, Was: t.wasSev, Why: why}))
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
				e.told = t.at
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
