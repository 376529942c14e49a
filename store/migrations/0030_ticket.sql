-- +goose Up
-- Tickets: what we want each platform to show, and what it showed last.
CREATE TABLE ticket (
  id        TEXT PRIMARY KEY,
  platform  TEXT NOT NULL,
  key       TEXT NOT NULL,
  ref       TEXT NOT NULL,
  kind      TEXT NOT NULL,
  subject   TEXT NOT NULL,
  display   TEXT NOT NULL,
  url       TEXT NOT NULL,
  want      TEXT NOT NULL,
  seen      TEXT NOT NULL,
  seen_at   BIGINT NOT NULL,
  sync      TEXT NOT NULL,
  sync_note TEXT NOT NULL,
  notes_out BIGINT NOT NULL,
  dirty     BIGINT NOT NULL,
  work      TEXT NOT NULL,
  version   BIGINT NOT NULL,
  -- At most one ticket per record and platform, whatever fails.
  UNIQUE (platform, key)
);
CREATE INDEX ticket_subject ON ticket (subject);
CREATE INDEX ticket_ref ON ticket (platform, ref);
CREATE INDEX ticket_dirty ON ticket (platform, id) WHERE dirty = 1;

-- Work notes on their way out, and those of others that were read.
CREATE TABLE ticket_note (
  ticket_id TEXT NOT NULL REFERENCES ticket (id),
  id        TEXT NOT NULL,
  seq       BIGINT NOT NULL,
  at        BIGINT NOT NULL,
  author    TEXT NOT NULL,
  body      TEXT NOT NULL,
  state     TEXT NOT NULL,
  sent_at   BIGINT NOT NULL,
  PRIMARY KEY (ticket_id, id)
);
CREATE INDEX ticket_note_out ON ticket_note (ticket_id, seq) WHERE state IN ('waiting', 'sending');

-- Records: what drivers and rooms remember without a table of their own. Keys
-- are bytes, so that both engines order them alike.
CREATE TABLE record (
  namespace TEXT NOT NULL,
  key       BYTES NOT NULL,
  version   BIGINT NOT NULL,
  value     BYTES NOT NULL,
  PRIMARY KEY (namespace, key)
);

-- +goose Down
DROP TABLE record;
DROP TABLE ticket_note;
DROP TABLE ticket;
