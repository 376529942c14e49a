-- +goose Up
-- Detection: how far the sample log is detected, one row per partition. The
-- epoch fences: only its holder moves the place on.
CREATE TABLE detection (
  part        BIGINT PRIMARY KEY,
  epoch       BIGINT NOT NULL,
  holder      TEXT NOT NULL,
  expires_at  BIGINT NOT NULL, -- of the lease
  committed   BIGINT NOT NULL, -- offset up to which outputs are in this database
  replay_from BIGINT NOT NULL  -- offset after which a restart reads
);

-- Notes: records of the sample log that are not samples, for a replay that
-- begins after them.
CREATE TABLE detection_note (
  pos   BIGINT PRIMARY KEY, -- offset in the sample log
  until BIGINT NOT NULL,    -- when it stops to matter; 0: the next one replaces it
  body  BYTES NOT NULL
);

-- Watched: one row per entity that has a model. The models are files beside
-- this database.
CREATE TABLE watched (
  id        TEXT PRIMARY KEY,
  watchers  TEXT NOT NULL, -- the group of features
  entity    TEXT NOT NULL,
  detector  TEXT NOT NULL,
  tier      TEXT NOT NULL,
  first_pos BIGINT NOT NULL, -- offset of its first record in the sample log
  learned   BIGINT NOT NULL,
  needed    BIGINT NOT NULL,
  seen_at   BIGINT NOT NULL
);
CREATE UNIQUE INDEX watched_entity ON watched (watchers, entity);

-- Anomalies: the body is the whole record.
CREATE TABLE anomaly (
  id      TEXT PRIMARY KEY,
  series  TEXT NOT NULL,
  is_open BIGINT NOT NULL,
  from_at BIGINT NOT NULL,
  to_at   BIGINT NOT NULL,
  body    TEXT NOT NULL
);
CREATE INDEX anomaly_series ON anomaly (series, from_at);
CREATE INDEX anomaly_from ON anomaly (from_at);
CREATE INDEX anomaly_open ON anomaly (series) WHERE is_open = 1;

-- Readings: an hour of what a detector said, in compressed columns.
CREATE TABLE reading_chunk (
  series TEXT NOT NULL,
  start  BIGINT NOT NULL,
  body   BYTES NOT NULL,
  PRIMARY KEY (series, start)
);
CREATE INDEX reading_chunk_start ON reading_chunk (start);

-- +goose Down
DROP TABLE reading_chunk;
DROP TABLE anomaly;
DROP TABLE watched;
DROP TABLE detection_note;
DROP TABLE detection;
