package change

import (
	"fmt"
	"slices"
	"time"

	"github.com/fettleops/fettle/ops"
)

// blocked returns what else forbids a start in this opening of a window now,
// and when to look again. What waits for other changes stands in line: their
// end wakes it, and the clock only should that be missed.
func (m *move) blocked(in ops.Occurrence) (why string, until time.Time) {
	if m.w.Stopped != "" && m.g.on(guardSwitch) {
		return "execution is stopped: " + m.w.Stopped, m.recheck()
	}
	if m.w.Holder != "" && m.g.on(guardLock) {
		return m.line(m.w.Holder+" is working on the same resource", in)
	}
	if why := m.crowded(); why != "" {
		return m.line(why, in)
	}
	if why := m.outOfOrder(in); why != "" {
		return m.line(why, in)
	}
	if !m.s.Change.Automated() {
		return "", time.Time{}
	}
	return m.limited()
}

// lineRechecks is how many times as long as others what stands in line waits
// before it is looked at again by the clock.
const lineRechecks = 4

// line says until when a change stands in line. Past the last moment at which
// it could start in this opening of its window it has missed that, and says so.
func (m *move) line(why string, in ops.Occurrence) (string, time.Time) {
	m.inLine = true
	until := m.w.Now.Add(lineRechecks * m.g.Recheck)
	e, _ := m.g.estimate(m.s.Change, m.s.Plan) // when() has found it complete
	for _, last := range []time.Time{in.Cutoff, in.End.Add(-e.need())} {
		if gone := last.Add(time.Millisecond); gone.After(m.w.Now) && gone.Before(until) {
			until = gone
		}
	}
	return why, until
}

// crowded returns which limit on what runs at the same time is reached.
func (m *move) crowded() string {
	limits := m.g.Concurrency
	if limits.Total > 0 && len(m.w.Running) >= limits.Total && m.g.on(guardTotal) {
		return fmt.Sprintf("%d changes run, which is the limit", len(m.w.Running))
	}
	of := func(word, label string, most int, x guard) string {
		value := m.w.Resource.Labels[label]
		if most <= 0 || value == "" || !m.g.on(x) {
			return ""
		}
		n := 0
		for _, r := range m.w.Running {
			if r.Labels[label] == value {
				n++
			}
		}
		if n < most {
			return ""
		}
		return fmt.Sprintf("%d changes of the %s %s run, which is the limit", n, word, value)
	}
	if why := of("service", limits.ServiceLabel, limits.PerService, guardService); why != "" {
		return why
	}
	return of("account", limits.AccountLabel, limits.PerAccount, guardAccount)
}

// outOfOrder returns the change that goes first, because it is about something
// that this change's resource depends on: one that runs, or one that waits for
// the same opening of a window. Where two depend on each other the older goes
// first.
func (m *move) outOfOrder(in ops.Occurrence) string {
	c := m.s.Change
	if !m.g.on(guardOrder) {
		return ""
	}
	for _, b := range m.w.Before {
		switch {
		case b.Change.State == ops.ChangeImplement:
			return fmt.Sprintf("%s works on %s, which this depends on", b.Change.Key(), b.Change.Resource)
		case b.Change.State != ops.ChangeScheduled || b.Change.Window == nil || *b.Change.Window != in:
		case b.Mutual && b.Change.Number > c.Number:
		default:
			return fmt.Sprintf("%s goes first in this window: it is about %s, which this depends on", b.Change.Key(), b.Change.Resource)
		}
	}
	return ""
}

// limited returns which limit on automated remediation is reached, and until
// when.
func (m *move) limited() (why string, until time.Time) {
	limits := m.g.Limits
	var oldest time.Time
	count, touched := 0, []string{m.s.Change.ResourceID}
	for _, s := range m.w.Starts {
		if m.w.Now.Sub(s.At) >= limits.Per {
			continue
		}
		count++
		if oldest.IsZero() || s.At.Before(oldest) {
			oldest = s.At
		}
		if !slices.Contains(touched, s.Resource) {
			touched = append(touched, s.Resource)
		}
	}
	if count >= limits.Count && m.g.on(guardRate) {
		return fmt.Sprintf("%d automated changes have started within %s, which is the limit", limits.Count, limits.Per), oldest.Add(limits.Per)
	}
	if most := max(1, int(float64(m.w.Resources)*limits.BlastRadius/100)); len(touched) > most && m.g.on(guardBlast) {
		return fmt.Sprintf("automated changes may touch %d of %d resources within %s, which is the limit", most, m.w.Resources, limits.Per), oldest.Add(limits.Per)
	}
	return "", time.Time{}
}
