-- +goose Up
-- Signals: what came in, one row per delivery of a sender, in the order in
-- which it was accepted. Appended before the sender gets its answer and never
-- updated. The newest row is never deleted: SQLite hands out the number after
-- the highest one present, and a number seen twice would hide a signal from a
-- follower.
CREATE TABLE signal (
  seq         SEQUENCE_KEY,
  integration TEXT NOT NULL,
  source      TEXT NOT NULL,
  dedupe      TEXT NOT NULL,
  recorded_at BIGINT NOT NULL,
  sealed      BIGINT NOT NULL, -- 1: body and raw are encrypted
  body        BYTES NOT NULL,  -- the message as JSON, without raw
  raw         BYTES            -- the payload as it came, personal fields redacted
);
-- The same delivery of a sender that numbers its messages is kept once.
CREATE UNIQUE INDEX signal_dedupe ON signal (integration, dedupe) WHERE dedupe <> '';

-- +goose Down
DROP TABLE signal;
