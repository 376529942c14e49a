-- +goose Up
-- Bootstraps: how far the past of a group was taken from where it is kept.
CREATE TABLE bootstrap (
  id       TEXT PRIMARY KEY,
  watchers TEXT NOT NULL, -- the group of features
  source   TEXT NOT NULL,
  replaces BIGINT NOT NULL,
  covered  BIGINT NOT NULL,
  moved_at BIGINT NOT NULL,
  samples  BIGINT NOT NULL,
  ended    BIGINT NOT NULL,
  last_pos BIGINT NOT NULL -- offset of its last record in the sample log
);
CREATE INDEX bootstrap_source ON bootstrap (watchers, source, moved_at);

-- +goose Down
DROP TABLE bootstrap;
