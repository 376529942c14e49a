// Package ticket keeps incidents and the tickets of platforms equal, both ways.
//
// It is level-based. Facts change what a ticket should show (Want) and queue
// work notes, in the transaction that hears them; a SyncTicket command then
// makes the platform equal, writing only what differs, and a pull reads what
// people did there. Every intent is in the database before the platform hears
// of it, so that an answer that never came is looked up and not guessed.
//
// A platform that fails holds up its own tickets only.
package ticket

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
)

// DefaultPlatform gets the tickets of incidents no route sends elsewhere.
const DefaultPlatform = "desk"

// Conflict says whose value stands when both sides changed a field.
type Conflict string

// The conflict policies. An edit of a field that we did not want to change is
// no conflict and always stands.
const (
	PlatformWins Conflict = "platform_wins"
	FettleWins   Conflict = "fettle_wins"
	NewestWins   Conflict = "newest_wins"
	Ask          Conflict = "ask" // neither is written until Decide
)

// Platform is one connected platform.
type Platform struct {
	Conn     *connector.Conn
	Every    time.Duration // between two pulls; 30 s when zero
	Conflict Conflict      // PlatformWins when empty
	AtOnce   int           // tickets written at the same time; 4 when zero
}

// Route sends incidents to a platform, or changes when Kind is change_request
// or work_order. A work order is opened for an approved change without a
// window, and the window is read back from it.
type Route struct {
	Match    string // condition over the incident or the change; empty matches all
	Platform string
	Kind     ops.TicketKind // incident when empty
	Team     string         // of incidents and changes that have none
}

// Writer runs a write transaction; *db.DB is one.
type Writer interface {
	Write(ctx context.Context, fn func(tx db.Tx) error) error
}

// Store keeps tickets and their notes.
type Store interface {
	Tell(ctx context.Context, tx db.Tx, facts ...ops.Fact) ([]ops.Fact, error)
	Ticket(ctx context.Context, id string) (ops.Ticket, error)
	TicketIn(ctx context.Context, tx db.Tx, id string) (ops.Ticket, error)
	TicketByKey(ctx context.Context, platform, key string) (ops.Ticket, error)
	TicketsAboutIn(ctx context.Context, tx db.Tx, subject string) ([]ops.Ticket, error)
	TicketsOn(ctx context.Context, platform, after string, limit int, dirty bool) ([]ops.Ticket, error)
	SaveTicket(ctx context.Context, tx db.Tx, t *ops.Ticket) error
	AddNote(ctx context.Context, tx db.Tx, n ops.TicketNote) (bool, error)
	MoveNote(ctx context.Context, tx db.Tx, was, to ops.TicketNote) error
	NotesOut(ctx context.Context, ticketID string) ([]ops.TicketNote, error)
	NotesOutIn(ctx context.Context, tx db.Tx, ticketID string) ([]ops.TicketNote, error)
}

// Questions is what the room asks others, answered from committed state.
type Questions interface {
	Incident(ctx context.Context, id string) (ops.Incident, error)
	// FirstMembers returns the first alerts of an incident, those that fire
	// before the others.
	FirstMembers(ctx context.Context, incidentID string, most int) ([]ops.Member, error)
	Change(ctx context.Context, id string) (ops.Change, error)
	// Plans returns every plan a change ever had.
	Plans(ctx context.Context, changeID string) ([]ops.Plan, error)
	FactsAbout(ctx context.Context, subject string) ([]ops.Fact, error)
	// Recent returns what is known of a resource's metrics between two instants.
	Recent(ctx context.Context, resourceID string, from, to time.Time) ([]ops.Series, error)
}

// Artefacts returns what is kept under a digest, or ops.ErrNotFound when it is
// kept no longer.
type Artefacts interface {
	Get(ctx context.Context, digest string) ([]byte, error)
}

// Options is what a Room is built from. All but Routes, Groups, Person and
// Artefacts are needed.
type Options struct {
	Installation string
	PublicURL    string // where people reach Fettle, without a slash at the end
	Clock        clock.Clock
	Log          *slog.Logger
	DB           Writer
	Store        Store
	Cursors      record.Table // the room's own, for pull cursors
	Ask          Questions
	Artefacts    Artefacts // reports of analyses; nil: they are not attached
	Jobs         job.Enqueuer
	Platforms    []Platform
	Routes       []Route
	Groups       map[string]string // a team's assignment group; a team without one is its own
	// Match tells whether an incident meets a route's condition.
	Match func(expr string, i ops.Incident) (bool, error)
	// MatchChange tells whether a change meets the condition of a route for changes.
	MatchChange func(expr string, c ops.Change) (bool, error)
	// Person returns the name of the principal who is user on a platform, empty
	// when nobody is mapped to it.
	Person func(platform, user string) string
}

// Room is the ticket room. It is safe for concurrent use.
type Room struct {
	Options
	platforms map[string]*platform
}

type platform struct {
	Platform
	name string
	gate gate
}

// New returns the room, or an error that says which option is wrong.
func New(o Options) (*Room, error) {
	r := &Room{Options: o, platforms: map[string]*platform{}}
	r.Log = o.Log.With(slog.String("room", "ticket"))
	if r.Person == nil {
		r.Person = func(string, string) string { return "" }
	}
	for _, p := range o.Platforms {
		name := p.Conn.Name()
		if r.platforms[name] != nil {
			return nil, fmt.Errorf("platforms: %s is there twice; give one another name: %w", name, ops.ErrInvalid)
		}
		if p.Every <= 0 {
			p.Every = 30 * time.Second
		}
		if p.Conflict == "" {
			p.Conflict = PlatformWins
		}
		if !slices.Contains([]Conflict{PlatformWins, FettleWins, NewestWins, Ask}, p.Conflict) {
			return nil, fmt.Errorf("platforms: %s: sync.conflict %q is none of platform_wins, fettle_wins, newest_wins, ask: %w", name, p.Conflict, ops.ErrInvalid)
		}
		if p.AtOnce <= 0 {
			p.AtOnce = 4
		}
		r.platforms[name] = &platform{Platform: p, name: name, gate: newGate(p.AtOnce)}
	}
	for i, route := range o.Routes {
		if r.platforms[route.Platform] == nil {
			return nil, fmt.Errorf("routes[%d]: platform %q is not under platforms: %w", i, route.Platform, ops.ErrInvalid)
		}
	}
	if r.platforms[DefaultPlatform] == nil {
		return nil, fmt.Errorf("platforms: %s is missing; it gets what no route sends elsewhere: %w", DefaultPlatform, ops.ErrInternal)
	}
	return r, nil
}

// Register hangs the room into the queue.
func (r *Room) Register(jobs job.Registrar) {
	for _, kind := range ops.Heard("ticket") {
		jobs.Hear("ticket", kind, r.hear)
	}
	jobs.Handle(ops.SyncTicket, r.sync)
	jobs.Handle(ops.PullPlatform, r.pullCommand)
	jobs.Handle(ops.AuditTickets, r.auditCommand)
	for name, p := range r.platforms {
		jobs.Every("ticket.pull."+name, p.Every, func(ctx context.Context) error { return r.Pull(ctx, name) })
		jobs.Every("ticket.audit."+name, 24*time.Hour, func(ctx context.Context) error { return r.Audit(ctx, name) })
	}
}

// Key returns the key of a record's ticket on a platform: the first 16 bytes,
// in hex, of a SHA-256 over installation, platform, kind and the record. It is
// the same for ever, and a ServiceNow sys_id.
func Key(installation, platform string, kind ops.TicketKind, subject string) string {
	h := sha256.New()
	for _, s := range []string{installation, platform, string(kind), subject} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// PlatformSubject returns the subject of commands about a platform as a whole.
func PlatformSubject(name string) string { return "platform/" + name }

// Status is how a platform is doing.
type Status struct {
	Name     string    `json:"name"`
	Driver   string    `json:"driver"`
	Up       bool      `json:"up"`
	Since    time.Time `json:"since,omitzero"` // of the trouble
	Error    string    `json:"error,omitempty"`
	Conflict Conflict  `json:"conflict"`
}

// Platforms returns how each platform is doing, by name. It asks none of them.
func (r *Room) Platforms() []Status {
	var out []Status
	for name, p := range r.platforms {
		since, err := p.gate.trouble()
		s := Status{Name: name, Driver: p.Conn.Driver(), Up: err == nil, Since: since, Conflict: p.Conflict}
		if err != nil {
			s.Error = err.Error()
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Status) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

func (r *Room) now() time.Time { return r.Clock().UTC() }
