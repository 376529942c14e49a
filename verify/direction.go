package verify

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

// Direction says which move of a metric is for the worse.
type Direction string

// The directions.
const (
	WorseUp   Direction = "up"
	WorseDown Direction = "down"
	WorseBoth Direction = "both"
	WorseNone Direction = "none" // the metric is not judged
)

// MetricRule says which move of the metrics it is for is for the worse.
type MetricRule struct {
	// Name is a pattern of the metric's name, in which * stands for any
	// characters but a slash. Empty: any.
	Name string
	// Match is a program of policy.Effect. Nil: any.
	Match *policy.Program
	Worse Direction
}

// ParseDirection returns the direction named s.
func ParseDirection(s string) (Direction, error) {
	switch d := Direction(s); d {
	case WorseUp, WorseDown, WorseBoth, WorseNone:
		return d, nil
	}
	return "", fmt.Errorf("direction %q is none of up, down, both, none: %w", s, ops.ErrInvalid)
}

// The words of a metric's name, and of those of its labels that name a state,
// by which its direction is known. The first list that has one decides: the
// errors of successful requests are errors, and unavailable is not available.
var (
	faultWords = words("error errors err fail failed failure failures fault faults exception exceptions reject rejected rejects rejections " +
		"drop drops dropped discard discarded discards retransmit retransmits retransmissions timeout timeouts timedout throttle throttled throttles throttling " +
		"5xx 4xx unhealthy unavailable un down restart restarts crash crashes oom evicted evictions deadlock deadlocks abort aborted aborts lost loss violation violations")
	goodWords = words("availability available avail up uptime healthy health ready success successes successful succeeded ok hit hits hitrate " +
		"free idle headroom balance credit credits goodput")
	burdenWords = words("utilization utilisation util utilized usage used busy load load1 load5 load15 latency duration delay lag wait waiting iowait response " +
		"queue queued queues backlog pending depth saturation pressure steal swap percent_used inflight blocked contention")
	stateLabels = []string{"mode", "state", "status", "code", "status_code", "http_status_code", "type", "direction"}
)

func words(s string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		out[w] = true
	}
	return out
}

// DefaultDirection returns which move of a metric is for the worse, by the
// words of its name, and whether any of them told: both where none did.
func DefaultDirection(id ops.SeriesID) (d Direction, known bool) {
	tokens := named(id)
	has := func(list map[string]bool) bool {
		return slices.ContainsFunc(tokens, func(t string) bool { return list[t] })
	}
	switch {
	case has(faultWords):
		return WorseUp, true
	case has(goodWords) || slices.Contains(tokens, "2xx"):
		return WorseDown, true
	case has(burdenWords):
		return WorseUp, true
	}
	return WorseBoth, false
}

// named returns the words by which a series' direction is known.
func named(id ops.SeriesID) []string {
	tokens := split(id.Metric)
	for _, l := range stateLabels {
		if v := id.Labels[l]; v != "" {
			tokens = append(tokens, split(v)...)
			if len(v) == 3 && strings.HasSuffix(l, "code") || l == "status" && len(v) == 3 {
				tokens = append(tokens, string(v[0])+"xx")
			}
		}
	}
	return tokens
}

// split returns the words of a name in lower case: CPUUtilization is cpu and
// utilization, system.cpu.load_average.1m is system, cpu, load, average and 1m.
func split(name string) []string {
	var out []string
	var word []rune
	flush := func() {
		if len(word) > 0 {
			out = append(out, strings.ToLower(string(word)))
			word = word[:0]
		}
	}
	runes := []rune(name)
	for i, r := range runes {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			flush()
			continue
		}
		if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			flush()
		}
		word = append(word, r)
	}
	flush()
	return out
}

// direction returns the direction of a series: that of the first rule that
// matches, else none where the change means it to move, else the default. A rule
// whose condition cannot be evaluated does not match.
func (r *Room) direction(s ops.Series, ch ops.Change, res ops.Resource, applied time.Time) (d Direction, known bool) {
	for _, rule := range r.Metrics {
		if rule.Name != "" {
			if ok, err := path.Match(rule.Name, s.Metric); err != nil || !ok {
				continue
			}
		}
		if rule.Match != nil {
			ok, err := rule.Match.Match(policy.Vars{Metric: &policy.Series{Name: s.Metric, Unit: s.Unit, Labels: s.Labels}, Change: &ch, Resource: &res})
			if err != nil || !ok {
				continue
			}
		}
		return rule.Worse, true
	}
	if Expected(s, ch, applied) {
		return WorseNone, true
	}
	return DefaultDirection(s.SeriesID)
}

// name shows a series to people: its metric with its labels.
func name(s ops.SeriesID) string {
	if len(s.Labels) == 0 {
		return s.Metric
	}
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		pairs = append(pairs, k+"="+s.Labels[k])
	}
	return s.Metric + "{" + strings.Join(pairs, ",") + "}"
}
