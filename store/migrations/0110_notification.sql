-- +goose Up
-- When each configured channel was first there: what happened before is old news to it.
CREATE TABLE notification_channel (
  name     TEXT PRIMARY KEY,
  since_at BIGINT NOT NULL
);

-- Notices on their way to channels, and those that got there.
CREATE TABLE notification (
  id        TEXT PRIMARY KEY,
  number    BIGINT NOT NULL UNIQUE,
  channel   TEXT NOT NULL,
  fact_id   TEXT NOT NULL, -- of a digest: its own id
  says      TEXT NOT NULL,
  state     TEXT NOT NULL,
  subject   TEXT NOT NULL,
  digest    BIGINT NOT NULL,
  digest_id TEXT NOT NULL, -- that lists it
  attempts  BIGINT NOT NULL,
  error     TEXT NOT NULL,
  made_at   BIGINT NOT NULL,
  tried_at  BIGINT NOT NULL,
  done_at   BIGINT NOT NULL,
  version   BIGINT NOT NULL,
  body      TEXT NOT NULL
);
-- A fact is told once in a channel, and so is what it says.
CREATE UNIQUE INDEX notification_fact ON notification (channel, fact_id);
CREATE UNIQUE INDEX notification_says ON notification (channel, says);
-- A channel has one digest at a time.
CREATE UNIQUE INDEX notification_digest ON notification (channel) WHERE digest = 1 AND state IN ('waiting', 'sending');
CREATE INDEX notification_tried ON notification (channel, tried_at);
CREATE INDEX notification_open ON notification (channel, number) WHERE state IN ('waiting', 'sending', 'held', 'unsure');
CREATE INDEX notification_listed ON notification (digest_id, number) WHERE digest_id <> '';

-- +goose Down
DROP TABLE notification;
DROP TABLE notification_channel;
