// Package servicenow is the driver for ServiceNow: incidents through the Table
// API, change requests through the Change Management API. README.md beside this file says what the account needs, how fields are
// mapped and what an instance does that surprises.
package servicenow

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// Driver is the driver.
var Driver = connector.Define("servicenow", Open)

// Readme is what people who set this up need to know, in Markdown.
//
//go:embed README.md
var Readme string

// platform is one instance. It is safe for concurrent use.
type platform struct {
	env      connector.Env
	c        *client
	m        mapping
	user     string // from the configuration, empty when the instance is asked
	lookups  *lookups
	creating turns // change requests, by key

	mu   sync.Mutex
	self row // our own user; nil until asked
}

var (
	_ connector.Platform   = (*platform)(nil)
	_ connector.Normaliser = (*platform)(nil)
	_ connector.Checker    = (*platform)(nil)
)

// Open returns the instance that cfg describes. It does no I/O: an instance
// that sleeps must not keep Fettle from starting. Check says what is wrong.
func Open(_ context.Context, cfg Config, env connector.Env) (connector.Platform, error) {
	if cfg.URL == "" {
		return nil, fmt.Errorf("servicenow: url is missing; write it like https://example.service-now.com: %w", ops.ErrInvalid)
	}
	p := &platform{
		env:  env,
		c:    &client{base: cfg.URL, http: env.HTTP, clock: env.Clock, who: newCredentials(cfg.Auth, env.Secrets)},
		m:    newMapping(cfg.Options, cfg.URL, env.Installation),
		user: cfg.Auth.username(),
		lookups: &lookups{
			names: map[nameKey]found{}, choices: map[string][]string{}, extra: map[string]bool{},
			known: map[string]time.Time{},
		},
	}
	p.lookups.read(slices.Collect(maps.Keys(cfg.Options.Fields))...)
	return p, nil
}

// Create implements connector.Platform. The key is the sys_id, so that the
// instance itself refuses a second incident under it.
func (p *platform) Create(ctx context.Context, key string, kind ops.TicketKind, f ops.TicketFields) (connector.Copy, error) {
	if !keyPattern.MatchString(key) {
		return connector.Copy{}, fmt.Errorf("key %.40q is not 32 hexadecimal digits: %w", key, ops.ErrInternal)
	}
	if kind == ops.TicketChangeRequest {
		return p.createChange(ctx, key, f)
	}
	if kind != ops.TicketIncident {
		return connector.Copy{}, fmt.Errorf("kind %s: this driver opens incidents and change requests only; set kind: incident or change_request in the route: %w", kind, ops.ErrInvalid)
	}
	me, err := p.me(ctx)
	if err != nil {
		return connector.Copy{}, err
	}
	known, err := p.ids(ctx, f, nil)
	if err != nil {
		return connector.Copy{}, err
	}
	b, err := p.m.newIncident(key, f, known)
	if err != nil {
		return connector.Copy{}, err
	}
	if err := p.checkChoices(ctx, b); err != nil {
		return connector.Copy{}, err
	}
	p.lookups.read(slices.Collect(maps.Keys(f.Extra))...)
	a, err := p.c.send(ctx, call{method: http.MethodPost, table: incidentTable, query: view(p.fields()), body: b, effect: connector.Repeat})
	if err != nil {
		return connector.Copy{}, err
	}
	r, err := p.c.record(a, connector.Repeat, http.StatusCreated)
	if code := a.resp.StatusCode; err != nil && code != http.StatusUnauthorized && !errors.Is(err, ops.ErrThrottled) {
		return p.adopt(ctx, key, me, err)
	}
	if err != nil {
		return connector.Copy{}, err
	}
	if r.get("sys_id") != key {
		return connector.Copy{}, &ops.UnknownOutcome{Err: fmt.Errorf("asked for sys_id %s, got %s: %w", key, r.get("sys_id"), ops.ErrInternal)}
	}
	return p.copy(r, me)
}

// adopt returns the incident under key after a create that failed with why: it
// may stand there since an earlier attempt, or the answer told us wrong.
func (p *platform) adopt(ctx context.Context, key, me string, why error) (connector.Copy, error) {
	r, err := p.row(ctx, key)
	switch {
	case errors.Is(err, ops.ErrNotFound):
		return connector.Copy{}, why
	case err != nil:
		// A refusal may mean that the key is taken, by us.
		return connector.Copy{}, nonsense(connector.Repeat, "%v; and looking for it: %v", why, err)
	case !p.m.ours(r):
		return connector.Copy{}, fmt.Errorf("sys_id %s is taken by %s, which is not of this installation: %w", key, r.get("number"), ops.ErrConflict)
	}
	return p.copy(r, me)
}

// Update implements connector.Platform. There is no ETag: between the look at
// the version and the write, a person's edit of the same field may be lost.
func (p *platform) Update(ctx context.Context, ref string, e connector.Edit) (connector.Copy, error) {
	if id, ok := changeRef(ref); ok {
		return p.updateChange(ctx, id, e)
	}
	me, err := p.me(ctx)
	if err != nil {
		return connector.Copy{}, err
	}
	for _, f := range e.Changed {
		if name, ok := f.Extra(); ok && checkExtra(name) == nil {
			p.lookups.read(name)
		}
	}
	was, err := p.row(ctx, ref)
	if err != nil {
		return connector.Copy{}, err
	}
	if v := was.get("sys_mod_count"); v != e.Version {
		return connector.Copy{}, fmt.Errorf("%s is at version %s, not %s: %w", was.get("number"), v, e.Version, ops.ErrConflict)
	}
	known, err := p.ids(ctx, e.Want, e.Changed)
	if err != nil {
		return connector.Copy{}, err
	}
	b, err := p.m.edit(was, e, known)
	if err != nil {
		return connector.Copy{}, err
	}
	if len(b) == 0 {
		return p.copy(was, me)
	}
	if err := p.checkChoices(ctx, b); err != nil {
		return connector.Copy{}, err
	}
	// The answer is the row as it stands after the write.
	r, err := p.patch(ctx, ref, b, connector.Repeat)
	if err != nil {
		return connector.Copy{}, err
	}
	if name, lost := swallowed(b, r); lost {
		return connector.Copy{}, fmt.Errorf("%s: %s took the write and kept %q instead of %q; the field may not exist, be read-only for this account or not know the value: %w",
			name, r.get("number"), cut(r.get(name), 80), cut(b[name], 80), ops.ErrInvalid)
	}
	return p.copy(r, me)
}

func (p *platform) patch(ctx context.Context, ref string, b body, e connector.Effect) (row, error) {
	table, id, fields := incidentTable, ref, p.fields()
	if change, ok := changeRef(ref); ok && p.m.options.Changes != nil {
		table, id, fields = changeTable, change, p.changeReads()
	}
	if !idPattern.MatchString(id) {
		return nil, notFound(ref)
	}
	a, err := p.c.send(ctx, call{method: http.MethodPatch, table: table, sysID: id, query: view(fields), body: b, effect: e})
	if err != nil {
		return nil, err
	}
	return p.c.record(a, e, http.StatusOK)
}

// AddNote implements connector.Platform.
func (p *platform) AddNote(ctx context.Context, ref string, n ops.Note) error {
	b := noteOut(n)
	if id, _ := marked("", b["work_notes"]); id != n.ID {
		return fmt.Errorf("note id %q would not be found again: %w", n.ID, ops.ErrInternal)
	}
	_, err := p.patch(ctx, ref, b, connector.Once)
	return err
}

// Get implements connector.Platform.
func (p *platform) Get(ctx context.Context, ref string) (connector.Copy, error) {
	if id, ok := changeRef(ref); ok {
		return p.getChange(ctx, id)
	}
	me, err := p.me(ctx)
	if err != nil {
		return connector.Copy{}, err
	}
	r, err := p.row(ctx, ref)
	if err != nil {
		return connector.Copy{}, err
	}
	c, err := p.copy(r, me)
	if err != nil {
		return connector.Copy{}, err
	}
	notes, err := p.journals(ctx, incidentTable, []string{ref}, me)
	c.Notes = notes[ref]
	return c, err
}

// Find implements connector.Platform. The key of an incident is its sys_id:
// nothing is searched, so nothing can be found that is not meant. Change
// requests are looked for after that.
func (p *platform) Find(ctx context.Context, key string) ([]connector.Copy, error) {
	me, err := p.me(ctx)
	if err != nil {
		return nil, err
	}
	r, err := p.row(ctx, key)
	if errors.Is(err, ops.ErrNotFound) {
		return p.findChange(ctx, key)
	}
	if err != nil {
		return nil, err
	}
	if !p.m.ours(r) {
		return nil, nil
	}
	c, err := p.copy(r, me)
	if err != nil {
		return nil, err
	}
	return []connector.Copy{c}, nil
}

// Normal implements connector.Normaliser.
func (p *platform) Normal(f, seen ops.TicketFields) ops.TicketFields {
	if p.m.options.Changes != nil && (f.Type != "" || seen.Type != "") {
		return p.m.normalChange(f, seen, p.missing)
	}
	return p.m.normal(f, seen, p.missing)
}

// row reads an incident.
func (p *platform) row(ctx context.Context, ref string) (row, error) {
	if !idPattern.MatchString(ref) {
		return nil, notFound(ref)
	}
	a, err := p.c.send(ctx, call{method: http.MethodGet, table: incidentTable, sysID: ref, query: view(p.fields())})
	if err != nil {
		return nil, err
	}
	r, err := p.c.record(a, connector.Read, http.StatusOK)
	if err == nil && !strings.EqualFold(r.get("sys_id"), ref) {
		return nil, nonsense(connector.Read, "asked for %s, got %s", ref, r.get("sys_id"))
	}
	return r, err
}

func notFound(ref string) error {
	return fmt.Errorf("incident %.80q: a sys_id has 32 letters and digits: %w", ref, ops.ErrNotFound)
}

// fields are the names of all fields that are read of an incident.
func (p *platform) fields() []string { return slices.Concat(incidentFields, p.lookups.reads()) }

func (p *platform) copy(r row, me string) (connector.Copy, error) {
	return p.m.ticket(r, p.lookups.reads(), me)
}

// me returns the name of the integration's own user.
func (p *platform) me(ctx context.Context) (string, error) {
	for _, name := range []string{p.user, p.env.User} {
		if name != "" {
			return name, nil
		}
	}
	self, err := p.whoami(ctx)
	if err != nil {
		return "", err
	}
	if name := self.get("user_name"); name != "" {
		return name, nil
	}
	return "", fmt.Errorf("the instance does not tell which user these credentials belong to; let the account read its own %s, or name the user in the configuration: %w", userTable, ops.ErrDenied)
}

// whoami reads our own user, once; an empty row when the account may not.
func (p *platform) whoami(ctx context.Context) (row, error) {
	p.mu.Lock()
	self := p.self
	p.mu.Unlock()
	if self != nil {
		return self, nil
	}
	name := p.user
	if name == "" {
		name = p.env.User
	}
	params := view(userFields)
	params.Set("sysparm_display_value", "all")
	got, err := p.c.list(ctx, userTable, userQuery(name), params, 0, 2)
	if err != nil && !lacksRight(err) {
		return nil, fmt.Errorf("own user: %w", err)
	}
	self = row{}
	if len(got.rows) == 1 && (name == "" || strings.EqualFold(got.rows[0].get("user_name"), name)) {
		self = got.rows[0]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.self = self
	return self, nil
}
