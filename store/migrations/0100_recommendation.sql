-- +goose Up
-- Messages that the room change reads, too, so that it need not look at the others.
ALTER TABLE signal ADD COLUMN advice BIGINT NOT NULL DEFAULT 0;
CREATE INDEX signal_advice ON signal (seq) WHERE advice = 1;

-- Recommendations, with the columns that are searched and summed.
CREATE TABLE recommendation (
  id          TEXT PRIMARY KEY,
  number      BIGINT NOT NULL UNIQUE,
  identity    TEXT NOT NULL,
  place       TEXT NOT NULL, -- integration|region|service|key, as hints name it
  state       TEXT NOT NULL,
  kind        TEXT NOT NULL,
  service     TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  change_id   TEXT NOT NULL,
  text        TEXT NOT NULL,
  due_at      BIGINT NOT NULL, -- when it is looked at again; 0: never
  currency    TEXT NOT NULL,
  open        DOUBLE PRECISION NOT NULL, -- saving per hour while it is live
  predicted   DOUBLE PRECISION NOT NULL, -- over the hours that are counted
  realised    DOUBLE PRECISION NOT NULL,
  measured    BIGINT NOT NULL, -- predicted and realised are both known
  regressed   BIGINT NOT NULL,
  succeeded   BIGINT NOT NULL,
  version     BIGINT NOT NULL,
  body        TEXT NOT NULL
);
CREATE INDEX recommendation_identity ON recommendation (identity, number);
CREATE INDEX recommendation_place ON recommendation (place) WHERE state = 'placed';
CREATE INDEX recommendation_change ON recommendation (change_id) WHERE change_id <> '';
CREATE INDEX recommendation_resource ON recommendation (resource_id, number);
CREATE INDEX recommendation_due ON recommendation (due_at) WHERE due_at > 0;
-- Of each identity at most one has a change, and at most one waits.
CREATE UNIQUE INDEX recommendation_placed ON recommendation (identity) WHERE state = 'placed';
CREATE UNIQUE INDEX recommendation_waiting ON recommendation (identity) WHERE state IN ('new', 'unplaced');

-- +goose Down
DROP TABLE recommendation;
DROP INDEX signal_advice;
ALTER TABLE signal DROP COLUMN advice;
