package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// limitKey is a rule as one user meets it.
type limitKey struct {
	rule int
	user string
}

// limitWindow counts one full hour. Requests wait in pending until the nodes
// flush their counters, which is why enforcement lags.
type limitWindow struct {
	start   time.Time
	flushed int
	pending int
	flushAt time.Time
}

// limit counts the request against every matching rule. The headers describe
// the rule that refused, otherwise the last one that matched.
func (s *Server) limit(who *caller) (http.Header, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var h http.Header
	for i, rule := range s.cfg.RateLimits {
		if !rule.matches(who) {
			continue
		}
		key := limitKey{i, who.name}
		w := s.limits[key]
		if w == nil {
			w = &limitWindow{}
			s.limits[key] = w
		}
		w.advance(now, rule.Lag)
		end := w.start.Add(time.Hour)
		h = http.Header{}
		h.Set("X-RateLimit-Limit", strconv.Itoa(rule.Limit))
		h.Set("X-RateLimit-Reset", strconv.FormatInt(end.Unix(), 10))
		h.Set("X-RateLimit-Rule", rule.SysID)
		if w.flushed >= rule.Limit {
			h.Set("Retry-After", strconv.FormatInt(int64(end.Sub(now)/time.Second), 10))
			return h, rateLimited(rule.Limit)
		}
		w.pending++
		if rule.Lag <= 0 {
			w.flushed, w.pending = w.flushed+w.pending, 0
		}
	}
	return h, nil
}

func rateLimited(limit int) *refusal {
	return refuse(http.StatusTooManyRequests, "Rate limit exceeded",
		fmt.Sprintf("Rate limit of %d requests per hour for Table API exceeded", limit))
}

func (l RateLimit) matches(who *caller) bool {
	if len(l.Users) == 0 && len(l.Roles) == 0 {
		return true
	}
	return slices.Contains(l.Users, who.name) || len(l.Roles) > 0 && who.may(l.Roles)
}

// advance opens a new hour and flushes what is due.
func (w *limitWindow) advance(now time.Time, lag time.Duration) {
	if hour := now.Truncate(time.Hour); !hour.Equal(w.start) {
		*w = limitWindow{start: hour}
	}
	if lag <= 0 || now.Before(w.flushAt) {
		return
	}
	w.flushed, w.pending = w.flushed+w.pending, 0
	w.flushAt = now.Truncate(lag).Add(lag)
}
