package chrome

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/chart"
	"github.com/fettleops/fettle/web/story"
)

// words are the functions of every template.
func (c *Chrome) words() template.FuncMap {
	return template.FuncMap{
		"asset": c.Asset,
		"icon":  func(name string) (template.HTML, error) { return c.icon("i", name) },
		"mark":  func() (template.HTML, error) { return c.icon("mark", "mark") },
		"icons": func(name string) (template.HTML, error) { return c.icon("i s", name) },

		"incidentState": func(s ops.IncidentState) badge { return incidentBadges[s].or(string(s)) },
		"changeState":   func(s ops.ChangeState) badge { return changeBadges[s].or(string(s)) },
		"runState":      func(s ops.RunState) badge { return runBadges[s].or(string(s)) },
		"verdictWord":   func(s ops.VerdictWord) badge { return verdictBadges[s].or(string(s)) },
		"outcome":       outcomeBadge,
		"sync":          func(s ops.SyncState) badge { return syncBadges[s].or(string(s)) },
		"deskState":     func(s string) badge { return incidentBadges[ops.IncidentState(s)].or(s) },

		"recommendationState": func(s ops.RecommendationState) badge { return recommendationBadges[s].or(string(s)) },
		"notificationState":   func(s ops.NotificationState) badge { return notificationBadges[s].or(string(s)) },
		"money":               money, "amount": cents, "monthly": func(perHour float64) string { return cents(perHour * 730) },

		"watchedState": func(s ops.WatchedState) badge { return watchedBadges[s].or(string(s)) },
		"anomalyState": func(s ops.AnomalyState) badge { return anomalyBadges[s].or(string(s)) },
		"known":        known, "band": span,

		"clock": clockTime, "stamp": stamp, "when": when, "ago": ago, "day": day, "iso": iso,
		"age": story.Age, "until": func(t, now time.Time) string { return story.Age(t.Sub(now)) },
		"zoned": zoned,

		"sentence": story.Sentence, "plain": story.Words, "number": chart.Number,
		"short": Short, "percent": func(v float64) string { return chart.Number(math.Round(v*100)) + "%" },
		"bars": chart.Bars, "fours": chart.Fours, "planLines": PlanLines, "runLines": RunLines, "tally": TallyOf,
		"join": strings.Join, "web": webLink, "worst": worst,
		"inc":  func(n int64) int64 { return n + 1 },
		"last": func(i int, c []Crumb) bool { return i == len(c)-1 },
		"pair": pair,
	}
}

func (c *Chrome) icon(class, name string) (template.HTML, error) {
	sprite, err := c.Asset("sprite.svg")
	if err != nil {
		return "", err
	}
	if !c.assets.icons[name] {
		name = "st-new" // a word that is newer than the icons still has a mark
	}
	return template.HTML(`<svg class="` + class + `" aria-hidden="true"><use href="` + sprite + `#i-` + name + `"/></svg>`), nil
}

// badge is how a word is shown: its class, its icon and the field's word.
type badge struct{ Class, Icon, Word string }

// or shows a word that is not in the table plainly, so that nothing vanishes.
func (b badge) or(word string) badge {
	if b.Word == "" {
		return badge{"", "st-new", story.Sentence(word)}
	}
	return b
}

var incidentBadges = map[ops.IncidentState]badge{
	ops.IncidentNew:        {"", "st-new", "New"},
	ops.IncidentInProgress: {"act", "st-progress", "In progress"},
	ops.IncidentOnHold:     {"wait", "st-hold", "On hold"},
	ops.IncidentResolved:   {"good", "st-resolved", "Resolved"},
	ops.IncidentClosed:     {"", "st-closed", "Closed"},
	ops.IncidentCancelled:  {"", "st-cancelled", "Cancelled"},
}

var changeBadges = map[ops.ChangeState]badge{
	ops.ChangeNew:       {"", "st-new", "New"},
	ops.ChangeAssess:    {"", "st-assess", "Assess"},
	ops.ChangeAuthorize: {"wait", "st-authorize", "Authorize"},
	ops.ChangeScheduled: {"low", "st-scheduled", "Scheduled"},
	ops.ChangeImplement: {"act", "st-implement", "Implement"},
	ops.ChangeReview:    {"doubt", "st-review", "Review"},
	ops.ChangeClosed:    {"", "st-closed", "Closed"},
	ops.ChangeCancelled: {"", "st-cancelled", "Cancelled"},
}

var recommendationBadges = map[ops.RecommendationState]badge{
	ops.RecommendationNew:        {"", "st-new", "New"},
	ops.RecommendationPlaced:     {"act", "change", "In a change"},
	ops.RecommendationUnplaced:   {"wait", "st-hold", "Not placed"},
	ops.RecommendationSuperseded: {"", "st-closed", "Superseded"},
	ops.RecommendationDone:       {"good", "st-resolved", "Done"},
	ops.RecommendationWithdrawn:  {"", "st-cancelled", "Withdrawn"},
}

var notificationBadges = map[ops.NotificationState]badge{
	ops.NotificationWaiting: {"act", "sync-pending", "Waiting"},
	ops.NotificationSending: {"act", "st-progress", "Being sent"},
	ops.NotificationSent:    {"good", "check", "Sent"},
	ops.NotificationHeld:    {"wait", "st-hold", "Held back"},
	ops.NotificationUnsure:  {"doubt", "sync-unknown", "Unsure"},
	ops.NotificationListed:  {"", "backlog", "In a digest"},
	ops.NotificationGivenUp: {"bad", "x", "Given up"},
}

// money shows a saving with its currency and span.
func money(s *ops.Saving) string {
	out := cents(s.Amount)
	if s.Currency != "" {
		out += " " + s.Currency
	}
	if s.Per != "" {
		out += " per " + s.Per
	}
	return out
}

// cents shows an amount with two decimals, and a minus that is one.
func cents(v float64) string {
	return strings.Replace(fmt.Sprintf("%.2f", v), "-", "−", 1)
}

var runBadges = map[ops.RunState]badge{
	ops.RunQueued:      {"", "st-new", "Queued"},
	ops.RunRunning:     {"act", "st-implement", "Running"},
	ops.RunVerifying:   {"act", "st-review", "Verifying"},
	ops.RunRollingBack: {"wait", "undo", "Rolling back"},
	ops.RunSucceeded:   {"good", "st-resolved", "Finished"},
	ops.RunFailed:      {"bad", "warn", "Failed"},
	ops.RunRolledBack:  {"wait", "undo", "Rolled back"},
	ops.RunHeld:        {"bad", "st-hold", "Held for a person"},
}

var verdictBadges = map[ops.VerdictWord]badge{
	ops.Better:       {"good", "vd-better", "Better"},
	ops.Unchanged:    {"", "vd-unchanged", "Unchanged"},
	ops.Worse:        {"bad", "vd-worse", "Worse"},
	ops.Inconclusive: {"doubt", "vd-inconclusive", "Inconclusive"},
}

var syncBadges = map[ops.SyncState]badge{
	ops.SyncOK:       {"ok", "sync-ok", "In sync"},
	ops.SyncPending:  {"pending", "sync-pending", "Edit queued"},
	ops.SyncConflict: {"conflict", "sync-conflict", "Conflict"},
	ops.SyncFailed:   {"conflict", "warn", "Refused"},
	ops.SyncUnknown:  {"unknown", "sync-unknown", "Not checked"},
}

func outcomeBadge(o ops.Outcome) badge {
	switch o {
	case ops.Successful:
		return badge{"good", "st-resolved", "Successful"}
	case ops.SuccessfulWithIssues:
		return badge{"wait", "warn", "Successful with issues"}
	case ops.Unsuccessful:
		return badge{"bad", "x", "Unsuccessful"}
	case ops.Denied:
		return badge{"bad", "x", "Denied"}
	}
	return badge{"", "st-cancelled", story.Sentence(string(o))}
}

func iso(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// element writes a time so that machines read it in UTC whatever people see.
func element(t time.Time, text string) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return template.HTML(`<time datetime="` + iso(t) + `">` + template.HTMLEscapeString(text) + `</time>`)
}

// clockTime is a time of day with seconds, on a page that names day and zone.
func clockTime(t time.Time) template.HTML { return element(t, t.UTC().Format("15:04:05")) }

// day is a day and a time of day, on a page that names the zone.
func day(t time.Time) template.HTML { return element(t, t.UTC().Format("2 Jan 15:04")) }

// stamp is a whole instant.
func stamp(t time.Time) template.HTML {
	return element(t, t.UTC().Format("Mon 2 Jan 2006 15:04:05")+" UTC")
}

// when is an instant as people read it: 03:19 UTC · 1 h 53 min ago.
func when(t, now time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	t, now = t.UTC(), now.UTC()
	form := "2 Jan 15:04"
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		form = "15:04"
	} else if t.Year() != now.Year() {
		form = "2 Jan 2006 15:04"
	}
	return element(t, t.Format(form)+" UTC · "+relative(t, now))
}

func ago(t, now time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return element(t, relative(t, now))
}

func relative(t, now time.Time) string {
	if t.After(now) {
		return "in " + story.Age(t.Sub(now))
	}
	return story.Age(now.Sub(t)) + " ago"
}

// zoned is an instant in a zone that is named: 18 Nov 22:00 Europe/Dublin (UTC+0).
func zoned(t time.Time, z *time.Location) template.HTML {
	if t.IsZero() {
		return "–"
	}
	l := t.In(z)
	return element(t, l.Format("Mon 2 Jan 15:04")+" "+ZoneName(l))
}

// ZoneName names the zone of a time with its offset: Europe/Dublin (UTC+0).
func ZoneName(t time.Time) string {
	_, off := t.Zone()
	if t.Location() == time.UTC || t.Location().String() == "UTC" {
		return "UTC"
	}
	sign := "+"
	if off < 0 {
		sign, off = "−", -off
	}
	s := fmt.Sprintf("%s%d", sign, off/3600)
	if m := off / 60 % 60; m != 0 {
		s += fmt.Sprintf(":%02d", m)
	}
	return fmt.Sprintf("%s (UTC%s)", t.Location(), s)
}

// Short writes a number for a tile: 41.2k.
func Short(v float64) string {
	switch {
	case v >= 999_500:
		return chart.Number(math.Round(v/100_000)/10) + "M"
	case v >= 10_000:
		return chart.Number(math.Round(v/100)/10) + "k"
	}
	return chart.Number(v)
}

// webLink returns a URL only if it is http or https, so that no signal can
// smuggle in another kind of link.
func webLink(u string) string {
	if strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://") {
		return u
	}
	return ""
}

// PlanLine is one line of a plan with the kind its sign says.
type PlanLine struct{ Class, Text string }

// maxLines bounds the lines of a plan or of an output that a page shows.
const maxLines = 2000

// PlanLines splits a rendered plan into lines: + adds, - removes, ~ changes.
// Every line keeps its sign.
func PlanLines(text string) []PlanLine {
	return lines(text, func(l string) string {
		switch {
		case strings.HasPrefix(l, "+"):
			return "add"
		case strings.HasPrefix(l, "-"):
			return "del"
		case strings.HasPrefix(l, "~"):
			return "mod"
		case strings.HasPrefix(l, "#"), strings.HasPrefix(l, "  "):
			return "note"
		}
		return ""
	})
}

// RunLines splits what a run printed into lines.
func RunLines(text string) []PlanLine { return lines(text, func(string) string { return "" }) }

func lines(text string, class func(string) string) []PlanLine {
	text = strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if text == "" {
		return nil
	}
	all := strings.Split(text, "\n")
	out := make([]PlanLine, 0, min(len(all), maxLines)+1)
	for i, l := range all {
		if i == maxLines {
			out = append(out, PlanLine{"note", fmt.Sprintf("… %d more lines", len(all)-i)})
			break
		}
		out = append(out, PlanLine{class(l), l})
	}
	return out
}

// Tally counts what a plan would do.
type Tally struct{ Add, Mod, Del, Run int }

// TallyOf counts a plan's actions. Replacing a resource adds and removes one.
func TallyOf(p ops.Plan) Tally {
	var t Tally
	for _, a := range p.Actions {
		switch a.Verb {
		case "create":
			t.Add++
		case "delete":
			t.Del++
		case "replace":
			t.Add++
			t.Del++
		case "run":
			t.Run++
		default:
			t.Mod++
		}
	}
	return t
}

// Worst is the ticket of a record that needs a look most.
type Worst struct {
	ops.Ticket
	Of int // tickets there are
}

// troubles orders sync states, the one that needs a person first.
var troubles = []ops.SyncState{ops.SyncConflict, ops.SyncFailed, ops.SyncUnknown, ops.SyncPending, ops.SyncOK}

func worst(list []ops.Ticket) *Worst {
	for _, s := range troubles {
		for _, t := range list {
			if t.Sync == s {
				return &Worst{t, len(list)}
			}
		}
	}
	return nil
}

// both is two values for a part that needs a second one.
type both struct{ A, B any }

func pair(a, b any) both { return both{a, b} }

// Inert keeps a spreadsheet from taking a cell for a formula (OWASP, CSV
// injection).
func Inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
