-- +goose Up
-- Facts: what happened. Never updated, never deleted.
CREATE TABLE fact (
  seq         BIGINT PRIMARY KEY,
  id          TEXT NOT NULL UNIQUE,
  subject     TEXT NOT NULL,
  kind        TEXT NOT NULL,
  version     BIGINT NOT NULL,
  at          BIGINT NOT NULL,
  recorded_at BIGINT NOT NULL,
  principal   TEXT NOT NULL,
  cause       TEXT NOT NULL,
  body        TEXT NOT NULL,
  prev        TEXT NOT NULL,
  hash        TEXT NOT NULL
);
CREATE UNIQUE INDEX fact_subject ON fact (subject, seq);

-- Cursors: how far each follower of an ordered log has come.
CREATE TABLE cursor (
  name     TEXT PRIMARY KEY,
  position BIGINT NOT NULL
);

-- Numbers people use: INC-42, CHG-42.
CREATE TABLE number (
  kind TEXT PRIMARY KEY,
  last BIGINT NOT NULL
);

-- Settings made at run time, such as the execution switch.
CREATE TABLE setting (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

-- +goose Down
DROP TABLE setting;
DROP TABLE number;
DROP TABLE cursor;
DROP TABLE fact;
