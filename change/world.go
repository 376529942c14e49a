package change

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// World is what the gate must know beyond the change itself, read in the same
// transaction that records its decision.
type World struct {
	Now      time.Time
	Stopped  string       // why execution is stopped; empty: it is not
	Resource ops.Resource // of the change
	Holder   string       // key of another change whose run holds the resource
	// Starts are the runs of automated changes that started within Limits.Per.
	Starts    []Start
	Resources int      // how many resources are known
	Value     *float64 // of the triggering alert's metric, measured now; nil: unknown
	// Ticket is the change's request in the platform in which it has to be
	// approved, as people find it; empty: it has none there.
	Ticket string
	// People are the persons, by name, whom the event is about and in whose
	// name they may decide. Who is not here is nobody.
	People map[string]ops.Principal
	// Running are the resources on which other changes run now.
	Running []ops.Resource
	// Before are the other changes, running or scheduled, of what the
	// resource depends on.
	Before []Before
}

// Before is a change of something that another change's resource depends on.
type Before struct {
	Change ops.Change
	Mutual bool // what it changes depends on the other's resource as well
}

// Start is when an automated run started, and on what.
type Start struct {
	At       time.Time
	Resource string
}

func (r *Room) world(ctx context.Context, tx db.Tx, g *Gate, c ops.Change) (World, error) {
	w := World{Now: r.now()}
	reason, stopped, err := r.Rows.ExecutionStoppedIn(ctx, tx)
	if err != nil {
		return w, err
	}
	if stopped {
		w.Stopped = reason
	}
	if w.Resource, err = r.resource(ctx, c.ResourceID, c.Resource); err != nil {
		return w, err
	}
	if c.State != ops.ChangeScheduled {
		return w, nil // the rest is asked only by a start
	}
	if w.Holder, err = r.Rows.LockHolder(ctx, tx, c.Lock(), c.ID); err != nil {
		return w, err
	}
	if err := r.others(ctx, tx, g, c, &w); err != nil {
		return w, err
	}
	if !c.Automated() {
		return w, nil
	}
	at, resources, err := r.Rows.AutomatedStarts(ctx, tx, w.Now.Add(-g.Limits.Per), g.Limits.Count)
	if err != nil {
		return w, err
	}
	for i := range at {
		w.Starts = append(w.Starts, Start{at[i], resources[i]})
	}
	if w.Resources, err = r.Inventory.CountResources(ctx); err != nil {
		return w, err
	}
	if c.Trigger != nil && r.Senses != nil {
		if v, ok := r.Senses.Measure(ctx, *c.Trigger); ok {
			w.Value = &v
		}
	}
	return w, nil
}

// ticket returns the change request in the platform in which a change that
// waits has to be approved: its number and address.
func (r *Room) ticket(ctx context.Context, c ops.Change) (string, error) {
	if r.Tickets == nil || c.State != ops.ChangeAuthorize || c.ApproveIn == "" || c.ApproveIn == ops.DeskPlatform {
		return "", nil
	}
	all, err := r.Tickets.TicketsAbout(ctx, c.Subject())
	if err != nil {
		return "", err
	}
	for _, t := range all {
		if t.Platform == c.ApproveIn && t.Kind == ops.TicketChangeRequest {
			return strings.TrimSpace(t.Display + " " + t.URL), nil
		}
	}
	return "", nil
}

// resource returns what is known of a resource, at least its id and name.
func (r *Room) resource(ctx context.Context, id, name string) (ops.Resource, error) {
	if id == "" {
		return ops.Resource{Name: name}, nil
	}
	found, err := r.Inventory.Resource(ctx, id)
	if errors.Is(err, ops.ErrNotFound) {
		return ops.Resource{ID: id, Name: name}, nil
	}
	return found, err
}

// people returns the persons an event is about: who spoke in a platform, and
// in whose name they or who presses the button may decide.
func (r *Room) people(ctx context.Context, g *Gate, e Event) (map[string]ops.Principal, error) {
	name := ""
	var names []string
	switch e := e.(type) {
	case Decided:
		name = e.By.Name
	case Heard:
		var err error
		if name, err = spoke(e.Fact); err != nil || name == "" {
			return nil, err
		}
		names = append(names, name)
	}
	for _, d := range g.Delegations {
		if name != "" && d.To == name {
			names = append(names, d.Of)
		}
	}
	if r.People == nil || len(names) == 0 {
		return nil, nil
	}
	out := make(map[string]ops.Principal, len(names))
	for _, n := range names {
		p, err := r.People.Principal(ctx, n)
		switch {
		case errors.Is(err, ops.ErrNotFound):
		case err != nil:
			return nil, err
		case p.Name == n:
			out[n] = p
		}
	}
	return out, nil
}

// spoke returns the name of the person whose word in a platform a fact tells,
// empty for every other fact.
func spoke(f ops.Fact) (string, error) {
	switch f.Kind {
	case ops.ApprovalSeen:
		b, err := ops.Body[ops.ApprovalSeenBody](f)
		return b.Person, err
	case ops.WithdrawalSeen:
		b, err := ops.Body[ops.WithdrawalSeenBody](f)
		return b.Person, err
	case ops.WindowOffered:
		b, err := ops.Body[ops.WindowOfferedBody](f)
		return b.Person, err
	}
	return "", nil
}

// others reads what else runs, and what must go before this change.
func (r *Room) others(ctx context.Context, tx db.Tx, g *Gate, c ops.Change, w *World) error {
	if limits := g.Concurrency; limits.Total > 0 || limits.PerService > 0 || limits.PerAccount > 0 {
		ids, err := r.Rows.RunningResources(ctx, tx, c.ID)
		if err != nil {
			return err
		}
		for _, id := range ids {
			found, err := r.resource(ctx, id, "")
			if err != nil {
				return err
			}
			w.Running = append(w.Running, found)
		}
	}
	if r.Graph == nil || c.ResourceID == "" {
		return nil
	}
	needs, err := r.Graph.Needs(ctx, c.ResourceID)
	if err != nil || len(needs) == 0 {
		return err
	}
	under, err := r.Rows.UnderWay(ctx, tx, needs, c.ID)
	if err != nil {
		return err
	}
	for _, other := range under {
		back, err := r.Graph.Needs(ctx, other.ResourceID)
		if err != nil {
			return err
		}
		w.Before = append(w.Before, Before{Change: other, Mutual: slices.Contains(back, c.ResourceID)})
	}
	return nil
}
