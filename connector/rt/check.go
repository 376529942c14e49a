package rt

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// oldest is the first version whose transactions can be searched.
const oldest = 5

// Check implements connector.Checker.
func (p *platform) Check(ctx context.Context) error {
	var a about
	if _, err := p.call(ctx, connector.Read, http.MethodGet, "/rt", nil, nil, &a); err != nil {
		return err
	}
	var errs []error
	major, _, _ := strings.Cut(a.Version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldest {
		errs = append(errs, invalid("version: Request Tracker is %s; this driver needs %d or newer", a.Version, oldest))
	}
	if _, err := p.whoami(ctx); err != nil {
		errs = append(errs, err)
	}
	for _, name := range p.o.allQueues() {
		errs = append(errs, p.checkQueue(ctx, name))
	}
	return errors.Join(errs...)
}

func (p *platform) checkQueue(ctx context.Context, name string) error {
	q, err := p.queue(ctx, name)
	if err != nil {
		return err
	}
	var errs []error
	if q.Disabled != "0" && q.Disabled != "" {
		errs = append(errs, invalid("queue %q is disabled; enable it or name another", name))
	}
	if !linked(q.Links, "create") {
		errs = append(errs, denied("queue %q: the account lacks the right CreateTicket", name))
	}
	fields := []string{p.o.KeyField}
	for _, f := range []string{p.o.DescriptionField, p.o.ResourceField, p.o.ResolveCodeField, p.o.ResolveNoteField} {
		if f != "" {
			fields = append(fields, f)
		}
	}
	for _, f := range fields {
		if !q.has(f) {
			errs = append(errs, p.noField(q, f))
		}
	}
	return errors.Join(append(errs, p.checkRights(ctx, q))...)
}

// checkRights looks at the newest ticket of a queue, which lists what the
// account may do to it. In an empty queue nothing can be said without writing.
func (p *platform) checkRights(ctx context.Context, q queue) error {
	var page found[object]
	v := url.Values{"query": {queueQuery(q.Name)}, "orderby": {"id"}, "order": {"DESC"}, "per_page": {"1"}}
	if _, err := p.call(ctx, connector.Read, http.MethodGet, "/tickets", v, nil, &page); err != nil || len(page.Items) == 0 {
		return err
	}
	t, err := p.ticket(ctx, string(page.Items[0].ID))
	if err != nil {
		if errors.Is(err, ops.ErrNotFound) { // gone in between
			return nil
		}
		return err
	}
	var errs []error
	lacks := func(right string) {
		errs = append(errs, denied("queue %q: the account lacks the right %s", q.Name, right))
	}
	if !linked(t.Links, "comment") {
		lacks("CommentOnTicket")
	}
	if p.o.ResolveWith == "correspond" && !linked(t.Links, "correspond") {
		lacks("ReplyToTicket")
	}
	// Each move of the status that is allowed is a link.
	if !linked(t.Links, "lifecycle") {
		lacks("ModifyTicket")
	}
	return errors.Join(errs...)
}

func denied(format string, args ...any) error {
	return fmt.Errorf(format+"; grant it: %w", append(args, ops.ErrDenied)...)
}

func (p *platform) noField(q queue, field string) error {
	hint := ""
	if len(q.TicketCustomFields) == 0 {
		hint = ", or give the account the right SeeCustomField"
	}
	return invalid("queue %q: shows no custom field %s; create it (one value, free text) and apply it to the queue%s", q.Name, field, hint)
}

// queue reads a queue by name or id.
func (p *platform) queue(ctx context.Context, name string) (queue, error) {
	var q queue
	_, err := p.call(ctx, connector.Read, http.MethodGet, "/queue/"+url.PathEscape(name), nil, nil, &q)
	switch {
	case errors.Is(err, ops.ErrNotFound):
		return q, invalid("queue %q does not exist; create it or name another under options", name)
	case isStatus(err, http.StatusForbidden):
		return q, fmt.Errorf("queue %q: give the account the right SeeQueue: %w", name, err)
	}
	return q, err
}

// queueName returns the name of a queue, or its id when we may not see it.
func (p *platform) queueName(ctx context.Context, id text) (string, error) {
	p.mu.Lock()
	name, known := p.names[id]
	p.mu.Unlock()
	if known {
		return name, nil
	}
	q, err := p.queue(ctx, string(id))
	if errors.Is(err, ops.ErrInvalid) || isStatus(err, http.StatusForbidden) {
		return string(id), nil
	}
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names[id] = q.Name
	return q.Name, nil
}

// whoami returns our own user as Request Tracker writes it, by which our own
// edits are told from others'.
func (p *platform) whoami(ctx context.Context) (string, error) {
	p.mu.Lock()
	user := p.user
	p.mu.Unlock()
	if user != "" {
		return user, nil
	}
	who := p.env.User
	if p.auth.Basic != nil {
		who = p.auth.Basic.Username
	} else {
		token, err := p.env.Secrets.Resolve(ctx, p.auth.Token.String())
		if err != nil {
			return "", fmt.Errorf("auth: %w", err)
		}
		if id, ok := tokenUser(token); ok {
			who = id
		}
	}
	if who == "" {
		return "", invalid("user: the token does not tell whose it is; write the name of its user")
	}
	var me person
	_, err := p.call(ctx, connector.Read, http.MethodGet, "/user/"+url.PathEscape(who), nil, nil, &me)
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.user = me.Name
	return me.Name, nil
}
