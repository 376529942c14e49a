// Package rt drives Request Tracker 5 by its REST 2 interface. README.md beside
// this file says what the account needs and what is odd about it.
package rt

import (
	"context"
	_ "embed" // the README
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// Driver is the driver.
var Driver = connector.Define("rt", Open)

// README is the driver's manual, in Markdown.
//
//go:embed README.md
var README string

// platform is an open Request Tracker. What it remembers can be asked again.
type platform struct {
	env  connector.Env
	base string // of the web pages
	auth Auth
	o    Options

	creating turns

	mu     sync.Mutex
	user   string          // our own, as Request Tracker writes it
	queues map[string]bool // by name, those that hold the key field
	names  map[text]string // of queues, by id
	// dropped is why no ticket is opened for now: one was, and lost its key.
	dropped   error
	droppedAt time.Time
}

var (
	_ connector.Platform   = (*platform)(nil)
	_ connector.Normaliser = (*platform)(nil)
	_ connector.Settler    = (*platform)(nil)
	_ connector.Checker    = (*platform)(nil)
)

// Open prepares a connection; nothing is sent yet.
func Open(_ context.Context, cfg Config, env connector.Env) (connector.Platform, error) {
	if cfg.URL == "" {
		return nil, fmt.Errorf("rt: url is missing; write the address of the web pages, such as https://rt.example.com: %w", ops.ErrInvalid)
	}
	return &platform{
		env: env, auth: cfg.Auth, o: cfg.Options, base: strings.TrimSuffix(cfg.URL, restPath),
		queues: map[string]bool{}, names: map[text]string{},
	}, nil
}

// Normal implements connector.Normaliser.
func (p *platform) Normal(f, seen ops.TicketFields) ops.TicketFields {
	if p.o.Changes != nil && (f.Type != "" || f.Risk != "" || seen.Risk != "") {
		return p.o.normalChange(f, seen)
	}
	return p.o.normal(f, seen)
}

// SettleTime implements connector.Settler.
func (p *platform) SettleTime() time.Duration { return p.o.Settle }

// Create implements connector.Platform. Request Tracker would open a second
// ticket under the same key, so the key is looked up first, by one caller at a
// time.
func (p *platform) Create(ctx context.Context, key string, kind ops.TicketKind, f ops.TicketFields) (connector.Copy, error) {
	done, err := p.creating.take(ctx, key)
	if err != nil {
		return connector.Copy{}, err
	}
	defer done()
	there, err := p.Find(ctx, key)
	if err != nil {
		return connector.Copy{}, err
	}
	if len(there) > 0 {
		return there[0], nil
	}
	name, body, err := p.openingOf(kind, key, f)
	if err != nil {
		return connector.Copy{}, err
	}
	if err := p.ready(ctx, name); err != nil {
		return connector.Copy{}, err
	}
	var answer made
	if _, err := p.call(ctx, connector.Once, http.MethodPost, "/ticket", nil, body, &answer); err != nil {
		// The queue is there and shows its fields: what is refused is creating.
		if errors.Is(err, ops.ErrDenied) && isStatus(err, http.StatusForbidden) {
			return connector.Copy{}, invalid("queue %q: %v; give the account the right CreateTicket there, or name another queue", name, err)
		}
		return connector.Copy{}, err
	}
	t, err := p.ticket(ctx, string(answer.ID))
	if err != nil {
		return connector.Copy{}, &ops.UnknownOutcome{Err: fmt.Errorf("ticket %s was opened, but does not read back: %w", answer.ID, err)}
	}
	if got := t.field(p.o.KeyField); got != key {
		return connector.Copy{}, p.lost(name, answer.ID)
	}
	return p.copy(ctx, t, nil)
}

// pause is how long no ticket is opened after one lost its key: each further
// one would be lost as well, and only a person can take them away.
const pause = 5 * time.Minute

// lost remembers that a queue swallows the key.
func (p *platform) lost(queue string, id text) error {
	err := invalid("custom field %s: ticket %s in queue %q was opened, but the key was dropped without an error; "+
		"give the account SeeCustomField and ModifyCustomField on that field, apply it to the queue, and delete the ticket", p.o.KeyField, id, queue)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.queues, queue)
	p.dropped, p.droppedAt = err, p.env.Clock()
	return err
}

// ready makes sure that a queue keeps the key before anything is opened in it.
func (p *platform) ready(ctx context.Context, name string) error {
	p.mu.Lock()
	dropped := p.dropped
	if dropped != nil && p.env.Clock().Sub(p.droppedAt) >= pause {
		p.dropped, dropped = nil, nil
	}
	p.mu.Unlock()
	if dropped != nil {
		return fmt.Errorf("no ticket is opened for %s: %w", pause, dropped)
	}
	return p.keeps(ctx, name)
}

// keeps returns an error unless a queue has the key field.
func (p *platform) keeps(ctx context.Context, name string) error {
	p.mu.Lock()
	known := p.queues[name]
	p.mu.Unlock()
	if known {
		return nil
	}
	q, err := p.queue(ctx, name)
	if err != nil {
		return err
	}
	if !q.has(p.o.KeyField) {
		return p.noField(q, p.o.KeyField)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queues[name] = true
	return nil
}

// Update implements connector.Platform.
func (p *platform) Update(ctx context.Context, ref string, e connector.Edit) (connector.Copy, error) {
	t, err := p.ticket(ctx, ref)
	if err != nil {
		return connector.Copy{}, err
	}
	if t.etag != e.Version {
		return connector.Copy{}, fmt.Errorf("ticket %s is at version %s, not %s: %w", ref, t.etag, e.Version, ops.ErrConflict)
	}
	if p.o.isChange(t) {
		return p.updateChange(ctx, t, e)
	}
	seen := p.o.fieldsOf(t)
	want := connector.Overlay(seen, e.Want, e.Changed)
	ends := isOver(want.State) && !isOver(seen.State)
	if ends {
		want.ResolveCode, want.ResolveNote = e.Want.ResolveCode, e.Want.ResolveNote
		if want.ResolveCode == "" || want.ResolveNote == "" {
			return connector.Copy{}, invalid("resolve_code, resolve_note: state %s needs both", want.State)
		}
	}
	code, note := want.ResolveCode, want.ResolveNote
	want = p.o.normal(want, seen)
	changed := connector.Diff(want, seen)
	if len(changed) == 0 {
		return p.copy(ctx, t, nil)
	}
	body, err := p.o.edit(want, changed)
	if err != nil {
		return connector.Copy{}, err
	}
	if q, ok := body["Queue"].(string); ok {
		// In a queue without the field the key would be gone, and the ticket with it.
		if err := p.keeps(ctx, q); err != nil {
			return connector.Copy{}, err
		}
	}
	said, err := p.write(ctx, t, body, ends, code, note)
	if err != nil {
		return connector.Copy{}, err
	}
	got, err := p.ticket(ctx, ref)
	if err != nil {
		return connector.Copy{}, &ops.UnknownOutcome{Err: fmt.Errorf("ticket %s was written, but does not read back: %w", ref, err)}
	}
	return p.compare(ctx, t, got, want, changed, said)
}

// write sends body, and the resolution when the ticket ends, and returns what
// Request Tracker said to it.
func (p *platform) write(ctx context.Context, t *ticket, body content, ends bool, code, note string) ([]string, error) {
	var status any
	if ends {
		status = body["Status"]
		delete(body, "Status")
	}
	var said answers
	if len(body) > 0 {
		if _, err := p.call(ctx, connector.Repeat, http.MethodPut, "/ticket/"+string(t.ID), nil, body, &said, "If-Match", strconv.Quote(t.etag)); err != nil {
			return nil, err
		}
	}
	if status == nil {
		return said, nil
	}
	more, err := p.resolve(ctx, t, status, code, note)
	if err != nil && len(body) > 0 && !errors.As(err, new(*ops.UnknownOutcome)) {
		err = fmt.Errorf("the other fields were written: %w", err)
	}
	return append(said, more...), err
}

// compare returns the ticket as it stands, or an error naming each field that
// does not show what was written: Request Tracker answers 200 either way.
func (p *platform) compare(ctx context.Context, was, got *ticket, want ops.TicketFields, changed []connector.Field, said []string) (connector.Copy, error) {
	shows := p.o.fieldsOf(got)
	want = p.Normal(want, shows)
	var wrong []string
	for _, f := range changed {
		now := connector.Overlay(want, shows, []connector.Field{f})
		if len(connector.Diff(now, want)) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s was to be %q and is %q", f, connector.Value(want, f), connector.Value(shows, f)))
		}
	}
	c, err := p.copy(ctx, got, nil)
	if err != nil || len(wrong) == 0 {
		return c, err
	}
	text := strings.Join(wrong, ", ")
	if !c.Own && got.etag != was.etag {
		return connector.Copy{}, fmt.Errorf("%s: %s wrote at the same time: %w", text, c.UpdatedBy, ops.ErrConflict)
	}
	return connector.Copy{}, invalid("%s; Request Tracker said %q; correct the value, or give the account the right to set it", text, cut(strings.Join(said, "; ")))
}

// resolve writes the message that resolves together with the status, unless an
// earlier attempt left it there.
func (p *platform) resolve(ctx context.Context, t *ticket, status any, code, note string) ([]string, error) {
	id := resolutionID(code, note)
	there, err := p.sinceStatus(ctx, string(t.ID), id)
	if err != nil {
		return nil, err
	}
	var said answers
	if there {
		// No If-Match: what was written a moment ago moved the version on.
		_, err = p.call(ctx, connector.Repeat, http.MethodPut, "/ticket/"+string(t.ID), nil, content{"Status": status}, &said)
		return said, err
	}
	body := message(marked(id, "Resolved: "+code+"\n\n"+note))
	body["Status"] = status
	_, err = p.call(ctx, connector.Once, http.MethodPost, "/ticket/"+string(t.ID)+"/"+p.o.ResolveWith, nil, body, &said)
	return said, err
}

// AddNote implements connector.Platform. Comments on what is not there are
// answered 400 like any other, so the ticket is read first.
func (p *platform) AddNote(ctx context.Context, ref string, n ops.Note) error {
	if !noteID.MatchString(n.ID) {
		return fmt.Errorf("note %q: an id is letters, digits and . _ : - only: %w", n.ID, ops.ErrInternal)
	}
	if _, err := p.ticket(ctx, ref); err != nil {
		return err
	}
	var said answers
	_, err := p.call(ctx, connector.Once, http.MethodPost, "/ticket/"+ref+"/comment", nil, message(marked(n.ID, n.Text)), &said)
	if isStatus(err, http.StatusBadRequest) {
		return fmt.Errorf("%w; the account needs the right CommentOnTicket", err)
	}
	return err
}

// Get implements connector.Platform.
func (p *platform) Get(ctx context.Context, ref string) (connector.Copy, error) {
	t, err := p.ticket(ctx, ref)
	if err != nil {
		return connector.Copy{}, err
	}
	notes, err := p.notes(ctx, ref, 0)
	if err != nil {
		return connector.Copy{}, err
	}
	c, err := p.copy(ctx, t, notes)
	if err != nil || !p.o.isChange(t) {
		return c, err
	}
	steps, err := p.steps(ctx, ref)
	if err != nil {
		return connector.Copy{}, err
	}
	user, err := p.whoami(ctx)
	p.decided(t, &c, steps, user)
	return c, err
}

// Find implements connector.Platform.
func (p *platform) Find(ctx context.Context, key string) ([]connector.Copy, error) {
	var out []connector.Copy
	for last := int64(0); ; {
		var page found[object]
		query := url.Values{"query": {keyQuery(p.o.KeyField, key, last)}, "orderby": {"id"}, "per_page": {pageSize}}
		if _, err := p.call(ctx, connector.Read, http.MethodGet, "/tickets", query, nil, &page); err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			last = max(last, item.ID.number())
			t, err := p.ticket(ctx, string(item.ID))
			if errors.Is(err, ops.ErrNotFound) {
				continue // deleted or merged away since
			}
			if err != nil {
				return nil, err
			}
			if t.field(p.o.KeyField) != key {
				continue
			}
			c, err := p.copy(ctx, t, nil)
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
		if len(page.Items) < pageRows {
			return out, nil
		}
	}
}

// ticket reads a ticket. One that was deleted, or merged into another, which
// is then shown in its place, is ErrNotFound.
func (p *platform) ticket(ctx context.Context, ref string) (*ticket, error) {
	if _, err := strconv.ParseUint(ref, 10, 63); err != nil {
		return nil, fmt.Errorf("ticket %q: a ticket of Request Tracker is a number: %w", ref, ops.ErrNotFound)
	}
	var t ticket
	h, err := p.call(ctx, connector.Read, http.MethodGet, "/ticket/"+ref, nil, nil, &t)
	if err != nil {
		return nil, err
	}
	t.etag = strings.Trim(strings.TrimPrefix(h.Get("ETag"), "W/"), `"`)
	switch {
	case string(t.ID) != ref:
		return nil, fmt.Errorf("ticket %s was merged into %s: %w", ref, t.ID, ops.ErrNotFound)
	case t.Status == "deleted":
		return nil, fmt.Errorf("ticket %s was deleted: %w", ref, ops.ErrNotFound)
	case t.etag == "":
		return nil, fmt.Errorf("ticket %s came without an ETag; a proxy that takes it away must leave it: %w", ref, ops.ErrUnavailable)
	}
	if len(p.o.Groups) > 0 || p.o.Changes != nil || p.o.Queues[string(ops.TicketWorkOrder)] != "" {
		if t.queue, err = p.queueName(ctx, t.Queue.ID); err != nil {
			return nil, err
		}
	}
	return &t, nil
}

func (p *platform) copy(ctx context.Context, t *ticket, notes []connector.Note) (connector.Copy, error) {
	user, err := p.whoami(ctx)
	if err != nil {
		return connector.Copy{}, err
	}
	by := string(t.LastUpdatedBy.ID)
	kind := ops.TicketKind("")
	if p.o.isChange(t) {
		kind = ops.TicketChangeRequest
	}
	return connector.Copy{
		Kind: kind,
		Ref:  string(t.ID), Key: t.field(p.o.KeyField), Display: "#" + string(t.ID),
		URL: p.base + "/Ticket/Display.html?id=" + string(t.ID), Fields: p.o.fieldsOf(t), Version: t.etag,
		CreatedAt: t.Created.Time, UpdatedAt: t.LastUpdated.Time, UpdatedBy: by, Own: by == user, Notes: notes,
	}, nil
}
