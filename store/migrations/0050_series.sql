-- +goose Up
-- Series chunks: a stretch of one series, summarised by steps and compressed.
CREATE TABLE series_chunk (
  key      TEXT NOT NULL,
  step     BIGINT NOT NULL,
  start    BIGINT NOT NULL,
  resource TEXT NOT NULL,
  metric   TEXT NOT NULL,
  labels   TEXT NOT NULL,
  unit     TEXT NOT NULL,
  body     BYTES NOT NULL,
  PRIMARY KEY (key, step, start)
);
CREATE INDEX series_chunk_resource ON series_chunk (resource, step, start);
CREATE INDEX series_chunk_age ON series_chunk (step, start);

-- +goose Down
DROP TABLE series_chunk;
