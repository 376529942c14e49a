package opscenter

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// Config is an OpsCenter in the configuration: one account and region. It takes
// no url and no auth; credentials are found as every AWS tool finds them.
type Config = connector.Config[connector.None, Options]

// Options say which OpsCenter it is and how our words map to its OpsItems.
type Options struct {
	awsx.Config `yaml:",inline"`
	// Source is what OpsItems name as their origin; it must not contain aws,
	// amazon or amzn. Default: Fettle.
	Source string `yaml:"source"`
	// Categories gives kinds of ticket a category: Availability, Cost,
	// Performance, Recovery or Security. Default: alert, event and incident:
	// Availability; a work_order Cost where a saving is predicted, else
	// Performance.
	Categories map[string]string `yaml:"categories"`
	// Keys are the names of the operational data that people may edit.
	Keys Keys `yaml:"keys"`
	// Window says where cloud operations write the time they give a change.
	Window Window `yaml:"window"`
	// Runbooks are automation documents that OpsCenter offers on each work
	// order. Default: none.
	Runbooks []string `yaml:"runbooks"`
	// Notify are SNS topics that hear of every edit of an OpsItem, as ARNs.
	// Default: none.
	Notify []string `yaml:"notify"`
	// Tags of new OpsItems; they need the right ssm:AddTagsToResource. Default: none.
	Tags map[string]string `yaml:"tags"`
	// KeepNotes is how many of Fettle's work notes stay on an OpsItem; older ones
	// are taken off it and stay in Fettle. Default: 40.
	KeepNotes int `yaml:"keep_notes"`
	// Overlap is how late an edit may show up in lists of OpsItems. Default: 2m.
	Overlap time.Duration `yaml:"overlap"`
	// Link is where a person opens an OpsItem; {id} and {region} are filled in.
	// Default: https://console.aws.amazon.com/systems-manager/opsitems/{id}?region={region}
	Link string `yaml:"link"`
}

// Keys are names of operational data.
type Keys struct {
	Resource    string `yaml:"resource"`     // default name, as ICCO names it
	Group       string `yaml:"group"`        // default assignmentGroup
	Assignee    string `yaml:"assignee"`     // default assignedTo
	ResolveCode string `yaml:"resolve_code"` // default resolutionCode
	ResolveNote string `yaml:"resolve_note"` // default resolutionNote
	// Comment begins the name of data in which people write to Fettle: OpsItems
	// have no comments. Default: comment.
	Comment string `yaml:"comment"`
}

// Window says where the window of a work order is read.
type Window struct {
	// Details is ICCO's: lines WindowId=, CronExpression=at(...) and Duration= in
	// hours. Default: scheduledMaintenanceWindowDetails.
	Details string `yaml:"details"`
	// Start and End are times such as 2026-12-01T10:00:00Z; both set, they go
	// before Details. Default: plannedStart, plannedEnd.
	Start string `yaml:"start"`
	End   string `yaml:"end"`
	// TimeZone of times that name none, for example Europe/Berlin. Default: that
	// of the maintenance window in Details, which needs the right
	// ssm:GetMaintenanceWindow; Start and End then need a zone of their own.
	TimeZone string `yaml:"time_zone"`
}

// The operational data that is Fettle's alone.
const (
	keyData          = "fettleKey"
	installationData = "fettleInstallation"
	kindData         = "fettleKind"
	stateData        = "fettleState"
	severityData     = "fettleSeverity"
	descriptionData  = "fettleDescription"
	helpData         = "fettleHelp"
	noteData         = "fettleNote-"

	dedupData       = "/aws/dedup"
	resourcesData   = "/aws/resources"
	automationsData = "/aws/automations"
)

// Defaults implements strictyaml.Defaulter.
func (o *Options) Defaults() {
	*o = Options{
		Source:    "Fettle",
		Keys:      Keys{Resource: "name", Group: "assignmentGroup", Assignee: "assignedTo", ResolveCode: "resolutionCode", ResolveNote: "resolutionNote", Comment: "comment"},
		Window:    Window{Details: "scheduledMaintenanceWindowDetails", Start: "plannedStart", End: "plannedEnd"},
		KeepNotes: 40, Overlap: 2 * time.Minute,
		Link: "https://console.aws.amazon.com/systems-manager/opsitems/{id}?region={region}",
	}
}

// reserved tells names of operational data that AWS keeps for itself.
var reserved = regexp.MustCompile(`(?i)^/?(aws|amazon|amzn|ssm)`)

// kinds are the kinds of ticket an OpsItem can be.
var kinds = []ops.TicketKind{ops.TicketIncident, ops.TicketEvent, ops.TicketAlert, ops.TicketWorkOrder}

const maxKey = 128

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ops.ErrInvalid)...)
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// named returns the names people may edit, with where they are configured.
func (o *Options) named() map[string]string {
	return map[string]string{
		"keys.resource": o.Keys.Resource, "keys.group": o.Keys.Group, "keys.assignee": o.Keys.Assignee,
		"keys.resolve_code": o.Keys.ResolveCode, "keys.resolve_note": o.Keys.ResolveNote, "keys.comment": o.Keys.Comment,
		"window.details": o.Window.Details, "window.start": o.Window.Start, "window.end": o.Window.End,
	}
}

// Validate says what is wrong with the section, everything at once.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, invalid(format, args...)) }
	if err := o.Config.Validate(); err != nil {
		errs = append(errs, err)
	}
	if lower := strings.ToLower(o.Source); strings.TrimSpace(o.Source) == "" || len(o.Source) > maxKey ||
		strings.Contains(lower, "aws") || strings.Contains(lower, "amazon") || strings.Contains(lower, "amzn") {
		bad("source: %q; write at most %d characters without aws, amazon and amzn, or leave it out for Fettle", o.Source, maxKey)
	}
	for _, kind := range sorted(o.Categories) {
		if !slices.Contains(kinds, ops.TicketKind(kind)) {
			bad("categories: %q is no kind of OpsItem; write one of %v", kind, kinds)
		}
		if c := o.Categories[kind]; strings.TrimSpace(c) == "" || len(c) > 64 {
			bad("categories.%s: %q; write Availability, Cost, Performance, Recovery or Security", kind, c)
		}
	}
	taken := map[string]string{}
	all := o.named()
	for _, where := range sorted(all) {
		name := all[where]
		switch other, used := taken[name]; {
		case name == "" || len(name) > maxKey || reserved.MatchString(name) || strings.HasPrefix(name, "fettle"):
			bad("%s: %q; write at most %d characters that do not begin with aws, amazon, amzn, ssm or fettle", where, name, maxKey)
		case used:
			bad("%s: %q is %s already; give it a name of its own", where, name, other)
		case where != "keys.comment" && strings.HasPrefix(name, o.Keys.Comment):
			bad("%s: %q begins as keys.comment does; what people write there would be taken for a comment", where, name)
		}
		taken[name] = where
	}
	if _, err := o.Window.zone(); err != nil {
		bad("window.time_zone: %q is no time zone; write one such as Europe/Berlin", o.Window.TimeZone)
	}
	for _, arn := range o.Notify {
		if !awsx.IsARN(arn) {
			bad("notify: %q is no ARN of an SNS topic", arn)
		}
	}
	if slices.Contains(o.Runbooks, "") {
		bad("runbooks: one is empty; write the name of an automation document")
	}
	if o.KeepNotes < 1 || o.Overlap <= 0 {
		bad("keep_notes, overlap: %d and %s; write numbers above zero", o.KeepNotes, o.Overlap)
	}
	if !strings.HasPrefix(o.Link, "https://") && !strings.HasPrefix(o.Link, "http://") || !strings.Contains(o.Link, "{id}") {
		bad("link: %q; write an address with {id} in it", o.Link)
	}
	return errors.Join(errs...)
}

// zone returns the zone of times that name none, nil when it is the
// maintenance window's to say.
func (w *Window) zone() (*time.Location, error) {
	if w.TimeZone == "" {
		return nil, nil
	}
	return location(w.TimeZone)
}

// location loads a zone by its IANA name; the machine's own has none.
func location(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, invalid("time zone Local is another one on each machine")
	}
	return time.LoadLocation(name)
}
