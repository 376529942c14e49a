package correlate

import (
	"slices"
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
	told     time.Time     // when growing or shrinking was last told
	pace     time.Duration // how long after that it may be told again
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
	joined     int64
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
		e.news = news{grown: u.Grown, joined: u.Joined, shrunk: u.Shrunk, why: u.Why}
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
			lastSaved: m.LastSeen, repeats: m.Repeats, joined: m.Joined, why: m.Why, context: evidence(m.Context),
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
