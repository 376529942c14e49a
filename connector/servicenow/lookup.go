package servicenow

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// maxNames bounds the names remembered; they come out of alerts.
const maxNames = 10_000

type nameKey struct {
	field connector.Field
	name  string
}

type found struct {
	id    string // empty: no such name, or several
	until time.Time
}

// lookups remembers the sys_ids of names and the values of choices. Losing it
// costs requests and nothing else.
type lookups struct {
	mu      sync.Mutex
	names   map[nameKey]found
	choices map[string][]string
	known   map[string]time.Time // until when choices stand
	extra   map[string]bool      // names of extra fields that are read
}

func (l *lookups) get(k nameKey, now time.Time) (found, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.names[k]
	return f, ok && now.Before(f.until)
}

func (l *lookups) put(k nameKey, f found, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.names) >= maxNames {
		for k, f := range l.names {
			if !now.Before(f.until) {
				delete(l.names, k)
			}
		}
		if len(l.names) >= maxNames {
			clear(l.names)
		}
	}
	l.names[k] = f
}

// read makes every ticket show the extra fields named.
func (l *lookups) read(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range names {
		l.extra[n] = true
	}
}

func (l *lookups) reads() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]string, 0, len(l.extra))
	for n := range l.extra {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// ids returns the sys_ids of the references of f that are in fields, nil for
// all. A name that leads nowhere, or to several records, is left out and said
// in the log: a ticket without a group is better than no ticket.
func (p *platform) ids(ctx context.Context, f ops.TicketFields, fields []connector.Field) (ids, error) {
	out := ids{}
	for _, r := range references {
		if fields != nil && !slices.Contains(fields, r.field) {
			continue
		}
		name := connector.Value(f, r.field)
		if name == "" {
			out[r.field] = "" // clears it, where it is named
			continue
		}
		k := nameKey{r.field, name}
		now := p.env.Clock()
		got, ok := p.lookups.get(k, now)
		if !ok {
			id, why, err := p.lookup(ctx, r.table, r.name, name, r.field == connector.Resource)
			if err != nil {
				return nil, fmt.Errorf("%s %q: %w", r.what, name, err)
			}
			if id == "" {
				p.env.Log.LogAttrs(ctx, slog.LevelWarn, "reference left empty",
					slog.String("field", string(r.field)), slog.String("name", name), slog.String("reason", why))
			}
			got = found{id, now.Add(p.m.options.LookupTTL)}
			p.lookups.put(k, got, now)
		}
		if got.id != "" {
			out[r.field] = got.id
		}
	}
	return out, nil
}

// lookup returns the sys_id of the one record of that name, or why there is none.
func (p *platform) lookup(ctx context.Context, table, field, name string, isCI bool) (id, why string, err error) {
	value, ok := quote(name)
	if !ok {
		return "", "no name of a record", nil
	}
	query := field + "=" + value
	if isCI && p.m.options.CIFilter != "" {
		query += "^" + p.m.options.CIFilter
	}
	got, err := p.c.list(ctx, table, query, view([]string{"sys_id", field}), 0, 2)
	if lacksRight(err) {
		return "", "the account may not read " + table, nil
	}
	if err != nil {
		return "", "", err
	}
	// An instance leaves out a condition it does not like and returns the rest.
	match := slices.DeleteFunc(got.rows, func(r row) bool { return !strings.EqualFold(r.get(field), name) })
	switch {
	case len(match) == 1 && len(got.rows) == 1:
		return match[0].get("sys_id"), "", nil
	case len(match) > 1:
		return "", "several records in " + table + " have this name", nil
	}
	return "", "no record in " + table + " has this name", nil
}

// missing tells references that are known to lead nowhere. It does no I/O.
func (p *platform) missing(f connector.Field, name string) bool {
	got, ok := p.lookups.get(nameKey{f, name}, p.env.Clock())
	return ok && got.id == ""
}

// choices returns the values of a choice field of incidents, none when the
// account may not read them.
func (p *platform) choices(ctx context.Context, element string) ([]string, error) {
	return p.choicesOf(ctx, incidentTable, element)
}

func (p *platform) choicesOf(ctx context.Context, table, element string) ([]string, error) {
	now, key := p.env.Clock(), table+"."+element
	p.lookups.mu.Lock()
	values, fresh := p.lookups.choices[key], now.Before(p.lookups.known[key])
	p.lookups.mu.Unlock()
	if fresh {
		return values, nil
	}
	got, err := p.c.list(ctx, choiceTable, choiceQuery(table, element), view(choiceFields), 0, 1000)
	if err != nil && !lacksRight(err) {
		return nil, fmt.Errorf("choices of %s: %w", element, err)
	}
	values = nil
	for _, r := range got.rows {
		if r.get("element") == element && r.get("name") == table {
			values = append(values, r.get("value"))
		}
	}
	p.lookups.mu.Lock()
	defer p.lookups.mu.Unlock()
	p.lookups.choices[key], p.lookups.known[key] = values, now.Add(p.m.options.LookupTTL)
	return values, nil
}

// checkChoices returns an error for a value of b that the instance does not
// know; it would say that the field is missing, or nothing at all.
func (p *platform) checkChoices(ctx context.Context, b body) error {
	for _, element := range choiceElements {
		v, sent := b[element]
		if !sent {
			continue
		}
		if err := p.checkChoice(ctx, element, v); err != nil {
			return err
		}
	}
	return nil
}

func (p *platform) checkChoice(ctx context.Context, element, value string) error {
	known, err := p.choices(ctx, element)
	if err != nil || len(known) == 0 || slices.Contains(known, value) {
		return err
	}
	return fmt.Errorf("%s: the instance knows no %s %q, only %s; set options.%s: %w",
		element, element, value, strings.Join(known, ", "), element, ops.ErrInvalid)
}
