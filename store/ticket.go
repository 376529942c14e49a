package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

const ticketColumns = "id, platform, key, ref, kind, subject, display, url, want, seen, seen_at, sync, sync_note, notes_out, dirty, work, version"

func scanTicket(r db.Row) (ops.Ticket, error) {
	var t ops.Ticket
	var kind, want, seen, sync, work string
	var seenAt, notes, dirty int64
	err := r.Scan(&t.ID, &t.Platform, &t.Key, &t.Ref, &kind, &t.Subject, &t.Display, &t.URL, &want, &seen, &seenAt,
		&sync, &t.SyncNote, &notes, &dirty, &work, &t.Version)
	if err != nil {
		return t, err
	}
	t.Kind, t.Sync, t.SeenAt, t.NotesOut = ops.TicketKind(kind), ops.SyncState(sync), fromMillis(seenAt), int(notes)
	err = errors.Join(json.Unmarshal([]byte(want), &t.Want), json.Unmarshal([]byte(seen), &t.Seen), json.Unmarshal([]byte(work), &t.Work))
	t.Work.Dirty = dirty == 1
	return t, err
}

func oneTicket(ctx context.Context, r db.Reader, where string, args ...any) (ops.Ticket, error) {
	t, err := scanTicket(r.QueryRow(ctx, "SELECT "+ticketColumns+" FROM ticket WHERE "+where, args...))
	if errors.Is(err, db.ErrNoRows) {
		return ops.Ticket{}, fmt.Errorf("ticket %v: %w", args, ops.ErrNotFound)
	}
	if err != nil {
		return ops.Ticket{}, fmt.Errorf("store: read ticket %v: %w", args, err)
	}
	return t, nil
}

// Ticket returns the ticket with this id, or ops.ErrNotFound.
func (s *Store) Ticket(ctx context.Context, id string) (ops.Ticket, error) {
	return oneTicket(ctx, s.db.Read(), "id = $1", id)
}

// TicketIn is Ticket as the transaction sees it.
func (s *Store) TicketIn(ctx context.Context, tx db.Tx, id string) (ops.Ticket, error) {
	return oneTicket(ctx, tx, "id = $1", id)
}

// TicketByKey returns the ticket with this key on a platform, or ops.ErrNotFound.
func (s *Store) TicketByKey(ctx context.Context, platform, key string) (ops.Ticket, error) {
	return oneTicket(ctx, s.db.Read(), "platform = $1 AND key = $2", platform, key)
}

// TicketsAbout returns the tickets of a record, oldest first.
func (s *Store) TicketsAbout(ctx context.Context, subject string) ([]ops.Ticket, error) {
	return ticketsAbout(ctx, s.db.Read(), subject)
}

// TicketsAboutIn is TicketsAbout as the transaction sees it.
func (s *Store) TicketsAboutIn(ctx context.Context, tx db.Tx, subject string) ([]ops.Ticket, error) {
	return ticketsAbout(ctx, tx, subject)
}

func ticketsAbout(ctx context.Context, r db.Reader, subject string) ([]ops.Ticket, error) {
	rows, err := r.Query(ctx, "SELECT "+ticketColumns+" FROM ticket WHERE subject = $1 ORDER BY id", subject)
	return db.Collect(rows, err, scanTicket)
}

// TicketsOn returns at most limit tickets of a platform whose id comes after
// the given one, in order of their ids, which is the order they were made in.
// With dirty it returns only those that wait to go out.
func (s *Store) TicketsOn(ctx context.Context, platform, after string, limit int, dirty bool) ([]ops.Ticket, error) {
	query := "SELECT " + ticketColumns + " FROM ticket WHERE platform = $1 AND id > $2"
	if dirty {
		query += " AND dirty = 1"
	}
	rows, err := s.db.Read().Query(ctx, query+" ORDER BY id LIMIT $3", platform, after, int64(limit))
	return db.Collect(rows, err, scanTicket)
}

// SaveTicket writes a ticket over the version it was read at and counts that
// up; version 0 makes a new one, with an id. It returns ops.ErrConflict when somebody else was first.
func (s *Store) SaveTicket(ctx context.Context, tx db.Tx, t *ops.Ticket) error {
	want, err1 := json.Marshal(t.Want)
	seen, err2 := json.Marshal(t.Seen)
	work, err3 := json.Marshal(t.Work)
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("store: ticket %s: %w", t.ID, err)
	}
	dirty := int64(0)
	if t.Work.Dirty {
		dirty = 1
	}
	id := t.ID
	if t.Version == 0 && id == "" {
		id = s.newID()
	}
	args := []any{
		id, t.Platform, t.Key, t.Ref, string(t.Kind), t.Subject, t.Display, t.URL, string(want), string(seen), millis(t.SeenAt),
		string(t.Sync), t.SyncNote, int64(t.NotesOut), dirty, string(work), t.Version,
	}
	query := "INSERT INTO ticket (" + ticketColumns + ") VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17+1) ON CONFLICT DO NOTHING"
	if t.Version != 0 {
		query = `UPDATE ticket SET platform = $2, key = $3, ref = $4, kind = $5, subject = $6, display = $7, url = $8, want = $9, seen = $10,
			seen_at = $11, sync = $12, sync_note = $13, notes_out = $14, dirty = $15, work = $16, version = version + 1 WHERE id = $1 AND version = $17`
	}
	n, err := tx.Exec(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("store: save ticket %s: %w", id, err)
	}
	if n == 0 {
		return fmt.Errorf("store: ticket %s of %s on %s is no longer at version %d: %w", id, t.Subject, t.Platform, t.Version, ops.ErrConflict)
	}
	t.ID = id
	t.Version++
	return nil
}

// AddNote queues a note of a ticket behind those that wait, or notes one that
// was read, and reports whether it was new: a note is known by its id.
func (s *Store) AddNote(ctx context.Context, tx db.Tx, n ops.TicketNote) (bool, error) {
	rows, err := tx.Exec(ctx, `INSERT INTO ticket_note (ticket_id, id, seq, at, author, body, state, sent_at)
		VALUES ($1, $2, (SELECT COALESCE(MAX(seq), 0) + 1 FROM ticket_note WHERE ticket_id = $1), $3, $4, $5, $6, $7)
		ON CONFLICT (ticket_id, id) DO NOTHING`,
		n.TicketID, n.ID, millis(n.At), n.Author, n.Text, string(n.State), millis(n.SentAt))
	if err != nil {
		return false, fmt.Errorf("store: note %s of ticket %s: %w", n.ID, n.TicketID, err)
	}
	return rows > 0, nil
}

// MoveNote takes a note from was, as it was read, to the state and the time of
// its last attempt in to. A note that somebody else moved meanwhile is
// ops.ErrConflict, so that of two who want to send it only one does.
func (s *Store) MoveNote(ctx context.Context, tx db.Tx, was, to ops.TicketNote) error {
	rows, err := tx.Exec(ctx, "UPDATE ticket_note SET state = $3, sent_at = $4 WHERE ticket_id = $1 AND id = $2 AND state = $5 AND sent_at = $6",
		was.TicketID, was.ID, string(to.State), millis(to.SentAt), string(was.State), millis(was.SentAt))
	if err == nil && rows == 0 {
		err = ops.ErrConflict
	}
	if err != nil {
		return fmt.Errorf("store: note %s of ticket %s: %w", was.ID, was.TicketID, err)
	}
	return nil
}

const noteColumns = "ticket_id, id, seq, at, author, body, state, sent_at"

func scanNote(r db.Row) (ops.TicketNote, error) {
	var n ops.TicketNote
	var at, sent int64
	var state string
	err := r.Scan(&n.TicketID, &n.ID, &n.Seq, &at, &n.Author, &n.Text, &state, &sent)
	n.At, n.SentAt, n.State = fromMillis(at), fromMillis(sent), ops.NoteState(state)
	return n, err
}

// NotesOut returns the notes of a ticket that are not delivered yet, in the
// order they must go out.
func (s *Store) NotesOut(ctx context.Context, ticketID string) ([]ops.TicketNote, error) {
	return notesOut(ctx, s.db.Read(), ticketID)
}

// NotesOutIn is NotesOut as the transaction sees it.
func (s *Store) NotesOutIn(ctx context.Context, tx db.Tx, ticketID string) ([]ops.TicketNote, error) {
	return notesOut(ctx, tx, ticketID)
}

func notesOut(ctx context.Context, r db.Reader, ticketID string) ([]ops.TicketNote, error) {
	rows, err := r.Query(ctx, "SELECT "+noteColumns+" FROM ticket_note WHERE ticket_id = $1 AND state IN ('waiting', 'sending') ORDER BY seq", ticketID)
	return db.Collect(rows, err, scanNote)
}

// TicketNotes returns all notes of a ticket, ours and theirs, oldest first.
func (s *Store) TicketNotes(ctx context.Context, ticketID string) ([]ops.TicketNote, error) {
	rows, err := s.db.Read().Query(ctx, "SELECT "+noteColumns+" FROM ticket_note WHERE ticket_id = $1 ORDER BY seq", ticketID)
	return db.Collect(rows, err, scanNote)
}
