package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/internal/unit"
	"github.com/fettleops/fettle/ops"
)

// windowBook compiles all windows and freezes of the configuration.
func windowBook(c *config.Config) (*window.Book, error) {
	gate, err := gateConfig(c, Tune{})
	if err != nil {
		return nil, err
	}
	return window.NewBook(append(gate.Windows, gate.Freezes...))
}

// conflicts answers which changes are in each other's way.
type conflicts struct{ app *App }

// Conflicts returns what is in the way of a change, or waits for it, over at
// most so many edges of the graph.
func (x conflicts) Conflicts(ctx context.Context, c ops.Change, hops int) ([]window.Conflict, error) {
	g, err := x.app.Store.GraphNear(ctx, x.app.DB.Read(), c.ResourceID, hops)
	if err != nil {
		return nil, err
	}
	var others []ops.Change
	f := ops.ChangeFilter{States: []ops.ChangeState{ops.ChangeScheduled, ops.ChangeImplement}, Limit: 1000}
	for {
		page, err := x.app.Store.Changes(ctx, f)
		if err != nil {
			return nil, err
		}
		others = append(others, page...)
		if len(page) < f.Limit {
			return window.Conflicts(c, others, g, hops), nil
		}
		f.Before = page[len(page)-1].Number
	}
}

// importedWindow is how a window stands in the configuration file.
type importedWindow struct {
	Name       string     `yaml:"name"`
	From       string     `yaml:"from,omitempty"`
	To         string     `yaml:"to,omitempty"`
	Schedule   string     `yaml:"schedule,omitempty"`
	RRule      string     `yaml:"rrule,omitempty"`
	Start      string     `yaml:"start,omitempty"`
	ICal       string     `yaml:"ical,omitempty"`
	Duration   string     `yaml:"duration,omitempty"`
	Cutoff     string     `yaml:"cutoff,omitempty"`
	TimeZone   string     `yaml:"time_zone"`
	Applies    string     `yaml:"applies,omitempty"`
	Mute       bool       `yaml:"mute,omitempty"`
	BreakGlass []ops.Role `yaml:"break_glass,omitempty"`
}

// ImportWindows returns the part of a configuration file that has the windows
// and freezes of an iCalendar file. zone is for events that have none or one
// nobody knows, an empty one refuses those; freezes says what events are that
// do not say it themselves. Nothing is changed.
func ImportWindows(file []byte, zone string, freezes bool) (string, error) {
	var in *time.Location
	if zone != "" {
		z, err := unit.ParseZone(zone)
		if err != nil {
			return "", fmt.Errorf("time zone %q: %w: %w", zone, err, ops.ErrInvalid)
		}
		in = z.Location()
	}
	found, err := window.Import(file, in, freezes)
	if err != nil {
		return "", err
	}
	var out struct {
		Windows []importedWindow `yaml:"windows,omitempty"`
		Freezes []importedWindow `yaml:"freezes,omitempty"`
	}
	for _, w := range found {
		x := importedWindow{
			Name: w.Name, Schedule: w.Schedule, RRule: w.RRule, Start: w.Start, ICal: w.ICal, TimeZone: w.TimeZone,
			Applies: w.Applies, Mute: w.Mute, BreakGlass: w.BreakGlass,
		}
		if w.Duration > 0 {
			x.Duration = unit.FormatDuration(w.Duration)
		}
		if w.Cutoff > 0 {
			x.Cutoff = unit.FormatDuration(w.Cutoff)
		}
		if !w.From.IsZero() {
			z, err := time.LoadLocation(w.TimeZone)
			if err != nil {
				return "", fmt.Errorf("time zone %q: %w", w.TimeZone, err)
			}
			x.From, x.To = unit.CivilOf(w.From.In(z)).String(), unit.CivilOf(w.To.In(z)).String()
		}
		if w.Deny {
			x.Cutoff = ""
			out.Freezes = append(out.Freezes, x)
		} else {
			out.Windows = append(out.Windows, x)
		}
	}
	b, err := yaml.MarshalWithOptions(out, yaml.UseLiteralStyleIfMultiline(true), yaml.IndentSequence(true))
	if err != nil {
		return "", fmt.Errorf("write the windows: %w", err)
	}
	return strings.TrimRight(string(b), "\n") + "\n", nil
}
