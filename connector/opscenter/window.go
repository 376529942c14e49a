package opscenter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// help tells cloud operations how a window is given.
func (o *Options) help() string {
	zone := "with their offset, as in 2026-12-01T10:00:00Z"
	if o.Window.TimeZone != "" {
		zone = "as in 2026-12-01T10:00, local time of " + o.Window.TimeZone
	}
	return fmt.Sprintf("To give the change its window, add the operational data %s and %s with times %s; or let a runbook write %s with the lines WindowId=, CronExpression=at(...) and Duration= in hours.",
		o.Window.Start, o.Window.End, zone, o.Window.Details)
}

// window returns the window that stands on an OpsItem, zero for none, and the
// names of the data that hold one which cannot be read.
func (p *platform) window(ctx context.Context, i *types.OpsItem) (start, end time.Time, unread []string, err error) {
	zone, err := p.o.Window.zone()
	if err != nil {
		return start, end, nil, fmt.Errorf("window.time_zone: %w: %w", err, ops.ErrInternal) // it was checked
	}
	for _, x := range []struct {
		name string
		into *time.Time
	}{{p.o.Window.Start, &start}, {p.o.Window.End, &end}} {
		if v := strings.TrimSpace(data(i, x.name)); v != "" {
			at, ok := parseTime(v, zone)
			if !ok {
				unread = append(unread, x.name)
				continue
			}
			*x.into = at
		}
	}
	text := data(i, p.o.Window.Details)
	if text == "" || !start.IsZero() && !end.IsZero() {
		return start, end, unread, nil
	}
	from, until, err := p.details(ctx, text, zone)
	if errors.Is(err, errUnreadable) {
		return start, end, append(unread, p.o.Window.Details), nil
	}
	if err != nil {
		return start, end, unread, err
	}
	return from, until, unread, nil
}

var errUnreadable = errors.New("no window")

var atPattern = regexp.MustCompile(`^at\(([0-9T:-]+)\)$`)

// details reads what ICCO's runbook ScheduleMaintenanceWindow writes: a line
// each for WindowId, CronExpression and Duration. Only a window that opens once
// is one.
func (p *platform) details(ctx context.Context, text string, zone *time.Location) (start, end time.Time, err error) {
	line := map[string]string{}
	for l := range strings.Lines(text) {
		if k, v, ok := strings.Cut(l, "="); ok {
			line[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(v)
		}
	}
	at := atPattern.FindStringSubmatch(line["cronexpression"])
	hours, bad := strconv.Atoi(line["duration"])
	if at == nil || bad != nil || hours < 1 || hours > 24 {
		return start, end, errUnreadable
	}
	switch {
	case line["timezone"] != "":
		if zone, err = location(line["timezone"]); err != nil {
			return start, end, errUnreadable
		}
	case zone == nil:
		if zone, err = p.zoneOf(ctx, line["windowid"]); err != nil {
			return start, end, err
		}
	}
	start, ok := parseTime(at[1], zone)
	if !ok {
		return start, end, errUnreadable
	}
	return start, start.Add(time.Duration(hours) * time.Hour), nil
}

// zoneOf asks for the time zone of a maintenance window; one without is in UTC.
func (p *platform) zoneOf(ctx context.Context, id string) (*time.Location, error) {
	if id == "" {
		return nil, errUnreadable
	}
	w, err := p.ssm.GetMaintenanceWindow(ctx, &ssm.GetMaintenanceWindowInput{WindowId: &id})
	err = p.fault("get maintenance window "+id, connector.Read, err)
	if err == nil && aws.ToString(w.WindowId) == "" {
		return nil, fmt.Errorf("get maintenance window %s: the answer names none: %w", id, ops.ErrUnavailable)
	}
	if errors.Is(err, ops.ErrThrottled) || errors.Is(err, ops.ErrUnavailable) {
		return nil, err
	}
	if err != nil {
		// It would hold up all other tickets for ever.
		p.env.Log.LogAttrs(ctx, slog.LevelWarn, "maintenance window of a work order cannot be read", slog.String("window", id), slog.Any("error", err))
		return nil, errUnreadable
	}
	zone, err := location(aws.ToString(w.ScheduleTimezone))
	if err != nil {
		return nil, errUnreadable
	}
	return zone, nil
}

// layouts of times without a zone.
var layouts = []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04"}

// parseTime reads a time to the second. One without an offset is of the zone,
// and no time where there is none, or where the clocks of the zone skip or
// repeat it.
func parseTime(s string, zone *time.Location) (time.Time, bool) {
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at.UTC().Truncate(time.Second), true
	}
	if zone == nil {
		return time.Time{}, false
	}
	for _, layout := range layouts {
		at, err := time.ParseInLocation(layout, s, zone)
		if err != nil {
			continue
		}
		return at.UTC(), at.Format(layout) == s && !repeated(at)
	}
	return time.Time{}, false
}

// repeated tells whether the clocks of its zone show a time twice.
func repeated(at time.Time) bool {
	const layout = "2006-01-02T15:04:05"
	for _, by := range []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour} {
		if at.Add(by).Format(layout) == at.Format(layout) || at.Add(-by).Format(layout) == at.Format(layout) {
			return true
		}
	}
	return false
}
