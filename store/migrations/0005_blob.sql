-- +goose Up
-- Artefacts: sealed with the data key, addressed by a keyed digest of what is inside.
CREATE TABLE blob (
  digest     TEXT PRIMARY KEY,
  size       BIGINT NOT NULL,
  box        BYTES NOT NULL,
  keep_until BIGINT NOT NULL
);
CREATE INDEX blob_keep ON blob (keep_until);

-- +goose Down
DROP TABLE blob;
