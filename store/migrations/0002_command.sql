-- +goose Up
-- Commands: every order that was ever queued and how it went. The queue's own
-- tables hold only what is still to be done.
CREATE TABLE command (
  seq         SEQUENCE_KEY,
  subject     TEXT NOT NULL,
  kind        TEXT NOT NULL,
  body        TEXT NOT NULL,
  cause       TEXT NOT NULL,
  at          BIGINT NOT NULL,
  queued_at   BIGINT NOT NULL,
  run_at      BIGINT NOT NULL,
  finished_at BIGINT NOT NULL,
  attempts    BIGINT NOT NULL,
  error       TEXT NOT NULL,
  state       TEXT NOT NULL
);
CREATE INDEX command_subject ON command (subject, seq);
CREATE INDEX command_waiting ON command (run_at) WHERE state = 'waiting';
CREATE INDEX command_finished ON command (finished_at) WHERE state <> 'waiting';

-- Schedules: when each piece of periodic work is due next, over all replicas.
CREATE TABLE schedule (
  name    TEXT PRIMARY KEY,
  next_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE schedule;
DROP TABLE command;
