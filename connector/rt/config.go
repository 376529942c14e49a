package rt

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/ops"
)

// Config is a Request Tracker in the configuration. Its url is that of the web
// pages; /REST/2.0 is added.
type Config = connector.Config[Auth, Options]

// Auth is how Fettle signs in: one of the two.
type Auth struct {
	// Token is an auth token made in Request Tracker under "Logged in as",
	// Settings, Auth Tokens.
	Token secret.Ref `yaml:"token"`
	// Basic is name and password.
	Basic *Basic `yaml:"basic"`
}

// Basic is a user's name and password.
type Basic struct {
	// Username is the name as Request Tracker shows it.
	Username string `yaml:"username,required"`
	// Password is a reference to the password.
	Password secret.Ref `yaml:"password,required"`
}

// Validate says what is wrong with the section.
func (a *Auth) Validate() error {
	var errs []error
	switch {
	case a.Token.IsZero() && a.Basic == nil:
		errs = append(errs, invalid("auth: is empty; write token: env:NAME, or basic: with username and password"))
	case !a.Token.IsZero() && a.Basic != nil:
		errs = append(errs, invalid("auth: has token and basic; keep one of them"))
	}
	if a.Basic != nil {
		if a.Basic.Username == "" {
			errs = append(errs, invalid("auth.basic.username: is missing"))
		}
		if a.Basic.Password.IsZero() {
			errs = append(errs, invalid("auth.basic.password: is missing; write env:NAME or file:PATH"))
		}
	}
	return errors.Join(errs...)
}

// Options say how our words map to this installation of Request Tracker.
type Options struct {
	// Queue is where tickets are opened that nothing else gives a queue.
	// Default: General.
	Queue string `yaml:"queue"`
	// Queues gives kinds of ticket a queue of their own: incident,
	// change_request, event, alert, work_order. That of work orders holds them
	// whatever their group; planned times are read there.
	Queues map[string]string `yaml:"queues"`
	// Groups maps our assignment groups to queues. With it, a group decides the
	// queue and a move to another queue comes back as a change of group; a
	// group without an entry goes to Queue. Default: groups are not carried.
	Groups map[string]string `yaml:"groups"`
	// KeyField is the custom field (one value, free text) that holds our key.
	// It must be applied to every queue used here. Default: FettleKey.
	KeyField string `yaml:"key_field"`
	// DescriptionField, ResourceField, ResolveCodeField and ResolveNoteField are
	// custom fields for what Request Tracker has no field for. Without one, the
	// description is the first message and stays as it was, and code and note of
	// a resolution are in the message that resolves. Default: none.
	DescriptionField string `yaml:"description_field"`
	ResourceField    string `yaml:"resource_field"`
	ResolveCodeField string `yaml:"resolve_code_field"`
	ResolveNoteField string `yaml:"resolve_note_field"`
	// Statuses changes the status a state is written as. Default: new: new,
	// in_progress: open, on_hold: stalled, resolved: resolved, closed: resolved,
	// cancelled: rejected.
	Statuses map[string]string `yaml:"statuses"`
	// Priorities changes the number a severity is written as; the nearest one is
	// read back. Default: critical: 100, high: 75, medium: 50, low: 25, info: 0.
	Priorities map[string]int `yaml:"priorities"`
	// Changes lets this platform hold change requests. Default: none.
	Changes *Changes `yaml:"changes"`
	// ResolveWith is the message that resolves: comment, which people who work
	// on tickets see, or correspond, which requestors get as mail.
	// Default: comment.
	ResolveWith string `yaml:"resolve_with" enum:"comment,correspond"`
	// Settle is how long a create whose answer was lost may still be under way
	// in Request Tracker. Default: 1m.
	Settle time.Duration `yaml:"settle"`
	// Overlap is how long a transaction of Request Tracker may take to become
	// visible after its number was given out. Default: 1m.
	Overlap time.Duration `yaml:"overlap"`
}

// Defaults implements strictyaml.Defaulter.
func (o *Options) Defaults() {
	*o = Options{Queue: "General", KeyField: "FettleKey", ResolveWith: "comment", Settle: time.Minute, Overlap: time.Minute}
}

// fieldName is what may stand in CF.{...} without being taken for something else.
var fieldName = regexp.MustCompile(`^[\pL\pN_ .:/-]+$`)

// Validate says what is wrong with the section, everything at once.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, invalid(format, args...)) }
	if o.Queue == "" {
		bad("queue: is empty; write the name of a queue, or leave it out for General")
	}
	for _, kind := range sorted(o.Queues) {
		if !slices.Contains(kinds, ops.TicketKind(kind)) {
			bad("queues: %q is no kind of ticket; write one of %v", kind, kinds)
		}
		if o.Queues[kind] == "" {
			bad("queues.%s: is empty; write the name of a queue", kind)
		}
	}
	byQueue := map[string]string{}
	for _, group := range sorted(o.Groups) {
		q := o.Groups[group]
		if other, taken := byQueue[q]; taken {
			bad("groups: %s and %s share the queue %q, which could not be read back; give each its own", other, group, q)
		}
		if q == "" {
			bad("groups.%s: is empty; write the name of a queue", group)
		}
		byQueue[q] = group
	}
	fields := map[string]string{}
	for _, f := range []struct{ key, name string }{
		{"key_field", o.KeyField},
		{"description_field", o.DescriptionField},
		{"resource_field", o.ResourceField},
		{"resolve_code_field", o.ResolveCodeField},
		{"resolve_note_field", o.ResolveNoteField},
	} {
		switch other, taken := fields[f.name]; {
		case f.name == "" && f.key == "key_field":
			bad("key_field: is empty; write the name of a custom field, or leave it out for FettleKey")
		case f.name == "":
		case !fieldName.MatchString(f.name):
			bad("%s: %q: use letters, digits, space and _ . : / - in the name of a custom field", f.key, f.name)
		case taken:
			bad("%s: %q is %s already; give it a field of its own", f.key, f.name, other)
		}
		fields[f.name] = f.key
	}
	for _, state := range sorted(o.Statuses) {
		if _, err := ops.ParseIncidentState(state); err != nil {
			bad("statuses: %v", err)
		}
		if o.Statuses[state] == "" {
			bad("statuses.%s: is empty; write a status of the queue's lifecycle", state)
		}
	}
	for _, severity := range sorted(o.Priorities) {
		if _, err := ops.ParseSeverity(severity); err != nil {
			bad("priorities: %v", err)
		}
	}
	numbers := map[int]ops.Severity{}
	all := o.priorities()
	for _, s := range ops.Severities {
		if other, taken := numbers[all[s]]; taken {
			bad("priorities: %s and %s are both %d, which could not be read back; give each its own number", other, s, all[s])
		}
		numbers[all[s]] = s
	}
	if o.Changes != nil {
		errs = append(errs, o.Changes.validate(o)...)
	}
	if o.ResolveWith != "comment" && o.ResolveWith != "correspond" {
		bad("resolve_with: %q; write comment or correspond", o.ResolveWith)
	}
	if o.Settle <= 0 || o.Overlap <= 0 {
		bad("settle, overlap: %s and %s; write durations above zero, such as 1m", o.Settle, o.Overlap)
	}
	return errors.Join(errs...)
}

// kinds are the kinds of ticket a queue can be given to.
var kinds = []ops.TicketKind{ops.TicketIncident, ops.TicketChangeRequest, ops.TicketEvent, ops.TicketAlert, ops.TicketWorkOrder}

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ops.ErrInvalid)...)
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// queueFor returns the queue a ticket of this kind and group is opened in.
// Work orders have one of their own before all: only there are planned times read.
func (o *Options) queueFor(kind ops.TicketKind, group string) string {
	if q := o.Queues[string(kind)]; q != "" && kind == ops.TicketWorkOrder {
		return q
	}
	if q, ok := o.Groups[group]; ok {
		return q
	}
	if q, ok := o.Queues[string(kind)]; ok {
		return q
	}
	return o.Queue
}

// allQueues returns every queue the options name, once each.
func (o *Options) allQueues() []string {
	out := []string{o.Queue}
	if o.Changes != nil {
		out = append(out, o.Changes.Queue)
	}
	for _, m := range []map[string]string{o.Queues, o.Groups} {
		for _, k := range sorted(m) {
			if !slices.Contains(out, m[k]) {
				out = append(out, m[k])
			}
		}
	}
	return out
}

// groupOf returns the group that works in a queue: ours, or the queue's name.
func (o *Options) groupOf(queue string) string {
	for group, q := range o.Groups {
		if q == queue {
			return group
		}
	}
	return queue
}

// tokenUser returns the id of the user an auth token belongs to: it is the
// second part of 1-14-0123abcd.
func tokenUser(token string) (string, bool) {
	parts := strings.Split(token, "-")
	if len(parts) != 3 {
		return "", false
	}
	_, err := strconv.ParseUint(parts[1], 10, 63)
	return parts[1], err == nil
}
