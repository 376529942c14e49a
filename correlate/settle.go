package correlate

import (
	"fmt"
	"time"

	"github.com/fettleops/fettle/ops"
)

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
		if !e.news.empty() && e.mayTell(now) {
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
			t.grow(0, e.sample, now, "")
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
